# SPDX-License-Identifier: Apache-2.0
"""TCP window registers, and a reference model of what Linux does with them.

The model follows `tcp_in_window` of nf_conntrack_proto_tcp.c for segments with ACK, without SACK
blocks, of a connection whose both sides have offered a window. Numbers are 32 bits wide and
compared as the kernel's `before` and `after` do, by the sign of the difference.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

MAX_ACK_WINDOW = 66000
WORD = 0xFFFFFFFF


@dataclass(frozen=True)
class Registers:
    """One direction: td_end, td_maxend, td_maxwin, td_maxack and td_scale."""

    end: int = 0
    max_end: int = 0
    max_win: int = 0
    max_ack: int = 0
    scale: int = 0

    def words(self) -> bytes:
        """The four numbers as they stand in headers."""
        numbers = (self.end, self.max_end, self.max_win, self.max_ack)
        return b"".join(number.to_bytes(4, "big") for number in numbers)


class Pair(NamedTuple):
    """Both directions' registers."""

    original: Registers = Registers()
    reply: Registers = Registers()

    def payload(self) -> bytes:
        """What a WINDOW_WRITE packet-out carries."""
        return b"".join(side.words() + bytes([side.scale]) for side in self)

    def fields(self) -> dict[str, int]:
        """The packet-in fields that hold them."""
        return {
            "window_original": int.from_bytes(self.original.words(), "big"),
            "window_reply": int.from_bytes(self.reply.words(), "big"),
            "window_scales": self.original.scale << 8 | self.reply.scale,
        }


PAIR_OF_ZEROS = Pair()


class Segment(NamedTuple):
    """What of a TCP segment matters: `window` as in the header, `length` of the payload."""

    seq: int
    ack: int
    window: int
    length: int


def before(a: int, b: int) -> bool:
    """Whether sequence number `a` lies before `b`."""
    return (a - b) & WORD >= 1 << 31


def after(a: int, b: int) -> bool:
    return before(b, a)


def merged(old: Pair, new: Pair) -> Pair:
    """What a WINDOW_MERGE leaves: the later number of each two; the scale stays."""

    def later(one: int, two: int) -> int:
        return two if after(two, one) else one

    sides = [
        Registers(
            later(one.end, two.end),
            later(one.max_end, two.max_end),
            max(one.max_win, two.max_win),
            later(one.max_ack, two.max_ack),
            one.scale,
        )
        for one, two in zip(old, new, strict=True)
    ]
    return Pair(*sides)


def in_window(pair: Pair, direction: int, segment: Segment) -> tuple[str, Pair]:
    """The verdict on a segment, and the registers behind it."""
    sender, receiver = (
        (pair.original, pair.reply) if direction == 0 else (pair.reply, pair.original)
    )
    end = (segment.seq + segment.length) & WORD
    if not before(segment.seq, sender.max_end + 1):
        return "SEQ_ABOVE", pair
    if not after(end, sender.end - receiver.max_win - 1):
        return "SEQ_BELOW", pair
    if not before(segment.ack, receiver.end + 1):
        return "ACK_ABOVE", pair
    if not after(segment.ack, receiver.end - max(sender.max_win, MAX_ACK_WINDOW) - 1):
        return "ACK_BELOW", pair
    window = segment.window << sender.scale
    beyond = (end - sender.max_end) & WORD if after(end, sender.max_end) else 0
    new_sender = replace(
        sender,
        max_win=max(sender.max_win, window),
        end=end if after(end, sender.end) else sender.end,
        max_ack=segment.ack if after(segment.ack, sender.max_ack) else sender.max_ack,
    )
    new_receiver = replace(receiver, max_win=(receiver.max_win + beyond) & WORD)
    edge = (segment.ack + window) & WORD
    if after(edge, receiver.max_end - 1):
        new_receiver = replace(new_receiver, max_end=(edge + (window == 0)) & WORD)
    if direction == 0:
        return "INSIDE", Pair(new_sender, new_receiver)
    return "INSIDE", Pair(new_receiver, new_sender)

# SPDX-License-Identifier: Apache-2.0
"""p4ct's tracker as the one that is judged: every +new packet is committed, as Linux does."""

from __future__ import annotations

from dataclasses import dataclass

from p4ct.conntrack import (
    Connection,
    ConntrackInvalid,
    CtResult,
    CtState,
    Direction,
    NatExhausted,
    NatRange,
    Tracker,
    Tuple,
    TupleTaken,
)
from p4ct.packet import Packet, parse
from p4ct.packet.parse import PROTO_ICMP, PROTO_ICMPV6, PROTO_TCP, PROTO_UDP

from .ctnetlink import Held


@dataclass(frozen=True)
class Entry:
    """What both sides hold of a connection; see `ctnetlink.Held` for the fields.

    packets: None where the kernel does not count.
    """

    state: int | None
    replied: bool
    assured: bool
    sides: tuple[object, ...]
    packets: tuple[int, int] | None
    timeout: float
    original: tuple[bytes, bytes, int, int]
    reply: tuple[bytes, bytes, int, int]


def entry_of_kernel(held: Held) -> Entry:
    """The kernel's."""
    return Entry(
        held.state,
        held.replied,
        held.assured,
        held.sides,
        held.packets,
        held.timeout,
        held.original,
        held.reply,
    )


#: Who has a helper: protocol and destination port of a connection's first packet.
_HELPED = {(PROTO_TCP, 21): "ftp", (PROTO_UDP, 69): "tftp"}


class Subject:
    """One tracker for one trace.

    helpers: connections to the ports of FTP and TFTP have a helper.
    leaves: what it makes of the last packet, None if that is not compared.
    """

    def __init__(self, tracker: Tracker, *, helpers: bool = False) -> None:
        self.tracker = tracker
        self.helpers = helpers
        self.leaves: bytes | None = None

    def send(self, frame: bytes, now: float) -> str:
        """The packet's mark, in the words of `router.MARKS`, or "dropped"."""
        pkt = parse(frame)
        result = self.tracker.track(pkt, 0, now)
        self.leaves = frame if self.helpers else None
        if result.state & CtState.INV:
            return "invalid"
        if result.state & CtState.NEW and result.connection is None:
            try:
                self.tracker.commit(result, pkt, now, nat=self.range(pkt), alg=self.alg(pkt))
            except ConntrackInvalid:
                return "new, but refused by commit"
            except (NatExhausted, TupleTaken):
                return "dropped"
        if result.refused or not self.translate(result.packet or pkt, result):
            return "dropped"
        return mark(pkt, result)

    def range(self, pkt: Packet) -> NatRange | None:
        """What becomes of a connection that this packet begins."""
        return None

    def translate(self, pkt: Packet, result: CtResult) -> bool:
        """Set `leaves`, given the packet as helpers have left it. False: it is dropped."""
        if self.leaves is not None:
            self.leaves = pkt.frame
        return True

    def alg(self, pkt: Packet) -> str:
        """The helper of a connection that this packet begins."""
        return _HELPED.get((pkt.proto, pkt.dport), "") if self.helpers else ""

    def connection(self, key: Tuple) -> Connection | None:
        """Ours with this tuple, whichever direction it is."""
        found = self.tracker.find(key, 0)
        return None if found is None else found[0]

    def entry(self, key: Tuple, now: float) -> Entry | None:
        """What we hold under `key`."""
        conn = self.connection(key)
        if conn is None:
            return None
        state: int | None = None
        sides: tuple[object, ...] = ()
        tcp = conn.tcp
        if conn.proto == PROTO_TCP and tcp is not None:
            state = int(conn.protocol_state)
            sides = tuple((side.flags, side.scale) for side in tcp.sides)
        elif conn.sctp is not None:
            state = int(conn.protocol_state)
            sides = tuple(conn.sctp.tags)
        return Entry(
            state,
            conn.seen_reply,
            conn.assured,
            sides,
            conn.packets,
            conn.expires - now,
            conn.original[2:],
            conn.reply[2:],
        )


def mark(pkt: Packet, result: CtResult) -> str:
    """What the kernel calls it.

    Open vSwitch and p4ct call packets of an expected connection related as long as it lives; to the
    kernel they are established as soon as there was an answer.
    """
    state = result.state
    if state & CtState.NEW:
        return "related original" if state & CtState.REL else "new"
    error = pkt.proto in (PROTO_ICMP, PROTO_ICMPV6) and state & CtState.REL
    return (
        f"{'related' if error else 'established'} {'reply' if state & CtState.RPL else 'original'}"
    )


__all__ = ["Direction", "Entry", "Subject", "entry_of_kernel", "mark"]

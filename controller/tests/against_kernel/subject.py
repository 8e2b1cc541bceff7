# SPDX-License-Identifier: Apache-2.0
"""p4ct's tracker as the one that is judged: every +new packet is committed, as Linux does."""

from __future__ import annotations

from dataclasses import dataclass

from p4ct.conntrack import Connection, ConntrackInvalid, CtState, Direction, Tracker, Tuple
from p4ct.packet import parse
from p4ct.packet.parse import PROTO_TCP

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


class Subject:
    """One tracker for one trace. `make`: tests plant faults with it.

    leaves: what it makes of the last packet, None if that is not compared.
    """

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self.leaves: bytes | None = None

    def send(self, frame: bytes, now: float) -> str:
        """The packet's mark, in the words of `router.MARKS`."""
        pkt = parse(frame)
        result = self.tracker.track(pkt, 0, now)
        state = result.state
        if state & CtState.INV:
            return "invalid"
        if state & CtState.NEW:
            if result.connection is None:
                try:
                    self.tracker.commit(result, pkt, now)
                except ConntrackInvalid:
                    return "new, but refused by commit"
            return "new"
        kind = "related" if state & CtState.REL else "established"
        return f"{kind} {'reply' if state & CtState.RPL else 'original'}"

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


__all__ = ["Direction", "Entry", "Subject", "entry_of_kernel"]

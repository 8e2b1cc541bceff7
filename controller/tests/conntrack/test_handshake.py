# SPDX-License-Identifier: Apache-2.0
"""No order of up to six segments reaches ESTABLISHED without a real handshake: all orders.

The orders of an alphabet of segments are walked breadth first. Two of them that leave the tracker
in the same state, with the same parts of a handshake behind them, have the same future, so only one
is continued; and none after a handshake: that makes all orders of six few enough. The side that
sends the first segment is always the same one, for the tracker cannot tell which it is.
"""

from __future__ import annotations

from typing import NamedTuple

from p4ct.conntrack import Connection, CtState, TcpState, Timeouts, Tracker
from p4ct.packet import Packet, parse
from p4ct.packet.build import tcp_frame

HOSTS = ("10.0.0.1", "10.0.0.2")
PORTS = (40000, 80)
ISN = (1000, 5000)
FAR = 1 << 30
FIN, SYN, RST, ACK = 1, 2, 4, 16
LENGTH = 6


class Segment(NamedTuple):
    """way: who sends, 0 or 1. Wrong numbers are far away."""

    way: int
    flags: int
    right_seq: bool = True
    right_ack: bool = True

    @property
    def seq(self) -> int:
        return ISN[self.way] + (0 if self.flags & SYN else 1) + (0 if self.right_seq else FAR)

    @property
    def ack(self) -> int:
        if not self.flags & ACK:
            return 0
        return ISN[1 - self.way] + 1 + (0 if self.right_ack else FAR)

    def packet(self) -> Packet:
        frame = tcp_frame(
            src=HOSTS[self.way],
            dst=HOSTS[1 - self.way],
            sport=PORTS[self.way],
            dport=PORTS[1 - self.way],
            seq=self.seq,
            ack=self.ack,
            flags=self.flags,
        )
        return parse(frame)


ALPHABET = tuple(
    segment
    for way in (0, 1)
    for segment in (
        Segment(way, SYN),
        Segment(way, SYN, right_seq=False),
        Segment(way, SYN | ACK),
        Segment(way, SYN | ACK, right_ack=False),
        Segment(way, SYN | ACK, right_seq=False),
        Segment(way, ACK),
        Segment(way, ACK, right_ack=False),
        Segment(way, FIN | ACK),
        Segment(way, RST),
    )
)
PACKETS = {segment: segment.packet() for segment in ALPHABET}

Part = tuple[Segment, ...]
"""What has been seen of a handshake, in order."""


def acknowledges(later: Segment, earlier: Segment) -> bool:
    return bool(later.flags & ACK and later.way != earlier.way and later.ack == earlier.seq + 1)


def continues(part: Part, segment: Segment) -> bool:
    """Is the segment the next one of a handshake of which this much was seen?

    SYN, SYN/ACK, ACK; or, opened from both sides at once: SYN, SYN, then a SYN/ACK and an ACK, each
    of them of one of the two (Linux does not ask of which).
    """
    flags = segment.flags & (SYN | ACK)
    if not part:
        return flags == SYN
    if len(part) == 1:
        both = flags == SYN and segment.way != part[0].way
        return both or (flags == SYN | ACK and acknowledges(segment, part[0]))
    if part[1].flags & ACK:
        return len(part) == 2 and acknowledges(segment, part[1])
    answers = any(acknowledges(segment, syn) for syn in part[:2])
    return answers and (len(part) == 3 or flags == SYN | ACK)


def complete(part: Part) -> bool:
    return len(part) == (3 if len(part) > 1 and part[1].flags & ACK else 4)


def play(tracker: Tracker, order: Part) -> tuple[bool, tuple[object, ...]]:
    """Is there an established connection after these segments; all that later ones depend on."""
    for segment in order:
        result = tracker.track(PACKETS[segment], 0, 100.0)
        if result.state & CtState.NEW and result.connection is None:
            tracker.commit(result, PACKETS[segment], 100.0)
    conn = next(tracker.select(), None)
    if conn is None:
        return False, ()
    seen = snapshot(conn)
    tracker.remove(conn, 100.0)
    return conn.assured or conn.protocol_state is TcpState.ESTABLISHED, seen


def snapshot(conn: Connection) -> tuple[object, ...]:
    """All that the next packets can depend on."""
    tcp = conn.tcp
    assert tcp is not None
    sides = [getattr(side, name) for side in tcp.sides for name in side.__slots__]
    rest = [getattr(tcp, name) for name in tcp.__slots__ if name != "sides"]
    return conn.protocol_state, conn.assured, conn.seen_reply, conn.key, *sides, *rest


def test_no_order_is_established_without_a_handshake() -> None:
    tracker = Tracker(Timeouts(), max_connections=10, tcp_loose=False)
    first: Part = ()
    frontier: list[tuple[Part, frozenset[Part]]] = [(first, frozenset((first,)))]
    known: set[object] = set()
    established = 0
    for _ in range(LENGTH):
        following: list[tuple[Part, frozenset[Part]]] = []
        for order, parts in frontier:
            for segment in ALPHABET if order else ALPHABET[: len(ALPHABET) // 2]:
                longer = (*order, segment)
                more = parts | {(*part, segment) for part in parts if continues(part, segment)}
                reached, state = play(tracker, longer)
                shaken = any(complete(part) for part in more)
                assert shaken or not reached, longer
                established += reached
                mark = (state, more)
                if not shaken and mark not in known:
                    known.add(mark)
                    following.append((longer, more))
        frontier = following
    assert established > 50

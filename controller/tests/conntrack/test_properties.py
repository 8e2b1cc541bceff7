# SPDX-License-Identifier: Apache-2.0
"""Properties over orders of packets nobody thought of."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from p4ct.conntrack import Connection, CtState, Direction, Timeouts, Tracker, conntrack_line
from p4ct.packet import Packet, parse
from p4ct.packet.build import icmp_echo_frame, ip_frame, tcp_frame, udp_frame

HOSTS = ("10.0.0.1", "10.0.0.2")
ISN = (1000, 5000)
FAR = 1 << 30
SYN, ACK = 2, 16

# direction, flags, is the sequence number right, is the ACK number right
Segment = tuple[int, int, bool, bool]

segments: st.SearchStrategy[Segment] = st.tuples(
    st.sampled_from([0, 1]),
    st.sampled_from([2, 18, 16, 24, 17, 4, 20, 0]),
    st.booleans(),
    st.booleans(),
)


def numbers(segment: Segment) -> tuple[int, int]:
    direction, flags, right_seq, right_ack = segment
    seq = ISN[direction] + (0 if flags & SYN else 1) + (0 if right_seq else FAR)
    ack = ISN[1 - direction] + 1 + (0 if right_ack else FAR)
    return seq, ack if flags & ACK else 0


def packet(segment: Segment) -> Packet:
    direction, flags, _, _ = segment
    seq, ack = numbers(segment)
    ports = (40000, 80) if direction == 0 else (80, 40000)
    frame = tcp_frame(
        src=HOSTS[direction],
        dst=HOSTS[1 - direction],
        sport=ports[0],
        dport=ports[1],
        seq=seq,
        ack=ack,
        flags=flags,
    )
    return parse(frame)


def shook_hands(order: tuple[Segment, ...]) -> bool:
    """Is there a handshake in it, with exact numbers?

    SYN, SYN/ACK of the other side, ACK; or, opened from both sides at once: SYN, SYN, a SYN/ACK and
    an ACK. Linux does not ask in the second case whether the ACK is of the other side.
    """

    def syn(segment: Segment) -> bool:
        return segment[1] & (SYN | ACK) == SYN

    def synack(segment: Segment) -> bool:
        return segment[1] & (SYN | ACK) == SYN | ACK

    def acknowledges(later: Segment, earlier: Segment) -> bool:
        exact = numbers(earlier)[0] + 1 == numbers(later)[1]
        return exact and later[0] != earlier[0] and bool(later[1] & ACK)

    for first, second, third in itertools.combinations(order, 3):
        opened = syn(first) and synack(second) and acknowledges(second, first)
        if opened and acknowledges(third, second):
            return True
    for first, second, third, fourth in itertools.combinations(order, 4):
        syns = (first, second)
        opened = syn(first) and syn(second) and first[0] != second[0] and synack(third)
        answered = (any(acknowledges(late, early) for early in syns) for late in (third, fourth))
        if opened and all(answered):
            return True
    return False


def play(order: tuple[Segment, ...]) -> tuple[Tracker, bool]:
    """Commit all that is new; was there ever an assured connection?"""
    tracker = Tracker(Timeouts(), max_connections=10, tcp_loose=False)
    assured = False
    for index, segment in enumerate(order):
        pkt = packet(segment)
        now = 100.0 + index
        result = tracker.track(pkt, 0, now)
        if result.state & CtState.NEW and result.connection is None:
            tracker.commit(result, pkt, now)
        assured = assured or any(conn.assured for conn in tracker.select())
    return tracker, assured


@settings(max_examples=500, deadline=None)
@given(st.lists(segments, min_size=1, max_size=6).map(tuple))
def test_no_order_is_assured_without_a_handshake(order: tuple[Segment, ...]) -> None:
    _, assured = play(order)
    assert not assured or shook_hands(order)


# --- mixed traffic -----------------------------------------------------------------------------


@st.composite
def mixed(draw: st.DrawFn) -> tuple[Packet, int, float, str]:
    """A packet, its zone, the seconds since the last one, and what else happens then."""
    direction = draw(st.sampled_from([0, 1]))
    ends: dict[str, Any] = {"src": HOSTS[direction], "dst": HOSTS[1 - direction]}
    port = draw(st.integers(1, 2))
    ports = {"sport": port, "dport": 80} if direction == 0 else {"sport": 80, "dport": port}
    kind = draw(st.sampled_from(["tcp", "tcp", "tcp", "udp", "echo", "other"]))
    if kind == "tcp":
        pkt = packet(draw(segments))
    elif kind == "udp":
        pkt = parse(udp_frame(**ends, **ports, payload=bytes(draw(st.integers(0, 5)))))
    elif kind == "echo":
        pkt = parse(icmp_echo_frame(**ends, identifier=port, reply=draw(st.booleans())))
    else:
        pkt = parse(ip_frame(**ends, proto=100 + port))
    gap = draw(st.sampled_from([0.0, 0.5, 3.0, 31.0, 500.0]))
    deed = draw(st.sampled_from(["", "", "", "hold", "release", "expire", "no commit"]))
    return pkt, draw(st.sampled_from([0, 7])), gap, deed


def snapshot(tracker: Tracker, now: float) -> list[Any]:
    return [
        [conntrack_line(conn, now) for conn in tracker.select()],
        [
            [
                [getattr(side, name) for side in conn.tcp.sides for name in side.__slots__],
                [getattr(conn.tcp, name) for name in conn.tcp.__slots__ if name != "sides"],
            ]
            for conn in tracker.select()
            if conn.tcp is not None
        ],
        [(conn.expires, conn.timeout, conn.chunk.second) for conn in tracker.select()],
        (tracker.by_zone, tracker.by_protocol, tracker.by_state, dict(tracker.stats)),
    ]


@settings(max_examples=200, deadline=None)
@given(st.lists(mixed(), max_size=25), st.integers(1, 6))
def test_traffic(steps: list[tuple[Packet, int, float, str]], working_set: int) -> None:
    """Counters are what was tracked, peek is track without a trace, and nothing stays for ever."""
    tracker = Tracker(Timeouts(), max_connections=6, working_set=working_set)
    packets: Counter[tuple[int, int]] = Counter()
    octets: Counter[tuple[int, int]] = Counter()
    seen: dict[int, Connection] = {}
    now = 1000.0
    for pkt, zone, gap, deed in steps:
        now += gap
        before = snapshot(tracker, now)
        peeked = tracker.peek(pkt, zone, now)
        assert snapshot(tracker, now) == before

        result = tracker.track(pkt, zone, now)
        assert (peeked.state, peeked.reason) == (result.state, result.reason)
        assert peeked.connection is result.connection
        assert peeked.direction is result.direction
        if result.state & CtState.NEW and deed != "no commit":
            tracker.commit(result, pkt, now)
        conn = result.connection
        if conn is not None:
            seen[conn.id] = conn
            packets[conn.id, result.direction] += 1
            octets[conn.id, result.direction] += pkt.wire_len
            if deed == "hold" and conn.alive and conn.offload is None:
                tracker.hold(conn, "handle")
            elif deed == "release" and conn.offload is not None:
                tracker.release(conn, now, now - 10)
        if deed == "expire":
            tracker.expire(now)
        check_bits(result.state)
        assert len(list(tracker.select())) == len(tracker) <= 6
        assert Counter(conn.state_name for conn in tracker.select()) == tracker.by_state
        assert Counter(conn.zone for conn in tracker.select()) == tracker.by_zone

    for conn in seen.values():
        for direction in Direction:
            assert conn.packets[direction] == packets[conn.id, direction]
            assert conn.bytes[direction] == octets[conn.id, direction]
        if conn.alive and conn.offload is not None:
            tracker.release(conn, now, now)

    while (deadline := tracker.next_deadline()) is not None:
        now = max(now, deadline)
        tracker.expire(now)
    assert len(tracker) == 0
    assert (tracker.by_zone, tracker.by_protocol, tracker.by_state) == ({}, {}, {})
    assert not tracker._tables
    assert tracker._connections.unreplied.oldest() is None
    assert tracker._connections.unassured.oldest() is None
    assert not tracker._connections.zones
    assert len(tracker._working) == 0
    assert len(tracker._wheel) == 0
    assert not any(conn.alive for conn in seen.values())


def check_bits(state: CtState) -> None:
    """The rules of ct_state (ovs-fields(7))."""
    assert state & CtState.TRK
    if state & CtState.INV:
        assert state == CtState.INV | CtState.TRK
    if state & CtState.NEW:
        assert not state & (CtState.EST | CtState.RPL)
    assert state & (CtState.INV | CtState.NEW | CtState.EST | CtState.REL)

# SPDX-License-Identifier: Apache-2.0
"""Limits of zones, sources and unanswered connections: who makes room, and who never does."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from p4ct.conntrack import Connection, ConntrackFull, Limits, Timeouts, Tracker, Tuple
from p4ct.packet import Packet, parse
from p4ct.packet.build import tcp_frame

SYN, ACK = 2, 16
SERVER = "10.9.9.9"


def segment(host: int, port: int, flags: int, *, reply: bool = False, v6: bool = False) -> Packet:
    """Of a connection from 10.0.0.HOST:PORT, with exact sequence numbers."""
    client, server = (f"fd00::{host}", "fd00::9") if v6 else (f"10.0.0.{host}", SERVER)
    syn = bool(flags & SYN)
    frame = tcp_frame(
        src=server if reply else client,
        dst=client if reply else server,
        sport=80 if reply else port,
        dport=port if reply else 80,
        seq=(5000 if reply else 1000) + (not syn),
        ack=(1001 if reply else 5001) if flags & ACK else 0,
        flags=flags,
    )
    return parse(frame)


def segment_tuple(host: int, port: int) -> Any:
    return Tuple(4, 6, bytes([10, 0, 0, host]), bytes([10, 9, 9, 9]), port, 80)


def syn(tracker: Tracker, host: int, port: int, zone: int = 0, v6: bool = False) -> Connection:
    pkt = segment(host, port, SYN, v6=v6)
    return tracker.commit(tracker.track(pkt, zone, 1.0), pkt, 1.0)


def synack(tracker: Tracker, host: int, port: int, zone: int = 0) -> None:
    tracker.track(segment(host, port, SYN | ACK, reply=True), zone, 1.0)


def handshake(tracker: Tracker, host: int, port: int, zone: int = 0) -> Connection:
    conn = syn(tracker, host, port, zone)
    synack(tracker, host, port, zone)
    tracker.track(segment(host, port, ACK), zone, 1.0)
    assert conn.assured
    return conn


def test_a_full_zone_makes_its_own_unreplied_go_then_its_unassured() -> None:
    tracker = Tracker(limits=Limits().with_zone(1, connections=3))
    other = syn(tracker, 1, 1, zone=2)
    kept = handshake(tracker, 1, 1, zone=1)
    replied = syn(tracker, 1, 2, zone=1)
    synack(tracker, 1, 2, zone=1)
    unreplied = syn(tracker, 1, 3, zone=1)
    fourth = syn(tracker, 1, 4, zone=1)
    assert (unreplied.alive, replied.alive, fourth.alive) == (False, True, True)
    synack(tracker, 1, 4, zone=1)
    fifth = syn(tracker, 1, 5, zone=1)
    assert (replied.alive, fourth.alive, fifth.alive) == (False, True, True)
    assert (kept.alive, other.alive) == (True, True)
    assert tracker.by_zone == {1: 3, 2: 1}
    assert tracker.stats["early_drop"] == 2


def test_a_zone_full_of_assured_refuses_only_there() -> None:
    tracker = Tracker(limits=Limits().with_zone(1, connections=2))
    for port in (1, 2):
        handshake(tracker, 1, port, zone=1)
    with pytest.raises(ConntrackFull, match="zone 1 are assured") as full:
        syn(tracker, 1, 3, zone=1)
    assert full.value.what == "the zone has as many connections as it may"
    assert (tracker.stats["full_zone"], tracker.stats["full"]) == (1, 0)
    syn(tracker, 1, 3, zone=2)
    tracker.limits = tracker.limits.with_zone(1, connections=3)  # while connections live
    syn(tracker, 1, 3, zone=1)
    assert tracker.by_zone == {1: 3, 2: 1}


@pytest.mark.parametrize("of_zone", [True, False])
def test_a_flood_of_syns_takes_the_room_of_the_unreplied_only(of_zone: bool) -> None:
    limits = Limits(unreplied=5) if of_zone else None
    tracker = Tracker(max_unreplied=None if of_zone else 5, limits=limits, max_connections=50)
    kept = [handshake(tracker, 1, port) for port in range(1, 21)]
    answered = [syn(tracker, 2, port) for port in range(1, 6)]
    for port in range(1, 6):
        synack(tracker, 2, port)
    for port in range(1, 1000):
        syn(tracker, 3, port)
    assert all(conn.alive for conn in kept + answered)
    assert len(tracker) == 30
    assert sum(not conn.seen_reply for conn in tracker.select()) == 5


def test_a_source_at_its_limit_is_refused_and_nobody_else_is() -> None:
    tracker = Tracker(limits=Limits(per_source=2))
    first = syn(tracker, 1, 1)
    syn(tracker, 1, 2)
    with pytest.raises(ConntrackFull, match=r"zone 0 allows 2 connections from 10\.0\.0\.1"):
        syn(tracker, 1, 3)
    syn(tracker, 1, 3, zone=7)
    syn(tracker, 2, 3)
    for port in (1, 2):
        syn(tracker, 1, port, v6=True)
    with pytest.raises(ConntrackFull, match="from fd00::1"):
        syn(tracker, 1, 3, v6=True)
    assert tracker.stats["full_source"] == 2
    tracker.remove(first, 1.0)
    syn(tracker, 1, 3)


def test_a_limit_that_comes_later_counts_from_then_on() -> None:
    tracker = Tracker()
    old = [syn(tracker, 1, port) for port in range(1, 4)]
    tracker.limits = Limits(per_source=2)
    for port in (4, 5):
        syn(tracker, 1, port)
    with pytest.raises(ConntrackFull):
        syn(tracker, 1, 6)
    for conn in old:
        tracker.remove(conn, 1.0)
    with pytest.raises(ConntrackFull):
        syn(tracker, 1, 6)
    tracker.limits = Limits()
    syn(tracker, 1, 6)


def test_limits_are_refused_below_one() -> None:
    with pytest.raises(ValueError, match="limit unreplied must be at least 1, not 0"):
        Limits(unreplied=0)
    with pytest.raises(ValueError, match="max_unreplied"):
        Tracker(max_unreplied=0)
    with pytest.raises(TypeError):
        Limits().with_zone(1, conections=3)  # type: ignore[call-arg]


def refusals(tracker: Tracker) -> int:
    return sum(tracker.stats[name] for name in ("full", "full_zone", "full_source"))


few = st.none() | st.integers(1, 4)
steps = st.lists(
    st.tuples(
        st.sampled_from(["syn", "syn", "syn", "synack", "ack", "remove", "hold", "flush"]),
        st.integers(1, 3),
        st.integers(1, 3),
        st.integers(0, 1),
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=150)
@given(few, few, few, few, st.integers(1, 8), steps)
def test_no_limit_is_ever_passed_and_no_assured_ever_evicted(
    connections: int | None,
    unreplied: int | None,
    per_source: int | None,
    max_unreplied: int | None,
    room: int,
    deeds: list[tuple[str, int, int, int]],
) -> None:
    limits = Limits(connections, unreplied, per_source)
    tracker = Tracker(Timeouts(), max_connections=room, max_unreplied=max_unreplied, limits=limits)
    safe: set[Any] = set()
    for deed, host, port, zone in deeds:
        known = tracker.find(segment_tuple(host, port), zone)
        conn = known[0] if known else None
        if deed == "syn":
            before = refusals(tracker)
            refused = 0
            try:
                syn(tracker, host, port, zone)
            except ConntrackFull:
                refused = 1
            assert refusals(tracker) == before + refused
        elif deed == "synack":
            synack(tracker, host, port, zone)
        elif deed == "ack":
            tracker.track(segment(host, port, ACK), zone, 1.0)
        elif deed == "remove" and conn is not None:
            safe.discard(conn)
            tracker.remove(conn, 1.0)
        elif deed == "hold" and conn is not None and conn.offload is None:
            tracker.hold(conn, "handle")
        elif deed == "flush":
            safe -= {c for c in safe if c.zone == zone}
            tracker.flush(zone)
        for c in tracker.select():
            if c.assured or (c.offload is not None and c.seen_reply):
                safe.add(c)
        assert all(c.alive for c in safe)
        live = list(tracker.select())
        assert len(live) == len(tracker) <= room
        waiting = [c for c in live if not c.seen_reply]
        assert tracker._connections.unreplied.length == len(waiting)
        assert len(waiting) <= (max_unreplied or room)
        for number in (0, 1):
            mine = [c for c in live if c.zone == number]
            assert len(mine) <= (connections or room)
            assert sum(c.zone == number for c in waiting) <= (unreplied or room)
            assert max(Counter(c.source for c in mine).values(), default=0) <= (per_source or room)

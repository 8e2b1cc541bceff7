# SPDX-License-Identifier: Apache-2.0
"""Commit, zones, limits, timers, lookup, events: the life of a connection."""

from __future__ import annotations

from typing import Any

import pytest
from p4ct.conntrack import (
    ConntrackFull,
    ConntrackInvalid,
    CtState,
    Direction,
    Timeouts,
    Tracker,
    Tuple,
)
from p4ct.packet import parse
from p4ct.packet.build import udp_frame

ORIG, REPLY = Direction.ORIGINAL, Direction.REPLY
NEW = CtState.TRK | CtState.NEW


def udp(sport: int, dport: int = 53, src: str = "10.0.0.1", dst: str = "10.0.0.2") -> Any:
    return parse(udp_frame(src=src, dst=dst, sport=sport, dport=dport, payload=b"abcd"))


def commit(tracker: Tracker, pkt: Any, now: float, zone: int = 0) -> Any:
    return tracker.commit(tracker.track(pkt, zone, now), pkt, now)


def assert_nothing_left(tracker: Tracker) -> None:
    assert len(tracker) == 0
    assert tracker.next_deadline() is None
    assert (tracker.by_zone, tracker.by_protocol, tracker.by_state) == ({}, {}, {})
    assert not tracker._tables
    assert tracker._connections.unreplied.oldest() is None
    assert tracker._connections.unassured.oldest() is None
    assert not tracker._connections.zones
    assert len(tracker._working) == 0
    assert len(tracker._wheel) == 0
    assert not tracker._wheel._buckets


def test_uncommitted_leaves_no_trace(wire: Any) -> None:
    wire.commit = False
    assert wire.udp(ORIG).state == NEW
    assert wire.udp(ORIG).state == NEW
    assert wire.udp(REPLY).state == NEW
    assert_nothing_left(wire.tracker)
    assert wire.events == []


def test_commit_twice_is_one_connection(wire: Any) -> None:
    pkt = udp(1)
    first, second = (wire.tracker.track(pkt, 0, wire.now) for _ in range(2))
    conn = wire.tracker.commit(first, pkt, wire.now)
    assert first.connection is conn
    assert wire.tracker.commit(first, pkt, wire.now) is conn
    assert wire.tracker.commit(second, pkt, wire.now) is conn
    assert wire.event_names() == ["NEW"]
    assert conn.packets == (1, 0)


def test_commit_of_invalid_is_refused(wire: Any) -> None:
    result = wire.ping(ORIG, reply=True)
    with pytest.raises(ConntrackInvalid, match="answers none"):
        wire.tracker.commit(result, udp(1), wire.now)


def test_counters_are_frame_bytes_by_direction(wire: Any) -> None:
    conn = wire.handshake()
    size = {False: 54, True: 74}[":" in wire.hosts[0]]
    wire.tcp(REPLY, "A", data=100)
    assert (conn.packets, conn.bytes) == ((2, 2), (2 * size, 2 * size + 100))


def test_zones_are_separate(make_wire: Any) -> None:
    tracker = Tracker(Timeouts(), max_connections=10)
    one = make_wire(tracker, zone=1)
    two = make_wire(tracker, zone=65535)
    assert one.udp(ORIG).state == NEW
    assert two.udp(REPLY).state == NEW  # nothing known here: this is an original packet
    assert one.udp(REPLY).state == CtState.TRK | CtState.EST | CtState.RPL
    assert tracker.by_zone == {1: 1, 65535: 1}
    assert [conn.zone for conn in tracker.select(zone=1)] == [1]
    (conn,) = tracker.select(zone=65535)
    assert tracker.find(conn.original, 65535) == (conn, ORIG)
    assert tracker.find(conn.reply, 65535) == (conn, REPLY)
    assert tracker.find(conn.original, 2) is None


def test_timeouts_by_zone_and_while_living(make_wire: Any) -> None:
    timeouts = Timeouts(udp=30).with_zone(7, udp=5).with_zone(7, icmp=3)
    tracker = Tracker(timeouts, max_connections=10)
    zone0, zone7 = make_wire(tracker), make_wire(tracker, zone=7)
    for wire in (zone0, zone7):
        wire.udp(ORIG)
    assert sorted(conn.timeout for conn in tracker.select()) == [5, 30]
    assert timeouts.for_zone(7).icmp == 3
    tracker.timeouts = Timeouts(udp=2)
    zone7.udp(ORIG)
    (conn,) = tracker.select(zone=7)
    assert conn.expires == zone7.now + 2


def test_bad_timeouts_are_refused() -> None:
    with pytest.raises(ValueError, match=r"udp_stream must be above 0 seconds, not -1"):
        Timeouts(udp_stream=-1)
    with pytest.raises(TypeError):
        Timeouts().with_zone(1, udp_strem=5)


# --- timers ------------------------------------------------------------------------------------


def test_expiry_is_exact(wire: Any) -> None:
    wire.now = 1000.75
    wire.udp(ORIG)
    conn = wire.conn
    assert wire.tracker.next_deadline() <= conn.expires == 1030.75
    assert wire.tracker.expire(1030.7) == []
    assert wire.tracker.next_deadline() == 1030.75
    assert wire.tracker.expire(1030.75) == [conn]
    assert wire.event_names() == ["NEW", "DESTROY"]
    assert not conn.alive
    assert_nothing_left(wire.tracker)


def test_an_expired_connection_is_not_found_by_its_packets(wire: Any) -> None:
    wire.udp(ORIG)
    old = wire.conn
    wire.now += 30
    assert wire.udp(REPLY).state == NEW
    assert not old.alive
    assert wire.conn is not old


def test_traffic_renews(wire: Any) -> None:
    wire.udp(ORIG)
    for _ in range(10):
        wire.now += 29
        assert wire.tracker.expire(wire.now) == []
        wire.udp(ORIG)
    assert wire.tracker.expire(wire.now + 29.9) == []
    assert len(wire.tracker.expire(wire.now + 30)) == 1


def test_a_shorter_timeout_takes_effect(wire: Any) -> None:
    conn = wire.handshake()
    wire.tracker.expire(wire.now)
    wire.tcp(ORIG, "R")
    assert wire.tracker.next_deadline() <= wire.now + 10
    assert wire.tracker.expire(wire.now + 9.9) == []
    assert wire.tracker.expire(wire.now + 10) == [conn]
    assert_nothing_left(wire.tracker)


def test_long_timeouts_are_waited_for(wire: Any) -> None:
    conn = wire.handshake()
    wakes = 0
    while (deadline := wire.tracker.next_deadline()) is not None:
        assert deadline <= conn.expires
        wakes += 1
        taken = wire.tracker.expire(deadline)
        assert taken == ([conn] if deadline == conn.expires else [])
    assert wakes < 300  # five days in steps that grow with the distance
    assert deadline is None
    assert_nothing_left(wire.tracker)


def test_expire_is_bounded_and_in_order() -> None:
    tracker = Tracker(Timeouts(udp=10), max_connections=100)
    conns = [commit(tracker, udp(port), 50 + port / 100) for port in range(1, 31)]
    taken = []
    calls = 0
    while len(tracker):
        part = tracker.expire(100.0, budget=7)
        assert len(part) <= 7
        taken += part
        calls += 1
    assert taken == conns
    assert calls >= 5
    assert_nothing_left(tracker)


def test_many_timers_fire_exactly_once(wire: Any) -> None:
    tracker = wire.tracker
    tracker.timeouts = Timeouts(udp=100)
    conns = {commit(tracker, udp(port), wire.now + port * 7.3).id for port in range(1, 200)}
    fired: list[int] = []
    while (deadline := tracker.next_deadline()) is not None:
        for conn in tracker.expire(deadline):
            assert conn.expires <= deadline < conn.expires + 1e-6
            fired.append(conn.id)
    assert len(fired) == len(conns)
    assert set(fired) == conns


# --- limits ------------------------------------------------------------------------------------


def test_the_oldest_unassured_makes_room() -> None:
    tracker = Tracker(Timeouts(), max_connections=3)
    first, second, third = (commit(tracker, udp(port), 1.0) for port in (1, 2, 3))
    tracker.remove(second, 2.0)
    fourth = commit(tracker, udp(4), 2.0)
    commit(tracker, udp(5), 2.0)
    assert not first.alive
    assert third.alive
    assert fourth.alive
    assert (len(tracker), tracker.stats["early_drop"], tracker.stats["full"]) == (3, 1, 0)


def test_a_flood_never_evicts_the_assured(make_wire: Any) -> None:
    tracker = Tracker(Timeouts(), max_connections=3)
    wire = make_wire(tracker)
    kept = wire.handshake()
    for port in range(1, 50):
        commit(tracker, udp(port), wire.now)
    assert kept.alive
    assert len(tracker) == 3


def test_full_of_assured_refuses_and_keeps_nothing(make_wire: Any) -> None:
    tracker = Tracker(Timeouts(), max_connections=1)
    wire = make_wire(tracker)
    kept = wire.handshake()
    pkt = udp(9)
    result = tracker.track(pkt, 0, wire.now)
    assert result.state == NEW
    with pytest.raises(ConntrackFull, match="max_connections"):
        tracker.commit(result, pkt, wire.now)
    assert list(tracker.select()) == [kept]
    assert tracker.stats["full"] == 1


@pytest.mark.parametrize("answered_first", [False, True])
def test_offloaded_unassured_is_not_evicted_once_answered(answered_first: bool) -> None:
    tracker = Tracker(Timeouts(), max_connections=1)
    conn = commit(tracker, udp(1), 1.0)
    answer = udp(53, 1, "10.0.0.2", "10.0.0.1")
    if answered_first:
        tracker.track(answer, 0, 1.0)
    tracker.hold(conn, object())
    if not answered_first:
        tracker.track(answer, 0, 1.0)
    with pytest.raises(ConntrackFull):
        commit(tracker, udp(2), 1.0)
    tracker.release(conn, 1.0, 1.0)
    commit(tracker, udp(2), 1.0)
    assert not conn.alive


def test_offloaded_and_unanswered_makes_room_as_any() -> None:
    tracker = Tracker(Timeouts(), max_connections=1)
    conn = commit(tracker, udp(1), 1.0)
    tracker.hold(conn, object())
    commit(tracker, udp(2), 1.0)
    assert not conn.alive
    tracker.release(conn, 1.0, 1.0)  # late: changes nothing
    assert len(tracker) == 1


def test_limit_must_be_positive() -> None:
    with pytest.raises(ValueError, match="max_connections"):
        Tracker(Timeouts(), max_connections=0)


# --- lookup ------------------------------------------------------------------------------------


def test_select_and_counts() -> None:
    tracker = Tracker(Timeouts(), max_connections=10)
    one = commit(tracker, udp(1000, 53), 1.0)
    two = commit(tracker, udp(2000, 53, "10.0.0.3"), 1.0, zone=4)
    six = commit(tracker, udp(3000, 53, "fd00::1", "fd00::2"), 1.0)
    one.mark = 5
    tracker.track(udp(53, 1000, "10.0.0.2", "10.0.0.1"), 0, 1.5)
    address = bytes([10, 0, 0, 2])
    assert set(tracker.select()) == {one, two, six}
    assert set(tracker.select(version=6)) == {six}
    assert set(tracker.select(proto=6)) == set()
    assert set(tracker.select(dport=53, version=4)) == {one, two}
    assert set(tracker.select(src=address)) == {one, two}  # of the reply
    assert set(tracker.select(src=address, direction=ORIG)) == set()
    assert set(tracker.select(src=address, dport=1000, direction=REPLY)) == {one}
    assert set(tracker.select(src=address, sport=1000)) == set()  # must fit one tuple
    assert set(tracker.select(mark=5)) == {one}
    assert set(tracker.select(state="UNREPLIED")) == {two, six}
    assert set(tracker.select(zone=4, dst=address)) == {two}
    assert tracker.by_protocol == {17: 3}
    assert tracker.by_state == {"REPLIED": 1, "UNREPLIED": 2}


def test_flush_while_selecting() -> None:
    tracker = Tracker(Timeouts(), max_connections=100)
    for port in range(1, 20):
        commit(tracker, udp(port), 1.0)
    for conn in tracker.select(zone=0):
        tracker.remove(conn, 2.0)
        tracker.remove(conn, 2.0)  # gone already: nothing happens
    assert len(tracker) == 0
    while tracker.next_deadline() is not None:
        tracker.expire(1e9)
    assert_nothing_left(tracker)


def test_a_tuple_to_itself_is_one_connection() -> None:
    tracker = Tracker(Timeouts(), max_connections=10)
    pkt = udp(53, 53, "10.0.0.1", "10.0.0.1")
    conn = commit(tracker, pkt, 1.0)
    assert tracker.track(pkt, 0, 1.0).direction is ORIG
    assert list(tracker.select()) == [conn]
    tracker.remove(conn, 1.0)
    assert not tracker._tables


def test_ids_are_never_reused() -> None:
    tracker = Tracker(Timeouts(), max_connections=1)
    ids = [commit(tracker, udp(port), 1.0).id for port in (1, 2, 3)]
    assert len(set(ids)) == 3


def test_tuple_text_and_reverse() -> None:
    tcp = Tuple(4, 6, b"\x0a\0\0\x01", b"\x0a\0\0\x02", 1, 2)
    assert str(tcp) == "src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2"
    assert str(tcp.reversed()) == "src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1"
    ping = Tuple(4, 1, b"\x0a\0\0\x01", b"\x0a\0\0\x02", 77, 8 << 8)
    assert str(ping) == "src=10.0.0.1 dst=10.0.0.2 type=8 code=0 id=77"
    assert str(ping.reversed()) == "src=10.0.0.2 dst=10.0.0.1 type=0 code=0 id=77"
    other = Tuple(6, 112, b"\xfd" + bytes(15), bytes(16), 0, 0)
    assert str(other) == "src=fd00:: dst=::"
    for key in (tcp, ping, other):
        assert key.reversed().reversed() == key

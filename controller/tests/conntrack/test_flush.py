# SPDX-License-Identifier: Apache-2.0
"""Flushing a zone at once, and destroying what was in it in bounded steps; large tables."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from p4ct.conntrack import Connection, CtState, Event, Timeouts, Tracker, table
from p4ct.packet import Packet, parse
from p4ct.packet.build import udp_frame

NEW = CtState.TRK | CtState.NEW


def udp(port: int, *, reply: bool = False, v6: bool = False) -> Packet:
    ends = ("fd00::1", "fd00::2") if v6 else ("10.0.0.1", "10.0.0.2")
    frame = udp_frame(
        src=ends[reply],
        dst=ends[not reply],
        sport=53 if reply else port,
        dport=port if reply else 53,
        payload=b"x",
    )
    return parse(frame)


def commit(tracker: Tracker, pkt: Packet, zone: int = 0, now: float = 1.0) -> Connection:
    return tracker.commit(tracker.track(pkt, zone, now), pkt, now)


def assert_empty(tracker: Tracker) -> None:
    assert len(tracker) == 0
    assert not tracker.flushing
    assert tracker.next_deadline() is None
    assert (tracker.by_zone, tracker.by_protocol, tracker.by_state) == ({}, {}, {})
    assert not tracker._connections.tables
    assert not tracker._connections.zones
    assert tracker._connections.unreplied.oldest() is None
    assert tracker._connections.unassured.oldest() is None
    assert len(tracker._working) == 0
    assert len(tracker._wheel) == 0


def finish(tracker: Tracker) -> None:
    while (deadline := tracker.next_deadline()) is not None:
        tracker.expire(max(deadline, 1.0))


def test_a_flushed_zone_is_unknown_at_once_and_destroyed_in_steps() -> None:
    tracker = Tracker(Timeouts())
    destroyed: list[int] = []
    tracker.on_event = lambda event, conn, now: (
        destroyed.append(conn.id) if event is Event.DESTROY else None
    )
    gone = [commit(tracker, udp(port, v6=port > 60), zone=1) for port in range(1, 101)]
    kept = [commit(tracker, udp(port), zone=2) for port in range(1, 11)]

    assert tracker.flush(1) == 100
    assert destroyed == []
    assert len(tracker) == 10
    assert (tracker.by_zone, tracker.by_state) == ({2: 10}, {"UNREPLIED": 10})
    assert list(tracker.select(zone=1)) == []
    assert set(tracker.select()) == set(kept)
    assert tracker.find(gone[0].original, 1) is None
    assert tracker.track(udp(1), 1, 2.0).state == NEW

    for step in range(1, 11):
        assert tracker.flushing
        assert tracker.next_deadline() == 0.0
        assert tracker.expire(2.0, budget=10) == []
        assert len(destroyed) == 10 * step
    assert not tracker.flushing
    assert sorted(destroyed) == sorted(conn.id for conn in gone)
    assert not any(conn.alive for conn in gone)
    assert all(conn.alive for conn in kept)
    finish(tracker)
    assert_empty(tracker)


def test_the_same_tuples_may_come_again_while_a_flush_goes_on() -> None:
    tracker = Tracker(Timeouts())
    old = [commit(tracker, udp(port), zone=1) for port in range(1, 21)]
    tracker.flush(1)
    new = [commit(tracker, udp(port), zone=1) for port in range(1, 21)]
    assert not {conn.id for conn in old} & {conn.id for conn in new}
    assert tracker.by_zone == {1: 20}
    tracker.expire(1.0, budget=20)
    assert not any(conn.alive for conn in old)
    assert set(tracker.select(zone=1)) == set(new)
    assert all(tracker.find(conn.reply, 1) is not None for conn in new)
    tracker.remove(new[0], 1.0)
    tracker.flush()
    finish(tracker)
    assert_empty(tracker)


def test_what_a_flush_hides_makes_no_room_and_takes_none() -> None:
    tracker = Tracker(Timeouts(), max_connections=3)
    hidden = [commit(tracker, udp(port), zone=1) for port in (1, 2, 3)]
    tracker.flush(1)
    seen = [commit(tracker, udp(port), zone=2) for port in (4, 5, 6)]
    assert all(conn.alive for conn in hidden + seen)
    commit(tracker, udp(7), zone=2)
    assert all(conn.alive for conn in hidden)
    assert not seen[0].alive
    assert tracker.stats["early_drop"] == 1


def test_who_still_holds_a_hidden_connection_does_no_harm() -> None:
    tracker = Tracker(Timeouts())
    one, two, three = (commit(tracker, udp(port)) for port in (1, 2, 3))
    tracker.hold(one, "handle")
    tracker.flush()
    tracker.release(one, 1.0, 1.0)
    tracker.hold(two, "handle")
    tracker.remove(three, 1.0)
    finish(tracker)
    assert not any(conn.alive for conn in (one, two, three))
    assert_empty(tracker)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 9),
    st.lists(
        st.tuples(
            st.integers(1, 12),
            st.sampled_from([1, 2]),
            st.sampled_from(["send", "send", "send", "answer", "remove", "flush", "expire"]),
        ),
        max_size=60,
    ),
)
def test_split_tables_and_flushes(split: int, steps: list[tuple[int, int, str]]) -> None:
    """A model of two sets of ports is what the tracker holds, however its tables are split."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "SPLIT", split)
        patch.setattr(table, "SHARDS", 4)
        patch.setattr(table, "PORTION", 3)
        tracker = Tracker(Timeouts())
        model: dict[tuple[int, int], Any] = {}
        for port, zone, deed in steps:
            known = model.get((zone, port))
            if deed == "send":
                conn = commit(tracker, udp(port), zone)
                assert known is None or conn is known
                model[zone, port] = conn
            elif deed == "answer":
                result = tracker.track(udp(port, reply=True), zone, 1.0)
                assert result.connection is known
            elif deed == "remove" and known is not None:
                tracker.remove(model.pop((zone, port)), 1.0)
            elif deed == "flush":
                flushed = [place for place in model if place[0] == zone]
                assert tracker.flush(zone) == len(flushed)
                for place in flushed:
                    del model[place]
            elif deed == "expire":
                tracker.expire(1.0, budget=3)
            portions = list(tracker.portions())
            assert all(len(portion) <= 3 for portion in portions)
            found = [conn for portion in portions for conn in portion]
            assert sorted(c.id for c in found) == sorted(c.id for c in model.values())
            assert len(tracker) == len(model)
            assert all(tracker.find(c.original, c.zone) == (c, 0) for c in model.values())
        tracker.flush()
        finish(tracker)
        assert_empty(tracker)

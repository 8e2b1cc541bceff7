# SPDX-License-Identifier: Apache-2.0
"""Timeouts by the policy that a connection was committed with."""

from __future__ import annotations

import pytest
from p4ct.conntrack import NatRange, Timeouts, Tracker, Tuple
from p4ct.conntrack.saved import save
from p4ct.packet import Packet, parse
from p4ct.packet.build import icmp_echo_frame, tcp_frame, udp_frame
from p4ct.packet.text import parse_ip

TIMEOUTS = (
    Timeouts(udp=20)
    .with_zone(7, udp=5, icmp=6)
    .with_policy("short", udp=3, udp_stream=4, tcp_syn_sent=1, tcp_established=9)
    .with_policy("long", udp=1000)
)


def udp(reply: bool = False, sport: int = 1000) -> Packet:
    ends = {"src": "10.0.0.1", "dst": "10.0.0.2", "sport": sport, "dport": 53}
    if reply:
        ends = {"src": "10.0.0.2", "dst": "10.0.0.1", "sport": 53, "dport": sport}
    return parse(udp_frame(**ends))  # type: ignore[arg-type]


def commit(tracker: Tracker, pkt: Packet, timeout: str = "", zone: int = 0, **more: object):
    result = tracker.track(pkt, zone, 100.0)
    conn = tracker.commit(result, pkt, 100.0, timeout=timeout, **more)  # type: ignore[arg-type]
    assert conn is not None
    return conn


@pytest.mark.parametrize(
    ("zone", "policy", "seconds"),
    [(0, "", 20), (7, "", 5), (0, "short", 3), (7, "short", 3), (7, "long", 1000), (0, "gone", 20)],
)
def test_a_policy_goes_before_the_zone(zone: int, policy: str, seconds: float) -> None:
    conn = commit(Tracker(TIMEOUTS), udp(), policy, zone)
    assert (conn.timeout, conn.expires) == (seconds, 100 + seconds)
    assert conn.timeout_policy == policy


def test_what_a_policy_does_not_name_is_as_outside_of_zones() -> None:
    echo = parse(icmp_echo_frame(src="10.0.0.1", dst="10.0.0.2", identifier=1))
    assert commit(Tracker(TIMEOUTS), echo, "short", 7).timeout == 30


def test_it_holds_for_good_and_for_every_state() -> None:
    tracker = Tracker(TIMEOUTS)
    conn = commit(tracker, udp(), "short")
    tracker.track(udp(reply=True), 0, 101.0)
    assert conn.expires == 104
    assert commit(tracker, udp(), "long") is conn  # committed already
    assert conn.timeout_policy == "short"
    tracker.track(udp(), 0, 102.5)  # a stream from 2 seconds on
    assert conn.timeout == 4
    tracker.timeouts = Timeouts(udp=2).with_policy("short", udp_stream=50)
    tracker.track(udp(), 0, 104.0)
    assert conn.expires == 154


def test_tcp_from_its_syn_on() -> None:
    tracker = Tracker(TIMEOUTS)
    ends = {"src": "10.0.0.1", "dst": "10.0.0.2", "sport": 1000, "dport": 80}
    back = {"src": "10.0.0.2", "dst": "10.0.0.1", "sport": 80, "dport": 1000}
    conn = commit(tracker, parse(tcp_frame(**ends, flags=2, seq=10)), "short")
    assert conn.timeout == 1
    tracker.track(parse(tcp_frame(**back, flags=0x12, seq=20, ack=11)), 0, 100.5)
    tracker.track(parse(tcp_frame(**ends, flags=0x10, seq=11, ack=21)), 0, 100.6)
    assert (conn.state_name, conn.timeout) == ("ESTABLISHED", 9)


def test_with_translation() -> None:
    tracker = Tracker(TIMEOUTS)
    address = parse_ip("192.0.2.1")
    nat = NatRange(True, address, address, None)
    first = commit(tracker, udp(sport=1), "short", nat=nat)
    second = commit(tracker, udp(sport=2), "", nat=nat)
    plain = commit(tracker, udp(sport=3), "short")
    assert [(c.nat, c.timeout) for c in (first, second, plain)] == [(0x40, 3), (0x40, 20), (0, 3)]
    assert type(first) is type(commit(tracker, udp(sport=4), "short", nat=nat))
    assert not hasattr(first, "__dict__")  # it takes no more room than any other


def test_a_packet_that_is_only_tried_changes_nothing() -> None:
    tracker = Tracker(TIMEOUTS)
    conn = commit(tracker, udp(), "short")
    tracker.peek(udp(reply=True), 0, 101.0)
    assert (conn.timeout, conn.expires, conn.timeout_policy) == (3, 103, "short")


def test_force_begins_with_the_new_policy() -> None:
    tracker = Tracker(TIMEOUTS)
    old = commit(tracker, udp(), "short")
    fresh = commit(tracker, udp(reply=True), "long", force=True)
    assert fresh is not old
    assert (fresh.timeout_policy, fresh.timeout) == ("long", 1000)


def test_offloaded_and_back() -> None:
    tracker = Tracker(TIMEOUTS)
    conn = commit(tracker, udp(), "short")
    tracker.track(udp(reply=True), 0, 101.0)
    tracker.hold(conn, object())
    tracker.release(conn, 150.0, 149.0)
    assert conn.expires == 153


def test_another_table_takes_the_policy_over() -> None:
    tracker, other = Tracker(TIMEOUTS), Tracker(TIMEOUTS)
    saved = save(commit(tracker, udp(), "short"), 101.0)
    assert other.load(saved, 0.0)
    (conn,) = other.select()
    assert (conn.timeout_policy, conn.expires) == ("short", 2.0)
    other.track(udp(reply=True), 0, 1.0)
    assert conn.expires == 4
    own = Tuple(4, 17, bytes(4), bytes([1, 2, 3, 4]), 5, 6)
    restored = other.restore(0, own, own.reversed(), None, 0, 0, 1.0, "short")
    assert restored.timeout == 4

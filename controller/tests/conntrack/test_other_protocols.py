# SPDX-License-Identifier: Apache-2.0
"""UDP, ICMP echo and errors, other protocols, and what cannot be tracked at all."""

from __future__ import annotations

from typing import Any

import pytest
from p4ct.conntrack import CtState, Direction, FlowState, Timeouts, Tracker
from p4ct.packet import parse
from p4ct.packet.build import (
    arp_frame,
    icmp_echo_frame,
    icmp_frame,
    ip_frame,
    tcp_frame,
    udp_frame,
)

ORIG, REPLY = Direction.ORIGINAL, Direction.REPLY
NEW = CtState.TRK | CtState.NEW
EST = CtState.TRK | CtState.EST
EST_REPLY = EST | CtState.RPL
INV = CtState.TRK | CtState.INV


def left(wire: Any) -> float:
    return wire.conn.expires - wire.now


def test_udp_is_new_until_a_reply(wire: Any) -> None:
    for _ in range(3):
        assert wire.udp(ORIG).state == NEW
    assert (wire.conn.state_name, left(wire)) == ("UNREPLIED", 30)
    assert wire.udp(REPLY).state == EST_REPLY
    assert wire.udp(ORIG).state == EST
    assert (wire.conn.state_name, wire.conn.assured, left(wire)) == ("REPLIED", False, 30)


def test_udp_becomes_a_stream_after_two_seconds(wire: Any) -> None:
    wire.udp(ORIG)
    wire.udp(REPLY)
    wire.now += 2
    wire.udp(ORIG)
    assert (wire.conn.assured, left(wire)) == (False, 30)
    wire.now += 0.001
    wire.udp(ORIG)
    assert (wire.conn.state_name, wire.conn.assured, left(wire)) == ("STREAM", True, 120)
    assert wire.event_names() == ["NEW", "UPDATE", "UPDATE", "ASSURED"]
    assert wire.tracker.by_state == {"STREAM": 1}


def test_udp_one_way_never_becomes_a_stream(wire: Any) -> None:
    wire.udp(ORIG)
    wire.now += 10
    assert wire.udp(ORIG).state == NEW
    assert (wire.conn.assured, left(wire)) == (False, 30)


def test_first_reply_after_two_seconds_is_not_yet_a_stream(wire: Any) -> None:
    wire.udp(ORIG)
    wire.now += 10
    wire.udp(REPLY)
    assert wire.conn.protocol_state is FlowState.REPLIED
    assert left(wire) == 30


def test_echo(wire: Any) -> None:
    assert wire.ping(ORIG).state == NEW
    assert wire.ping(ORIG).state == NEW
    assert wire.ping(REPLY, reply=True).state == EST_REPLY
    assert wire.ping(ORIG).state == EST
    assert left(wire) == 30
    assert not wire.conn.assured


QUERIES = {4: [(8, 0), (13, 14), (15, 16), (17, 18)], 6: [(128, 129), (139, 140)]}


def test_every_query_and_its_answer(wire: Any) -> None:
    def message(direction: Direction, kind: int, identifier: int = 7) -> Any:
        body = identifier.to_bytes(2, "big") + bytes(2)
        frame = icmp_frame(**wire.ends(direction), icmp_type=kind, body=body)
        return wire.pass_packet(parse(frame)).state

    for query, answer in QUERIES[6 if ":" in wire.hosts[0] else 4]:
        assert message(ORIG, answer) == INV
        assert message(ORIG, query) == NEW
        assert message(REPLY, answer, identifier=8) == INV
        assert message(REPLY, answer) == EST_REPLY
        assert message(ORIG, query) == EST
    assert all(conn.expires - wire.now == 30 for conn in wire.tracker.select())


def test_gre(wire: Any) -> None:
    """Version 0 has no ports, whatever its key; it is a stream after its first reply."""
    plain, keyed = bytes.fromhex("00000800"), bytes.fromhex("2000080000000005")
    assert wire.ip(ORIG, 47, plain).state == NEW
    assert left(wire) == 30
    assert wire.ip(REPLY, 47, keyed).state == EST_REPLY
    assert (left(wire), wire.conn.assured) == (30, False)
    assert wire.ip(ORIG, 47, plain).state == EST
    assert (left(wire), wire.conn.assured) == (180, True)
    assert wire.conn.protocol_state is FlowState.STREAM


def test_gre_of_version_1_is_known_by_its_call(wire: Any) -> None:
    calls = [bytes.fromhex("3001880b0000") + bytes([0, call]) for call in (5, 6)]
    for payload in calls:
        assert wire.ip(ORIG, 47, payload).state == NEW
    other = ip_frame(**wire.ends(ORIG), proto=47, payload=bytes.fromhex("3001080000000005"))
    assert wire.tracker.track(parse(other), wire.zone, wire.now).state == INV
    assert {conn.original.dport for conn in wire.tracker.select()} == {5, 6}


def test_a_lone_echo_reply_is_invalid(wire: Any) -> None:
    result = wire.ping(ORIG, reply=True)
    assert result.state == INV
    assert "answers none" in result.reason
    assert len(wire.tracker) == 0


def test_echo_reply_with_another_id_is_invalid(wire: Any) -> None:
    wire.ping(ORIG, identifier=1)
    assert wire.ping(REPLY, reply=True, identifier=2).state == INV


def test_pings_both_ways_are_two_connections(wire: Any) -> None:
    wire.ping(ORIG)
    assert wire.ping(REPLY).state == NEW
    assert len(wire.tracker) == 2


def test_generic_protocol(wire: Any) -> None:
    assert wire.ip(ORIG, 112).state == NEW
    assert wire.ip(REPLY, 112).state == EST_REPLY
    assert wire.ip(ORIG, 112).state == EST
    assert (left(wire), wire.conn.original.sport) == (600, 0)
    assert wire.ip(ORIG, 113).state == NEW
    assert len(wire.tracker) == 2


def test_icmp_of_the_other_family_is_generic(wire: Any) -> None:
    other = 1 if ":" in wire.hosts[0] else 58
    assert wire.ip(ORIG, other).state == NEW
    assert left(wire) == 600


# --- ICMP errors -----------------------------------------------------------------------------


def unreachable(wire: Any, src: str, dst: str, quoted: bytes) -> Any:
    v6 = ":" in dst
    frame = icmp_frame(
        src=src,
        dst=dst,
        icmp_type=1 if v6 else 3,
        icmp_code=4 if v6 else 3,
        body=bytes(4) + quoted[14:],
    )
    pkt = parse(frame)
    assert pkt.error == ""
    return wire.tracker.track(pkt, wire.zone, wire.now)


@pytest.mark.parametrize("router", [False, True])
def test_error_about_an_original_packet_is_related_reply(wire: Any, router: bool) -> None:
    wire.udp(ORIG)
    conn = wire.conn
    before = (conn.expires, conn.packets)
    frame = wire_udp(wire, ORIG)
    source = wire.hosts[1]
    if router:
        source = "fd00::99" if ":" in source else "10.0.0.99"
    wire.now += 1
    result = unreachable(wire, source, wire.hosts[0], frame)
    assert result.state == CtState.TRK | CtState.REL | CtState.RPL
    assert result.connection is conn
    assert (conn.expires, conn.packets) == before


def wire_udp(wire: Any, direction: Direction) -> bytes:
    return udp_frame(
        **wire.ends(direction), sport=wire.ports[direction], dport=wire.ports[1 - direction]
    )


def test_error_about_a_reply_packet_is_related(wire: Any) -> None:
    wire.udp(ORIG)
    wire.udp(REPLY)
    result = unreachable(wire, wire.hosts[0], wire.hosts[1], wire_udp(wire, REPLY))
    assert result.state == CtState.TRK | CtState.REL


def test_error_to_somebody_else_is_invalid(wire: Any) -> None:
    wire.udp(ORIG)
    other = "fd00::77" if ":" in wire.hosts[0] else "10.0.0.77"
    assert unreachable(wire, wire.hosts[1], other, wire_udp(wire, ORIG)).state == INV


def test_error_about_nothing_known_is_invalid(wire: Any) -> None:
    result = unreachable(wire, wire.hosts[1], wire.hosts[0], wire_udp(wire, ORIG))
    assert result.state == INV
    assert "no known connection" in result.reason


def test_error_about_an_expired_connection_is_invalid(wire: Any) -> None:
    wire.udp(ORIG)
    wire.now += 30
    result = unreachable(wire, wire.hosts[1], wire.hosts[0], wire_udp(wire, ORIG))
    assert result.state == INV


def test_the_ports_of_the_quoted_header_suffice(wire: Any) -> None:
    wire.tcp(ORIG, "S")
    segment = tcp_frame(**wire.ends(ORIG), sport=wire.ports[0], dport=wire.ports[1])
    l4 = 34 if ":" not in wire.hosts[0] else 54
    result = unreachable(wire, wire.hosts[1], wire.hosts[0], segment[: l4 + 4])
    assert result.state == CtState.TRK | CtState.REL | CtState.RPL
    short = unreachable(wire, wire.hosts[1], wire.hosts[0], segment[: l4 + 3])
    assert short.state == INV
    assert "readable" in short.reason


def test_error_about_an_echo_request(wire: Any) -> None:
    wire.ping(ORIG, identifier=9)
    quoted = icmp_echo_frame(**wire.ends(ORIG), identifier=9)
    result = unreachable(wire, wire.hosts[1], wire.hosts[0], quoted)
    assert result.state == CtState.TRK | CtState.REL | CtState.RPL


def test_commit_of_a_related_packet_stores_nothing(wire: Any) -> None:
    wire.udp(ORIG)
    result = unreachable(wire, wire.hosts[1], wire.hosts[0], wire_udp(wire, ORIG))
    assert wire.tracker.commit(result, parse(wire_udp(wire, ORIG)), wire.now) is wire.conn
    assert len(wire.tracker) == 1


# --- what cannot be tracked ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (
            arp_frame(op=1, sha="02:00:00:00:00:01", spa="10.0.0.1", tpa="10.0.0.2"),
            "not an IP packet",
        ),
        (ip_frame(src="10.0.0.1", dst="10.0.0.2", proto=17, fragment=0x2001), "fragment"),
        (ip_frame(src="10.0.0.1", dst="10.0.0.2", proto=6), "truncated TCP header"),
        (icmp_frame(src="10.0.0.1", dst="10.0.0.2", icmp_type=14), "ICMP type 14"),
        (icmp_frame(src="fe80::1", dst="fe80::2", icmp_type=133), "ICMP type 133"),
    ],
)
def test_untrackable_is_invalid_with_a_reason(frame: bytes, reason: str) -> None:
    tracker = Tracker(Timeouts(), max_connections=9)
    result = tracker.track(parse(frame), 0, 1.0)
    assert result.state == INV
    assert reason in result.reason
    assert tracker.stats["invalid"] == 1
    assert tracker.peek(parse(frame), 0, 1.0).reason == result.reason
    assert tracker.stats["invalid"] == 1

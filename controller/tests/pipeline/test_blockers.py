# SPDX-License-Identifier: Apache-2.0
"""What keeps a result from becoming an eswitch entry, and what does not."""

from __future__ import annotations

import pytest
from p4ct.conntrack import CtState
from p4ct.packet import parse
from p4ct.packet.build import icmp_echo_frame, icmp_frame, ip_frame, udp_frame
from p4ct.pipeline import STATELESS, Field, covered_by_connection_entry
from p4ct.pipeline.fields import FIELDS

EST = CtState.TRK | CtState.EST
TRACKED = "table=0,ip,actions=ct(table=1)\n"


@pytest.fixture
def tracked(switch):
    switch.ct.states[0] = EST
    return switch


def test_none_for_a_tracked_packet_with_one_output(tracked, make_tcp) -> None:
    tracked.flows(
        TRACKED + "table=1,tcp,in_port=vm1,dl_src=2:0:0:0:0:1,dl_dst=2:0:0:0:0:3,vlan_tci=0/0x1fff,"
        "nw_src=10.0.0.0/8,nw_dst=10.0.0.3,tp_src=1000,tp_dst=80,ct_state=+trk+est,"
        "ct_zone=0,ct_mark=0,actions=ext"
    )
    result = tracked.send(make_tcp())
    assert result.outputs == [3]
    assert result.blockers == []
    assert result.blockers is result.blockers


@pytest.mark.parametrize(
    ("match", "name"),
    [
        ("nw_tos=0", "nw_tos"),
        ("nw_ecn=0", "nw_ecn"),
        ("nw_ttl=64", "nw_ttl"),
        ("nw_frag=no", "nw_frag"),
        ("tcp,tcp_flags=+ack", "tcp_flags"),
    ],
)
def test_each_field_that_no_entry_covers(tracked, make_tcp, match: str, name: str) -> None:
    tracked.flows(
        f"{TRACKED}table=1,priority=2,ip,{match},actions=ext\ntable=1,priority=1,actions=ext"
    )
    hit = tracked.send(make_tcp())
    assert hit.outputs == [3]
    assert hit.path[-1].priority == 2
    assert hit.blockers == [f"looks at {name}"]
    # a match that failed is a look, too
    miss = tracked.send(make_tcp(ttl=9, tos=0xFF, flags=0x01))
    if name != "nw_frag":
        assert miss.path[-1].priority != 2
        assert miss.blockers == [f"looks at {name}"]


def test_arp_fields(switch) -> None:
    from p4ct.packet.build import arp_frame

    switch.flows("priority=9,arp,arp_op=1,arp_tpa=10.0.0.9,actions=ext\npriority=1,arp,actions=vm2")
    frame = arp_frame(op=2, sha="2:0:0:0:0:1", spa="10.0.0.1", tpa="10.0.0.2")
    assert switch.send(parse(frame)).blockers == [STATELESS, "looks at arp_tpa", "looks at arp_op"]


def test_stateless(switch, make_tcp) -> None:
    switch.flows("tcp,actions=ext")
    assert switch.send(make_tcp()).blockers == [STATELESS]


def test_more_than_one_output(tracked, make_tcp) -> None:
    tracked.flows(TRACKED + "table=1,actions=vm2,ext")
    assert tracked.send(make_tcp()).blockers == ["more than one output: vm2, ext"]


def test_flood(tracked, make_tcp) -> None:
    tracked.flows(TRACKED + "table=1,actions=NORMAL")
    assert tracked.send(make_tcp()).blockers == [
        "flood: destination MAC not learned",
        "more than one output: vm2, ext",
    ]
    tracked.pipeline.macs.learn(0, bytes.fromhex("020000000003"), 3, 0.0)
    assert tracked.send(make_tcp()).blockers == []


def test_drop_is_named(tracked, make_tcp) -> None:
    tracked.flows(TRACKED + "table=1,actions=drop")
    assert tracked.send(make_tcp()).blockers == ["no output: action drop"]


def test_invalid_in_any_zone(tracked, make_tcp) -> None:
    tracked.ct.states[7] = CtState.TRK | CtState.INV
    tracked.flows(TRACKED + "table=1,ip,actions=ct(zone=7,table=2)\ntable=2,actions=ext")
    assert tracked.send(make_tcp()).blockers == ["invalid in zone 7: scripted"]


def test_fragment(tracked) -> None:
    tracked.flows(TRACKED + "table=1,actions=ext")
    packet = parse(
        ip_frame(src="10.0.0.1", dst="10.0.0.2", proto=17, payload=bytes(64), fragment=0x2000)
    )
    assert tracked.send(packet).blockers == ["fragment: an entry matches whole packets only"]


def test_icmp_type_is_covered_for_echo_only(tracked) -> None:
    tracked.flows(
        TRACKED + "table=1,priority=2,icmp,icmp_type=8,icmp_code=0,actions=ext\n"
        "table=1,priority=1,actions=ext"
    )
    echo = icmp_echo_frame(src="10.0.0.1", dst="10.0.0.2", identifier=1)
    assert tracked.send(parse(echo)).blockers == []
    other = icmp_frame(src="10.0.0.1", dst="10.0.0.2", icmp_type=13)
    assert tracked.send(parse(other)).blockers == ["looks at icmp_type", "looks at icmp_code"]


def test_related_icmp_error_is_not_the_connection(tracked) -> None:
    tracked.ct.states[0] = CtState.TRK | CtState.REL | CtState.RPL
    tracked.flows(TRACKED + "table=1,actions=ext")
    error = parse(icmp_frame(src="10.0.0.1", dst="10.0.0.2", icmp_type=3))
    assert tracked.send(error).blockers == ["ICMP error related to a connection of zone 0"]
    data = parse(udp_frame(src="10.0.0.1", dst="10.0.0.2", sport=1, dport=2))
    assert tracked.send(data).blockers == []


def test_covered_fields_by_name() -> None:
    echo = parse(icmp_echo_frame(src="fd00::1", dst="fd00::2", identifier=1))
    uncovered = {FIELDS[field].name for field in Field} - set(
        covered_by_connection_entry(echo).names()
    )
    assert uncovered == {
        "arp_spa",
        "arp_tpa",
        "arp_op",
        "arp_sha",
        "arp_tha",
        "nw_tos",
        "nw_ecn",
        "nw_ttl",
        "nw_frag",
        "nd_target",
        "tcp_flags",
    }
    solicitation = parse(icmp_frame(src="fd00::1", dst="fd00::2", icmp_type=135))
    assert set(covered_by_connection_entry(echo).names()) - set(
        covered_by_connection_entry(solicitation).names()
    ) == {"icmp_type", "icmp_code"}

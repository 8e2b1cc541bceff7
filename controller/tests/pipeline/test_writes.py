# SPDX-License-Identifier: Apache-2.0
"""Actions that write: headers, registers, mark and label, and what ct() sees of it."""

from __future__ import annotations

import pytest
from p4ct.conntrack import CtState
from p4ct.packet import parse
from p4ct.packet.build import arp_frame, icmp_frame, tcp_frame

EST = CtState.TRK | CtState.EST


def sent(result):
    """What goes out, as parsed from the bytes."""
    pairs = zip(result.outputs, result.packets, strict=True)
    return [(port, parse(pkt.frame)) for port, pkt in pairs]


def test_headers_change_from_the_action_on(switch, make_tcp) -> None:
    switch.flows(
        "tcp,actions=vm2,set_field:10.9.9.9->nw_dst,mod_tp_dst:8080,vm2,"
        "set_field:02:00:00:00:00:99->eth_src,dec_ttl,mod_nw_tos:0x20,set_field:3->nw_ecn,ext"
    )
    packet = make_tcp(tos=1)
    (_, first), (_, second), (_, third) = sent(switch.send(packet))
    assert first.frame == packet.frame
    fields = {"src": "10.0.0.1", "dst": "10.9.9.9", "sport": 1000, "dport": 8080, "flags": 0x10}
    link = {"eth_src": "02:00:00:00:00:01", "eth_dst": "02:00:00:00:00:03"}
    assert second.frame == tcp_frame(**fields, **link, tos=1)
    link["eth_src"] = "02:00:00:00:00:99"
    assert third.frame == tcp_frame(**fields, **link, tos=0x23, ttl=63)
    assert not third.error


def test_ipv6_and_masks(switch) -> None:
    switch.flows(
        "udp6,actions=drop\n"
        "priority=40000,tcp6,actions=set_field:fd00::9/::ffff->ipv6_src,load:2->NXM_OF_TCP_SRC[0..3],ext"
    )
    ends = {"dst": "fd00::2", "dport": 80}
    packet = parse(tcp_frame(src="fd01::1", sport=0x1111, **ends))
    ((_, out),) = sent(switch.send(packet))
    assert out.frame == tcp_frame(src="fd01::9", sport=0x1112, **ends)


def test_later_lookups_see_what_was_written(switch, make_tcp) -> None:
    switch.flows(
        "table=0,tcp,actions=set_field:10.9.9.9->nw_dst,load:5->reg1[],resubmit(,1),ext\n"
        "table=1,tcp,nw_dst=10.9.9.9,reg1=5,actions=mod_tp_dst:7,vm2\n"
    )
    result = switch.send(make_tcp())
    assert [(port, pkt.dport) for port, pkt in sent(result)] == [(2, 7), (3, 7)]


def test_a_copy_keeps_its_writes_to_itself(switch, make_tcp) -> None:
    switch.flows(
        "table=0,tcp,actions=load:1->reg0[],ct(table=1),resubmit(,2)\n"
        "table=1,tcp,reg0=1,actions=mod_nw_src:1.1.1.1,load:2->reg0[],vm2\n"
        "table=2,tcp,reg0=1,nw_src=10.0.0.1,actions=ext\n"
    )
    result = switch.send(make_tcp())
    assert [(port, pkt.src) for port, pkt in sent(result)] == [
        (2, bytes([1, 1, 1, 1])),
        (3, bytes([10, 0, 0, 1])),
    ]


def test_move_and_an_arp_responder(switch) -> None:
    switch.flows(
        "arp,arp_op=1,arp_tpa=10.0.0.100,actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],"
        "mod_dl_src:02:00:00:00:00:64,load:2->NXM_OF_ARP_OP[],"
        "move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],"
        "load:0x020000000064->NXM_NX_ARP_SHA[],set_field:10.0.0.100->arp_spa,in_port"
    )
    ask = arp_frame(op=1, sha="2:0:0:0:0:1", spa="10.0.0.1", tpa="10.0.0.100")
    ((port, answer),) = sent(switch.send(parse(ask)))
    assert port == 1
    assert answer.frame == arp_frame(
        op=2, sha="2:0:0:0:0:64", spa="10.0.0.100", tha="2:0:0:0:0:1", tpa="10.0.0.1",
        eth_dst="2:0:0:0:0:1",
    )  # fmt: skip


def test_ttl_that_runs_out_ends_the_copy_only(switch, make_tcp) -> None:
    switch.flows("table=0,tcp,actions=ct(table=1),ext\ntable=1,tcp,actions=vm2,dec_ttl,vm2\n")
    assert switch.send(make_tcp(ttl=1)).outputs == [2, 3]
    assert switch.send(make_tcp(ttl=2)).outputs == [2, 2, 3]
    switch.flows("table=0,tcp,actions=resubmit(,1),ext\ntable=1,tcp,actions=dec_ttl,vm2\n")
    result = switch.send(make_tcp(ttl=1))
    assert (result.outputs, result.drop_reason) == ([], "dec_ttl: TTL exceeded")


def test_what_is_malformed_is_not_written(switch) -> None:
    switch.flows("ip,actions=mod_nw_src:1.1.1.1,ext\npriority=40000,tcp,actions=mod_tp_src:1,ext")
    frame = bytearray(tcp_frame(src="10.0.0.1", dst="10.0.0.2", sport=1, dport=2))
    short = frame[: 14 + 20 + 8]
    short[16:18] = (28).to_bytes(2, "big")
    short[24:26] = bytes(2)
    from p4ct.packet.checksum import checksum

    short[24:26] = checksum(bytes(short[14:34])).to_bytes(2, "big")
    result = switch.send(parse(bytes(short)))
    assert result.drop_reason == "a field of a malformed packet is written: truncated TCP header"
    frame[14] = 0x55
    result = switch.send(parse(bytes(frame)))
    assert result.drop_reason.startswith("a field of a malformed packet is written: IPv4 version")


def test_ports_of_a_later_fragment_stay_away(switch) -> None:
    from p4ct.packet.build import ip_frame

    frame = ip_frame(src="10.0.0.1", dst="10.0.0.2", proto=6, payload=bytes(24), fragment=5)
    switch.flows("tcp,actions=mod_tp_src:9,ext")
    ((_, out),) = sent(switch.send(parse(frame)))
    assert out.frame == frame


# -- ct ------------------------------------------------------------------------------------


def test_zone_from_a_register(switch, make_tcp) -> None:
    switch.ct.states[0x105] = EST
    switch.flows(
        "table=0,tcp,actions=load:0x10577->reg2[],ct(zone=reg2[8..23],table=1)\n"
        "table=1,tcp,ct_state=+trk+est,ct_zone=0x105,actions=ext\n"
    )
    assert switch.send(make_tcp()).outputs == [3]
    assert switch.ct.calls == [("track", 0x105)]


def test_zone_from_a_field_of_the_packet_is_a_look_at_it(switch, make_tcp) -> None:
    switch.flows("tcp,actions=ct(zone=NXM_OF_TCP_DST[]),move:NXM_NX_IP_TTL[]->reg0[0..7],ext")
    result = switch.send(make_tcp())
    assert switch.ct.calls == [("track", 80)]
    assert {"tp_dst", "nw_ttl"} <= set(result.looked_at.names())


def test_a_packet_with_another_tuple_is_tracked_anew(switch, make_tcp) -> None:
    switch.flows(
        "table=0,tcp,actions=ct(table=1)\n"
        "table=1,tcp,ct_state=+trk,actions=mod_dl_src:2:0:0:0:0:9,ct(table=2)\n"
        "table=2,tcp,ct_state=+trk,actions=mod_nw_src:1.1.1.1,ct(table=3)\n"
        "table=3,tcp,ct_state=+trk,actions=ext\n"
    )
    assert switch.send(make_tcp()).outputs == [3]
    assert switch.ct.calls == [("track", 0), ("track", 0)]


def test_exec_writes_the_connection_and_the_copy_sees_it(switch, make_tcp) -> None:
    switch.ct.states[0] = EST
    switch.ct.marks[0] = 0xF0
    switch.flows(
        "table=0,tcp,actions=load:7->reg3[],ct(commit,table=1,exec(set_field:0x5/0xf->ct_mark,"
        "set_field:0x100000000000000000000->ct_label,move:reg3[0..3]->NXM_NX_CT_LABEL[124..127]))\n"
        f"table=1,tcp,ct_mark=0xf5,ct_label={7 << 124 | 1 << 80:#x},actions=ext\n"
    )
    result = switch.send(make_tcp())
    assert result.outputs == [3]
    (visit,) = result.ct
    assert visit.changed
    assert visit.connection is not None
    assert (visit.connection.mark, visit.connection.label) == (0xF5, 7 << 124 | 1 << 80)


def test_exec_of_what_is_there_changes_nothing(switch, make_tcp) -> None:
    switch.ct.states[0] = EST
    switch.ct.marks[0] = 1
    switch.flows("tcp,actions=ct(commit,exec(set_field:1->ct_mark)),ext")
    (visit,) = switch.send(make_tcp()).ct
    assert not visit.changed


def test_a_question_shows_the_mark_and_does_not_set_it(switch, make_tcp) -> None:
    from p4ct.pipeline import PeekConntrack

    switch.ct.states[0] = EST
    switch.flows(
        "table=0,tcp,actions=ct(commit,table=1,exec(set_field:1->ct_mark))\n"
        "table=1,tcp,ct_mark=1,actions=ext\n"
    )
    lines: list[str] = []
    peek = PeekConntrack(switch.ct)
    result = switch.pipeline.process(make_tcp(), 1, 0.0, ct=peek, trace=lines)
    assert result.outputs == [3]
    assert result.ct[0].changed
    assert result.ct[0].connection is not None
    assert result.ct[0].connection.mark == 0
    assert "     -> ct_mark=0x1, ct_label=0x0" in lines


@pytest.mark.parametrize("family", ["ip", "ipv6"])
def test_the_original_tuple(switch, family: str) -> None:
    from p4ct.conntrack import Timeouts, Tracker
    from p4ct.pipeline import Pipeline, parse_flows

    pipeline = Pipeline(switch.ports, Tracker(Timeouts()))
    one, two = ("10.0.0.1", "10.0.0.2") if family == "ip" else ("fd00::1", "fd00::2")
    name = "nw" if family == "ip" else "ipv6"
    text = (
        f"table=0,{family},actions=ct(commit,table=1)\n"
        f"table=1,{family},ct_state=+trk,ct_{name}_src={one},ct_{name}_dst={two},ct_nw_proto=6,"
        "ct_tp_src=1000,ct_tp_dst=80,actions=in_port\n"
    )
    pipeline.replace(parse_flows(text, ports=switch.ports.numbers))
    there = tcp_frame(src=one, dst=two, sport=1000, dport=80, flags=2)
    back = tcp_frame(src=two, dst=one, sport=80, dport=1000, flags=0x12, ack=1)
    for frame in (there, back):
        assert pipeline.process(parse(frame), 1, 0.0).outputs == [1]
    error = icmp_frame(
        src=two, dst=one, icmp_type=3 if family == "ip" else 1, body=bytes(4) + there[14:]
    )
    assert pipeline.process(parse(error), 1, 0.0).outputs == [1]
    other = tcp_frame(src=one, dst=two, sport=1001, dport=80, flags=2)
    assert not pipeline.process(parse(other), 1, 0.0).outputs

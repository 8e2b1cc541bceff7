# SPDX-License-Identifier: Apache-2.0
"""The story that explain tells."""

from __future__ import annotations

from p4ct.conntrack import CtState


def story(switch, packet, in_port: int = 1) -> list[str]:
    lines: list[str] = []
    switch.pipeline.process(packet, in_port, 0.0, trace=lines)
    return lines


def test_tracked_and_flooded(switch, make_tcp) -> None:
    switch.flows(
        "cookie=0xab,table=0,priority=7,ip,actions=ct(table=1)\n"
        "table=1,ip,ct_state=+trk+new,actions=ct(commit),NORMAL\n"
    )
    assert story(switch, make_tcp(flags=0x02)) == [
        "Flow: tcp,vlan_tci=0x0000,in_port=vm1,dl_src=02:00:00:00:00:01,"
        "dl_dst=02:00:00:00:00:03,nw_src=10.0.0.1,nw_dst=10.0.0.3,nw_tos=0,nw_ecn=0,nw_ttl=64,"
        "tp_src=1000,tp_dst=80,tcp_flags=syn",
        "",
        " 0. ip, priority 7, cookie 0xab, flows line 1",
        "    ct(table=1)",
        "     -> zone 0: ct_state=+new+trk",
        "     -> a copy resumes at table 1",
        " 1. ct_state=+new+trk,ip, priority 32768, flows line 2",
        "    ct(commit)",
        "     -> zone 0: ct_state=+new+trk, src=0.0.0.0 dst=0.0.0.0 sport=1 dport=2",
        "     -> committed",
        "     -> ct fields are cleared: ct() without table resumes nowhere",
        "    NORMAL",
        "     -> learned 02:00:00:00:00:01 VLAN 0 behind vm1",
        "     -> destination MAC not learned: flooding",
        "",
        "Outputs: vm2,ext",
        "Looked at: ct_state,dl_type,in_port,dl_vlan,dl_src,dl_dst",
        "Not for the eswitch: flood: destination MAC not learned; more than one output: vm2, ext",
    ]


def test_miss_drop_and_invalid(switch, make_tcp) -> None:
    switch.ct.states[0] = CtState.TRK | CtState.INV
    switch.flows("ip,actions=ct(commit,table=3)\ntable=3,ip,ct_state=+inv,actions=drop")
    lines = story(switch, make_tcp())
    assert "     -> zone 0: ct_state=+inv+trk (scripted)" in lines
    assert "     -> not committed: the packet is invalid" in lines
    assert lines[-3] == "Dropped: action drop"
    assert "invalid in zone 0: scripted" in lines[-1]
    switch.flows("arp,actions=drop")
    lines = story(switch, make_tcp())
    assert lines[2:4] == [" 0. No match.", "    drop"]
    assert lines[5] == "Dropped: no flow in table 0"


def test_skipped_output_and_fit(switch, make_tcp) -> None:
    switch.ct.states[0] = CtState.TRK | CtState.EST
    switch.flows("table=0,ip,actions=ct(table=1)\ntable=1,actions=vm1,ext")
    lines = story(switch, make_tcp())
    assert "     -> skipped: this is the ingress vport" in lines
    assert lines[-1] == "Fit for an eswitch entry, once the connection is established."


def test_learning_switch_notes(switch, make_tcp) -> None:
    switch.flows("actions=NORMAL")
    story(switch, make_tcp(eth_src="2:0:0:0:0:3"), 2)
    assert "     -> learned 02:00:00:00:00:03 VLAN 0 behind ext, was behind vm2" in story(
        switch, make_tcp(eth_src="2:0:0:0:0:3"), 3
    )
    lines = story(switch, make_tcp())
    assert "     -> forwarding to the learned vport" in lines
    lines = story(switch, make_tcp(), 3)
    assert "     -> NORMAL: destination is behind the ingress vport" in lines


def test_other_kinds_of_packets(switch) -> None:
    from p4ct.packet import parse
    from p4ct.packet.build import arp_frame, icmp_echo_frame, ip_frame

    switch.flows("actions=drop")
    arp = arp_frame(op=1, sha="2:0:0:0:0:1", spa="10.0.0.1", tpa="10.0.0.2")
    assert story(switch, parse(arp))[0].endswith(
        "arp_spa=10.0.0.1,arp_tpa=10.0.0.2,arp_op=1,arp_sha=02:00:00:00:00:01,"
        "arp_tha=00:00:00:00:00:00"
    )
    echo = icmp_echo_frame(src="fd00::1", dst="fd00::2", identifier=1, vlan_id=5, vlan_pcp=1)
    line = story(switch, parse(echo))[0]
    assert line.startswith("Flow: icmp6,vlan_tci=0x3005,")
    assert line.endswith("icmpv6_type=128,icmpv6_code=0")
    gre = ip_frame(src="10.0.0.1", dst="10.0.0.2", proto=47, payload=bytes(8), fragment=5)
    assert story(switch, parse(gre))[0].endswith("nw_ttl=64,nw_proto=47,nw_frag=later")
    assert story(switch, parse(bytes(12) + b"\x88\xcc" + bytes(50)))[0].startswith(
        "Flow: dl_type=0x88cc,"
    )

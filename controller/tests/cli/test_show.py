# SPDX-License-Identifier: Apache-2.0
"""What the commands print, line by line: the formats of conntrack, dpctl and ovs-ofctl."""

from __future__ import annotations

import re
from typing import Any

import pytest
from p4ct.cli import show
from p4ct.daemon import views
from p4ct.daemon.tuples import parse_tuple
from p4ct.eswitch.entries import FlowKey
from p4ct.offload.ageing import Sampling
from p4ct.offload.explain import explain
from p4ct.offload.next_hops import NextHopKey
from p4ct.offload.stateless import StatelessFlow
from p4ct.packet import build
from p4ct.packet.parse import parse
from p4ct.pipeline.format import flow_line
from p4ct.pipeline.ports import PortTable, Vport, Vxlan

from ..offload.model import ACK, IP, IP6, MAC, SYN, Tcp, World, learn


@pytest.fixture
def world() -> World:
    made = World()
    learn(made)
    return made


def offload(world: World, *, v6: bool = False) -> Tcp:
    tcp = Tcp(world, v6=v6).offload()
    for _ in range(3):
        tcp.send("vm1", ACK, b"x" * 100)
    world.refresh()
    return tcp


def connections(world: World) -> list[dict[str, Any]]:
    return [views.connection(c, world.now) for c in world.connections()]


def records(world: World) -> list[dict[str, Any]]:
    return [views.record(r, world.ports, world.now) for r in world.manager.records.values()]


def test_conntrack_list(world: World, capsys: Any) -> None:
    Tcp(world, sport=41000).send("vm1", SYN)
    offload(world)
    show.connections(connections(world))
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        "tcp      6 120 SYN_SENT src=10.0.0.1 dst=10.0.0.3 sport=41000 dport=80 packets=1 bytes=54 "
        "[UNREPLIED] src=10.0.0.3 dst=10.0.0.1 sport=80 dport=41000 packets=0 bytes=0 mark=0 "
        "zone=1 use=1",
        "tcp      6 432000 ESTABLISHED src=10.0.0.1 dst=10.0.0.3 sport=40000 dport=80 packets=6 "
        "bytes=632 src=10.0.0.3 dst=10.0.0.1 sport=80 dport=40000 packets=2 bytes=114 [ASSURED] "
        "[OFFLOAD] mark=0 zone=1 use=1",
    ]
    assert printed.err == "2 connections have been shown.\n"


def test_offload_list(world: World, capsys: Any) -> None:
    offload(world)
    world.now += 2.5
    show.records(records(world))
    assert capsys.readouterr().out.splitlines() == [
        "ct_state(+est-rpl+trk),ct_zone(1),in_port(vm1),"
        "eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),ipv4(src=10.0.0.1,dst=10.0.0.3),"
        "tcp(src=40000,dst=80), packets:4, bytes:524, used:2.500s, offloaded:yes, dp:eswitch, "
        "index:0/0, actions:ext",
        "ct_state(+est+rpl+trk),ct_zone(1),in_port(ext),"
        "eth(src=02:00:00:00:00:02,dst=02:00:00:00:00:01),ipv4(src=10.0.0.3,dst=10.0.0.1),"
        "tcp(src=80,dst=40000), packets:1, bytes:60, used:2.500s, offloaded:yes, dp:eswitch, "
        "index:0/0, actions:vm1",
    ]


def test_offload_list_of_ipv6_and_of_a_record_that_leaves(world: World, capsys: Any) -> None:
    offload(world, v6=True)
    world.auto_round = False
    world.manager.remove(next(iter(world.manager.records.values())), "test")
    show.records(records(world))
    first = capsys.readouterr().out.splitlines()[0]
    assert "ipv6(src=fd00::1,dst=fd00::3),tcp(src=40000,dst=80), " in first
    assert "offloaded:leaving, " in first


def test_offload_list_with_a_tag_of_flows(world: World, capsys: Any) -> None:
    tagged = "table=2,priority=9,in_port=vm1,actions=mod_vlan_vid:5,ext"
    world.pipeline.add(world.flows(tagged), world.now)
    offload(world)
    show.records(records(world))
    there, back = capsys.readouterr().out.splitlines()
    assert there.endswith("actions:push_vlan(vid=5,pcp=0),ext")
    assert back.endswith("actions:vm1")
    assert [entry["push_vlan"] for entry in records(world)[0]["entries"]] == [5, None]


def test_offload_list_of_icmp(world: World, capsys: Any) -> None:
    for source, target, reply in (("vm1", "ext", False), ("ext", "vm1", True)) * 2:
        frame = build.icmp_echo_frame(
            eth_src=MAC[source],
            eth_dst=MAC[target],
            src=IP[source],
            dst=IP[target],
            identifier=77,
            reply=reply,
        )
        world.packet(frame, 1 if source == "vm1" else 3)
    show.records(records(world))
    lines = capsys.readouterr().out.splitlines()
    assert ",icmp(id=77,type=8), " in lines[0]
    assert ",icmp(id=77,type=0), " in lines[1]
    assert IP6  # the model has both families


def test_offload_why(world: World, capsys: Any) -> None:
    Tcp(world, sport=41000).send("vm1", SYN)
    offload(world)
    found = connections(world)
    reason = found[0]["offload_reason"]
    show.why({"connections": found, "reasons": {"offloaded": 1, reason: 3, "": 2}})
    assert capsys.readouterr().out.splitlines() == [
        f"tcp    10.0.0.1:41000 > 10.0.0.3:80 zone=1 SYN_SENT: {reason}",
        "tcp    10.0.0.1:40000 > 10.0.0.3:80 zone=1 ESTABLISHED: offloaded",
        "",
        f"       3  {reason}",
        "       2  not decided yet",
        "       1  offloaded",
    ]


def test_offload_why_of_icmp_and_of_ipv6(world: World, capsys: Any) -> None:
    frame = build.icmp_echo_frame(
        eth_src=MAC["vm1"], eth_dst=MAC["ext"], src=IP["vm1"], dst=IP["ext"], identifier=121
    )
    world.packet(frame, 1)
    Tcp(world, v6=True).send("vm1", SYN)
    show.why({"connections": connections(world), "reasons": {}})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("icmp   10.0.0.1 > 10.0.0.3 type=8 code=0 id=121 zone=1 UNREPLIED: ")
    assert lines[1].startswith("tcp    [fd00::1]:40000 > [fd00::3]:80 zone=1 SYN_SENT: ")


def test_offload_why_of_nothing(capsys: Any) -> None:
    show.why({"connections": [], "reasons": {}})
    assert capsys.readouterr().out == "0 connections\n"


def test_flows_list(world: World, capsys: Any) -> None:
    offload(world)
    now = world.now + 61.25
    name = world.ports.name
    lines = [{"text": flow_line(flow, now, name)} for flow in world.pipeline.flows[-2:]]
    show.flows(lines)
    assert capsys.readouterr().out.splitlines() == [
        " cookie=0x0, duration=61.250s, table=1, n_packets=0, n_bytes=0, priority=0 actions=drop",
        " cookie=0x0, duration=61.250s, table=2, n_packets=8, n_bytes=746, priority=0 "
        "actions=NORMAL",
    ]


def test_pending(world: World, capsys: Any) -> None:
    Tcp(world).send("vm1", SYN)
    (connection,) = connections(world)
    show.pending([{"position": 1, **connection}])
    printed = capsys.readouterr()
    assert printed.out == f"     1  {connection['line']}\n"
    assert printed.err == "1 connections are waiting.\n"


def test_explain(world: World, capsys: Any) -> None:
    offload(world)
    text = "tcp src=10.0.0.1 dst=10.0.0.3 sport=40000 dport=80"
    question = parse_tuple(text, world.ports)
    show.explanation(
        explain(
            question,
            world.pipeline,
            world.tracker,
            world.manager,
            world.slow_path.stations,
            world.now,
        )
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "tuple:      tcp src=10.0.0.1 dst=10.0.0.3 sport=40000 dport=80"
    assert re.fullmatch(r"connection: tcp .* \[OFFLOAD\] .* \(original direction\)", lines[1])
    assert lines[2] == (
        "offloaded:  index 0/0, active, idle timeout 3600 s, original 4 packets 524 bytes, "
        "reply 1 packets 60 bytes"
    )
    assert lines[-2:] == [
        "verdict:    forward to ext",
        "eswitch:    an entry holds it: index 0/0",
    ]
    assert len(lines) > 6, "the trace is in between"


def test_explain_of_nothing_known(world: World, capsys: Any) -> None:
    question = parse_tuple("udp src=10.9.9.9 dst=10.0.0.3", world.ports)
    show.explanation(
        explain(
            question,
            world.pipeline,
            world.tracker,
            world.manager,
            world.slow_path.stations,
            world.now,
        )
    )
    assert capsys.readouterr().out.splitlines() == [
        "tuple:      udp src=10.9.9.9 dst=10.0.0.3 sport=0 dport=0",
        "note:       asked with sport 0 and dport 0; add sport=N dport=N for another packet",
        "connection: none",
        "verdict:    unknown ingress; add in_port=… (one of vm1, ext) for the way it takes",
    ]


STATUS: dict[str, Any] = {
    "target": {
        "address": "127.0.0.1:9559",
        "connected": True,
        "in_step": True,
        "fresh": True,
        "sessions": 1,
        "program_version": "1.0.0",
    },
    "connections": {
        "active": 2,
        "seen": 9,
        "offloaded": 1,
        "offloaded_total": 5,
        "removed_total": 4,
    },
    "packets": {"punted": 25, "fast_path": 75},
    "punts": {"MISS": 20, "TCP_SYN": 5, "DRAIN": 0},
    "drops": {"pipeline": {"action drop": 3}, "slow_path": {}, "eswitch": {}},
    "offload": {
        "capacity": 100,
        "ageing": {"by": "idle-timeout"},
        "removed": {"idle": 4},
        "failed": {},
        "drift": {},
    },
    "entries": 2,
    "pending": 0,
    "policy_version": 3,
    "flows": 6,
}


def test_status(capsys: Any) -> None:
    show.status(STATUS)
    assert capsys.readouterr().out.splitlines() == [
        "target            127.0.0.1:9559 (connected), program 1.0.0, session 1",
        "policy            version 3, 6 flows",
        "connections       2 active, 9 seen, 1 offloaded now, 5 offloaded in all, 4 removed",
        "packets           25 punted, 75 by entries (75.00 %)",
        "entries           2 (capacity 200)",
        "ageing            by idle-timeout",
        "pending           0",
        "punts             MISS 20, TCP_SYN 5",
        "drops, pipeline   action drop 3",
        "drops, slow_path  none",
        "drops, eswitch    none",
        "removed           idle 4",
        "refused           none",
        "drift             none",
    ]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (
            {"connected": False, "in_step": False, "fresh": False},
            "(NOT CONNECTED: counters may be old)",
        ),
        ({"connected": False, "standby": True}, "(STANDBY: another controller is primary; "),
        ({"in_step": False, "fresh": False}, "(connected, RECONCILING)"),
        ({"fresh": False}, "(connected, NOT ANSWERING: counters may be old)"),
    ],
)
def test_status_says_what_is_wrong(capsys: Any, target: dict[str, Any], words: str) -> None:
    show.status({**STATUS, "target": {**STATUS["target"], **target}})
    assert words in capsys.readouterr().out.splitlines()[0]


def test_status_of_sampling(capsys: Any) -> None:
    sampling = {"text": str(Sampling(1.5, 2)), "latest": 4.25}
    ageing = {"by": "sampling", "sampling": sampling}
    show.status({**STATUS, "offload": {**STATUS["offload"], "ageing": ageing}})
    assert (
        "ageing            by sampling: 1/4 of the connections every 1.5 s, at most 7.5 s late "
        "(so far 4.25 s)"
    ) in capsys.readouterr().out.splitlines()
    assert str(Sampling(1.0, 0)) == "all connections every 1 s, at most 2 s late"


def test_status_without_packets(capsys: Any) -> None:
    show.status({**STATUS, "packets": {"punted": 0, "fast_path": 0}})
    assert "0 punted, 0 by entries (0.00 %)" in capsys.readouterr().out


def test_changes(capsys: Any) -> None:
    show.changed({"added": 2, "removed": 1})
    show.deleted({"added": 0, "removed": 1})
    show.deleted({"added": 0, "removed": 0})
    show.flushed(3)
    assert capsys.readouterr().out.splitlines() == [
        "flows added: 2, removed: 1; in effect",
        "flows added: 0, removed: 1; in effect",
        "no flow matches",
        "connections flushed: 3",
    ]


def test_vport_list_and_move(world: World, capsys: Any) -> None:
    offload(world)
    rows = world.manager.next_hops
    show.vports([views.vport(v, world.ports, rows) for v in world.ports.by_id.values()])
    show.moved({"vports": ["ext"], "next_hops": 1, "entries": 2})
    assert capsys.readouterr().out.splitlines() == [
        "ID  NAME  KIND    PORT  TAG  MTU  NEXT HOP  ENTRIES  TUNNEL",
        "1   vm1   vf      1     -    -    2         1        -",
        "3   ext   uplink  3     -    -    1         1        -",
        "moved: ext; next hops rewritten: 1, entries that follow: 2",
    ]


def test_vport_list_of_a_tunnel(capsys: Any) -> None:
    way = Vxlan(7, "192.0.2.1", "192.0.2.2", "02:00:00:00:01:01", "02:00:00:00:01:02")
    ports = PortTable([Vport(4, "far", 3, vlan=9, mtu=1450, vxlan=way)])
    show.vports([views.vport(ports.by_id[4], ports, World().manager.next_hops)])
    assert capsys.readouterr().out.splitlines()[1] == (
        "4   far   vf    3     9    1450  -         0        "
        "vxlan 7 192.0.2.1 > 192.0.2.2 (02:00:00:00:01:01 > 02:00:00:00:01:02)"
    )


def test_conntrack_stats(capsys: Any) -> None:
    show.stats(
        {
            "total": 3,
            "limit": 10,
            "by_protocol": {"tcp": 2, "112": 1},
            "by_tcp_state": {"ESTABLISHED": 2},
            "by_state": {"ESTABLISHED": 2, "UNREPLIED": 1},
            "by_zone": {"1": 3},
            "counters": {"seen": 5, "invalid": 0},
            "expectations": 2,
            "kernel_sync": {},
            "fragments": {"waiting": 0, "reassembled": 0},
        }
    )
    assert capsys.readouterr().out.splitlines() == [
        "Connections Stats:",
        "    Total: 3 (at most 10)",
        "  TCP: 2",
        "    Conn per TCP states:",
        "      [ESTABLISHED]=2",
        "  112: 1",
        "By state: ESTABLISHED 2, UNREPLIED 1",
        "By zone: 1 3",
        "Events: seen 5",
        "Fragments: none",
        "Kernel: none",
        "Expectations: 2",
    ]


def test_offload_flows(capsys: Any) -> None:
    key = FlowKey(
        1, 1, eth_src=(0x020000000001, 0xFFFFFFFFFFFF), ether_type=(0x86DD, 0xFFFF),
        dst=(0xFD << 120 | 3, (1 << 128) - 1), proto=(17, 255), dport=(53, 0xFFFF),
    )  # fmt: skip
    world = World()
    result = world.pipeline.process(parse(bytes(60)), 1, 0.0)
    flow = StatelessFlow(key, NextHopKey(3), result, None)
    flow.counts = (2, 120)
    show.stateless([views.stateless_flow(flow, world.ports)])
    assert capsys.readouterr().out == (
        "in_port(vm1),eth(src=02:00:00:00:00:01),eth_type(0x86dd),ipv6(dst=fd00::3,proto=17),"
        "l4(dst=53), packets:2, bytes:120, offloaded:queued, dp:eswitch, actions:ext\n"
    )

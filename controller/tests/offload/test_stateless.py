# SPDX-License-Identifier: Apache-2.0
"""Stateless flows: what may become one, what it matches, and when it goes."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from p4ct.eswitch.entries import FlowKey, Insert, NextHopEntry
from p4ct.offload.manager import OffloadOptions
from p4ct.offload.record import RecordState
from p4ct.offload.stateless import PROVEN
from p4ct.packet import build
from p4ct.packet.parse import parse
from p4ct.pipeline.ports import PortTable, Vport

from .model import ACK, DENY_ALL, IP, MAC, POLICY, SYN, Tcp, World, finish, learn

PLAIN = "table=0,in_port=vm1,actions=output:ext\ntable=0,in_port=ext,actions=output:vm1\n"


def made(policy: str = PLAIN, **options: object) -> World:
    world = World(policy=policy, options=OffloadOptions(stateless=True, **options))  # type: ignore[arg-type]
    learn(world)
    return world


def udp(source: str = "vm1", sport: int = 4000, dport: int = 53, **fields: object) -> bytes:
    target = "ext" if source == "vm1" else "vm1"
    given_fields: dict[str, object] = {
        "eth_src": MAC[source], "eth_dst": MAC[target], "src": IP[source], "dst": IP[target],
        "sport": sport, "dport": dport, **fields,
    }  # fmt: skip
    return build.udp_frame(**given_fields)  # type: ignore[arg-type]


def vport(source: str) -> int:
    return 1 if source == "vm1" else 3


def prove(world: World, source: str = "vm1", **fields: object) -> list[str]:
    """As many packets alike as are needed, and one more; who forwarded each."""
    frame = udp(source, **fields)  # type: ignore[arg-type]
    return [world.packet(frame, vport(source)) for _ in range(PROVEN + 1)]


def keys(world: World) -> list[FlowKey]:
    return list(world.switch.flows)


def test_a_flow_is_written_when_it_is_proven() -> None:
    world = made()
    assert prove(world) == ["software"] * PROVEN + ["hardware"]
    # Nobody looked at more than the ingress, so everything else of this EtherType is in it.
    assert keys(world) == [FlowKey(1, 1, ether_type=(0x0800, 0xFFFF))]
    assert world.packet(udp(sport=1, dport=2), 1) == "hardware"
    tcp = Tcp(world)
    assert tcp.send("vm1", SYN) == "software"
    assert tcp.send("vm1", ACK) == "hardware"
    assert world.packet(udp("ext"), 3) == "software"


LOOKING = [
    ("udp,nw_src=10.0.0.1", {"src", "proto"}),
    ("udp,nw_dst=10.0.0.0/8", {"dst", "proto"}),
    ("udp,tp_src=4000", {"proto", "sport"}),
    ("udp,tp_dst=53", {"proto", "dport"}),
    ("udp", {"proto"}),
    ("dl_src=02:00:00:00:00:01", {"eth_src"}),
    ("dl_dst=02:00:00:00:00:02", {"eth_dst"}),
    ("ip", set[str]()),
]


@pytest.mark.parametrize(("match", "fields"), LOOKING)
def test_the_entry_matches_what_was_looked_at(match: str, fields: set[str]) -> None:
    world = made(f"table=0,priority=1,in_port=vm1,{match},actions=output:ext\n")
    assert prove(world)[-1] == "hardware"
    (key,) = keys(world)
    matched = {name for name in FlowKey._fields[3:] if getattr(key, name) is not None}
    assert matched | ({"eth_src"} if key.eth_src else set()) == fields | {"ether_type"}


@pytest.mark.parametrize(
    ("match", "kind"),
    [
        ("ip,nw_tos=4", "udp"),
        ("ip,nw_ttl=9", "udp"),
        ("ip,nw_ecn=1", "udp"),
        ("tcp,tcp_flags=+psh", "tcp"),
        ("arp,arp_tpa=10.0.0.9", "arp"),
    ],
)
def test_what_the_entry_cannot_match_stays_in_software(match: str, kind: str) -> None:
    policy = f"table=0,priority=40000,{match},actions=drop\n{PLAIN}"
    world = made(policy)
    frame = frame_of(kind, "vm1", 4000, 53)
    assert {world.packet(frame, 1) for _ in range(2 * PROVEN)} == {"software"}
    assert not world.switch.flows
    # Only who has the field was in question.
    other = frame_of("arp" if kind == "udp" else "udp", "vm1", 4000, 53)
    assert [world.packet(other, 1) for _ in range(PROVEN + 1)][-1] == "hardware"


def test_a_rule_that_did_not_match_was_looked_at_too() -> None:
    """Denied: port 53 from 10.0.0.9. What an entry for others lets through is not that."""
    world = made(f"table=0,priority=40000,udp,nw_src=10.0.0.9,tp_dst=53,actions=drop\n{PLAIN}")
    assert prove(world)[-1] == "hardware"
    world.delivered.clear()
    assert world.packet(udp(src="10.0.0.9"), 1) == "software"
    assert world.delivered == []


def test_arp_by_the_learning_switch() -> None:
    world = made(POLICY)
    frame = build.arp_frame(
        op=2, sha=MAC["vm1"], spa=IP["vm1"], tha=MAC["ext"], tpa=IP["ext"], eth_dst=MAC["ext"]
    )
    assert [world.packet(frame, 1) for _ in range(PROVEN + 1)][-1] == "hardware"
    (key,) = keys(world)
    assert key == FlowKey(
        1, 1,
        eth_src=(int.from_bytes(MAC["vm1"], "big"), (1 << 48) - 1),
        eth_dst=(int.from_bytes(MAC["ext"], "big"), (1 << 48) - 1),
        ether_type=(0x0806, 0xFFFF),
    )  # fmt: skip
    # Broadcast is flooded, whoever asks how often.
    probe = build.arp_frame(op=1, sha=MAC["vm1"], spa=IP["vm1"], tha=bytes(6), tpa=IP["ext"])
    assert {world.packet(probe, 1) for _ in range(2 * PROVEN)} == {"software"}


def test_what_passes_ct_is_no_flow() -> None:
    world = made(POLICY)
    for _ in range(2 * PROVEN):
        world.packet(udp("ext"), 3)  # not allowed to begin
    Tcp(world).offload()
    assert not world.switch.flows


def test_a_second_tag_is_in_no_flow() -> None:
    world = made()
    prove(world)
    tagged = parse(udp()[:12] + b"\x81\x00\x00\x07" + udp()[12:])
    assert tagged.vlan_id == 7
    for _ in range(2 * PROVEN):
        world.packet(tagged.frame, 1)
    assert all(key.ether_type == (0x0800, 0xFFFF) for key in keys(world))


def test_a_policy_change_removes_all_and_waits() -> None:
    world = made()
    prove(world)
    gone: list[int] = []
    leaving = world.change_policy(DENY_ALL)
    assert len(leaving) == 1
    leaving[0].on_gone.append(lambda: gone.append(1))
    world.rounds()
    assert gone == [1]
    assert world.switch.empty
    world.delivered.clear()
    prove(world)
    assert world.delivered == []


def test_a_policy_change_while_it_is_written() -> None:
    world = made()
    changed: list[object] = []

    def meanwhile(op: object) -> None:
        if isinstance(op, Insert) and not changed:
            changed.extend(world.change_policy(DENY_ALL))

    world.switch.between = meanwhile
    prove(world)
    assert len(changed) == 1
    assert world.switch.empty
    assert not world.manager.stateless.entries


@pytest.mark.parametrize("row", ["FlowEntry", "NextHopEntry"])
def test_refused_by_the_switch(row: str) -> None:
    world = made()
    world.switch.refuse[row] = "RESOURCE_EXHAUSTED"
    assert set(prove(world)) == {"software"}
    assert world.switch.empty
    assert world.manager.stateless.failed["RESOURCE_EXHAUSTED"] >= 1
    assert len(world.manager.paths) == len(world.manager.next_hops) == 0
    world.switch.refuse.clear()
    assert prove(world)[-1] == "hardware"


def test_each_vport_has_its_share() -> None:
    policy = "table=0,in_port=vm1,udp,tp_src=0/0xffff,actions=drop\n"
    policy += "table=0,priority=1,in_port=vm1,actions=output:ext\n"
    policy += "table=0,priority=1,in_port=ext,actions=output:vm1\n"
    world = made(policy, flow_capacity=6)
    for sport in range(1, 8):
        prove(world, sport=sport)
    assert len(world.switch.flows) == 3
    assert world.manager.stateless.failed.total() > 0
    assert prove(world, "ext")[-1] == "hardware"


def test_idle() -> None:
    world = made()
    prove(world)
    world.later(9.0)
    world.report_idle()
    assert len(world.switch.flows) == 1
    world.later(1.0)
    world.report_idle()
    assert world.switch.empty
    (flow,) = [f for f in world.pipeline.flows if f.n_packets > 2]
    assert (flow.n_packets, flow.hw_packets) == (PROVEN + 1, 1)


def test_a_station_that_moves_takes_its_flows_along() -> None:
    world = World(
        policy="table=0,actions=NORMAL\n",
        options=OffloadOptions(stateless=True),
        ports=PortTable([Vport(1, "vm1", 1), Vport(3, "ext", 3), Vport(4, "other", 4)]),
    )
    learn(world)
    prove(world)
    prove(world, "ext")
    assert len(world.switch.flows) == 2
    world.packet(
        build.arp_frame(op=1, sha=MAC["ext"], spa=IP["ext"], tha=bytes(6), tpa=IP["vm1"]), 4
    )
    assert not world.switch.flows
    world.delivered.clear()
    assert prove(world)[-1] == "hardware"
    assert {port for port, _ in world.delivered} == {4}


def test_a_station_that_is_forgotten_is_flooded_to() -> None:
    world = made("table=0,actions=NORMAL\n")
    prove(world)
    for _ in range(40):
        world.later(8.0)
        assert world.packet(udp(), 1) == "hardware"
        world.refresh()
        if not world.switch.flows or world.manager.has_work:
            break
        world.rounds()
    world.rounds()
    assert not world.switch.flows, "ext was never heard of for more than five minutes"
    assert world.pipeline.macs.lookup(0, MAC["vm1"], world.now) == 1, "its sender is alive"


def test_flows_go_with_a_reconciliation_and_come_back() -> None:
    world = made()
    prove(world)
    world.reconcile()
    assert world.switch.empty
    assert prove(world)[-1] == "hardware"
    again = World(policy=PLAIN, switch=world.switch, options=OffloadOptions(stateless=True))
    again.reconcile()
    assert again.switch.empty


def test_mtu_and_a_moved_vport() -> None:
    ports = PortTable([Vport(1, "vm1", 1), Vport(3, "ext", 3, mtu=1000)])
    world = World(policy=PLAIN, ports=ports, options=OffloadOptions(stateless=True))
    assert prove(world)[-1] == "hardware"
    assert world.packet(udp(payload=bytes(1200)), 1) == "software"
    (hop,) = world.switch.hops.values()
    finish(world.switch.write([]))
    assert hop == NextHopEntry(hop.next_hop, port=3, mtu=1000, vlan_op=hop.vlan_op)


def test_switched_off() -> None:
    world = World(policy=PLAIN)
    assert set(prove(world)) == {"software"}


# -- invariants over random histories --------------------------------------------------------

POLICIES = [
    PLAIN,
    "table=0,actions=NORMAL\n",
    "table=0,priority=9,udp,tp_dst=53,actions=drop\ntable=0,priority=1,actions=NORMAL\n",
    "table=0,priority=9,in_port=vm1,ip,nw_dst=10.0.0.3,actions=output:ext\n"
    "table=0,priority=8,arp,actions=NORMAL\ntable=0,priority=1,actions=drop\n",
    "table=0,priority=9,icmp,icmp_type=8,actions=NORMAL\n"
    "table=0,priority=8,tcp,tp_src=80/0xfff0,actions=NORMAL\ntable=0,priority=1,actions=drop\n",
    POLICY,
    DENY_ALL,
]

PACKETS = st.tuples(
    st.sampled_from(["udp", "tcp", "icmp", "arp"]),
    st.sampled_from(["vm1", "ext"]),
    st.sampled_from([53, 80]),
    st.sampled_from([53, 80]),
    st.integers(1, PROVEN + 1),
)
STEPS = st.lists(
    st.one_of(
        PACKETS.map(lambda p: ("packets", *p)),
        PACKETS.map(lambda p: ("packets", *p)),
        st.tuples(st.just("policy"), st.integers(0, len(POLICIES) - 1)),
        st.tuples(st.just("refresh")),
        st.tuples(st.just("idle")),
    ),
    max_size=30,
)


def frame_of(kind: str, source: str, sport: int, dport: int) -> bytes:
    target = "ext" if source == "vm1" else "vm1"
    macs = {"eth_src": MAC[source], "eth_dst": MAC[target]}
    ends = {"src": IP[source], "dst": IP[target]}
    match kind:
        case "udp":
            return build.udp_frame(**macs, **ends, sport=sport, dport=dport)
        case "tcp":
            return build.tcp_frame(**macs, **ends, sport=sport, dport=dport, flags=ACK)
        case "icmp":
            return build.icmp_echo_frame(**macs, **ends, identifier=sport, reply=dport == 80)
        case _:
            return build.arp_frame(
                op=2, sha=MAC[source], spa=IP[source], tha=MAC[target], tpa=IP[target],
                eth_dst=MAC[target],
            )  # fmt: skip


def carry_out(world: World, steps: list[tuple[object, ...]]) -> None:
    for step in steps:
        match step:
            case ("packets", str(kind), str(source), int(sport), int(dport), int(times)):
                for _ in range(times):
                    world.packet(frame_of(kind, source, sport, dport), vport(source))
            case ("policy", int(number)):
                world.change_policy(POLICIES[number])
                world.rounds()
            case ("idle",):
                world.later(11.0)
                world.report_idle()
            case _:
                world.refresh()
                world.rounds()


@settings(deadline=None, max_examples=200)
@given(st.integers(0, len(POLICIES) - 1), STEPS)
def test_invariants(first: int, steps: list[tuple[object, ...]]) -> None:
    """Delivered as without offload; every forwarded packet counted by its flows; nothing stays."""
    worlds: list[World] = []
    for enabled in (True, False):
        options = OffloadOptions(stateless=enabled, enabled=enabled)
        world = World(policy=POLICIES[first], options=options, liberal=True)
        learn(world)
        carry_out(world, steps)
        worlds.append(world)
    on, off = worlds
    assert Counter(on.delivered) == Counter(off.delivered)
    assert off.by_hardware == 0
    assert all(f.state is RecordState.ACTIVE for f in on.manager.stateless.entries.values())
    on.refresh()
    off.refresh()
    assert on.manager.forwarded[0] == on.by_hardware
    assert [f.n_packets + f.hw_packets for f in on.pipeline.flows] == [
        f.n_packets for f in off.pipeline.flows
    ]
    on.change_policy(DENY_ALL)
    on.rounds()
    assert on.switch.empty
    assert len(on.manager.next_hops) == len(on.manager.paths) == 0

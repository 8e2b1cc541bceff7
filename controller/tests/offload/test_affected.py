# SPDX-License-Identifier: Apache-2.0
"""What a change of the policy is said not to touch is decided again just the same."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from p4ct.offload.affected import MAX_COMPARED, REMEMBERED, PolicyHistory
from p4ct.offload.manager import OffloadOptions
from p4ct.offload.policy_change import PolicyChange
from p4ct.offload.recheck import Judgement, judge
from p4ct.packet import build
from p4ct.pipeline.parser import parse_selector
from p4ct.pipeline.ports import PortTable, Vport

from .model import ACK, IP, MAC, Tcp, World, learn

PORTS = [Vport(1, "vm1", 1), Vport(2, "vm2", 2), Vport(3, "ext", 3, kind="uplink")]
#: Many tables, a lookup that finds nothing, and registers that are written on the way.
POLICY = """
table=0,priority=100,arp,actions=NORMAL
table=0,priority=50,ip,actions=ct(zone=1,table=1)
table=0,priority=50,ipv6,actions=load:7->NXM_NX_REG1[],ct(zone=1,table=1)
table=1,priority=90,ct_state=+trk+est,tcp,actions=resubmit(,5),goto_table:2
table=1,priority=90,ct_state=+trk+est,udp,actions=ct(zone=2,table=3)
table=1,priority=80,in_port=vm1,ct_state=+trk+new,tcp,actions=ct(commit,zone=1,table=2)
table=1,priority=80,in_port=vm1,ct_state=+trk+new,tcp6,actions=ct(commit,zone=1,table=2)
table=1,priority=80,in_port=vm1,ct_state=+trk+new,udp,actions=ct(commit,zone=1),ct(zone=2,table=3)
table=1,priority=70,ct_state=+trk+est,ipv6,actions=goto_table:2
table=1,priority=0,actions=drop
table=2,priority=0,actions=NORMAL
table=3,priority=80,ct_state=+trk+new,ip,actions=ct(commit,zone=2,table=4)
table=3,priority=80,ct_state=+trk+est,actions=goto_table:4
table=4,priority=0,actions=NORMAL
"""
#: The last lookup of TCP over IPv4 sees the tuple of the connection's first packet.
ORIGINAL_TUPLE = POLICY.replace("resubmit(,5),goto_table:2", "resubmit(,2,ct)")

MATCHES = st.builds(
    lambda *parts: ",".join(part for part in parts if part),
    st.sampled_from(["", "ct_state=+trk+est", "ct_state=+trk+new", "ct_state=-trk", "ct_state=+rpl",
                     "ct_mark=0", "ct_zone=2", "reg1=7"]),
    st.sampled_from(["", "in_port=vm1", "in_port=vm2", "in_port=ext"]),
    st.sampled_from(["", "dl_src=02:00:00:00:00:01", "dl_dst=02:00:00:00:00:00/ff:ff:ff:ff:ff:fe"]),
    st.sampled_from(["", "ip", "ipv6", "tcp", "tcp,tp_dst=80", "tcp,tp_src=81", "tcp6,tp_dst=80",
                     "udp", "udp,tp_dst=53", "ip,nw_src=10.0.0.0/24", "ip,nw_dst=10.0.0.1",
                     "ip,nw_tos=4", "ipv6,ipv6_dst=fd00::3", "icmp", "tcp,tcp_flags=+ack"]),
)  # fmt: skip
ACTIONS = st.sampled_from(
    [
        "drop",
        "NORMAL",
        "output:vm2",
        "output:ext",
        "goto_table:6",
        "resubmit(,6),NORMAL",
        "resubmit(,6,ct),NORMAL",
    ]
)
ANY_FLOW = st.builds(
    lambda table, priority, match, actions: (
        f"table={table},priority={priority}{',' if match else ''}{match},actions={actions}"
    ),
    st.integers(0, 6),
    st.sampled_from([0, 10, 50, 70, 80, 90, 91, 100]),
    MATCHES,
    ACTIONS,
).filter(lambda flow: not ("table=6" in flow and "6" in flow.split("actions=")[1]))
#: What lookups by a reply's own tuple never hit, and by the original one do; and inversely.
ONE_DIRECTION = st.builds(
    "table=2,priority=10,in_port={},tcp,{},actions={}".format,
    st.sampled_from(["vm1", "ext"]),
    st.sampled_from(["tp_dst=80", "tp_src=81", "nw_dst=10.0.0.3", "nw_src=10.0.0.3"]),
    ACTIONS,
)
FLOWS = st.one_of(ANY_FLOW, ONE_DIRECTION)
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(FLOWS, min_size=1, max_size=4)),
        st.tuples(st.just("delete"), st.sampled_from(["table=5", "table=3", "table=1,udp",
                                                      "table=1,in_port=vm1", "table=6", "tcp6"])),
        st.tuples(st.just("check")),
    ),
    max_size=6,
)  # fmt: skip


def made(policy: str = POLICY) -> World:
    world = World(policy=policy, ports=PortTable(PORTS), options=OffloadOptions())
    learn(world)
    for n in range(3):
        Tcp(world, 40000 + n, 80 + n).offload()
    Tcp(world, 40000, 80, v6=True).offload()
    for source, target, vport in (("vm1", "ext", 1), ("ext", "vm1", 3), ("vm1", "ext", 1)):
        ports = (5000, 53) if source == "vm1" else (53, 5000)
        frame = build.udp_frame(
            eth_src=MAC[source],
            eth_dst=MAC[target],
            src=IP[source],
            dst=IP[target],
            sport=ports[0],
            dport=ports[1],
        )
        world.packet(frame, vport)
    assert len(world.manager.records) == 5
    return world


@settings(deadline=None, max_examples=400)
@given(st.sampled_from([POLICY, ORIGINAL_TUPLE]), CHANGES)
def test_what_is_not_touched_is_decided_the_same(
    policy: str, changes: list[tuple[object, ...]]
) -> None:
    world = made(policy)
    pipeline, history = world.pipeline, PolicyHistory()
    records = list(world.manager.records.values())
    for change in changes:
        match change:
            case ("add", list(flows)):
                text = "\n".join(str(flow) for flow in flows)
                try:
                    done = pipeline.add(world.flows(text), world.now)
                except ValueError:
                    continue  # a match that the parser refuses
            case ("delete", str(selector)):
                ports = world.ports.numbers
                done = pipeline.delete(parse_selector(selector, source="test", ports=ports))
            case _:
                for record in records:
                    if judge(record, pipeline, world.tracker, world.now) is Judgement.SAME:
                        record.policy_version = pipeline.version
                continue
        if done.added or done.removed:
            history.add(pipeline.version, done)
    for record in records:
        if record.policy_version < pipeline.version and not history.touched(
            record, pipeline.version
        ):
            assert judge(record, pipeline, world.tracker, world.now) is Judgement.SAME


@pytest.mark.parametrize(
    ("flow", "touched"),
    [
        # A new rule for who may begin is no matter for who has begun.
        ("table=1,priority=95,ct_state=+trk+new,tcp,tp_dst=80,actions=drop", 0),
        ("table=1,priority=95,ct_state=+trk+est,actions=drop", 5),
        ("table=1,priority=10,ct_state=+trk+est,actions=drop", 0),
        ("table=1,priority=95,tcp,tp_dst=80,actions=drop", 1),
        ("table=1,priority=95,tcp,tp_src=82,actions=drop", 1),
        ("table=1,priority=95,udp,actions=drop", 1),
        # Behind registers that a flow has written nobody knows what a lookup sees.
        ("table=2,priority=1,in_port=vm2,actions=drop", 1),
        ("table=2,priority=1,ip,nw_dst=10.0.0.3,actions=drop", 4),
        # A table that had no flow for it so far.
        ("table=5,priority=1,tcp,tp_dst=80,actions=drop", 1),
        ("table=9,priority=1,actions=drop", 0),
    ],
)
def test_what_one_flow_touches(flow: str, touched: int) -> None:
    world = made()
    history = world.manager.policy.history
    history.add(world.pipeline.version + 1, world.pipeline.add(world.flows(flow), world.now))
    version = world.pipeline.version
    found = [history.touched(record, version) for record in world.manager.records.values()]
    assert sum(found) == touched


def test_a_lookup_by_the_original_tuple() -> None:
    """A flow that denies replies by the destination port of the first packet."""
    world = World(policy=ORIGINAL_TUPLE, ports=PortTable(PORTS))
    learn(world)
    tcp = Tcp(world, 40000, 80).offload()
    assert world.manager.records
    text = "table=2,priority=10,in_port=ext,tcp,tp_dst=80,actions=drop"
    change = PolicyChange(world.manager, world.pipeline.add(world.flows(text), world.now))
    assert len(world.carry_out(change)) == 1
    world.rounds()
    world.delivered.clear()
    assert tcp.send("ext", ACK, b"denied") != "hardware"
    assert not world.delivered


def test_more_flows_than_are_compared() -> None:
    world = made()
    history = world.manager.policy.history
    many = "\n".join(
        f"table=1,priority=95,tcp,tp_dst={1000 + n},actions=drop" for n in range(MAX_COMPARED + 1)
    )
    history.add(world.pipeline.version + 1, world.pipeline.add(world.flows(many), world.now))
    assert any(history.touched(r, world.pipeline.version) for r in world.manager.records.values())


@pytest.mark.parametrize(
    ("policy", "flow", "compared"),
    [
        # Tables that its path does not look up.
        (POLICY, "table=9,priority=95,tcp,tp_dst={},actions=drop", 0),
        # One more than are compared with records.
        (POLICY, "table=1,priority=95,tcp,tp_dst={},actions=drop", MAX_COMPARED + 1),
        # The first one that could win settles it: nobody knows what the lookup sees.
        (ORIGINAL_TUPLE, "table=1,priority=95,tcp,tp_dst={},actions=drop", 1),
        # None could win: all of them, once for both directions.
        (POLICY, "table=1,priority=10,tcp,tp_dst={},actions=drop", 3 * MAX_COMPARED),
    ],
)
def test_no_more_is_compared_than_it_takes(policy: str, flow: str, compared: int) -> None:
    world = made(policy)
    history = world.manager.policy.history
    many = "\n".join(flow.format(1000 + n) for n in range(3 * MAX_COMPARED))
    history.add(world.pipeline.version + 1, world.pipeline.add(world.flows(many), world.now))
    record = next(iter(world.manager.records.values()))
    for _ in range(2):  # the second time it is known
        assert history.touched(record, world.pipeline.version) == (0 < compared < 2 * MAX_COMPARED)
        assert history.compared == compared


def test_a_decision_older_than_what_is_remembered() -> None:
    world = made()
    history = world.manager.policy.history
    record = next(iter(world.manager.records.values()))
    for n in range(REMEMBERED + 1):
        assert not n or not history.touched(record, world.pipeline.version)
        change = world.pipeline.add(world.flows(f"table=9,priority={n},actions=drop"), world.now)
        history.add(world.pipeline.version, change)
    assert history.touched(record, world.pipeline.version)


def test_a_change_that_was_not_told() -> None:
    world = made()
    history = world.manager.policy.history
    record = next(iter(world.manager.records.values()))
    world.pipeline.add(world.flows("table=1,priority=99,actions=drop"), world.now)
    assert history.touched(record, world.pipeline.version)
    change = world.pipeline.add(world.flows("table=9,priority=1,actions=drop"), world.now)
    history.add(world.pipeline.version, change)
    assert history.touched(record, world.pipeline.version)

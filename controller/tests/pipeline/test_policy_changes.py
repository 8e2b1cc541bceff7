# SPDX-License-Identifier: Apache-2.0
"""replace, add and delete: identity of flows, versions, and what packets then meet."""

from __future__ import annotations

import pytest
from p4ct.pipeline import Flow, Match, PortError, parse_flows, parse_selector
from p4ct.pipeline.actions import Output

PORTS = {"vm1": 1, "vm2": 2, "ext": 3}


def flows(text: str) -> list[Flow]:
    return parse_flows(text, ports=PORTS)


def test_replace_keeps_what_stays(switch, make_tcp) -> None:
    pipeline = switch.pipeline
    first = flows("priority=1,ip,actions=vm2\npriority=2,arp,actions=NORMAL\nipv6,actions=drop")
    change = pipeline.replace(first, now=10.0)
    assert (set(change.added), change.removed, pipeline.version) == (set(first), (), 1)
    assert all(flow.created == 10.0 for flow in first)
    switch.send(make_tcp())
    second = flows("priority=2,arp,actions=drop\npriority=1,ip,actions=vm2\nudp,actions=ext")
    change = pipeline.replace(second, now=20.0)
    assert set(change.added) == {second[0], second[2]}
    assert set(change.removed) == {first[1], first[2]}
    kept = next(flow for flow in pipeline.flows if flow.priority == 1)
    assert kept is first[0]
    assert (kept.n_packets, kept.created) == (1, 10.0)
    assert pipeline.version == 2


def test_replace_with_the_same_changes_nothing(switch) -> None:
    text = "ip,actions=vm2\narp,actions=drop"
    switch.flows(text)
    before = switch.pipeline.flows
    change = switch.pipeline.replace(flows(text))
    assert (change.added, change.removed) == ((), ())
    assert switch.pipeline.version == 1
    assert switch.pipeline.flows == before


def test_a_new_cookie_is_a_new_flow(switch) -> None:
    switch.flows("cookie=1,ip,actions=vm2")
    change = switch.pipeline.replace(flows("cookie=2,ip,actions=vm2"))
    assert len(change.added) == len(change.removed) == 1


def test_add_replaces_the_same_slot_only(switch, make_tcp) -> None:
    switch.flows("ip,actions=vm2\narp,actions=drop")
    old = next(flow for flow in switch.pipeline.flows if flow.actions)
    (new,) = flows("ip,actions=ext")
    change = switch.pipeline.add([new])
    assert (change.added, change.removed) == ((new,), (old,))
    assert switch.send(make_tcp()).outputs == [3]
    assert len(switch.pipeline.flows) == 2
    switch.pipeline.add(flows("priority=40000,ip,actions=vm2"))
    assert switch.send(make_tcp()).outputs == [2]
    assert switch.pipeline.version == 3


def test_delete_is_loose_or_strict(switch) -> None:
    switch.flows(
        "priority=1,ip,actions=vm2\n"
        "priority=2,tcp,tp_dst=80,actions=vm2\n"
        "table=1,priority=1,tcp,actions=vm2\n"
        "priority=1,arp,actions=vm2\n"
        "cookie=7,priority=3,udp,actions=vm2\n"
    )
    pipeline = switch.pipeline

    def removed(text: str, *, strict: bool = False) -> int:
        selector = parse_selector(text, ports=PORTS, strict=strict)
        copy = list(pipeline.flows)
        count = len(pipeline.delete(selector).removed)
        pipeline.replace(copy)
        return count

    assert removed("") == 5
    assert removed("ip") == 4
    assert removed("tcp") == 2
    assert removed("tcp,tp_dst=0x50/0xf0") == 1
    assert removed("tcp,tp_dst=81") == 0
    assert removed("table=0,ip") == 3
    assert removed("cookie=7") == 1
    assert removed("cookie=0x5/0x5") == 1
    assert removed("cookie=0x6/-1") == 0
    assert removed("priority=1,ip", strict=True) == 1
    assert removed("priority=2,ip", strict=True) == 0
    assert removed("ip", strict=True) == 0


def test_delete_spares_what_is_less_specific(switch) -> None:
    switch.flows("tcp,tp_dst=0x50/0xf0,actions=vm2")
    exact = parse_selector("tcp,tp_dst=0x50", ports=PORTS)
    assert switch.pipeline.delete(exact).removed == ()
    wide = parse_selector("tcp,tp_dst=0x50/0x50", ports=PORTS)
    assert len(switch.pipeline.delete(wide).removed) == 1


def test_delete_removes_for_packets_and_counts_a_version(switch, make_tcp) -> None:
    switch.flows("ip,actions=vm2")
    assert switch.pipeline.delete(flows("arp,actions=drop")[0].match).removed == ()
    assert switch.pipeline.version == 1
    switch.pipeline.delete(Match())
    assert switch.pipeline.version == 2
    assert switch.send(make_tcp()).drop_reason == "no flow in table 0"
    assert switch.send(make_tcp()).version == 2


def test_flows_that_name_unknown_vports_are_refused_whole(switch) -> None:
    switch.flows("ip,actions=vm2")
    for text in ("actions=output:9", "in_port=9,actions=drop", "actions=resubmit(9,1)"):
        bad = parse_flows(f"arp,actions=vm2\n{text}", source="p", ports={**PORTS, "gone": 9})
        for change in (switch.pipeline.replace, switch.pipeline.add):
            with pytest.raises(PortError, match=r"flow \(p line 2\) names vport 9"):
                change(bad)
    assert (len(switch.pipeline.flows), switch.pipeline.version) == (1, 1)


def test_order_of_flows(switch) -> None:
    switch.flows(
        "priority=1,ip,actions=1\npriority=9,arp,actions=1\ntable=1,actions=1\nicmp,actions=1"
    )
    assert [(flow.table, flow.priority) for flow in switch.pipeline.flows] == [
        (0, 0x8000),
        (0, 9),
        (0, 1),
        (1, 0x8000),
    ]


def test_ids_are_never_reused() -> None:
    seen = [Flow(Match(), (Output(1),)).id for _ in range(3)]
    assert seen == sorted(set(seen))
    assert Flow(Match(), ()).id > seen[-1]

# SPDX-License-Identifier: Apache-2.0
"""ct() forks, clears and remembers as OVS does; resubmit, goto_table and output as well."""

from __future__ import annotations

from p4ct.conntrack import CtState
from p4ct.pipeline import PeekConntrack

NEW = CtState.TRK | CtState.NEW
EST = CtState.TRK | CtState.EST
INV = CtState.TRK | CtState.INV


def test_copy_resumes_with_state_and_original_goes_on_without(switch, make_tcp) -> None:
    switch.ct.states[5] = EST
    switch.ct.marks[5] = 9
    switch.flows(
        "table=0,ip,actions=ct(zone=5,table=1),resubmit(,2)\n"
        "table=1,ip,ct_state=+trk+est,ct_zone=5,ct_mark=9,actions=vm2\n"
        "table=2,ip,ct_state=-trk,ct_zone=0,ct_mark=0,actions=ext\n"
    )
    result = switch.send(make_tcp())
    assert result.outputs == [2, 3]
    assert switch.ct.calls == [("track", 5)]
    assert [flow.table for flow in result.path] == [0, 1, 2]


def test_without_table_nobody_sees_the_state(switch, make_tcp) -> None:
    switch.flows(
        "table=0,ip,actions=ct(),resubmit(,1)\n"
        "table=1,priority=2,ip,ct_state=+trk,actions=vm2\n"
        "table=1,priority=1,ip,ct_state=-trk,actions=ext\n"
    )
    assert switch.send(make_tcp()).outputs == [3]


def test_commit_without_table_clears_the_state_within_a_copy_too(switch, make_tcp) -> None:
    switch.flows(
        "table=0,ip,actions=ct(table=1)\n"
        "table=1,ip,ct_state=+trk+new,actions=ct(commit),resubmit(,2)\n"
        "table=2,priority=2,ip,ct_state=+trk,actions=vm2\n"
        "table=2,priority=1,actions=ext\n"
    )
    result = switch.send(make_tcp())
    assert result.outputs == [3]
    assert switch.ct.calls == [("track", 0), ("commit", 0)]
    (visit,) = result.ct
    assert visit.committed
    assert visit.connection is not None


def test_commit_with_table_resumes_as_new(switch, make_tcp) -> None:
    switch.flows(
        "table=0,ip,actions=ct(commit,table=1)\ntable=1,ip,ct_state=+trk+new-est,actions=vm2\n"
    )
    assert switch.send(make_tcp()).outputs == [2]
    assert switch.ct.calls == [("track", 0), ("commit", 0)]


def test_same_zone_again_is_not_tracked_twice(switch, make_tcp) -> None:
    switch.flows(
        "table=0,ip,actions=ct(table=1),ct(commit),ct(commit)\n"
        "table=1,ip,ct_state=+trk,actions=ct(table=2)\n"
        "table=2,ip,ct_state=+trk,actions=vm2\n"
    )
    result = switch.send(make_tcp())
    assert result.outputs == [2]
    assert switch.ct.calls == [("track", 0), ("commit", 0)]
    assert len(result.ct) == 1


def test_two_zones_and_back(switch, make_tcp) -> None:
    switch.ct.states = {1: EST, 2: NEW}
    switch.flows(
        "table=0,ip,actions=ct(zone=1,table=1)\n"
        "table=1,ip,ct_state=+est,ct_zone=1,actions=ct(zone=2,table=2)\n"
        "table=2,ip,ct_state=+new,ct_zone=2,actions=ct(commit,zone=2),ct(zone=1,table=3)\n"
        "table=3,ip,ct_state=+est,ct_zone=1,actions=vm2\n"
    )
    result = switch.send(make_tcp())
    assert result.outputs == [2]
    assert switch.ct.calls == [("track", 1), ("track", 2), ("commit", 2), ("track", 1)]
    assert [(visit.zone, visit.committed) for visit in result.ct] == [
        (1, False),
        (2, True),
        (1, False),
    ]


def test_ct_clear_forgets(switch, make_tcp) -> None:
    switch.flows(
        "table=0,ip,actions=ct(table=1)\n"
        "table=1,ip,actions=ct_clear,resubmit(,2)\n"
        "table=2,priority=2,ip,ct_state=+trk,actions=vm2\n"
        "table=2,priority=1,ip,actions=ct(table=3)\n"
        "table=3,ip,ct_state=+trk,actions=ext\n"
    )
    assert switch.send(make_tcp()).outputs == [3]
    assert switch.ct.calls == [("track", 0), ("track", 0)]


def test_ct_clear_in_the_copy_does_not_touch_the_original(switch, make_tcp) -> None:
    switch.flows("table=0,ip,actions=ct(table=1),ct(commit),vm2\ntable=1,ip,actions=ct_clear,ext\n")
    result = switch.send(make_tcp())
    assert result.outputs == [3, 2]
    assert switch.ct.calls == [("track", 0), ("commit", 0)]


def test_invalid_is_not_committed(switch, make_tcp) -> None:
    switch.ct.states[0] = INV
    switch.flows("table=0,ip,actions=ct(commit,table=1)\ntable=1,ip,ct_state=+inv,actions=vm2")
    result = switch.send(make_tcp())
    assert result.outputs == [2]
    assert switch.ct.calls == [("track", 0)]
    assert not result.ct[0].committed
    assert "invalid in zone 0: scripted" in result.blockers


def test_full_table_drops_counted(switch, make_tcp) -> None:
    switch.ct.full = True
    switch.flows("ip,actions=vm2,ct(commit),ext")
    result = switch.send(make_tcp())
    assert (result.verdict, result.outputs) == ("drop", [])
    assert result.drop_reason == "ct(commit): connection table full"
    assert switch.pipeline.drops == {result.drop_reason: 1}


def test_what_begins_no_connection_is_dropped_counted(switch, make_tcp) -> None:
    switch.ct.unfit = True
    switch.flows("ip,actions=ct(commit),ext")
    result = switch.send(make_tcp())
    assert result.drop_reason == "ct(commit): the packet begins no connection"
    assert switch.pipeline.drops == {result.drop_reason: 1}


def test_peek_asks_without_changing(switch, make_tcp) -> None:
    switch.flows("table=0,ip,actions=ct(table=1)\ntable=1,ip,ct_state=+new,actions=ct(commit),2")
    peek = PeekConntrack(switch.ct)
    result = switch.pipeline.process(make_tcp(), 1, 0.0, ct=peek)
    assert result.outputs == [2]
    assert switch.ct.calls == [("peek", 0)]
    assert result.ct[0].committed
    assert result.ct[0].connection is None
    assert all(flow.n_packets == 0 for flow in switch.pipeline.flows)
    switch.flows("table=0,ip,actions=drop")
    switch.pipeline.process(make_tcp(), 1, 0.0, ct=peek)
    assert switch.pipeline.drops == {}


def test_counters_of_every_flow_hit(switch, make_tcp) -> None:
    switch.flows(
        "table=0,ip,actions=resubmit(,1),resubmit(,1)\ntable=1,ip,actions=vm2\narp,actions=drop"
    )
    packet = make_tcp(payload=b"x" * 100)
    result = switch.send(packet)
    assert result.outputs == [2, 2]
    counts = {flow.table: (flow.n_packets, flow.n_bytes) for flow in set(result.path)}
    assert counts == {0: (1, packet.wire_len), 1: (2, 2 * packet.wire_len)}
    assert sum(flow.n_packets for flow in switch.pipeline.flows) == 3


def test_output_never_goes_back_unless_asked(switch, make_tcp) -> None:
    switch.flows("actions=vm1,vm2")
    assert switch.send(make_tcp(), 1).outputs == [2]
    switch.flows("actions=vm1")
    result = switch.send(make_tcp(), 1)
    assert result.drop_reason == "output to the ingress vport is skipped"
    assert result.looked_at.names() == ("in_port",)
    switch.flows("actions=in_port")
    result = switch.send(make_tcp(), 1)
    assert (result.outputs, result.looked_at.names()) == ([1], ("in_port",))


def test_resubmit_with_another_port_is_for_the_lookup_only(switch, make_tcp) -> None:
    switch.flows(
        "table=0,actions=resubmit(ext,1)\n"
        "table=1,in_port=ext,actions=vm1,vm2,in_port,resubmit(,2)\n"
        "table=2,in_port=vm1,actions=ext\n"
    )
    result = switch.send(make_tcp(), 1)
    assert result.outputs == [2, 1, 3]
    assert "in_port" in result.looked_at.names()


def test_lookup_with_a_given_port_does_not_look_at_the_packets_own(switch, make_tcp) -> None:
    switch.flows("table=0,actions=resubmit(ext,1)\ntable=1,in_port=ext,actions=drop\n")
    assert switch.send(make_tcp(), 1).looked_at.names() == ()


def test_resubmit_port_stays_in_the_current_table(switch, make_tcp) -> None:
    switch.flows(
        "table=0,actions=goto_table:4\n"
        "table=4,in_port=vm1,actions=resubmit:vm2\n"
        "table=4,in_port=vm2,actions=ext\n"
    )
    assert switch.send(make_tcp(), 1).outputs == [3]


def test_actions_after_a_resubmit_go_on(switch, make_tcp) -> None:
    switch.flows("table=0,actions=resubmit(,1),resubmit(,9),ext\ntable=1,actions=vm2")
    assert switch.send(make_tcp()).outputs == [2, 3]


def test_drop_reasons(switch, make_tcp) -> None:
    cases = {
        "": "no flow in table 0",
        "ip,actions=drop": "action drop",
        "ip,actions=resubmit(,7)": "no flow in table 7",
        "table=0,ip,actions=ct(table=3)": "no flow in table 3",
        "table=0,ip,actions=ct(table=3)\ntable=3,actions=drop": "action drop",
        "ip,actions=ct(commit)": "no output action",
        "ip,actions=ct_clear": "no output action",
    }
    for text, reason in cases.items():
        switch.flows(text)
        result = switch.send(make_tcp())
        assert (result.verdict, result.drop_reason) == ("drop", reason)
        assert f"no output: {reason}" in result.blockers
    assert switch.pipeline.drops == {
        "no flow in table 0": 1,
        "no flow in table 7": 1,
        "no flow in table 3": 1,
        "action drop": 2,
        "no output action": 2,
    }


def test_drop_in_the_copy_still_lets_the_original_go_on(switch, make_tcp) -> None:
    switch.flows(
        "table=0,ip,actions=ct(table=1),resubmit(,2)\n"
        "table=1,actions=drop\n"
        "table=2,priority=2,ip,ct_state=+trk,actions=vm2\n"
        "table=2,priority=1,actions=ext\n"
    )
    result = switch.send(make_tcp())
    assert (result.outputs, result.drop_reason) == ([3], "")


def test_unknown_vport_and_malformed_frames(switch) -> None:
    from p4ct.packet import parse

    switch.flows("actions=NORMAL")
    assert switch.send(parse(bytes(60)), 9).drop_reason == "unknown ingress vport"
    assert switch.send(parse(b"abc"), 1).drop_reason == "malformed: truncated Ethernet header"


def test_resubmit_to_itself_ends(switch, make_tcp) -> None:
    switch.flows("actions=vm2,resubmit(,0)")
    result = switch.send(make_tcp())
    assert result.drop_reason == "over 64 levels of resubmit"
    assert result.outputs == []
    assert len(result.path) == 65


def test_wide_resubmits_end(switch, make_tcp) -> None:
    wide = ",".join(["resubmit(,1)"] * 100)
    wider = ",".join(["resubmit(,2)"] * 100)
    switch.flows(f"table=0,actions={wide}\ntable=1,actions={wider}\ntable=2,actions=vm2")
    result = switch.send(make_tcp())
    assert result.drop_reason == "over 4096 resubmits"
    assert len(result.path) == 4097


def test_long_chain_of_tables_is_no_recursion(switch, make_tcp) -> None:
    chain = "\n".join(f"table={table},actions=goto_table:{table + 1}" for table in range(254))
    switch.flows(f"{chain}\ntable=254,actions=vm2")
    assert switch.send(make_tcp()).outputs == [2]


def test_endless_recirculation_ends(switch, make_tcp) -> None:
    switch.flows("ip,actions=ct(table=0)")
    result = switch.send(make_tcp())
    assert result.drop_reason == "over 8 recirculations"
    assert len(result.path) == 9


def test_many_forks_end(switch, make_tcp) -> None:
    # Eight nested tables of eight copies each would be 16 million lookups.
    many = ",".join(["ct(table={})"] * 8)
    text = "\n".join(
        f"table={table},ip,actions={many.replace('{}', str(table + 1))}" for table in range(8)
    )
    switch.flows(f"{text}\ntable=8,actions=vm2")
    assert switch.send(make_tcp()).drop_reason == "over 4096 resubmits"

# SPDX-License-Identifier: Apache-2.0
"""What a field decides: output to the port in it, and lookups by the connection's first tuple."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from p4ct.conntrack import CtState
from p4ct.packet import Packet, parse
from p4ct.packet.build import icmp_echo_frame, tcp_frame
from p4ct.pipeline import Field, parse_flows
from p4ct.pipeline.classifier import Classifier
from p4ct.pipeline.fields import FIELDS
from p4ct.pipeline.original_tuple import swapped, swapped_looks

EST = CtState.TRK | CtState.EST
MakeTcp = Callable[..., Packet]


@pytest.mark.parametrize(
    ("actions", "outputs"),
    [
        ("load:2->reg0[],output:reg0", [2]),
        ("load:2->reg0[],output:NXM_NX_REG0[]", [2]),
        ("load:0x30->reg3[],output:reg3[4..7],output:reg3[0..3]", [3]),
        ("load:0xfff8->reg0[],output:reg0[]", [1]),
        ("output:NXM_OF_IN_PORT[],vm2", [2]),
        ("load:1->reg0[],output:reg0[]", []),
        ("load:9->reg0[],output:reg0[]", []),
        ("move:NXM_OF_IN_PORT[]->reg0[0..15],load:1->reg0[1],output:reg0[]", [3]),
    ],
)
def test_the_port_in_a_field(switch, make_tcp: MakeTcp, actions: str, outputs: list[int]) -> None:
    switch.flows(f"ip,actions={actions}")
    assert switch.send(make_tcp()).outputs == outputs


def test_normal_in_a_register(switch, make_tcp: MakeTcp) -> None:
    switch.flows("ip,actions=load:0xfffa->reg0[],output:reg0[]")
    switch.pipeline.macs.learn(0, bytes.fromhex("020000000003"), 3, 0.0)
    assert switch.send(make_tcp()).outputs == [3]


def test_why_nothing_was_sent(switch, make_tcp: MakeTcp) -> None:
    switch.flows("ip,actions=load:9->reg0[],output:reg0[]")
    reason = switch.send(make_tcp()).drop_reason
    assert reason == "output to the port in a field: there is no such vport"
    switch.flows("ip,actions=output:in_port[]")
    reason = switch.send(make_tcp()).drop_reason
    assert reason == "output to the ingress vport is skipped"


def test_a_register_keeps_no_connection_in_software_but_a_header_does(
    switch, make_tcp: MakeTcp
) -> None:
    switch.ct.states[0] = EST
    first = "table=0,ip,actions=load:3->reg0[],ct(table=1)\n"
    switch.flows(first + "table=1,ip,actions=output:reg0[]")
    assert switch.send(make_tcp()).blockers == []
    switch.flows(first + "table=1,ip,actions=output:nw_ttl[0..1],ext")
    assert switch.send(make_tcp()).blockers == ["looks at nw_ttl"]


# -- resubmit(,N,ct) -----------------------------------------------------------------------

LIST = (
    "table=0,ip,actions=ct(table=1)\n"
    "table=1,ip,ct_state=+trk+rpl,actions=resubmit(,2,ct),resubmit(,3)\n"
    "table=3,reg1=1,ip,nw_dst=10.0.0.1,ct_state=+trk,ct_nw_src=10.0.0.1,actions=output:in_port[],vm2\n"
)


class Known:
    """A tracker that knows one connection, of 10.0.0.1, and gives every packet as its reply."""

    def __init__(self, first: Packet) -> None:
        from p4ct.conntrack import Tracker

        self.tracker = Tracker()
        self.tracker.commit(self.tracker.track(first, 0, 0.0), first, 0.0)

    def track(self, pkt: Packet, zone: int, now: float):
        return self.tracker.track(pkt, zone, now)


def reply_to(switch, first: bytes, answer: bytes, flows: str):
    from p4ct.pipeline import Pipeline

    pipeline = Pipeline(switch.ports, Known(parse(first)))  # type: ignore[arg-type]
    pipeline.replace(parse_flows(flows, ports=switch.ports.numbers))
    return pipeline.process(parse(answer), 3, 1.0)


def test_the_first_packets_tuple_in_the_place_of_the_replys(switch) -> None:
    ends = {"src": "10.0.0.1", "dst": "10.0.0.3", "sport": 1000, "dport": 80}
    back = {"src": "10.0.0.3", "dst": "10.0.0.1", "sport": 80, "dport": 1000}
    first, answer = tcp_frame(**ends, flags=2), tcp_frame(**back, flags=0x12)
    allow = "table=2,tcp,nw_src=10.0.0.1,nw_dst=10.0.0.3,tp_src=1000,tp_dst=80,"
    kept = "ct_nw_src=10.0.0.3,ct_tp_dst=1000,ct_state=+trk,actions=load:1->reg1[]\n"
    result = reply_to(switch, first, answer, LIST + allow + kept)
    # Behind the lookup everything is in its own place again.
    assert result.outputs == [2]
    looked = set(result.looked_at.names())
    assert {"ct_nw_src", "ct_tp_src", "ct_tp_dst", "nw_src", "nw_dst", "tp_dst"} <= looked
    assert result.blockers == []
    assert reply_to(switch, first, answer, LIST + allow.replace("80", "81") + kept).outputs == []


def test_icmp_has_type_and_code_in_the_place_of_ports(switch) -> None:
    ends = {"src": "10.0.0.1", "dst": "10.0.0.3", "identifier": 7}
    back = {"src": "10.0.0.3", "dst": "10.0.0.1", "identifier": 7, "reply": True}
    first, answer = icmp_echo_frame(**ends), icmp_echo_frame(**back)
    allow = "table=2,icmp,nw_src=10.0.0.1,icmp_type=8,ct_tp_src=0,ct_state=+trk,"
    allow += "actions=load:1->reg1[]\n"
    assert reply_to(switch, first, answer, LIST + allow).outputs == [2]
    seen = "table=0,ip,actions=ct(table=1)\ntable=1,icmp,ct_state=+trk,ct_tp_src=8,actions=vm2"
    assert reply_to(switch, first, answer, seen).outputs == [2]


def test_without_a_connection_it_is_skipped(switch, make_tcp: MakeTcp) -> None:
    """As in OVS, what is only related has no tuple to look up by."""
    switch.ct.states[0] = CtState.TRK | CtState.REL
    switch.flows(
        "table=0,ip,actions=ct(table=1)\n"
        "table=1,ip,ct_state=+trk-inv,actions=resubmit(,2,ct)\n"
        "table=2,actions=ext"
    )
    result = switch.send(make_tcp())
    assert result.drop_reason == "resubmit(…,ct) of a packet that has no connection"
    switch.ct.states[0] = EST
    assert switch.send(make_tcp()).outputs == [3]


TUPLES = st.fixed_dictionaries(
    {
        **{
            name: st.integers(0, 2)
            for name in (
                *("nw_src", "nw_dst", "tp_src", "tp_dst", "icmp_type", "icmp_code", "nw_ttl"),
                *("ct_nw_src", "ct_nw_dst", "ct_tp_src", "ct_tp_dst"),
            )
        },
        "nw_proto": st.sampled_from([1, 6, 17, 132]),
        "ct_nw_proto": st.sampled_from([1, 6, 17, 132]),
    }
)
TERMS = st.sampled_from(
    [
        "ip,nw_src=0.0.0.1",
        "tcp,tp_dst=2",
        "tcp,tp_src=1,nw_dst=0.0.0.2",
        "udp,tp_src=0/1",
        "icmp,icmp_type=2",
        "icmp,icmp_code=1,nw_src=0.0.0.0/31",
        "ip,ct_state=+trk,ct_nw_src=0.0.0.2",
        "ip,ct_state=+trk,ct_tp_src=1",
        "ip,ct_state=+trk,ct_nw_proto=6,ct_tp_dst=1",
        "ip,nw_ttl=1",
    ]
)


@given(st.lists(TERMS, min_size=1, max_size=5, unique=True), TUPLES, TUPLES, st.data())
def test_what_a_swapped_lookup_did_not_look_at_does_not_matter(
    terms: list[str], one: dict[str, int], two: dict[str, int], data: st.DataObject
) -> None:
    lines = [f"priority={n},{term},actions=drop" for n, term in enumerate(terms)]
    classifier = Classifier(parse_flows("\n".join(lines), ports={}))

    def key(values: dict[str, int]) -> list[int]:
        made = [0] * len(Field)
        for name, value in values.items():
            made[Field[name.upper()]] = value
        made[Field.DL_TYPE], made[Field.CT_STATE] = 0x800, 0x2A
        # A packet has the fields of its own protocol only.
        if made[Field.NW_PROTO] not in (6, 17):
            made[Field.TP_SRC] = made[Field.TP_DST] = 0
        if made[Field.NW_PROTO] != 1:
            made[Field.ICMP_TYPE] = made[Field.ICMP_CODE] = 0
        return made

    first = key(one)
    found, looked = classifier.lookup(swapped(first))
    real = swapped_looks(looked)
    blend = {
        name: one[name] if real >> Field[name.upper()] & 1 or data.draw(st.booleans()) else other
        for name, other in two.items()
    }
    other = key(blend)
    if all(first[field] == other[field] for field in Field if real >> field & 1):
        assert classifier.lookup(swapped(other))[0] is found
    if first[Field.NW_PROTO] != 132 and first[Field.CT_NW_PROTO] != 132:
        assert swapped(swapped(first)) == first
    assert all(FIELDS[field].name for field in Field if real >> field & 1)

# SPDX-License-Identifier: Apache-2.0
"""VLAN actions: the frames that leave, what later lookups see, and OVS's rules for the tag."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from p4ct.packet import Packet, parse
from p4ct.packet.build import push_vlan, tcp_frame
from p4ct.pipeline import FlowSyntaxError, Pipeline, PortTable, Vport, parse_flows
from p4ct.pipeline.fields import Field, build_key

from .conftest import ScriptedConntrack

ENDS = {"src": "10.0.0.1", "dst": "10.0.0.2", "sport": 1000, "dport": 80}
PLAIN = tcp_frame(**ENDS)
PRESENT = 0x1000


def frame_of(tci: int) -> bytes:
    """The packet with this tag; 0x1000 says that there is one (DEI is 0)."""
    return push_vlan(PLAIN, tci & 0xFFF, tci >> 13) if tci & PRESENT else PLAIN


def sent(actions: str, tci: int = 0, match: str = "ip") -> list[bytes]:
    """What leaves by ext, put behind the actions."""
    switch = Pipeline(PortTable([Vport(1, "vm1", 1), Vport(3, "ext", 3)]), ScriptedConntrack())
    switch.replace(parse_flows(f"{match},actions={actions},ext", ports=switch.ports.numbers))
    result = switch.process(parse(frame_of(tci)), 1, 0.0)
    return [pkt.frame for pkt in result.packets]


CASES = [
    # actions, tag before, tag after
    ("push_vlan:0x8100", 0, 0x1000),
    ("push_vlan:0x8100,set_field:4196->vlan_vid", 0, 0x1064),
    ("push_vlan:0x8100,set_field:5->vlan_pcp", 0, 0xB000),
    ("pop_vlan,push_vlan:33024", 0x7064, 0x1000),
    ("pop_vlan", 0x7064, 0),
    ("strip_vlan", 0x7064, 0),
    ("pop_vlan", 0, 0),
    ("mod_vlan_vid:7", 0, 0x1007),
    ("mod_vlan_vid:7", 0x7064, 0x7007),
    ("mod_vlan_pcp:7", 0, 0xF000),
    ("mod_vlan_pcp:1", 0xF064, 0x3064),
    ("set_vlan_vid:7", 0, 0),
    ("set_vlan_vid:7", 0x7064, 0x7007),
    ("set_vlan_pcp:7", 0x1064, 0xF064),
    ("set_field:4103->vlan_vid", 0, 0x1007),
    ("set_field:0x1007->vlan_vid", 0x7064, 0x7007),
    ("set_field:7->vlan_vid", 0x7064, 0),
    ("set_field:7/0xfff->vlan_vid", 0x7064, 0x7007),
    ("set_field:7->dl_vlan", 0, 0x1007),
    ("set_field:0xffff->dl_vlan", 0x7064, 0),
    ("set_field:3->dl_vlan_pcp", 0, 0x7000),
    ("set_field:0xb007->vlan_tci", 0x7064, 0xB007),
    ("set_field:0xe007->vlan_tci", 0x7064, 0),
    ("load:0xb007->NXM_OF_VLAN_TCI[]", 0, 0xB007),
    ("load:7->NXM_OF_VLAN_TCI[0..11]", 0x7064, 0x7007),
    ("load:1->NXM_OF_VLAN_TCI[12]", 0, 0x1000),
    ("load:0->OXM_OF_VLAN_VID[]", 0x7064, 0),
    ("load:0xb->NXM_OF_VLAN_TCI[12..15]", 0, 0xB000),
    ("load:0x1009->reg1[],move:reg1[0..12]->vlan_vid[]", 0, 0x1009),
    ("load:5->reg1[],move:reg1[0..11]->NXM_OF_VLAN_TCI[0..11]", 0x1064, 0x1005),
    ("mod_vlan_vid:9,mod_vlan_vid:8,pop_vlan,mod_vlan_vid:7", 0, 0x1007),
]


@pytest.mark.parametrize(("actions", "before", "after"), CASES)
def test_the_frame_that_leaves(actions: str, before: int, after: int) -> None:
    match = "ip,dl_vlan=100" if "vlan_pcp" in actions and before else "ip"
    assert sent(actions, before, match) == [frame_of(after)]


def test_dei_stays_until_the_tag_is_written() -> None:
    """As in OVS, whose bit for "there is a tag" has DEI's place."""
    switch = Pipeline(PortTable([Vport(1, "vm1", 1), Vport(3, "ext", 3)]), ScriptedConntrack())
    text = "ip,actions=mod_vlan_vid:100,ext,mod_vlan_vid:7,ext"
    switch.replace(parse_flows(text, ports=switch.ports.numbers))
    frame = push_vlan(PLAIN, 100, 3, dei=True)
    first, second = switch.process(parse(frame), 1, 0.0).packets
    assert (first.frame, second.frame) == (frame, push_vlan(PLAIN, 7, 3))


def test_a_second_tag_is_a_drop_and_named(switch) -> None:
    switch.flows("ip,actions=ext,push_vlan:0x8100,vm2")
    result = switch.send(parse(frame_of(0x1064)))
    assert result.outputs == []
    assert result.drop_reason == (
        "push_vlan: the packet has a tag, and a second one is not understood"
    )
    assert switch.send(parse(PLAIN)).outputs == [3, 2]


def test_behind_a_popped_tag_is_what_was_there(switch) -> None:
    """Of two tags only the outer one is known: the inner one shows when that is gone."""
    switch.flows(
        "table=0,dl_vlan=5,actions=load:7->reg1[],pop_vlan,resubmit(,1)\n"
        "table=1,dl_vlan=6,ip,nw_dst=10.0.0.2,reg1=7,actions=ext,pop_vlan,resubmit(,2)\n"
        "table=2,vlan_tci=0,tcp,tp_dst=80,actions=vm2\n"
    )
    result = switch.send(parse(push_vlan(push_vlan(PLAIN, 6, 2), 5)))
    assert [pkt.frame for pkt in result.packets] == [push_vlan(PLAIN, 6, 2), PLAIN]


def test_ct_behind_a_tag_sees_the_same_packet(switch) -> None:
    switch.flows(
        "table=0,ip,actions=mod_vlan_vid:5,ct(zone=1,table=1)\n"
        "table=1,ip,dl_vlan=5,ct_state=+trk,actions=pop_vlan,resubmit(,2)\n"
        "table=2,ip,vlan_tci=0/0x1fff,ct_state=+trk,ct_zone=1,actions=ext\n"
    )
    assert switch.send(parse(PLAIN)).outputs == [3]
    assert switch.ct.calls == [("track", 1)]


def test_a_truncated_tag_is_not_written(switch) -> None:
    switch.flows("actions=mod_vlan_vid:5,ext")
    reason = switch.send(parse(PLAIN[:12] + b"\x81\x00")).drop_reason
    assert reason == "a field of a malformed packet is written: truncated VLAN tag"


def test_normal_learns_in_the_vlan_that_flows_have_put_it_in(switch) -> None:
    switch.flows("ip,actions=mod_vlan_vid:5,NORMAL")
    switch.pipeline.macs.learn(5, bytes.fromhex("020000000002"), 3, 0.0)
    result = switch.send(parse(PLAIN))
    assert result.outputs == [3]
    assert [(move.vlan, move.mac) for move in result.learned] == [
        (5, bytes.fromhex("020000000001"))
    ]


# -- any actions ---------------------------------------------------------------------------

NUMBERS = {
    "mod_vlan_vid:{}": (0xFFF, lambda n: (n | PRESENT, 0x1FFF)),
    "set_vlan_vid:{}": (0xFFF, lambda n: (n, 0xFFF)),
    "mod_vlan_pcp:{}": (7, lambda n: (n << 13 | PRESENT, 0xF000)),
    "set_field:{}->vlan_vid": (0x1FFF, lambda n: (n, 0x1FFF)),
    "load:{}->NXM_OF_VLAN_TCI[]": (0xFFFF, lambda n: (n, 0xFFFF)),
    "load:{}->NXM_OF_VLAN_TCI[4..14]": (0x7FF, lambda n: (n << 4, 0x7FF0)),
    "pop_vlan{:.0}": (0, lambda n: (0, 0xFFFF)),
}


@st.composite
def writes(draw: st.DrawFn) -> tuple[str, int, int]:
    """An action, and the bits of the tag that it writes with their values."""
    text = draw(st.sampled_from(sorted(NUMBERS)))
    high, bits = NUMBERS[text]
    number = draw(st.integers(0, high) | st.sampled_from([0, min(high, 5)]))
    return text.format(str(number)), *bits(number)


def in_terms_of_ovs(tci: int, value: int, mask: int) -> int:
    """The tag as `struct flow` of OVS has it; without 0x1000 it is not put on the packet."""
    tci = tci & ~mask | value
    return tci if tci & PRESENT else 0


@given(
    st.lists(writes(), max_size=6),
    st.one_of(st.just(0), st.integers(0, 0xFFFF).map(lambda n: n | PRESENT)),
)
def test_any_actions(steps: list[tuple[str, int, int]], tci: int) -> None:
    """The frame that leaves, and what the next table sees of it, are what the rules say."""
    wanted = tci
    for _, value, mask in steps:
        wanted = in_terms_of_ovs(wanted, value, mask)
    switch = Pipeline(PortTable([Vport(1, "vm1", 1), Vport(3, "ext", 3)]), ScriptedConntrack())
    actions = ",".join([text for text, _, _ in steps] + ["resubmit(,1)"])
    behind = f"table=1,tcp,vlan_tci={wanted:#x},nw_dst=10.0.0.2,actions=ext"
    text = f"table=0,ip,actions={actions}\n{behind}"
    switch.replace(parse_flows(text, ports=switch.ports.numbers))
    result = switch.process(parse(frame_of(tci)), 1, 0.0)
    assert result.outputs == [3]
    assert result.packets[0].frame == frame_of(wanted)
    assert Field.VLAN_VID in result.looked_at


@given(st.lists(writes(), max_size=4), st.integers(0, 0xFFFF), st.booleans())
def test_the_key_is_that_of_the_packet(
    steps: list[tuple[str, int, int]], tci: int, double: bool
) -> None:
    """What a lookup sees after writes is what it would see of the frame if it came in so."""
    from p4ct.pipeline.actions import Move, PopVlan, SetField, SetTag
    from p4ct.pipeline.write import write, write_tag

    frame = push_vlan(frame_of(tci), 9, 1) if double else frame_of(tci)
    pkt: Packet = parse(frame)
    key = build_key(pkt, 1)
    for text, _, _ in steps:
        (flow,) = parse_flows(f"ip,actions={text}", ports={})
        (action,) = flow.actions
        assert not isinstance(action, Move)
        if isinstance(action, SetField):
            pkt = write(pkt, key, action.field, action.value, action.mask)
        elif isinstance(action, SetTag):
            pkt = write_tag(pkt, key, action.value, action.mask)
        else:
            assert isinstance(action, PopVlan)
            pkt = write_tag(pkt, key, 0, 0xFFFF)
        assert key == build_key(parse(pkt.frame), 1)


# -- errors --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("actions", "column", "message", "hint"),
    [
        ("push_vlan", 12, "push_vlan needs an EtherType", "push_vlan:0x8100"),
        ("push_vlan:0x88a8", 22, "802.1ad are not supported yet", "push_vlan:0x8100"),
        ("push_vlan:0x800", 22, "0x800 is not the EtherType of a tag", "push_vlan:0x8100"),
        ("push_vlan:x", 22, "'x' is not valid", ""),
        ("mod_vlan_vid:5,push_vlan:0x8100", 37, "a second tag", "pop_vlan first"),
        ("push_vlan:0x8100,push_vlan:0x8100", 39, "a second tag", "pop_vlan first"),
        ("pop_vlan:1", 12, "pop_vlan takes no value", "write pop_vlan"),
        ("pop_vlann", 12, "unknown action 'pop_vlann'", "did you mean 'pop_vlan'?"),
        ("mod_vlan_vid:4096", 25, "VLAN id must be a number from 0 to 4095", ""),
        ("mod_vlan_pcp:8", 25, "priority must be a number from 0 to 7", ""),
        ("mod_vlan_vid", 12, "mod_vlan_vid needs a value", ""),
        ("set_field:3->vlan_pcp", 12, "needs a match on vlan", "add dl_vlan"),
        ("pop_vlan,set_field:3->vlan_pcp", 31, "an earlier action takes the tag off", "before"),
        ("set_field:8192->vlan_vid", 22, "from 0 to 8191", ""),
        ("set_field:1->vlan_vd", 25, "unknown field 'vlan_vd'", "did you mean 'vlan_vid'?"),
        ("set_field:65536->vlan_tci", 22, "vlan_tci must be a number", ""),
        ("load:16->NXM_OF_VLAN_TCI[0..3]", 17, "a value of 4 bits must be", ""),
        ("load:1->NXM_OF_VLAN_TCI[9..16]", 35, "NXM_OF_VLAN_TCI has the bits 0 to 15", ""),
        ("move:NXM_OF_VLAN_TCI[]->reg0[0..15]", 17, "of two fields here", "[13..15]"),
        ("ct(commit,exec(set_field:5->vlan_vid))", 40, "not vlan_vid", "outside"),
        ("ct(commit,exec(set_field:5->vlan_tci))", 40, "unknown field 'vlan_tci'", ""),
    ],
)
def test_what_cannot_be_meant(actions: str, column: int, message: str, hint: str) -> None:
    with pytest.raises(FlowSyntaxError) as caught:
        parse_flows(f"ip,actions={actions}", ports={"vm1": 1})
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.column == column


def test_a_tag_that_the_match_has_is_not_put_on_again() -> None:
    with pytest.raises(FlowSyntaxError, match="a second tag") as caught:
        parse_flows("dl_vlan=5,actions=push_vlan:0x8100", ports={})
    assert caught.value.column == 19
    assert parse_flows("dl_vlan=5,actions=pop_vlan,push_vlan:0x8100", ports={})
    assert parse_flows("dl_vlan=5,actions=set_field:1->vlan_pcp", ports={})
    assert parse_flows("actions=mod_vlan_vid:5,set_field:1->vlan_pcp", ports={})

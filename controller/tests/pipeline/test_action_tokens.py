# SPDX-License-Identifier: Apache-2.0
"""Every action token and the action that it stands for."""

from __future__ import annotations

import pytest
from p4ct.conntrack import NatRange
from p4ct.packet.text import parse_ip
from p4ct.pipeline import parse_flows
from p4ct.pipeline.actions import (
    Ct,
    CtClear,
    DecTtl,
    GotoTable,
    InPort,
    Move,
    Normal,
    Output,
    Resubmit,
    SetField,
)
from p4ct.pipeline.fields import Field
from p4ct.pipeline.subfield import Subfield

PORTS = {"vm1": 1, "vm2": 2, "ext": 3}


def nat(
    source: bool, low: str, high: str = "", ports: tuple[int, int] | None = None, **flags: bool
):
    """ct(commit,nat(…))"""
    chosen = NatRange(source, parse_ip(low), parse_ip(high or low), ports, **flags)
    return Ct(commit=True, nat=True, nat_range=chosen)


def marked(*writes: SetField | Move) -> Ct:
    """ct(commit,exec(…))"""
    return Ct(commit=True, writes=writes)


CASES = [
    ("drop", ()),
    ("DROP", ()),
    ("output:1", (Output(1),)),
    ("output:vm2", (Output(2),)),
    ("output(3)", (Output(3),)),
    ("vm1", (Output(1),)),
    ("2", (Output(2),)),
    ("1,vm1", (Output(1), Output(1))),
    ("NORMAL", (Normal(),)),
    ("normal", (Normal(),)),
    ("output:NORMAL", (Normal(),)),
    ("in_port", (InPort(),)),
    ("IN_PORT", (InPort(),)),
    ("output:in_port", (InPort(),)),
    ("ct", (Ct(),)),
    ("ct()", (Ct(),)),
    ("ct(commit)", (Ct(commit=True),)),
    ("ct(zone=5)", (Ct(zone=5),)),
    ("ct(table=1)", (Ct(table=1),)),
    ("ct(table=0)", (Ct(table=0),)),
    ("ct(table=1,zone=0x10,commit)", (Ct(True, 16, 1),)),
    ("ct( commit , table=1 )", (Ct(commit=True, table=1),)),
    ("ct(commit),ct(zone=1,table=2),vm1", (Ct(True), Ct(zone=1, table=2), Output(1))),
    ("ct_clear", (CtClear(),)),
    ("resubmit(1,2)", (Resubmit(1, 2),)),
    ("resubmit(vm1, 2)", (Resubmit(1, 2),)),
    ("resubmit(,2)", (Resubmit(None, 2),)),
    ("resubmit(in_port,2)", (Resubmit(None, 2),)),
    ("resubmit(,0)", (Resubmit(None, 0),)),
    ("resubmit(vm1)", (Resubmit(1, None),)),
    ("resubmit:vm1", (Resubmit(1, None),)),
    ("resubmit:3", (Resubmit(3, None),)),
    ("goto_table:9", (GotoTable(9),)),
    ("goto_table(9)", (GotoTable(9),)),
    ("vm1 vm2,goto_table:9", (Output(1), Output(2), GotoTable(9))),
    ("ct(commit,force)", (Ct(commit=True, force=True),)),
    ("ct(commit,alg=ftp)", (Ct(commit=True, alg="ftp"),)),
    ("ct(alg=tftp,commit,table=1)", (Ct(commit=True, table=1, alg="tftp"),)),
    ("ct(zone=reg1[0..15])", (Ct(zone=Subfield(Field.REG1, 0, 16)),)),
    ("ct(zone=NXM_NX_CT_MARK[16..31])", (Ct(zone=Subfield(Field.CT_MARK, 16, 16)),)),
    ("ct(nat,table=1)", (Ct(nat=True, table=1),)),
    ("ct(commit,nat)", (Ct(commit=True, nat=True),)),
    ("ct(commit,nat())", (Ct(commit=True, nat=True),)),
    ("ct(commit,nat(src=1.2.3.4))", (nat(True, "1.2.3.4"),)),
    ("ct(commit,nat(src=1.2.3.4-1.2.3.9))", (nat(True, "1.2.3.4", "1.2.3.9"),)),
    ("ct(commit,nat(dst=1.2.3.4:80))", (nat(False, "1.2.3.4", ports=(80, 80)),)),
    ("ct(commit,nat(dst=1.2.3.4:80-90,hash))", (nat(False, "1.2.3.4", "", (80, 90), hash=True),)),
    (
        "ct(commit,nat(src=1.2.3.4,random,persistent))",
        (nat(True, "1.2.3.4", random=True, persistent=True),),
    ),
    ("ct(commit,exec(set_field:5->ct_mark))", (marked(SetField(Field.CT_MARK, 5, 0xFFFFFFFF)),)),
    ("ct(commit,exec(set_field:5/7->ct_label))", (marked(SetField(Field.CT_LABEL, 5, 7)),)),
    (
        "ct(commit,exec(load:1->NXM_NX_CT_LABEL[127],move:reg0[]->ct_mark[]))",
        (
            marked(
                SetField(Field.CT_LABEL, 1 << 127, 1 << 127),
                Move(Subfield(Field.REG0, 0, 32), Subfield(Field.CT_MARK, 0, 32)),
            ),
        ),
    ),
    ("set_field:1.2.3.4->nw_src", (SetField(Field.NW_SRC, 0x01020304, 0xFFFFFFFF),)),
    ("set_field:1.2.3.4/24->ip_dst", (SetField(Field.NW_DST, 0x01020300, 0xFFFFFF00),)),
    ("set_field:8->NXM_NX_REG7", (SetField(Field.REG7, 8, 0xFFFFFFFF),)),
    ("set_field:9->ip_dscp", (SetField(Field.NW_TOS, 36, 0xFC),)),
    ("load:3->reg0[4..5]", (SetField(Field.REG0, 0x30, 0x30),)),
    ("mod_dl_src:0:0:0:0:0:1", (SetField(Field.DL_SRC, 1, (1 << 48) - 1),)),
    ("mod_dl_dst:0:0:0:0:0:1", (SetField(Field.DL_DST, 1, (1 << 48) - 1),)),
    ("mod_nw_src:0.0.0.1", (SetField(Field.NW_SRC, 1, 0xFFFFFFFF),)),
    ("mod_nw_dst:0.0.0.1", (SetField(Field.NW_DST, 1, 0xFFFFFFFF),)),
    ("mod_nw_tos:4", (SetField(Field.NW_TOS, 4, 0xFC),)),
    ("mod_nw_ecn:2", (SetField(Field.NW_ECN, 2, 3),)),
    ("mod_nw_ttl:9", (SetField(Field.NW_TTL, 9, 0xFF),)),
    ("dec_ttl", (DecTtl(),)),
    ("dec_ttl()", (DecTtl(),)),
    (
        "move:NXM_OF_IP_SRC[8..15]->reg0[0..7]",
        (Move(Subfield(Field.NW_SRC, 8, 8), Subfield(Field.REG0, 0, 8)),),
    ),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_actions(text: str, expected: tuple[object, ...]) -> None:
    (flow,) = parse_flows(f"ip,actions={text}", ports=PORTS)
    assert flow.actions == expected


def test_ct_is_allowed_for_ipv6_and_by_ethernet_type() -> None:
    for match in ("ipv6", "tcp6", "dl_type=0x0800", "udp"):
        (flow,) = parse_flows(f"{match},actions=ct(commit)", ports=PORTS)
        assert flow.actions == (Ct(commit=True),)


def test_ct_without_commit_may_follow_inv() -> None:
    (flow,) = parse_flows("ip,ct_state=+trk+inv,actions=ct(zone=2,table=3)", ports=PORTS)
    assert flow.actions == (Ct(zone=2, table=3),)


def test_vport_names_with_punctuation() -> None:
    ports = {"vm-1.a@b": 7, "10g": 8}
    (flow,) = parse_flows("in_port=vm-1.a@b,actions=vm-1.a@b,output:10g,10g", ports=ports)
    assert flow.actions == (Output(7), Output(8), Output(8))


def test_writes_of_other_protocols() -> None:
    for text, field in (
        ("tcp,actions=mod_tp_src:1", Field.TP_SRC),
        ("udp,actions=mod_tp_dst:1", Field.TP_DST),
        ("tcp6,actions=set_field:1->tcp_dst", Field.TP_DST),
        ("ipv6,actions=set_field:::1->ipv6_src", Field.IPV6_SRC),
        ("arp,actions=load:1->NXM_OF_ARP_OP[]", Field.ARP_OP),
    ):
        (flow,) = parse_flows(text, ports=PORTS)
        assert flow.actions == (SetField(field, 1, (1 << {"ipv6_src": 128}.get(
            field.name.lower(), 16)) - 1),)  # fmt: skip


def test_nat_of_ipv6() -> None:
    for text, expected in (
        ("fd00::1", nat(True, "fd00::1")),
        ("fd00::1-fd00::9", nat(True, "fd00::1", "fd00::9")),
        ("[fd00::1]", nat(True, "fd00::1")),
        ("[fd00::1]:5", nat(True, "fd00::1", ports=(5, 5))),
        ("[fd00::1]-[fd00::9]:5-6", nat(True, "fd00::1", "fd00::9", (5, 6))),
    ):
        (flow,) = parse_flows(f"ipv6,actions=ct(commit,nat(src={text}))", ports=PORTS)
        assert flow.actions == (expected,)

# SPDX-License-Identifier: Apache-2.0
"""Every action token and the action that it stands for."""

from __future__ import annotations

import pytest
from p4ct.pipeline import parse_flows
from p4ct.pipeline.actions import Ct, CtClear, GotoTable, InPort, Normal, Output, Resubmit

PORTS = {"vm1": 1, "vm2": 2, "ext": 3}

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

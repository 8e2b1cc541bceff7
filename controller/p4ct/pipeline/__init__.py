# SPDX-License-Identifier: Apache-2.0
"""The flow pipeline of the slow path: `ovs-ofctl` flows, MAC learning and the use of conntrack.

`parse_flows` reads a policy, `Pipeline.process` resolves a packet by it and records which fields it
looked at; `Result.blockers` says why the outcome cannot become an eswitch entry.
"""

from p4ct.pipeline.access import ConntrackAccess, PeekConntrack
from p4ct.pipeline.blockers import STATELESS, covered_by_connection_entry
from p4ct.pipeline.errors import FlowSyntaxError
from p4ct.pipeline.execute import FlowChange, Pipeline
from p4ct.pipeline.fields import Field, FieldSet
from p4ct.pipeline.flow import Flow
from p4ct.pipeline.format import flow_line, format_match
from p4ct.pipeline.mac_table import MacTable
from p4ct.pipeline.match import Match
from p4ct.pipeline.parser import FlowSelector, parse_flows, parse_selector
from p4ct.pipeline.ports import PortError, PortTable, Vport
from p4ct.pipeline.result import CtVisit, MacMove, Result

__all__ = [
    "STATELESS",
    "ConntrackAccess",
    "CtVisit",
    "Field",
    "FieldSet",
    "Flow",
    "FlowChange",
    "FlowSelector",
    "FlowSyntaxError",
    "MacMove",
    "MacTable",
    "Match",
    "PeekConntrack",
    "Pipeline",
    "PortError",
    "PortTable",
    "Result",
    "Vport",
    "covered_by_connection_entry",
    "flow_line",
    "format_match",
    "parse_flows",
    "parse_selector",
]

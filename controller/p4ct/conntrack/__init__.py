# SPDX-License-Identifier: Apache-2.0
"""Connection tracking: states, windows and timeouts of Linux behind the ct() of OVS. Pure."""

from p4ct.conntrack.connection import Connection, Direction, Tuple
from p4ct.conntrack.format import conntrack_line
from p4ct.conntrack.fragments import FragmentDropped, FragmentLimits, Reassembler
from p4ct.conntrack.limits import Limits
from p4ct.conntrack.nat import NatRange
from p4ct.conntrack.result import (
    ConntrackFull,
    ConntrackInvalid,
    CtResult,
    NatExhausted,
    TupleTaken,
)
from p4ct.conntrack.state import CtState, Event, FlowState, SctpState, TcpState
from p4ct.conntrack.timeouts import Timeouts
from p4ct.conntrack.tracker import Tracker

__all__ = [
    "Connection",
    "ConntrackFull",
    "ConntrackInvalid",
    "CtResult",
    "CtState",
    "Direction",
    "Event",
    "FlowState",
    "FragmentDropped",
    "FragmentLimits",
    "Limits",
    "NatExhausted",
    "NatRange",
    "Reassembler",
    "SctpState",
    "TcpState",
    "Timeouts",
    "Tracker",
    "Tuple",
    "TupleTaken",
    "conntrack_line",
]

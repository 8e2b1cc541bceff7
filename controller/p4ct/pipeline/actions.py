# SPDX-License-Identifier: Apache-2.0
"""The actions of a flow as values, and their text in the style of `ovs-ofctl`."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

__all__ = [
    "Action",
    "Ct",
    "CtClear",
    "GotoTable",
    "InPort",
    "Normal",
    "Output",
    "Resubmit",
    "format_action",
    "format_actions",
]

PortName = Callable[[int], str]


class Output(msgspec.Struct, frozen=True):
    """Send to vport `port`; skipped if that is the packet's ingress vport."""

    port: int


class InPort(msgspec.Struct, frozen=True):
    """Send back to the packet's ingress vport."""


class Normal(msgspec.Struct, frozen=True):
    """Forward as a learning switch does."""


class Ct(msgspec.Struct, frozen=True):
    """Pass through conntrack in `zone`; with `table`, a copy resumes there with ct fields set."""

    commit: bool = False
    zone: int = 0
    table: int | None = None


class CtClear(msgspec.Struct, frozen=True):
    """Forget what conntrack said about the packet."""


class Resubmit(msgspec.Struct, frozen=True):
    """Look up again as if from vport `port` (None: the same) in `table` (None: the current)."""

    port: int | None = None
    table: int | None = None


class GotoTable(msgspec.Struct, frozen=True):
    """Continue in a later table."""

    table: int


Action = Output | InPort | Normal | Ct | CtClear | Resubmit | GotoTable


def format_action(action: Action, port_name: PortName = str) -> str:
    """One action; `port_name` gives the text for a port number."""
    match action:
        case Output(port):
            return f"output:{port_name(port)}"
        case InPort():
            return "IN_PORT"
        case Normal():
            return "NORMAL"
        case CtClear():
            return "ct_clear"
        case GotoTable(table):
            return f"goto_table:{table}"
        case Resubmit(port, table):
            if table is None and port is not None:
                return f"resubmit:{port_name(port)}"
            left = "" if port is None else port_name(port)
            return f"resubmit({left},{'' if table is None else table})"
        case Ct(commit, zone, table):
            parts = ["commit"] if commit else []
            if table is not None:
                parts.append(f"table={table}")
            if zone:
                parts.append(f"zone={zone}")
            return f"ct({','.join(parts)})"


def format_actions(actions: tuple[Action, ...], port_name: PortName = str) -> str:
    """The action list as it stands after `actions=`; an empty list is `drop`."""
    return ",".join(format_action(action, port_name) for action in actions) or "drop"

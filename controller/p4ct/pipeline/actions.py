# SPDX-License-Identifier: Apache-2.0
"""The actions of a flow as values, and their text in the style of `ovs-ofctl`."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from p4ct.conntrack.nat import NatRange
from p4ct.pipeline.field_text import format_value
from p4ct.pipeline.fields import FIELDS, VLAN_PRESENT, Field
from p4ct.pipeline.parse_nat import format_nat
from p4ct.pipeline.subfield import Subfield, field_name, format_subfield

__all__ = [
    "Action",
    "Ct",
    "CtClear",
    "DecTtl",
    "GotoTable",
    "InPort",
    "Move",
    "Normal",
    "Output",
    "OutputField",
    "PopVlan",
    "PushVlan",
    "Resubmit",
    "SetField",
    "SetTag",
    "format_action",
    "format_actions",
]

PortName = Callable[[int], str]


class Output(msgspec.Struct, frozen=True):
    """Send to vport `port`; skipped if that is the packet's ingress vport."""

    port: int


class OutputField(msgspec.Struct, frozen=True):
    """Send to the vport whose number is in a part of a field."""

    source: Subfield


class InPort(msgspec.Struct, frozen=True):
    """Send back to the packet's ingress vport."""


class Normal(msgspec.Struct, frozen=True):
    """Forward as a learning switch does."""


class SetField(msgspec.Struct, frozen=True):
    """Write `value` into the bits of a field that `mask` names (`set_field`, `load`, `mod_…`)."""

    field: Field
    value: int
    mask: int


class Move(msgspec.Struct, frozen=True):
    """Copy one part of a field to another of the same width."""

    source: Subfield
    target: Subfield


class PushVlan(msgspec.Struct, frozen=True):
    """Put an 802.1Q tag of VLAN 0 and priority 0 on; a packet that has one is dropped."""


class PopVlan(msgspec.Struct, frozen=True):
    """Take the outermost 802.1Q tag off, if there is one."""


class SetTag(msgspec.Struct, frozen=True):
    """Write `value` into the bits of VLAN id and priority that `mask` names, at once.

    16 bits as in `vlan_tci`, where 0x1000 says that there is a tag: what is written without it, to
    a packet without it, leaves no tag.
    """

    value: int
    mask: int


class DecTtl(msgspec.Struct, frozen=True):
    """Decrement TTL or hop limit; a packet that has 1 or less left goes no further."""


class Ct(msgspec.Struct, frozen=True):
    """Pass through conntrack in `zone`; with `table`, a copy resumes there with ct fields set.

    commit: store the connection.   force: a connection that was begun by the other side is
        replaced by one that this packet begins.
    nat: translate the packet as its connection says; `nat_range`: what a new connection gets.
    alg: the helper of a new connection, "ftp" or "tftp"; empty for none.
    timeout: the timeout policy of a new connection; empty for that of its zone.
    writes: of `exec(…)`, to ct_mark and ct_label of the connection.
    """

    commit: bool = False
    zone: int | Subfield = 0
    table: int | None = None
    force: bool = False
    nat: bool = False
    nat_range: NatRange | None = None
    writes: tuple[SetField | Move, ...] = ()
    alg: str = ""
    timeout: str = ""


class CtClear(msgspec.Struct, frozen=True):
    """Forget what conntrack said about the packet."""


class Resubmit(msgspec.Struct, frozen=True):
    """Look up again as if from vport `port` (None: the same) in `table` (None: the current).

    original_tuple: this lookup sees the tuple of the connection's first packet where the packet's
    addresses, protocol and ports are, and those in the place of the tuple.
    """

    port: int | None = None
    table: int | None = None
    original_tuple: bool = False


class GotoTable(msgspec.Struct, frozen=True):
    """Continue in a later table."""

    table: int


Action = (
    Output
    | OutputField
    | InPort
    | Normal
    | SetField
    | SetTag
    | Move
    | PushVlan
    | PopVlan
    | DecTtl
    | Ct
    | CtClear
    | Resubmit
    | GotoTable
)


def format_action(action: Action, port_name: PortName = str) -> str:
    """One action; `port_name` gives the text for a port number."""
    match action:
        case Output(port):
            return f"output:{port_name(port)}"
        case OutputField(source):
            return f"output:{format_subfield(source)}"
        case InPort():
            return "IN_PORT"
        case Normal():
            return "NORMAL"
        case SetField(field, value, mask):
            return _format_set(field, value, mask)
        case Move(source, target):
            return f"move:{format_subfield(source)}->{format_subfield(target)}"
        case SetTag(value, mask):
            return _format_tag(value, mask)
        case PushVlan():
            return "push_vlan:0x8100"
        case PopVlan():
            return "pop_vlan"
        case DecTtl():
            return "dec_ttl"
        case CtClear():
            return "ct_clear"
        case GotoTable(table):
            return f"goto_table:{table}"
        case Resubmit(port, table, original):
            if table is None and port is not None and not original:
                return f"resubmit:{port_name(port)}"
            left = "" if port is None else port_name(port)
            more = ",ct" if original else ""
            return f"resubmit({left},{'' if table is None else table}{more})"
        case Ct():
            return _format_ct(action)


#: `set_field` takes no mask for these: who writes a part of one has done so by `load`.
_WHOLE = frozenset({Field.VLAN_PCP, Field.NW_ECN, Field.NW_TTL, Field.ARP_OP})


def _format_set(field: Field, value: int, mask: int) -> str:
    full = FIELDS[field].mask if field is not Field.NW_TOS else 0xFC
    if mask != full and field in _WHOLE:
        start = (mask & -mask).bit_length() - 1
        part = Subfield(field, start, mask.bit_length() - start)
        return f"load:{value >> start:#x}->{format_subfield(part)}"
    text = format_value(field, value)
    if mask != full:
        text += f"/{format_value(field, mask)}"
    return f"set_field:{text}->{field_name(field)}"


def _format_tag(value: int, mask: int) -> str:
    if mask == 0xF000 and value & VLAN_PRESENT:
        return f"mod_vlan_pcp:{value >> 13}"
    return f"set_field:{value:#06x}{'' if mask == 0xFFFF else f'/{mask:#06x}'}->vlan_tci"


def _format_ct(action: Ct) -> str:
    """In the order of `format_CT` of ofp-actions.c."""
    parts = ["commit"] if action.commit else []
    if action.force:
        parts.append("force")
    if action.table is not None:
        parts.append(f"table={action.table}")
    if isinstance(action.zone, Subfield):
        parts.append(f"zone={format_subfield(action.zone)}")
    elif action.zone:
        parts.append(f"zone={action.zone}")
    if action.nat:
        parts.append(format_nat(action.nat_range))
    if action.writes:
        parts.append(f"exec({','.join(format_action(write) for write in action.writes)})")
    if action.alg:
        parts.append(f"alg={action.alg}")
    if action.timeout:
        parts.append(f"timeout={action.timeout}")
    return f"ct({','.join(parts)})"


def format_actions(actions: tuple[Action, ...], port_name: PortName = str) -> str:
    """The action list as it stands after `actions=`; an empty list is `drop`."""
    return ",".join(format_action(action, port_name) for action in actions) or "drop"

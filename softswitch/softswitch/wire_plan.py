# SPDX-License-Identifier: Apache-2.0
"""What runtime/wire.c has to know of P4Info: ids of tables, fields, actions and parameters, and
where their values go in an entry. Tables that it cannot write are left out, and written the long
way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ctypes import POINTER, Structure, c_uint32, c_uint64
from dataclasses import dataclass

from softswitch.bmv2 import ir
from softswitch.codegen import keys
from softswitch.codegen.naming import param_offset

KINDS = {"exact": 0, "lpm": 1, "ternary": 2, "optional": 3}
MAX_WIDTH = 128
"""Parameters beyond this are stored as byte strings."""
MAX_ITEMS = 63
"""Fields of a key and parameters of an action; a bit stands for each."""


@dataclass(frozen=True, slots=True)
class WireTable:
    """A table as P4Info has it.

    `fields`: key name -> (id, kind of match). `actions`: id -> (name, ids of its parameters in
    order), those that entries may have. `modify`: a modification touches nothing but the entry
    itself.
    """

    name: str
    table_id: int
    modify: bool
    fields: Mapping[str, tuple[int, str]]
    actions: Mapping[int, tuple[str, Sequence[int]]]


class _Field(Structure):
    _fields_ = tuple((name, c_uint32) for name in ("id", "kind", "offset", "width"))


class _Param(Structure):
    _fields_ = tuple((name, c_uint32) for name in ("id", "word", "width"))


class _Action(Structure):
    _fields_ = tuple((name, c_uint32) for name in ("id", "number", "first_param", "n_params"))


class _Table(Structure):
    _fields_ = tuple(
        (name, c_uint32)
        for name in (
            "id",
            "number",
            "priority",
            "timeout",
            "modify",
            "first_field",
            "n_fields",
            "first_action",
            "n_actions",
        )
    )


class Plan(Structure):
    """struct ss_wire_plan"""

    _fields_ = (
        ("generation", c_uint64),
        ("n_tables", c_uint32),
        ("pad", c_uint32),
        ("tables", POINTER(_Table)),
        ("fields", POINTER(_Field)),
        ("actions", POINTER(_Action)),
        ("params", POINTER(_Param)),
    )


def build(program: ir.Program, generation: int, tables: Sequence[WireTable]) -> Plan:
    """The plan for one generation of a program."""
    by_name = {table.name: table for table in program.tables}
    rows: list[_Table] = []
    fields: list[_Field] = []
    actions: list[_Action] = []
    params: list[_Param] = []
    for wire in sorted(tables, key=lambda table: table.table_id):
        table = by_name[wire.name]
        own = {program.actions[a].name: program.actions[a] for a in table.actions}
        if not _plain(table, wire, own):
            continue
        first_field, first_action = len(fields), len(actions)
        for key, offset in zip(table.keys, keys.key_offsets(table), strict=True):
            number, kind = wire.fields[key.name]
            fields.append(_Field(number, KINDS[kind], offset, key.width))
        for action_id, (name, param_ids) in wire.actions.items():
            action = own[name]
            actions.append(_Action(action_id, action.index, len(params), len(param_ids)))
            for i, param_id in enumerate(param_ids):
                params.append(_Param(param_id, param_offset(action, i), action.params[i][1]))
        rows.append(
            _Table(
                wire.table_id,
                table.index,
                any(kind in ("ternary", "optional") for _, kind in wire.fields.values()),
                table.support_timeout,
                wire.modify,
                first_field,
                len(fields) - first_field,
                first_action,
                len(actions) - first_action,
            )
        )
    # A structure keeps the arrays alive that it points to.
    return Plan(
        generation,
        len(rows),
        0,
        (_Table * max(1, len(rows)))(*rows),
        (_Field * max(1, len(fields)))(*fields),
        (_Action * max(1, len(actions)))(*actions),
        (_Param * max(1, len(params)))(*params),
    )


def _plain(table: ir.Table, wire: WireTable, actions: Mapping[str, ir.Action]) -> bool:
    """May runtime/wire.c write it?"""
    return (
        0 < len(table.keys) <= MAX_ITEMS
        and table.profile is None
        and not table.const_entries
        and all(key.mask == (1 << key.width) - 1 for key in table.keys)
        and all(kind in KINDS for _, kind in wire.fields.values())
        and all(
            name in actions
            and len(actions[name].params) == len(ids) <= MAX_ITEMS
            and all(width <= MAX_WIDTH for _, width in actions[name].params)
            for name, ids in wire.actions.values()
        )
    )

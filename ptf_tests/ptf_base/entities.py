# SPDX-License-Identifier: Apache-2.0
"""P4Runtime entities from names and plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4

from ptf_base.p4info import Field, P4Names, Value, decode, find_field

Match = Mapping[str, Value | tuple[Value, Value]]
"""Field -> value, or (value, mask) of a ternary field. A field left out is a don't-care."""


def table_entry(
    names: P4Names,
    table: str,
    match: Match,
    action: str | None = None,
    params: Mapping[str, Value] | None = None,
    *,
    priority: int = 0,
    idle_timeout_ns: int = 0,
    metadata: bytes = b"",
    controller_metadata: int = 0,
) -> p4.Entity:
    """A table entry; without an action for reads and deletes."""
    entity = p4.Entity()
    entry = entity.table_entry
    entry.table_id = names.table(table).preamble.id
    keys = names.keys(table)
    for name, value in match.items():
        _add_match(names, entry, find_field(f"key of {table}", keys, name), value)
    if action is not None:
        entry.action.action.CopyFrom(table_action(names, action, params or {}))
    entry.priority = priority
    entry.idle_timeout_ns = idle_timeout_ns
    entry.metadata = metadata
    entry.controller_metadata = controller_metadata
    return entity


def table_action(names: P4Names, action: str, params: Mapping[str, Value]) -> p4.Action:
    """An action with the given parameters; one left out is left out on the wire, too."""
    message = p4.Action(action_id=names.action(action).preamble.id)
    known = names.params(action)
    for name, value in params.items():
        info = find_field(f"parameter of {action}", known, name)
        message.params.add(param_id=info.id, value=names.encode(info, value))
    return message


def params_of(names: P4Names, action: p4.Action) -> dict[str, int | str]:
    """The parameters of an action that was read, by name; enums by the member's name."""
    by_id = {f.id: f for f in names.params(names.action_name(action.action_id)).values()}
    result: dict[str, int | str] = {}
    for param in action.params:
        info = by_id[param.param_id]
        number = decode(param.value)
        result[info.name] = names.enum_member(info.enum, number) if info.enum else number
    return result


def match_of(names: P4Names, entry: p4.TableEntry) -> dict[str, int]:
    """The exact key of an entry, by name."""
    fields = {f.id: f.name for f in names.keys(names.table_name(entry.table_id)).values()}
    return {fields[m.field_id]: decode(m.exact.value) for m in entry.match if m.HasField("exact")}


def counter_entry(names: P4Names, counter: str, index: int) -> p4.Entity:
    """One cell of an indirect counter."""
    entity = p4.Entity()
    entity.counter_entry.counter_id = names.counter(counter).preamble.id
    entity.counter_entry.index.index = index
    return entity


def zero_counter_entry(names: P4Names, counter: str, index: int) -> p4.Entity:
    """One cell of an indirect counter, set to zero."""
    entity = counter_entry(names, counter, index)
    entity.counter_entry.data.SetInParent()
    return entity


def meter_entry(
    names: P4Names, meter: str, index: int, config: Mapping[str, int] | None = None
) -> p4.Entity:
    """One cell of an indirect meter; without `config` (cir, cburst, pir, pburst) every packet is
    green."""
    entity = p4.Entity()
    entity.meter_entry.meter_id = names.meter(meter).preamble.id
    entity.meter_entry.index.index = index
    if config is not None:
        entity.meter_entry.config.CopyFrom(p4.MeterConfig(**config))
    return entity


def update(kind: str, entity: p4.Entity) -> p4.Update:
    """`kind` is INSERT, MODIFY or DELETE."""
    return p4.Update(type=p4.Update.Type.Value(kind), entity=entity)


def identity(entry: p4.TableEntry) -> tuple[Any, ...]:
    """What tells two entries apart: table, match and priority."""
    match = sorted(m.SerializeToString(deterministic=True) for m in entry.match)
    return (entry.table_id, entry.priority, *match)


def _add_match(
    names: P4Names, entry: p4.TableEntry, info: Field, value: Value | tuple[Value, Value]
) -> None:
    if info.match_type == "EXACT":
        if isinstance(value, tuple):
            raise ValueError(f"{info.name} is exact: it takes no mask")
        entry.match.add(field_id=info.id).exact.value = names.encode(info, value)
        return
    if info.match_type != "TERNARY":
        raise ValueError(f"{info.name}: {info.match_type} keys are not in use")
    value, mask = value if isinstance(value, tuple) else (value, (1 << info.width) - 1)
    if mask == 0:
        return  # P4Runtime wants a don't-care left out.
    match = entry.match.add(field_id=info.id)
    match.ternary.value = names.encode(info, value)
    match.ternary.mask = names.encode(info, mask)

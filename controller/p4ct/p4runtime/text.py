# SPDX-License-Identifier: Apache-2.0
"""P4Runtime entities as one line of text, by the names of P4Info."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt

from p4ct.p4runtime.errors import UpdateError
from p4ct.p4runtime.p4info import Field, P4InfoIndex


def format_error(p4info: P4InfoIndex | None, error: UpdateError) -> str:
    """`INSERT ct_v4 l2_id=7 …: table full (RESOURCE_EXHAUSTED)`."""
    return f"{format_update(p4info, error.update)}: {error.message or 'no message'} ({error.code})"


def format_update(p4info: P4InfoIndex | None, update: p4rt.Update) -> str:
    """Kind of update and entity."""
    return f"{p4rt.Update.Type.Name(update.type)} {format_entity(p4info, update.entity)}"


def format_entity(p4info: P4InfoIndex | None, entity: p4rt.Entity) -> str:
    """Table entries, counters and meters with their names; for others, the kind of entity."""
    kind = entity.WhichOneof("entity")
    if kind == "table_entry":
        return format_table_entry(p4info, entity.table_entry)
    if kind == "counter_entry":
        counter = entity.counter_entry
        found = p4info.counters.by_id(counter.counter_id) if p4info else None
        return _cell(found.name if found else f"counter 0x{counter.counter_id:x}", counter)
    if kind == "meter_entry":
        meter = entity.meter_entry
        found = p4info.meters.by_id(meter.meter_id) if p4info else None
        return _cell(found.name if found else f"meter 0x{meter.meter_id:x}", meter)
    return str(kind or "empty entity")


def _cell(name: str, entry: p4rt.CounterEntry | p4rt.MeterEntry) -> str:
    return f"{name}[{entry.index.index}]" if entry.HasField("index") else f"{name}[*]"


def format_table_entry(p4info: P4InfoIndex | None, entry: p4rt.TableEntry) -> str:
    """`ct_v4 l2_id=7 src=10.0.0.1 … -> ct_drain(conn_index=3, …)`; don't-care keys left out."""
    table = p4info.tables.by_id(entry.table_id) if p4info else None
    words = [table.name if table else f"table 0x{entry.table_id:x}"]
    if entry.priority:
        words.append(f"priority={entry.priority}")
    if entry.is_default_action:
        words.append("default")
    keys = {key.id: key for key in table.keys} if table else {}
    for match in entry.match:
        key = keys.get(match.field_id)
        name = key.name if key else f"field{match.field_id}"
        words.append(f"{name}={_match(key, match)}")
    if entry.HasField("action"):
        words.append(f"-> {_action(p4info, entry.action)}")
    return " ".join(words)


def _match(key: Field | None, match: p4rt.FieldMatch) -> str:
    kind = match.WhichOneof("field_match_type")
    if kind == "ternary":
        return f"{_value(key, match.ternary.value)}&{_value(key, match.ternary.mask)}"
    if kind == "lpm":
        return f"{_value(key, match.lpm.value)}/{match.lpm.prefix_len}"
    if kind == "range":
        return f"{_value(key, match.range.low)}..{_value(key, match.range.high)}"
    return _value(key, match.optional.value if kind == "optional" else match.exact.value)


def _action(p4info: P4InfoIndex | None, table_action: p4rt.TableAction) -> str:
    if table_action.WhichOneof("type") != "action":
        return str(table_action.WhichOneof("type"))
    action = table_action.action
    known = p4info.actions.by_id(action.action_id) if p4info else None
    return f"{known.name if known else f'action 0x{action.action_id:x}'}(" + (
        ", ".join(_params(known.params if known else (), action.params)) + ")"
    )


def _params(fields: Iterable[Field], params: Iterable[p4rt.Action.Param]) -> Iterable[str]:
    by_id = {field.id: field for field in fields}
    for param in params:
        field = by_id.get(param.param_id)
        name = field.name if field else f"param{param.param_id}"
        yield f"{name}={_value(field, param.value)}"


def _value(field: Field | None, value: bytes) -> str:
    number = int.from_bytes(value, "big")
    form = field.format if field else ""
    if form == "mac" and number < 1 << 48:
        return number.to_bytes(6, "big").hex(":")
    if form == "ipv4" and number < 1 << 32:
        return str(IPv4Address(number))
    if form == "ipv6" and number < 1 << 128:
        return str(IPv6Address(number))
    return str(number) if number < 1 << 32 else hex(number)

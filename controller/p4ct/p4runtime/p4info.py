# SPDX-License-Identifier: Apache-2.0
"""P4Info: loading it, an index over it, and a readable listing of it.

The objects of the index are plain and immutable; ids and widths are those of the message.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from google.protobuf import text_format
from google.protobuf.message import DecodeError
from p4rt_stubs.p4.config.v1 import p4info_pb2

from p4ct.p4runtime.names import Names, P4InfoLookupError

__all__ = [
    "Action",
    "Array",
    "Field",
    "Header",
    "P4InfoError",
    "P4InfoIndex",
    "P4InfoLookupError",
    "Table",
    "describe",
    "load_p4info",
]

log = logging.getLogger(__name__)

MatchKind = Literal["exact", "lpm", "ternary", "range", "optional", "other"]
Format = Literal["", "mac", "ipv4", "ipv6"]

_MATCH_KINDS: Mapping[int, MatchKind] = {
    p4info_pb2.MatchField.EXACT: "exact",
    p4info_pb2.MatchField.LPM: "lpm",
    p4info_pb2.MatchField.TERNARY: "ternary",
    p4info_pb2.MatchField.RANGE: "range",
    p4info_pb2.MatchField.OPTIONAL: "optional",
}
_FORMATS: Mapping[str, Format] = {
    "@format(MAC_ADDRESS)": "mac",
    "@format(IPV4_ADDRESS)": "ipv4",
    "@format(IPV6_ADDRESS)": "ipv6",
}


class P4InfoError(Exception):
    """A P4Info file cannot be read. The text has the file, the reason and what to do."""


def load_p4info(path: Path) -> p4info_pb2.P4Info:
    """Read P4Info, binary if the file holds no text, and text otherwise.

    A text file from a newer compiler may have fields that this P4Runtime version does not know:
    they are left out, with a warning. Raises P4InfoError.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise P4InfoError(
            f"{path}: {error.strerror}; compile the program (make p4) or correct the path"
        ) from None
    message = p4info_pb2.P4Info()
    try:
        text = data.decode("utf-8") if b"\0" not in data else None
    except UnicodeDecodeError:
        text = None
    try:
        if text is None:
            message.ParseFromString(data)
        else:
            _merge_text(path, text, message)
    except (DecodeError, text_format.ParseError) as error:
        raise P4InfoError(
            f"{path} is not P4Info: {error}; it must be what p4c writes with --p4runtime-files"
        ) from None
    if not message.tables and not message.actions:
        raise P4InfoError(f"{path}: this P4Info has no table; compile the program again (make p4)")
    return message


def _merge_text(path: Path, text: str, message: p4info_pb2.P4Info) -> None:
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as strict:
        message.Clear()
        text_format.Parse(text, message, allow_unknown_field=True)
        log.warning("%s: a field of this P4Info is unknown and ignored: %s", path, strict)


@dataclass(frozen=True, slots=True)
class Field:
    """A match key, an action parameter or a header field. `kind` is set for match keys only."""

    id: int
    name: str
    width: int
    kind: MatchKind | None = None
    format: Format = ""


@dataclass(frozen=True, slots=True)
class Action:
    """An action and its parameters."""

    id: int
    name: str
    params: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table. `default_only`: ids of actions that no entry may have.

    `counter`, `meter`: names of its direct resources, or None.
    """

    id: int
    name: str
    keys: tuple[Field, ...]
    actions: tuple[Action, ...]
    default_only: frozenset[int]
    size: int
    is_const: bool
    idle_timeout: bool
    counter: str | None
    meter: str | None


@dataclass(frozen=True, slots=True)
class Array:
    """An indirect counter or meter. `unit`: "bytes", "packets" or "both"."""

    id: int
    name: str
    size: int
    unit: str


@dataclass(frozen=True, slots=True)
class Header:
    """A controller packet header; `fields` in wire order."""

    id: int
    name: str
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class SerializableEnum:
    """A serializable enum: member name -> value."""

    name: str
    width: int
    members: Mapping[str, int]


class P4InfoIndex:
    """Everything in a P4Info message that a client needs, by name and by id."""

    def __init__(self, message: p4info_pb2.P4Info) -> None:
        self.message = message
        self.name = message.pkg_info.name
        self.version = message.pkg_info.version
        self.arch = message.pkg_info.arch
        self.actions = Names("action", map(_action, message.actions), _aliases(message.actions))
        direct = {c.preamble.id: c.preamble.name for c in message.direct_counters}
        direct_meters = {m.preamble.id: m.preamble.name for m in message.direct_meters}
        self.tables = Names(
            "table",
            (_table(t, self.actions, direct, direct_meters) for t in message.tables),
            _aliases(message.tables),
        )
        self.counters = Names(
            "counter", map(_counter, message.counters), _aliases(message.counters)
        )
        self.meters = Names("meter", map(_meter, message.meters), _aliases(message.meters))
        headers = message.controller_packet_metadata
        self.headers = Names("controller header", map(_header, headers), _aliases(headers))
        self.enums: Mapping[str, SerializableEnum] = {
            name: SerializableEnum(
                name,
                spec.underlying_type.bitwidth,
                {m.name: int.from_bytes(m.value, "big") for m in spec.members},
            )
            for name, spec in sorted(message.type_info.serializable_enums.items())
        }


_WithPreamble = (
    p4info_pb2.Action
    | p4info_pb2.Table
    | p4info_pb2.Counter
    | p4info_pb2.Meter
    | p4info_pb2.ControllerPacketMetadata
)


def _aliases(messages: Iterable[_WithPreamble]) -> dict[int, str]:
    return {m.preamble.id: m.preamble.alias for m in messages}


def _format(annotations: Iterable[str]) -> Format:
    for annotation in annotations:
        found = _FORMATS.get(annotation.replace(" ", ""))
        if found is not None:
            return found
    return ""


def _action(message: p4info_pb2.Action) -> Action:
    params = tuple(
        Field(p.id, p.name, p.bitwidth, None, _format(p.annotations)) for p in message.params
    )
    return Action(message.preamble.id, message.preamble.name, params)


def _table(
    message: p4info_pb2.Table,
    actions: Names[Action],
    counters: Mapping[int, str],
    meters: Mapping[int, str],
) -> Table:
    keys = tuple(
        Field(
            f.id,
            f.name,
            f.bitwidth,
            _MATCH_KINDS.get(f.match_type, "other"),
            _format(f.annotations),
        )
        for f in message.match_fields
    )
    found = (actions.by_id(ref.id) for ref in message.action_refs)
    return Table(
        id=message.preamble.id,
        name=message.preamble.name,
        keys=keys,
        actions=tuple(action for action in found if action is not None),
        default_only=frozenset(
            ref.id for ref in message.action_refs if ref.scope == p4info_pb2.ActionRef.DEFAULT_ONLY
        ),
        size=message.size,
        is_const=message.is_const_table,
        idle_timeout=message.idle_timeout_behavior == p4info_pb2.Table.NOTIFY_CONTROL,
        counter=_first(message.direct_resource_ids, counters),
        meter=_first(message.direct_resource_ids, meters),
    )


def _first(ids: Iterable[int], names: Mapping[int, str]) -> str | None:
    return next((names[i] for i in ids if i in names), None)


def _counter(message: p4info_pb2.Counter) -> Array:
    unit = p4info_pb2.CounterSpec.Unit.Name(message.spec.unit).lower()
    return Array(message.preamble.id, message.preamble.name, message.size, unit)


def _meter(message: p4info_pb2.Meter) -> Array:
    unit = p4info_pb2.MeterSpec.Unit.Name(message.spec.unit).lower()
    return Array(message.preamble.id, message.preamble.name, message.size, unit)


def _header(message: p4info_pb2.ControllerPacketMetadata) -> Header:
    fields = tuple(Field(m.id, m.name, m.bitwidth) for m in message.metadata)
    return Header(message.preamble.id, message.preamble.name, fields)


def describe(p4info: P4InfoIndex) -> str:
    """A listing for people: tables with keys and actions, counters, meters, headers, enums."""
    return "\n".join(_describe(p4info)) + "\n"


def _describe(p4info: P4InfoIndex) -> Iterator[str]:
    yield f"{p4info.name or '(no name)'} {p4info.version or '(no version)'} ({p4info.arch or '?'})"
    for table in p4info.tables:
        notes = [f"size {table.size}"]
        notes += ["const"] if table.is_const else []
        notes += ["idle timeout"] if table.idle_timeout else []
        notes += [f"counter {table.counter}"] if table.counter else []
        notes += [f"meter {table.meter}"] if table.meter else []
        yield ""
        yield f"table {table.name}  0x{table.id:08x}  {', '.join(notes)}"
        for key in table.keys:
            yield f"  {key.name:<16} {key.kind} bit<{key.width}>{_format_note(key)}"
        for action in table.actions:
            only = "  (default only)" if action.id in table.default_only else ""
            params = ", ".join(f"bit<{p.width}> {p.name}" for p in action.params)
            yield f"  -> {action.name}({params}){only}"
    for kind, arrays in (("counter", p4info.counters), ("meter", p4info.meters)):
        if len(arrays):
            yield ""
        for array in arrays:
            yield f"{kind} {array.name}  0x{array.id:08x}  size {array.size}, {array.unit}"
    for header in p4info.headers:
        yield ""
        yield f"header {header.name}"
        for field in header.fields:
            yield f"  {field.name:<16} bit<{field.width}>"
    for enum in p4info.enums.values():
        yield ""
        yield f"enum bit<{enum.width}> {enum.name}"
        for name, value in enum.members.items():
            yield f"  {name:<16} {value}"


def _format_note(field: Field) -> str:
    return f" ({field.format})" if field.format else ""

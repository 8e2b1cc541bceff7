# SPDX-License-Identifier: Apache-2.0
"""Names to ids and values to bytes, both by P4Info, so that no case holds a magic number."""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf import text_format
from p4rt_stubs.p4.config.v1 import p4info_pb2

Value = int | str | bytes
"""What a case may write: a number, a MAC or IP address, the member of an enum, or raw bytes."""

# p4c does not record the enum type of header fields, action parameters and counter indices.
FIELD_ENUMS = {
    "reason": "PuntReason",
    "step": "Step",
    "ct_hit": "CtHit",
    "op": "PacketOutOp",
    "vlan_op": "VlanOp",
    "class_": "PuntClass",
    "window_verdict": "WindowVerdict",
    "drop_reason": "DropReason",
}
# Enums that a program uses in no key, header or parameter are not in its P4Info: their values
# are then taken from here.
PROGRAM_ENUMS = {
    "DropReason": {
        "POLICER_MISS": 0,
        "POLICER_CONTROL": 1,
        "POLICER_EXCEPTION": 2,
        "POLICER_DRAIN": 3,
        "NEXT_HOP": 4,
        "BAD_PACKET_OUT": 5,
        "POLICER_SYN": 6,
    },
}


class UnknownName(LookupError):
    """The P4Info has no object of that kind and name; the text suggests the nearest."""


class Field(NamedTuple):
    """A match field, action parameter or header field: `enum` is "" if it is a plain number."""

    id: int
    name: str
    width: int
    match_type: str = ""
    enum: str = ""


def encode(value: Value, width: int) -> bytes:
    """The shortest big-endian bytes of `value`. ValueError if it does not fit in `width` bits."""
    if isinstance(value, bytes):
        return value
    number = parse_number(value, width) if isinstance(value, str) else int(value)
    if not 0 <= number < 1 << width:
        raise ValueError(f"{value!r} does not fit in {width} bits")
    return number.to_bytes(max(1, (number.bit_length() + 7) // 8), "big")


def parse_number(text: str, width: int) -> int:
    """A MAC address (48 bits) or an IPv4 or IPv6 address as a number."""
    if width == 48:
        return int(text.replace(":", ""), 16)
    return int(ipaddress.ip_address(text))


def decode(data: bytes) -> int:
    """The number that big-endian bytes hold."""
    return int.from_bytes(data, "big")


class P4Names:
    """Everything of one P4Info by its alias."""

    def __init__(self, info: p4info_pb2.P4Info) -> None:
        self.info = info
        self._tables = _by_alias(info.tables)
        self._actions = _by_alias(info.actions)
        self._counters = _by_alias(info.counters)
        self._direct_counters = _by_alias(info.direct_counters)
        self._meters = _by_alias(info.meters)
        self._headers = _by_alias(info.controller_packet_metadata)
        self._table_names = {t.preamble.id: t.preamble.alias for t in info.tables}
        self._action_names = {a.preamble.id: a.preamble.alias for a in info.actions}
        self._enums = {
            name: {member.name: decode(member.value) for member in enum.members}
            for name, enum in info.type_info.serializable_enums.items()
        }
        for name, members in PROGRAM_ENUMS.items():
            self._enums.setdefault(name, members)

    @classmethod
    def load(cls, path: Path) -> P4Names:
        """Read a P4Info in protobuf's text form. OSError or text_format.ParseError."""
        info = p4info_pb2.P4Info()
        text_format.Parse(path.read_text(), info, allow_unknown_field=True)
        return cls(info)

    def table(self, name: str) -> Any:
        return _find("table", self._tables, name)

    def action(self, name: str) -> Any:
        return _find("action", self._actions, name)

    def counter(self, name: str) -> Any:
        return _find("counter", self._counters, name)

    def meter(self, name: str) -> Any:
        return _find("meter", self._meters, name)

    def tables(self) -> list[str]:
        """The names of all tables, in P4Info order."""
        return list(self._tables)

    def actions_of(self, table: str) -> list[str]:
        """The names of a table's actions, the default's included."""
        refs = self.table(table).action_refs
        return [self.action_name(ref.id) for ref in refs]

    def table_name(self, table_id: int) -> str:
        return self._table_names.get(table_id, f"table {table_id:#x}")

    def action_name(self, action_id: int) -> str:
        return self._action_names.get(action_id, f"action {action_id:#x}")

    def keys(self, table: str) -> dict[str, Field]:
        """The match fields of a table."""
        return {
            f.name: self._field(f, p4info_pb2.MatchField.MatchType.Name(f.match_type))
            for f in self.table(table).match_fields
        }

    def params(self, action: str) -> dict[str, Field]:
        """The parameters of an action."""
        return {p.name: self._field(p) for p in self.action(action).params}

    def header(self, name: str) -> dict[str, Field]:
        """The fields of the packet_in or packet_out header."""
        found = _find("controller header", self._headers, name)
        return {m.name: self._field(m) for m in found.metadata}

    def enum(self, name: str) -> dict[str, int]:
        """Member -> value of a serializable enum."""
        return _find("enum", self._enums, name)

    def enum_value(self, name: str, member: str) -> int:
        return _find(f"{name}", self.enum(name), member)

    def enum_member(self, name: str, value: int) -> str | int:
        """The member's name, or the number itself if the enum has no such member."""
        return next((m for m, v in self.enum(name).items() if v == value), value)

    def encode(self, field: Field, value: Value) -> bytes:
        """`value` as P4Runtime bytes; a string names a member if the field is an enum."""
        if isinstance(value, str) and field.enum:
            value = self.enum_value(field.enum, value)
        try:
            return encode(value, field.width)
        except ValueError as error:
            raise ValueError(f"{field.name}: {error}") from None

    def _field(self, source: Any, match_type: str = "") -> Field:
        enum = source.type_name.name or FIELD_ENUMS.get(source.name, "")
        return Field(source.id, source.name, source.bitwidth, match_type, enum)


def _by_alias(objects: Iterable[Any]) -> dict[str, Any]:
    return {o.preamble.alias: o for o in objects}


def find_field(kind: str, fields: Mapping[str, Field], name: str) -> Field:
    """The field of that name. UnknownName suggests the nearest."""
    return _find(kind, fields, name)


def _find(kind: str, known: Mapping[str, Any], name: str) -> Any:
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, 1, 0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}"
    raise UnknownName(f"the program has no {kind} {name!r}; {hint}")

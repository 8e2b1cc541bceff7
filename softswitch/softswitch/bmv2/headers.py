# SPDX-License-Identifier: Apache-2.0
"""Header types, instances, stacks and unions of the JSON."""

from __future__ import annotations

from dataclasses import dataclass, replace

from softswitch.bmv2 import ir
from softswitch.bmv2.reader import (
    Json,
    as_int,
    as_list,
    as_str,
    get_bool,
    get_dicts,
    get_int,
    get_list,
    get_str,
    location,
)
from softswitch.errors import BadProgram, UnsupportedConstruct

MAX_HEADER_BITS = 8 * 2048
MAX_STACK = 4096


@dataclass(frozen=True, slots=True)
class Headers:
    """All instances in the order of the JSON, and what groups them, by name."""

    headers: tuple[ir.Header, ...]
    stacks: dict[str, ir.Stack]
    unions: dict[str, tuple[ir.Header, ...]]


def make_headers(root: Json) -> Headers:
    types: dict[str, tuple[ir.Field, ...]] = {}
    for kind in get_dicts(root, "header_types", "program"):
        name = get_str(kind, "name", "header_types")
        types[name] = _fields(kind, name)
    headers: list[ir.Header] = []
    by_id: dict[int, int] = {}
    for i, obj in enumerate(get_dicts(root, "headers", "program")):
        name = get_str(obj, "name", f"headers[{i}]")
        kind_name = get_str(obj, "header_type", f"header {name}")
        if kind_name not in types:
            raise BadProgram(f"header {name}: there is no header type {kind_name!r}")
        is_metadata = get_bool(obj, "metadata", f"header {name}")
        headers.append(ir.Header(name, i, kind_name, types[kind_name], is_metadata))
        by_id[get_int(obj, "id", f"header {name}")] = i
    if len({h.name for h in headers}) != len(headers):
        raise BadProgram("two headers have the same name")
    unions = _unions(root, headers, by_id)
    return Headers(
        tuple(headers),
        _stacks(root, headers, by_id),
        {name: tuple(headers[i] for i in members) for name, members in unions.items()},
    )


def _unions(
    root: Json, headers: list[ir.Header], by_id: dict[int, int]
) -> dict[str, tuple[int, ...]]:
    """Members of each union as indices; they learn of each other."""
    unions: dict[str, tuple[int, ...]] = {}
    for obj in get_dicts(root, "header_unions", "program"):
        name = get_str(obj, "name", "header_unions")
        members = _members(obj, f"header union {name}", by_id)
        unions[name] = members
        for i in members:
            if headers[i].siblings or headers[i].is_metadata:
                raise BadProgram(f"header union {name}: {headers[i].name} cannot be a member")
            others = tuple(k for k in members if k != i)
            headers[i] = replace(headers[i], siblings=others)
    return unions


def _stacks(root: Json, headers: list[ir.Header], by_id: dict[int, int]) -> dict[str, ir.Stack]:
    stacks: dict[str, ir.Stack] = {}
    for obj in get_dicts(root, "header_stacks", "program"):
        name = get_str(obj, "name", "header_stacks")
        members = [headers[i] for i in _members(obj, f"header stack {name}", by_id)]
        if not members or len({h.type_name for h in members}) > 1:
            raise BadProgram(f"header stack {name}: elements of one type are expected")
        if any(h.is_metadata for h in members):
            raise BadProgram(f"header stack {name}: metadata cannot be an element")
        stacks[name] = ir.Stack(name, len(stacks), tuple(members))
    return stacks


def _members(obj: Json, where: str, by_id: dict[int, int]) -> tuple[int, ...]:
    ids = [as_int(i, where) for i in get_list(obj, "header_ids", where)]
    if len(ids) > MAX_STACK or len(set(ids)) != len(ids):
        raise BadProgram(f"{where}: at most {MAX_STACK} headers, each once")
    for number in ids:
        if number not in by_id:
            raise BadProgram(f"{where}: there is no header with id {number}")
    return tuple(by_id[number] for number in ids)


def _fields(kind: Json, type_name: str) -> tuple[ir.Field, ...]:
    fields: list[ir.Field] = []
    offset = 0
    where, at = f"header type {type_name}", location(kind)
    for item in get_list(kind, "fields", where):
        parts = as_list(item, where)
        if len(parts) < 2:
            raise BadProgram(f"{where}: a field needs a name and a width")
        name = as_str(parts[0], where)
        if parts[1] == "*":
            if any(f.varbit for f in fields):
                raise BadProgram(f"{where}: two varbit fields")
            if offset % 8:
                what = f"varbit field {type_name}.{name} that does not begin on a byte"
                raise UnsupportedConstruct(what, at)
            fields.append(ir.Field(name, 0, False, offset, True))
            continue
        width = as_int(parts[1], f"{where}.{name}", 1, MAX_HEADER_BITS)
        signed = len(parts) > 2 and parts[2] is True
        fields.append(ir.Field(name, width, signed, offset))
        offset += width
    if offset > MAX_HEADER_BITS:
        raise UnsupportedConstruct(f"header type {type_name} of {offset} bits", at)
    if not any(f.varbit for f in fields):
        return tuple(fields)
    # max_length counts the whole header, in bytes.
    most = 8 * get_int(kind, "max_length", where, 0, MAX_HEADER_BITS // 8) - offset
    if most < 0:
        raise BadProgram(f"{where}: max_length is shorter than the fixed fields")
    whole = max(most // 8 * 8, 8)
    return tuple(replace(f, width=whole) if f.varbit else f for f in fields)

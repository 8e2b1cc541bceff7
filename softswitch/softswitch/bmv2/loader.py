# SPDX-License-Identifier: Apache-2.0
"""BMv2 JSON to ir.Program. Raises BadProgram (malformed) or UnsupportedConstruct (by name)."""

from __future__ import annotations

from dataclasses import replace

from softswitch.bmv2 import externs, ir, parsers, values
from softswitch.bmv2.actions import Names, PrimitiveReader, make_actions
from softswitch.bmv2.headers import make_headers
from softswitch.bmv2.pipelines import PipelineReader
from softswitch.bmv2.profiles import ProfileReader
from softswitch.bmv2.reader import Json, as_dict, as_int, as_list, get_dicts, location, parse
from softswitch.errors import BadProgram, UnsupportedConstruct

REFUSED = {
    "header_union_stacks": "header union stack",
    "parse_vsets": "parser value set",
    "extern_instances": "extern instance",
}


def load(data: bytes) -> ir.Program:
    root = parse(data)
    _check_version(root)
    for key, what in REFUSED.items():
        for obj in get_dicts(root, key, "program"):
            raise UnsupportedConstruct(f"{what} {obj.get('name')}", location(obj))
    made = make_headers(root)
    scope = values.Scope({h.name: h for h in made.headers}, made.stacks, made.unions)
    counters = externs.make_counters(root)
    meters = externs.make_meters(root, scope)
    registers = externs.make_registers(root)
    calculations = externs.make_calculations(root, scope)
    field_lists = values.make_field_lists(root, scope)
    digests = values.make_digests(root, scope)
    names = Names(
        {c.name: c for c in counters if c.table is None},
        {m.name: m for m in meters if m.table is None},
        {r.name: r for r in registers},
        {c.name: c for c in calculations},
        field_lists,
        digests,
    )
    action_by_id, actions = make_actions(root, scope, names)
    tables: list[ir.Table] = []
    meter_names = {m.name: m for m in meters}
    profiles = ProfileReader(scope, calculations)
    pipelines = PipelineReader(scope, actions, action_by_id, meter_names, tables, profiles)
    ingress = pipelines.read(root, "ingress")
    egress = pipelines.read(root, "egress")
    return ir.Program(
        headers=made.headers,
        stacks=tuple(made.stacks.values()),
        errors=values.make_errors(root),
        parser=parsers.make_parser(root, scope, PrimitiveReader(scope, names)),
        actions=tuple(actions),
        tables=tuple(tables),
        ingress=ingress,
        egress=egress,
        deparse_order=parsers.make_deparser(root, scope),
        checksums=tuple(
            externs.make_checksums(root, scope, names.calculations),
        ),
        calculations=tuple(calculations),
        counters=tuple(_sized(c, tables) for c in counters),
        meters=tuple(_sized_meter(m, tables) for m in meters),
        registers=tuple(registers),
        profiles=profiles.finish(tables, actions),
        digests=tuple(digests.values()),
        field_lists=field_lists,
        intrinsic=values.make_intrinsic(root, scope),
    )


def _check_version(root: Json) -> None:
    if "__meta__" not in root:
        raise BadProgram("__meta__.version is missing: BMv2 JSON 2.x is expected")
    version = as_list(as_dict(root["__meta__"], "__meta__").get("version"), "__meta__.version")
    if len(version) != 2:
        raise BadProgram("__meta__.version: two numbers are expected")
    major = as_int(version[0], "__meta__.version")
    if major != 2:
        raise BadProgram(f"BMv2 JSON version {major}.{version[1]}: only 2.x can be loaded")


def _size_of(table: str, tables: list[ir.Table], what: str) -> int:
    for candidate in tables:
        if candidate.name == table:
            return candidate.max_size
    raise BadProgram(f"{what}: there is no table {table!r}")


def _sized(counter: ir.Counter, tables: list[ir.Table]) -> ir.Counter:
    if counter.table is None:
        return counter
    return replace(counter, size=_size_of(counter.table, tables, f"counter {counter.name}"))


def _sized_meter(meter: ir.Meter, tables: list[ir.Table]) -> ir.Meter:
    if meter.table is None:
        return meter
    return replace(meter, size=_size_of(meter.table, tables, f"meter {meter.name}"))

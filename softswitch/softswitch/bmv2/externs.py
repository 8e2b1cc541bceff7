# SPDX-License-Identifier: Apache-2.0
"""Counters, meters, registers, calculations and checksums of the JSON."""

from __future__ import annotations

from collections.abc import Mapping

from softswitch.bmv2 import ir
from softswitch.bmv2.reader import (
    Json,
    as_hex,
    get,
    get_bool,
    get_dicts,
    get_int,
    get_str,
    location,
)
from softswitch.bmv2.values import Scope
from softswitch.errors import BadProgram, UnsupportedConstruct

MAX_CELLS = 1 << 26
ALGORITHMS = {
    **{n: n for n in ("csum16", "cksum16", "crc16", "crc32", "crcCCITT", "xor16", "identity")},
    # Configurable over BMv2's own CLI only; until then they are these.
    "crc16_custom": "crc16",
    "crc32_custom": "crc32",
}
"""Name in the JSON -> name in runtime/ss_hash.h."""


def make_counters(root: Json) -> list[ir.Counter]:
    counters: list[ir.Counter] = []
    for i, obj in enumerate(get_dicts(root, "counter_arrays", "program")):
        name = get_str(obj, "name", f"counter_arrays[{i}]")
        if get_bool(obj, "is_direct", f"counter {name}"):
            table = get_str(obj, "binding", f"counter {name}")
            counters.append(ir.Counter(name, i, 0, table))
        else:
            size = get_int(obj, "size", f"counter {name}", 0, MAX_CELLS)
            counters.append(ir.Counter(name, i, size, None))
    return counters


def make_meters(root: Json, scope: Scope) -> list[ir.Meter]:
    meters: list[ir.Meter] = []
    for i, obj in enumerate(get_dicts(root, "meter_arrays", "program")):
        name = get_str(obj, "name", f"meter_arrays[{i}]")
        where = f"meter {name}"
        if get_int(obj, "rate_count", where) != 2:
            raise UnsupportedConstruct(f"{where} with other than two rates", location(obj))
        unit = get_str(obj, "type", where)
        if unit not in ("packets", "bytes"):
            raise UnsupportedConstruct(f"{where} of type {unit}", location(obj))
        if get_bool(obj, "is_direct", where):
            result = scope.field(get(obj, "result_target", where), where)
            table = get_str(obj, "binding", where)
            meters.append(ir.Meter(name, i, 0, unit, table, result))
        else:
            size = get_int(obj, "size", where, 0, MAX_CELLS)
            meters.append(ir.Meter(name, i, size, unit, None, None))
    return meters


def make_registers(root: Json) -> list[ir.Register]:
    registers: list[ir.Register] = []
    for i, obj in enumerate(get_dicts(root, "register_arrays", "program")):
        name = get_str(obj, "name", f"register_arrays[{i}]")
        width = get_int(obj, "bitwidth", f"register {name}", 1, 1 << 20)
        if width > 128:
            raise UnsupportedConstruct(f"register {name} of {width} bits", location(obj))
        size = get_int(obj, "size", f"register {name}", 0, MAX_CELLS)
        registers.append(ir.Register(name, i, size, width))
    return registers


def make_calculations(root: Json, scope: Scope) -> list[ir.Calculation]:
    calculations: list[ir.Calculation] = []
    for i, obj in enumerate(get_dicts(root, "calculations", "program")):
        where = f"calculation {get_str(obj, 'name', f'calculations[{i}]')}"
        calculations.append(make_calculation(obj, scope, i, where, location(obj)))
    return calculations


def make_calculation(obj: Json, scope: Scope, index: int, where: str, at: str) -> ir.Calculation:
    """A calculation, or the selector of an action profile (which has no name)."""
    algorithm = get_str(obj, "algo", where)
    if algorithm not in ALGORITHMS:
        raise UnsupportedConstruct(f"hash algorithm {algorithm}", at)
    inputs: list[ir.FieldRef | ir.ConstBits | ir.Payload] = []
    for part in get_dicts(obj, "input", where):
        inputs += _input(part, scope, where)
    name = get_str(obj, "name", where) if "name" in obj else ""
    return ir.Calculation(name, index, ALGORITHMS[algorithm], tuple(inputs))


def _input(part: Json, scope: Scope, where: str) -> list[ir.FieldRef | ir.ConstBits | ir.Payload]:
    kind = get_str(part, "type", where)
    value = part.get("value")
    match kind:
        case "field":
            return [scope.any_field(value, where)]
        case "header":
            header = scope.header(value, where)
            return [ir.FieldRef(header, i) for i in range(len(header.fields))]
        case "hexstr":
            width = get_int(part, "bitwidth", where, 1, 2048)
            return [ir.ConstBits(as_hex(value, where) & ((1 << width) - 1), width)]
        case "payload":
            return [ir.Payload()]
        case _:
            raise UnsupportedConstruct(f"{kind} as input of a {where}")


def make_checksums(
    root: Json, scope: Scope, calculations: Mapping[str, ir.Calculation]
) -> list[ir.Checksum]:
    checksums: list[ir.Checksum] = []
    for obj in get_dicts(root, "checksums", "program"):
        where = f"checksum {get_str(obj, 'name', 'checksums')}"
        if obj.get("type", "generic") != "generic":
            raise UnsupportedConstruct(f"{where} of type {obj.get('type')}", location(obj))
        name = get_str(obj, "calculation", where)
        if name not in calculations:
            raise BadProgram(f"{where}: there is no calculation {name!r}")
        condition: ir.Expr = ir.BoolConst(True)
        if obj.get("if_cond") is not None:
            condition = scope.expr(obj["if_cond"], where)
        target = scope.field(get(obj, "target", where), where)
        if target.field.width > 64:
            raise UnsupportedConstruct(f"{where} of more than 64 bits", location(obj))
        checksums.append(
            ir.Checksum(
                target,
                calculations[name],
                condition,
                get_bool(obj, "verify", where, True),
                get_bool(obj, "update", where, True),
            )
        )
    return checksums

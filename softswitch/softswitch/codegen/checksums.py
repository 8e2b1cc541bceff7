# SPDX-License-Identifier: Apache-2.0
"""Calculations, checksum verification and checksum updates.

Each calculation becomes `static uint64_t c<index>(scratch, p)`. The general form concatenates the
input bit by bit and hashes the bytes; a ones-complement sum over aligned headers is added up from
the fields without building the bytes.
"""

from __future__ import annotations

from itertools import groupby

from softswitch.bmv2 import ir
from softswitch.codegen.actions import writer_for
from softswitch.codegen.naming import (
    field_name,
    is_wide,
    literal,
    nbytes,
    storage_type,
    valid_name,
)

Input = ir.FieldRef | ir.ConstBits | ir.Payload
SUMS = ("csum16", "cksum16")


def input_bytes(calculation: ir.Calculation) -> int:
    """Upper bound of the input's length without payload."""
    return sum(nbytes(_width(part)) + 1 for part in calculation.inputs)


def function(calculation: ir.Calculation) -> list[str]:
    head = [
        f"SS_HELPER uint64_t c{calculation.index}(struct scratch *s, const struct phv *p)",
        "{",
        "    (void)s; (void)p;",
    ]
    if calculation.algorithm in SUMS and _is_aligned(calculation):
        body = _sum(calculation)
    else:
        body = _concatenate(calculation)
    return [*head, *(f"    {line}" for line in body), "}"]


def _width(part: Input) -> int:
    match part:
        case ir.FieldRef():
            return part.field.width
        case ir.ConstBits(_, width):
            return width
        case ir.Payload():
            return 0


def _is_varbit(part: Input) -> bool:
    return isinstance(part, ir.FieldRef) and part.field.varbit


def _owner(part: Input) -> int:
    """Consecutive inputs with the same owner are there, or left out, together."""
    if isinstance(part, ir.FieldRef) and not part.header.is_metadata:
        return part.header.index
    return -2 if isinstance(part, ir.Payload) else -1


def _is_aligned(calculation: ir.Calculation) -> bool:
    if any(_is_varbit(part) for part in calculation.inputs):
        return False
    groups = [list(g) for _, g in groupby(calculation.inputs, _owner)]
    payload_last = all(not isinstance(part, ir.Payload) for part in calculation.inputs[:-1])
    return payload_last and all(sum(_width(part) for part in g) % 16 == 0 for g in groups)


def _sum(calculation: ir.Calculation) -> list[str]:
    out = ["uint64_t sum = 0;"]
    for owner, group in groupby(calculation.inputs, _owner):
        parts = list(group)
        if owner == -2:
            out.append("sum = ss_csum_bytes(sum, p->k.payload, p->k.payload_len);")
            continue
        lines: list[str] = []
        offset = 0
        for part in parts:
            lines += _sum_part(part, offset)
            offset += _width(part)
        if owner >= 0:
            first = parts[0]
            assert isinstance(first, ir.FieldRef)
            lines = [f"if ({valid_name(first.header)}) {{", *lines, "}"]
        out += lines
    return [*out, "return ss_csum_fold(sum);"]


def _sum_part(part: Input, offset: int) -> list[str]:
    """Adds a field that begins at this bit; pieces of up to 32 bits, shifted to 16-bit words."""
    width = _width(part)
    out: list[str] = []
    done = 0
    while done < width:
        take = min(width - done, 48 if width <= 48 else 32)
        shift = -(offset + done + take) % 16
        out.append(f"sum = ss_csum_add(sum, {_piece(part, done, take)} << {shift});")
        done += take
    return out


def _piece(part: Input, start: int, take: int) -> str:
    """Bits [start, start + take) of an input, from its most significant; take is at most 64."""
    width = _width(part)
    after = width - start - take
    mask = literal((1 << take) - 1, 64)
    match part:
        case ir.ConstBits(value, _):
            return literal(value >> after & ((1 << take) - 1), 64)
        case ir.FieldRef() if is_wide(width):
            pad = 8 * nbytes(width) - width
            return f"ss_get_bits({field_name(part)}, {pad + start}, {take})"
        case ir.FieldRef():
            text = f"(uint64_t){field_name(part)}"
            if after:
                text = f"(uint64_t)({field_name(part)} >> {after})"
            return f"({text})" if start == 0 else f"({text} & {mask})"
        case ir.Payload():
            return "0"


def _concatenate(calculation: ir.Calculation) -> list[str]:
    out = ["uint8_t *b = s->hash;", "uint32_t n = 0;"]
    out.append(f"memset(b, 0, {input_bytes(calculation)});")
    for part in calculation.inputs:
        if isinstance(part, ir.Payload):
            out += [
                "n = (n + 7) & ~7u;",
                "memcpy(b + n / 8, p->k.payload, p->k.payload_len);",
                "n += 8 * p->k.payload_len;",
            ]
            continue
        if _is_varbit(part):
            assert isinstance(part, ir.FieldRef)
            name = field_name(part)
            out += [
                f"if ({valid_name(part.header)})",
                f"    for (uint32_t i = 0; i < {name}_n; i++, n += 8)",
                f"        ss_put_bits(b, n, 8, {name}[i]);",
            ]
            continue
        width, lines, done = _width(part), list[str](), 0
        while done < width:
            take = min(64, width - done)
            lines.append(f"ss_put_bits(b, n, {take}, {_piece(part, done, take)}); n += {take};")
            done += take
        if isinstance(part, ir.FieldRef) and not part.header.is_metadata:
            lines = [f"if ({valid_name(part.header)}) {{", *lines, "}"]
        out += lines
    name = "csum16" if calculation.algorithm in SUMS else calculation.algorithm
    return [*out, f"return ss_hash_{name}(b, (n + 7) / 8);"]


def verify_function(program: ir.Program) -> list[str]:
    """Sets p->k.checksum_error; a checksum in an invalid header passes."""
    out = ["static void verify(struct scratch *s, struct phv *p)", "{", "    (void)s; (void)p;"]
    for checksum in program.checksums:
        if checksum.verify:
            test = f"{field_name(checksum.target)} != {_result(checksum)}"
            out += [
                f"    if ({_condition(checksum)} && {test})",
                "        p->k.checksum_error = 1;",
            ]
    return [*out, "}"]


def update_function(program: ir.Program) -> list[str]:
    out = ["static void update(struct scratch *s, struct phv *p)", "{", "    (void)s; (void)p;"]
    for checksum in program.checksums:
        if checksum.update:
            name = field_name(checksum.target)
            out += [
                f"    if ({_condition(checksum)})",
                f"        {name} = {_result(checksum)};",
            ]
    return [*out, "}"]


def _condition(checksum: ir.Checksum) -> str:
    condition = writer_for(None, "").boolean(checksum.condition)
    if checksum.target.header.is_metadata:
        return condition
    return f"{condition} && {valid_name(checksum.target.header)}"


def _result(checksum: ir.Checksum) -> str:
    width = checksum.target.field.width
    mask = literal((1 << width) - 1, 64)
    return f"({storage_type(width)})(c{checksum.calculation.index}(s, p) & {mask})"

# SPDX-License-Identifier: Apache-2.0
"""Arithmetic beyond 128 bits: expressions to calls of runtime/ss_big.h.

The number of words is chosen once for a program, so that every value whose bounds are known fits
(`words`). Where only low bits are wanted, what overflows does not matter.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

from softswitch.bmv2 import ir
from softswitch.codegen.naming import field_name, is_wide, nbytes
from softswitch.codegen.ranges import LIMIT, Range, bounds, is_bool

if TYPE_CHECKING:
    from softswitch.codegen.expr import ExprWriter

CALLS = {"+": "add", "-": "sub", "*": "mul", "&": "and", "|": "or", "^": "xor"}


def words(program: ir.Program) -> int:
    """Words of 64 bits that hold every field and every value whose bounds are known."""
    widths = [f.width for header in program.headers for f in header.fields]
    widths += [width for action in program.actions for _, width in action.params]
    bits = max(128, *widths)
    for expr in _expressions(program):
        r = bounds(expr)
        if is_known(r):
            bits = max(bits, r.low.bit_length(), r.high.bit_length())
    return bits // 64 + 2


def is_known(r: Range) -> bool:
    return r.fits(1 - LIMIT, LIMIT - 1)


def _expressions(value: object) -> Iterator[ir.Op | ir.Lookahead | ir.Const]:
    """All operations and constants below an object of the program."""
    todo: list[object] = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, ir.Op | ir.Lookahead | ir.Const):
            yield item
        if isinstance(item, tuple | list):
            todo += item
        elif isinstance(item, dict):
            todo += item.values()
        elif dataclasses.is_dataclass(item) and not isinstance(item, ir.Header | ir.Stack | type):
            todo += [getattr(item, field.name) for field in dataclasses.fields(item)]


def text(writer: ExprWriter, expr: ir.Expr) -> str:
    """The value as a struct ss_big."""
    if isinstance(expr, ir.Const):
        return _constant(expr.value)
    if is_bool(expr):
        return f"ss_big_u({writer.boolean(expr)})"
    r = bounds(expr)
    if r.fits(-(2**127), 2**127 - 1):
        return f"ss_big_s((ss_s128){writer.exact(expr)})"
    if r.fits(0, 2**128 - 1):
        return f"ss_big_u({writer.exact(expr)})"
    match expr:
        case ir.FieldRef():
            loaded = f"ss_big_load({field_name(expr)}, {nbytes(expr.field.width)})"
            if expr.field.signed:
                return f"ss_big_sext({loaded}, {expr.field.width})"
            return loaded
        case ir.Param(index, width):
            return f"ss_big_load({writer.param(index, width)}, {nbytes(width)})"
        case ir.Lookahead(offset, width):
            high = text(writer, ir.Lookahead(offset, width - 64))
            low = writer.lookahead(offset + width - 64, 64)
            return f"ss_big_or(ss_big_shl({high}, 64), ss_big_u({low}))"
        case ir.StackLast():
            return text(writer, expr.value)
        case ir.Op():
            return _operation(writer, expr)
        case _:
            raise writer.refuse("this value beyond 128 bits")


def _operation(writer: ExprWriter, expr: ir.Op) -> str:
    match expr:
        case ir.Op("~", (a,)):
            return f"ss_big_not({text(writer, a)})"
        case ir.Op("<<", (a, b)):
            return f"ss_big_shl({text(writer, a)}, {shift(writer, b)})"
        case ir.Op(">>", (a, b)):
            need_known(writer, a)
            return f"ss_big_shr({text(writer, a)}, {shift(writer, b)})"
        case ir.Op("?", (cond, a, b)):
            return f"({writer.boolean(cond)} ? {text(writer, a)} : {text(writer, b)})"
        case ir.Op("two_comp_mod", (a, ir.Const(width))):
            return f"ss_big_sext({text(writer, a)}, {width})"
        case ir.Op("sat_cast" | "usat_cast", (a, _)):
            need_known(writer, a)
            low, high = (_constant(v) for v in bounds(expr))
            return f"ss_big_clamp({text(writer, a)}, {low}, {high})"
        case ir.Op(name, (a, b)) if name in CALLS:
            return f"ss_big_{CALLS[name]}({text(writer, a)}, {text(writer, b)})"
        case _:
            raise writer.refuse(f"operation {expr.name} beyond 128 bits")


def need_known(writer: ExprWriter, expr: ir.Expr) -> None:
    """Refuses a value that has to be exact and may be of any size."""
    if not is_known(bounds(expr)):
        raise writer.refuse("a value without bounds")


def shift(writer: ExprWriter, amount: ir.Expr) -> str:
    """A shift amount: beyond 64 bits it shifts everything out."""
    r = bounds(amount)
    if r.low < 0:
        raise writer.refuse("shift by a negative number")
    if r.high < 1 << 64:
        return writer.exact(amount)
    if r.high >= 1 << 128:
        raise writer.refuse("shift by a number beyond 128 bits")
    value = writer.exact(amount)
    return f"((ss_u128){value} >> 32 ? UINT32_MAX : (uint64_t){value})"


def store(writer: ExprWriter, target: ir.FieldRef, value: ir.Expr) -> str:
    width = target.field.width
    assert is_wide(width)
    return f"ss_big_store({field_name(target)}, {nbytes(width)}, {width}, {text(writer, value)});"


def _constant(value: int) -> str:
    if value < 0:
        return f"ss_big_not({_constant(-value - 1)})"
    parts: list[str] = []
    while value or not parts:
        parts.append(f"UINT64_C(0x{value & (2**64 - 1):x})")
        value >>= 64
    return f"((struct ss_big){{{{{', '.join(parts)}}}}})"

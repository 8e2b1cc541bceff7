# SPDX-License-Identifier: Apache-2.0
"""Bounds of expressions.

The JSON's arithmetic has infinite precision. Knowing the bounds of each value, the code generator
picks a C type that cannot overflow, or works modulo 2^64 or 2^128 where only low bits are wanted.
"""

from __future__ import annotations

from typing import NamedTuple

from softswitch.bmv2 import ir

LIMIT = 1 << 4096
"""Stands for infinity: beyond every type of C."""


class Range(NamedTuple):
    low: int
    high: int

    def fits(self, low: int, high: int) -> bool:
        return low <= self.low and self.high <= high


def unsigned(width: int) -> Range:
    return Range(0, (1 << width) - 1)


def signed(width: int) -> Range:
    return Range(-(1 << (width - 1)), (1 << (width - 1)) - 1)


BOOLEAN = Range(0, 1)
INFINITE = Range(-LIMIT, LIMIT)
COMPARISONS = frozenset(["==", "!=", "<", "<=", ">", ">="])


def clamp(low: int, high: int) -> Range:
    return Range(max(low, -LIMIT), min(high, LIMIT))


def is_bool(expr: ir.Expr) -> bool:
    match expr:
        case ir.BoolConst() | ir.Valid() | ir.HeaderEqual() | ir.VarbitEqual():
            return True
        case ir.Op(name, args):
            if name == "?":
                return is_bool(args[1])
            return name in COMPARISONS or name in ("and", "or", "not", "d2b")
        case _:
            return False


def bounds(expr: ir.Expr) -> Range:
    """The smallest and largest value that the expression can have."""
    match expr:
        case ir.Const(value):
            return clamp(value, value) if abs(value) < LIMIT else INFINITE
        case ir.FieldRef():
            return (signed if expr.field.signed else unsigned)(expr.field.width)
        case ir.Param(_, width) | ir.Lookahead(_, width):
            return unsigned(width)
        case ir.StackNext(stack):
            return Range(0, len(stack.headers))
        case ir.StackLast():
            return bounds(expr.value)
        case ir.Op(name, args):
            return _operation(name, args)
        case _:
            return BOOLEAN


def _operation(name: str, args: tuple[ir.Expr, ...]) -> Range:
    if name in COMPARISONS or name in ("and", "or", "not", "d2b", "b2d"):
        return BOOLEAN
    if name == "?":
        a, b = bounds(args[1]), bounds(args[2])
        return Range(min(a.low, b.low), max(a.high, b.high))
    a = bounds(args[0])
    if name == "~":
        return clamp(-a.high - 1, -a.low - 1)
    if name in ("two_comp_mod", "sat_cast", "usat_cast"):
        width = args[1].value if isinstance(args[1], ir.Const) else 0
        if not 1 <= width <= 2048:
            return INFINITE
        return unsigned(width) if name == "usat_cast" else signed(width)
    return _binary(name, a, bounds(args[1]))


def _binary(name: str, a: Range, b: Range) -> Range:
    match name:
        case "+":
            return clamp(a.low + b.low, a.high + b.high)
        case "-":
            return clamp(a.low - b.high, a.high - b.low)
        case "*":
            corners = [x * y for x in a for y in b]
            return clamp(min(corners), max(corners))
        case "&" if a.low >= 0 or b.low >= 0:
            return Range(0, min(r.high for r in (a, b) if r.low >= 0))
        case "&" | "|" | "^":
            bits = max(max(abs(v) for v in (*a, *b)).bit_length(), 1)
            low = 0 if a.low >= 0 and b.low >= 0 else -(1 << bits)
            return clamp(low, (1 << bits) - 1)
        case "<<":
            if b.low < 0 or b.high > 4096:
                return INFINITE if a.low < 0 else Range(0, LIMIT)
            corners = [v << s for v in a for s in b]
            return clamp(min(corners), max(corners))
        case ">>" if b.low >= 0:
            corners = [v >> min(s, 4200) for v in a for s in b]
            return Range(min(corners), max(corners))
        case "/" | "%" if a.low >= 0 and b.low >= 0:
            return Range(0, a.high if name == "/" else max(min(a.high, b.high), 0))
        case _:
            return INFINITE

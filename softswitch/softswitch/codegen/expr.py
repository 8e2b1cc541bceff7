# SPDX-License-Identifier: Apache-2.0
"""Expressions to C.

`exact` gives an expression of a C type that holds every possible value; `low` gives one whose low
64 or 128 bits are right, which is all that a store of a field needs. Sums, products, shifts to the
left and bit operations keep low bits right, so they can be computed modulo 2^64 or 2^128.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from softswitch.bmv2 import ir
from softswitch.codegen import big
from softswitch.codegen.naming import (
    field_name,
    is_wide,
    literal,
    nbytes,
    next_name,
    valid_name,
)
from softswitch.codegen.ranges import Range, bounds, is_bool
from softswitch.errors import UnsupportedConstruct

TYPES: tuple[tuple[str, int, int, int], ...] = (
    ("uint64_t", 64, 0, 2**64 - 1),
    ("int64_t", 64, -(2**63), 2**63 - 1),
    ("ss_u128", 128, 0, 2**128 - 1),
    ("ss_s128", 128, -(2**127), 2**127 - 1),
)
RING = frozenset(["+", "-", "*", "&", "|", "^", "~", "<<"])


@dataclass(slots=True)
class ExprWriter:
    """`param`: C text of an action parameter; `lookahead`: C text of bits ahead of the cursor."""

    param: Callable[[int, int], str]
    lookahead: Callable[[int, int], str]
    location: str = ""

    def refuse(self, what: str) -> UnsupportedConstruct:
        return UnsupportedConstruct(what, self.location)

    def boolean(self, expr: ir.Expr) -> str:
        match expr:
            case ir.BoolConst(value):
                return "1" if value else "0"
            case ir.Valid(header):
                return f"({valid_name(header)} != 0)"
            case ir.HeaderEqual(left, right):
                return self._headers_equal(left, right)
            case ir.VarbitEqual(left, right):
                return self._fields_equal(left, right)
            case ir.Op("and" | "or" as name, (a, b)):
                sign = "&&" if name == "and" else "||"
                return f"({self.boolean(a)} {sign} {self.boolean(b)})"
            case ir.Op("not", (a,)):
                return f"(!{self.boolean(a)})"
            case ir.Op("d2b", (a,)):
                return self.boolean(a) if is_bool(a) else f"({self.exact(a)} != 0)"
            case ir.Op("?", (cond, a, b)) if is_bool(a):
                return f"({self.boolean(cond)} ? {self.boolean(a)} : {self.boolean(b)})"
            case ir.Op("==" | "!=" | "<" | "<=" | ">" | ">=" as name, (a, b)):
                return self._compare(name, a, b)
            case _:
                return self._compare("!=", expr, ir.Const(0))

    def _headers_equal(self, left: ir.Header, right: ir.Header) -> str:
        equal = [
            self._fields_equal(ir.FieldRef(left, i), ir.FieldRef(right, i))
            for i in range(len(left.fields))
        ]
        a, b = valid_name(left), valid_name(right)
        return f"({a} == {b} && (!{a} || ({' && '.join(equal) or '1'})))"

    def _fields_equal(self, a: ir.FieldRef, b: ir.FieldRef) -> str:
        if not a.field.varbit:
            return self._compare("==", a, b)
        x, y = field_name(a), field_name(b)
        return f"({x}_n == {y}_n && memcmp({x}, {y}, {x}_n) == 0)"

    def _compare(self, name: str, a: ir.Expr, b: ir.Expr) -> str:
        if _wide_width(a) and _wide_width(a) == _wide_width(b) and not _signed(a, b):
            n = nbytes(_wide_width(a))
            return f"(memcmp({self._bytes(a)}, {self._bytes(b)}, {n}) {name} 0)"
        if is_bool(a) and is_bool(b):
            return f"({self.boolean(a)} {name} {self.boolean(b)})"
        ra, rb = bounds(a), bounds(b)
        union = Range(min(ra.low, rb.low), max(ra.high, rb.high))
        kind = _type_for(union)
        if kind is None:
            big.need_known(self, a)
            big.need_known(self, b)
            return f"(ss_big_cmp({big.text(self, a)}, {big.text(self, b)}) {name} 0)"
        return f"(({kind})({self.exact(a)}) {name} ({kind})({self.exact(b)}))"

    def _bytes(self, expr: ir.Expr) -> str:
        """The byte string of a wide field or parameter."""
        if isinstance(expr, ir.Param):
            return self.param(expr.index, expr.width)
        assert isinstance(expr, ir.FieldRef)
        return field_name(expr)

    def wide(self, expr: ir.Expr, width: int) -> str | None:
        """The byte string of a field or parameter of this width; None for all other values."""
        return self._bytes(expr) if _wide_width(expr) == width else None

    def _type_of(self, r: Range, what: str) -> str:
        kind = _type_for(r)
        if kind is None:
            raise self.refuse(what)
        return kind

    def exact(self, expr: ir.Expr) -> str:
        """The value, in a type of TYPES that holds its bounds."""
        if is_bool(expr):
            return f"(uint64_t){self.boolean(expr)}"
        match expr:
            case ir.FieldRef():
                return self._field(expr)
            case ir.StackNext(stack):
                return f"((uint64_t){next_name(stack)})"
            case ir.StackLast():
                return self.exact(expr.value)
            case ir.Param(index, width) if not is_wide(width):
                return self.param(index, width)
            case ir.Lookahead(offset, width) if width <= 128:
                return self.lookahead(offset, width)
            case ir.Op("b2d", (a,)):
                return f"(uint64_t){self.boolean(a)}"
            case ir.Const() | ir.Op():
                kind = self._type_of(bounds(expr), _describe(expr))
                bits = 128 if "128" in kind else 64
                if isinstance(expr, ir.Const) or expr.name in RING:
                    return f"(({kind})({self.low(expr, bits)}))"
                return self._operation(expr, kind)
            case _:
                raise self.refuse("a value beyond 128 bits here")

    def _field(self, ref: ir.FieldRef) -> str:
        width = ref.field.width
        if is_wide(width):
            raise self.refuse("a value beyond 128 bits here")
        if ref.field.signed:
            kind = "int64_t" if width <= 64 else "ss_s128"
            return f"(({kind})ss_sign_extend({field_name(ref)}, {width}))"
        return f"(({'uint64_t' if width <= 64 else 'ss_u128'}){field_name(ref)})"

    def _operation(self, expr: ir.Op, kind: str) -> str:
        match expr:
            case ir.Op("?", (cond, a, b)):
                return (
                    f"({self.boolean(cond)} ? ({kind})({self.exact(a)})"
                    f" : ({kind})({self.exact(b)}))"
                )
            case ir.Op(">>", (a, b)):
                return self._shift_right(a, b, kind)
            case ir.Op("/" | "%" as name, (a, b)):
                left, right = self.exact(a), self.exact(b)
                if bounds(b).low > 0:
                    return f"(({kind})({left} {name} {right}))"
                return f"({right} == 0 ? 0 : ({kind})({left} {name} {right}))"
            case ir.Op("two_comp_mod", (a, ir.Const(width))):
                bits = 64 if width <= 64 else 128
                return f"(({kind})ss_sign_extend({self.low(a, bits)}, {width}))"
            case ir.Op("sat_cast" | "usat_cast", (a, _)):
                r = bounds(expr)
                if _type_for(bounds(a)) is None:
                    return f"(({kind})ss_big_low({big.text(self, expr)}))"
                text = self.exact(
                    ir.Op("?", (ir.Op("<", (a, ir.Const(r.low))), ir.Const(r.low), a))
                )
                if bounds(a).high > r.high:
                    over = self.boolean(ir.Op(">", (a, ir.Const(r.high))))
                    text = (
                        f"({over} ? ({kind})({self.low(ir.Const(r.high), 128)}) : ({kind}){text})"
                    )
                return f"(({kind}){text})"
            case _:
                raise self.refuse(f"operation {expr.name} with these operands")

    def _shift_right(self, a: ir.Expr, b: ir.Expr, kind: str) -> str:
        wide = _type_for(bounds(a))
        if wide is None or bounds(b).high >= 1 << 64:
            moved = f"ss_big_shr({big.text(self, a)}, {big.shift(self, b)})"
            big.need_known(self, a)
            return f"(({kind})ss_big_low({moved}))"
        bits = 128 if "128" in wide else 64
        value, shift = self.exact(a), bounds(b)
        if shift.low < 0:
            raise self.refuse("shift by a negative number")
        if shift.high < bits:
            return f"(({kind})(({wide}){value} >> {self.exact(b)}))"
        beyond = "0" if bounds(a).low >= 0 else f"(({wide}){value} < 0 ? -1 : 0)"
        return (
            f"({self.exact(b)} >= {bits} ? ({kind}){beyond}"
            f" : ({kind})(({wide}){value} >> {self.exact(b)}))"
        )

    def low(self, expr: ir.Expr, bits: int) -> str:
        """An unsigned value of 64 or 128 bits, right modulo 2^bits."""
        kind = "uint64_t" if bits == 64 else "ss_u128"
        match expr:
            case ir.Const(value):
                return literal(value, bits)
            case ir.StackLast():
                return self.low(expr.value, bits)
            case ir.FieldRef() | ir.Param() if _wide_width(expr):
                n, at = nbytes(_wide_width(expr)), self._bytes(expr)
                low = f"ss_wide_word({at}, {n}, 0)"
                return (
                    low if bits == 64 else f"(((ss_u128)ss_wide_word({at}, {n}, 1) << 64) | {low})"
                )
            case ir.Lookahead(offset, width) if width > 128:
                return f"(({kind}){self.lookahead(offset + width - bits, bits)})"
            case ir.Op("~", (a,)):
                return f"(~({kind})({self.low(a, bits)}))"
            case ir.Op("<<", (a, b)):
                shift = bounds(b)
                if shift.low < 0:
                    raise self.refuse("shift by a negative number")
                if shift.high >= 1 << 64:
                    amount = big.shift(self, b)
                    value = f"({kind})({self.low(a, bits)})"
                    return f"({amount} >= {bits} ? ({kind})0 : {value} << {amount})"
                text = f"(({kind})({self.low(a, bits)}) << {self.exact(b)})"
                if shift.high < bits:
                    return text
                return f"({self.exact(b)} >= {bits} ? ({kind})0 : {text})"
            case ir.Op("?", (cond, a, b)):
                return (
                    f"({self.boolean(cond)} ? ({kind})({self.low(a, bits)})"
                    f" : ({kind})({self.low(b, bits)}))"
                )
            case ir.Op(name, (a, b)) if name in RING:
                return f"(({kind})({self.low(a, bits)}) {name} ({kind})({self.low(b, bits)}))"
            case ir.Op() if not is_bool(expr) and _type_for(bounds(expr)) is None:
                return f"(({kind})ss_big_low({big.text(self, expr)}))"
            case _:
                return f"(({kind})({self.exact(expr)}))"


def _type_for(r: Range) -> str | None:
    """The first type of TYPES that holds the range."""
    return next((name for name, _, low, high in TYPES if r.fits(low, high)), None)


def _signed(*exprs: ir.Expr) -> bool:
    return any(isinstance(e, ir.FieldRef) and e.field.signed for e in exprs)


def _wide_width(expr: ir.Expr) -> int:
    if isinstance(expr, ir.FieldRef) and is_wide(expr.field.width):
        return expr.field.width
    if isinstance(expr, ir.Param) and is_wide(expr.width):
        return expr.width
    return 0


def _describe(expr: ir.Expr) -> str:
    if isinstance(expr, ir.Op):
        return f"result of {expr.name} beyond 128 bits"
    return "value beyond 128 bits"

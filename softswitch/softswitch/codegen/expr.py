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
from softswitch.codegen.naming import field_name, is_wide, literal, nbytes, valid_name
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
                return f"({self.exact(expr)} != 0)"

    def _headers_equal(self, left: ir.Header, right: ir.Header) -> str:
        equal = [
            self._compare("==", ir.FieldRef(left, i), ir.FieldRef(right, i))
            for i in range(len(left.fields))
        ]
        a, b = valid_name(left), valid_name(right)
        return f"({a} == {b} && (!{a} || ({' && '.join(equal) or '1'})))"

    def _compare(self, name: str, a: ir.Expr, b: ir.Expr) -> str:
        if _wide_width(a) or _wide_width(b):
            return self._compare_wide(name, a, b)
        if is_bool(a) and is_bool(b):
            return f"({self.boolean(a)} {name} {self.boolean(b)})"
        ra, rb = bounds(a), bounds(b)
        union = Range(min(ra.low, rb.low), max(ra.high, rb.high))
        kind = self._type_of(union, f"comparison {name} of values beyond 128 bits")
        return f"(({kind})({self.exact(a)}) {name} ({kind})({self.exact(b)}))"

    def _compare_wide(self, name: str, a: ir.Expr, b: ir.Expr) -> str:
        width = _wide_width(a) or _wide_width(b)
        n = nbytes(width)
        if {_wide_width(e) for e in (a, b) if not isinstance(e, ir.Const)} != {width}:
            raise self.refuse("comparison of a field wider than 128 bits with another width")
        return f"(memcmp({self.wide(a, n)}, {self.wide(b, n)}, {n}) {name} 0)"

    def wide(self, expr: ir.Expr, n: int) -> str:
        """A byte string of n bytes."""
        if isinstance(expr, ir.Const):
            data = (expr.value % (1 << (8 * n))).to_bytes(n, "big")
            return f"((const uint8_t[]){{{', '.join(str(b) for b in data)}}})"
        if isinstance(expr, ir.FieldRef) and is_wide(expr.field.width):
            return field_name(expr)
        if isinstance(expr, ir.Param) and is_wide(expr.width):
            return self.param(expr.index, expr.width)
        raise self.refuse("arithmetic on a field wider than 128 bits")

    def _type_of(self, r: Range, what: str) -> str:
        for name, _, low, high in TYPES:
            if r.fits(low, high):
                return name
        raise self.refuse(what)

    def exact(self, expr: ir.Expr) -> str:
        """The value, in a type of TYPES that holds its bounds."""
        if is_bool(expr):
            return f"(uint64_t){self.boolean(expr)}"
        match expr:
            case ir.FieldRef():
                return self._field(expr)
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
                raise self.refuse("arithmetic on a field wider than 128 bits")

    def _field(self, ref: ir.FieldRef) -> str:
        width = ref.field.width
        if is_wide(width):
            raise self.refuse("arithmetic on a field wider than 128 bits")
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
                self._type_of(bounds(a), _describe(a))
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
        wide = self._type_of(bounds(a), _describe(a))
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
            case ir.Op("~", (a,)):
                return f"(~({kind})({self.low(a, bits)}))"
            case ir.Op("<<", (a, b)):
                shift = bounds(b)
                if shift.low < 0:
                    raise self.refuse("shift by a negative number")
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
            case _:
                return f"(({kind})({self.exact(expr)}))"


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

# SPDX-License-Identifier: Apache-2.0
"""Headers, fields and expressions of the JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from softswitch.bmv2 import ir
from softswitch.bmv2.reader import (
    Json,
    as_dict,
    as_hex,
    as_int,
    as_list,
    as_str,
    get,
    get_dicts,
    get_int,
    get_str,
    location,
)
from softswitch.errors import BadProgram, UnsupportedConstruct

MAX_DEPTH = 100
MAX_DIGESTS = 1000
ARITHMETIC = frozenset(["+", "-", "*", "/", "%", "<<", ">>", "&", "|", "^"])
RELATIONS = frozenset(["==", "!=", "<", "<=", ">", ">=", "and", "or"])
BINARY = ARITHMETIC | RELATIONS | {"two_comp_mod", "sat_cast", "usat_cast"}
HEADER_OPS = frozenset(
    ["valid", "valid_union", "access_field", "size_stack", "last_stack_index"],
)
MAX_NODES = 20000
UNARY = frozenset(["~", "not", "d2b", "b2d"])


@dataclass(slots=True)
class Scope:
    """What names in expressions mean. `params` are the widths of the enclosing action's."""

    headers: dict[str, ir.Header]
    stacks: dict[str, ir.Stack]
    unions: dict[str, tuple[ir.Header, ...]]
    params: tuple[int, ...] = field(default=())

    def header(self, name: object, where: str) -> ir.Header:
        text = as_str(name, where)
        if text not in self.headers:
            raise BadProgram(f"{where}: there is no header {text!r}")
        return self.headers[text]

    def field_or_valid(self, value: object, where: str) -> ir.FieldRef | ir.Valid:
        pair = as_list(value, where)
        if len(pair) != 2:
            raise BadProgram(f"{where}: a field is a pair of header and field name")
        header, name = self.header(pair[0], where), as_str(pair[1], where)
        if name == "$valid$":
            return ir.Valid(header)
        index = header.find(name)
        if index is None:
            raise BadProgram(f"{where}: header {header.name!r} has no field {name!r}")
        return ir.FieldRef(header, index)

    def field(self, value: object, where: str) -> ir.FieldRef:
        """A field of fixed width."""
        ref = self.any_field(value, where)
        if ref.field.varbit:
            raise UnsupportedConstruct(f"varbit field {ref.header.name}.{ref.field.name} here")
        return ref

    def any_field(self, value: object, where: str) -> ir.FieldRef:
        """A field of fixed or variable width."""
        ref = self.field_or_valid(value, where)
        if isinstance(ref, ir.Valid):
            raise BadProgram(f"{where}: the validity bit cannot be used here")
        return ref

    def stack(self, name: object, where: str) -> ir.Stack:
        text = as_str(name, where)
        if text not in self.stacks:
            raise BadProgram(f"{where}: there is no header stack {text!r}")
        return self.stacks[text]

    def union(self, name: object, where: str) -> tuple[ir.Header, ...]:
        text = as_str(name, where)
        if text not in self.unions:
            raise BadProgram(f"{where}: there is no header union {text!r}")
        return self.unions[text]

    def stack_last(self, value: object, where: str) -> ir.StackLast:
        """A field of the last filled element: [stack, field]."""
        pair = as_list(value, where)
        if len(pair) != 2:
            raise BadProgram(f"{where}: a pair of stack and field name is expected")
        stack, name = self.stack(pair[0], where), as_str(pair[1], where)
        first = stack.headers[0]
        index = first.find(name)
        if index is None or first.fields[index].varbit:
            raise BadProgram(f"{where}: stack {stack.name!r} has no field {name!r} of fixed width")
        last = ir.Op("-", (ir.StackNext(stack), ir.Const(1)))
        chosen = choose(stack, last, lambda header: ir.FieldRef(header, index))
        return ir.StackLast(stack, first.fields[index].width, chosen)

    def element_field(self, obj: object, where: str) -> tuple[ir.FieldRef, ir.Element]:
        """A field of stack[index]: as of the first element, and which element is meant."""
        typed = as_dict(obj, where)
        while typed.get("type") == "expression":
            typed = as_dict(typed.get("value"), where)
        if typed.get("op") != "access_field":
            raise UnsupportedConstruct(f"assignment to {typed.get('op') or typed.get('type')}")
        element = self.element(get(typed, "left", where), where)
        index, header = as_int(get(typed, "right", where), where), element.stack.headers[0]
        if index >= len(header.fields) or header.fields[index].varbit:
            raise BadProgram(f"{where}: there is no field {index} of fixed width")
        return ir.FieldRef(header, index), element

    def element(self, obj: object, where: str, depth: int = 0) -> ir.Element:
        """stack[index] with an index that is known only at run time, or stack.last."""
        if depth > MAX_DEPTH:
            raise BadProgram(f"{where}: an expression is nested more than {MAX_DEPTH} deep")
        typed = as_dict(obj, where)
        if typed.get("type") == "expression":
            return self.element(typed.get("value"), where, depth + 1)
        if typed.get("type") == "stack_field":
            pair = as_list(typed.get("value"), where)
            if len(pair) != 2 or pair[1] != "last":
                raise BadProgram(f"{where}: the last element of a stack is expected")
            last = self.stack(pair[0], where)
            return ir.Element(last, ir.Op("-", (ir.StackNext(last), ir.Const(1))))
        if typed.get("op") not in ("dereference_header_stack", "dereference_stack"):
            raise UnsupportedConstruct(f"{typed.get('op') or typed.get('type')} as a header")
        stack = self.stack(as_dict(get(typed, "left", where), where).get("value"), where)
        return ir.Element(stack, self.expr(get(typed, "right", where), where, depth + 1))

    def expr(self, obj: object, where: str, depth: int = 0) -> ir.Expr:
        """A type/value object as an expression."""
        if depth > MAX_DEPTH:
            raise BadProgram(f"{where}: an expression is nested more than {MAX_DEPTH} deep")
        typed = as_dict(obj, where)
        if "op" in typed and "type" not in typed:
            return self._operation(typed, where, depth)
        kind = get_str(typed, "type", where)
        value = get(typed, "value", where)
        if kind == "expression":
            inner = as_dict(value, where)
            if "op" in inner:
                return self._operation(inner, where, depth)
            return self.expr(inner, where, depth + 1)
        return self._leaf(kind, value, where)

    def _leaf(self, kind: str, value: object, where: str) -> ir.Expr:
        match kind:
            case "field":
                ref = self.field_or_valid(value, where)
                return (
                    ir.Op("b2d", (ref,)) if isinstance(ref, ir.Valid) else self.field(value, where)
                )
            case "stack_field":
                return self.stack_last(value, where)
            case "hexstr":
                return ir.Const(as_hex(value, where))
            case "bool":
                if not isinstance(value, bool):
                    raise BadProgram(f"{where}: true or false is expected")
                return ir.BoolConst(value)
            case "runtime_data" | "local":
                index = as_int(value, where)
                if index >= len(self.params):
                    raise BadProgram(f"{where}: the action has no parameter {index}")
                return ir.Param(index, self.params[index])
            case "lookahead":
                pair = as_list(value, where)
                if len(pair) != 2:
                    raise BadProgram(f"{where}: a lookahead is a pair of offset and width")
                return ir.Lookahead(as_int(pair[0], where), as_int(pair[1], where, 1, 2048))
            case _:
                raise UnsupportedConstruct(f"{kind} in an expression ({where})")

    def _operation(self, obj: Json, where: str, depth: int) -> ir.Expr:
        op = get_str(obj, "op", where)
        if op in HEADER_OPS:
            return self._header_operation(op, obj, where, depth)
        if op == "?":
            parts = [get(obj, key, where) for key in ("cond", "left", "right")]
        elif op in BINARY:
            parts = [get(obj, key, where) for key in ("left", "right")]
        elif op in UNARY:
            parts = [get(obj, "right", where)]
        else:
            raise UnsupportedConstruct(f"operation {op!r} ({where})")
        if op in ("==", "!=") and all(_is(part, "header", "header_union") for part in parts):
            left, right = (as_dict(part, where) for part in parts)
            equal = self._equal(left, right, where)
            return equal if op == "==" else ir.Op("not", (equal,))
        if op in ("==", "!=") and all(_is(part, "field") for part in parts):
            a, b = (self.field_or_valid(as_dict(p, where).get("value"), where) for p in parts)
            if isinstance(a, ir.FieldRef) and isinstance(b, ir.FieldRef) and a.field.varbit:
                if not b.field.varbit:
                    raise BadProgram(f"{where}: a varbit field is compared with another type")
                same = ir.VarbitEqual(a, b)
                return same if op == "==" else ir.Op("not", (same,))
        return ir.Op(op, tuple(self.expr(part, where, depth + 1) for part in parts))

    def _header_operation(self, op: str, obj: Json, where: str, depth: int) -> ir.Expr:
        if op == "access_field":
            ref, element = self.element_field(obj, where)
            return choose(
                element.stack, element.index, lambda header: ir.FieldRef(header, ref.index)
            )
        operand = as_dict(get(obj, "right", where), where)
        if op == "valid":
            if _is(operand, "expression") or "op" in operand:
                element = self.element(operand, where, depth + 1)
                return choose(element.stack, element.index, ir.Valid)
            return ir.Valid(self.header(operand.get("value"), where))
        if op == "valid_union":
            members = self.union(operand.get("value"), where)
            return any_of([ir.Valid(header) for header in members])
        filled = ir.StackNext(self.stack(operand.get("value"), where))
        return filled if op == "size_stack" else ir.Op("-", (filled, ir.Const(1)))

    def _equal(self, left: Json, right: Json, where: str) -> ir.Expr:
        pairs: list[tuple[ir.Header, ir.Header]]
        if _is(left, "header"):
            pairs = [
                (self.header(left.get("value"), where), self.header(right.get("value"), where))
            ]
        else:
            one, two = (self.union(side.get("value"), where) for side in (left, right))
            pairs = list(zip(one, two, strict=False)) if len(one) == len(two) else []
        if not pairs or any(a.type_name != b.type_name for a, b in pairs):
            raise BadProgram(f"{where}: headers of two types are compared")
        equal: ir.Expr = ir.HeaderEqual(*pairs[0])
        for pair in pairs[1:]:
            equal = ir.Op("and", (equal, ir.HeaderEqual(*pair)))
        return equal


def choose(stack: ir.Stack, index: ir.Expr, of: Callable[[ir.Header], ir.Expr]) -> ir.Expr:
    """What `of` makes of stack[index]; an index out of range counts as 0."""
    if size(index) * len(stack.headers) > MAX_NODES:
        raise UnsupportedConstruct(f"run-time indices of stack {stack.name} inside each other")
    chosen = of(stack.headers[0])
    for i, header in enumerate(stack.headers[1:], 1):
        chosen = ir.Op("?", (ir.Op("==", (index, ir.Const(i))), of(header), chosen))
    return chosen


def size(expr: ir.Expr) -> int:
    """Nodes of an expression."""
    if isinstance(expr, ir.StackLast):
        return 1 + size(expr.value)
    return 1 + (sum(size(arg) for arg in expr.args) if isinstance(expr, ir.Op) else 0)


def any_of(terms: list[ir.Expr]) -> ir.Expr:
    result: ir.Expr = ir.BoolConst(False)
    for term in terms:
        result = ir.Op("or", (result, term))
    return result


def _is(part: object, *kinds: str) -> bool:
    return isinstance(part, dict) and cast(Json, part).get("type") in kinds


def make_errors(root: Json) -> dict[str, int]:
    """Error numbers; core errors that the JSON leaves out get the next free ones, as in BMv2."""
    core = ["NoError", "PacketTooShort", "NoMatch", "StackOutOfBounds", "HeaderTooShort"]
    core += ["ParserTimeout", "ParserInvalidArgument"]
    errors: dict[str, int] = {}
    for item in as_list(root.get("errors") or [], "errors"):
        pair = as_list(item, "errors")
        if len(pair) != 2:
            raise BadProgram("errors: each is a pair of name and number")
        errors[as_str(pair[0], "errors")] = as_int(pair[1], "errors")
    for name in core:
        if name not in errors:
            errors[name] = max(errors.values(), default=-1) + 1
    return errors


def make_field_lists(root: Json, scope: Scope) -> dict[int, tuple[ir.FieldRef, ...]]:
    lists: dict[int, tuple[ir.FieldRef, ...]] = {}
    for obj in get_dicts(root, "field_lists", "program"):
        fields: list[ir.FieldRef] = []
        for element in get_dicts(obj, "elements", "field_lists"):
            if element.get("type") == "field":
                fields.append(scope.field(element.get("value"), "field_lists"))
        lists[get_int(obj, "id", "field_lists")] = tuple(fields)
    return lists


def make_digests(root: Json, scope: Scope) -> dict[int, ir.DigestList]:
    """Learn lists by their JSON id."""
    lists: dict[int, ir.DigestList] = {}
    for obj in get_dicts(root, "learn_lists", "program"):
        name = get_str(obj, "name", "learn_lists")
        fields: list[ir.FieldRef] = []
        for element in get_dicts(obj, "elements", f"digest {name}"):
            if element.get("type") != "field":
                raise UnsupportedConstruct(f"{element.get('type')} in digest {name}", location(obj))
            fields.append(scope.field(element.get("value"), f"digest {name}"))
        if len(lists) >= MAX_DIGESTS:
            raise UnsupportedConstruct(f"more than {MAX_DIGESTS} digests", location(obj))
        lists[get_int(obj, "id", "learn_lists")] = ir.DigestList(name, len(lists), tuple(fields))
    return lists


def make_intrinsic(root: Json, scope: Scope) -> dict[str, ir.FieldRef]:
    """Target metadata by BMv2's names: aliases first, then fields of that very name."""
    names: dict[str, ir.FieldRef] = {}
    for header in scope.headers.values():
        if header.name in ("standard_metadata", "intrinsic_metadata", "queueing_metadata"):
            for i, item in enumerate(header.fields):
                names[f"{header.name}.{item.name}"] = ir.FieldRef(header, i)
    for item in as_list(root.get("field_aliases") or [], "field_aliases"):
        pair = as_list(item, "field_aliases")
        if len(pair) != 2:
            raise BadProgram("field_aliases: each is a pair of alias and field")
        names[as_str(pair[0], "field_aliases")] = scope.field(pair[1], "field_aliases")
    for name in ("ingress_port", "egress_spec", "egress_port", "packet_length", "instance_type"):
        if f"standard_metadata.{name}" not in names:
            raise BadProgram(f"the program has no field standard_metadata.{name}")
    return names

# SPDX-License-Identifier: Apache-2.0
"""Headers, fields and expressions of the JSON."""

from __future__ import annotations

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
    get_bool,
    get_dicts,
    get_int,
    get_list,
    get_str,
    location,
)
from softswitch.errors import BadProgram, UnsupportedConstruct

MAX_DEPTH = 100
MAX_DIGESTS = 1000
MAX_HEADER_BITS = 8 * 2048
ARITHMETIC = frozenset(["+", "-", "*", "/", "%", "<<", ">>", "&", "|", "^"])
RELATIONS = frozenset(["==", "!=", "<", "<=", ">", ">=", "and", "or"])
BINARY = ARITHMETIC | RELATIONS | {"two_comp_mod", "sat_cast", "usat_cast"}
UNARY = frozenset(["~", "not", "d2b", "b2d"])


def make_headers(root: Json) -> tuple[ir.Header, ...]:
    """All header and metadata instances, in the order of the JSON."""
    types: dict[str, tuple[ir.Field, ...]] = {}
    for kind in get_dicts(root, "header_types", "program"):
        name = get_str(kind, "name", "header_types")
        types[name] = _fields(kind, name)
    headers: list[ir.Header] = []
    for i, obj in enumerate(get_dicts(root, "headers", "program")):
        name = get_str(obj, "name", f"headers[{i}]")
        kind_name = get_str(obj, "header_type", f"header {name}")
        if kind_name not in types:
            raise BadProgram(f"header {name}: there is no header type {kind_name!r}")
        is_metadata = get_bool(obj, "metadata", f"header {name}")
        header = ir.Header(name, i, kind_name, types[kind_name], is_metadata)
        if not is_metadata and header.width % 8:
            raise UnsupportedConstruct(
                f"header {name} of {header.width} bits (not whole bytes)", location(obj)
            )
        headers.append(header)
    if len({h.name for h in headers}) != len(headers):
        raise BadProgram("two headers have the same name")
    return tuple(headers)


def _fields(kind: Json, type_name: str) -> tuple[ir.Field, ...]:
    fields: list[ir.Field] = []
    offset = 0
    where = f"header type {type_name}"
    for item in get_list(kind, "fields", where):
        parts = as_list(item, where)
        if len(parts) < 2:
            raise BadProgram(f"{where}: a field needs a name and a width")
        name = as_str(parts[0], where)
        if parts[1] == "*":
            raise UnsupportedConstruct(f"varbit field {type_name}.{name}", location(kind))
        width = as_int(parts[1], f"{where}.{name}", 1, MAX_HEADER_BITS)
        signed = len(parts) > 2 and parts[2] is True
        fields.append(ir.Field(name, width, signed, offset))
        offset += width
    if offset > MAX_HEADER_BITS:
        raise UnsupportedConstruct(f"header type {type_name} of {offset} bits", location(kind))
    return tuple(fields)


@dataclass(slots=True)
class Scope:
    """What names in expressions mean. `params` are the widths of the enclosing action's."""

    headers: dict[str, ir.Header]
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
        ref = self.field_or_valid(value, where)
        if isinstance(ref, ir.Valid):
            raise BadProgram(f"{where}: the validity bit cannot be used here")
        return ref

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
                return ir.Op("b2d", (ref,)) if isinstance(ref, ir.Valid) else ref
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
        if op == "valid":
            operand = as_dict(get(obj, "right", where), where)
            return ir.Valid(self.header(operand.get("value"), where))
        if op == "?":
            parts = [get(obj, key, where) for key in ("cond", "left", "right")]
        elif op in BINARY:
            parts = [get(obj, key, where) for key in ("left", "right")]
        elif op in UNARY:
            parts = [get(obj, "right", where)]
        else:
            raise UnsupportedConstruct(f"operation {op!r} ({where})")
        if op in ("==", "!=") and all(_is_header(part) for part in parts):
            left, right = (self.header(as_dict(part, where).get("value"), where) for part in parts)
            if left.type_name != right.type_name:
                raise BadProgram(f"{where}: headers of two types are compared")
            equal = ir.HeaderEqual(left, right)
            return equal if op == "==" else ir.Op("not", (equal,))
        return ir.Op(op, tuple(self.expr(part, where, depth + 1) for part in parts))


def _is_header(part: object) -> bool:
    return isinstance(part, dict) and cast(Json, part).get("type") == "header"


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

# SPDX-License-Identifier: Apache-2.0
"""The parser and the deparser of the JSON."""

from __future__ import annotations

from softswitch.bmv2 import ir
from softswitch.bmv2.actions import PrimitiveReader
from softswitch.bmv2.reader import (
    Json,
    as_dict,
    as_hex,
    as_list,
    as_str,
    get,
    get_dicts,
    get_str,
    location,
)
from softswitch.bmv2.values import Scope
from softswitch.errors import BadProgram, UnsupportedConstruct


def make_parser(root: Json, scope: Scope, primitives: PrimitiveReader) -> ir.Parser:
    """The parser named "parser", as simple_switch asks for it; the first one otherwise."""
    parsers = get_dicts(root, "parsers", "program")
    if not parsers:
        raise BadProgram("the program has no parser")
    obj = next((p for p in parsers if p.get("name") == "parser"), parsers[0])
    states = get_dicts(obj, "parse_states", "parser")
    index = {get_str(s, "name", "parse state"): i for i, s in enumerate(states)}
    init = get_str(obj, "init_state", "parser")
    if init not in index:
        raise BadProgram(f"parser: there is no state {init!r}")
    made = tuple(_state(s, scope, primitives, index) for s in states)
    return ir.Parser(made, index[init])


def _state(
    obj: Json, scope: Scope, primitives: PrimitiveReader, index: dict[str, int]
) -> ir.ParseState:
    name = get_str(obj, "name", "parse state")
    where = f"parse state {name}"
    ops: list[ir.ParserOp] = []
    for call in get_dicts(obj, "parser_ops", where):
        try:
            ops.append(_op(call, scope, primitives, where))
        except UnsupportedConstruct as error:
            at = error.source_location or location(call) or location(obj)
            raise UnsupportedConstruct(error.construct, at) from None
    key: list[ir.KeyPart] = []
    for part in get_dicts(obj, "transition_key", where):
        kind = get_str(part, "type", where)
        if kind == "field":
            ref = scope.field_or_valid(part.get("value"), where)
            key.append(ref if isinstance(ref, ir.Valid) else scope.field(part.get("value"), where))
        elif kind == "stack_field":
            key.append(scope.stack_last(part.get("value"), where))
        elif kind == "lookahead":
            value = scope.expr(part, where)
            assert isinstance(value, ir.Lookahead)
            key.append(value)
        else:
            raise UnsupportedConstruct(f"{kind} in a select expression", location(obj))
    nbytes = sum((key_width(part) + 7) // 8 for part in key)
    transitions = tuple(
        _transition(t, where, nbytes, index, location(obj))
        for t in get_dicts(obj, "transitions", where)
    )
    return ir.ParseState(name, tuple(ops), tuple(key), transitions)


def key_width(part: ir.KeyPart) -> int:
    """Bits of one element of a select expression."""
    if isinstance(part, ir.FieldRef):
        return part.field.width
    return 1 if isinstance(part, ir.Valid) else part.width


def _op(call: Json, scope: Scope, primitives: PrimitiveReader, where: str) -> ir.ParserOp:
    op = get_str(call, "op", where)
    where = f"{where}, {op}"
    args = [as_dict(a, where) for a in as_list(get(call, "parameters", where), where)]
    wanted = {
        "extract": 1,
        "extract_VL": 2,
        "set": 2,
        "verify": 2,
        "advance": 1,
        "shift": 1,
        "primitive": 1,
    }
    if op not in wanted:
        raise UnsupportedConstruct(f"parser operation {op}", location(call))
    if len(args) != wanted[op]:
        raise BadProgram(f"{where}: {wanted[op]} parameters are expected")
    match op:
        case "extract" | "extract_VL":
            length = scope.expr(args[1], where) if op == "extract_VL" else None
            return _extract(args[0], length, scope, where, location(call))
        case "set":
            if args[0].get("type") != "field":
                raise UnsupportedConstruct(f"set of a {args[0].get('type')}", location(call))
            return ir.Set(scope.field(args[0].get("value"), where), scope.expr(args[1], where))
        case "verify":
            return ir.Verify(scope.expr(args[0], where), scope.expr(args[1], where))
        case "advance":
            return ir.Advance(scope.expr(args[0], where))
        case "shift":
            nbytes = scope.expr(args[0], where)
            return ir.Advance(ir.Op("*", (nbytes, ir.Const(8))))
        case _:
            return ir.ParserPrimitive(primitives.read(args[0], where))


def _extract(
    target: Json, length: ir.Expr | None, scope: Scope, where: str, at: str
) -> ir.ParserOp:
    kind = target.get("type")
    if kind not in ("regular", "stack"):
        raise UnsupportedConstruct(f"extract into a {kind}", at)
    made: ir.Extract | ir.ExtractNext
    if kind == "stack":
        made = ir.ExtractNext(scope.stack(target.get("value"), where), length)
        header = made.stack.headers[0]
    else:
        header = scope.header(target.get("value"), where)
        made = ir.Extract(header, length)
    if header.is_metadata:
        raise BadProgram(f"{where}: {header.name} is metadata")
    if length is not None and header.varbit is None:
        raise BadProgram(f"{where}: {header.name} has no varbit field")
    whole_bytes(header, at)
    return made


def whole_bytes(header: ir.Header, at: str) -> None:
    """What is read from packets or written to them has to fill its bytes."""
    if header.width % 8:
        what = f"header {header.name} of {header.width} bits (not whole bytes)"
        raise UnsupportedConstruct(what, at)


def _transition(
    obj: Json, where: str, nbytes: int, index: dict[str, int], at: str
) -> ir.Transition:
    target = obj.get("next_state")
    next_state: int | None = None
    if target is not None:
        name = as_str(target, where)
        if name not in index:
            raise BadProgram(f"{where}: there is no state {name!r}")
        next_state = index[name]
    kind = obj.get("type")
    if kind == "default" or (kind is None and obj.get("value") == "default"):
        return ir.Transition(None, 0, next_state)
    if kind not in (None, "hexstr"):
        raise UnsupportedConstruct(f"{kind} in a select expression", at)
    full = (1 << (8 * nbytes)) - 1
    mask = full if obj.get("mask") is None else as_hex(obj["mask"], where) & full
    value = as_hex(obj.get("value"), where)
    if not 0 <= value <= full:
        raise BadProgram(f"{where}: a transition value is wider than its key")
    return ir.Transition(value & mask, mask, next_state)


def make_deparser(root: Json, scope: Scope) -> tuple[ir.Header, ...]:
    deparsers = get_dicts(root, "deparsers", "program")
    if not deparsers:
        raise BadProgram("the program has no deparser")
    obj = next((d for d in deparsers if d.get("name") == "deparser"), deparsers[0])
    for call in get_dicts(obj, "primitives", "deparser"):
        raise UnsupportedConstruct(f"{call.get('op')} in a deparser", location(call))
    order = as_list(get(obj, "order", "deparser"), "deparser")
    headers = tuple(scope.header(name, "deparser") for name in order)
    if any(h.is_metadata for h in headers):
        raise BadProgram("deparser: metadata cannot be emitted")
    for header in headers:
        whole_bytes(header, location(obj))
    return headers

# SPDX-License-Identifier: Apache-2.0
"""Actions and their primitives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

from softswitch.bmv2 import ir
from softswitch.bmv2.reader import (
    Json,
    as_dict,
    as_hex,
    as_list,
    as_str,
    fragment,
    get_dicts,
    get_int,
    get_str,
    location,
)
from softswitch.bmv2.values import Scope
from softswitch.errors import BadProgram, UnsupportedConstruct

MAX_PARAM_BITS = 2048
T = TypeVar("T")
Reader = Callable[["PrimitiveReader", str, str, list[Json], str], ir.Primitive]


@dataclass(slots=True)
class Names:
    """Objects that primitives name."""

    counters: Mapping[str, ir.Counter]
    meters: Mapping[str, ir.Meter]
    registers: Mapping[str, ir.Register]
    calculations: Mapping[str, ir.Calculation]
    field_lists: Mapping[int, tuple[ir.FieldRef, ...]]
    digests: Mapping[int, ir.DigestList]


def make_actions(root: Json, scope: Scope, names: Names) -> tuple[dict[int, int], list[ir.Action]]:
    """The actions, and a map from JSON id to index."""
    by_id: dict[int, int] = {}
    actions: list[ir.Action] = []
    for index, obj in enumerate(get_dicts(root, "actions", "program")):
        name = get_str(obj, "name", f"actions[{index}]")
        where = f"action {name}"
        params = tuple(
            (get_str(p, "name", where), get_int(p, "bitwidth", where, 1, MAX_PARAM_BITS))
            for p in get_dicts(obj, "runtime_data", where)
        )
        reader = PrimitiveReader(replace(scope, params=tuple(w for _, w in params)), names)
        calls = get_dicts(obj, "primitives", where)
        primitives = tuple(reader.read(call, where) for call in calls)
        for call in primitives:
            if call.op in ("_jump", "_jump_if_zero") and call.index > len(primitives):
                raise BadProgram(f"{where}: a jump leaves the action")
        by_id[get_int(obj, "id", where)] = index
        actions.append(ir.Action(name, index, params, primitives))
    return by_id, actions


class PrimitiveReader:
    """Reads one primitive call into ir.Primitive."""

    def __init__(self, scope: Scope, names: Names) -> None:
        self._scope = scope
        self._names = names

    def read(self, call: Json, where: str) -> ir.Primitive:
        op = get_str(call, "op", where)
        at = location(call)
        where = f"{where}, {op}" + (f" at {at}" if at else "")
        args = get_dicts(call, "parameters", where)
        reader = self._READERS.get(op)
        if reader is None:
            raise UnsupportedConstruct(f"primitive {op}", at)
        count, method = reader
        if len(args) != count:
            raise BadProgram(f"{where}: {count} parameters are expected, not {len(args)}")
        try:
            return replace(method(self, op, at, args, where), source=fragment(call))
        except UnsupportedConstruct as error:
            if error.source_location or not at:
                raise
            raise UnsupportedConstruct(error.construct, at) from None

    def _target(self, arg: Json, where: str) -> ir.FieldRef:
        if arg.get("type") != "field":
            raise UnsupportedConstruct(f"assignment to {arg.get('type')} ({where})")
        return self._scope.field(arg.get("value"), where)

    def _named(self, kind: str, table: Mapping[str, T], arg: Json, where: str) -> T:
        name = as_str(arg.get("value"), where)
        if arg.get("type") != kind or name not in table:
            raise BadProgram(f"{where}: there is no {kind} {name!r}")
        return table[name]

    def _stack(self, arg: Json, where: str) -> ir.Stack:
        if arg.get("type") != "header_stack":
            raise UnsupportedConstruct(f"{arg.get('type')} as a header stack ({where})")
        return self._scope.stack(arg.get("value"), where)

    def _header(self, arg: Json, where: str) -> ir.Header | ir.Element:
        if arg.get("type") == "expression":
            return self._scope.element(arg, where)
        if arg.get("type") != "header":
            raise UnsupportedConstruct(f"{arg.get('type')} as a header operand ({where})")
        return self._scope.header(arg.get("value"), where)

    def _constant(self, arg: Json, where: str) -> int:
        """A number that must be known when the program is loaded: a jump, a field list."""
        if arg.get("type") != "hexstr":
            raise UnsupportedConstruct(f"{arg.get('type')} where a constant is needed ({where})")
        value = as_hex(arg.get("value"), where)
        if value < 0:
            raise BadProgram(f"{where}: {value} is negative")
        return value

    def _exprs(self, args: list[Json], where: str) -> tuple[ir.Expr, ...]:
        return tuple(self._scope.expr(arg, where) for arg in args)

    def _plain(self, op: str, at: str, args: list[Json], where: str) -> ir.Primitive:
        """Only expressions as operands, or none."""
        return ir.Primitive(op, at, exprs=self._exprs(args, where))

    def _assign(self, op: str, at: str, args: list[Json], where: str) -> ir.Primitive:
        """target, expressions"""
        if args[0].get("type") == "expression":
            target, element = self._scope.element_field(args[0], where)
            values = self._exprs(args[1:], where)
            return ir.Primitive(op, at, target=target, element=element, exprs=values)
        target = self._target(args[0], where)
        return ir.Primitive(op, at, target=target, exprs=self._exprs(args[1:], where))

    def _headers(self, op: str, at: str, args: list[Json], where: str) -> ir.Primitive:
        headers = tuple(self._header(arg, where) for arg in args)
        shapes = [h.stack.headers[0] if isinstance(h, ir.Element) else h for h in headers]
        if len({h.type_name for h in shapes}) > 1:
            raise BadProgram(f"{where}: headers of two types")
        return ir.Primitive(op, at, headers=headers)

    def _assign_varbit(self, op: str, at: str, args: list[Json], where: str) -> ir.Primitive:
        dst, src = (self._scope.any_field(arg.get("value"), where) for arg in args)
        if not dst.field.varbit or not src.field.varbit:
            raise BadProgram(f"{where}: two varbit fields are expected")
        return ir.Primitive(op, at, target=dst, exprs=(src,))

    def _union(self, op: str, at: str, args: list[Json], where: str) -> ir.Primitive:
        """`headers`: the members of the target, then those of the source."""
        dst, src = (self._scope.union(arg.get("value"), where) for arg in args)
        if [h.type_name for h in dst] != [h.type_name for h in src]:
            raise BadProgram(f"{where}: unions of two types")
        return ir.Primitive(op, at, headers=(*dst, *src))

    def _stacks(self, op: str, at: str, args: list[Json], where: str) -> ir.Primitive:
        dst, src = (self._stack(arg, where) for arg in args)
        shape = [(len(s.headers), s.headers[0].type_name) for s in (dst, src)]
        if shape[0] != shape[1]:
            raise BadProgram(f"{where}: stacks of two types or sizes")
        return ir.Primitive(op, at, stacks=(dst, src))

    def _shift(self, op: str, at: str, args: list[Json], where: str) -> ir.Primitive:
        stack, count = self._stack(args[0], where), self._constant(args[1], where)
        return ir.Primitive(op, at, stacks=(stack,), index=min(count, len(stack.headers)))

    def _drop(self, op: str, at: str, args: list[Json], where: str) -> ir.Primitive:
        return ir.Primitive("mark_to_drop", at)

    def _jump(self, op: str, at: str, args: list[Json], where: str) -> ir.Primitive:
        exprs = self._exprs(args[:-1], where)
        return ir.Primitive(op, at, exprs=exprs, index=self._constant(args[-1], where))

    def _count(self, op: str, at: str, args: list[Json], where: str) -> ir.Primitive:
        counter = self._named("counter_array", self._names.counters, args[0], where)
        return ir.Primitive(op, at, index=counter.index, exprs=self._exprs(args[1:], where))

    def _meter(self, op: str, at: str, args: list[Json], where: str) -> ir.Primitive:
        meter = self._named("meter_array", self._names.meters, args[0], where)
        exprs = self._exprs(args[1:2], where)
        return ir.Primitive(
            op, at, target=self._target(args[2], where), exprs=exprs, index=meter.index
        )

    def _register_read(self, op: str, at: str, args: list[Json], where: str) -> ir.Primitive:
        register = self._named("register_array", self._names.registers, args[1], where)
        exprs = self._exprs(args[2:], where)
        return ir.Primitive(
            op, at, target=self._target(args[0], where), exprs=exprs, index=register.index
        )

    def _register_write(self, op: str, at: str, args: list[Json], where: str) -> ir.Primitive:
        register = self._named("register_array", self._names.registers, args[0], where)
        return ir.Primitive(op, at, exprs=self._exprs(args[1:], where), index=register.index)

    def _hash(self, op: str, at: str, args: list[Json], where: str) -> ir.Primitive:
        calculation = self._named("calculation", self._names.calculations, args[2], where)
        exprs = self._exprs([args[1], args[3]], where)
        target = self._target(args[0], where)
        return ir.Primitive(op, at, target=target, exprs=exprs, index=calculation.index)

    def _field_list(self, op: str, at: str, args: list[Json], where: str) -> ir.Primitive:
        """The field list is the last operand; 0 means that the request is not made."""
        number = self._constant(args[-1], where)
        if number and number not in self._names.field_lists:
            raise BadProgram(f"{where}: there is no field list {number}")
        return ir.Primitive(op, at, exprs=self._exprs(args[:-1], where), index=number)

    def _digest(self, op: str, at: str, args: list[Json], where: str) -> ir.Primitive:
        """The receiver is not used; `index` counts from 1, so that 0 can say "none"."""
        number = self._constant(args[1], where)
        if number not in self._names.digests:
            raise BadProgram(f"{where}: there is no learn list {number}")
        return ir.Primitive(op, at, index=self._names.digests[number].index + 1)

    def _log(self, op: str, at: str, args: list[Json], where: str) -> ir.Primitive:
        text = as_str(args[0].get("value"), where)
        items = as_list(args[1].get("value") or [], where)  # p4c writes {} for none
        values = [as_dict(item, where) for item in items]
        return ir.Primitive(op, at, exprs=self._exprs(values, where), text=text)

    _READERS: ClassVar[dict[str, tuple[int, Reader]]] = {
        "assign": (2, _assign),
        "modify_field": (2, _assign),
        "modify_field_rng_uniform": (3, _assign),
        "assign_header": (2, _headers),
        "copy_header": (2, _headers),
        "assign_VL": (2, _assign_varbit),
        "assign_union": (2, _union),
        "assign_header_stack": (2, _stacks),
        "push": (2, _shift),
        "pop": (2, _shift),
        "add_header": (1, _headers),
        "remove_header": (1, _headers),
        "mark_to_drop": (1, _drop),
        "drop": (0, _drop),
        "no_op": (0, _plain),
        "exit": (0, _plain),
        "truncate": (1, _plain),
        "assert": (1, _plain),
        "assume": (1, _plain),
        "_jump": (1, _jump),
        "_jump_if_zero": (2, _jump),
        "count": (2, _count),
        "execute_meter": (3, _meter),
        "register_read": (3, _register_read),
        "register_write": (3, _register_write),
        "modify_field_with_hash_based_offset": (4, _hash),
        "recirculate": (1, _field_list),
        "resubmit": (1, _field_list),
        "clone_ingress_pkt_to_egress": (2, _field_list),
        "clone_egress_pkt_to_egress": (2, _field_list),
        "generate_digest": (2, _digest),
        "log_msg": (2, _log),
    }

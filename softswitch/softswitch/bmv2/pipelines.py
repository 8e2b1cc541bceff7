# SPDX-License-Identifier: Apache-2.0
"""Tables and control flow of the JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from softswitch.api import MatchKind
from softswitch.bmv2 import ir
from softswitch.bmv2.profiles import ProfileReader
from softswitch.bmv2.reader import (
    Json,
    as_dict,
    as_hex,
    as_int,
    as_list,
    as_str,
    fragment,
    get,
    get_bool,
    get_dicts,
    get_int,
    get_list,
    get_str,
    location,
)
from softswitch.bmv2.values import Scope
from softswitch.errors import BadProgram, UnsupportedConstruct

MAX_TABLE = 1 << 24
MAX_KEY_BITS = 4096
KINDS: dict[str, MatchKind] = {
    "exact": "exact",
    "lpm": "lpm",
    "ternary": "ternary",
    "optional": "ternary",
    "range": "range",
}


class Successors(NamedTuple):
    """Where control goes after a table: by action (else `miss`), or by hit and miss."""

    by_action: dict[int, ir.NodeRef | None]
    hit: ir.NodeRef | None
    miss: ir.NodeRef | None
    by_hit: bool


@dataclass(slots=True)
class PipelineReader:
    """Reads both pipelines; tables are numbered through."""

    scope: Scope
    actions: list[ir.Action]
    action_by_id: dict[int, int]
    meters: dict[str, ir.Meter]
    tables: list[ir.Table]
    profiles: ProfileReader

    def read(self, root: Json, name: str) -> ir.Pipeline:
        found = [p for p in get_dicts(root, "pipelines", "program") if p.get("name") == name]
        if not found:
            raise BadProgram(f"the program has no pipeline {name!r}")
        obj = found[0]
        self.profiles.declare(obj, name)
        nodes: dict[str, ir.NodeRef] = {}
        tables = get_dicts(obj, "tables", name)
        conditionals = get_dicts(obj, "conditionals", name)
        calls = get_dicts(obj, "action_calls", name)
        first = len(self.tables)
        for i, table in enumerate(tables):
            self._declare(nodes, table, ("table", first + i))
        for i, conditional in enumerate(conditionals):
            self._declare(nodes, conditional, ("conditional", i))
        for i, call in enumerate(calls):
            self._declare(nodes, call, ("call", i))
        for i, table in enumerate(tables):
            self.tables.append(self._table(table, first + i, nodes))
        return ir.Pipeline(
            name,
            _next(nodes, obj.get("init_table"), name),
            tuple(range(first, first + len(tables))),
            {i: self._conditional(c, i, nodes) for i, c in enumerate(conditionals)},
            {i: self._call(c, i, nodes) for i, c in enumerate(calls)},
        )

    @staticmethod
    def _declare(nodes: dict[str, ir.NodeRef], obj: Json, ref: ir.NodeRef) -> None:
        name = get_str(obj, "name", ref[0])
        if name in nodes:
            raise BadProgram(f"two nodes of a pipeline have the name {name!r}")
        nodes[name] = ref

    def _conditional(self, obj: Json, index: int, nodes: dict[str, ir.NodeRef]) -> ir.Conditional:
        where = f"conditional {obj.get('name')}"
        try:
            condition = self.scope.expr(get(obj, "expression", where), where)
        except UnsupportedConstruct as error:
            raise UnsupportedConstruct(error.construct, location(obj)) from None
        return ir.Conditional(
            index,
            condition,
            _next(nodes, obj.get("true_next"), where),
            _next(nodes, obj.get("false_next"), where),
            get_str(obj, "name", where),
            location(obj),
            fragment(obj),
        )

    def _call(self, obj: Json, index: int, nodes: dict[str, ir.NodeRef]) -> ir.ActionCall:
        where = f"action call {obj.get('name')}"
        action = self._action(get(obj, "action_id", where), where)
        if self.actions[action].params:
            raise BadProgram(f"{where}: the action has parameters")
        return ir.ActionCall(index, action, _next(nodes, obj.get("next_node"), where))

    def _action(self, number: object, where: str) -> int:
        json_id = as_int(number, where)
        if json_id not in self.action_by_id:
            raise BadProgram(f"{where}: there is no action with id {json_id}")
        return self.action_by_id[json_id]

    def _params(self, action: int, data: object, where: str) -> tuple[int, ...]:
        values = tuple(as_hex(v, where) for v in as_list(data or [], where))
        params = self.actions[action].params
        if len(values) != len(params):
            raise BadProgram(f"{where}: {len(params)} action parameters are expected")
        for value, (name, width) in zip(values, params, strict=True):
            if not 0 <= value < 1 << width:
                raise BadProgram(f"{where}: parameter {name} does not fit {width} bits")
        return values

    def _table(self, obj: Json, index: int, nodes: dict[str, ir.NodeRef]) -> ir.Table:
        name = get_str(obj, "name", "table")
        where, at = f"table {name}", location(obj)
        profile = self.profiles.of_table(obj, where)
        keys = tuple(self._key(k, where, at) for k in get_dicts(obj, "key", where))
        if sum(k.width for k in keys) > MAX_KEY_BITS:
            raise UnsupportedConstruct(f"{where} with a key of more than {MAX_KEY_BITS} bits", at)
        ids = get_list(obj, "action_ids", where)
        actions = tuple(self._action(i, where) for i in ids)
        entries = self._entries(obj, keys, actions, where)
        if profile is not None and (entries or obj.get("default_entry") is not None):
            raise UnsupportedConstruct(f"entries or default action of the indirect {where}", at)
        max_size = get_int(obj, "max_size", where, 0)
        if max_size > MAX_TABLE:
            raise UnsupportedConstruct(f"{where} with {max_size} entries", at)
        default, default_params, default_const = self._default(obj, where)
        meter: int | None = None
        if obj.get("direct_meters") is not None:
            meter_name = as_str(obj["direct_meters"], where)
            if meter_name not in self.meters or self.meters[meter_name].result is None:
                raise BadProgram(f"{where}: there is no direct meter {meter_name!r}")
            meter = self.meters[meter_name].index
        after = self._next_tables(obj, actions, nodes, where)
        table = ir.Table(
            name=name,
            index=index,
            match=_match_of(keys, where, at),
            keys=keys,
            actions=actions,
            max_size=max(max_size, len(entries), 1),
            with_counters=get_bool(obj, "with_counters", where),
            direct_meter=meter,
            support_timeout=get_bool(obj, "support_timeout", where),
            default_action=default,
            default_params=default_params,
            default_const=default_const,
            entries=entries,
            const_entries="entries" in obj,
            next_by_action=after.by_action,
            next_hit=after.hit,
            next_miss=after.miss,
            by_hit=after.by_hit,
            profile=profile,
        )
        used = {e.action for e in entries}
        if default is not None:
            used.add(default)
        for action in used - set(actions):
            raise BadProgram(f"{where}: action {self.actions[action].name} is not in its list")
        return table

    def _next_tables(
        self, obj: Json, actions: tuple[int, ...], nodes: dict[str, ir.NodeRef], where: str
    ) -> Successors:
        targets = as_dict(get(obj, "next_tables", where), where)
        base = _next(nodes, obj.get("base_default_next"), where)
        if "__HIT__" in targets or "__MISS__" in targets:
            hit = _next(nodes, targets.get("__HIT__"), where)
            return Successors({}, hit, _next(nodes, targets.get("__MISS__"), where), True)
        by_action = {
            a: _next(nodes, targets[self.actions[a].name], where)
            for a in actions
            if self.actions[a].name in targets
        }
        return Successors(by_action, None, base, False)

    def _key(self, obj: Json, where: str, at: str) -> ir.TableKey:
        kind = get_str(obj, "match_type", where)
        if kind not in KINDS:
            raise UnsupportedConstruct(f"match kind {kind} ({where})", at)
        target = self.scope.field_or_valid(get(obj, "target", where), where)
        width = target.field.width if isinstance(target, ir.FieldRef) else 1
        full = (1 << width) - 1
        mask = full if obj.get("mask") is None else as_hex(obj["mask"], where) & full
        if mask != full and kind not in ("exact", "ternary", "optional"):
            raise UnsupportedConstruct(f"static mask on a {kind} key ({where})", at)
        if kind == "range" and width > 64:
            raise UnsupportedConstruct(f"range key of {width} bits ({where})", at)
        if isinstance(target, ir.FieldRef):
            default_name = f"{target.header.name}.{target.field.name}"
        else:
            default_name = f"{target.header.name}.$valid$"
        name = as_str(obj.get("name") or default_name, where)
        return ir.TableKey(name, KINDS[kind], target, width, mask)

    def _default(self, obj: Json, where: str) -> tuple[int | None, tuple[int, ...], bool]:
        if obj.get("default_entry") is None:
            return None, (), False
        entry = as_dict(obj["default_entry"], where)
        action = self._action(get(entry, "action_id", where), where)
        const = get_bool(entry, "action_const", where)
        return action, self._params(action, entry.get("action_data"), where), const

    def _entries(
        self, obj: Json, keys: tuple[ir.TableKey, ...], actions: tuple[int, ...], where: str
    ) -> tuple[ir.ConstEntry, ...]:
        entries: list[ir.ConstEntry] = []
        for i, item in enumerate(get_dicts(obj, "entries", where)):
            here = f"{where}, entry {i}"
            parts = get_dicts(item, "match_key", here)
            if len(parts) != len(keys):
                raise BadProgram(f"{here}: {len(keys)} key fields are expected")
            key = tuple(_entry_key(k, p, here) for k, p in zip(keys, parts, strict=True))
            call = as_dict(get(item, "action_entry", here), here)
            action = self._action(get(call, "action_id", here), here)
            params = self._params(action, call.get("action_data"), here)
            priority = as_int(item.get("priority", i + 1), here)
            entries.append(ir.ConstEntry(key, priority, action, params))
        return tuple(entries)


def _match_of(keys: tuple[ir.TableKey, ...], where: str, at: str) -> MatchKind:
    kinds = [k.kind for k in keys]
    if "range" in kinds:
        return "range"
    if "ternary" in kinds:
        return "ternary"
    if kinds.count("lpm") > 1:
        raise UnsupportedConstruct(f"{where} with two lpm keys", at)
    return "lpm" if "lpm" in kinds else "exact"


def _entry_key(key: ir.TableKey, obj: Json, where: str) -> tuple[int, int]:
    """(value, mask), or (low, high) for a range; don't-care bits of the value are cleared."""
    full = (1 << key.width) - 1
    kind = get_str(obj, "match_type", where)
    if kind == "range" or key.kind == "range":
        low, high = as_hex(obj.get("start"), where), as_hex(obj.get("end"), where)
        if not 0 <= low <= high <= full:
            raise BadProgram(f"{where}: a range does not fit {key.width} bits")
        return low, high
    raw = obj.get("key")
    value = int(raw) if isinstance(raw, bool) else as_hex(raw, where)
    mask = full
    if kind == "lpm":
        length = get_int(obj, "prefix_length", where, 0, key.width)
        mask = full ^ ((1 << (key.width - length)) - 1)
    elif kind == "ternary":
        mask = as_hex(obj.get("mask"), where)
    if not 0 <= value <= full or not 0 <= mask <= full:
        raise BadProgram(f"{where}: a key does not fit {key.width} bits")
    return value & mask, mask


def _next(nodes: dict[str, ir.NodeRef], name: object, where: str) -> ir.NodeRef | None:
    if name is None:
        return None
    text = as_str(name, where)
    if text not in nodes:
        raise BadProgram(f"{where}: there is no node {text!r}")
    return nodes[text]

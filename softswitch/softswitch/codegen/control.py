# SPDX-License-Identifier: Apache-2.0
"""Tables and control flow: one C function for each pipeline; its nodes become labels.

p4c turns statements into keyless tables with a const default action; these become plain calls,
without a lookup.
"""

from __future__ import annotations

from softswitch.bmv2 import ir
from softswitch.codegen import keys
from softswitch.codegen.actions import writer_for
from softswitch.codegen.naming import data_words, field_name, literal, nbytes, param_words
from softswitch.codegen.trace import Trace
from softswitch.errors import BadProgram

MATCH = {"exact": "SS_EXACT", "lpm": "SS_LPM", "ternary": "SS_TERNARY", "range": "SS_RANGE"}


def encode_params(action: ir.Action, values: tuple[int, ...]) -> list[int]:
    """Run-time parameters as words of 64 bits (see naming.param_words)."""
    out: list[int] = []
    for (_, width), value in zip(action.params, values, strict=True):
        words = param_words(width)
        if width > 128:
            data = value.to_bytes(nbytes(width), "big").ljust(8 * words, b"\0")
            value = int.from_bytes(data, "little")
        out += [value >> (64 * i) & (2**64 - 1) for i in range(words)]
    return out


def decode_params(action: ir.Action, words: list[int]) -> tuple[int, ...]:
    values: list[int] = []
    at = 0
    for _, width in action.params:
        n = param_words(width)
        value = sum(word << (64 * i) for i, word in enumerate(words[at : at + n]))
        if width > 128:
            value = int.from_bytes(value.to_bytes(8 * n, "little")[: nbytes(width)], "big")
        values.append(value)
        at += n
    return tuple(values)


def table_words(program: ir.Program, table: ir.Table) -> int:
    """Words that the longest parameter list of a table's actions takes; in an indirect table, the
    one that refers to a member or a group."""
    if table.profile is not None:
        return 1
    return max((data_words(program.actions[a]) for a in table.actions), default=0)


def member_words(program: ir.Program, profile: ir.Profile) -> int:
    """Words that the longest parameter list of a profile's members takes."""
    return max((data_words(program.actions[a]) for a in profile.actions), default=0)


def describe(program: ir.Program) -> list[str]:
    """The ss_table_desc array."""
    out: list[str] = []
    rows: list[str] = []
    for table in program.tables:
        ranges = [
            f"{{{offset}, {key.width}}}"
            for key, offset in zip(table.keys, keys.key_offsets(table), strict=True)
            if key.kind == "range"
        ]
        if ranges:
            out.append(
                f"static const struct ss_range_desc r{table.index}[] = {{{', '.join(ranges)}}};"
            )
        meter = table.direct_meter
        by_bytes = meter is not None and program.meters[meter].unit == "bytes"
        rows.append(
            f"    {{{MATCH[table.match]}, {table.max_size}, {keys.key_words(table)},"
            f" {table_words(program, table)}, {len(ranges)},"
            f" {f'r{table.index}' if ranges else 'NULL'}, {int(table.with_counters)},"
            f" {int(table.support_timeout)}, {int(meter is not None)}, {int(by_bytes)}}},"
        )
    rows = rows or ["    {0},"]
    return [*out, "static const struct ss_table_desc tables[] = {", *rows, "};"]


class ControlWriter:
    def __init__(self, program: ir.Program, pipeline: ir.Pipeline, trace: Trace) -> None:
        self._program = program
        self._trace = trace
        self._pipeline = pipeline

    def function(self) -> list[str]:
        out = [
            f"static void {self._pipeline.name}_pipeline(struct ss_ctx *ctx, struct scratch *s,",
            "                             struct phv *p)",
            "{",
            "    struct ss_state *st = ctx->state;",
            "    (void)st; (void)s;",
            *self._trace.pipeline(self._pipeline.name, "start"),
            f"    {self._goto(self._pipeline.init)}",
        ]
        for ref in self._ordered():
            out += [f"{_label(ref)}: {{", *(f"    {line}" for line in self._node(ref)), "}"]
        return [
            *out,
            "end:",
            "    p->k.exit = 0;",
            *self._trace.pipeline(self._pipeline.name, "end"),
            "}",
        ]

    def _successors(self, ref: ir.NodeRef) -> list[ir.NodeRef]:
        kind, index = ref
        if kind == "table":
            t = self._program.tables[index]
            nodes = [*t.next_by_action.values(), t.next_hit, t.next_miss]
        elif kind == "conditional":
            c = self._pipeline.conditionals[index]
            nodes = [c.true_next, c.false_next]
        else:
            nodes = [self._pipeline.calls[index].next_node]
        return [n for n in dict.fromkeys(nodes) if n is not None]

    def _ordered(self) -> list[ir.NodeRef]:
        """Reachable nodes, each before its successors. A cycle would be an endless packet."""
        done: list[ir.NodeRef] = []
        state: dict[ir.NodeRef, int] = {}
        stack: list[tuple[ir.NodeRef, bool]] = []
        if self._pipeline.init is not None:
            stack.append((self._pipeline.init, False))
        while stack:
            ref, leaving = stack.pop()
            if leaving:
                state[ref] = 2
                done.append(ref)
                continue
            if state.get(ref) == 1:
                raise BadProgram(f"pipeline {self._pipeline.name}: the control flow has a cycle")
            if state.get(ref) == 2:
                continue
            state[ref] = 1
            stack.append((ref, True))
            for successor in self._successors(ref):
                if state.get(successor) == 1:
                    raise BadProgram(
                        f"pipeline {self._pipeline.name}: the control flow has a cycle"
                    )
                if state.get(successor) != 2:
                    stack.append((successor, False))
        return done[::-1]

    @staticmethod
    def _goto(ref: ir.NodeRef | None) -> str:
        return "goto end;" if ref is None else f"goto {_label(ref)};"

    def _node(self, ref: ir.NodeRef) -> list[str]:
        kind, index = ref
        if kind == "conditional":
            c = self._pipeline.conditionals[index]
            test = writer_for(None, "").boolean(c.condition)
            return [
                *self._trace.condition(c, test),
                f"if ({test})",
                f"    {self._goto(c.true_next)}",
                self._goto(c.false_next),
            ]
        if kind == "call":
            call = self._pipeline.calls[index]
            return [*self._call(call.action, "NULL"), self._goto(call.next_node)]
        table = self._program.tables[index]
        return self._apply(table) if table.keys else self._apply_keyless(table)

    def _call(self, action: int, data: str) -> list[str]:
        out = [f"a{action}(ctx, s, p, {data});"]
        if any(call.op == "exit" for call in self._program.actions[action].primitives):
            out.append("if (p->k.exit) goto end;")
        return out

    def _after(self, table: ir.Table, action: int) -> ir.NodeRef | None:
        """The next node after an action of a table that chooses by action."""
        return table.next_by_action.get(action, table.next_miss)

    def _apply_keyless(self, table: ir.Table) -> list[str]:
        action = table.default_action
        if not table.default_const or action is None:
            return [
                f"const struct ss_table *t = &st->tables[{table.index}];",
                "const uint64_t *d = t->default_data;",
                "(void)d;",
                *self._switch(table, "t->default_action"),
                self._goto(table.next_miss),
            ]
        target = table.next_miss if table.by_hit else self._after(table, action)
        words = encode_params(self._program.actions[action], table.default_params)
        if not words:
            return [*self._call(action, "NULL"), self._goto(target)]
        values = ", ".join(literal(word, 64) for word in words)
        declare = f"static const uint64_t d[] = {{{values}}};"
        return [declare, *self._call(action, "d"), self._goto(target)]

    def _member(self, table: ir.Table) -> list[str]:
        """Replaces the entry's reference by the member's action, or by none in an empty group."""
        if table.profile is None:
            return []
        profile = self._program.profiles[table.profile]
        at = f"&st->profiles[{profile.index}]"
        choose = "NULL"
        if profile.selector is not None:
            choose = f"ss_select(ctx, {at}, (uint32_t)d[0], c{profile.selector}(s, p))"
        return [
            f"const struct ss_member *m = d[0] & SS_GROUP_REF ? {choose}",
            f"                          : ss_member_at({at}, (uint32_t)d[0]);",
            "action = m ? m->action : SS_NONE;",
            "d = m ? m->data : d;",
        ]

    def _cases(self, table: ir.Table) -> list[tuple[int, int]]:
        """(number that selects it, action). A member may carry another table's copy of it."""
        if table.profile is None:
            return [(action, action) for action in dict.fromkeys(table.actions)]
        actions = self._program.actions
        mine = {actions[a].name: a for a in reversed(table.actions)}
        profile = self._program.profiles[table.profile]
        return [(a, mine[actions[a].name]) for a in profile.actions if actions[a].name in mine]

    def _switch(self, table: ir.Table, selector: str) -> list[str]:
        """Runs the action; jumps to its successor, unless the table chooses by hit or miss."""
        out = [f"switch ({selector}) {{"]
        for number, action in self._cases(table):
            out.append(f"case {number}:")
            out += self._trace.action_entry(self._program.actions[action])
            out += [f"    {line}" for line in self._call(action, "d")]
            if table.by_hit:
                out.append("    break;")
            else:
                out.append(f"    {self._goto(self._after(table, action))}")
        return [*out, "default: break;", "}"]

    def _lookup(self, table: ir.Table) -> str:
        n = keys.key_words(table)
        match table.match:
            case "exact":
                return f"ss_lookup_exact(t, k, {n})"
            case "range":
                return f"ss_lookup_linear(t, k, {n}, true)"
            case _:
                return f"ss_lookup_masked(t, k, {n})"

    def _apply(self, table: ir.Table) -> list[str]:
        n = keys.key_words(table)
        data = n * {"exact": 1, "lpm": 2, "ternary": 2, "range": 3}[table.match]
        hit: list[str] = []
        if table.support_timeout:
            hit.append("e->last_hit_ns = ctx->now_ns;")
        if table.with_counters:
            hit += ["e->packets++;", "e->bytes += p->k.ingress_len;"]
        if table.direct_meter is not None:
            meter = self._program.meters[table.direct_meter]
            assert meter.result is not None
            units = "p->k.ingress_len" if meter.unit == "bytes" else "1"
            mask = literal((1 << meter.result.field.width) - 1, 64)
            run = f"ss_meter_run(&t->meters[e->slot], ctx->now_ns, {units})"
            hit.append(f"{field_name(meter.result)} = {run} & {mask};")
        out = [
            f"const struct ss_table *t = &st->tables[{table.index}];",
            *self._trace.lookup(table),
            *keys.build(table, "k"),
            f"struct ss_entry *e = {self._lookup(table)};",
            "const uint64_t *d = t->default_data;",
            "uint32_t action = t->default_action;",
            "(void)d;",
            "if (e) {",
            *(f"    {line}" for line in hit),
            f"    d = e->words + {data};",
            "    action = e->action;",
            *(f"    {line}" for line in self._member(table)),
            "}",
            *self._trace.result(table),
            *self._switch(table, "action"),
        ]
        if table.by_hit:
            out += ["if (e)", f"    {self._goto(table.next_hit)}"]
        return [*out, self._goto(table.next_miss)]


def _label(ref: ir.NodeRef) -> str:
    return {"table": "t", "conditional": "c", "call": "k"}[ref[0]] + str(ref[1])

# SPDX-License-Identifier: Apache-2.0
"""What a program says about each packet, in BMv2's words, when it is built with a trace.

Every method returns statements to put where the thing happens, and none at all without a trace, so
that the packet path of a program without one is not touched. Names come from the JSON: they reach
the C text through `c_string` only.
"""

from __future__ import annotations

from softswitch.bmv2 import ir
from softswitch.codegen.naming import c_string, field_name, is_wide, nbytes, param_words, valid_name

TEXT = "char text_[SS_TRACE_TEXT]; size_t at_ = 0; text_[0] = 0;"


class Trace:
    """`on`: is the program built with a trace?"""

    def __init__(self, on: bool) -> None:
        self.on = on

    def line(self, level: str, text: str, *values: str) -> list[str]:
        """A line at level D(ebug), T(race) or E(rror); each {} stands for an unsigned value."""
        if not self.on:
            return []
        text = text.replace("%", "%%").replace("{}", "%llu")
        args = "".join(f", (unsigned long long)({value})" for value in values)
        return [f"ctx->ops->trace(ctx, '{level}', {c_string(text)}{args});"]

    def include(self) -> list[str]:
        return ['#include "ss_trace.h"'] if self.on else []

    # The parser

    def parser_start(self) -> list[str]:
        if not self.on:
            return []
        return ["const uint8_t *start_ = cur;", *self.line("D", "Parser 'parser': start")]

    def state(self, state: ir.ParseState) -> list[str]:
        return self.line("D", f"Parser 'parser' entering state {_quoted(state.name)}")

    def parser_op(self, op: ir.ParserOp) -> list[str]:
        if isinstance(op, ir.Extract):
            return self.line("D", f"Extracting header {_quoted(op.header.name)}")
        if isinstance(op, ir.ExtractNext):
            return self.line("D", f"Extracting to header stack {_quoted(op.stack.name)}")
        return []

    def select(self, state: ir.ParseState) -> list[str]:
        parts = [part for part in state.key if isinstance(part, ir.FieldRef | ir.Valid)]
        if not self.on or not parts or len(parts) != len(state.key):
            return []
        said = c_string(f"Parser state {_quoted(state.name)}: key is ".replace("%", "%%") + "%s")
        values = [line for part in parts for line in _value(part)]
        return [f"{{ {TEXT}", *values, f"ctx->ops->trace(ctx, 'D', {said}, text_); }}"]

    def parser_end(self, errors: dict[str, int]) -> list[str]:
        if not self.on:
            return []
        cases: list[str] = []
        for name, number in errors.items():
            if name != "NoError":
                said = self.line("E", f"Exception while parsing: {_plain(name)}")
                cases.append(f"case {number}: {said[0]} break;")
        return [
            "switch (p->k.parser_error) {",
            *cases,
            "default: break;",
            "}",
            *self.line("T", "Bytes parsed: {}", "cur - start_"),
            *self.line("D", "Parser 'parser': end"),
        ]

    # Controls

    def pipeline(self, name: str, what: str) -> list[str]:
        return self.line("D", f"Pipeline {_quoted(name)}: {what}")

    def condition(self, conditional: ir.Conditional, value: str) -> list[str]:
        if not self.on:
            return []
        shown = f'{_place(conditional.location)}Condition "{_plain(conditional.source)}"'
        yes = self.line("T", f"{shown} ({_plain(conditional.name)}) is true")
        no = self.line("T", f"{shown} ({_plain(conditional.name)}) is false")
        return [f"if ({value}) {yes[0]} else {no[0]}"]

    def lookup(self, table: ir.Table) -> list[str]:
        if not self.on:
            return []
        out = [*self.line("T", f"Applying table {_quoted(table.name)}"), f"{{ {TEXT}"]
        for key in table.keys:
            out.append(f"ss_trace_text(text_, &at_, {c_string(f'* {key.name:<20}: ')});")
            out += _value(key.target)
            out.append('ss_trace_text(text_, &at_, "\\n");')
        return [*out, "ctx->ops->trace(ctx, 'D', \"Looking up key:\\n%s\", text_); }"]

    def result(self, table: ir.Table) -> list[str]:
        if not self.on:
            return []
        hit = self.line("D", f"Table {_quoted(table.name)}: hit with handle {{}}", "e->slot")
        miss = self.line("D", f"Table {_quoted(table.name)}: miss")
        return [f"if (e) {hit[0]} else {miss[0]}"]

    def action_entry(self, action: ir.Action) -> list[str]:
        """The action of an entry or default, with its parameters in `d`."""
        if not self.on:
            return []
        out = [f"{{ {TEXT}"]
        at = 0
        for _, width in action.params:
            if is_wide(width):
                out.append(f"ss_trace_bytes(text_, &at_, d + {at}, {nbytes(width)});")
            else:
                high = f"(ss_u128)d[{at + 1}] << 64 | " if width > 64 else ""
                out.append(f"ss_trace_short(text_, &at_, {high}d[{at}]);")
            out.append('ss_trace_text(text_, &at_, ",");')
            at += param_words(width)
        said = c_string(f"Action entry is {_plain(action.name)} - ".replace("%", "%%") + "%s")
        return [*out, f"ctx->ops->trace(ctx, 'D', {said}, text_); }}"]

    def action(self, action: ir.Action) -> list[str]:
        return self.line("T", f"Action {_plain(action.name)}")

    def primitive(self, call: ir.Primitive) -> list[str]:
        return self.line("T", f"{_place(call.location)}Primitive {_plain(call.source or call.op)}")

    # A packet's life

    def received(self, port: str) -> list[str]:
        if not self.on:
            return []
        return [
            "ctx->packet++;",
            "ctx->copy = ctx->copies = 0;",
            *self.line("D", "Processing packet received on port {}", port),
        ]

    def copy_begin(self) -> list[str]:
        """A copy has a number of its own, until `copy_end`."""
        return ["uint32_t copy_ = ctx->copy; ctx->copy = ++ctx->copies;"] if self.on else []

    def copy_end(self) -> list[str]:
        return ["ctx->copy = copy_;"] if self.on else []

    def deparsing(self, headers: tuple[ir.Header, ...]) -> list[str]:
        if not self.on:
            return []
        out = self.line("D", "Deparser 'deparser': start")
        for header in headers:
            said = self.line("D", f"Deparsing header {_quoted(header.name)}")
            out.append(f"if ({valid_name(header)}) {said[0]}")
        return [*out, *self.line("D", "Deparser 'deparser': end")]


def _value(target: ir.FieldRef | ir.Valid) -> list[str]:
    """Appends a key field; a field of an invalid header counts as 0."""
    if isinstance(target, ir.Valid):
        return [f"ss_trace_hex(text_, &at_, {valid_name(target.header)}, 1);"]
    n, name = nbytes(target.field.width), field_name(target)
    if is_wide(target.field.width):
        return [f"ss_trace_bytes(text_, &at_, {name}, {n});"]
    value = name if target.header.is_metadata else f"{valid_name(target.header)} ? {name} : 0"
    return [f"ss_trace_hex(text_, &at_, {value}, {n});"]


def _quoted(name: str) -> str:
    return f"'{_plain(name)}'"


def _plain(text: str) -> str:
    """On one line, of printable characters, without what `line` would take for a value."""
    shown = "".join(char if char.isprintable() else " " for char in text[:200])
    return " ".join(shown.replace("{}", "{ }").split())


def _place(location: str) -> str:
    """`file:line` as BMv2 writes it."""
    name, colon, line = location.rpartition(":")
    return f"{_plain(name)}({line}) " if colon else ""

# SPDX-License-Identifier: Apache-2.0
"""The parser to one C function; states become labels."""

from __future__ import annotations

from softswitch.bmv2 import ir
from softswitch.bmv2.parsers import key_width
from softswitch.codegen import phv
from softswitch.codegen.actions import ActionWriter, no_params
from softswitch.codegen.expr import ExprWriter
from softswitch.codegen.naming import (
    field_name,
    header_bytes,
    is_wide,
    literal,
    nbytes,
    next_name,
    set_valid,
    valid_name,
)
from softswitch.codegen.trace import Trace
from softswitch.errors import UnsupportedConstruct

MAX_STEPS = 10000


def function(program: ir.Program, actions: ActionWriter, trace: Trace) -> list[str]:
    """`parse`: fills headers and validity, leaves payload and parser_error in p->k."""
    writer = ParserWriter(program, actions, trace)
    out = [
        "static void parse(struct ss_ctx *ctx, struct scratch *s, struct phv *p,",
        "                  const uint8_t *cur, uint32_t left)",
        "{",
        "    uint32_t steps = 0;",
        "    uint64_t vl_ = 0;",
        "    (void)vl_;",
        f"    p->k.parser_error = {program.errors['NoError']};",
        "    (void)ctx; (void)s; (void)steps;",
        *trace.parser_start(),
        f"    goto s{program.parser.init};",
    ]
    for i in writer.reachable():
        out += [f"s{i}:", *(f"    {line}" for line in writer.state(i))]
    out += [
        "done:",
        "    p->k.payload = cur;",
        "    p->k.payload_len = left;",
        *trace.parser_end(program.errors),
        "}",
    ]
    return out


class ParserWriter:
    def __init__(self, program: ir.Program, actions: ActionWriter, trace: Trace) -> None:
        self._program = program
        self._trace = trace
        self._actions = actions

        def lookahead(offset: int, width: int) -> str:
            return phv.bits_text("cur", offset, width)

        self._writer = ExprWriter(no_params, lookahead)

    def reachable(self) -> list[int]:
        states = self._program.parser.states
        seen, todo = [self._program.parser.init], [self._program.parser.init]
        while todo:
            for t in states[todo.pop()].transitions:
                if t.next_state is not None and t.next_state not in seen:
                    seen.append(t.next_state)
                    todo.append(t.next_state)
        return sorted(seen)

    def state(self, index: int) -> list[str]:
        state = self._program.parser.states[index]
        timeout = self._program.errors["ParserTimeout"]
        out = [f"if (++steps > {MAX_STEPS}) {{ p->k.parser_error = {timeout}; goto done; }}"]
        out += self._trace.state(state)
        for op in state.ops:
            out += self._trace.parser_op(op)
            out += self._op(op)
        return out + self._select(state)

    def _short(self, need: str) -> str:
        error = self._program.errors["PacketTooShort"]
        return f"if (left < {need}) {{ p->k.parser_error = {error}; goto done; }}"

    def _checks(self, *exprs: ir.Expr) -> list[str]:
        """A lookahead past the end of the packet is an error, before anything is evaluated."""
        need = 0
        stacks: dict[str, None] = {}
        todo = list(exprs)
        while todo:
            expr = todo.pop()
            if isinstance(expr, ir.Lookahead):
                need = max(need, (expr.offset + expr.width + 7) // 8)
            elif isinstance(expr, ir.StackLast):
                stacks[next_name(expr.stack)] = None
            elif isinstance(expr, ir.Op):
                todo += expr.args
        error = self._program.errors["StackOutOfBounds"]
        out = [f"if (!{name}) {{ p->k.parser_error = {error}; goto done; }}" for name in stacks]
        return [*out, *([self._short(str(need))] if need else [])]

    def _op(self, op: ir.ParserOp) -> list[str]:
        match op:
            case ir.Extract(header, length):
                return [*self._length(length), *self._extract(header, length)]
            case ir.ExtractNext(stack, length):
                error = self._program.errors["StackOutOfBounds"]
                full = f"{next_name(stack)} >= {len(stack.headers)}"
                out = [f"if ({full}) {{ p->k.parser_error = {error}; goto done; }}"]
                out += self._length(length)
                out.append(f"switch ({next_name(stack)}) {{")
                for i, header in enumerate(stack.headers):
                    lines = self._extract(header, length)
                    out += [f"case {i}: {{", *(f"    {line}" for line in lines), "    break; }"]
                return [*out, "}", f"{next_name(stack)}++;"]
            case ir.Set(target, value):
                return [*self._checks(value), phv.store(target, value, self._writer)]
            case ir.Verify(condition, error):
                number = self._writer.low(error, 64)
                return [
                    *self._checks(condition, error),
                    f"if (!{self._writer.boolean(condition)}) {{",
                    f"    p->k.parser_error = (uint32_t){number};",
                    "    goto done;",
                    "}",
                ]
            case ir.Advance(bits):
                invalid = self._program.errors["ParserInvalidArgument"]
                return [
                    *self._checks(bits),
                    f"{{ uint64_t n_ = {self._writer.low(bits, 64)};",
                    f"  if (n_ % 8) {{ p->k.parser_error = {invalid}; goto done; }}",
                    f"  {self._short('n_ / 8')}",
                    "  cur += n_ / 8; left -= (uint32_t)(n_ / 8); }",
                ]
            case ir.ParserPrimitive(call):
                if call.op in ("_jump", "_jump_if_zero", "exit"):
                    raise UnsupportedConstruct(f"{call.op} in a parser", call.location)
                return self._actions.primitive(call, None)

    def _length(self, length: ir.Expr | None) -> list[str]:
        """`vl_`: bytes of the varbit field that is extracted next."""
        if length is None:
            return []
        invalid = self._program.errors["ParserInvalidArgument"]
        return [
            *self._checks(length),
            f"vl_ = {self._writer.low(length, 64)};",
            f"if (vl_ % 8) {{ p->k.parser_error = {invalid}; goto done; }}",
            "vl_ /= 8;",
        ]

    def _extract(self, header: ir.Header, length: ir.Expr | None) -> list[str]:
        size = str(header.width // 8)
        out: list[str] = []
        if header.varbit is not None:
            name = field_name(ir.FieldRef(header, header.varbit))
            given = "0" if length is None else "vl_"
            if length is not None:
                most = header.fields[header.varbit].width // 8
                error = self._program.errors["HeaderTooShort"]
                out.append(self._short("vl_"))
                out.append(self._short(f"{size} + vl_"))
                out.append(f"if (vl_ > {most}) {{ p->k.parser_error = {error}; goto done; }}")
            out.append(f"{name}_n = (uint32_t){given};")
        return [
            self._short(size),
            *out,
            *phv.load_header(header, "cur"),
            set_valid(header),
            f"cur += {header_bytes(header)}; left -= {header_bytes(header)};",
        ]

    def _select(self, state: ir.ParseState) -> list[str]:
        out = self._trace.select(state)
        out += self._checks(*(part for part in state.key if not isinstance(part, ir.Valid)))
        for t in state.transitions:
            target = "done" if t.next_state is None else f"s{t.next_state}"
            tests = [] if t.value is None else self._tests(state, t.value, t.mask)
            if not tests:
                return [*out, f"goto {target};"]
            out.append(f"if ({' && '.join(tests)}) goto {target};")
        return [*out, "goto done;"]

    def _tests(self, state: ir.ParseState, value: int, mask: int) -> list[str]:
        """One comparison for each key element; the JSON pads each to whole bytes."""
        tests: list[str] = []
        shift = sum(8 * nbytes(key_width(part)) for part in state.key)
        for part in state.key:
            width = key_width(part)
            shift -= 8 * nbytes(width)
            full = (1 << (8 * nbytes(width))) - 1
            want, bits = value >> shift & full, mask >> shift & full
            if bits == 0:
                continue
            if want >> width:
                return ["0"]
            tests += self._test(part, width, want, bits & ((1 << width) - 1))
        return tests

    def _test(self, part: ir.KeyPart, width: int, want: int, mask: int) -> list[str]:
        if is_wide(width):
            return self._test_wide(part, width, want, mask)
        bits = 64 if width <= 64 else 128
        match part:
            case ir.FieldRef():
                text = field_name(part)
            case ir.Valid(header):
                text = valid_name(header)
            case ir.StackLast():
                text = self._writer.low(part, bits)
            case ir.Lookahead(offset, _):
                text = phv.bits_text("cur", offset, width)
        if mask != (1 << width) - 1:
            text = f"({text} & {literal(mask, bits)})"
        return [f"{text} == {literal(want, bits)}"]

    def _test_wide(self, part: ir.KeyPart, width: int, want: int, mask: int) -> list[str]:
        if isinstance(part, ir.StackLast):
            raise UnsupportedConstruct(f"select on a stack's field of {width} bits")
        tests: list[str] = []
        for i in range((width + 63) // 64):
            piece = mask >> (64 * i) & (2**64 - 1)
            if not piece:
                continue
            if isinstance(part, ir.Lookahead):
                take = min(64, width - 64 * i)
                text = phv.bits_text("cur", part.offset + width - 64 * i - take, take)
            else:
                assert isinstance(part, ir.FieldRef)
                text = f"ss_wide_word({field_name(part)}, {nbytes(width)}, {i})"
            want_piece = want >> (64 * i) & (2**64 - 1)
            tests.append(f"({text} & {literal(piece, 64)}) == {literal(want_piece, 64)}")
        return tests

# SPDX-License-Identifier: Apache-2.0
"""Actions to C functions: `static void a<index>(ctx, scratch, p, d)`, d = run-time parameters."""

from __future__ import annotations

from softswitch.bmv2 import ir
from softswitch.codegen import phv, stacks
from softswitch.codegen.expr import ExprWriter
from softswitch.codegen.naming import (
    c_string,
    field_name,
    header_bytes,
    is_wide,
    literal,
    nbytes,
    param_offset,
    set_valid,
    valid_name,
)
from softswitch.codegen.ranges import bounds
from softswitch.codegen.trace import Trace
from softswitch.errors import BadProgram, UnsupportedConstruct

JUMPS = ("_jump", "_jump_if_zero")
MAX_LOOPS = 1 << 16
"""How often an action may jump backwards for one packet: every packet has an end."""
SIGNATURE = "(struct ss_ctx *ctx, struct scratch *s, struct phv *p, const uint64_t *d)"


def _no_lookahead(offset: int, width: int) -> str:
    raise UnsupportedConstruct("lookahead outside a parser")


def no_params(index: int, width: int) -> str:
    raise BadProgram("an action parameter is used outside an action")


def writer_for(action: ir.Action | None, location: str) -> ExprWriter:
    """Expressions of an action (with its parameters), or of a place without any."""
    if action is None:
        return ExprWriter(no_params, _no_lookahead, location)

    def param(index: int, width: int) -> str:
        at = param_offset(action, index)
        if is_wide(width):
            return f"((const uint8_t *)(d + {at}))"
        if width > 64:
            return f"(((ss_u128)d[{at + 1}] << 64) | d[{at}])"
        return f"d[{at}]"

    return ExprWriter(param, _no_lookahead, location)


class ActionWriter:
    """Writes primitives; needs the program for sizes, intrinsic fields and calculations."""

    def __init__(self, program: ir.Program, trace: Trace) -> None:
        self._program = program
        self._trace = trace

    def function(self, action: ir.Action) -> list[str]:
        out = [f"SS_HELPER void a{action.index}{SIGNATURE}", "{"]
        out.append("    (void)ctx; (void)s; (void)p; (void)d;")
        out += self._trace.action(action)
        targets = {
            call.index for call in action.primitives if call.op in ("_jump", "_jump_if_zero")
        }
        if any(call.index <= i for i, call in enumerate(action.primitives) if call.op in JUMPS):
            out.append("    uint32_t loops_ = 0;")
        for i, call in enumerate(action.primitives):
            if i in targets:
                out.append(f"L{i}:;")
            if call.op in ("_jump", "_jump_if_zero") and call.index <= i:
                out.append(f"    if (++loops_ > {MAX_LOOPS}) {{ {_endless(action)} return; }}")
            out += self._trace.primitive(call)
            out += [f"    {line}" for line in self.primitive(call, action)]
        if len(action.primitives) in targets:
            out.append(f"L{len(action.primitives)}:;")
        return [*out, "}"]

    def primitive(self, call: ir.Primitive, action: ir.Action | None) -> list[str]:
        writer = writer_for(action, call.location)
        match call.op:
            case "assign" | "modify_field":
                assert call.target is not None
                if call.element is None:
                    return [phv.store(call.target, call.exprs[0], writer)]
                index, value = call.target.index, call.exprs[0]
                return stacks.at_element(
                    call.element,
                    writer,
                    lambda header: [phv.store(ir.FieldRef(header, index), value, writer)],
                )
            case "assign_header" | "copy_header" | "add_header" | "remove_header":
                return self._on_headers(call.op, call.headers, (), writer)
            case "assign_union":
                members = [h for h in call.headers if isinstance(h, ir.Header)]
                half = len(members) // 2
                pairs = zip(members[:half], members[half:], strict=True)
                return [line for pair in pairs for line in phv.copy_header(*pair)]
            case "assign_VL":
                assert call.target is not None
                assert isinstance(call.exprs[0], ir.FieldRef)
                return [phv.copy(call.target, call.exprs[0])]
            case "assign_header_stack" | "push" | "pop":
                return stacks.primitive(call)
            case "mark_to_drop":
                return self._drop()
            case "no_op":
                return []
            case "exit":
                return ["p->k.exit = 1;"]
            case "truncate":
                text = f"(uint32_t)ss_min64({writer.low(call.exprs[0], 64)}, UINT32_MAX)"
                return [f"{{ uint32_t n_ = {text}; if (n_ < p->k.truncate) p->k.truncate = n_; }}"]
            case "_jump":
                return [f"goto L{call.index};"]
            case "_jump_if_zero":
                return [f"if (!{writer.boolean(call.exprs[0])}) goto L{call.index};"]
            case "assert" | "assume":
                message = c_string(f"{call.op} failed at {call.location or 'unknown place'}")
                return [
                    f"if (!{writer.boolean(call.exprs[0])}) ctx->ops->log(ctx, {message});",
                ]
            case "log_msg":
                return _log(call, writer)
            case "clone_ingress_pkt_to_egress" | "clone_egress_pkt_to_egress":
                return [
                    "p->k.clone = 1;",
                    f"p->k.clone_session = {writer.low(call.exprs[0], 64)} & 0x7fff;",
                    f"p->k.clone_list = {call.index};",
                ]
            case "resubmit":
                return [f"p->k.resubmit_list = {call.index};"]
            case "generate_digest":
                return [f"p->k.digest = {call.index};"]
            case "recirculate":
                return [f"p->k.recirculate_list = {call.index};"]
            case _:
                return self._extern(call, writer)

    def _extern(self, call: ir.Primitive, writer: ExprWriter) -> list[str]:
        index = writer.low(call.exprs[0], 64) if call.exprs else "0"
        match call.op:
            case "count":
                size = self._program.counters[call.index].size
                cells = f"ctx->state->counters[{call.index}]"
                return [f"ss_count({cells}, {size}, {index}, p->k.ingress_len);"]
            case "execute_meter":
                meter = self._program.meters[call.index]
                units = "p->k.ingress_len" if meter.unit == "bytes" else "1"
                cell = f"&ctx->state->meters[{call.index}][i_]"
                run = f"ss_meter_run({cell}, ctx->now_ns, {units})"
                return self._indexed(index, meter.size, call, run)
            case "register_read":
                register = self._program.registers[call.index]
                return self._indexed(index, register.size, call, _register(register))
            case "register_write":
                register = self._program.registers[call.index]
                bits = 64 if register.width <= 64 else 128
                mask = literal((1 << register.width) - 1, bits)
                kind = "uint64_t" if bits == 64 else "ss_u128"
                words = bits // 64
                cell = f"ctx->state->registers[{call.index}] + i_ * {words}"
                return [
                    f"{{ uint64_t i_ = {index};",
                    f"  {kind} x_ = {writer.low(call.exprs[1], bits)} & {mask};",
                    f"  if (i_ < {register.size}) memcpy({cell}, &x_, {8 * words}); }}",
                ]
            case "modify_field_with_hash_based_offset":
                assert call.target is not None
                limit = writer.low(call.exprs[1], 64)
                value = f"({index} + c{call.index}(s, p) % (max_ ? max_ : 1))"
                return [f"{{ uint64_t max_ = {limit};", f"  {_set(call.target, value)} }}"]
            case "modify_field_rng_uniform":
                assert call.target is not None
                high = writer.low(call.exprs[1], 64)
                value = (
                    "(lo_ + (hi_ - lo_ + 1 ? ss_random(ctx) % (hi_ - lo_ + 1) : ss_random(ctx)))"
                )
                return [
                    f"{{ uint64_t lo_ = {index}, hi_ = {high};",
                    f"  if (lo_ <= hi_) {{ {_set(call.target, value)} }} }}",
                ]
            case _:
                raise UnsupportedConstruct(f"primitive {call.op}", call.location)

    def _indexed(self, index: str, size: int, call: ir.Primitive, value: str) -> list[str]:
        """A result of an extern cell; an index out of range changes nothing."""
        assert call.target is not None
        return [
            f"{{ uint64_t i_ = {index};",
            f"  if (i_ < {size}) {{ {_set(call.target, value)} }} }}",
        ]

    def _on_headers(
        self,
        op: str,
        todo: tuple[ir.Header | ir.Element, ...],
        done: tuple[ir.Header, ...],
        writer: ExprWriter,
    ) -> list[str]:
        """The operation on each of the headers that a run-time index may mean."""
        if todo:
            first = todo[0]
            if isinstance(first, ir.Header):
                return self._on_headers(op, todo[1:], (*done, first), writer)
            return stacks.at_element(
                first, writer, lambda h: self._on_headers(op, todo[1:], (*done, h), writer)
            )
        header = done[0]
        size = header_bytes(header)
        if op == "add_header":
            body = [*phv.zero(header), set_valid(header), f"p->k.length += {size};"]
            return [f"if (!{valid_name(header)}) {{", *_indent(body), "}"]
        if op == "remove_header":
            body = [f"{valid_name(header)} = 0;", f"p->k.length -= {size};"]
            return [f"if ({valid_name(header)}) {{", *_indent(body), "}"]
        return phv.copy_header(done[0], done[-1])

    def _drop(self) -> list[str]:
        spec = self._program.intrinsic["standard_metadata.egress_spec"]
        out = [_set(spec, "ctx->drop_port")]
        group = self._program.intrinsic.get("intrinsic_metadata.mcast_grp")
        return [*out, f"{field_name(group)} = 0;"] if group else out


def _indent(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _endless(action: ir.Action) -> str:
    text = f"action {action.name}: left after {MAX_LOOPS} rounds of its loops"
    return f"ctx->ops->log(ctx, {c_string(text)});"


def _register(register: ir.Register) -> str:
    cells = f"ctx->state->registers[{register.index}]"
    if register.width <= 64:
        return f"{cells}[i_]"
    return f"(((ss_u128){cells}[2 * i_ + 1] << 64) | {cells}[2 * i_])"


def _set(target: ir.FieldRef, text: str) -> str:
    """Stores a C value, truncated."""
    width = target.field.width
    if is_wide(width):
        name, n = field_name(target), nbytes(width)
        return f"ss_big_store({name}, {n}, {width}, ss_big_u({text}));"
    kind = "uint64_t" if width <= 64 else "ss_u128"
    mask = literal((1 << width) - 1, 64 if width <= 64 else 128)
    return f"{field_name(target)} = ({kind})({text}) & {mask};"


def _log(call: ir.Primitive, writer: ExprWriter) -> list[str]:
    pieces = call.text.split("{}")
    text, args = pieces[0].replace("%", "%%"), ""
    for i, piece in enumerate(pieces[1:]):
        if i >= len(call.exprs):
            text += "{}" + piece.replace("%", "%%")
            continue
        r = bounds(call.exprs[i])
        if r.low < 0:
            text += "%lld"
            args += f", (long long){writer.low(call.exprs[i], 64)}"
        elif r.high < 1 << 64:
            text += "%llu"
            args += f", (unsigned long long){writer.low(call.exprs[i], 64)}"
        else:
            text += "0x%llx%016llx"
            value = writer.low(call.exprs[i], 128)
            args += f", (unsigned long long)({value} >> 64), (unsigned long long){value}"
        text += piece.replace("%", "%%")
    return [
        "{ char text_[512];",
        f"  snprintf(text_, sizeof(text_), {c_string(text)}{args});",
        "  ctx->ops->log(ctx, text_); }",
    ]

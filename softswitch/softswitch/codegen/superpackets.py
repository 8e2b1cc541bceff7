# SPDX-License-Identifier: Apache-2.0
"""May segmentation-offload super-packets pass whole through a program?

A super-packet is up to 64 KB of one flow with one set of headers, its payload's checksum
unfinished. A program that only looks at addresses and sends it on cannot tell. One that counts,
compares a length, changes what the checksum covers, or changes the size of the packet can, and the
runtime cuts the packet before it. What cannot be shown to be harmless counts as harmful.
"""

from __future__ import annotations

from collections.abc import Iterator

from softswitch.bmv2 import ir

_HARMLESS = frozenset(
    ["assign", "modify_field", "mark_to_drop", "no_op", "exit", "_jump", "_jump_if_zero", "log_msg"]
)
_ORDER = frozenset(["<", "<=", ">", ">="])
_NARROW = 8
"""Fields up to this width (TTL, traffic class) may be compared and assigned: no length is so
narrow."""


def why_not(program: ir.Program) -> str | None:
    """The first reason why the runtime has to cut super-packets, or None."""
    if program.counters or program.meters or any(t.with_counters for t in program.tables):
        return "it counts or meters packets"
    if program.registers:
        return "it keeps state in registers"
    for calculation in program.calculations:
        if any(isinstance(part, ir.Payload) for part in calculation.inputs):
            return f"calculation {calculation.name} covers the payload"
    for action in program.actions:
        for call in action.primitives:
            reason = _primitive(program, call)
            if reason is not None:
                return f"action {action.name}: {reason}"
    for expression in _expressions(program):
        reason = _expression(program, expression)
        if reason is not None:
            return reason
    return None


def _primitive(program: ir.Program, call: ir.Primitive) -> str | None:
    if call.op not in _HARMLESS:
        return f"{call.op} may change the packet's size or state"
    if call.target is not None and not _assignable(program, call.target):
        return f"it assigns to {call.target.header.name}.{call.target.field.name}"
    return None


def _assignable(program: ir.Program, target: ir.FieldRef) -> bool:
    """Metadata, fields of the frame's first header, and narrow ones: no checksum covers these, or
    the program updates it itself."""
    header = target.header
    first = next(
        (
            op.header
            for op in program.parser.states[program.parser.init].ops
            if isinstance(op, ir.Extract)
        ),
        None,
    )
    return header.is_metadata or header is first or target.field.width <= _NARROW


def _expressions(program: ir.Program) -> Iterator[ir.Expr]:
    """Everything that is computed or matched."""
    for action in program.actions:
        for call in action.primitives:
            yield from call.exprs
    for pipeline in (program.ingress, program.egress):
        for conditional in pipeline.conditionals.values():
            yield conditional.condition
    for table in program.tables:
        for key in table.keys:
            yield key.target
    for state in program.parser.states:
        yield from (key for key in state.key)
        for op in state.ops:
            match op:
                case ir.Set(value=value):
                    yield value
                case ir.Verify(condition=condition):
                    yield condition
                case ir.Advance(bits=bits):
                    yield bits
                case ir.ParserPrimitive(primitive=primitive):
                    yield from primitive.exprs
                case _:
                    pass
    for checksum in program.checksums:
        yield checksum.condition


def _expression(program: ir.Program, expression: ir.Expr) -> str | None:
    match expression:
        case ir.FieldRef() as ref:
            if ref == program.intrinsic.get("standard_metadata.packet_length"):
                return "it reads standard_metadata.packet_length"
        case ir.Op(name=name, args=args):
            if name in _ORDER and any(
                isinstance(arg, ir.FieldRef) and arg.field.width > _NARROW for arg in args
            ):
                return "it compares a number that may be a length"
            for arg in args:
                reason = _expression(program, arg)
                if reason is not None:
                    return reason
        case _:
            pass
    return None

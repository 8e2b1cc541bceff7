# SPDX-License-Identifier: Apache-2.0
"""Operations on whole header stacks: push_front, pop_front, assignment."""

from __future__ import annotations

from collections.abc import Callable

from softswitch.bmv2 import ir
from softswitch.codegen import phv
from softswitch.codegen.expr import ExprWriter
from softswitch.codegen.naming import next_name, valid_name


def at_element(
    element: ir.Element, writer: ExprWriter, do: Callable[[ir.Header], list[str]]
) -> list[str]:
    """What `do` makes of the element that the index means; nothing if it is out of range."""
    out = [f"switch ({writer.low(element.index, 64)}) {{"]
    for i, header in enumerate(element.stack.headers):
        out += [f"case {i}: {{", *(f"    {line}" for line in do(header)), "    break; }"]
    return [*out, "default: break;", "}"]


def primitive(call: ir.Primitive) -> list[str]:
    """push and pop move elements, as P4_16 has it; what becomes free is invalid."""
    stack, size = call.stacks[0], len(call.stacks[0].headers)
    elements, n, filled = stack.headers, call.index, next_name(stack)
    match call.op:
        case "assign_header_stack":
            pairs = zip(elements, call.stacks[1].headers, strict=True)
            copies = [line for pair in pairs for line in phv.copy_header(*pair)]
            return [f"{filled} = {next_name(call.stacks[1])};", *copies]
        case "push":
            moves = [(elements[i], elements[i - n]) for i in range(size - 1, n - 1, -1)]
            fresh = elements[:n]
            count = f"{filled} = {filled} + {n} < {size} ? {filled} + {n} : {size};"
        case _:
            moves = [(elements[i], elements[i + n]) for i in range(size - n)]
            fresh = elements[size - n :]
            count = f"{filled} = {filled} > {n} ? {filled} - {n} : 0;"
    out = [count] if n else []
    for dst, src in moves if n else []:
        out += phv.copy_header(dst, src)
    return [*out, *(f"{valid_name(header)} = 0;" for header in fresh)]

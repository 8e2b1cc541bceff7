# SPDX-License-Identifier: Apache-2.0
"""How objects are called and stored in the generated C.

A field of up to 64 bits is the smallest unsigned integer that holds it, up to 128 bits an
`ss_u128`, and a wider one a byte string in network byte order, right-aligned. Signed fields hold
their two's complement. A varbit field is a byte string of its greatest length, and its length.
"""

from __future__ import annotations

from softswitch.bmv2 import ir


def c_string(text: str) -> str:
    """A C string literal of any text; everything but plain ASCII becomes octal escapes."""
    plain = set(b" !#$%&'()*+,-./:;<=>@[]^_`{|}~")
    out: list[str] = []
    for byte in text.encode("utf-8", "replace"):
        keep = byte in plain or (chr(byte).isalnum() and byte < 128)
        out.append(chr(byte) if keep else f"\\{byte:03o}")
    return '"' + "".join(out) + '"'


def storage_type(width: int) -> str:
    for bits in (8, 16, 32, 64):
        if width <= bits:
            return f"uint{bits}_t"
    return "ss_u128"


def is_wide(width: int) -> bool:
    return width > 128


def nbytes(width: int) -> int:
    return (width + 7) // 8


def field_name(ref: ir.FieldRef, phv: str = "p") -> str:
    part = "m" if ref.header.is_metadata else "h"
    return f"{phv}->{part}.h{ref.header.index}_{ref.index}"


def valid_name(header: ir.Header, phv: str = "p") -> str:
    return f"{phv}->v.h{header.index}"


def varbit_bytes(ref: ir.FieldRef, phv: str = "p") -> str:
    """Where the present length of a varbit field is kept."""
    return f"{field_name(ref, phv)}_n"


def header_bytes(header: ir.Header, phv: str = "p") -> str:
    """How long a header is, as C text."""
    if header.varbit is None:
        return str(header.width // 8)
    return f"({header.width // 8} + {varbit_bytes(ir.FieldRef(header, header.varbit), phv)})"


def next_name(stack: ir.Stack) -> str:
    """How many elements of a stack count as filled."""
    return f"p->v.n{stack.index}"


def set_valid(header: ir.Header) -> str:
    """Statements that make a header valid, and the other members of its union invalid."""
    others = "".join(f" p->v.h{index} = 0;" for index in header.siblings)
    return f"{valid_name(header)} = 1;{others}"


def literal(value: int, bits: int) -> str:
    """An unsigned constant of 64 or 128 bits."""
    value &= (1 << bits) - 1
    if bits == 64 or value < 1 << 64:
        return f"UINT64_C(0x{value:x})"
    return f"(((ss_u128)UINT64_C(0x{value >> 64:x}) << 64) | UINT64_C(0x{value & (2**64 - 1):x}))"


def mask_literal(width: int) -> str:
    return literal((1 << width) - 1, 64 if width <= 64 else 128)


def param_words(width: int) -> int:
    """Words of 64 bits that an action parameter takes; wide ones are byte strings, padded."""
    return 1 if width <= 64 else 2 if width <= 128 else (nbytes(width) + 7) // 8


def param_offset(action: ir.Action, index: int) -> int:
    return sum(param_words(width) for _, width in action.params[:index])


def data_words(action: ir.Action) -> int:
    return param_offset(action, len(action.params))

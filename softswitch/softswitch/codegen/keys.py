# SPDX-License-Identifier: Apache-2.0
"""How keys are packed into 64-bit words: for generated code and for the runtime's writes alike.

Fields follow each other in table key order, least significant bits first, without padding.
"""

from __future__ import annotations

from softswitch.bmv2 import ir
from softswitch.codegen.naming import field_name, is_wide, literal, nbytes, valid_name


def key_bits(table: ir.Table) -> int:
    return sum(key.width for key in table.keys)


def key_words(table: ir.Table) -> int:
    return (key_bits(table) + 63) // 64


def key_offsets(table: ir.Table) -> list[int]:
    offsets: list[int] = []
    at = 0
    for key in table.keys:
        offsets.append(at)
        at += key.width
    return offsets


def pack(values: tuple[int, ...], widths: tuple[int, ...]) -> int:
    """The packed key as one integer; word i is bits [64i, 64i + 64)."""
    packed = at = 0
    for value, width in zip(values, widths, strict=True):
        packed |= value << at
        at += width
    return packed


def unpack(packed: int, widths: tuple[int, ...]) -> tuple[int, ...]:
    values: list[int] = []
    for width in widths:
        values.append(packed & ((1 << width) - 1))
        packed >>= width
    return tuple(values)


def build(table: ir.Table, name: str) -> list[str]:
    """Statements that fill `uint64_t name[words]` from the header vector."""
    terms: list[list[str]] = [[] for _ in range(key_words(table))]
    setup: list[str] = []
    for i, (key, offset) in enumerate(zip(table.keys, key_offsets(table), strict=True)):
        for piece, (text, width) in enumerate(_pieces(key)):
            at = offset + 64 * piece
            if at % 64 + width > 64 and not text.isidentifier():
                setup.append(f"uint64_t k{i}_{piece} = {text};")
                text = f"k{i}_{piece}"
            word, shift = divmod(at, 64)
            terms[word].append(f"({text} << {shift})" if shift else text)
            if shift + width > 64:
                terms[word + 1].append(f"({text} >> {64 - shift})")
    words = [f"{name}[{i}] = {' | '.join(parts)};" for i, parts in enumerate(terms)]
    return [*setup, f"uint64_t {name}[{len(terms)}];", *words]


def _pieces(key: ir.TableKey) -> list[tuple[str, int]]:
    """(C text, bits) for each 64 bits of a key field, least significant first.

    A field of an invalid header counts as 0."""
    out: list[tuple[str, int]] = []
    for i in range((key.width + 63) // 64):
        width = min(64, key.width - 64 * i)
        mask = key.mask >> (64 * i) & ((1 << width) - 1)
        if isinstance(key.target, ir.Valid):
            text = f"(uint64_t){valid_name(key.target.header)}"
        else:
            text = _word(key.target, i)
            if not key.target.header.is_metadata:
                text = f"({valid_name(key.target.header)} ? {text} : 0)"
        if mask != (1 << width) - 1:
            text = f"({text} & {literal(mask, 64)})"
        out.append((text, width))
    return out


def _word(ref: ir.FieldRef, i: int) -> str:
    name = field_name(ref)
    if is_wide(ref.field.width):
        return f"ss_wide_word({name}, {nbytes(ref.field.width)}, {i})"
    return f"(uint64_t)({name} >> {64 * i})" if i else f"(uint64_t){name}"

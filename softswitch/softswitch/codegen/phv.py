# SPDX-License-Identifier: Apache-2.0
"""The packet header vector: its C struct, stores, and the way between fields and packet bytes."""

from __future__ import annotations

from softswitch.bmv2 import ir
from softswitch.codegen import big
from softswitch.codegen.expr import ExprWriter
from softswitch.codegen.naming import (
    field_name,
    is_wide,
    literal,
    mask_literal,
    nbytes,
    set_valid,
    storage_type,
    valid_name,
)
from softswitch.codegen.ranges import bounds, unsigned


def declare(program: ir.Program) -> list[str]:
    """struct phv: metadata (cleared for each packet), header fields (not cleared), validity."""
    out = ["struct meta {"]
    out += _members([h for h in program.headers if h.is_metadata])
    out += ["};", "struct headers {"]
    out += _members([h for h in program.headers if not h.is_metadata])
    out += ["};", "struct validity {", "    uint8_t unused;"]
    out += [f"    uint8_t h{h.index};" for h in program.headers]
    out += [f"    uint16_t n{s.index};" for s in program.stacks]
    out += [
        "};",
        "/* What is known of the packet besides its fields; lists and session are requests. */",
        "struct packet {",
        "    const uint8_t *payload;",
        "    uint32_t payload_len, ingress_len, length, truncate;",
        "    uint32_t parser_error, checksum_error, exit;",
        "    uint32_t digest, clone, clone_session, clone_list, resubmit_list, recirculate_list;",
        "};",
        "struct phv {",
        "    struct meta m;",
        "    struct headers h;",
        "    struct validity v;",
        "    struct packet k;",
        "};",
    ]
    return out


def _members(headers: list[ir.Header]) -> list[str]:
    out = ["    uint8_t unused;"]
    for header in headers:
        for i, item in enumerate(header.fields):
            name = f"h{header.index}_{i}"
            if item.varbit:
                out.append(f"    uint32_t {name}_n;")
                out.append(f"    uint8_t {name}[{item.width // 8}];")
            elif is_wide(item.width):
                out.append(f"    uint8_t {name}[{nbytes(item.width)}];")
            else:
                out.append(f"    {storage_type(item.width)} {name};")
    return out


def store(target: ir.FieldRef, value: ir.Expr, writer: ExprWriter) -> str:
    """One C statement that truncates the value to the field, as BMv2 does on assignment."""
    width, name = target.field.width, field_name(target)
    if is_wide(width):
        same = writer.wide(value, width)
        if same is None:
            return big.store(writer, target, value)
        return f"memmove({name}, {same}, {nbytes(width)});"
    bits = 64 if width <= 64 else 128
    text = writer.low(value, bits)
    if width != bits and not bounds(value).fits(*unsigned(width)):
        text = f"{text} & {mask_literal(width)}"
    return f"{name} = ({storage_type(width)})({text});"


def zero(header: ir.Header) -> list[str]:
    out: list[str] = []
    for i, item in enumerate(header.fields):
        name = field_name(ir.FieldRef(header, i))
        if item.varbit:
            out.append(f"{name}_n = 0;")
        elif is_wide(item.width):
            out.append(f"memset({name}, 0, {nbytes(item.width)});")
        else:
            out.append(f"{name} = 0;")
    return out


def copy(dst: ir.FieldRef, src: ir.FieldRef, to: str = "p", frm: str = "p") -> str:
    """Between fields of the same width, perhaps of two header vectors."""
    a, b = field_name(dst, to), field_name(src, frm)
    if dst.field.varbit:
        fits = f"(uint32_t)ss_min64({b}_n, {dst.field.width // 8})"
        return f"{a}_n = {fits}; memmove({a}, {b}, {a}_n);"
    if is_wide(dst.field.width):
        return f"memmove({a}, {b}, {nbytes(dst.field.width)});"
    return f"{a} = {b};"


def copy_header(dst: ir.Header, src: ir.Header) -> list[str]:
    """Fields and validity; of an invalid header its validity only."""
    fields = [copy(ir.FieldRef(dst, i), ir.FieldRef(src, i)) for i in range(len(dst.fields))]
    return [
        f"if ({valid_name(src)}) {{",
        f"    {set_valid(dst)}",
        *(f"    {line}" for line in fields),
        f"}} else {valid_name(dst)} = 0;",
    ]


def bits_text(at: str, offset: int, width: int) -> str:
    """Bits of a byte string as an integer of 64 or 128 bits; `offset` from the byte at `at`."""
    if width > 64:
        high = bits_text(at, offset, width - 64)
        low = bits_text(at, offset + width - 64, 64)
        return f"(((ss_u128){high} << 64) | {low})"
    first, last = offset // 8, (offset + width - 1) // 8
    count, spare = last - first + 1, (last + 1) * 8 - (offset + width)
    if count > 8:
        text = f"(uint64_t)(ss_load_wide({at} + {first}, {count}) >> {spare})"
    else:
        text = f"ss_load({at} + {first}, {count})"
        if spare:
            text = f"({text} >> {spare})"
    if count * 8 - spare == width:
        return f"({text})"
    return f"({text} & {literal((1 << width) - 1, 64)})"


def load_header(header: ir.Header, at: str) -> list[str]:
    """Statements that set all fields from the packet."""
    out: list[str] = []
    for i, item in enumerate(header.fields):
        name = field_name(ir.FieldRef(header, i))
        if item.varbit:  # its length has been set
            out.append(f"memcpy({name}, {at} + {item.offset // 8}, {name}_n);")
            at = f"({at} + {name}_n)"
        elif not is_wide(item.width):
            out.append(
                f"{name} = ({storage_type(item.width)}){bits_text(at, item.offset, item.width)};"
            )
        elif item.offset % 8 == 0 and item.width % 8 == 0:
            out.append(f"memcpy({name}, {at} + {item.offset // 8}, {item.width // 8});")
        else:
            n = nbytes(item.width)
            out.append(f"ss_wide_from_bits({name}, {n}, {at}, {item.offset}, {item.width});")
    return out


def emit_header(header: ir.Header, at: str) -> list[str]:
    """Statements that write the header's bytes at `at`."""
    out: list[str] = []
    group: list[int] = []
    for i, item in enumerate(header.fields):
        if item.varbit:
            name = field_name(ir.FieldRef(header, i))
            out.append(f"memcpy({at} + {item.offset // 8}, {name}, {name}_n);")
            at = f"({at} + {name}_n)"
            continue
        group.append(i)
        if (item.offset + item.width) % 8 == 0:
            out += _emit_group(header, group, at)
            group = []
    return out


def _emit_group(header: ir.Header, group: list[int], at: str) -> list[str]:
    """Fields that together fill whole bytes."""
    fields = [header.fields[i] for i in group]
    first = fields[0].offset
    total = sum(f.width for f in fields)
    names = [field_name(ir.FieldRef(header, i)) for i in group]
    if len(fields) == 1 and is_wide(total):
        return [f"memcpy({at} + {first // 8}, {names[0]}, {total // 8});"]
    if len(fields) == 1 and total > 64:
        high = total // 8 - 8
        return [
            f"ss_store({at} + {first // 8}, {high}, (uint64_t)({names[0]} >> 64));",
            f"ss_store({at} + {first // 8 + high}, 8, (uint64_t){names[0]});",
        ]
    if total <= 64:
        parts = [
            f"((uint64_t){name} << {first + total - f.offset - f.width})"
            for name, f in zip(names, fields, strict=True)
        ]
        return [f"ss_store({at} + {first // 8}, {total // 8}, {' | '.join(parts)});"]
    out: list[str] = []
    for name, f in zip(names, fields, strict=True):
        if is_wide(f.width):
            out.append(f"ss_wide_to_bits({at}, {f.offset}, {name}, {nbytes(f.width)}, {f.width});")
        elif f.width > 64:
            high = f.width - 64
            out.append(f"ss_put_bits({at}, {f.offset}, {high}, (uint64_t)({name} >> 64));")
            out.append(f"ss_put_bits({at}, {f.offset + high}, 64, (uint64_t){name});")
        else:
            out.append(f"ss_put_bits({at}, {f.offset}, {f.width}, {name});")
    return out

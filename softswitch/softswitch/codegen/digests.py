# SPDX-License-Identifier: Apache-2.0
"""Digests: what generate_digest asked for goes to the control plane when ingress has ended.

Fields follow each other, each padded to whole bytes, most significant byte first.
"""

from __future__ import annotations

from softswitch.bmv2 import ir
from softswitch.codegen.naming import field_name, is_wide, nbytes


def functions(program: ir.Program) -> list[str]:
    """`report(ctx, p)`: writes the digest that p->k.digest names, if any."""
    out = [
        "static void report(struct ss_ctx *ctx, const struct phv *p)",
        "{",
        "    uint8_t *at;",
        "    (void)ctx; (void)at;",
        "    switch (p->k.digest) {",
    ]
    for digest in program.digests:
        size = sum(nbytes(ref.field.width) for ref in digest.fields)
        out.append(f"    case {digest.index + 1}:")
        out.append(f"        at = ctx->ops->digest(ctx, {digest.index}, {size});")
        out += ["        if (!at)", "            return;"]
        offset = 0
        for ref in digest.fields:
            out.append(f"        {_write(ref, offset)}")
            offset += nbytes(ref.field.width)
        out += [f"        ctx->ops->digest_commit(ctx, {size});", "        return;"]
    return [*out, "    default:", "        return;", "    }", "}"]


def _write(ref: ir.FieldRef, offset: int) -> str:
    n, name = nbytes(ref.field.width), field_name(ref)
    if is_wide(ref.field.width):
        return f"memcpy(at + {offset}, {name}, {n});"
    if n > 8:
        return (
            f"ss_store(at + {offset}, {n - 8}, (uint64_t)({name} >> 64));"
            f" ss_store(at + {offset + n - 8}, 8, (uint64_t){name});"
        )
    return f"ss_store(at + {offset}, {n}, {name});"


def decode(digest: ir.DigestList, data: bytes) -> tuple[int, ...]:
    """The values of the fields."""
    values: list[int] = []
    at = 0
    for ref in digest.fields:
        n = nbytes(ref.field.width)
        values.append(int.from_bytes(data[at : at + n], "big"))
        at += n
    return tuple(values)

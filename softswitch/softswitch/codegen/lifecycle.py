# SPDX-License-Identifier: Apache-2.0
"""A packet's life as in simple_switch: parse, ingress, clone, resubmit, replicate, egress, deparse.

Everything runs to completion in one call of `process`. Packets that come back (resubmitted,
recirculated) wait in a bounded queue; copies (clones, replicas) run at once, on their own header
vector.
"""

from __future__ import annotations

from softswitch.bmv2 import ir
from softswitch.codegen import digests, phv
from softswitch.codegen.naming import field_name, header_bytes, literal, valid_name
from softswitch.codegen.trace import Trace

QUEUE = 16
MAX_PASSES = 64
MAX_COPIES = 16

TYPES = f"""
#define QUEUE {QUEUE}
#define MAX_PASSES {MAX_PASSES}
#define MAX_COPIES {MAX_COPIES}

struct item {{
    struct meta m;
    uint32_t len, passes;
    uint8_t bytes[SS_MAX_FRAME];
}};

struct scratch {{
    struct phv phv, copies[2 * MAX_COPIES];
    uint32_t head, count, depth, passes;
    struct item queue[QUEUE];
    uint8_t frame[SS_MAX_FRAME];
    uint8_t hash[HASH_BYTES + SS_MAX_FRAME];
}};
"""

COMMON = """
static void egress(struct ss_ctx *ctx, struct scratch *s, struct phv *p, uint32_t port);

static struct item *push(struct ss_ctx *ctx, struct scratch *s, uint32_t len)
{
    struct item *item = &s->queue[(s->head + s->count) % QUEUE];
    if (s->count == QUEUE || s->passes >= MAX_PASSES || len > SS_MAX_FRAME) {
        ctx->ops->pass_limit(ctx);
        return NULL;
    }
    s->count++;
    item->len = len;
    item->passes = s->passes + 1;
    memset(&item->m, 0, sizeof(item->m));
    return item;
}

static void begin(struct phv *p, uint32_t len, uint32_t length)
{
    memset(&p->v, 0, sizeof(p->v));
    memset(&p->k, 0, sizeof(p->k));
    p->k.ingress_len = len;
    p->k.length = length;
    p->k.truncate = UINT32_MAX;
}

static void replicate(struct ss_ctx *ctx, struct scratch *s, const struct phv *p,
                      const struct ss_replicas *group)
{
    if (!group)
        return;
    if (s->depth + 1 >= 2 * MAX_COPIES) {
        ctx->ops->pass_limit(ctx);
        return;
    }
    struct phv *copy = &s->copies[s->depth++];
    for (uint32_t i = 0; i < group->n; i++) {
        *copy = *p;
        if (group->truncate && group->truncate < copy->k.truncate)
            copy->k.truncate = group->truncate;
        SET_RID
        TRACE_BEGIN
        egress(ctx, s, copy, group->r[i].port);
        TRACE_END
    }
    s->depth--;
}
"""


class LifecycleWriter:
    def __init__(self, program: ir.Program, trace: Trace) -> None:
        self._program = program
        self._trace = trace

    def text(self) -> list[str]:
        return [
            *self._common(),
            *self._field_lists(),
            *digests.functions(self._program),
            *self._deparser(),
            *self._egress(),
            *self._ingress(),
            *self._process(),
        ]

    def _ref(self, name: str) -> ir.FieldRef | None:
        return self._program.intrinsic.get(name)

    def _set(self, name: str, value: str, phv_name: str = "p") -> list[str]:
        """Stores target metadata if the program has such a field."""
        ref = self._ref(name)
        if ref is None:
            return []
        width = ref.field.width
        mask = "" if width > 64 else f" & {literal((1 << width) - 1, 64)}"
        return [f"    {field_name(ref, phv_name)} = (uint64_t)({value}){mask};"]

    def _get(self, name: str) -> str:
        ref = self._ref(name)
        return "0" if ref is None else f"(uint32_t){field_name(ref)}"

    def _common(self) -> list[str]:
        rid = self._set("intrinsic_metadata.egress_rid", "group->r[i].rid", "copy")
        says = self._trace.line("D", "Replicating packet on port {}", "group->r[i].port")
        return (
            COMMON.replace("SET_RID", rid[0].strip() if rid else "")
            .replace("TRACE_BEGIN", "\n".join([*says, *self._trace.copy_begin()]))
            .replace("TRACE_END", "\n".join(self._trace.copy_end()))
            .splitlines()
        )

    def _field_lists(self) -> list[str]:
        """Copies of preserved fields, between header vectors and into a waiting packet."""
        out: list[str] = []
        for target, kind in (("phv", "struct phv *to"), ("item", "struct item *to")):
            out += [
                f"static void keep_{target}({kind}, const struct phv *p, uint32_t list)",
                "{",
                "    (void)to; (void)p;",
                "    switch (list) {",
            ]
            for number, fields in self._program.field_lists.items():
                out.append(f"    case {number}:")
                for ref in fields:
                    if target == "phv" or ref.header.is_metadata:
                        out.append(f"        {phv.copy(ref, ref, 'to')}")
                out.append("        break;")
            out += ["    default: break;", "    }", "}"]
        return out

    def _deparser(self) -> list[str]:
        out = ["static uint32_t headers_len(const struct phv *p)", "{", "    uint32_t n = 0;"]
        out.append("    (void)p;")
        for header in self._program.deparse_order:
            out.append(f"    n += {valid_name(header)} ? {header_bytes(header)} : 0;")
        out += ["    return n;", "}"]
        out += ["static void emit(const struct phv *p, uint8_t *at)", "{", "    (void)p; (void)at;"]
        for header in self._program.deparse_order:
            out.append(f"    if ({valid_name(header)}) {{")
            out += [f"        {line}" for line in phv.emit_header(header, "at")]
            out += [f"        at += {header_bytes(header)};", "    }"]
        return [
            *out,
            "}",
            "/* Writes the first `len` bytes of the packet. */",
            "static void deparse(struct scratch *s, const struct phv *p, uint32_t head,",
            "                    uint8_t *out, uint32_t len)",
            "{",
            "    if (len < head) {",
            "        emit(p, s->frame);",
            "        memcpy(out, s->frame, len);",
            "        return;",
            "    }",
            "    emit(p, out);",
            "    if (out + head != p->k.payload) /* a super-packet's stays where it is */",
            "        memcpy(out + head, p->k.payload, len - head);",
            "}",
        ]

    def _egress(self) -> list[str]:
        micros = "(ctx->now_ns - ctx->start_ns) / 1000"
        return [
            "static void egress(struct ss_ctx *ctx, struct scratch *s, struct phv *p,",
            "                   uint32_t port)",
            "{",
            *self._set("intrinsic_metadata.egress_global_timestamp", micros),
            *self._set("queueing_metadata.enq_timestamp", micros),
            *self._set("queueing_metadata.enq_qdepth", "0"),
            *self._set("queueing_metadata.deq_timedelta", "0"),
            *self._set("queueing_metadata.deq_qdepth", "0"),
            *self._set("standard_metadata.egress_port", "port"),
            *self._set("standard_metadata.egress_spec", "ctx->drop_port + 1"),
            *self._set("standard_metadata.packet_length", "p->k.length"),
            "    egress_pipeline(ctx, s, p);",
            "    if (p->k.clone) {",
            "        const struct ss_replicas *session =",
            "            ctx->state->clone_sessions[p->k.clone_session];",
            "        p->k.clone = 0;",
            *self._trace.line("D", "Cloning packet at egress"),
            "        if (session && s->depth + 2 < 2 * MAX_COPIES) {",
            "            struct phv *copy = &s->copies[s->depth++];",
            "            *copy = *p;",
            "            memset(&copy->m, 0, sizeof(copy->m));",
            "            keep_phv(copy, p, p->k.clone_list);",
            *self._set("standard_metadata.instance_type", "2", "copy"),
            "            copy->k.recirculate_list = copy->k.resubmit_list = 0;",
            "            replicate(ctx, s, copy, session);",
            "            s->depth--;",
            "        } else if (session) {",
            "            ctx->ops->pass_limit(ctx);",
            "        }",
            "    }",
            f"    if ({self._get('standard_metadata.egress_spec')} == ctx->drop_port) {{",
            *self._trace.line("D", "Dropping packet at the end of egress"),
            "        return;",
            "    }",
            "    update(s, p);",
            *self._trace.deparsing(self._program.deparse_order),
            "    uint32_t head = headers_len(p);",
            "    uint32_t len = (uint32_t)ss_min64(head + p->k.payload_len, p->k.truncate);",
            "    if (p->k.recirculate_list) {",
            *self._trace.line("D", "Recirculating packet"),
            "        struct item *item = push(ctx, s, len);",
            "        if (!item)",
            "            return;",
            "        deparse(s, p, head, item->bytes, len);",
            "        keep_item(item, p, p->k.recirculate_list);",
            *self._set("standard_metadata.instance_type", "4", "item"),
            *self._set("standard_metadata.packet_length", "len", "item"),
            "        return;",
            "    }",
            *self._trace.line("D", "Transmitting packet of size {} out of port {}", "len", "port"),
            "    uint8_t *out = ctx->ops->reserve(ctx, port, len);",
            "    if (out) {",
            "        deparse(s, p, head, out, len);",
            "        ctx->ops->commit(ctx);",
            "    }",
            "}",
        ]

    def _ingress(self) -> list[str]:
        return [
            "static void clone_ingress(struct ss_ctx *ctx, struct scratch *s, const struct phv *p,",
            "                          const uint8_t *frame, uint32_t len, uint32_t port)",
            "{",
            "    const struct ss_replicas *session =",
            "        ctx->state->clone_sessions[p->k.clone_session];",
            "    struct phv *copy;",
            "    (void)port;",
            "    if (!session)",
            "        return;",
            "    copy = &s->copies[s->depth++];",
            "    memset(&copy->m, 0, sizeof(copy->m));",
            "    begin(copy, p->k.ingress_len, len);",
            *self._set("standard_metadata.ingress_port", "port", "copy"),
            "    parse(ctx, s, copy, frame, len);",
            "    memset(&copy->m, 0, sizeof(copy->m));",
            "    keep_phv(copy, p, p->k.clone_list);",
            *self._set("standard_metadata.instance_type", "1", "copy"),
            "    replicate(ctx, s, copy, session);",
            "    s->depth--;",
            "}",
            "static void ingress(struct ss_ctx *ctx, struct scratch *s, struct phv *p,",
            "                    const uint8_t *frame, uint32_t len)",
            "{",
            f"    uint32_t port = {self._get('standard_metadata.ingress_port')};",
            "    begin(p, len, len);",
            "    parse(ctx, s, p, frame, len);",
            "    verify(s, p);",
            *self._set("standard_metadata.parser_error", "p->k.parser_error"),
            *self._set("standard_metadata.checksum_error", "p->k.checksum_error"),
            "    ingress_pipeline(ctx, s, p);",
            "    if (p->k.clone) {",
            "        p->k.clone = 0;",
            *self._trace.line("D", "Cloning packet at ingress"),
            "        clone_ingress(ctx, s, p, frame, len, port);",
            "    }",
            "    report(ctx, p);",
            "    if (p->k.resubmit_list) {",
            *self._trace.line("D", "Resubmitting packet"),
            "        struct item *item = push(ctx, s, len);",
            "        if (!item)",
            "            return;",
            "        memcpy(item->bytes, frame, len);",
            "        keep_item(item, p, p->k.resubmit_list);",
            *self._set("standard_metadata.instance_type", "6", "item"),
            *self._set("standard_metadata.packet_length", "len", "item"),
            "        return;",
            "    }",
            f"    uint32_t group = {self._get('intrinsic_metadata.mcast_grp')};",
            "    if (group) {",
            *self._trace.line("D", "Multicast requested for packet"),
            *self._set("standard_metadata.instance_type", "5"),
            "        if (group < SS_MC_GROUPS)",
            "            replicate(ctx, s, p, ctx->state->mc_groups[group]);",
            "        return;",
            "    }",
            f"    uint32_t spec = {self._get('standard_metadata.egress_spec')};",
            *self._trace.line("D", "Egress port is {}", "spec"),
            "    if (spec == ctx->drop_port) {",
            *self._trace.line("D", "Dropping packet at the end of ingress"),
            "        return;",
            "    }",
            *self._set("standard_metadata.instance_type", "0"),
            "    egress(ctx, s, p, spec);",
            "}",
        ]

    def _process(self) -> list[str]:
        micros = "(ctx->now_ns - ctx->start_ns) / 1000"
        return [
            "static void process(struct ss_ctx *ctx, const uint8_t *frame, uint32_t len,",
            "                    uint32_t port)",
            "{",
            "    struct scratch *s = ctx->state->scratch;",
            "    struct phv *p = &s->phv;",
            *self._trace.received("port"),
            "    s->head = s->count = s->depth = s->passes = 0;",
            "    memset(&p->m, 0, sizeof(p->m));",
            *self._set("standard_metadata.ingress_port", "port"),
            *self._set("standard_metadata.packet_length", "len"),
            *self._set("intrinsic_metadata.ingress_global_timestamp", micros),
            "    ingress(ctx, s, p, frame, len);",
            "    while (s->count) {",
            "        struct item *item = &s->queue[s->head];",
            "        p->m = item->m;",
            "        s->passes = item->passes;",
            "        ingress(ctx, s, p, item->bytes, item->len);",
            "        s->head = (s->head + 1) % QUEUE;",
            "        s->count--;",
            "    }",
            "}",
        ]

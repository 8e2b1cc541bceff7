/* SPDX-License-Identifier: Apache-2.0
 * What generated programs and the runtime share: state in memory and the calls between them.
 *
 * A program is a shared object that exports `ss_program`. It has no state of its own: everything
 * lives in struct ss_state, which the runtime allocates from the program's description. */
#ifndef SS_H
#define SS_H

#include "ss_bits.h"

#include <stdbool.h>
#include <stddef.h>

#define SS_ABI 3
#define SS_NONE UINT32_MAX
#define SS_MAX_FRAME 65600
/* Below this many entries, ternary tables are searched in priority order, without hashing. */
#define SS_LINEAR_MAX 32

enum ss_match { SS_EXACT, SS_LPM, SS_TERNARY, SS_RANGE };

struct ss_range_desc {
    uint32_t offset, width; /* bits in the packed key; width 1..64 */
};

struct ss_table_desc {
    enum ss_match match;
    uint32_t max_size;
    uint32_t key_words;  /* the packed key, 64 bits a word; 0: keyless */
    uint32_t data_words; /* the longest list of action parameters */
    uint32_t n_ranges;
    const struct ss_range_desc *ranges;
    bool counters, timeout, meter, meter_bytes;
};

struct ss_meter_desc {
    uint32_t size;
    bool bytes;
};

struct ss_register_desc {
    uint32_t size, words; /* 1 or 2 words of 64 bits a cell, least significant first */
};

struct ss_counter {
    uint64_t packets, bytes;
};

/* A two-rate three-colour meter (RFC 2698, colour-blind). Rates per second; remainders in 1e-9. */
struct ss_meter {
    uint64_t cir, cburst, pir, pburst;
    uint64_t last_ns, ctokens, ptokens, crest, prest;
    bool configured;
};

/* Words: key value, then (not exact) mask, then (range) upper bounds, then the parameters. */
struct ss_entry {
    uint64_t packets, bytes;
    uint64_t last_hit_ns;
    uint32_t action;
    uint32_t next; /* slot + 1 of the next entry with the same masked key */
    int32_t rank;  /* higher wins: priority, or prefix length */
    uint32_t slot;
    uint64_t words[];
};

struct ss_cell {
    uint32_t tag, slot1;
};

struct ss_index {
    uint64_t mask;
    uint32_t used;
    struct ss_cell *cells;
};

struct ss_group {
    int32_t best_rank;
    uint32_t count;
    struct ss_index index;
    uint64_t mask[];
};

struct ss_cold {
    uint64_t timeout_ns, notified_ns, controller_metadata;
    uint8_t *metadata;
    uint32_t metadata_len;
    int32_t priority;
    bool is_const, used;
};

struct ss_table {
    const struct ss_table_desc *desc;
    char *entries;
    size_t stride, entries_len, cold_len, linear_len;
    struct ss_cold *cold;
    struct ss_meter *meters;
    struct ss_index index;    /* exact */
    uint64_t *linear;         /* ternary, range: mask, value, entry; best first */
    uint32_t n_linear;        /* rows in `linear`, or SS_NONE when it is not kept */
    struct ss_group **groups; /* lpm, ternary: best rank first */
    uint32_t n_groups, cap_groups;
    uint32_t count, free_hint, top; /* no slot at or above `top` was ever used */
    uint64_t *used;
    uint64_t seed;
    uint32_t default_action;
    uint64_t *default_data;
};

struct ss_replica {
    uint32_t port, rid;
};

struct ss_replicas {
    uint32_t n, truncate;
    struct ss_replica r[];
};

/* A member of an action profile; an entry's first data word refers to its slot. */
struct ss_member {
    uint32_t action, pad;
    uint64_t data[];
};

struct ss_bucket {
    uint32_t slot, port; /* port: left out while this one is down; SS_NONE: never */
};

struct ss_buckets {
    uint32_t n;
    bool watched; /* some bucket has a port */
    struct ss_bucket b[];
};

struct ss_profile {
    char *members;
    size_t stride;
    uint32_t cap_members, cap_groups;
    struct ss_buckets **groups;
};

#define SS_GROUP_REF ((uint64_t)1 << 32)
#define SS_MC_GROUPS 65536
#define SS_CLONE_SESSIONS 32768

struct ss_program;

struct ss_state {
    const struct ss_program *program;
    uint64_t generation;
    struct ss_table *tables;
    struct ss_counter **counters;
    struct ss_meter **meters;
    uint64_t **registers;
    struct ss_profile *profiles;
    struct ss_replicas **mc_groups;      /* [SS_MC_GROUPS] */
    struct ss_replicas **clone_sessions; /* [SS_CLONE_SESSIONS] */
    void *scratch;
};

struct ss_ctx;

struct ss_ops {
    /* Room for a frame of len bytes that leaves on port, or NULL (and the drop is counted). */
    uint8_t *(*reserve)(struct ss_ctx *ctx, uint32_t port, uint32_t len);
    void (*commit)(struct ss_ctx *ctx);
    void (*log)(struct ss_ctx *ctx, const char *text);
    void (*pass_limit)(struct ss_ctx *ctx);
    /* A line about the packet, from programs that are built with a trace. */
    void (*trace)(struct ss_ctx *ctx, int level, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
    /* Room for a digest of len bytes, or NULL (and the loss is counted). */
    uint8_t *(*digest)(struct ss_ctx *ctx, uint32_t number, uint32_t len);
    void (*digest_commit)(struct ss_ctx *ctx, uint32_t len);
};

struct ss_ctx {
    const struct ss_ops *ops;
    struct ss_state *state;
    void *owner;
    uint64_t now_ns, start_ns;
    uint32_t drop_port;
    uint64_t random;
    uint64_t packet; /* numbers for the trace: of the packet, of this copy and of the last copy */
    uint32_t copy, copies;
    const uint64_t *up_ports; /* a bit for each of n_ports ports */
    uint32_t n_ports;
};

struct ss_program {
    uint32_t abi;
    uint32_t n_tables, n_counters, n_meters, n_registers, n_profiles;
    const struct ss_table_desc *tables;
    const uint32_t *counters;
    const struct ss_meter_desc *meters;
    const struct ss_register_desc *registers;
    const uint32_t *profiles; /* words that the longest parameter list of a member takes */
    size_t scratch_size;
    bool superpackets; /* segmentation-offload super-packets may pass whole */
    void (*process)(struct ss_ctx *ctx, const uint8_t *frame, uint32_t len, uint32_t port);
};

SS_INLINE struct ss_entry *ss_entry_at(const struct ss_table *t, uint32_t slot)
{
    return (struct ss_entry *)(t->entries + (size_t)slot * t->stride);
}

SS_INLINE uint64_t ss_mix(uint64_t a, uint64_t b)
{
    ss_u128 m = (ss_u128)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

SS_INLINE uint64_t ss_key_hash(uint64_t seed, const uint64_t *key, unsigned n)
{
    uint64_t h = seed;
    for (unsigned i = 0; i < n; i++)
        h = ss_mix(h ^ key[i], 0x9e3779b97f4a7c15u + 2 * i);
    return ss_mix(h ^ seed, 0xd6e8feb86659fd93u);
}

SS_INLINE bool ss_words_equal(const uint64_t *a, const uint64_t *b, unsigned n)
{
    uint64_t diff = 0;
    for (unsigned i = 0; i < n; i++)
        diff |= a[i] ^ b[i];
    return diff == 0;
}

SS_INLINE struct ss_entry *ss_index_find(const struct ss_table *t, const struct ss_index *index,
                                         const uint64_t *key, unsigned n)
{
    uint64_t hash = ss_key_hash(t->seed, key, n);
    uint32_t tag = (uint32_t)(hash >> 32);
    for (uint64_t i = hash & index->mask;; i = (i + 1) & index->mask) {
        struct ss_cell cell = index->cells[i];
        if (cell.slot1 == 0)
            return NULL;
        if (cell.tag == tag) {
            struct ss_entry *e = ss_entry_at(t, cell.slot1 - 1);
            if (ss_words_equal(e->words, key, n))
                return e;
        }
    }
}

SS_INLINE struct ss_entry *ss_lookup_exact(const struct ss_table *t, const uint64_t *key,
                                           unsigned n)
{
    return ss_index_find(t, &t->index, key, n);
}

SS_HELPER bool ss_in_ranges(const struct ss_table *t, const struct ss_entry *e,
                            const uint64_t *key)
{
    const struct ss_table_desc *d = t->desc;
    for (uint32_t i = 0; i < d->n_ranges; i++) {
        uint32_t word = d->ranges[i].offset / 64, shift = d->ranges[i].offset % 64;
        uint32_t width = d->ranges[i].width;
        uint64_t v[3];
        for (uint32_t k = 0; k < 3; k++) { /* the field, the lower and the upper bound */
            const uint64_t *src = k == 0 ? key : e->words + (k == 1 ? 0 : 2 * d->key_words);
            v[k] = src[word] >> shift;
            if (shift && shift + width > 64)
                v[k] |= src[word + 1] << (64 - shift);
            if (width < 64)
                v[k] &= ((uint64_t)1 << width) - 1;
        }
        if (v[0] < v[1] || v[0] > v[2])
            return false;
    }
    return true;
}

SS_INLINE struct ss_entry *ss_lookup_linear(const struct ss_table *t, const uint64_t *key,
                                            unsigned n, bool ranges)
{
    const uint64_t *row = t->linear;
    for (uint32_t i = 0; i < t->n_linear; i++, row += 2 * n + 1) {
        uint64_t diff = 0;
        for (unsigned k = 0; k < n; k++)
            diff |= (key[k] & row[k]) ^ row[n + k];
        if (diff == 0) {
            struct ss_entry *e = (struct ss_entry *)(uintptr_t)row[2 * n];
            if (!ranges || ss_in_ranges(t, e, key))
                return e;
        }
    }
    return NULL;
}

/* Tuple space search: one hash lookup for each mask in use, best rank first. */
SS_INLINE struct ss_entry *ss_lookup_masked(const struct ss_table *t, const uint64_t *key,
                                            unsigned n)
{
    struct ss_entry *best = NULL;
    if (t->n_linear != SS_NONE)
        return ss_lookup_linear(t, key, n, false);
    for (uint32_t g = 0; g < t->n_groups; g++) {
        const struct ss_group *group = t->groups[g];
        uint64_t masked[n];
        if (best && group->best_rank < best->rank)
            break;
        for (unsigned k = 0; k < n; k++)
            masked[k] = key[k] & group->mask[k];
        struct ss_entry *e = ss_index_find(t, &group->index, masked, n);
        if (e && (!best || e->rank > best->rank ||
                  (e->rank == best->rank && e->slot < best->slot)))
            best = e;
    }
    return best;
}

SS_INLINE struct ss_member *ss_member_at(const struct ss_profile *p, uint32_t slot)
{
    return (struct ss_member *)(p->members + slot * p->stride);
}

SS_HELPER bool ss_port_is_up(const struct ss_ctx *ctx, uint32_t port)
{
    return port < ctx->n_ports && ctx->up_ports[port / 64] >> (port % 64) & 1;
}

/* The member that a group gives for a hash; NULL if no member of it is active. */
SS_HELPER const struct ss_member *ss_select(const struct ss_ctx *ctx, const struct ss_profile *p,
                                            uint32_t group, uint64_t hash)
{
    const struct ss_buckets *g = group < p->cap_groups ? p->groups[group] : NULL;
    uint32_t active = 0;
    if (!g)
        return NULL;
    if (!g->watched)
        return ss_member_at(p, g->b[hash % g->n].slot);
    for (uint32_t i = 0; i < g->n; i++)
        active += g->b[i].port == SS_NONE || ss_port_is_up(ctx, g->b[i].port);
    if (!active)
        return NULL;
    uint64_t nth = hash % active;
    for (uint32_t i = 0; i < g->n; i++)
        if ((g->b[i].port == SS_NONE || ss_port_is_up(ctx, g->b[i].port)) && nth-- == 0)
            return ss_member_at(p, g->b[i].slot);
    return NULL;
}

SS_INLINE void ss_count(struct ss_counter *c, uint32_t size, uint64_t i, uint32_t bytes)
{
    if (i < size) {
        c[i].packets++;
        c[i].bytes += bytes;
    }
}

SS_HELPER void ss_meter_refill(uint64_t *tokens, uint64_t *rest, uint64_t rate, uint64_t burst,
                               uint64_t ns)
{
    ss_u128 credit = (ss_u128)rate * ns + *rest;
    ss_u128 whole = credit >> 64 ? credit / 1000000000u : (uint64_t)credit / 1000000000u;
    *rest = (uint64_t)(credit - whole * 1000000000u);
    *tokens = whole + *tokens >= burst ? burst : *tokens + (uint64_t)whole;
}

/* 0 green, 1 yellow, 2 red. BMv2's order: the peak bucket first, and a red packet takes nothing. */
SS_HELPER uint32_t ss_meter_run(struct ss_meter *m, uint64_t now_ns, uint64_t units)
{
    if (!m->configured)
        return 0;
    uint64_t ns = now_ns > m->last_ns ? now_ns - m->last_ns : 0;
    m->last_ns += ns;
    ss_meter_refill(&m->ptokens, &m->prest, m->pir, m->pburst, ns);
    ss_meter_refill(&m->ctokens, &m->crest, m->cir, m->cburst, ns);
    if (m->ptokens < units)
        return 2;
    m->ptokens -= units;
    if (m->ctokens < units)
        return 1;
    m->ctokens -= units;
    return 0;
}

SS_INLINE uint64_t ss_random(struct ss_ctx *ctx)
{
    ctx->random += 0x9e3779b97f4a7c15u; /* a Weyl sequence, mixed */
    return ss_mix(ctx->random, ctx->random ^ 0xd6e8feb86659fd93u);
}

#endif

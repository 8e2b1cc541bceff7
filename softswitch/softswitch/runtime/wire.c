/* SPDX-License-Identifier: Apache-2.0
 * The plain updates of a WriteRequest, straight from the bytes: inserts, modifications and deletions
 * of entries with one action and nothing unusual. Whatever else is there, or is wrong, or fails, is
 * left to the caller, which does it the long way and knows what to say. Field numbers are those of
 * p4/v1/p4runtime.proto. */
#include "ss_table.h"

#include <stdlib.h>

#define MAX_WORDS 64
#define CHUNK 64 /* updates under the lock at a time: packets go between */

enum { EXACT, LPM, TERNARY, OPTIONAL };
enum { INSERT = 1, MODIFY = 2, DELETE = 3 };

/* wire_plan.py mirrors these. */
struct ss_wire_field {
    uint32_t id, kind, offset, width;
};

struct ss_wire_param {
    uint32_t id, word, width;
};

struct ss_wire_action {
    uint32_t id, number, first_param, n_params;
};

struct ss_wire_table {
    uint32_t id, number, priority, timeout, modify, first_field, n_fields, first_action, n_actions;
};

struct ss_wire_plan {
    uint64_t generation;
    uint32_t n_tables, pad;
    const struct ss_wire_table *tables; /* by id, ascending */
    const struct ss_wire_field *fields;
    const struct ss_wire_action *actions;
    const struct ss_wire_param *params;
};

int64_t ss_write_wire(struct ss_switch *sw, const struct ss_wire_plan *plan, const uint8_t *bytes,
                      size_t len, uint64_t *cursor, int skip);

struct span {
    const uint8_t *p, *end;
};

struct update {
    const struct ss_wire_table *table;
    struct ss_entry_in in;
    uint64_t key[MAX_WORDS], data[MAX_WORDS];
    uint32_t type, table_id, prefix;
    struct span action;
    bool has_action, has_timeout, has_metadata;
};

static bool varint(struct span *s, uint64_t *out)
{
    uint64_t v = 0;
    for (unsigned shift = 0; s->p < s->end && shift < 64; shift += 7) {
        uint8_t b = *s->p++;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80) {
            *out = v;
            return shift < 63;
        }
    }
    return false;
}

static bool u32(struct span *s, uint32_t *out)
{
    uint64_t v;
    if (!varint(s, &v) || v > UINT32_MAX)
        return false;
    *out = (uint32_t)v;
    return true;
}

static bool bytes(struct span *s, struct span *out)
{
    uint64_t n;
    if (!varint(s, &n) || n > (uint64_t)(s->end - s->p))
        return false;
    *out = (struct span){s->p, s->p + n};
    s->p += n;
    return true;
}

/* A field that may stand only once; a second one means something that is left to protobuf. */
static bool once(uint32_t *seen, uint64_t tag)
{
    uint32_t bit = tag >> 3 < 32 ? 1u << (tag >> 3) : 0;
    bool fresh = bit && !(*seen & bit);
    *seen |= bit;
    return fresh;
}

/* A big-endian number into the bits [offset, offset + width) of words that are 0 there. */
static bool put(uint64_t *words, uint32_t offset, uint32_t width, struct span s)
{
    if (s.p == s.end)
        return false;
    while (s.p < s.end && *s.p == 0)
        s.p++;
    size_t n = (size_t)(s.end - s.p);
    if (n > (width + 7) / 8 || (n == (width + 7) / 8 && width % 8 && *s.p >> (width % 8)))
        return false;
    for (uint32_t at = offset; s.end > s.p; at += 8) {
        uint64_t b = *--s.end;
        words[at / 64] |= b << (at % 64);
        if (at % 64 > 56 && b >> (64 - at % 64))
            words[at / 64 + 1] |= b >> (64 - at % 64);
    }
    return true;
}

static void put_ones(uint64_t *words, uint32_t offset, uint32_t width)
{
    for (uint32_t i = offset; i < offset + width; i++)
        words[i / 64] |= (uint64_t)1 << (i % 64);
}

/* FieldMatch.Exact, Optional {1 value}, Ternary {1 value, 2 mask}, LPM {1 value, 2 prefix_len}. */
static bool match_value(struct update *u, const struct ss_wire_field *f, struct span s,
                        uint32_t key_words, bool masks)
{
    struct span value = {0}, mask = {0};
    uint32_t seen = 0, prefix = 0;
    uint64_t tag;
    while (s.p < s.end) {
        if (!varint(&s, &tag) || !once(&seen, tag))
            return false;
        if (tag == 0x0a ? !bytes(&s, &value)
                        : !(f->kind == TERNARY && tag == 0x12   ? bytes(&s, &mask)
                            : f->kind == LPM && tag == 0x10 ? u32(&s, &prefix)
                                                            : false))
            return false;
    }
    if (!put(u->key, f->offset, f->width, value))
        return false;
    if (!masks)
        return true;
    uint64_t *words = u->key + key_words;
    if (f->kind == TERNARY) {
        bool some = false;
        for (const uint8_t *p = mask.p; p < mask.end; p++)
            some |= *p != 0;
        return some && put(words, f->offset, f->width, mask);
    }
    if (f->kind != LPM) {
        put_ones(words, f->offset, f->width);
        return true;
    }
    if (prefix == 0 || prefix > f->width)
        return false;
    put_ones(words, f->offset + f->width - prefix, prefix);
    u->prefix = prefix;
    return true;
}

/* FieldMatch {1 field_id, 2 exact, 3 ternary, 4 lpm, 7 optional}. */
static bool match_field(struct update *u, const struct ss_wire_plan *plan, struct span s,
                        uint64_t *given, uint32_t key_words, bool masks)
{
    static const uint8_t tags[] = {[EXACT] = 0x12, [LPM] = 0x22, [TERNARY] = 0x1a,
                                   [OPTIONAL] = 0x3a};
    uint64_t id_tag, tag;
    uint32_t id;
    struct span value;
    if (!varint(&s, &id_tag) || id_tag != 0x08 || !u32(&s, &id) || !varint(&s, &tag) ||
        !bytes(&s, &value) || s.p != s.end)
        return false;
    for (uint32_t i = 0; i < u->table->n_fields; i++) {
        const struct ss_wire_field *f = &plan->fields[u->table->first_field + i];
        if (f->id != id)
            continue;
        if (tag != tags[f->kind] || *given & (uint64_t)1 << i)
            return false;
        *given |= (uint64_t)1 << i;
        return match_value(u, f, value, key_words, masks);
    }
    return false;
}

/* Action {1 action_id, 4 params {2 param_id, 3 value}}. */
static bool action(struct update *u, const struct ss_wire_plan *plan, struct span s)
{
    const struct ss_wire_action *a = NULL;
    uint64_t tag, given = 0;
    uint32_t id;
    if (!varint(&s, &tag) || tag != 0x08 || !u32(&s, &id))
        return false;
    for (uint32_t i = 0; i < u->table->n_actions && !a; i++)
        if (plan->actions[u->table->first_action + i].id == id)
            a = &plan->actions[u->table->first_action + i];
    if (!a)
        return false;
    u->in.action = a->number;
    while (s.p < s.end) {
        struct span param, value;
        uint32_t param_id, i;
        if (!varint(&s, &tag) || tag != 0x22 || !bytes(&s, &param) || !varint(&param, &tag) ||
            tag != 0x10 || !u32(&param, &param_id) || !varint(&param, &tag) || tag != 0x1a ||
            !bytes(&param, &value) || param.p != param.end)
            return false;
        for (i = 0; i < a->n_params; i++)
            if (plan->params[a->first_param + i].id == param_id)
                break;
        if (i == a->n_params || given & (uint64_t)1 << i)
            return false;
        given |= (uint64_t)1 << i;
        const struct ss_wire_param *p = &plan->params[a->first_param + i];
        if (!put(u->data, 64 * p->word, p->width, value))
            return false;
    }
    return given == ((uint64_t)1 << a->n_params) - 1;
}

static const struct ss_wire_table *table_with(const struct ss_wire_plan *plan, uint32_t id)
{
    uint32_t low = 0, high = plan->n_tables;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (plan->tables[middle].id == id)
            return &plan->tables[middle];
        if (plan->tables[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* TableEntry {1 table_id, 2 match, 3 action {1 action}, 4 priority, 5 controller_metadata,
 * 9 idle_timeout_ns, 11 metadata}; the match is looked at once the table is known. */
static bool table_entry(struct update *u, struct ss_switch *sw, const struct ss_wire_plan *plan,
                        struct span s)
{
    struct span metadata = {0}, inner, again = s;
    uint32_t seen = 0, priority = 0;
    uint64_t tag, given = 0, wanted = 0;
    while (s.p < s.end) {
        if (!varint(&s, &tag) || (tag != 0x12 && !once(&seen, tag)))
            return false;
        if (tag == 0x08 ? !u32(&s, &u->table_id)
            : tag == 0x12 ? !bytes(&s, &inner)
            : tag == 0x1a ? !bytes(&s, &u->action)
            : tag == 0x20 ? !u32(&s, &priority)
            : tag == 0x28 ? !varint(&s, &u->in.controller_metadata)
            : tag == 0x48 ? !varint(&s, &u->in.timeout_ns)
            : tag == 0x5a ? !bytes(&s, &metadata)
                          : true)
            return false;
    }
    u->table = table_with(plan, u->table_id);
    if (!u->table || u->in.timeout_ns >> 63 || (u->in.timeout_ns && !u->table->timeout) ||
        priority > INT32_MAX || (priority > 0) != (u->table->priority != 0))
        return false;
    const struct ss_table *t = &sw->state->tables[u->table->number];
    bool masks = t->desc->match != SS_EXACT;
    uint32_t key_words = t->desc->key_words;
    if (2 * key_words >= MAX_WORDS || t->desc->data_words >= MAX_WORDS)
        return false;
    memset(u->key, 0, 8 * ((size_t)2 * key_words + 1));
    memset(u->data, 0, 8 * ((size_t)t->desc->data_words + 1));
    u->prefix = 0;
    while (again.p < again.end) {
        uint64_t number;
        if (!varint(&again, &tag) ||
            !((tag & 7) == 0 ? varint(&again, &number) : bytes(&again, &inner)))
            return false;
        if (tag == 0x12 && !match_field(u, plan, inner, &given, key_words, masks))
            return false;
    }
    for (uint32_t i = 0; i < u->table->n_fields; i++)
        if (plan->fields[u->table->first_field + i].kind == EXACT)
            wanted |= (uint64_t)1 << i;
    if ((given & wanted) != wanted)
        return false;
    for (uint32_t i = 0; masks && i < key_words; i++)
        if (u->key[i] & ~u->key[key_words + i])
            return false;
    u->in.key = u->key;
    u->in.data = u->data;
    u->in.metadata = metadata.p;
    u->in.metadata_len = (uint32_t)(metadata.end - metadata.p);
    u->in.priority = (int32_t)priority;
    u->in.rank = t->desc->match == SS_LPM ? (int32_t)u->prefix : (int32_t)priority;
    return true;
}

/* Update {1 type, 2 entity {2 table_entry}}. */
static bool decode(struct update *u, struct ss_switch *sw, const struct ss_wire_plan *plan,
                   struct span s)
{
    struct span entity, entry;
    uint64_t tag;
    memset(&u->in, 0, sizeof(u->in));
    u->action = (struct span){0};
    u->table_id = 0;
    if (!varint(&s, &tag) || tag != 0x08 || !u32(&s, &u->type) || !varint(&s, &tag) ||
        tag != 0x12 || !bytes(&s, &entity) || s.p != s.end || !varint(&entity, &tag) ||
        tag != 0x12 || !bytes(&entity, &entry) || entity.p != entity.end ||
        !table_entry(u, sw, plan, entry))
        return false;
    if (u->type == DELETE)
        return true;
    if (u->type != INSERT && !(u->type == MODIFY && u->table->modify))
        return false;
    struct span inner, outer = u->action; /* TableAction */
    return outer.p != outer.end && varint(&outer, &tag) && tag == 0x0a && bytes(&outer, &inner) &&
           outer.p == outer.end && action(u, plan, inner);
}

static bool apply(struct update *u, struct ss_switch *sw, uint64_t now_ns)
{
    struct ss_table *t = &sw->state->tables[u->table->number];
    switch (u->type) {
    case INSERT:
        return ss_table_insert(t, &u->in, now_ns) == SS_OK;
    case MODIFY:
        return ss_table_modify(t, &u->in, now_ns) == SS_OK;
    default:
        return ss_table_delete(t, u->key, u->in.priority) == SS_OK;
    }
}

/* Carries out the updates (field 4) from *cursor on, until one is not plain or fails; returns how
 * many. *cursor is then where that one begins; with `skip` it is passed over first. */
int64_t ss_write_wire(struct ss_switch *sw, const struct ss_wire_plan *plan, const uint8_t *data,
                      size_t len, uint64_t *cursor, int skip)
{
    struct span s = {data + *cursor, data + len};
    struct update u;
    int64_t done = 0;
    uint64_t number;
    bool plain = true;
    while (plain && s.p < s.end) {
        ss_lock(sw);
        uint64_t now_ns = ss_now(sw);
        plain = sw->state && sw->state->generation == plan->generation;
        for (uint32_t i = 0; (plain || skip) && i < CHUNK && s.p < s.end; i++) {
            struct span start = s, body;
            uint64_t tag;
            if (!varint(&s, &tag) || ((tag & 7) != 2 && (tag & 7) != 0) ||
                !((tag & 7) == 2 ? bytes(&s, &body) : varint(&s, &number))) {
                plain = false;
                break;
            }
            if (tag != 0x22)
                continue;
            if (skip) {
                skip = 0;
                continue;
            }
            if (!decode(&u, sw, plan, body) || !apply(&u, sw, now_ns)) {
                s = start;
                plain = false;
                break;
            }
            done++;
        }
        ss_unlock(sw);
    }
    *cursor = (uint64_t)(s.p - data);
    return done;
}

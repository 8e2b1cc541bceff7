/* SPDX-License-Identifier: Apache-2.0
 * Table calls of Python: entries, defaults, direct counters and meters, the idle sweep. */
#include "ss_table.h"

#include <stdlib.h>

/* How an entry is handed to Python: this header, the words (key, mask, upper bounds, parameters),
 * the metadata padded to 8 bytes. native.py mirrors it. */
struct ss_entry_out {
    uint32_t bytes_used, slot, action, metadata_len;
    int32_t priority;
    uint32_t is_const;
    uint64_t timeout_ns, controller_metadata, packets, bytes, idle_ns;
};

struct ss_state *ss_state_of(struct ss_switch *sw, uint64_t generation)
{
    if (sw->state && sw->state->generation == generation)
        return sw->state;
    if (sw->pending && sw->pending->generation == generation)
        return sw->pending;
    return NULL;
}

static struct ss_table *table_of(struct ss_switch *sw, uint64_t generation, uint32_t table)
{
    struct ss_state *s = ss_state_of(sw, generation);
    return s && table < s->program->n_tables ? &s->tables[table] : NULL;
}

int ss_insert(struct ss_switch *sw, uint64_t gen, uint32_t table, const struct ss_entry_in *in)
{
    ss_lock(sw);
    struct ss_table *t = table_of(sw, gen, table);
    int rc = t ? ss_table_insert(t, in, ss_now(sw)) : SS_E_STALE;
    ss_unlock(sw);
    return rc;
}

int ss_modify(struct ss_switch *sw, uint64_t gen, uint32_t table, const struct ss_entry_in *in)
{
    ss_lock(sw);
    struct ss_table *t = table_of(sw, gen, table);
    int rc = t ? ss_table_modify(t, in, ss_now(sw)) : SS_E_STALE;
    ss_unlock(sw);
    return rc;
}

int ss_delete(struct ss_switch *sw, uint64_t gen, uint32_t table, const uint64_t *key,
              int32_t priority)
{
    ss_lock(sw);
    struct ss_table *t = table_of(sw, gen, table);
    int rc = t ? ss_table_delete(t, key, priority) : SS_E_STALE;
    ss_unlock(sw);
    return rc;
}

int64_t ss_entry_count(struct ss_switch *sw, uint64_t gen, uint32_t table)
{
    ss_lock(sw);
    struct ss_table *t = table_of(sw, gen, table);
    int64_t n = t ? (int64_t)t->count : SS_E_STALE;
    ss_unlock(sw);
    return n;
}

/* Appends one entry to out; returns its length, or 0 if it does not fit. */
static size_t write_entry(const struct ss_table *t, const struct ss_entry *e, uint64_t now_ns,
                          uint8_t *out, size_t room)
{
    const struct ss_cold *cold = &t->cold[e->slot];
    size_t words = t->stride - sizeof(*e);
    size_t need = sizeof(struct ss_entry_out) + words + ((cold->metadata_len + 7) & ~7u);
    struct ss_entry_out head = {
        .bytes_used = (uint32_t)need,
        .slot = e->slot,
        .action = e->action,
        .metadata_len = cold->metadata_len,
        .priority = cold->priority,
        .is_const = cold->is_const,
        .timeout_ns = cold->timeout_ns,
        .controller_metadata = cold->controller_metadata,
        .packets = e->packets,
        .bytes = e->bytes,
        .idle_ns = now_ns > e->last_hit_ns ? now_ns - e->last_hit_ns : 0,
    };
    if (need > room)
        return 0;
    memcpy(out, &head, sizeof(head));
    memcpy(out + sizeof(head), e->words, words);
    if (cold->metadata_len)
        memcpy(out + sizeof(head) + words, cold->metadata, cold->metadata_len);
    return need;
}

int64_t ss_read_entry(struct ss_switch *sw, uint64_t gen, uint32_t table, const uint64_t *key,
                      int32_t priority, uint8_t *out, size_t cap)
{
    int64_t rc = SS_E_NOT_FOUND;
    ss_lock(sw);
    struct ss_table *t = table_of(sw, gen, table);
    struct ss_entry *e = t ? ss_table_find(t, key, priority) : NULL;
    if (!t)
        rc = SS_E_STALE;
    else if (e && (rc = (int64_t)write_entry(t, e, ss_now(sw), out, cap)) == 0)
        rc = SS_E_MEMORY;
    ss_unlock(sw);
    return rc;
}

/* Entries from slot *cursor on, at most max_slots looked at; *cursor becomes SS_NONE at the end.
 * idle_at: 0, or only entries that are idle at this time (and due for another notification). */
int64_t ss_read_entries(struct ss_switch *sw, uint64_t gen, uint32_t table, uint32_t *cursor,
                        uint32_t max_slots, uint64_t idle_at, uint8_t *out, size_t cap)
{
    size_t n = 0;
    uint32_t i = *cursor;
    ss_lock(sw);
    struct ss_table *t = table_of(sw, gen, table);
    if (!t) {
        ss_unlock(sw);
        return SS_E_STALE;
    }
    uint64_t now_ns = idle_at ? idle_at : ss_now(sw);
    uint32_t end = max_slots < t->top - ss_min64(i, t->top) ? i + max_slots : t->top;
    for (; i < end; i++) {
        struct ss_cold *cold = &t->cold[i];
        struct ss_entry *e = ss_entry_at(t, i);
        if (!cold->used)
            continue;
        if (idle_at) {
            uint64_t since = e->last_hit_ns > cold->notified_ns ? e->last_hit_ns
                                                                : cold->notified_ns;
            if (cold->timeout_ns == 0 || idle_at < since || idle_at - since < cold->timeout_ns)
                continue;
        }
        size_t len = write_entry(t, e, now_ns, out + n, cap - n);
        if (len == 0)
            break;
        if (idle_at)
            cold->notified_ns = idle_at;
        n += len;
    }
    *cursor = i >= t->top ? SS_NONE : i;
    ss_unlock(sw);
    return (int64_t)n;
}

int ss_direct_counter_write(struct ss_switch *sw, uint64_t gen, uint32_t table,
                            const uint64_t *key, int32_t priority, uint64_t packets,
                            uint64_t bytes)
{
    ss_lock(sw);
    struct ss_table *t = table_of(sw, gen, table);
    struct ss_entry *e = t ? ss_table_find(t, key, priority) : NULL;
    if (e) {
        e->packets = packets;
        e->bytes = bytes;
    }
    ss_unlock(sw);
    return e ? SS_OK : t ? SS_E_NOT_FOUND : SS_E_STALE;
}

int ss_default_set(struct ss_switch *sw, uint64_t gen, uint32_t table, uint32_t action,
                   const uint64_t *data)
{
    ss_lock(sw);
    struct ss_table *t = table_of(sw, gen, table);
    if (t) {
        t->default_action = action;
        memcpy(t->default_data, data, 8 * (size_t)t->desc->data_words);
    }
    ss_unlock(sw);
    return t ? SS_OK : SS_E_STALE;
}

int ss_default_get(struct ss_switch *sw, uint64_t gen, uint32_t table, uint32_t *action,
                   uint64_t *data)
{
    ss_lock(sw);
    struct ss_table *t = table_of(sw, gen, table);
    if (t) {
        *action = t->default_action;
        memcpy(data, t->default_data, 8 * (size_t)t->desc->data_words);
    }
    ss_unlock(sw);
    return t ? SS_OK : SS_E_STALE;
}

/* Meters: config is {configured, cir, cburst, pir, pburst}. */

static void meter_write(struct ss_meter *m, const uint64_t config[5], uint64_t now_ns)
{
    *m = (struct ss_meter){0};
    if (config[0])
        *m = (struct ss_meter){.cir = config[1],
                               .cburst = config[2],
                               .pir = config[3],
                               .pburst = config[4],
                               .ctokens = config[2],
                               .ptokens = config[4],
                               .last_ns = now_ns,
                               .configured = true};
}

static void meter_read(const struct ss_meter *m, uint64_t config[5])
{
    config[0] = m->configured;
    config[1] = m->cir;
    config[2] = m->cburst;
    config[3] = m->pir;
    config[4] = m->pburst;
}

int ss_direct_meter(struct ss_switch *sw, uint64_t gen, uint32_t table, const uint64_t *key,
                    int32_t priority, uint64_t config[5], int write)
{
    ss_lock(sw);
    struct ss_table *t = table_of(sw, gen, table);
    struct ss_entry *e = t && t->meters ? ss_table_find(t, key, priority) : NULL;
    if (e && write)
        meter_write(&t->meters[e->slot], config, ss_now(sw));
    else if (e)
        meter_read(&t->meters[e->slot], config);
    ss_unlock(sw);
    return e ? SS_OK : t ? SS_E_NOT_FOUND : SS_E_STALE;
}

int ss_meter_access(struct ss_switch *sw, uint64_t gen, uint32_t meter, uint32_t i,
                    uint64_t config[5], int write)
{
    int rc = SS_E_STALE;
    ss_lock(sw);
    struct ss_state *s = ss_state_of(sw, gen);
    if (s && meter < s->program->n_meters) {
        rc = i < s->program->meters[meter].size ? SS_OK : SS_E_INDEX;
        if (rc == SS_OK && write)
            meter_write(&s->meters[meter][i], config, ss_now(sw));
        else if (rc == SS_OK)
            meter_read(&s->meters[meter][i], config);
    }
    ss_unlock(sw);
    return rc;
}

/* Cells [first, first + n) of a counter: pairs of packets and bytes. */
int ss_counter_read(struct ss_switch *sw, uint64_t gen, uint32_t counter, uint32_t first,
                    uint32_t n, struct ss_counter *out)
{
    int rc = SS_E_STALE;
    ss_lock(sw);
    struct ss_state *s = ss_state_of(sw, gen);
    if (s && counter < s->program->n_counters) {
        uint32_t size = s->program->counters[counter];
        rc = first <= size && n <= size - first ? SS_OK : SS_E_INDEX;
        if (rc == SS_OK)
            memcpy(out, s->counters[counter] + first, n * sizeof(*out));
    }
    ss_unlock(sw);
    return rc;
}

int ss_counter_write(struct ss_switch *sw, uint64_t gen, uint32_t counter, uint32_t i,
                     uint64_t packets, uint64_t bytes)
{
    int rc = SS_E_STALE;
    ss_lock(sw);
    struct ss_state *s = ss_state_of(sw, gen);
    if (s && counter < s->program->n_counters) {
        rc = i < s->program->counters[counter] ? SS_OK : SS_E_INDEX;
        if (rc == SS_OK)
            s->counters[counter][i] = (struct ss_counter){.packets = packets, .bytes = bytes};
    }
    ss_unlock(sw);
    return rc;
}

/* value: two words, least significant first. */
int ss_register_access(struct ss_switch *sw, uint64_t gen, uint32_t reg, uint32_t i,
                       uint64_t value[2], int write)
{
    int rc = SS_E_STALE;
    ss_lock(sw);
    struct ss_state *s = ss_state_of(sw, gen);
    if (s && reg < s->program->n_registers) {
        const struct ss_register_desc *d = &s->program->registers[reg];
        rc = i < d->size ? SS_OK : SS_E_INDEX;
        if (rc == SS_OK && write)
            memcpy(s->registers[reg] + (size_t)i * d->words, value, 8 * (size_t)d->words);
        else if (rc == SS_OK)
            memcpy(value, s->registers[reg] + (size_t)i * d->words, 8 * (size_t)d->words);
    }
    ss_unlock(sw);
    return rc;
}

/* Multicast groups (clone = 0) and clone sessions (1); n = SS_NONE removes. r: port, rid pairs. */
int ss_replicas_set(struct ss_switch *sw, uint64_t gen, int clone, uint32_t id,
                    const struct ss_replica *r, uint32_t n, uint32_t truncate)
{
    struct ss_replicas *fresh = NULL, *old = NULL;
    int rc = SS_E_STALE;
    if (id >= (clone ? SS_CLONE_SESSIONS : SS_MC_GROUPS))
        return SS_E_INDEX;
    if (n != SS_NONE) {
        fresh = malloc(sizeof(*fresh) + n * sizeof(*r));
        if (!fresh)
            return SS_E_MEMORY;
        fresh->n = n;
        fresh->truncate = truncate;
        if (n)
            memcpy(fresh->r, r, n * sizeof(*r));
    }
    ss_lock(sw);
    struct ss_state *s = ss_state_of(sw, gen);
    if (s) {
        struct ss_replicas **at = clone ? &s->clone_sessions[id] : &s->mc_groups[id];
        old = *at;
        *at = fresh;
        fresh = NULL;
        rc = SS_OK;
    }
    ss_unlock(sw);
    free(old);
    free(fresh);
    return rc;
}

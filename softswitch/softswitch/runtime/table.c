/* SPDX-License-Identifier: Apache-2.0
 * Insert, modify and delete of table entries, and the open-addressing index. */
#include "ss_table.h"

#include <stdlib.h>

static unsigned key_copies(const struct ss_table *t)
{
    return t->desc->match == SS_EXACT ? 1 : t->desc->match == SS_RANGE ? 3 : 2;
}

/* The cell that points to the entry (or chain) with this key; mask + 1 if there is none. */
uint64_t ss_index_locate(const struct ss_table *t, const struct ss_index *index,
                         const uint64_t *key)
{
    unsigned n = t->desc->key_words;
    uint64_t hash = ss_key_hash(t->seed, key, n);
    uint32_t tag = (uint32_t)(hash >> 32);
    for (uint64_t i = hash & index->mask;; i = (i + 1) & index->mask) {
        struct ss_cell cell = index->cells[i];
        if (cell.slot1 == 0)
            return index->mask + 1;
        if (cell.tag == tag && ss_words_equal(ss_entry_at(t, cell.slot1 - 1)->words, key, n))
            return i;
    }
}

/* The index must have room (load at most one half) and not hold the key yet. */
int ss_index_insert(const struct ss_table *t, struct ss_index *index, uint32_t slot)
{
    uint64_t hash = ss_key_hash(t->seed, ss_entry_at(t, slot)->words, t->desc->key_words);
    uint64_t i = hash & index->mask;
    while (index->cells[i].slot1 != 0)
        i = (i + 1) & index->mask;
    index->cells[i] = (struct ss_cell){.tag = (uint32_t)(hash >> 32), .slot1 = slot + 1};
    index->used++;
    return SS_OK;
}

/* Backward-shift deletion: later cells of the run move up, so that no tombstones are needed. */
void ss_index_remove(const struct ss_table *t, struct ss_index *index, uint64_t at)
{
    unsigned n = t->desc->key_words;
    for (uint64_t i = (at + 1) & index->mask;; i = (i + 1) & index->mask) {
        struct ss_cell cell = index->cells[i];
        if (cell.slot1 == 0)
            break;
        uint64_t home =
            ss_key_hash(t->seed, ss_entry_at(t, cell.slot1 - 1)->words, n) & index->mask;
        if (((i - home) & index->mask) >= ((i - at) & index->mask)) {
            index->cells[at] = cell;
            at = i;
        }
    }
    index->cells[at] = (struct ss_cell){0};
    index->used--;
}

struct ss_entry *ss_table_find(const struct ss_table *t, const uint64_t *key, int32_t priority)
{
    if (t->desc->key_words == 0)
        return NULL;
    if (t->desc->match == SS_EXACT) {
        uint64_t at = ss_index_locate(t, &t->index, key);
        return at > t->index.mask ? NULL : ss_entry_at(t, t->index.cells[at].slot1 - 1);
    }
    return ss_masked_find(t, key, priority);
}

/* The lowest free slot, as BMv2's handles: among equal priorities the earliest free one wins. */
static uint32_t take_slot(struct ss_table *t)
{
    uint32_t word = t->free_hint;
    while (~t->used[word] == 0)
        word++;
    t->free_hint = word;
    uint32_t slot = word * 64 + (uint32_t)__builtin_ctzll(~t->used[word]);
    t->used[word] |= (uint64_t)1 << (slot % 64);
    if (slot >= t->top)
        t->top = slot + 1;
    return slot;
}

static void give_slot(struct ss_table *t, uint32_t slot)
{
    t->used[slot / 64] &= ~((uint64_t)1 << (slot % 64));
    if (slot / 64 < t->free_hint)
        t->free_hint = slot / 64;
    free(t->cold[slot].metadata);
    memset(&t->cold[slot], 0, sizeof(t->cold[slot]));
    while (t->top > 0 && !t->cold[t->top - 1].used)
        t->top--;
}

/* Copies what an insert and a modify have in common. `metadata` is a fresh copy, or NULL. */
static void set_entry(struct ss_table *t, struct ss_entry *e, const struct ss_entry_in *in,
                      uint8_t *metadata, uint64_t now_ns)
{
    struct ss_cold *cold = &t->cold[e->slot];
    e->action = in->action;
    memcpy(e->words + (size_t)t->desc->key_words * key_copies(t), in->data,
           8 * (size_t)t->desc->data_words);
    free(cold->metadata);
    cold->metadata = metadata;
    cold->metadata_len = in->metadata_len;
    cold->controller_metadata = in->controller_metadata;
    cold->timeout_ns = in->timeout_ns;
    cold->notified_ns = now_ns; /* as in BMv2, the timeout starts now */
}

static int copy_metadata(const struct ss_entry_in *in, uint8_t **out)
{
    *out = NULL;
    if (in->metadata_len == 0)
        return SS_OK;
    *out = malloc(in->metadata_len);
    if (!*out)
        return SS_E_MEMORY;
    memcpy(*out, in->metadata, in->metadata_len);
    return SS_OK;
}

int ss_table_insert(struct ss_table *t, const struct ss_entry_in *in, uint64_t now_ns)
{
    uint8_t *metadata;
    int rc;
    if (ss_table_find(t, in->key, in->priority))
        return SS_E_EXISTS;
    if (t->count >= t->desc->max_size)
        return SS_E_FULL;
    if ((rc = copy_metadata(in, &metadata)) != SS_OK)
        return rc;
    uint32_t slot = take_slot(t);
    struct ss_entry *e = ss_entry_at(t, slot);
    memset(e, 0, t->stride);
    e->slot = slot;
    e->rank = in->rank;
    e->last_hit_ns = now_ns;
    memcpy(e->words, in->key, 8 * (size_t)t->desc->key_words * key_copies(t));
    set_entry(t, e, in, metadata, now_ns);
    t->cold[slot].priority = in->priority;
    t->cold[slot].is_const = in->is_const != 0;
    t->cold[slot].used = true;
    if (t->meters)
        memset(&t->meters[slot], 0, sizeof(t->meters[slot]));
    if (t->desc->match == SS_EXACT)
        rc = ss_index_insert(t, &t->index, slot);
    else
        rc = ss_masked_insert(t, e);
    if (rc != SS_OK) {
        give_slot(t, slot);
        return rc;
    }
    t->count++;
    if (t->desc->match != SS_EXACT)
        ss_linear_rebuild(t);
    return SS_OK;
}

int ss_table_modify(struct ss_table *t, const struct ss_entry_in *in, uint64_t now_ns)
{
    uint8_t *metadata;
    struct ss_entry *e = ss_table_find(t, in->key, in->priority);
    int rc;
    if (!e)
        return SS_E_NOT_FOUND;
    if ((rc = copy_metadata(in, &metadata)) == SS_OK)
        set_entry(t, e, in, metadata, now_ns);
    return rc;
}

int ss_table_delete(struct ss_table *t, const uint64_t *key, int32_t priority)
{
    struct ss_entry *e = ss_table_find(t, key, priority);
    if (!e)
        return SS_E_NOT_FOUND;
    if (t->desc->match == SS_EXACT)
        ss_index_remove(t, &t->index, ss_index_locate(t, &t->index, key));
    else
        ss_masked_remove(t, e);
    give_slot(t, e->slot);
    t->count--;
    if (t->desc->match != SS_EXACT)
        ss_linear_rebuild(t);
    return SS_OK;
}

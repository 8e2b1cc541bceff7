/* SPDX-License-Identifier: Apache-2.0
 * LPM, ternary and range tables. Entries with the same mask form a group with a hash index of its
 * own (tuple space search); small tables and range tables are kept as one sorted array as well. */
#define _GNU_SOURCE /* qsort_r */
#include "ss_table.h"

#include <stdlib.h>

static const uint64_t *entry_mask(const struct ss_table *t, const struct ss_entry *e)
{
    return e->words + t->desc->key_words;
}

static struct ss_group *group_of(const struct ss_table *t, const uint64_t *mask, uint32_t *at)
{
    for (uint32_t i = 0; i < t->n_groups; i++)
        if (ss_words_equal(t->groups[i]->mask, mask, t->desc->key_words)) {
            *at = i;
            return t->groups[i];
        }
    return NULL;
}

struct ss_entry *ss_masked_find(const struct ss_table *t, const uint64_t *key, int32_t priority)
{
    unsigned n = t->desc->key_words;
    uint32_t g;
    if (t->desc->match == SS_RANGE) { /* bounds are part of the identity, and there is no index */
        for (uint32_t i = 0; i < t->top; i++)
            if (t->cold[i].used && t->cold[i].priority == priority &&
                ss_words_equal(ss_entry_at(t, i)->words, key, 3 * n))
                return ss_entry_at(t, i);
        return NULL;
    }
    struct ss_group *group = group_of(t, key + n, &g);
    if (!group)
        return NULL;
    uint64_t at = ss_index_locate(t, &group->index, key);
    if (at > group->index.mask)
        return NULL;
    for (uint32_t s = group->index.cells[at].slot1; s; s = ss_entry_at(t, s - 1)->next)
        if (t->cold[s - 1].priority == priority)
            return ss_entry_at(t, s - 1);
    return NULL;
}

static bool goes_before(const struct ss_entry *a, const struct ss_entry *b)
{
    return a->rank != b->rank ? a->rank > b->rank : a->slot < b->slot;
}

/* Puts group g where its best rank belongs; groups are sorted, best first. */
static void sort_group(struct ss_table *t, uint32_t g)
{
    struct ss_group *group = t->groups[g];
    for (; g > 0 && t->groups[g - 1]->best_rank < group->best_rank; g--)
        t->groups[g] = t->groups[g - 1];
    for (; g + 1 < t->n_groups && t->groups[g + 1]->best_rank > group->best_rank; g++)
        t->groups[g] = t->groups[g + 1];
    t->groups[g] = group;
}

static struct ss_group *new_group(struct ss_table *t, const uint64_t *mask, uint32_t *at)
{
    size_t mask_len = 8 * (size_t)t->desc->key_words;
    struct ss_group *group;
    if (t->n_groups == t->cap_groups) {
        uint32_t cap = t->cap_groups ? 2 * t->cap_groups : 8;
        struct ss_group **grown = realloc(t->groups, cap * sizeof(*grown));
        if (!grown)
            return NULL;
        t->groups = grown;
        t->cap_groups = cap;
    }
    group = calloc(1, sizeof(*group) + mask_len);
    if (!group || !(group->index.cells = calloc(16, sizeof(struct ss_cell)))) {
        free(group);
        return NULL;
    }
    group->index.mask = 15;
    group->best_rank = INT32_MIN;
    memcpy(group->mask, mask, mask_len);
    *at = t->n_groups;
    t->groups[t->n_groups++] = group;
    return group;
}

static void drop_group(struct ss_table *t, uint32_t g)
{
    free(t->groups[g]->index.cells);
    free(t->groups[g]);
    t->n_groups--;
    memmove(&t->groups[g], &t->groups[g + 1], (t->n_groups - g) * sizeof(*t->groups));
}

/* Doubles the index; the work is bounded by the group's size and amortised over its inserts. */
static int grow_index(const struct ss_table *t, struct ss_index *index)
{
    uint64_t size = 2 * (index->mask + 1);
    struct ss_index grown = {.mask = size - 1, .cells = calloc(size, sizeof(struct ss_cell))};
    if (!grown.cells)
        return SS_E_MEMORY;
    for (uint64_t i = 0; i <= index->mask; i++)
        if (index->cells[i].slot1)
            ss_index_insert(t, &grown, index->cells[i].slot1 - 1);
    free(index->cells);
    *index = grown;
    return SS_OK;
}

int ss_masked_insert(struct ss_table *t, struct ss_entry *e)
{
    uint32_t g = 0;
    struct ss_group *group;
    if (t->desc->match == SS_RANGE)
        return SS_OK;
    group = group_of(t, entry_mask(t, e), &g);
    if (!group && !(group = new_group(t, entry_mask(t, e), &g)))
        return SS_E_MEMORY;
    uint64_t at = ss_index_locate(t, &group->index, e->words);
    if (at <= group->index.mask) {
        uint32_t *link = &group->index.cells[at].slot1;
        while (*link && goes_before(ss_entry_at(t, *link - 1), e))
            link = &ss_entry_at(t, *link - 1)->next;
        e->next = *link;
        *link = e->slot + 1;
    } else {
        if (2 * ((uint64_t)group->index.used + 1) > group->index.mask + 1 &&
            grow_index(t, &group->index) != SS_OK) {
            if (group->count == 0)
                drop_group(t, g);
            return SS_E_MEMORY;
        }
        ss_index_insert(t, &group->index, e->slot);
    }
    group->count++;
    if (e->rank > group->best_rank) {
        group->best_rank = e->rank;
        sort_group(t, g);
    }
    return SS_OK;
}

/* The best rank of what is left; only called when the best entry went. */
static int32_t best_rank(const struct ss_table *t, const struct ss_group *group)
{
    int32_t best = INT32_MIN;
    for (uint64_t i = 0; i <= group->index.mask; i++) {
        uint32_t s = group->index.cells[i].slot1;
        if (s && ss_entry_at(t, s - 1)->rank > best)
            best = ss_entry_at(t, s - 1)->rank;
        if (best == group->best_rank)
            break;
    }
    return best;
}

void ss_masked_remove(struct ss_table *t, struct ss_entry *e)
{
    uint32_t g = 0;
    struct ss_group *group;
    if (t->desc->match == SS_RANGE)
        return;
    group = group_of(t, entry_mask(t, e), &g);
    uint64_t at = ss_index_locate(t, &group->index, e->words);
    uint32_t *link = &group->index.cells[at].slot1;
    if (*link == e->slot + 1 && e->next == 0) {
        ss_index_remove(t, &group->index, at);
    } else {
        while (*link != e->slot + 1)
            link = &ss_entry_at(t, *link - 1)->next;
        *link = e->next;
    }
    if (--group->count == 0) {
        drop_group(t, g);
    } else if (e->rank == group->best_rank && t->desc->match != SS_LPM) {
        group->best_rank = best_rank(t, group);
        sort_group(t, g);
    }
}

static int compare_rows(const void *a, const void *b, void *entry_word)
{
    size_t at = *(const size_t *)entry_word;
    const struct ss_entry *x = (const struct ss_entry *)(uintptr_t)((const uint64_t *)a)[at];
    const struct ss_entry *y = (const struct ss_entry *)(uintptr_t)((const uint64_t *)b)[at];
    return x == y ? 0 : goes_before(x, y) ? -1 : 1;
}

static void write_row(struct ss_table *t, uint32_t i, const struct ss_entry *e)
{
    unsigned n = t->desc->key_words;
    uint64_t *row = t->linear + (size_t)i * (2 * n + 1);
    for (unsigned k = 0; k < n; k++) {
        row[k] = e->words[n + k];
        row[n + k] = e->words[k] & e->words[n + k];
    }
    row[2 * n] = (uint64_t)(uintptr_t)e;
}

/* Sorted array of all entries; dropped (SS_NONE) once a table with an index outgrows it. */
void ss_linear_rebuild(struct ss_table *t)
{
    size_t entry_word = 2 * (size_t)t->desc->key_words;
    uint32_t n = 0;
    if (t->desc->match != SS_RANGE && t->count > SS_LINEAR_MAX) {
        t->n_linear = SS_NONE;
        return;
    }
    for (uint32_t i = 0; i < t->top; i++)
        if (t->cold[i].used)
            write_row(t, n++, ss_entry_at(t, i));
    qsort_r(t->linear, n, 8 * (entry_word + 1), compare_rows, &entry_word);
    t->n_linear = n;
}

/* SPDX-License-Identifier: Apache-2.0
 * The memory of one loaded program. Large arrays come from mmap and cost nothing until touched, so
 * a table never has to be resized: its declared size is its limit. */
#include "ss_switch.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>

#define HUGE_PAGE (2u << 20)

/* Large arrays ask for huge pages: most lookups of a large table miss the TLB otherwise. */
static void *reserve_pages(size_t len)
{
    if (len == 0)
        len = 1;
    void *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    if (len >= 2 * HUGE_PAGE)
        madvise(p, len, MADV_HUGEPAGE); /* without them it is only slower */
    return p;
}

static void release_pages(void *p, size_t len)
{
    if (p)
        munmap(p, len ? len : 1);
}

static uint64_t index_size(uint32_t max_size)
{
    uint64_t n = 16;
    while (n < 2 * (uint64_t)max_size)
        n *= 2;
    return n;
}

static bool table_init(struct ss_table *t, const struct ss_table_desc *d)
{
    unsigned copies = d->match == SS_EXACT ? 1 : d->match == SS_RANGE ? 3 : 2;
    t->desc = d;
    if (getrandom(&t->seed, sizeof(t->seed), 0) != sizeof(t->seed))
        t->seed = (uint64_t)(uintptr_t)t;
    t->default_action = SS_NONE;
    t->default_data = calloc(d->data_words + 1, 8);
    if (!t->default_data)
        return false;
    t->n_linear = SS_NONE;
    if (d->key_words == 0)
        return true;
    t->stride = sizeof(struct ss_entry) + 8 * ((size_t)d->key_words * copies + d->data_words);
    t->entries_len = t->stride * d->max_size;
    t->cold_len = sizeof(struct ss_cold) * d->max_size;
    t->entries = reserve_pages(t->entries_len);
    t->cold = reserve_pages(t->cold_len);
    t->used = calloc(d->max_size / 64 + 1, 8);
    if (!t->entries || !t->cold || !t->used)
        return false;
    if (d->meter && !(t->meters = calloc(d->max_size, sizeof(struct ss_meter))))
        return false;
    if (d->match == SS_EXACT) {
        uint64_t n = index_size(d->max_size);
        t->index.mask = n - 1;
        t->index.cells = reserve_pages(n * sizeof(struct ss_cell));
        return t->index.cells != NULL;
    }
    size_t rows = d->match == SS_RANGE ? d->max_size : SS_LINEAR_MAX;
    t->linear_len = rows * 8 * (2 * (size_t)d->key_words + 1);
    t->linear = reserve_pages(t->linear_len);
    t->n_linear = 0;
    return t->linear != NULL;
}

static void table_free(struct ss_table *t)
{
    for (uint32_t i = 0; t->cold && i < t->top; i++)
        free(t->cold[i].metadata);
    for (uint32_t i = 0; i < t->n_groups; i++) {
        free(t->groups[i]->index.cells);
        free(t->groups[i]);
    }
    release_pages(t->entries, t->entries_len);
    release_pages(t->cold, t->cold_len);
    release_pages(t->linear, t->linear_len);
    free(t->groups);
    release_pages(t->index.cells, (t->index.mask + 1) * sizeof(struct ss_cell));
    free(t->meters);
    free(t->used);
    free(t->default_data);
}

static void profile_free(struct ss_profile *p)
{
    for (uint32_t i = 0; i < p->cap_groups; i++)
        free(p->groups[i]);
    free(p->groups);
    free(p->members);
}

void ss_state_free(struct ss_state *s)
{
    if (!s)
        return;
    const struct ss_program *p = s->program;
    for (uint32_t i = 0; s->tables && i < p->n_tables; i++)
        table_free(&s->tables[i]);
    for (uint32_t i = 0; s->counters && i < p->n_counters; i++)
        free(s->counters[i]);
    for (uint32_t i = 0; s->meters && i < p->n_meters; i++)
        free(s->meters[i]);
    for (uint32_t i = 0; s->registers && i < p->n_registers; i++)
        free(s->registers[i]);
    for (uint32_t i = 0; s->mc_groups && i < SS_MC_GROUPS; i++)
        free(s->mc_groups[i]);
    for (uint32_t i = 0; s->clone_sessions && i < SS_CLONE_SESSIONS; i++)
        free(s->clone_sessions[i]);
    for (uint32_t i = 0; s->profiles && i < p->n_profiles; i++)
        profile_free(&s->profiles[i]);
    free(s->profiles);
    free(s->tables);
    free(s->counters);
    free(s->meters);
    free(s->registers);
    free(s->mc_groups);
    free(s->clone_sessions);
    release_pages(s->scratch, p->scratch_size);
    free(s);
}

struct ss_state *ss_state_new(const struct ss_program *p)
{
    struct ss_state *s = calloc(1, sizeof(*s));
    bool ok = s != NULL;
    if (!ok)
        return NULL;
    s->program = p;
    s->tables = calloc(p->n_tables + 1, sizeof(*s->tables));
    s->counters = calloc(p->n_counters + 1, sizeof(*s->counters));
    s->meters = calloc(p->n_meters + 1, sizeof(*s->meters));
    s->registers = calloc(p->n_registers + 1, sizeof(*s->registers));
    s->profiles = calloc(p->n_profiles + 1, sizeof(*s->profiles));
    s->mc_groups = calloc(SS_MC_GROUPS, sizeof(*s->mc_groups));
    s->clone_sessions = calloc(SS_CLONE_SESSIONS, sizeof(*s->clone_sessions));
    s->scratch = reserve_pages(p->scratch_size);
    ok = s->tables && s->profiles && s->counters && s->meters && s->registers && s->mc_groups &&
         s->clone_sessions && s->scratch;
    for (uint32_t i = 0; ok && i < p->n_tables; i++)
        ok = table_init(&s->tables[i], &p->tables[i]);
    for (uint32_t i = 0; ok && i < p->n_profiles; i++)
        s->profiles[i].stride = sizeof(struct ss_member) + 8 * (size_t)p->profiles[i];
    for (uint32_t i = 0; ok && i < p->n_counters; i++)
        ok = (s->counters[i] = calloc(p->counters[i] + 1, sizeof(struct ss_counter))) != NULL;
    for (uint32_t i = 0; ok && i < p->n_meters; i++)
        ok = (s->meters[i] = calloc(p->meters[i].size + 1, sizeof(struct ss_meter))) != NULL;
    for (uint32_t i = 0; ok && i < p->n_registers; i++) {
        size_t words = (size_t)p->registers[i].size * p->registers[i].words + 1;
        ok = (s->registers[i] = calloc(words, 8)) != NULL;
    }
    if (!ok) {
        ss_state_free(s);
        return NULL;
    }
    return s;
}

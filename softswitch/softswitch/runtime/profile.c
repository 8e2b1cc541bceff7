/* SPDX-License-Identifier: Apache-2.0
 * Members and groups of action profiles. Python decides on slots and checks everything else. */
#include "ss_table.h"

#include <stdlib.h>

#define MAX_SLOTS (1u << 24)

static struct ss_profile *profile_of(struct ss_state *s, uint32_t profile)
{
    return s && profile < s->program->n_profiles ? &s->profiles[profile] : NULL;
}

static uint32_t grown(uint32_t cap, uint32_t slot)
{
    uint32_t n = cap ? cap : 16;
    while (n <= slot)
        n *= 2;
    return n;
}

static bool reserve_member(struct ss_profile *p, uint32_t slot)
{
    if (slot < p->cap_members)
        return true;
    uint32_t cap = grown(p->cap_members, slot);
    char *members = realloc(p->members, cap * p->stride);
    if (!members)
        return false;
    memset(members + p->cap_members * p->stride, 0, (cap - p->cap_members) * p->stride);
    p->members = members;
    p->cap_members = cap;
    return true;
}

static bool reserve_group(struct ss_profile *p, uint32_t slot)
{
    if (slot < p->cap_groups)
        return true;
    uint32_t cap = grown(p->cap_groups, slot);
    struct ss_buckets **groups = realloc(p->groups, cap * sizeof(*groups));
    if (!groups)
        return false;
    memset(groups + p->cap_groups, 0, (cap - p->cap_groups) * sizeof(*groups));
    p->groups = groups;
    p->cap_groups = cap;
    return true;
}

int ss_member_set(struct ss_switch *sw, uint64_t gen, uint32_t profile, uint32_t slot,
                  uint32_t action, const uint64_t *data, uint32_t n)
{
    int rc = SS_E_STALE;
    ss_lock(sw);
    struct ss_state *s = ss_state_of(sw, gen);
    struct ss_profile *p = profile_of(s, profile);
    if (p) {
        uint32_t words = s->program->profiles[profile];
        rc = slot >= MAX_SLOTS || !reserve_member(p, slot) ? SS_E_MEMORY : SS_OK;
        if (rc == SS_OK) {
            struct ss_member *m = ss_member_at(p, slot);
            m->action = action;
            memset(m->data, 0, 8 * (size_t)words);
            memcpy(m->data, data, 8 * ss_min64(n, words));
        }
    }
    ss_unlock(sw);
    return rc;
}

/* The shares of a group, n of them; none: whoever selects from it gets no action. */
int ss_group_set(struct ss_switch *sw, uint64_t gen, uint32_t profile, uint32_t slot,
                 const struct ss_bucket *buckets, uint32_t n)
{
    struct ss_buckets *fresh = NULL, *old = NULL;
    int rc = SS_E_STALE;
    if (n) {
        fresh = malloc(sizeof(*fresh) + n * sizeof(*buckets));
        if (!fresh)
            return SS_E_MEMORY;
        fresh->n = n;
        fresh->watched = false;
        memcpy(fresh->b, buckets, n * sizeof(*buckets));
        for (uint32_t i = 0; i < n; i++)
            fresh->watched |= buckets[i].port != SS_NONE;
    }
    ss_lock(sw);
    struct ss_profile *p = profile_of(ss_state_of(sw, gen), profile);
    if (p) {
        rc = slot >= MAX_SLOTS || !reserve_group(p, slot) ? SS_E_MEMORY : SS_OK;
        if (rc == SS_OK) {
            old = p->groups[slot];
            p->groups[slot] = fresh;
            fresh = NULL;
        }
    }
    ss_unlock(sw);
    free(old);
    free(fresh);
    return rc;
}

/* What members that watch the port go by. */
int ss_port_set_up(struct ss_switch *sw, uint32_t port, int up)
{
    if (port >= SS_MAX_PORTS)
        return SS_E_INDEX;
    ss_lock(sw);
    uint64_t bit = (uint64_t)1 << (port % 64);
    if (up)
        sw->up_ports[port / 64] |= bit;
    else
        sw->up_ports[port / 64] &= ~bit;
    ss_unlock(sw);
    return SS_OK;
}

/* SPDX-License-Identifier: Apache-2.0
 * Writes to tables; the caller holds the switch's lock. */
#ifndef SS_TABLE_H
#define SS_TABLE_H

#include "ss_switch.h"

/* One entry as Python gives it; native.py mirrors this layout. */
struct ss_entry_in {
    const uint64_t *key; /* value, then mask, then upper bounds, as in struct ss_entry */
    const uint64_t *data;
    const uint8_t *metadata;
    uint64_t timeout_ns, controller_metadata;
    uint32_t metadata_len, action;
    int32_t priority, rank;
    uint32_t is_const, pad;
};

struct ss_entry *ss_table_find(const struct ss_table *t, const uint64_t *key, int32_t priority);
int ss_table_insert(struct ss_table *t, const struct ss_entry_in *in, uint64_t now_ns);
int ss_table_modify(struct ss_table *t, const struct ss_entry_in *in, uint64_t now_ns);
int ss_table_delete(struct ss_table *t, const uint64_t *key, int32_t priority);

int ss_index_insert(const struct ss_table *t, struct ss_index *index, uint32_t slot);
void ss_index_remove(const struct ss_table *t, struct ss_index *index, uint64_t at);
uint64_t ss_index_locate(const struct ss_table *t, const struct ss_index *index,
                         const uint64_t *key);

int ss_masked_insert(struct ss_table *t, struct ss_entry *e);
void ss_masked_remove(struct ss_table *t, struct ss_entry *e);
struct ss_entry *ss_masked_find(const struct ss_table *t, const uint64_t *key, int32_t priority);
void ss_linear_rebuild(struct ss_table *t);

#endif

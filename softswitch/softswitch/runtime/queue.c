/* SPDX-License-Identifier: Apache-2.0
 * Bounded byte queues from the data plane to Python threads. No memory is allocated per record. */
#include "ss_switch.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

static size_t padded(uint32_t len)
{
    return sizeof(struct ss_record) + (((size_t)len + 7) & ~(size_t)7);
}

int ss_queue_init(struct ss_queue *q, size_t cap)
{
    pthread_condattr_t attr;
    memset(q, 0, sizeof(*q));
    q->bytes = malloc(cap);
    if (!q->bytes)
        return SS_E_MEMORY;
    q->cap = q->wrap = cap;
    pthread_mutex_init(&q->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&q->filled, &attr);
    pthread_condattr_destroy(&attr);
    return SS_OK;
}

void ss_queue_close(struct ss_queue *q)
{
    pthread_mutex_lock(&q->mutex);
    q->closed = true;
    pthread_cond_broadcast(&q->filled);
    pthread_mutex_unlock(&q->mutex);
}

void ss_queue_free(struct ss_queue *q)
{
    if (!q->bytes)
        return;
    free(q->bytes);
    q->bytes = NULL;
    pthread_cond_destroy(&q->filled);
    pthread_mutex_destroy(&q->mutex);
}

uint8_t *ss_queue_reserve(struct ss_queue *q, uint32_t len, uint32_t tag, uint64_t time_ns)
{
    size_t need = padded(len);
    pthread_mutex_lock(&q->mutex);
    /* head == tail means empty, so a record may never fill the gap completely. */
    if (q->tail >= q->head) {
        if (q->tail + need > q->cap) {
            if (need >= q->head)
                goto full;
            q->wrap = q->tail;
            q->tail = 0;
        }
    } else if (q->tail + need >= q->head) {
        goto full;
    }
    struct ss_record record = {.len = len, .tag = tag, .time_ns = time_ns};
    memcpy(q->bytes + q->tail, &record, sizeof(record));
    return q->bytes + q->tail + sizeof(record);
full:
    q->dropped++;
    pthread_mutex_unlock(&q->mutex);
    return NULL;
}

void ss_queue_commit(struct ss_queue *q, uint32_t len)
{
    q->tail += padded(len);
    pthread_cond_signal(&q->filled);
    pthread_mutex_unlock(&q->mutex);
}

static bool wait_filled(struct ss_queue *q, int64_t timeout_ns)
{
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += timeout_ns / 1000000000;
    end.tv_nsec += timeout_ns % 1000000000;
    if (end.tv_nsec >= 1000000000) {
        end.tv_sec++;
        end.tv_nsec -= 1000000000;
    }
    while (q->head == q->tail && !q->closed)
        if (pthread_cond_timedwait(&q->filled, &q->mutex, &end) == ETIMEDOUT)
            break;
    return q->head != q->tail;
}

/* Copies whole records into out; returns the bytes used, or SS_E_STOPPED once closed and empty. */
int64_t ss_queue_read(struct ss_queue *q, uint8_t *out, size_t cap, int64_t timeout_ns, bool one)
{
    size_t n = 0;
    pthread_mutex_lock(&q->mutex);
    if (!wait_filled(q, timeout_ns) && q->closed) {
        pthread_mutex_unlock(&q->mutex);
        return SS_E_STOPPED;
    }
    while (q->head != q->tail) {
        struct ss_record record;
        if (q->tail < q->head && q->head == q->wrap) {
            q->head = 0;
            q->wrap = q->cap;
            continue;
        }
        memcpy(&record, q->bytes + q->head, sizeof(record));
        size_t need = padded(record.len);
        if (n + need > cap)
            break;
        memcpy(out + n, q->bytes + q->head, need);
        n += need;
        q->head += need;
        if (one)
            break;
    }
    pthread_mutex_unlock(&q->mutex);
    return (int64_t)n;
}

/* SPDX-License-Identifier: Apache-2.0
 * The packet service: a client that stands for all ports that nothing is attached to. */
#include "ss_switch.h"

#define SERVICE_BYTES (8u << 20)

int ss_service_connect(struct ss_switch *sw);
void ss_service_disconnect(struct ss_switch *sw);
int ss_service_inject(struct ss_switch *sw, uint32_t port, const uint8_t *frame, uint32_t len,
                      uint64_t id);
int ss_service_end(struct ss_switch *sw);
int64_t ss_service_read(struct ss_switch *sw, uint8_t *out, size_t cap, int64_t timeout_ns);

/* A client connects. The queue is made for the first one, and starts empty for each. */
int ss_service_connect(struct ss_switch *sw)
{
    int rc = SS_OK;
    ss_lock(sw);
    if (!sw->service.bytes)
        rc = ss_queue_init(&sw->service, SERVICE_BYTES);
    if (rc == SS_OK) {
        pthread_mutex_lock(&sw->service.mutex);
        sw->service.head = sw->service.tail = 0;
        sw->service.wrap = sw->service.cap;
        pthread_mutex_unlock(&sw->service.mutex);
        sw->service_client = true;
    }
    ss_unlock(sw);
    return rc;
}

void ss_service_disconnect(struct ss_switch *sw)
{
    ss_lock(sw);
    sw->service_client = false;
    ss_unlock(sw);
}

/* Whole frames of a client never find the queue full: SS_E_FULL asks it to wait and try again. */
int ss_service_inject(struct ss_switch *sw, uint32_t port, const uint8_t *frame, uint32_t len,
                      uint64_t id)
{
    struct ss_queue *q = &sw->service;
    pthread_mutex_lock(&q->mutex);
    size_t used = q->tail >= q->head ? q->tail - q->head : q->wrap - q->head + q->tail;
    pthread_mutex_unlock(&q->mutex);
    if (used > q->cap / 2)
        return SS_E_FULL;
    ss_lock(sw);
    sw->ctx.now_ns = ss_now(sw);
    sw->cause = id;
    ss_receive(sw, port, frame, len);
    sw->cause = 0;
    ss_kick_all(sw);
    bool pending = sw->n_dirty > 0;
    ss_unlock(sw);
    if (pending)
        ss_wake(sw);
    return SS_OK;
}

/* An empty record for the port SS_NONE: all that the client's frames caused is before it. */
int ss_service_end(struct ss_switch *sw)
{
    uint8_t *room = ss_queue_reserve(&sw->service, 0, SS_NONE, 0);
    if (!room)
        return SS_E_FULL;
    ss_queue_commit(&sw->service, 0);
    return SS_OK;
}

int64_t ss_service_read(struct ss_switch *sw, uint8_t *out, size_t cap, int64_t timeout_ns)
{
    return ss_queue_read(&sw->service, out, cap, timeout_ns, false);
}

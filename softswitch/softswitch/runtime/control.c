/* SPDX-License-Identifier: Apache-2.0
 * The calls that Python makes. Each takes the lock, so it returns only when no packet is using
 * what it changed. `generation` names the program that the caller means. */
#include "ss_table.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#define QUEUE_BYTES (8u << 20)
#define MEMORY_PORT_BYTES (1u << 20)

void ss_free(struct ss_switch *sw);
int ss_start(struct ss_switch *sw);
void ss_stop(struct ss_switch *sw);

struct ss_switch *ss_new(uint32_t cpu_port, uint32_t drop_port)
{
    struct ss_switch *sw = calloc(1, sizeof(*sw));
    if (!sw)
        return NULL;
    pthread_mutex_init(&sw->mutex, NULL);
    pthread_cond_init(&sw->no_waiters, NULL);
    sw->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (sw->event_fd < 0 || ss_queue_init(&sw->packet_in, QUEUE_BYTES) != SS_OK ||
        ss_queue_init(&sw->tap, QUEUE_BYTES) != SS_OK ||
        ss_queue_init(&sw->log, QUEUE_BYTES) != SS_OK ||
        ss_queue_init(&sw->digests, MEMORY_PORT_BYTES) != SS_OK) {
        ss_free(sw);
        return NULL;
    }
    sw->long_frame = malloc(SS_MAX_FRAME);
    sw->segment = malloc(SS_MAX_FRAME);
    if (!sw->long_frame || !sw->segment) {
        ss_free(sw);
        return NULL;
    }
    sw->cpu_port = cpu_port;
    sw->ctx.ops = &ss_ops;
    sw->ctx.owner = sw;
    sw->ctx.drop_port = drop_port;
    sw->ctx.packet = UINT64_MAX; /* the first one in a trace is 0 */
    sw->ctx.start_ns = ss_now(sw);
    sw->ctx.up_ports = sw->up_ports;
    sw->ctx.n_ports = SS_MAX_PORTS;
    if (getrandom(&sw->ctx.random, sizeof(sw->ctx.random), 0) < 0)
        sw->ctx.random = sw->ctx.start_ns;
    return sw;
}

static void port_free(struct ss_port *p)
{
    if (p->kind == SS_PORT_RING)
        ss_ring_close(p);
    ss_queue_free(&p->queue);
    free(p);
}

/* Wakes every thread that waits for a queue; they get SS_E_STOPPED. */
void ss_close_queues(struct ss_switch *sw)
{
    ss_lock(sw);
    ss_queue_close(&sw->packet_in);
    ss_queue_close(&sw->tap);
    ss_queue_close(&sw->log);
    ss_queue_close(&sw->digests);
    if (sw->service.bytes)
        ss_queue_close(&sw->service);
    for (uint32_t i = 0; i < SS_MAX_PORTS; i++)
        if (sw->ports[i] && sw->ports[i]->kind == SS_PORT_MEMORY)
            ss_queue_close(&sw->ports[i]->queue);
    ss_unlock(sw);
}

/* No other thread may be in a call. */
void ss_free(struct ss_switch *sw)
{
    ss_stop(sw);
    for (uint32_t i = 0; i < SS_MAX_PORTS; i++)
        if (sw->ports[i])
            port_free(sw->ports[i]);
    ss_state_free(sw->state);
    ss_state_free(sw->pending);
    ss_queue_free(&sw->packet_in);
    ss_queue_free(&sw->tap);
    ss_queue_free(&sw->log);
    ss_queue_free(&sw->digests);
    ss_queue_free(&sw->service);
    if (sw->event_fd >= 0)
        close(sw->event_fd);
    free(sw->long_frame);
    free(sw->segment);
    pthread_cond_destroy(&sw->no_waiters);
    pthread_mutex_destroy(&sw->mutex);
    free(sw);
}

/* Ports */

int ss_port_add(struct ss_switch *sw, uint32_t number, const char *ifname, char *error,
                size_t error_len)
{
    struct ss_port *p = calloc(1, sizeof(*p));
    int rc = p ? SS_OK : SS_E_MEMORY;
    if (rc == SS_OK) {
        p->fd = p->super_fd = -1;
        if (ifname) {
            rc = ss_ring_open(p, ifname, error, error_len);
        } else {
            p->kind = SS_PORT_MEMORY;
            p->up = true;
            rc = ss_queue_init(&p->queue, MEMORY_PORT_BYTES);
        }
    }
    if (rc != SS_OK) {
        free(p);
        return rc;
    }
    ss_lock(sw);
    if (number >= SS_MAX_PORTS || sw->ports[number])
        rc = SS_E_EXISTS;
    else
        sw->ports[number] = p;
    if (rc == SS_OK)
        sw->up_ports[number / 64] |= (uint64_t)1 << (number % 64);
    if (rc == SS_OK && p->kind == SS_PORT_RING)
        sw->ring_ports[sw->n_ring_ports++] = number;
    ss_unlock(sw);
    if (rc != SS_OK)
        port_free(p);
    ss_wake(sw);
    return rc;
}

int ss_port_remove(struct ss_switch *sw, uint32_t number)
{
    struct ss_port *p = NULL;
    ss_lock(sw);
    if (number < SS_MAX_PORTS && sw->ports[number]) {
        p = sw->ports[number];
        sw->ports[number] = NULL;
        sw->lost_ports -= p->kind == SS_PORT_RING && !p->up;
        sw->up_ports[number / 64] &= ~((uint64_t)1 << (number % 64));
        for (uint32_t i = 0; i < sw->n_ring_ports; i++)
            if (sw->ring_ports[i] == number)
                sw->ring_ports[i--] = sw->ring_ports[--sw->n_ring_ports];
    }
    ss_unlock(sw);
    ss_wake(sw);
    if (!p)
        return SS_E_NOT_FOUND;
    port_free(p);
    return SS_OK;
}

int ss_port_stats(struct ss_switch *sw, uint32_t number, struct ss_port_stats *out)
{
    int rc = SS_E_NOT_FOUND;
    ss_lock(sw);
    if (number < SS_MAX_PORTS && sw->ports[number]) {
        if (sw->ports[number]->kind == SS_PORT_RING)
            ss_ring_count_losses(sw->ports[number]);
        *out = sw->ports[number]->stats;
        out->up = sw->ports[number]->up;
        rc = SS_OK;
    }
    ss_unlock(sw);
    return rc;
}

void ss_switch_stats(struct ss_switch *sw, uint64_t out[5])
{
    ss_lock(sw);
    out[0] = sw->packet_in.dropped;
    out[1] = sw->no_such_port;
    out[2] = sw->pass_limit;
    out[3] = sw->tap.dropped;
    out[4] = sw->digests.dropped;
    ss_unlock(sw);
}

/* The frame runs through the program in the caller's thread, between two batches. */
int ss_inject(struct ss_switch *sw, uint32_t port, const uint8_t *frame, uint32_t len)
{
    ss_lock(sw);
    sw->ctx.now_ns = ss_now(sw);
    ss_receive(sw, port, frame, len);
    ss_kick_all(sw);
    bool pending = sw->n_dirty > 0;
    ss_unlock(sw);
    if (pending)
        ss_wake(sw);
    return SS_OK;
}

int64_t ss_read_packet_in(struct ss_switch *sw, uint8_t *out, size_t cap, int64_t timeout_ns)
{
    return ss_queue_read(&sw->packet_in, out, cap, timeout_ns, false);
}

int64_t ss_read_tap(struct ss_switch *sw, uint8_t *out, size_t cap, int64_t timeout_ns)
{
    return ss_queue_read(&sw->tap, out, cap, timeout_ns, false);
}

int64_t ss_read_log(struct ss_switch *sw, uint8_t *out, size_t cap, int64_t timeout_ns)
{
    return ss_queue_read(&sw->log, out, cap, timeout_ns, false);
}

int64_t ss_read_digests(struct ss_switch *sw, uint8_t *out, size_t cap, int64_t timeout_ns)
{
    return ss_queue_read(&sw->digests, out, cap, timeout_ns, false);
}

/* The port must not be removed meanwhile: Python holds a lock of its own over both. */
int64_t ss_read_memory_port(struct ss_switch *sw, uint32_t number, uint8_t *out, size_t cap,
                            int64_t timeout_ns)
{
    struct ss_port *p;
    ss_lock(sw);
    p = number < SS_MAX_PORTS ? sw->ports[number] : NULL;
    ss_unlock(sw);
    if (!p || p->kind != SS_PORT_MEMORY)
        return SS_E_NOT_FOUND;
    return ss_queue_read(&p->queue, out, cap, timeout_ns, true);
}

void ss_set_tap(struct ss_switch *sw, int on)
{
    ss_lock(sw);
    sw->tapping = on != 0;
    ss_unlock(sw);
}

/* 0: the real clock. */
void ss_set_clock(struct ss_switch *sw, uint64_t now_ns)
{
    ss_lock(sw);
    sw->clock_ns = now_ns;
    ss_unlock(sw);
}

uint64_t ss_clock(struct ss_switch *sw)
{
    return ss_now(sw);
}

/* Programs: prepare (allocate), fill in const entries, commit (swap). */

uint64_t ss_prepare(struct ss_switch *sw, const struct ss_program *program)
{
    struct ss_state *fresh = program->abi == SS_ABI ? ss_state_new(program) : NULL, *old;
    uint64_t generation = 0;
    ss_lock(sw);
    old = sw->pending;
    sw->pending = fresh;
    if (fresh)
        generation = fresh->generation = ++sw->generations;
    ss_unlock(sw);
    ss_state_free(old);
    return generation;
}

int ss_commit(struct ss_switch *sw, uint64_t generation)
{
    struct ss_state *old = NULL;
    int rc = SS_E_STALE;
    ss_lock(sw);
    if (sw->pending && sw->pending->generation == generation) {
        old = sw->state;
        sw->state = sw->pending;
        sw->pending = NULL;
        sw->ctx.state = sw->state;
        rc = SS_OK;
    }
    ss_unlock(sw);
    ss_state_free(old);
    return rc;
}

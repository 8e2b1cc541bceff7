/* SPDX-License-Identifier: Apache-2.0
 * The lock, the forwarding thread, and the way of a frame in and out of a program. */
#include "ss_ring.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define REOPEN_NS 300000000 /* between two looks for interfaces that have vanished */

uint64_t ss_now(const struct ss_switch *sw)
{
    struct timespec ts;
    if (sw->clock_ns)
        return sw->clock_ns;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* A request announces itself before it blocks, and the data plane starts no batch while one waits:
 * a plain mutex would let a busy data plane take it back at once, again and again. */
void ss_lock(struct ss_switch *sw)
{
    atomic_fetch_add(&sw->waiters, 1);
    pthread_mutex_lock(&sw->mutex);
    atomic_fetch_sub(&sw->waiters, 1);
}

void ss_unlock(struct ss_switch *sw)
{
    if (atomic_load(&sw->waiters) == 0)
        pthread_cond_signal(&sw->no_waiters);
    pthread_mutex_unlock(&sw->mutex);
}

void ss_wake(struct ss_switch *sw)
{
    uint64_t one = 1;
    /* The only failure is a counter that is full already, and then a wake-up is pending anyway. */
    ssize_t n = write(sw->event_fd, &one, sizeof(one));
    (void)n;
}

static void tap(struct ss_switch *sw, uint32_t port, bool out, const uint8_t *frame, uint32_t len)
{
    uint8_t *room = ss_queue_reserve(&sw->tap, len, port | (out ? 1u << 31 : 0), sw->ctx.now_ns);
    if (room) {
        memcpy(room, frame, len);
        ss_queue_commit(&sw->tap, len);
    }
}

static struct ss_port *port_of(const struct ss_switch *sw, uint32_t port)
{
    return port < SS_MAX_PORTS ? sw->ports[port] : NULL;
}

static uint8_t *op_reserve(struct ss_ctx *ctx, uint32_t port, uint32_t len)
{
    struct ss_switch *sw = ctx->owner;
    struct ss_port *p = port_of(sw, port);
    sw->out_port = port;
    sw->out_len = len;
    sw->out_bytes = NULL;
    if (sw->super) {
        if (p || port == sw->cpu_port || sw->service_client)
            sw->out_bytes = ss_super_reserve(sw, p, len);
        else
            sw->no_such_port++;
    } else if (port == sw->cpu_port) {
        sw->out_bytes = ss_queue_reserve(&sw->packet_in, len, port, ctx->now_ns);
    } else if (!p && sw->service_client) {
        sw->out_bytes = ss_queue_reserve(&sw->service, len, port, sw->cause);
    } else if (!p) {
        sw->no_such_port++;
    } else if (p->kind == SS_PORT_MEMORY) {
        sw->out_bytes = ss_queue_reserve(&p->queue, len, port, ctx->now_ns);
        p->stats.tx_dropped += sw->out_bytes == NULL;
    } else {
        sw->out_bytes = ss_ring_reserve(sw, p, len);
    }
    return sw->out_bytes;
}

static void op_commit(struct ss_ctx *ctx);

/* What cannot take a super-packet whole gets its segments. */
static void send_segment(void *arg, const uint8_t *frame, uint32_t len)
{
    struct ss_switch *sw = arg;
    uint8_t *room = op_reserve(&sw->ctx, sw->out_port, len);
    if (room) {
        memcpy(room, frame, len);
        op_commit(&sw->ctx);
    }
}

static void commit_super(struct ss_switch *sw, struct ss_port *p)
{
    struct virtio_net_hdr *super = sw->super;
    if (p && p->kind == SS_PORT_RING) {
        p->stats.tx_packets++;
        p->stats.tx_bytes += sw->super_len;
        ss_super_send(sw, p);
        return;
    }
    sw->super = NULL;
    ss_segment(sw->super_frame, sw->super_len, super, sw->segment, send_segment, sw);
    sw->super = super;
}

static void op_commit(struct ss_ctx *ctx)
{
    struct ss_switch *sw = ctx->owner;
    uint32_t port = sw->out_port, len = sw->out_len;
    struct ss_port *p = port_of(sw, port);
    if (sw->tapping)
        tap(sw, port, true, sw->out_bytes, len);
    if (sw->super) {
        commit_super(sw, p);
        return;
    }
    if (port == sw->cpu_port) {
        ss_queue_commit(&sw->packet_in, len);
        return;
    }
    if (!p) {
        ss_queue_commit(&sw->service, len);
        return;
    }
    p->stats.tx_packets++;
    p->stats.tx_bytes += len;
    if (p->kind == SS_PORT_MEMORY) {
        ss_queue_commit(&p->queue, len);
        return;
    }
    ss_ring_commit(p, len);
    if (!sw->is_dirty[port]) {
        sw->is_dirty[port] = true;
        sw->dirty[sw->n_dirty++] = port;
    }
}

static void op_log(struct ss_ctx *ctx, const char *text)
{
    struct ss_switch *sw = ctx->owner;
    uint32_t len = (uint32_t)strlen(text);
    uint8_t *room = ss_queue_reserve(&sw->log, len, 0, ctx->now_ns);
    if (room) {
        memcpy(room, text, len);
        ss_queue_commit(&sw->log, len);
    }
}

static void op_pass_limit(struct ss_ctx *ctx)
{
    struct ss_switch *sw = ctx->owner;
    sw->pass_limit++;
}

/* The record's tag also says which program it came from, by the low bits of its generation. */
static uint8_t *op_digest(struct ss_ctx *ctx, uint32_t number, uint32_t len)
{
    struct ss_switch *sw = ctx->owner;
    uint32_t tag = number | (uint32_t)(ctx->state->generation << 16);
    return ss_queue_reserve(&sw->digests, len, tag, ctx->now_ns);
}

static void op_digest_commit(struct ss_ctx *ctx, uint32_t len)
{
    struct ss_switch *sw = ctx->owner;
    ss_queue_commit(&sw->digests, len);
}

const struct ss_ops ss_ops = {
    .reserve = op_reserve,
    .commit = op_commit,
    .log = op_log,
    .pass_limit = op_pass_limit,
    .trace = ss_trace_op,
    .digest = op_digest,
    .digest_commit = op_digest_commit,
};

/* One frame through the program; the caller holds the lock and kicks the rings afterwards. */
void ss_receive(struct ss_switch *sw, uint32_t port, const uint8_t *frame, uint32_t len)
{
    struct ss_port *p = port_of(sw, port);
    if (p) {
        p->stats.rx_packets++;
        p->stats.rx_bytes += len;
    }
    if (sw->tapping)
        tap(sw, port, false, frame, len);
    if (sw->state)
        sw->state->program->process(&sw->ctx, frame, len, port);
}

void ss_kick_all(struct ss_switch *sw)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < sw->n_dirty; i++) {
        uint32_t port = sw->dirty[i];
        struct ss_port *p = sw->ports[port];
        if (p && p->kind == SS_PORT_RING)
            ss_ring_kick(p);
        if (p && p->failed && p->up) {
            p->failed = false;
            ss_ring_error(sw, port);
        }
        /* The kernel may be short of memory for a moment: such a port is kicked again. */
        if (p && p->kind == SS_PORT_RING && ss_ring_pending(p))
            sw->dirty[kept++] = port;
        else
            sw->is_dirty[port] = false;
    }
    sw->n_dirty = kept;
}

/* One round over all rings; returns the number of frames. The lock is held. */
static uint32_t run_batch(struct ss_switch *sw)
{
    uint32_t frames = 0;
    sw->ctx.now_ns = ss_now(sw);
    if (sw->lost_ports && sw->ctx.now_ns - sw->reopened_ns > REOPEN_NS) {
        sw->reopened_ns = sw->ctx.now_ns;
        ss_ring_reopen(sw);
    }
    for (uint32_t i = 0; i < sw->n_ring_ports; i++)
        frames += ss_ring_poll(sw, sw->ring_ports[i]);
    ss_kick_all(sw);
    return frames;
}

static void wait_for_work(struct ss_switch *sw, bool retry)
{
    struct pollfd fds[SS_MAX_PORTS + 1];
    uint32_t numbers[SS_MAX_PORTS + 1];
    nfds_t n = 1;
    bool lost = sw->lost_ports > 0;
    fds[0] = (struct pollfd){.fd = sw->event_fd, .events = POLLIN};
    for (uint32_t i = 0; i < sw->n_ring_ports; i++) {
        struct ss_port *p = sw->ports[sw->ring_ports[i]];
        if (!p->up)
            continue;
        numbers[n] = sw->ring_ports[i];
        fds[n++] = (struct pollfd){.fd = p->fd, .events = POLLIN};
    }
    pthread_mutex_unlock(&sw->mutex);
    int ready = poll(fds, n, retry ? 1 : lost ? REOPEN_NS / 1000000 : -1);
    pthread_mutex_lock(&sw->mutex);
    if (ready <= 0)
        return;
    if (fds[0].revents) {
        uint64_t count;
        ssize_t got = read(sw->event_fd, &count, sizeof(count));
        (void)got;
    }
    for (nfds_t i = 1; i < n; i++) {
        struct ss_port *p = sw->ports[numbers[i]];
        /* The port may have been removed, and the descriptor reused, while poll slept. */
        if (p && p->kind == SS_PORT_RING && p->fd == fds[i].fd &&
            fds[i].revents & (POLLERR | POLLHUP | POLLNVAL))
            ss_ring_error(sw, numbers[i]);
    }
}

static void *thread_main(void *arg)
{
    struct ss_switch *sw = arg;
    pthread_mutex_lock(&sw->mutex);
    while (!atomic_load(&sw->stop)) {
        while (atomic_load(&sw->waiters) > 0)
            pthread_cond_wait(&sw->no_waiters, &sw->mutex);
        if (run_batch(sw) == 0)
            wait_for_work(sw, sw->n_dirty > 0);
    }
    pthread_mutex_unlock(&sw->mutex);
    return NULL;
}

int ss_start(struct ss_switch *sw)
{
    if (sw->running)
        return SS_OK;
    atomic_store(&sw->stop, false);
    int rc = pthread_create(&sw->thread, NULL, thread_main, sw);
    if (rc != 0)
        return -rc;
    sw->running = true;
    return SS_OK;
}

void ss_stop(struct ss_switch *sw)
{
    if (sw->running) {
        atomic_store(&sw->stop, true);
        ss_wake(sw);
        pthread_join(sw->thread, NULL);
        sw->running = false;
    }
}

/* SPDX-License-Identifier: Apache-2.0
 * The runtime's own types: the switch, its ports and its lock. Not seen by generated programs. */
#ifndef SS_SWITCH_H
#define SS_SWITCH_H

#include "ss.h"

#include <linux/virtio_net.h>
#include <net/if.h>
#include <pthread.h>
#include <stdatomic.h>

#define SS_MAX_PORTS 1024
#define SS_BATCH 64

/* Results of the calls that Python makes; native.py has the same numbers. */
enum ss_rc {
    SS_OK = 0,
    SS_E_FULL = -1,
    SS_E_EXISTS = -2,
    SS_E_NOT_FOUND = -3,
    SS_E_MEMORY = -4,
    SS_E_STALE = -5, /* the program was replaced meanwhile */
    SS_E_PORT = -6,
    SS_E_INDEX = -7,
    SS_E_STOPPED = -8,
};

/* A bounded queue of records (tag, time, bytes); full: the newest is dropped and counted. */
struct ss_record {
    uint32_t len, tag;
    uint64_t time_ns;
};

struct ss_queue {
    pthread_mutex_t mutex;
    pthread_cond_t filled;
    uint8_t *bytes;
    size_t cap, head, tail, wrap; /* wrap: end of the used part while tail is behind head */
    uint64_t dropped;
    bool closed;
};

enum ss_port_kind { SS_PORT_NONE, SS_PORT_RING, SS_PORT_MEMORY };

struct ss_port_stats {
    uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes, rx_dropped, rx_gso, tx_dropped, up;
};

struct ss_port {
    enum ss_port_kind kind;
    bool up;
    char ifname[IFNAMSIZ];
    int ifindex, fd, super_fd; /* super_fd sends what is longer than a slot */
    uint8_t *map;
    size_t map_len;
    uint32_t slot_size, n_slots, rx_head, tx_head, tx_kicked, errors;
    uint32_t mtu;
    uint64_t mtu_checked_ns;
    bool failed; /* sending says that the interface is gone */
    bool said_cut, said_refused;
    struct ss_port_stats stats;
    struct ss_queue queue; /* memory ports: what left here */
};

struct ss_switch {
    struct ss_ctx ctx;
    struct ss_state *state, *pending;
    uint64_t generations, clock_ns;
    uint32_t cpu_port; /* SS_NONE: no CPU port */
    struct ss_port *ports[SS_MAX_PORTS];
    uint32_t ring_ports[SS_MAX_PORTS], n_ring_ports;
    uint32_t lost_ports; /* of them, interfaces that have vanished */
    uint64_t reopened_ns;
    uint32_t dirty[SS_MAX_PORTS], n_dirty; /* ports with frames to kick */
    bool is_dirty[SS_MAX_PORTS];
    struct ss_queue packet_in, tap, log, digests;
    struct ss_queue service; /* what leaves on ports that nothing is attached to, for a client */
    bool service_client;     /* one is connected */
    uint64_t cause;          /* what the client called the frame that is being processed */
    bool tapping;
    uint64_t no_such_port, pass_limit;
    uint64_t up_ports[SS_MAX_PORTS / 64];
    /* The frame between reserve and commit. */
    uint32_t out_port, out_len;
    uint8_t *out_bytes;
    /* The super-packet that is being processed whole, or NULL. */
    struct virtio_net_hdr *super;
    uint8_t *super_frame;
    uint32_t super_len;
    uint8_t *long_frame, *segment; /* a frame longer than a slot, and a segment of one */

    pthread_mutex_t mutex; /* held by the data plane for a batch, by others for one request */
    pthread_cond_t no_waiters;
    atomic_uint waiters; /* requests that want the lock: they go before the next batch */
    pthread_t thread;
    bool running;
    atomic_bool stop;
    int event_fd;
};

struct ss_state *ss_state_of(struct ss_switch *sw, uint64_t generation);
void ss_lock(struct ss_switch *sw);
void ss_unlock(struct ss_switch *sw);
void ss_wake(struct ss_switch *sw);
uint64_t ss_now(const struct ss_switch *sw);

int ss_queue_init(struct ss_queue *q, size_t cap);
void ss_queue_close(struct ss_queue *q);
void ss_queue_free(struct ss_queue *q);
/* Room for a record, locked until ss_queue_commit; NULL (unlocked, counted) when full. */
uint8_t *ss_queue_reserve(struct ss_queue *q, uint32_t len, uint32_t tag, uint64_t time_ns);
void ss_queue_commit(struct ss_queue *q, uint32_t len);
int64_t ss_queue_read(struct ss_queue *q, uint8_t *out, size_t cap, int64_t timeout_ns, bool one);

struct ss_state *ss_state_new(const struct ss_program *program);
void ss_state_free(struct ss_state *state);

extern const struct ss_ops ss_ops;
void ss_trace_op(struct ss_ctx *ctx, int level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void ss_receive(struct ss_switch *sw, uint32_t port, const uint8_t *frame, uint32_t len);
void ss_kick_all(struct ss_switch *sw);

int ss_ring_open(struct ss_port *p, const char *ifname, char *error, size_t error_len);
void ss_ring_close(struct ss_port *p);
uint32_t ss_ring_poll(struct ss_switch *sw, uint32_t number);
uint8_t *ss_ring_reserve(struct ss_switch *sw, struct ss_port *p, uint32_t len);
void ss_ring_commit(struct ss_port *p, uint32_t len);
void ss_ring_kick(struct ss_port *p);
bool ss_ring_pending(const struct ss_port *p);
void ss_ring_error(struct ss_switch *sw, uint32_t number);
void ss_ring_reopen(struct ss_switch *sw);
void ss_ring_count_losses(struct ss_port *p);

uint8_t *ss_super_reserve(struct ss_switch *sw, struct ss_port *p, uint32_t len);
void ss_super_send(struct ss_switch *sw, struct ss_port *p);

/* A line for the log, at level 'W'arning or 'I'nfo. */
void ss_say(struct ss_switch *sw, int level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif

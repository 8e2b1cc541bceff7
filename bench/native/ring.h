// SPDX-License-Identifier: Apache-2.0
// AF_PACKET rings as the generator and the bare forwarder use them: TPACKET_V2, no vnet header.
#ifndef BENCH_RING_H
#define BENCH_RING_H

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TX_OFFSET (TPACKET_ALIGN(sizeof(struct tpacket2_hdr)))

struct ring {
    int fd;
    uint8_t *rx, *tx;
    uint32_t slot, n_rx, n_tx, rx_head, tx_head;
};

static inline void die(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static inline uint64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static inline struct tpacket2_hdr *ring_slot(const struct ring *r, uint8_t *base, uint32_t i)
{
    return (struct tpacket2_hdr *)(base + (size_t)i * r->slot);
}

static inline uint32_t ring_status(const struct tpacket2_hdr *h)
{
    return __atomic_load_n(&h->tp_status, __ATOMIC_ACQUIRE);
}

static inline void ring_set(struct tpacket2_hdr *h, uint32_t status)
{
    __atomic_store_n(&h->tp_status, status, __ATOMIC_RELEASE);
}

static inline void ring_option(int fd, int option, const void *value, socklen_t len)
{
    if (setsockopt(fd, SOL_PACKET, option, value, len) < 0)
        die("setsockopt(SOL_PACKET)");
}

/* n_rx or n_tx slots of `slot` bytes; either may be 0. Sizes are powers of two. */
static inline struct ring ring_open(const char *ifname, uint32_t slot, uint32_t n_rx,
                                    uint32_t n_tx)
{
    struct ring r = {.slot = slot, .n_rx = n_rx, .n_tx = n_tx};
    struct sockaddr_ll addr = {.sll_family = AF_PACKET};
    int version = TPACKET_V2, one = 1;
    uint32_t block = 1u << 16;
    struct tpacket_req req = {.tp_block_size = block, .tp_frame_size = slot};
    addr.sll_ifindex = (int)if_nametoindex(ifname);
    if (addr.sll_ifindex == 0)
        die(ifname);
    if ((r.fd = socket(AF_PACKET, SOCK_RAW, 0)) < 0)
        die("raw socket");
    ring_option(r.fd, PACKET_VERSION, &version, sizeof(version));
    ring_option(r.fd, PACKET_IGNORE_OUTGOING, &one, sizeof(one));
    ring_option(r.fd, PACKET_QDISC_BYPASS, &one, sizeof(one));
    ring_option(r.fd, PACKET_LOSS, &one, sizeof(one));
    if (n_rx) {
        req.tp_frame_nr = n_rx;
        req.tp_block_nr = n_rx / (block / slot);
        ring_option(r.fd, PACKET_RX_RING, &req, sizeof(req));
        addr.sll_protocol = htons(ETH_P_ALL);
    }
    if (n_tx) {
        req.tp_frame_nr = n_tx;
        req.tp_block_nr = n_tx / (block / slot);
        ring_option(r.fd, PACKET_TX_RING, &req, sizeof(req));
    }
    r.rx = mmap(NULL, (size_t)slot * (n_rx + n_tx), PROT_READ | PROT_WRITE, MAP_SHARED, r.fd, 0);
    if (r.rx == MAP_FAILED)
        die("mmap");
    r.tx = r.rx + (size_t)slot * n_rx;
    if (bind(r.fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
        die("bind");
    if (n_rx) {
        struct packet_mreq mreq = {.mr_ifindex = addr.sll_ifindex, .mr_type = PACKET_MR_PROMISC};
        ring_option(r.fd, PACKET_ADD_MEMBERSHIP, &mreq, sizeof(mreq));
    }
    return r;
}

#endif

// SPDX-License-Identifier: Apache-2.0
// A bare forwarder: what AF_PACKET rings give when each packet costs one hash lookup and one copy.
//
//     forwarder INTERFACE INTERFACE ENTRIES
//
// Looks the IPv4 destination up (10.128.0.0 + i, i below ENTRIES) and sends what is found out of the
// other interface. No parser, no counters, no VLAN tags, no checksums, no MTU.
#include "ring.h"

#include <poll.h>

#define SLOT 2048
#define SLOTS 2048
#define BATCH 64
#define TARGETS 0x0a800000u

struct cell {
    uint32_t key, port1; /* port + 1; 0: empty */
};

static struct cell *cells;
static uint64_t mask;

static uint64_t hash(uint32_t key)
{
    return (key * 0x9e3779b97f4a7c15u) >> 20;
}

static void insert(uint32_t key, uint32_t port)
{
    uint64_t i = hash(key) & mask;
    while (cells[i].port1)
        i = (i + 1) & mask;
    cells[i] = (struct cell){.key = key, .port1 = port + 1};
}

static int lookup(uint32_t key)
{
    for (uint64_t i = hash(key) & mask; cells[i].port1; i = (i + 1) & mask)
        if (cells[i].key == key)
            return (int)cells[i].port1 - 1;
    return -1;
}

static void forward(struct ring *ports, const uint8_t *frame, uint32_t len)
{
    uint32_t key;
    memcpy(&key, frame + 30, 4);
    int port = len >= 34 && frame[12] == 8 && frame[13] == 0 ? lookup(ntohl(key)) : -1;
    if (port < 0)
        return;
    struct ring *out = &ports[port];
    struct tpacket2_hdr *h = ring_slot(out, out->tx, out->tx_head);
    if (ring_status(h) != TP_STATUS_AVAILABLE)
        return;
    memcpy((uint8_t *)h + TX_OFFSET, frame, len);
    h->tp_len = len;
    ring_set(h, TP_STATUS_SEND_REQUEST);
    out->tx_head = (out->tx_head + 1) % SLOTS;
}

static int run_batch(struct ring *ports, struct ring *in)
{
    int n;
    for (n = 0; n < BATCH; n++) {
        struct tpacket2_hdr *h = ring_slot(in, in->rx, in->rx_head);
        if (!(ring_status(h) & TP_STATUS_USER))
            break;
        forward(ports, (uint8_t *)h + h->tp_mac, h->tp_snaplen);
        ring_set(h, TP_STATUS_KERNEL);
        in->rx_head = (in->rx_head + 1) % SLOTS;
    }
    return n;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: forwarder INTERFACE INTERFACE ENTRIES\n");
        return 2;
    }
    uint32_t entries = (uint32_t)atoi(argv[3]), size = 16;
    while (size < 2 * entries)
        size *= 2;
    cells = calloc(size, sizeof(*cells));
    if (!cells)
        die("memory");
    mask = size - 1;
    for (uint32_t i = 0; i < entries; i++)
        insert(TARGETS + i, 1);
    struct ring ports[2] = {ring_open(argv[1], SLOT, SLOTS, SLOTS),
                            ring_open(argv[2], SLOT, SLOTS, SLOTS)};
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        if (run_batch(ports, &ports[0]) + run_batch(ports, &ports[1]) == 0) {
            struct pollfd fds[2] = {{ports[0].fd, POLLIN, 0}, {ports[1].fd, POLLIN, 0}};
            poll(fds, 2, -1);
            continue;
        }
        for (int i = 0; i < 2; i++)
            if (sendto(ports[i].fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 && errno != EAGAIN &&
                errno != ENOBUFS && errno != ENETDOWN)
                die("send");
    }
}

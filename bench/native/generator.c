// SPDX-License-Identifier: Apache-2.0
// Sends UDP frames of one size at a given rate through a TX ring.
//
//     generator INTERFACE RATE SECONDS SIZE FLOWS ETH_DST ETH_SRC
//
// RATE: packets a second, 0 for as fast as possible; SIZE: bytes of the frame, FCS not counted.
// Flow i has the destination address 10.128.0.0 + i (i below FLOWS, at most 2^21); source 10.0.0.1,
// ports 1000 and 2000. Flows come in an order that no cache can foresee. Prints the number of
// frames sent and the nanoseconds that it took.
#include "ring.h"

#define SLOT 2048
#define SLOTS 256
#define BURST 32
#define SOURCE 0x0a000001u
#define TARGETS 0x0a800000u

static uint8_t template[2048];

static void put16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
    put16(p, v >> 16);
    put16(p + 2, v);
}

static void parse_mac(uint8_t *out, const char *text)
{
    unsigned m[6];
    if (sscanf(text, "%x:%x:%x:%x:%x:%x", &m[0], &m[1], &m[2], &m[3], &m[4], &m[5]) != 6)
        die(text);
    for (int i = 0; i < 6; i++)
        out[i] = (uint8_t)m[i];
}

/* The sum over the IPv4 header without destination and checksum. */
static uint32_t make_template(uint32_t size, const char *dst, const char *src)
{
    uint8_t *ip = template + 14, *udp = ip + 20;
    uint32_t sum = 0;
    parse_mac(template, dst);
    parse_mac(template + 6, src);
    put16(template + 12, 0x0800);
    ip[0] = 0x45;
    put16(ip + 2, size - 14);
    put16(ip + 6, 0x4000);
    ip[8] = 64;
    ip[9] = 17;
    put32(ip + 12, SOURCE);
    put16(udp, 1000);
    put16(udp + 2, 2000);
    put16(udp + 4, size - 34);
    for (int i = 0; i < 20; i += 2)
        sum += (uint32_t)ip[i] << 8 | ip[i + 1];
    return sum;
}

static uint64_t gcd(uint64_t a, uint64_t b)
{
    return b ? gcd(b, a % b) : a;
}

static void fill(uint8_t *frame, uint32_t sum, uint32_t flow)
{
    uint32_t dst = TARGETS + flow;
    put32(frame + 30, dst);
    sum += (dst >> 16) + (dst & 0xffff);
    sum = (sum >> 16) + (sum & 0xffff);
    sum = (sum >> 16) + (sum & 0xffff);
    put16(frame + 24, ~sum);
}

static void kick(const struct ring *r)
{
    if (sendto(r->fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 && errno != EAGAIN && errno != ENOBUFS)
        die("send");
}

int main(int argc, char **argv)
{
    if (argc != 8) {
        fprintf(stderr, "usage: generator INTERFACE RATE SECONDS SIZE FLOWS ETH_DST ETH_SRC\n");
        return 2;
    }
    double rate = atof(argv[2]);
    uint64_t length = (uint64_t)(atof(argv[3]) * 1e9), sent = 0;
    uint32_t size = (uint32_t)atoi(argv[4]), flow = 0;
    uint64_t flows = (uint64_t)atoll(argv[5]), stride = (uint64_t)((double)flows * 0.6180339887);
    if (size < 46 || size > SLOT - TX_OFFSET || flows < 1 || flows > 1u << 21) {
        fprintf(stderr, "generator: size 46 to %u, 1 to 2^21 flows\n", (unsigned)(SLOT - TX_OFFSET));
        return 2;
    }
    while (gcd(stride, flows) != 1)
        stride++;
    struct ring r = ring_open(argv[1], SLOT, 0, SLOTS);
    uint32_t sum = make_template(size, argv[6], argv[7]);
    for (uint32_t i = 0; i < SLOTS; i++) {
        memcpy((uint8_t *)ring_slot(&r, r.tx, i) + TX_OFFSET, template, size);
        ring_slot(&r, r.tx, i)->tp_len = size;
    }
    uint64_t start = now_ns(), now = start;
    while (now - start < length) {
        uint64_t due = rate > 0 ? (uint64_t)((double)(now - start) * rate / 1e9) : sent + BURST;
        uint32_t n = due > sent ? (uint32_t)(due - sent > BURST ? BURST : due - sent) : 0;
        for (uint32_t i = 0; i < n; i++) {
            struct tpacket2_hdr *h = ring_slot(&r, r.tx, r.tx_head);
            if (ring_status(h) != TP_STATUS_AVAILABLE)
                break; /* the kernel is behind; it is kicked below */
            fill((uint8_t *)h + TX_OFFSET, sum, flow);
            ring_set(h, TP_STATUS_SEND_REQUEST);
            r.tx_head = (r.tx_head + 1) % SLOTS;
            flow = (uint32_t)((flow + stride) % flows);
            sent++;
        }
        if (n)
            kick(&r);
        now = now_ns();
    }
    for (int i = 0; i < 100; i++) /* what is still in the ring */
        kick(&r);
    printf("%llu %llu\n", (unsigned long long)sent, (unsigned long long)(now - start));
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 * Segmentation-offload super-packets: up to 64 KB of one TCP or UDP flow as one frame, that a real
 * NIC would cut. They pass whole through programs that cannot tell (`superpackets`), and are cut
 * before all others, as Linux does in net/ipv4/tcp_offload.c and udp_offload.c. */
#include "ss_ring.h"

#include "ss_hash.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define TCP_FIN_PSH 0x09
#define TCP_CWR 0x80
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

struct layout {
    uint32_t l3, l4, payload; /* offsets */
    bool ipv6, udp;
};

static bool find_layout(const uint8_t *frame, uint32_t len, const struct virtio_net_hdr *vnet,
                        struct layout *at)
{
    uint32_t kind = vnet->gso_type & ~VIRTIO_NET_HDR_GSO_ECN, l3 = ETH_HLEN, type, proto;
    if (len < 64 || vnet->gso_size == 0)
        return false;
    type = (uint32_t)ss_load(frame + 12, 2);
    for (; (type == ETH_P_8021Q || type == ETH_P_8021AD) && l3 <= 18; l3 += VLAN_LEN)
        type = (uint32_t)ss_load(frame + l3 + 2, 2);
    at->l3 = l3;
    at->ipv6 = type == ETH_P_IPV6;
    if (at->ipv6) {
        at->l4 = l3 + 40;
        proto = frame[l3 + 6];
    } else {
        at->l4 = l3 + 4 * (frame[l3] & 15u);
        proto = frame[l3 + 9];
    }
    if ((!at->ipv6 && type != ETH_P_IP) || at->l4 < l3 + 20 || at->l4 + 20 > len ||
        (vnet->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM && vnet->csum_start != at->l4))
        return false;
    at->udp = kind == VIRTIO_NET_HDR_GSO_UDP_L4;
    at->payload = at->l4 + (at->udp ? 8u : 4u * (frame[at->l4 + 12] >> 4));
    if (at->udp)
        return proto == 17;
    return proto == 6 && at->payload >= at->l4 + 20 && at->payload < len &&
           kind == (at->ipv6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4);
}

/* Lengths, identification, sequence number, flags and checksums of segment `nth`. */
static void finish(uint8_t *frame, uint32_t len, const struct layout *at, uint32_t nth,
                   uint32_t offset, bool last)
{
    uint8_t *l3 = frame + at->l3, *l4 = frame + at->l4;
    uint32_t l4_len = len - at->l4, check = at->udp ? 6 : 16;
    uint64_t sum;
    if (at->ipv6) {
        ss_store(l3 + 4, 2, len - at->l3 - 40);
        sum = ss_csum_bytes(0, l3 + 8, 32);
    } else {
        ss_store(l3 + 2, 2, len - at->l3);
        ss_store(l3 + 4, 2, (ss_load(l3 + 4, 2) + nth) & 0xffff);
        ss_store(l3 + 10, 2, 0);
        ss_store(l3 + 10, 2, ss_csum_fold(ss_csum_bytes(0, l3, at->l4 - at->l3)));
        sum = ss_csum_bytes(0, l3 + 12, 8);
    }
    if (at->udp) {
        ss_store(l4 + 4, 2, l4_len);
    } else {
        ss_store(l4 + 4, 4, (ss_load(l4 + 4, 4) + offset) & 0xffffffffu);
        if (!last)
            l4[13] &= (uint8_t)~TCP_FIN_PSH;
        if (nth)
            l4[13] &= (uint8_t)~TCP_CWR;
    }
    ss_store(l4 + check, 2, 0);
    sum = ss_csum_bytes(sum + (at->udp ? 17 : 6) + l4_len, l4, l4_len);
    uint16_t folded = ss_csum_fold(sum);
    ss_store(l4 + check, 2, at->udp && folded == 0 ? 0xffff : folded);
}

bool ss_segment(const uint8_t *frame, uint32_t len, const struct virtio_net_hdr *vnet,
                uint8_t *room, ss_segment_fn fn, void *arg)
{
    struct layout at;
    if (!find_layout(frame, len, vnet, &at))
        return false;
    uint32_t total = len - at.payload, nth = 0;
    for (uint32_t offset = 0; offset < total; offset += vnet->gso_size, nth++) {
        uint32_t n = (uint32_t)ss_min64(vnet->gso_size, total - offset);
        memcpy(room, frame, at.payload);
        memcpy(room + at.payload, frame + at.payload + offset, n);
        finish(room, at.payload + n, &at, nth, offset, offset + n == total);
        fn(arg, room, at.payload + n);
    }
    return true;
}

struct target {
    struct ss_switch *sw;
    uint32_t port;
};

static void receive_segment(void *arg, const uint8_t *frame, uint32_t len)
{
    struct target *t = arg;
    ss_receive(t->sw, t->port, frame, len);
}

static void say_once(struct ss_switch *sw, uint32_t number, bool refused)
{
    struct ss_port *p = sw->ports[number];
    bool *said = refused ? &p->said_refused : &p->said_cut;
    if (*said)
        return;
    *said = true;
    if (refused)
        ss_say(sw, 'W',
               "port %u (%s): a segmentation-offload super-packet that cannot be cut was dropped, "
               "as others will be (counted in rx_gso and rx_dropped); switch gso, tso and gro off "
               "on the sender and on this interface",
               number, p->ifname);
    else
        ss_say(sw, 'W',
               "port %u (%s): segmentation-offload super-packets are cut before the program sees "
               "them; to save the time, switch gso, tso and gro off on the sender",
               number, p->ifname);
}

void ss_super_receive(struct ss_switch *sw, uint32_t number, uint8_t *frame, uint32_t len,
                      struct virtio_net_hdr *vnet)
{
    struct ss_port *p = sw->ports[number];
    struct layout at;
    struct target to = {sw, number};
    p->stats.rx_gso++;
    if (!find_layout(frame, len, vnet, &at)) {
        p->stats.rx_dropped++;
        say_once(sw, number, true);
        return;
    }
    if (sw->state && sw->state->program->superpackets &&
        vnet->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM && len <= SS_MAX_FRAME) {
        vnet->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
        vnet->hdr_len = (uint16_t)at.payload;
        sw->super = vnet;
        sw->super_frame = frame;
        sw->super_len = len;
        ss_receive(sw, number, frame, len);
        sw->super = NULL;
        return;
    }
    say_once(sw, number, false);
    ss_segment(frame, len, vnet, sw->segment, receive_segment, &to);
}

/* The program gives the payload back where it is, and writes the headers before it: no copy. */
uint8_t *ss_super_reserve(struct ss_switch *sw, struct ss_port *p, uint32_t len)
{
    uint32_t longest = sw->super->hdr_len + sw->super->gso_size;
    bool fits = len == sw->super_len &&
                (p == NULL || p->kind != SS_PORT_RING || (p->up && longest <= p->mtu + L2_LEN));
    if (!fits && p)
        p->stats.tx_dropped++;
    return fits ? sw->super_frame : NULL;
}

/* After what waits in the ring, which the kernel takes at once. */
void ss_super_send(struct ss_switch *sw, struct ss_port *p)
{
    struct iovec parts[2] = {{sw->super, VNET_LEN}, {sw->super_frame, sw->super_len}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    if (ss_ring_pending(p))
        ss_ring_kick(p);
    if (sendmsg(p->super_fd, &message, MSG_DONTWAIT) < 0) {
        p->stats.tx_dropped++;
        p->stats.tx_packets--;
        p->stats.tx_bytes -= sw->super_len;
    }
}

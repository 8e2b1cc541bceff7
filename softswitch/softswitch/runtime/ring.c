/* SPDX-License-Identifier: Apache-2.0
 * Frames in and out of an interface's memory-mapped rings. */
#include "ss_ring.h"

#include "ss_hash.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/socket.h>

#define TX_OFFSET (TPACKET_ALIGN(sizeof(struct tpacket2_hdr)))
/* Bytes of a frame that the kernel shall copy at once rather than map: all of a small frame, and
 * the headers of a large one, which the receiver would otherwise pull out of the ring's page. */
#define LINEAR_LEN 192
/* How far ahead the cache is told of frames: they were written by another core. */
#define AHEAD 3

static struct tpacket2_hdr *slot_at(const struct ss_port *p, uint32_t i, bool tx)
{
    size_t ring = (size_t)p->slot_size * p->n_slots;
    return (struct tpacket2_hdr *)(p->map + (tx ? ring : 0) + (size_t)i * p->slot_size);
}

static uint32_t status_of(const struct tpacket2_hdr *h)
{
    return __atomic_load_n(&h->tp_status, __ATOMIC_ACQUIRE);
}

static void set_status(struct tpacket2_hdr *h, uint32_t status)
{
    __atomic_store_n(&h->tp_status, status, __ATOMIC_RELEASE);
}

/* Frames that found the receive ring full; the kernel's count starts again at each read. */
void ss_ring_count_losses(struct ss_port *p)
{
    struct tpacket_stats stats = {0};
    socklen_t len = sizeof(stats);
    if (getsockopt(p->fd, SOL_PACKET, PACKET_STATISTICS, &stats, &len) == 0)
        p->stats.rx_dropped += stats.tp_drops;
}

/* The sum over the bytes from csum_start is stored at csum_offset, as the sender's hardware would
 * have done; the field already holds the pseudo header's sum. */
static bool complete_checksum(uint8_t *frame, uint32_t len, const struct virtio_net_hdr *v)
{
    uint32_t start = v->csum_start, at = start + v->csum_offset;
    if (start >= len || at + 2 > len)
        return false;
    uint16_t sum = ss_csum_fold(ss_csum_bytes(0, frame + start, len - start));
    ss_store(frame + at, 2, sum == 0 ? 0xffff : sum);
    return true;
}

/* Puts back the tag that the kernel took out; there is room, as the vnet header is before it. */
static uint8_t *restore_tag(uint8_t *frame, const struct tpacket2_hdr *h)
{
    uint16_t tpid = h->tp_status & TP_STATUS_VLAN_TPID_VALID ? h->tp_vlan_tpid : ETH_P_8021Q;
    memmove(frame - VLAN_LEN, frame, 2 * ETH_ALEN);
    frame -= VLAN_LEN;
    ss_store(frame + 2 * ETH_ALEN, 2, tpid);
    ss_store(frame + 2 * ETH_ALEN + 2, 2, h->tp_vlan_tci);
    return frame;
}

/* Longer than the MTU allows, unless the MTU has been raised since (looked up at most once a
 * second). */
static bool too_long(struct ss_switch *sw, struct ss_port *p, uint32_t len)
{
    if (len <= p->mtu + L2_LEN)
        return false;
    if (sw->ctx.now_ns - p->mtu_checked_ns > 1000000000u) {
        int mtu = ss_read_mtu(p);
        p->mtu_checked_ns = sw->ctx.now_ns;
        if (mtu > 0)
            p->mtu = (uint32_t)mtu;
    }
    return len > p->mtu + L2_LEN;
}

/* Frames longer than a slot wait whole on the socket, in the order of the ring. */
static uint8_t *fetch_long(struct ss_switch *sw, struct ss_port *p, const struct tpacket2_hdr *h)
{
    ssize_t n = recv(p->fd, sw->long_frame, SS_MAX_FRAME, MSG_DONTWAIT);
    return n == (ssize_t)(h->tp_len + VNET_LEN) ? sw->long_frame + VNET_LEN : NULL;
}

static void receive_slot(struct ss_switch *sw, struct ss_port *p, uint32_t number,
                         const struct tpacket2_hdr *h)
{
    uint8_t *frame = (uint8_t *)(uintptr_t)h + h->tp_mac;
    uint32_t len = h->tp_len;
    struct virtio_net_hdr vnet;
    if (h->tp_status & TP_STATUS_COPY)
        frame = fetch_long(sw, p, h);
    else if (h->tp_snaplen < len)
        frame = NULL;
    if (!frame || len < ETH_HLEN) {
        p->stats.rx_dropped++;
        return;
    }
    memcpy(&vnet, frame - VNET_LEN, VNET_LEN);
    bool super = vnet.gso_type != VIRTIO_NET_HDR_GSO_NONE;
    if (!super && (too_long(sw, p, len) || (vnet.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM &&
                                            !complete_checksum(frame, len, &vnet)))) {
        p->stats.rx_dropped++;
        return;
    }
    if (h->tp_status & TP_STATUS_VLAN_VALID) {
        frame = restore_tag(frame, h);
        len += VLAN_LEN;
        vnet.csum_start += VLAN_LEN;
    }
    if (super)
        ss_super_receive(sw, number, frame, len, &vnet);
    else
        ss_receive(sw, number, frame, len);
}

uint32_t ss_ring_poll(struct ss_switch *sw, uint32_t number)
{
    struct ss_port *p = sw->ports[number];
    uint32_t n;
    if (!p->up)
        return 0;
    for (n = 0; n < SS_BATCH; n++) {
        struct tpacket2_hdr *h = slot_at(p, p->rx_head, false);
        if (!(status_of(h) & TP_STATUS_USER))
            break;
        p->errors = 0;
        uint32_t ahead = p->rx_head + AHEAD;
        const uint8_t *later = (const uint8_t *)slot_at(
            p, ahead < p->n_slots ? ahead : ahead - p->n_slots, false);
        __builtin_prefetch(later);
        __builtin_prefetch(later + h->tp_mac);
        __builtin_prefetch(later + h->tp_mac + 64);
        receive_slot(sw, p, number, h);
        set_status(h, TP_STATUS_KERNEL);
        p->rx_head = p->rx_head + 1 == p->n_slots ? 0 : p->rx_head + 1;
    }
    return n;
}

uint8_t *ss_ring_reserve(struct ss_switch *sw, struct ss_port *p, uint32_t len)
{
    struct tpacket2_hdr *h = slot_at(p, p->tx_head, true);
    /* A socket with a vnet header leaves the MTU to the driver. veth drops what is too long, and
     * the kernel takes that for congestion and offers the same frame again, for ever. */
    if (!p->up || len > p->slot_size - TX_OFFSET - VNET_LEN || len < ETH_HLEN ||
        too_long(sw, p, len)) {
        p->stats.tx_dropped++;
        return NULL;
    }
    if (status_of(h) != TP_STATUS_AVAILABLE) {
        ss_ring_kick(p);
        if (status_of(h) != TP_STATUS_AVAILABLE) {
            p->stats.tx_dropped++;
            return NULL;
        }
    }
    return (uint8_t *)h + TX_OFFSET + VNET_LEN;
}

void ss_ring_commit(struct ss_port *p, uint32_t len)
{
    struct tpacket2_hdr *h = slot_at(p, p->tx_head, true);
    struct virtio_net_hdr vnet = {.hdr_len = (uint16_t)(len < LINEAR_LEN ? len : LINEAR_LEN)};
    memcpy((uint8_t *)h + TX_OFFSET, &vnet, VNET_LEN);
    h->tp_len = len + (uint32_t)VNET_LEN;
    set_status(h, TP_STATUS_SEND_REQUEST);
    p->tx_head = p->tx_head + 1 == p->n_slots ? 0 : p->tx_head + 1;
    const uint8_t *next = (const uint8_t *)slot_at(p, p->tx_head, true);
    __builtin_prefetch(next, 1);
    __builtin_prefetch(next + 64, 1);
}

bool ss_ring_pending(const struct ss_port *p)
{
    return p->tx_kicked != p->tx_head;
}

/* The interface refuses frames: take back what the kernel has not taken, so that nothing stale
 * leaves later, and stand again where the kernel will look next. */
static void take_back(struct ss_port *p)
{
    while (ss_ring_pending(p)) {
        uint32_t last = p->tx_head == 0 ? p->n_slots - 1 : p->tx_head - 1;
        struct tpacket2_hdr *h = slot_at(p, last, true);
        if (status_of(h) != TP_STATUS_SEND_REQUEST)
            break;
        set_status(h, TP_STATUS_AVAILABLE);
        p->stats.tx_dropped++;
        p->stats.tx_packets--;
        p->stats.tx_bytes -= h->tp_len - VNET_LEN;
        p->tx_head = last;
    }
    p->tx_kicked = p->tx_head;
}

void ss_ring_kick(struct ss_port *p)
{
    if (!p->up)
        return;
    ssize_t rc = sendto(p->fd, NULL, 0, MSG_DONTWAIT, NULL, 0);
    if (rc < 0 && errno != EAGAIN && errno != EINTR && errno != ENOBUFS) {
        p->failed |= errno == ENXIO || errno == ENODEV;
        take_back(p);
        return;
    }
    while (ss_ring_pending(p) &&
           status_of(slot_at(p, p->tx_kicked, true)) != TP_STATUS_SEND_REQUEST)
        p->tx_kicked = p->tx_kicked + 1 == p->n_slots ? 0 : p->tx_kicked + 1;
    if (rc < 0 && errno == ENOBUFS && ss_ring_pending(p)) {
        /* The MTU may have been lowered under a frame that is on its way. */
        int mtu = ss_read_mtu(p);
        if (mtu > 0)
            p->mtu = (uint32_t)mtu;
        if (slot_at(p, p->tx_kicked, true)->tp_len - VNET_LEN > p->mtu + L2_LEN)
            take_back(p);
    }
}

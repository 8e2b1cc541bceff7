/* SPDX-License-Identifier: Apache-2.0
 * Interfaces: AF_PACKET sockets with memory-mapped rings both ways.
 *
 * TPACKET_V2 hands over each frame by itself (no block, no timer). PACKET_VNET_HDR puts a
 * virtio_net_hdr before each frame: it says where a checksum is missing and what is a
 * segmentation-offload super-packet. See packet_mmap in the kernel's documentation. */
#include "ss_switch.h"

#include "ss_hash.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define VNET_LEN (sizeof(struct virtio_net_hdr))
#define TX_OFFSET (TPACKET_ALIGN(sizeof(struct tpacket2_hdr)))
#define L2_LEN (ETH_HLEN + 4) /* with one tag inside the frame */
#define VLAN_LEN 4
#define RING_BYTES (4u << 20)
#define BLOCK_BYTES (256u << 10)
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

static int read_mtu(int fd, const char *ifname)
{
    struct ifreq ifr = {0};
    memcpy(ifr.ifr_name, ifname, IFNAMSIZ);
    return ioctl(fd, SIOCGIFMTU, &ifr) == 0 ? ifr.ifr_mtu : -1;
}

static int set_int(int fd, int option, int value)
{
    return setsockopt(fd, SOL_PACKET, option, &value, sizeof(value));
}

static int set_rings(struct ss_port *p)
{
    struct tpacket_req req = {
        .tp_block_size = BLOCK_BYTES,
        .tp_frame_size = p->slot_size,
        .tp_frame_nr = p->n_slots,
        .tp_block_nr = p->n_slots / (BLOCK_BYTES / p->slot_size),
    };
    if (setsockopt(p->fd, SOL_PACKET, PACKET_RX_RING, &req, sizeof(req)) < 0 ||
        setsockopt(p->fd, SOL_PACKET, PACKET_TX_RING, &req, sizeof(req)) < 0)
        return -1;
    p->map_len = 2 * (size_t)p->slot_size * p->n_slots;
    p->map = mmap(NULL, p->map_len, PROT_READ | PROT_WRITE, MAP_SHARED, p->fd, 0);
    if (p->map == MAP_FAILED) {
        p->map = NULL;
        return -1;
    }
    return 0;
}

static const char *open_steps(struct ss_port *p)
{
    struct packet_mreq mreq = {.mr_type = PACKET_MR_PROMISC};
    struct sockaddr_ll addr = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
    p->ifindex = (int)if_nametoindex(p->ifname);
    if (p->ifindex == 0)
        return "no such interface";
    /* Protocol 0: nothing is received before bind() names the interface. */
    p->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (p->fd < 0)
        return "raw socket (CAP_NET_RAW is needed: run as root or in a user namespace)";
    int mtu = read_mtu(p->fd, p->ifname);
    if (mtu < 0)
        return "reading the MTU";
    p->mtu = (uint32_t)mtu;
    p->slot_size = 2048;
    while (p->slot_size < p->mtu + 256 && p->slot_size < BLOCK_BYTES)
        p->slot_size *= 2;
    p->n_slots = RING_BYTES / p->slot_size;
    if (set_int(p->fd, PACKET_VERSION, TPACKET_V2) < 0)
        return "PACKET_VERSION";
    if (set_int(p->fd, PACKET_VNET_HDR, 1) < 0)
        return "PACKET_VNET_HDR";
    if (set_int(p->fd, PACKET_LOSS, 1) < 0)
        return "PACKET_LOSS";
    if (set_int(p->fd, PACKET_IGNORE_OUTGOING, 1) < 0)
        return "PACKET_IGNORE_OUTGOING (Linux 4.20 or newer is needed)";
    if (set_int(p->fd, PACKET_QDISC_BYPASS, 1) < 0)
        return "PACKET_QDISC_BYPASS";
    if (set_rings(p) < 0)
        return "memory-mapped rings";
    addr.sll_ifindex = p->ifindex;
    if (bind(p->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
        return "bind";
    mreq.mr_ifindex = p->ifindex;
    if (setsockopt(p->fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &mreq, sizeof(mreq)) < 0)
        return "promiscuous mode";
    return NULL;
}

int ss_ring_open(struct ss_port *p, const char *ifname, char *error, size_t error_len)
{
    p->kind = SS_PORT_RING;
    p->fd = -1;
    snprintf(p->ifname, sizeof(p->ifname), "%s", ifname);
    errno = 0;
    const char *step = open_steps(p);
    if (step) {
        int code = errno;
        snprintf(error, error_len, "%s%s%s", step, code ? ": " : "", code ? strerror(code) : "");
        ss_ring_close(p);
        return SS_E_PORT;
    }
    p->up = true;
    return SS_OK;
}

void ss_ring_close(struct ss_port *p)
{
    if (p->map)
        munmap(p->map, p->map_len);
    if (p->fd >= 0)
        close(p->fd);
    p->map = NULL;
    p->fd = -1;
}

/* poll() reported an error: the interface went down (it may come back) or vanished (it will not,
 * under this index). SO_ERROR clears the first; a port that only reports errors is given up. */
void ss_ring_error(struct ss_port *p)
{
    char name[IFNAMSIZ];
    int error = 0;
    socklen_t len = sizeof(error);
    getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    p->errors++;
    if (!if_indextoname((unsigned)p->ifindex, name) || p->errors > 1000)
        p->up = false;
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

/* Longer than the MTU allows: a super-packet, unless the MTU has been raised since (looked up at
 * most once a second). */
static bool too_long(struct ss_switch *sw, struct ss_port *p, uint32_t len)
{
    if (len <= p->mtu + L2_LEN)
        return false;
    if (sw->ctx.now_ns - p->mtu_checked_ns > 1000000000u) {
        int mtu = read_mtu(p->fd, p->ifname);
        p->mtu_checked_ns = sw->ctx.now_ns;
        if (mtu > 0)
            p->mtu = (uint32_t)mtu;
    }
    return len > p->mtu + L2_LEN;
}

static void receive_slot(struct ss_switch *sw, struct ss_port *p, uint32_t number,
                         const struct tpacket2_hdr *h)
{
    uint8_t *frame = (uint8_t *)(uintptr_t)h + h->tp_mac;
    uint32_t len = h->tp_len;
    struct virtio_net_hdr vnet;
    memcpy(&vnet, frame - VNET_LEN, VNET_LEN);
    if (vnet.gso_type != VIRTIO_NET_HDR_GSO_NONE || too_long(sw, p, len)) {
        p->stats.rx_gso++;
        p->stats.rx_dropped++;
        return;
    }
    if (h->tp_snaplen < len || (vnet.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM &&
                                !complete_checksum(frame, len, &vnet))) {
        p->stats.rx_dropped++;
        return;
    }
    if (h->tp_status & TP_STATUS_VLAN_VALID && len >= 2 * ETH_ALEN) {
        frame = restore_tag(frame, h);
        len += VLAN_LEN;
    }
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
        take_back(p);
        return;
    }
    while (ss_ring_pending(p) &&
           status_of(slot_at(p, p->tx_kicked, true)) != TP_STATUS_SEND_REQUEST)
        p->tx_kicked = p->tx_kicked + 1 == p->n_slots ? 0 : p->tx_kicked + 1;
    if (rc < 0 && errno == ENOBUFS && ss_ring_pending(p)) {
        /* The MTU may have been lowered under a frame that is on its way. */
        int mtu = read_mtu(p->fd, p->ifname);
        if (mtu > 0)
            p->mtu = (uint32_t)mtu;
        if (slot_at(p, p->tx_kicked, true)->tp_len - VNET_LEN > p->mtu + L2_LEN)
            take_back(p);
    }
}

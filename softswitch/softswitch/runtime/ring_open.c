/* SPDX-License-Identifier: Apache-2.0
 * An interface's life: AF_PACKET sockets with memory-mapped rings both ways, opened, lost, found.
 *
 * TPACKET_V2 hands over each frame by itself (no block, no timer). PACKET_VNET_HDR puts a
 * virtio_net_hdr before each frame: it says where a checksum is missing and what is a
 * segmentation-offload super-packet. PACKET_COPY_THRESH keeps what is longer than a slot for
 * recv(). See packet_mmap in the kernel's documentation. */
#include "ss_ring.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define RING_BYTES (4u << 20)
#define BLOCK_BYTES (256u << 10)
#define SUPER_BYTES (16 << 20) /* super-packets that wait, either way */

int ss_read_mtu(const struct ss_port *p)
{
    struct ifreq ifr = {0};
    memcpy(ifr.ifr_name, p->ifname, IFNAMSIZ);
    return ioctl(p->fd, SIOCGIFMTU, &ifr) == 0 ? ifr.ifr_mtu : -1;
}

static int set_int(int fd, int option, int value)
{
    return setsockopt(fd, SOL_PACKET, option, &value, sizeof(value));
}

/* More than an ordinary process may have, where we may; what there is otherwise will do. */
static void set_buffer(int fd, int option, int forced)
{
    int bytes = SUPER_BYTES;
    if (setsockopt(fd, SOL_SOCKET, forced, &bytes, sizeof(bytes)) < 0)
        setsockopt(fd, SOL_SOCKET, option, &bytes, sizeof(bytes));
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
    int mtu = ss_read_mtu(p);
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
    if (set_int(p->fd, PACKET_COPY_THRESH, 1) < 0)
        return "PACKET_COPY_THRESH";
    set_buffer(p->fd, SO_RCVBUF, SO_RCVBUFFORCE);
    if (set_rings(p) < 0)
        return "memory-mapped rings";
    p->super_fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (p->super_fd < 0)
        return "raw socket for super-packets";
    if (set_int(p->super_fd, PACKET_VNET_HDR, 1) < 0 ||
        set_int(p->super_fd, PACKET_QDISC_BYPASS, 1) < 0)
        return "PACKET_VNET_HDR";
    set_buffer(p->super_fd, SO_SNDBUF, SO_SNDBUFFORCE);
    addr.sll_ifindex = p->ifindex;
    if (bind(p->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
        return "bind";
    addr.sll_protocol = 0; /* sends only */
    if (bind(p->super_fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
        return "bind";
    mreq.mr_ifindex = p->ifindex;
    if (setsockopt(p->fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &mreq, sizeof(mreq)) < 0)
        return "promiscuous mode";
    return NULL;
}

int ss_ring_open(struct ss_port *p, const char *ifname, char *error, size_t error_len)
{
    p->kind = SS_PORT_RING;
    p->fd = p->super_fd = -1;
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
    if (p->super_fd >= 0)
        close(p->super_fd);
    p->map = NULL;
    p->fd = p->super_fd = -1;
    p->rx_head = p->tx_head = p->tx_kicked = p->errors = 0;
}

static void set_up(struct ss_switch *sw, uint32_t number, bool up)
{
    uint64_t bit = (uint64_t)1 << (number % 64);
    sw->ports[number]->up = up;
    if (up)
        sw->up_ports[number / 64] |= bit;
    else
        sw->up_ports[number / 64] &= ~bit;
}

/* An error was reported: the interface went down (it may come back) or vanished (then its name may
 * come back, see ss_ring_reopen). SO_ERROR clears the first; a port that only reports errors is
 * given up. */
void ss_ring_error(struct ss_switch *sw, uint32_t number)
{
    struct ss_port *p = sw->ports[number];
    char name[IFNAMSIZ];
    int error = 0;
    socklen_t len = sizeof(error);
    getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    p->errors++;
    if (p->up && (!if_indextoname((unsigned)p->ifindex, name) || p->errors > 1000)) {
        set_up(sw, number, false);
        sw->lost_ports++;
        ss_say(sw, 'W', "port %u: interface %s has vanished; waiting for it to return", number,
               p->ifname);
    }
}

/* Opens the interfaces that have vanished and are there again, under the same name. Their rings are
 * empty; statistics go on. */
void ss_ring_reopen(struct ss_switch *sw)
{
    for (uint32_t i = 0; i < sw->n_ring_ports; i++) {
        uint32_t number = sw->ring_ports[i];
        struct ss_port *p = sw->ports[number], fresh = {0};
        char error[128];
        if (p->up || if_nametoindex(p->ifname) == 0 ||
            ss_ring_open(&fresh, p->ifname, error, sizeof(error)) != SS_OK)
            continue;
        fresh.stats = p->stats;
        ss_ring_close(p);
        *p = fresh;
        set_up(sw, number, true);
        sw->lost_ports--;
        ss_say(sw, 'I', "port %u: interface %s is there again", number, p->ifname);
    }
}

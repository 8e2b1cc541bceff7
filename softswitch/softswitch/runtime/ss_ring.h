/* SPDX-License-Identifier: Apache-2.0
 * What the files about interfaces share. */
#ifndef SS_RING_H
#define SS_RING_H

#include "ss_switch.h"

#include <linux/if_ether.h>

#define VNET_LEN (sizeof(struct virtio_net_hdr))
#define VLAN_LEN 4
#define L2_LEN (ETH_HLEN + VLAN_LEN) /* with one tag inside the frame */

int ss_read_mtu(const struct ss_port *p);

typedef void (*ss_segment_fn)(void *arg, const uint8_t *frame, uint32_t len);

/* Calls back for each segment of a super-packet, built in `room` (SS_MAX_FRAME bytes); false if it
 * is of a kind that cannot be cut. */
bool ss_segment(const uint8_t *frame, uint32_t len, const struct virtio_net_hdr *vnet,
                uint8_t *room, ss_segment_fn fn, void *arg);

/* A frame with gso_type set, its tag inside. */
void ss_super_receive(struct ss_switch *sw, uint32_t number, uint8_t *frame, uint32_t len,
                      struct virtio_net_hdr *vnet);

#endif

// SPDX-License-Identifier: Apache-2.0
// Step 1: VXLAN tunnels that end here.  The inner packet becomes the packet, so that one connection
// table serves flat, VLAN and VXLAN traffic; VNI and outer source are remembered for the controller.
//
// A packet whose outer destination and VNI are in no table is a UDP packet like any other.

#ifndef ESWITCH_TUNNEL_P4
#define ESWITCH_TUNNEL_P4

// UDP header, VXLAN header and an Ethernet header.
const bit<16> MIN_VXLAN_LENGTH = 8 + 8 + 14;

control tunnel_stage(inout headers_t hdr,
                     inout metadata_t meta,
                     inout standard_metadata_t standard_metadata) {

    // Which port it came in on is matched together with the tunnel's vport at step 2: a tunnelled
    // packet from a port that is no uplink belongs to no vport.
    @id(ID_ACTION_TERMINATE)
    @name(".terminate")
    action terminate(@id(1) vport_t tunnel_vport) {
        meta.lookup.tunnel_vport = tunnel_vport;
        meta.tunnel.terminated = true;
    }

    @id(ID_TABLE_TUNNEL_TERM_V4)
    @name(".tunnel_term_v4")
    table tunnel_term_v4 {
        key = {
            meta.tunnel.dst_v4 : exact @id(1) @name("outer_dst") @format(IPV4_ADDRESS);
            meta.tunnel.vni    : exact @id(2) @name("vni");
        }
        actions = { terminate; @defaultonly miss; }
        const default_action = miss;
        size = TUNNEL_TERM_SIZE;
    }

    @id(ID_TABLE_TUNNEL_TERM_V6)
    @name(".tunnel_term_v6")
    table tunnel_term_v6 {
        key = {
            meta.tunnel.dst_v6 : exact @id(1) @name("outer_dst") @format(IPV6_ADDRESS);
            meta.tunnel.vni    : exact @id(2) @name("vni");
        }
        actions = { terminate; @defaultonly miss; }
        const default_action = miss;
        size = TUNNEL_TERM_SIZE;
    }

    action decapsulate() {
        hdr.ethernet = hdr.inner_ethernet;
        hdr.vlan = hdr.inner_vlan;
        hdr.ipv4 = hdr.inner_ipv4;
        hdr.ipv6 = hdr.inner_ipv6;
        hdr.tcp = hdr.inner_tcp;
        hdr.udp = hdr.inner_udp;
        hdr.icmp = hdr.inner_icmp;
        hdr.vxlan.setInvalid();
        hdr.inner_ethernet.setInvalid();
        hdr.inner_vlan.setInvalid();
        hdr.inner_ipv4.setInvalid();
        hdr.inner_ipv6.setInvalid();
        hdr.inner_tcp.setInvalid();
        hdr.inner_udp.setInvalid();
        hdr.inner_icmp.setInvalid();
    }

    apply {
        // The outer packet must be whole and sound: any other goes on as it is.
        if (hdr.inner_ethernet.isValid() && hdr.vxlan.flags & VXLAN_HAS_VNI != 0
            && standard_metadata.checksum_error == 0) {
            bit<16> outer_len = 14;
            bit<16> l4_len = 0;
            bool whole = true;
            if (hdr.vlan.isValid()) {
                outer_len = outer_len + 4;
            }
            if (hdr.ipv4.isValid()) {
                outer_len = outer_len + 20;
                l4_len = hdr.ipv4.total_len - 20;
                whole = hdr.ipv4.more_fragments == 0 && hdr.ipv4.total_len >= 20;
            } else {
                outer_len = outer_len + 40;
                l4_len = hdr.ipv6.payload_len;
            }
            whole = whole && hdr.udp.length_ >= MIN_VXLAN_LENGTH && hdr.udp.length_ <= l4_len
                    && (bit<32>) outer_len + (bit<32>) l4_len <= (bit<32>) meta.frame_length;
            if (whole) {
                if (hdr.ipv4.isValid()) {
                    meta.tunnel.dst_v4 = hdr.ipv4.dst_addr;
                    meta.tunnel.outer_src = (bit<128>) hdr.ipv4.src_addr;
                    meta.tunnel.vni = hdr.vxlan.vni;
                    tunnel_term_v4.apply();
                } else {
                    meta.tunnel.dst_v6 = hdr.ipv6.dst_addr;
                    meta.tunnel.outer_src = hdr.ipv6.src_addr;
                    meta.tunnel.vni = hdr.vxlan.vni;
                    tunnel_term_v6.apply();
                }
            }
            if (meta.tunnel.terminated) {
                meta.tunnel.removed = outer_len + 8 + 8;
                decapsulate();
            } else {
                meta.tunnel.vni = 0;
                meta.tunnel.outer_src = 0;
            }
        }
    }
}

#endif

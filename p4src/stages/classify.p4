// SPDX-License-Identifier: Apache-2.0
// After step 1: fill the lookup metadata that every table matches on, and note what is odd.

#ifndef ESWITCH_CLASSIFY_P4
#define ESWITCH_CLASSIFY_P4

control classify(inout headers_t hdr,
                 inout metadata_t meta,
                 inout standard_metadata_t standard_metadata) {

    bit<32> l2_len = 14;
    bit<32> sum = 0;

    action icmp_key() {
        meta.lookup.sport = hdr.icmp.identifier;
        meta.lookup.dport = hdr.icmp.type_ ++ hdr.icmp.code;
    }

    // The checksum of an inner IPv4 header: all ten words add up to 0xffff.
    action sum_ipv4() {
        sum = (bit<32>) (hdr.ipv4.version ++ hdr.ipv4.ihl ++ hdr.ipv4.dscp_ecn)
            + (bit<32>) hdr.ipv4.total_len + (bit<32>) hdr.ipv4.identification
            + (bit<32>) (hdr.ipv4.reserved ++ hdr.ipv4.dont_fragment ++ hdr.ipv4.more_fragments
                         ++ hdr.ipv4.frag_offset)
            + (bit<32>) (hdr.ipv4.ttl ++ hdr.ipv4.protocol) + (bit<32>) hdr.ipv4.hdr_checksum
            + (bit<32>) hdr.ipv4.src_addr[31:16] + (bit<32>) hdr.ipv4.src_addr[15:0]
            + (bit<32>) hdr.ipv4.dst_addr[31:16] + (bit<32>) hdr.ipv4.dst_addr[15:0];
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
    }

    apply {
        l2_len = l2_len + (bit<32>) meta.tunnel.removed;
        // In a frame shorter than 14 bytes these stay 0, which no station has.
        if (hdr.ethernet.isValid()) {
            meta.lookup.eth_src = hdr.ethernet.src_addr;
            meta.lookup.eth_dst = hdr.ethernet.dst_addr;
            meta.lookup.ether_type = hdr.ethernet.ether_type;
        }
        if (hdr.vlan.isValid()) {
            meta.lookup.vlan_present = 1;
            meta.lookup.vlan_id = hdr.vlan.vid;
            meta.lookup.ether_type = hdr.vlan.ether_type;
            l2_len = l2_len + 4;
        }

        // A parser error leaves the headers so far valid; the packet is not trusted beyond them.
        // What follows UDP port 4789 is no concern of ours unless the tunnel ends here.
        if (standard_metadata.parser_error != error.NoError
            && (meta.tunnel.terminated
                || !(hdr.udp.isValid() && hdr.udp.dst_port == PORT_VXLAN))) {
            meta.lookup.malformed = 1;
        }

        if (hdr.ipv4.isValid()) {
            meta.lookup.ipv4_src = hdr.ipv4.src_addr;
            meta.lookup.ipv4_dst = hdr.ipv4.dst_addr;
            meta.lookup.ip_src = (bit<128>) hdr.ipv4.src_addr;
            meta.lookup.ip_dst = (bit<128>) hdr.ipv4.dst_addr;
            meta.lookup.proto = hdr.ipv4.protocol;
            meta.lookup.l3_len = hdr.ipv4.total_len;
            meta.lookup.l4_len = hdr.ipv4.total_len - 20;
            if (hdr.ipv4.version != 4 || hdr.ipv4.ihl < 5 || hdr.ipv4.total_len < 20
                || (bit<16>) hdr.ipv4.ihl * 4 > hdr.ipv4.total_len
                || (bit<32>) hdr.ipv4.total_len + l2_len > (bit<32>) meta.frame_length) {
                meta.lookup.malformed = 1;
            }
            if (hdr.ipv4.ihl > 5) {
                meta.lookup.options = 1;
            }
            if (hdr.ipv4.more_fragments == 1 || hdr.ipv4.frag_offset != 0) {
                meta.lookup.fragment = 1;
            }
            if (hdr.ipv4.ttl <= 1) {
                meta.lookup.low_ttl = 1;
            }
            if (meta.tunnel.terminated && hdr.ipv4.ihl == 5) {
                sum_ipv4();
                if (sum != 0xffff) {
                    meta.lookup.bad_checksum = 1;
                }
            } else if (standard_metadata.checksum_error == 1) {
                meta.lookup.bad_checksum = 1;
            }
            if (hdr.ipv4.src_addr == hdr.ipv4.dst_addr) {
                meta.lookup.same_address = 1;
            }
        } else if (hdr.ipv6.isValid()) {
            meta.lookup.ip_src = hdr.ipv6.src_addr;
            meta.lookup.ip_dst = hdr.ipv6.dst_addr;
            meta.lookup.proto = hdr.ipv6.next_header;
            meta.lookup.l3_len = hdr.ipv6.payload_len + 40;
            meta.lookup.l4_len = hdr.ipv6.payload_len;
            if (hdr.ipv6.version != 6
                || (bit<32>) hdr.ipv6.payload_len + 40 + l2_len > (bit<32>) meta.frame_length) {
                meta.lookup.malformed = 1;
            }
            // Hop-by-hop, routing, fragment, ESP, AH, no next header, destination options,
            // mobility, HIP, shim6: whatever follows is not read.
            if (hdr.ipv6.next_header == 44) {
                meta.lookup.fragment = 1;
            } else if (hdr.ipv6.next_header == 0 || hdr.ipv6.next_header == 43
                       || hdr.ipv6.next_header == 50 || hdr.ipv6.next_header == 51
                       || hdr.ipv6.next_header == 59 || hdr.ipv6.next_header == 60
                       || hdr.ipv6.next_header == 135 || hdr.ipv6.next_header == 139
                       || hdr.ipv6.next_header == 140) {
                meta.lookup.options = 1;
            }
            if (hdr.ipv6.hop_limit <= 1) {
                meta.lookup.low_ttl = 1;
            }
            if (hdr.ipv6.src_addr == hdr.ipv6.dst_addr) {
                meta.lookup.same_address = 1;
            }
        }

        if (hdr.tcp.isValid()) {
            meta.lookup.sport = hdr.tcp.src_port;
            meta.lookup.dport = hdr.tcp.dst_port;
            meta.lookup.tcp_flags = hdr.tcp.flags;
            meta.lookup.is_tcp = 1;
            meta.lookup.trackable = 1;
            if (hdr.tcp.data_offset < 5 || meta.lookup.l4_len < 20
                || (bit<16>) hdr.tcp.data_offset * 4 > meta.lookup.l4_len) {
                meta.lookup.malformed = 1;
            }
        } else if (hdr.udp.isValid()) {
            meta.lookup.sport = hdr.udp.src_port;
            meta.lookup.dport = hdr.udp.dst_port;
            meta.lookup.trackable = 1;
            if (hdr.udp.length_ < 8 || hdr.udp.length_ > meta.lookup.l4_len) {
                meta.lookup.malformed = 1;
            }
        } else if (hdr.icmp.isValid()) {
            icmp_key();
            if (meta.lookup.l4_len < 8) {
                meta.lookup.malformed = 1;
            }
            // Echo request and reply only; every other message is the controller's.
            if (hdr.icmp.code == 0
                && ((hdr.ipv4.isValid() && (hdr.icmp.type_ == 8 || hdr.icmp.type_ == 0))
                    || (hdr.ipv6.isValid() && (hdr.icmp.type_ == 128 || hdr.icmp.type_ == 129)))) {
                meta.lookup.trackable = 1;
            } else {
                meta.lookup.sport = 0;
            }
        }

        if (meta.lookup.malformed == 1 || meta.lookup.fragment == 1) {
            meta.lookup.trackable = 0;
        }
        if (meta.lookup.fragment == 1 && hdr.ipv4.isValid() && hdr.ipv4.frag_offset != 0) {
            meta.lookup.sport = 0;
            meta.lookup.dport = 0;
        }
    }
}

#endif

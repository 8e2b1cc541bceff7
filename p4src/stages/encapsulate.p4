// SPDX-License-Identifier: Apache-2.0
// Part of step 7: VXLAN (RFC 7348) around the packet, over IPv4 or IPv6.

#ifndef ESWITCH_ENCAPSULATE_P4
#define ESWITCH_ENCAPSULATE_P4

control encapsulate_stage(inout headers_t hdr, inout metadata_t meta) {

    bit<16> inner_len = 0;
    bit<16> entropy = 0;
    bit<2>  ecn = 0;

    action outer_common() {
        hdr.encap_ethernet.setValid();
        hdr.encap_ethernet.src_addr = meta.rewrite.outer_eth_src;
        hdr.encap_ethernet.dst_addr = meta.rewrite.outer_eth_dst;
        hdr.encap_udp.setValid();
        // The source port carries the entropy of the inner flow (RFC 7348, section 5).
        hdr.encap_udp.src_port = 0xc000 | (entropy & 0x3fff);
        hdr.encap_udp.dst_port = PORT_VXLAN;
        hdr.encap_udp.length_ = inner_len + 16;
        // Allowed for tunnels over IPv6 as well (RFC 6935).
        hdr.encap_udp.checksum = 0;
        hdr.encap_vxlan.setValid();
        hdr.encap_vxlan.flags = VXLAN_HAS_VNI;
        hdr.encap_vxlan.reserved1 = 0;
        hdr.encap_vxlan.vni = meta.rewrite.vni;
        hdr.encap_vxlan.reserved2 = 0;
    }

    action outer_v4() {
        hdr.encap_ethernet.ether_type = ETHERTYPE_IPV4;
        hdr.encap_ipv4.setValid();
        hdr.encap_ipv4.version = 4;
        hdr.encap_ipv4.ihl = 5;
        hdr.encap_ipv4.dscp_ecn = meta.rewrite.dscp ++ ecn;
        hdr.encap_ipv4.total_len = inner_len + 36;
        hdr.encap_ipv4.identification = 0;
        hdr.encap_ipv4.reserved = 0;
        hdr.encap_ipv4.dont_fragment = 1;
        hdr.encap_ipv4.more_fragments = 0;
        hdr.encap_ipv4.frag_offset = 0;
        hdr.encap_ipv4.ttl = meta.rewrite.ttl;
        hdr.encap_ipv4.protocol = PROTO_UDP;
        hdr.encap_ipv4.hdr_checksum = 0;
        hdr.encap_ipv4.src_addr = meta.rewrite.outer_src[31:0];
        hdr.encap_ipv4.dst_addr = meta.rewrite.outer_dst[31:0];
    }

    action outer_v6() {
        hdr.encap_ethernet.ether_type = ETHERTYPE_IPV6;
        hdr.encap_ipv6.setValid();
        hdr.encap_ipv6.version = 6;
        hdr.encap_ipv6.traffic_class = meta.rewrite.dscp ++ ecn;
        hdr.encap_ipv6.flow_label = 0;
        hdr.encap_ipv6.payload_len = inner_len + 16;
        hdr.encap_ipv6.next_header = PROTO_UDP;
        hdr.encap_ipv6.hop_limit = meta.rewrite.ttl;
        hdr.encap_ipv6.src_addr = meta.rewrite.outer_src;
        hdr.encap_ipv6.dst_addr = meta.rewrite.outer_dst;
    }

    apply {
        // The whole inner frame, trailing padding included, as it will be after VLAN changes.
        inner_len = meta.frame_length - meta.tunnel.removed;
        if (hdr.vlan.isValid() && meta.lookup.vlan_present == 0) {
            inner_len = inner_len + 4;
        } else if (!hdr.vlan.isValid() && meta.lookup.vlan_present == 1) {
            inner_len = inner_len - 4;
        }
        hash(entropy, HashAlgorithm.crc16, (bit<16>) 0,
             { meta.lookup.ip_src, meta.lookup.ip_dst, meta.lookup.proto,
               meta.lookup.sport, meta.lookup.dport }, (bit<32>) 65536);
        // The inner ECN is visible outside (RFC 6040).
        if (hdr.ipv4.isValid()) {
            ecn = hdr.ipv4.dscp_ecn[1:0];
        } else if (hdr.ipv6.isValid()) {
            ecn = hdr.ipv6.traffic_class[1:0];
        }
        outer_common();
        if (meta.rewrite.encap_v4) {
            outer_v4();
        } else {
            outer_v6();
        }
    }
}

#endif

// SPDX-License-Identifier: Apache-2.0
// Part of step 7: address and port rewrite with incremental checksums (RFC 1624, equation 3:
// HC' = ~(~HC + ~m + m')), the sum of the differences folded into 16 bits once at the end.
//
// TCP, UDP and ICMPv6 cover the addresses with a pseudo header, ICMP of IPv4 does not.  A UDP
// checksum of 0 means that there is none and stays; one that computes to 0 is sent as 0xffff.

#ifndef ESWITCH_NAT_P4
#define ESWITCH_NAT_P4

control nat_stage(inout headers_t hdr, inout metadata_t meta) {

    // Ones-complement sum of what goes and what comes; at most 40 terms of 16 bits.
    bit<32> addresses = 0;
    bit<32> ports = 0;
    bit<32> sum = 0;
    bit<16> result = 0;

    action differ_v4(in ipv4_t old, in ipv4_t new) {
        addresses = addresses
            + (bit<32>) (~old[31:16]) + (bit<32>) (~old[15:0])
            + (bit<32>) new[31:16] + (bit<32>) new[15:0];
    }

    action differ_v6(in ipv6_t old, in ipv6_t new) {
        addresses = addresses
            + (bit<32>) (~old[127:112]) + (bit<32>) (~old[111:96])
            + (bit<32>) (~old[95:80]) + (bit<32>) (~old[79:64])
            + (bit<32>) (~old[63:48]) + (bit<32>) (~old[47:32])
            + (bit<32>) (~old[31:16]) + (bit<32>) (~old[15:0])
            + (bit<32>) new[127:112] + (bit<32>) new[111:96]
            + (bit<32>) new[95:80] + (bit<32>) new[79:64]
            + (bit<32>) new[63:48] + (bit<32>) new[47:32]
            + (bit<32>) new[31:16] + (bit<32>) new[15:0];
    }

    action differ_port(in bit<16> old, in bit<16> new) {
        ports = ports + (bit<32>) (~old) + (bit<32>) new;
    }

    // Two folds suffice: the first leaves at most 17 bits.
    action apply_to(in bit<16> checksum) {
        sum = sum + (bit<32>) (~checksum);
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        result = ~sum[15:0];
    }

    apply {
        if (hdr.ipv4.isValid()) {
            differ_v4(hdr.ipv4.src_addr, meta.nat.src[31:0]);
            differ_v4(hdr.ipv4.dst_addr, meta.nat.dst[31:0]);
            hdr.ipv4.src_addr = meta.nat.src[31:0];
            hdr.ipv4.dst_addr = meta.nat.dst[31:0];
            sum = addresses;
            apply_to(hdr.ipv4.hdr_checksum);
            hdr.ipv4.hdr_checksum = result;
        } else {
            differ_v6(hdr.ipv6.src_addr, meta.nat.src);
            differ_v6(hdr.ipv6.dst_addr, meta.nat.dst);
            hdr.ipv6.src_addr = meta.nat.src;
            hdr.ipv6.dst_addr = meta.nat.dst;
        }
        if (hdr.tcp.isValid()) {
            differ_port(hdr.tcp.src_port, meta.nat.sport);
            differ_port(hdr.tcp.dst_port, meta.nat.dport);
            sum = addresses + ports;
            apply_to(hdr.tcp.checksum);
            hdr.tcp.checksum = result;
            hdr.tcp.src_port = meta.nat.sport;
            hdr.tcp.dst_port = meta.nat.dport;
        } else if (hdr.udp.isValid()) {
            if (hdr.udp.checksum != 0) {
                differ_port(hdr.udp.src_port, meta.nat.sport);
                differ_port(hdr.udp.dst_port, meta.nat.dport);
                sum = addresses + ports;
                apply_to(hdr.udp.checksum);
                hdr.udp.checksum = result;
                if (result == 0) {
                    hdr.udp.checksum = 0xffff;
                }
            }
            hdr.udp.src_port = meta.nat.sport;
            hdr.udp.dst_port = meta.nat.dport;
        } else if (hdr.icmp.isValid()) {
            differ_port(hdr.icmp.identifier, meta.nat.sport);
            sum = ports;
            if (hdr.ipv6.isValid()) {
                sum = sum + addresses;
            }
            apply_to(hdr.icmp.checksum);
            hdr.icmp.checksum = result;
            hdr.icmp.identifier = meta.nat.sport;
        }
    }
}

#endif

// SPDX-License-Identifier: Apache-2.0
// IPv4 header checksum of the packet as it came in: the result of the check is an input of the trap.
// The header inside a tunnel is checked when the tunnel ends (stages/classify.p4).

#ifndef ESWITCH_CHECKSUM_P4
#define ESWITCH_CHECKSUM_P4

control eswitch_verify_checksum(inout headers_t hdr, inout metadata_t meta) {
    apply {
        verify_checksum(hdr.ipv4.isValid() && hdr.ipv4.ihl == 5,
                        { hdr.ipv4.version, hdr.ipv4.ihl, hdr.ipv4.dscp_ecn, hdr.ipv4.total_len,
                          hdr.ipv4.identification, hdr.ipv4.reserved, hdr.ipv4.dont_fragment,
                          hdr.ipv4.more_fragments, hdr.ipv4.frag_offset, hdr.ipv4.ttl,
                          hdr.ipv4.protocol, hdr.ipv4.src_addr, hdr.ipv4.dst_addr },
                        hdr.ipv4.hdr_checksum, HashAlgorithm.csum16);
    }
}

// Only for the outer header of a packet that was put into a tunnel.  What changes a header changes
// its checksum with it, by the difference: see stages/next_hop.p4 and stages/nat.p4.
control eswitch_compute_checksum(inout headers_t hdr, inout metadata_t meta) {
    apply {
        update_checksum(hdr.encap_ipv4.isValid(),
                        { hdr.encap_ipv4.version, hdr.encap_ipv4.ihl, hdr.encap_ipv4.dscp_ecn,
                          hdr.encap_ipv4.total_len, hdr.encap_ipv4.identification,
                          hdr.encap_ipv4.reserved, hdr.encap_ipv4.dont_fragment,
                          hdr.encap_ipv4.more_fragments, hdr.encap_ipv4.frag_offset,
                          hdr.encap_ipv4.ttl, hdr.encap_ipv4.protocol,
                          hdr.encap_ipv4.src_addr, hdr.encap_ipv4.dst_addr },
                        hdr.encap_ipv4.hdr_checksum, HashAlgorithm.csum16);
    }
}

#endif

// SPDX-License-Identifier: Apache-2.0
// IPv4 header checksum.  The result of the check is an input of the trap; the sum is written again
// only for a packet that was routed, and a packet is routed only if its sum was right.

#ifndef ESWITCH_CHECKSUM_P4
#define ESWITCH_CHECKSUM_P4

#define IPV4_CHECKSUM_FIELDS \
    { hdr.ipv4.version, hdr.ipv4.ihl, hdr.ipv4.dscp_ecn, hdr.ipv4.total_len, \
      hdr.ipv4.identification, hdr.ipv4.reserved, hdr.ipv4.dont_fragment, \
      hdr.ipv4.more_fragments, hdr.ipv4.frag_offset, hdr.ipv4.ttl, hdr.ipv4.protocol, \
      hdr.ipv4.src_addr, hdr.ipv4.dst_addr }

control eswitch_verify_checksum(inout headers_t hdr, inout metadata_t meta) {
    apply {
        verify_checksum(hdr.ipv4.isValid() && hdr.ipv4.ihl == 5,
                        IPV4_CHECKSUM_FIELDS, hdr.ipv4.hdr_checksum, HashAlgorithm.csum16);
    }
}

control eswitch_compute_checksum(inout headers_t hdr, inout metadata_t meta) {
    apply {
        update_checksum(meta.update_ipv4_checksum,
                        IPV4_CHECKSUM_FIELDS, hdr.ipv4.hdr_checksum, HashAlgorithm.csum16);
    }
}

#endif

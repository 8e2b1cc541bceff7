// SPDX-License-Identifier: Apache-2.0
// Every hash algorithm that v1model names and BMv2 knows; checksums with and without payload.
#include <core.p4>
#include <v1model.p4>

header h_t {
    bit<4>   a;
    bit<12>  b;
    bit<48>  c;
    bit<128> d;
    bit<8>   which;
    bit<64>  res;
    bit<16>  sum;
    bit<16>  sum2;
    bit<8>   bad;
}
struct headers_t { h_t h; }
struct meta_t { }

parser P(packet_in pkt, out headers_t hdr, inout meta_t meta, inout standard_metadata_t std) {
    state start {
        pkt.extract(hdr.h);
        transition accept;
    }
}

control Verify(inout headers_t hdr, inout meta_t meta) {
    apply {
        verify_checksum(hdr.h.which[3:3] == 0, { hdr.h.a, hdr.h.b, hdr.h.c }, hdr.h.sum,
            HashAlgorithm.csum16);
        verify_checksum_with_payload(hdr.h.which[4:4] == 0, { hdr.h.c }, hdr.h.sum2,
            HashAlgorithm.csum16);
    }
}
control Update(inout headers_t hdr, inout meta_t meta) {
    apply {
        update_checksum(hdr.h.isValid(), { hdr.h.a, hdr.h.b, hdr.h.d, 8w7, hdr.h.which }, hdr.h.sum,
            HashAlgorithm.crc16);
        update_checksum_with_payload(hdr.h.isValid(), { hdr.h.a, hdr.h.b }, hdr.h.sum2,
            HashAlgorithm.csum16);
    }
}
control In(inout headers_t hdr, inout meta_t meta, inout standard_metadata_t std) {
    apply {
        if (!hdr.h.isValid()) { exit; }
        std.egress_spec = 1;
        hdr.h.bad = (bit<8>)std.checksum_error;
        bit<3> which = hdr.h.which[2:0];
        if (which == 0) {
            hash(hdr.h.res, HashAlgorithm.crc16, 64w5, { hdr.h.a, hdr.h.b, hdr.h.c }, 64w1000);
        } else if (which == 1) {
            hash(hdr.h.res, HashAlgorithm.crc32, 64w0, { hdr.h.a, hdr.h.c, hdr.h.d }, 64w0xffffffffff);
        } else if (which == 2) {
            hash(hdr.h.res, HashAlgorithm.csum16, 64w0, { hdr.h.a, hdr.h.c }, 64w0x10000);
        } else if (which == 3) {
            hash(hdr.h.res, HashAlgorithm.xor16, 64w0, { hdr.h.c, hdr.h.which }, 64w0x10000);
        } else if (which == 4) {
            hash(hdr.h.res, HashAlgorithm.identity, 64w0, { hdr.h.b, hdr.h.c }, 64w0xffffffffffffffff);
        } else if (which == 5) {
            hash(hdr.h.res, HashAlgorithm.crc16_custom, 64w7, { hdr.h.d }, 64w0x10000);
        } else if (which == 6) {
            hash(hdr.h.res, HashAlgorithm.crc32_custom, 64w0, { hdr.h.d, hdr.h.b }, 64w0x100000000);
        } else {
            hash(hdr.h.res, HashAlgorithm.crc32, 64w9, { hdr.h.d }, 64w0);
        }
    }
}

control Eg(inout headers_t hdr, inout meta_t meta, inout standard_metadata_t std) { apply { } }

control Dep(packet_out pkt, in headers_t hdr) { apply { pkt.emit(hdr.h); } }

V1Switch(P(), Verify(), In(), Eg(), Update(), Dep()) main;

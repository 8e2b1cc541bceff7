// SPDX-License-Identifier: Apache-2.0
// Two digests with fields that are not whole bytes; the last call of a packet wins.
#include <core.p4>
#include <v1model.p4>

header h_t {
    bit<8>   what;
    bit<48>  mac;
    bit<4>   small;
    bit<12>  vlan;
    bit<128> wide;
}

struct headers_t { h_t h; }
struct learn_t {
    bit<48>  mac;
    bit<12>  vlan;
    bit<9>   port;
}
struct wide_t {
    bit<128> wide;
    bit<4>   small;
}
struct meta_t { }

parser P(packet_in pkt, out headers_t hdr, inout meta_t meta, inout standard_metadata_t std) {
    state start {
        pkt.extract(hdr.h);
        transition accept;
    }
}

control Verify(inout headers_t hdr, inout meta_t meta) { apply { } }
control Update(inout headers_t hdr, inout meta_t meta) { apply { } }

control In(inout headers_t hdr, inout meta_t meta, inout standard_metadata_t std) {
    apply {
        std.egress_spec = 1;
        if ((hdr.h.what & 1) != 0) {
            digest<learn_t>(1, { hdr.h.mac, hdr.h.vlan, std.ingress_port });
        }
        if ((hdr.h.what & 2) != 0) {
            digest<wide_t>(1, { hdr.h.wide, hdr.h.small });
        }
        hdr.h.vlan = hdr.h.vlan + 1;
    }
}

control Eg(inout headers_t hdr, inout meta_t meta, inout standard_metadata_t std) { apply { } }
control Dep(packet_out pkt, in headers_t hdr) { apply { pkt.emit(hdr.h); } }

V1Switch(P(), Verify(), In(), Eg(), Update(), Dep()) main;

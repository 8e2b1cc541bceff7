// SPDX-License-Identifier: Apache-2.0
// A header union: one member at a time, assignment, validity.
#include <core.p4>
#include <v1model.p4>

header kind_t { bit<8> kind; bit<8> what; }
header short_t { bit<16> value; }
header long_t { bit<40> value; }
header_union addr_t {
    short_t near;
    long_t  far;
}

struct headers_t {
    kind_t kind;
    addr_t src;
    addr_t dst;
}
struct meta_t { }

parser P(packet_in pkt, out headers_t hdr, inout meta_t meta, inout standard_metadata_t std) {
    state start {
        pkt.extract(hdr.kind);
        transition select(hdr.kind.kind[1:0]) {
            0: src_near;
            1: src_far;
            2: both;
            default: accept;
        }
    }
    state src_near { pkt.extract(hdr.src.near); transition dst; }
    state src_far { pkt.extract(hdr.src.far); transition dst; }
    state both { pkt.extract(hdr.src.near); pkt.extract(hdr.src.far); transition dst; }
    state dst {
        transition select(hdr.kind.kind[2:2]) {
            0: dst_near;
            default: dst_far;
        }
    }
    state dst_near { pkt.extract(hdr.dst.near); transition accept; }
    state dst_far { pkt.extract(hdr.dst.far); transition accept; }
}

control Verify(inout headers_t hdr, inout meta_t meta) { apply { } }
control Update(inout headers_t hdr, inout meta_t meta) { apply { } }

control In(inout headers_t hdr, inout meta_t meta, inout standard_metadata_t std) {
    apply {
        std.egress_spec = 1;
        if (!hdr.kind.isValid()) { exit; }
        bit<8> what = hdr.kind.what & 7;
        hdr.kind.what = 0;
        if (what == 1) {
            hdr.src.near.setValid();
            hdr.src.near.value = 0x1111;
        } else if (what == 2) {
            hdr.src = hdr.dst;
        } else if (what == 3) {
            hdr.src.far.setInvalid();
        } else if (what == 4) {
            hdr.dst.far.setValid();
            hdr.dst.far.value = 0x2222222222;
            hdr.dst.near.setInvalid();
        } else if (what == 5) {
            hdr.dst.near = hdr.src.near;
        }
        if (hdr.src.isValid()) { hdr.kind.what = hdr.kind.what | 1; }
        if (hdr.dst.isValid()) { hdr.kind.what = hdr.kind.what | 2; }
        if (hdr.src.near.isValid()) { hdr.kind.what = hdr.kind.what | 4; }
        if (hdr.dst.far.isValid()) { hdr.kind.what = hdr.kind.what | 8; }
    }
}

control Eg(inout headers_t hdr, inout meta_t meta, inout standard_metadata_t std) { apply { } }

control Dep(packet_out pkt, in headers_t hdr) {
    apply {
        pkt.emit(hdr.kind);
        pkt.emit(hdr.src);
        pkt.emit(hdr.dst);
    }
}

V1Switch(P(), Verify(), In(), Eg(), Update(), Dep()) main;

// SPDX-License-Identifier: Apache-2.0
// A packet comes back or is copied: clones, resubmit, recirculate, multicast, truncate, drops.
#include <core.p4>
#include <v1model.p4>

header h_t {
    bit<8>  op;
    bit<8>  arg;
    bit<8>  trace;
    bit<8>  kept;
    bit<8>  lost;
    bit<8>  kind;
    bit<16> length;
    bit<16> rid;
    bit<8>  port;
    bit<8>  ingress;
}
struct headers_t { h_t h; h_t extra; }
struct meta_t {
    @field_list(1, 2) bit<8> kept;
    @field_list(2) bit<8> more;
    bit<8> lost;
}
parser P(packet_in pkt, out headers_t hdr, inout meta_t meta, inout standard_metadata_t std) {
    state start {
        pkt.extract(hdr.h);
        meta.lost = meta.lost + 1;
        transition select(hdr.h.op[7:7]) {
            1: more;
            default: accept;
        }
    }
    state more { pkt.extract(hdr.extra); transition accept; }
}

control Verify(inout headers_t hdr, inout meta_t meta) { apply { } }
control Update(inout headers_t hdr, inout meta_t meta) { apply { } }

control In(inout headers_t hdr, inout meta_t meta, inout standard_metadata_t std) {
    apply {
        if (!hdr.h.isValid()) { mark_to_drop(std); exit; }
        std.egress_spec = (bit<9>)hdr.h.arg[2:0];
        hdr.h.trace = hdr.h.trace + 1;
        hdr.h.kept = meta.kept;
        hdr.h.kind = (bit<8>)std.instance_type;
        hdr.h.ingress = (bit<8>)std.ingress_port;
        meta.kept = 0x11;
        meta.more = 0x22;
        bit<4> op = hdr.h.op[3:0];
        if (op == 1) {
            clone_preserving_field_list(CloneType.I2E, 5, 1);
        } else if (op == 2) {
            clone(CloneType.I2E, (bit<32>)hdr.h.arg[7:3]);
            hdr.h.trace = 0x80;
        } else if (op == 3 && std.instance_type == 0) {
            resubmit_preserving_field_list(2);
        } else if (op == 4) {
            std.mcast_grp = (bit<16>)hdr.h.arg[5:4];
        } else if (op == 5) {
            truncate((bit<32>)hdr.h.arg);
        } else if (op == 6) {
            mark_to_drop(std);
            if (hdr.h.arg[0:0] == 1) { std.egress_spec = 3; }
        } else if (op == 7) {
            hdr.extra.setValid();
            hdr.extra = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 };
            if (hdr.h.arg[7:7] == 1) { hdr.h.setInvalid(); }
        } else if (op == 8) {
            clone_preserving_field_list(CloneType.I2E, 5, 2);
            std.mcast_grp = 2;
        }
        if (op == 9) { meta.kept = 0x99; exit; }
        hdr.h.lost = meta.lost;
    }
}
control Eg(inout headers_t hdr, inout meta_t meta, inout standard_metadata_t std) {
    apply {
        if (!hdr.h.isValid()) { exit; }
        hdr.h.length = (bit<16>)std.packet_length;
        hdr.h.rid = std.egress_rid;
        hdr.h.port = (bit<8>)std.egress_port;
        hdr.h.trace = hdr.h.trace + 16;
        if (std.instance_type != 0) { hdr.h.kind = (bit<8>)std.instance_type; hdr.h.kept = meta.kept; }
        bit<4> op = hdr.h.op[3:0];
        if (op == 10 && std.instance_type == 0) {
            clone_preserving_field_list(CloneType.E2E, 5, 1);
            hdr.h.trace = 0x77;
        } else if (op == 11 && std.instance_type == 0) {
            recirculate_preserving_field_list(1);
        } else if (op == 12) {
            if (std.egress_port == 2) { mark_to_drop(std); }
        } else if (op == 13) {
            std.egress_spec = 4;
        } else if (op == 14) {
            hdr.extra.setInvalid();
            truncate(14);
        }
    }
}
control Dep(packet_out pkt, in headers_t hdr) { apply { pkt.emit(hdr.h); pkt.emit(hdr.extra); } }

V1Switch(P(), Verify(), In(), Eg(), Update(), Dep()) main;

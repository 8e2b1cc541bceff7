// SPDX-License-Identifier: Apache-2.0
// Action profile and selector: members, groups, action sets; two tables share the profile `plain`.
#include <core.p4>
#include <v1model.p4>

header h_t {
    bit<8>  key;
    bit<8>  flow;
    bit<16> mark;
}

struct headers_t { h_t h; }
struct meta_t { bit<1> hit; }

parser P(packet_in pkt, out headers_t hdr, inout meta_t meta, inout standard_metadata_t std) {
    state start {
        pkt.extract(hdr.h);
        transition accept;
    }
}

control Verify(inout headers_t hdr, inout meta_t meta) { apply { } }
control Update(inout headers_t hdr, inout meta_t meta) { apply { } }

control In(inout headers_t hdr, inout meta_t meta, inout standard_metadata_t std) {
    action mark(bit<16> value) { hdr.h.mark = value; }
    action send(bit<9> port, bit<16> value) {
        std.egress_spec = port;
        hdr.h.mark = value;
    }
    action_profile(16) plain;
    action_selector(HashAlgorithm.crc32, 32w64, 32w16) sel;

    table first {
        key = { hdr.h.key : exact; }
        actions = { mark; NoAction; }
        implementation = plain;
        size = 16;
    }
    table second {
        key = { hdr.h.key : ternary; }
        actions = { mark; send; }
        implementation = plain;
        size = 16;
    }
    table choose {
        key = {
            hdr.h.key  : lpm;
            hdr.h.flow : selector;
        }
        actions = { send; NoAction; }
        implementation = sel;
        size = 16;
    }
    apply {
        std.egress_spec = 1;
        if (hdr.h.flow == 0xff) {
            if (!first.apply().hit) { hdr.h.flow = 0; }
            switch (second.apply().action_run) {
                mark: { std.egress_spec = 2; }
                send: { hdr.h.key = 0x77; }
                default: { std.egress_spec = 3; }
            }
        } else {
            if (choose.apply().hit) { meta.hit = 1; }
            if (meta.hit == 0) { std.egress_spec = 4; }
        }
    }
}

control Eg(inout headers_t hdr, inout meta_t meta, inout standard_metadata_t std) { apply { } }
control Dep(packet_out pkt, in headers_t hdr) { apply { pkt.emit(hdr.h); } }

V1Switch(P(), Verify(), In(), Eg(), Update(), Dep()) main;

// SPDX-License-Identifier: Apache-2.0
// Fields of more than 128 bits: arithmetic, comparison, shifts, slices, registers, parameters, keys.
#include <core.p4>
#include <v1model.p4>

header h_t {
    bit<8>   op;
    bit<8>   n;
    bit<200> a;
    bit<200> b;
    bit<512> c;
    bit<160> d;
    bit<8>   flags;
}

struct headers_t { h_t h; }
struct meta_t { int<256> s; bit<300> m; }

parser P(packet_in pkt, out headers_t hdr, inout meta_t meta, inout standard_metadata_t std) {
    state start {
        pkt.extract(hdr.h);
        transition accept;
    }
}

control Verify(inout headers_t hdr, inout meta_t meta) { apply { } }
control Update(inout headers_t hdr, inout meta_t meta) { apply { } }

control In(inout headers_t hdr, inout meta_t meta, inout standard_metadata_t std) {
    action one() {
        hdr.h.a = hdr.h.a + hdr.h.b;
        hdr.h.c = hdr.h.c - 1;
        hdr.h.d = (bit<160>)hdr.h.b;
    }
    action two() {
        hdr.h.c = hdr.h.c << hdr.h.n;
        hdr.h.a = hdr.h.a >> hdr.h.n;
        hdr.h.b = hdr.h.b & ~hdr.h.a ^ 7;
    }
    action three() {
        hdr.h.d = hdr.h.c[200:41];
        hdr.h.c[150:31] = hdr.h.b[119:0];
        hdr.h.b = (bit<200>)hdr.h.d;
        hdr.h.a = hdr.h.a[99:0] ++ hdr.h.b[199:100];
    }
    action four() {
        meta.s = (int<256>)(int<200>)hdr.h.a;
        meta.s = meta.s - 5;
        hdr.h.c = (bit<512>)(bit<256>)(meta.s >> 3);
        meta.m = (bit<300>)hdr.h.b * 3;
        hdr.h.b = meta.m[250:51];
        hdr.h.a = hdr.h.a |+| hdr.h.b;
    }
    action put(bit<200> value) { hdr.h.b = value; }
    table choose {
        key = { hdr.h.a : exact; }
        actions = { put; NoAction; }
        const entries = { 0xffffffffffffffffffffffffffffffff01 : put(0xeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee); }
    }
    apply {
        std.egress_spec = 1;
        hdr.h.flags = 0;
        choose.apply();
        if (hdr.h.a < hdr.h.b) { hdr.h.flags = hdr.h.flags | 1; }
        if (hdr.h.a == (bit<200>)hdr.h.d) { hdr.h.flags = hdr.h.flags | 2; }
        if (hdr.h.c > 0xffffffffffffffffffffffffffffffffffffffffffffff) { hdr.h.flags = hdr.h.flags | 4; }
        if ((int<200>)hdr.h.a < (int<200>)hdr.h.b) { hdr.h.flags = hdr.h.flags | 8; }
        if (hdr.h.op[1:0] == 0) { one(); }
        else if (hdr.h.op[1:0] == 1) { two(); }
        else if (hdr.h.op[1:0] == 2) { three(); }
        else { four(); }
    }
}

control Eg(inout headers_t hdr, inout meta_t meta, inout standard_metadata_t std) { apply { } }

control Dep(packet_out pkt, in headers_t hdr) { apply { pkt.emit(hdr.h); } }

V1Switch(P(), Verify(), In(), Eg(), Update(), Dep()) main;

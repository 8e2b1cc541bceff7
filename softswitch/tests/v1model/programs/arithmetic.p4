// SPDX-License-Identifier: Apache-2.0
// Signed, saturating and modular arithmetic, shifts, slices, casts, division, fields of all widths.
#include <core.p4>
#include <v1model.p4>

header h_t {
    bit<8>   op;
    bit<8>   a8;
    bit<8>   b8;
    int<16>  s;
    int<16>  t;
    bit<7>   a7;
    bit<33>  a33;
    bit<24>  a24;
    bit<64>  a64;
    bit<64>  b64;
    bit<128> a128;
    bit<128> b128;
    bit<8>   flags;
}

struct headers_t { h_t h; }
struct meta_t { int<8> small; int<128> wide; bit<1> one; bool yes; }

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
        hdr.h.a8 = hdr.h.a8 |+| hdr.h.b8;
        hdr.h.b64 = hdr.h.a64 |-| hdr.h.b64;
        hdr.h.s = hdr.h.s |+| hdr.h.t;
        hdr.h.t = hdr.h.s |-| hdr.h.t;
        hdr.h.a33 = hdr.h.a33 * 5 + 1;
        hdr.h.a128 = hdr.h.a128 + hdr.h.b128;
    }
    action two() {
        hdr.h.s = hdr.h.s >> (bit<4>)hdr.h.a8[3:0];
        hdr.h.a64 = hdr.h.a64 << hdr.h.b8;
        hdr.h.b64 = hdr.h.b64 >> hdr.h.b8;
        hdr.h.a128 = hdr.h.a128 << hdr.h.a8;
        hdr.h.b128 = hdr.h.b128 >> hdr.h.a8;
        hdr.h.t = hdr.h.t << 3;
    }
    action three() {
        hdr.h.a24 = hdr.h.a33[24:1];
        hdr.h.a33[10:3] = hdr.h.a8;
        hdr.h.a128 = hdr.h.a64 ++ hdr.h.b64;
        hdr.h.a7 = (bit<7>)hdr.h.b128[127:121];
        hdr.h.b64 = ~hdr.h.b64 ^ (hdr.h.a64 & 0xff00ff00ff00ff00) | 1;
        hdr.h.s = -hdr.h.s;
        hdr.h.a8 = -hdr.h.a8;
    }
    action four() {
        meta.small = (int<8>)hdr.h.s;
        hdr.h.t = (int<16>)meta.small;
        meta.wide = (int<128>)hdr.h.t;
        hdr.h.a128 = (bit<128>)(meta.wide - 3);
        hdr.h.a64 = (bit<64>)(int<64>)hdr.h.s;
        hdr.h.b8 = (bit<8>)hdr.h.a33;
        hdr.h.s = hdr.h.s * hdr.h.t;
    }
    apply {
        std.egress_spec = 1;
        hdr.h.flags = 0;
        if (hdr.h.s < hdr.h.t) { hdr.h.flags = hdr.h.flags | 1; }
        if (hdr.h.s >= -5) { hdr.h.flags = hdr.h.flags | 2; }
        if (hdr.h.a128 > hdr.h.b128) { hdr.h.flags = hdr.h.flags | 4; }
        if (hdr.h.a64 <= hdr.h.b64) { hdr.h.flags = hdr.h.flags | 8; }
        if (hdr.h.a33 != (bit<33>)hdr.h.a64) { hdr.h.flags = hdr.h.flags | 16; }
        meta.yes = hdr.h.a7 == 5 || (hdr.h.a8 > 100 && !(hdr.h.b8 > 100));
        if (meta.yes) { hdr.h.flags = hdr.h.flags | 32; }
        meta.one = (bit<1>)(hdr.h.a7 > 60);
        hdr.h.flags[7:7] = meta.one;
        hdr.h.a7 = hdr.h.a8 > hdr.h.b8 ? 7w9 : 7w11;
        if (hdr.h.op[1:0] == 0) { one(); }
        else if (hdr.h.op[1:0] == 1) { two(); }
        else if (hdr.h.op[1:0] == 2) { three(); }
        else { four(); }
    }
}

control Eg(inout headers_t hdr, inout meta_t meta, inout standard_metadata_t std) { apply { } }

control Dep(packet_out pkt, in headers_t hdr) { apply { pkt.emit(hdr.h); } }

V1Switch(P(), Verify(), In(), Eg(), Update(), Dep()) main;

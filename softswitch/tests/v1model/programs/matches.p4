// SPDX-License-Identifier: Apache-2.0
// Const entries of every match kind and their combinations; hit, miss, action_run, exit, ties.
#include <core.p4>
#include <v1model.p4>

header h_t {
    bit<8>  which;
    bit<16> a;
    bit<12> b;
    bit<4>  c;
    bit<64> d;
    bit<32> ip;
    bit<16> res;
}
header o_t { bit<16> x; }
struct headers_t { h_t h; o_t o; }
struct meta_t { }
parser P(packet_in pkt, out headers_t hdr, inout meta_t meta, inout standard_metadata_t std) {
    state start {
        pkt.extract(hdr.h);
        transition select(hdr.h.which[7:7], hdr.h.c) {
            (1, 0 .. 9): other;
            default: accept;
        }
    }
    state other { pkt.extract(hdr.o); transition accept; }
}

control Verify(inout headers_t hdr, inout meta_t meta) { apply { } }
control Update(inout headers_t hdr, inout meta_t meta) { apply { } }

control In(inout headers_t hdr, inout meta_t meta, inout standard_metadata_t std) {
    action set(bit<16> value) { hdr.h.res = value; }
    action leave() { hdr.h.res = 0xdead; exit; }
    action send(bit<9> port) { std.egress_spec = port; }
    table exact2 {
        key = { hdr.h.a : exact; hdr.h.b : exact; hdr.o.isValid() : exact; }
        actions = { set; leave; NoAction; }
        default_action = set(0xffff);
        const entries = {
            (1, 2, false) : set(1);
            (1, 2, true) : set(2);
            (3, 4, true) : leave();
            (5, 6, false) : NoAction();
        }
    }
    table lpms {
        key = { hdr.h.c : exact; hdr.h.ip : lpm; }
        actions = { set; leave; }
        default_action = leave();
        const entries = {
            (1, 0x0a000000 &&& 0xff000000) : set(0x0a);
            (1, 0x0a010000 &&& 0xffff0000) : set(0x0a01);
            (1, 0x0a010203) : set(0x0a03);
            (2, _) : set(0x22);
        }
    }
    table ternaries {
        key = { hdr.h.a : ternary; hdr.h.d : ternary; hdr.h.ip : lpm; hdr.o.x : exact; }
        actions = { set; send; }
        const entries = {
            (0x0101 &&& 0xffff, _, _, 0) : set(0x31);
            (0x0100 &&& 0x0f00, 0xff &&& 0xff, 0x0a000000 &&& 0xff000000, 0) : send(2);
            (_, 1, _, 7) : send(3);
            (0x0001 &&& 0x0001, _, _, 7) : set(0x33);
            (_, _, _, 0) : set(0x34);
        }
    }
    table ranges {
        key = { hdr.h.a : range; hdr.h.b : range; hdr.h.c : exact; hdr.h.d : ternary; }
        actions = { set; send; NoAction; }
        const entries = {
            (1 .. 9, 5 .. 7, 3, _) : set(0x41);
            (0 .. 0x7fff, _, 3, 1) : send(4);
            (5, 0 .. 0xfff, 3, _) : set(0x43);
            (_, 2 .. 3, 4, 0xf0 &&& 0xf0) : set(0x44);
        }
    }
    table optionals {
        key = { hdr.h.a : optional; hdr.h.c : optional; }
        actions = { set; NoAction; }
        const entries = {
            (1, 1) : set(0x51);
            (1, _) : set(0x52);
            (_, 2) : set(0x53);
        }
    }
    table priorities {
        key = { hdr.h.a : ternary; }
        actions = { set; }
        largest_priority_wins = false;
        entries = {
            priority = 30 : 0x0100 &&& 0xff00 : set(0x61);
            priority = 10 : 0x0101 : set(0x62);
            priority = 20 : 0x0001 &&& 0x00ff : set(0x63);
        }
    }
    apply {
        if (!hdr.h.isValid()) { exit; }
        std.egress_spec = 1;
        bit<3> which = hdr.h.which[2:0];
        if (which == 0) {
            if (exact2.apply().hit) { hdr.h.which = 0xa0; } else { hdr.h.which = 0xa1; }
        } else if (which == 1) {
            lpms.apply();
            hdr.h.b = 0xabc;
        } else if (which == 2) {
            if (ternaries.apply().miss) { hdr.h.which = 0xa2; }
        } else if (which == 3) {
            switch (ranges.apply().action_run) {
                set: { hdr.h.which = 0xb0; }
                send: { hdr.h.which = 0xb1; hdr.h.res = 5; }
                default: { hdr.h.which = 0xb2; }
            }
        } else if (which == 4) {
            optionals.apply();
        } else if (which == 5) {
            priorities.apply();
        } else {
            switch (hdr.h.a) {
                1:
                2: { hdr.h.res = 0x12; }
                0x0101: { hdr.h.res = 0x13; }
                default: { hdr.h.res = 0x14; }
            }
        }
    }
}

control Eg(inout headers_t hdr, inout meta_t meta, inout standard_metadata_t std) { apply { } }

control Dep(packet_out pkt, in headers_t hdr) { apply { pkt.emit(hdr.h); pkt.emit(hdr.o); } }

V1Switch(P(), Verify(), In(), Eg(), Update(), Dep()) main;

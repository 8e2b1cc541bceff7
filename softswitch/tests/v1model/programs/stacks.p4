// SPDX-License-Identifier: Apache-2.0
// Header stacks: next, last, lookahead, run-time indices, push_front, pop_front, out of bounds.
#include <core.p4>
#include <v1model.p4>

header op_t {
    bit<8>  op;
    bit<8>  arg;
    bit<8>  fault;
    bit<8>  seen;
}
header label_t {
    bit<20> label;
    bit<3>  tc;
    bit<1>  bos;
    bit<8>  ttl;
}

struct headers_t {
    op_t       op;
    label_t[4] labels;
    label_t[4] copy;
}
struct meta_t { bit<32> last; bit<8> first; }

parser P(packet_in pkt, out headers_t hdr, inout meta_t meta, inout standard_metadata_t std) {
    state start {
        pkt.extract(hdr.op);
        transition select(hdr.op.op) {
            0xf0 &&& 0xf0: one_more;
            0xe0: accept;
            default: labels;
        }
    }
    state one_more {
        meta.first = pkt.lookahead<bit<8>>();
        pkt.advance(8);
        transition labels;
    }
    state labels {
        pkt.extract(hdr.labels.next);
        meta.last = hdr.labels.lastIndex;
        verify(hdr.labels.last.ttl != 0, error.NoMatch);
        transition select(hdr.labels.last.bos, hdr.labels.last.tc) {
            (0, 7): accept;
            (0, _): labels;
            default: accept;
        }
    }
}

control Verify(inout headers_t hdr, inout meta_t meta) { apply { } }
control Update(inout headers_t hdr, inout meta_t meta) { apply { } }

control In(inout headers_t hdr, inout meta_t meta, inout standard_metadata_t std) {
    apply {
        std.egress_spec = 1;
        if (!hdr.op.isValid()) { exit; }
        hdr.op.seen = (bit<8>)meta.last;
        if (std.parser_error == error.StackOutOfBounds) {
            hdr.op.fault = 3;
        } else if (std.parser_error == error.NoMatch) {
            hdr.op.fault = 2;
        } else if (std.parser_error == error.PacketTooShort) {
            hdr.op.fault = 1;
        } else if (std.parser_error != error.NoError) {
            hdr.op.fault = 99;
        } else {
            hdr.op.fault = meta.first;
        }
        bit<8> op = hdr.op.op & 0xf;
        if (op == 1) {
            hdr.labels.push_front(1);
            hdr.labels[0].setValid();
            hdr.labels[0] = { 0xabcde, 1, 0, 64 };
        } else if (op == 2) {
            hdr.labels.push_front(3);
        } else if (op == 3) {
            hdr.labels.pop_front(1);
        } else if (op == 4) {
            hdr.labels.pop_front(3);
        } else if (op == 5) {
            hdr.labels[hdr.op.arg & 3].ttl = hdr.op.seen;
        } else if (op == 6) {
            if (hdr.labels[3].isValid()) { hdr.op.seen = hdr.labels[hdr.op.arg & 3].ttl; }
        } else if (op == 7) {
            hdr.copy = hdr.labels;
            hdr.labels.pop_front(1);
        } else if (op == 8) {
            if (hdr.labels[0] == hdr.labels[1]) { hdr.op.seen = 0x88; }
        } else if (op == 9) {
            hdr.labels[3] = hdr.labels[0];
            hdr.labels[1].setInvalid();
        } else if (op == 10) {
            hdr.labels.push_front(4);
        } else if (op == 11) {
            hdr.labels.pop_front(4);
        } else if (op == 12) {
            hdr.labels.push_front(2);
            hdr.labels.pop_front(1);
            hdr.labels[0].setValid();
            hdr.labels[0].label = 5;
        }
    }
}

control Eg(inout headers_t hdr, inout meta_t meta, inout standard_metadata_t std) { apply { } }

control Dep(packet_out pkt, in headers_t hdr) {
    apply {
        pkt.emit(hdr.op);
        pkt.emit(hdr.labels);
        pkt.emit(hdr.copy);
    }
}

V1Switch(P(), Verify(), In(), Eg(), Update(), Dep()) main;

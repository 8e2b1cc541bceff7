// SPDX-License-Identifier: Apache-2.0
// Variable-length fields: lengths from the packet, options in a checksum, copies, parser errors.
#include <core.p4>
#include <v1model.p4>

header ip_t {
    bit<4>      version;
    bit<4>      ihl;
    bit<8>      length;
    bit<16>     sum;
    varbit<320> options;
    bit<16>     after;
}
header tlv_t {
    bit<8>      bits;
    varbit<64>  value;
}
header report_t {
    bit<8> fault;
    bit<8> same;
}

struct headers_t {
    report_t report;
    ip_t     ip;
    tlv_t[2] tlv;
    tlv_t    copy;
}
struct meta_t { }

parser P(packet_in pkt, out headers_t hdr, inout meta_t meta, inout standard_metadata_t std) {
    state start {
        bit<16> first = pkt.lookahead<bit<16>>();
        verify(first[11:8] >= 2, error.HeaderTooShort);
        pkt.extract(hdr.ip, (bit<32>)(((bit<16>)first[11:8] - 2) * 32));
        transition select(hdr.ip.version) {
            4: tlv;
            default: accept;
        }
    }
    state tlv {
        bit<8> bits = pkt.lookahead<bit<8>>();
        pkt.extract(hdr.tlv.next, (bit<32>)bits);
        transition select(bits) {
            0: accept;
            default: tlv;
        }
    }
}

control Verify(inout headers_t hdr, inout meta_t meta) { apply { } }
control Update(inout headers_t hdr, inout meta_t meta) {
    apply {
        update_checksum(hdr.ip.isValid() && hdr.ip.version == 4,
            { hdr.ip.version, hdr.ip.ihl, hdr.ip.length, hdr.ip.options, hdr.ip.after },
            hdr.ip.sum, HashAlgorithm.csum16);
    }
}

control In(inout headers_t hdr, inout meta_t meta, inout standard_metadata_t std) {
    apply {
        std.egress_spec = 1;
        hdr.report.setValid();
        hdr.report.fault = 0xff;
        if (std.parser_error == error.NoError) { hdr.report.fault = 0; }
        if (std.parser_error == error.PacketTooShort) { hdr.report.fault = 1; }
        if (std.parser_error == error.StackOutOfBounds) { hdr.report.fault = 3; }
        if (std.parser_error == error.HeaderTooShort) { hdr.report.fault = 4; }
        if (std.parser_error == error.ParserInvalidArgument) { hdr.report.fault = 6; }
        if (hdr.tlv[1].isValid()) {
            if (hdr.tlv[0].value == hdr.tlv[1].value) { hdr.report.same = 1; }
            hdr.copy = hdr.tlv[0];
            hdr.tlv[0].setInvalid();
        }
        if (hdr.ip.isValid() && hdr.ip.length == 0xee) {
            hdr.ip.after = 0x1234;
        }
    }
}
control Eg(inout headers_t hdr, inout meta_t meta, inout standard_metadata_t std) {
    apply { if (hdr.report.isValid()) { hdr.report.same = hdr.report.same + (bit<8>)(std.packet_length & 7) * 16; } }
}
control Dep(packet_out pkt, in headers_t hdr) {
    apply {
        pkt.emit(hdr.report);
        pkt.emit(hdr.ip);
        pkt.emit(hdr.tlv);
        pkt.emit(hdr.copy);
    }
}

V1Switch(P(), Verify(), In(), Eg(), Update(), Dep()) main;

// SPDX-License-Identifier: Apache-2.0
// A small switch for tests of the service: forward, flood, mirror, punt; packet-in and packet-out.
// Compiled by `compile.sh` beside it.
#include <core.p4>
#include <v1model.p4>

const bit<9> CPU_PORT = 510;

header ethernet_t {
    bit<48> dst;
    bit<48> src;
    bit<16> type;
}

@controller_header("packet_in")
header packet_in_t {
    bit<9> ingress_port;
    bit<7> reason;
}

@controller_header("packet_out")
header packet_out_t {
    bit<9> egress_port;
    bit<7> _pad;
}

struct headers_t {
    packet_in_t packet_in;
    packet_out_t packet_out;
    ethernet_t ethernet;
}

struct meta_t {
    bit<2> color;
}

parser Frames(packet_in packet, out headers_t hdr, inout meta_t meta,
             inout standard_metadata_t std) {
    state start {
        transition select(std.ingress_port) {
            CPU_PORT: from_controller;
            default: from_wire;
        }
    }
    state from_controller {
        packet.extract(hdr.packet_out);
        transition from_wire;
    }
    state from_wire {
        packet.extract(hdr.ethernet);
        transition accept;
    }
}

control L2Ingress(inout headers_t hdr, inout meta_t meta, inout standard_metadata_t std) {
    direct_counter(CounterType.packets_and_bytes) hits;
    direct_meter<bit<2>>(MeterType.packets) rate;
    counter(16, CounterType.packets_and_bytes) received;
    register<bit<32>>(16) last_type;

    action drop() {
        mark_to_drop(std);
    }
    action forward(bit<9> port) {
        hits.count();
        std.egress_spec = port;
    }
    action flood(bit<16> group) {
        hits.count();
        std.mcast_grp = group;
    }
    action mirror(bit<9> port, bit<32> session) {
        hits.count();
        std.egress_spec = port;
        clone(CloneType.I2E, session);
    }
    action punt(bit<7> reason) {
        hdr.packet_in.setValid();
        hdr.packet_in.ingress_port = std.ingress_port;
        hdr.packet_in.reason = reason;
        std.egress_spec = CPU_PORT;
    }
    action police() {
        rate.read(meta.color);
    }
    table l2 {
        key = { hdr.ethernet.dst: exact; }
        actions = { forward; flood; mirror; punt; drop; }
        default_action = punt(0);
        counters = hits;
        support_timeout = true;
        size = 1024;
    }
    table policer {
        key = {
            std.ingress_port: exact @name("port");
            hdr.ethernet.type: ternary @name("type");
        }
        actions = { police; @defaultonly NoAction; }
        default_action = NoAction();
        meters = rate;
        size = 64;
    }
    apply {
        if (hdr.packet_out.isValid()) {
            std.egress_spec = hdr.packet_out.egress_port;
            hdr.packet_out.setInvalid();
        } else {
            received.count((bit<32>) std.ingress_port);
            last_type.write((bit<32>) std.ingress_port, (bit<32>) hdr.ethernet.type);
            l2.apply();
            policer.apply();
            if (meta.color == 2) {
                drop();
            }
        }
    }
}

control L2Egress(inout headers_t hdr, inout meta_t meta, inout standard_metadata_t std) {
    apply {
        // What a multicast copy is for: its instance shows in the frame.
        if (std.egress_rid != 0) {
            hdr.ethernet.src = (bit<48>) std.egress_rid;
        }
    }
}

control NoVerify(inout headers_t hdr, inout meta_t meta) {
    apply { }
}

control NoUpdate(inout headers_t hdr, inout meta_t meta) {
    apply { }
}

control Emit(packet_out packet, in headers_t hdr) {
    apply {
        packet.emit(hdr.packet_in);
        packet.emit(hdr.ethernet);
    }
}

V1Switch(Frames(), NoVerify(), L2Ingress(), L2Egress(), NoUpdate(), Emit()) main;

// SPDX-License-Identifier: Apache-2.0
// Egress: the header of what goes to the controller, and the second round of a pipeline packet-out.

#ifndef ESWITCH_EGRESS_P4
#define ESWITCH_EGRESS_P4

control eswitch_egress(inout headers_t hdr,
                       inout metadata_t meta,
                       inout standard_metadata_t standard_metadata) {
    apply {
        if (meta.replay_now == 1) {
            recirculate_preserving_field_list(1);
        } else if (standard_metadata.egress_port == CPU_PORT) {
            hdr.packet_in.setValid();
            hdr.packet_in.ingress_port = meta.lookup.port;
            hdr.packet_in.pad0 = 0;
            hdr.packet_in.vport = meta.vport;
            hdr.packet_in.reason = meta.punt.reason;
            hdr.packet_in.step = meta.punt.step;
            hdr.packet_in.ct_hit = meta.verdict.ct_hit;
            hdr.packet_in.direction = meta.verdict.direction;
            hdr.packet_in.pad1 = 0;
            hdr.packet_in.conn_index = meta.verdict.conn_index;
            hdr.packet_in.generation = meta.verdict.generation;
            hdr.packet_in.tunnel_id = meta.tunnel.vni;
            hdr.packet_in.outer_src = meta.tunnel.outer_src;
            hdr.packet_in.frame_length = meta.frame_length;
            hdr.packet_in.window_original = meta.window_original;
            hdr.packet_in.window_reply = meta.window_reply;
            hdr.packet_in.window_scales = meta.window_scales;
            hdr.packet_in.window_verdict = meta.window_verdict;
        }
    }
}

#endif

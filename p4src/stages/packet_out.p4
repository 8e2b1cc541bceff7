// SPDX-License-Identifier: Apache-2.0
// Step 0: what the controller asks for.

#ifndef ESWITCH_PACKET_OUT_P4
#define ESWITCH_PACKET_OUT_P4

control packet_out_stage(inout headers_t hdr,
                         inout metadata_t meta,
                         inout standard_metadata_t standard_metadata) {
    apply {
        if (hdr.packet_out.op == PacketOutOp.SEND) {
            standard_metadata.egress_spec = hdr.packet_out.port;
        } else if (hdr.packet_out.op == PacketOutOp.NEXT_HOP && hdr.ethernet.isValid()) {
            meta.verdict.forward = true;
            meta.verdict.next_hop = hdr.packet_out.next_hop;
        } else if (hdr.packet_out.op == PacketOutOp.PIPELINE) {
            // Its own header must be gone before the packet is counted, so the packet goes round
            // once.  The first pass alone sets replay_now: there is no second round.
            meta.replayed = 1;
            meta.replay_port = hdr.packet_out.port;
            meta.replay_now = 1;
            standard_metadata.egress_spec = RECIRCULATE_PORT;
        } else if (hdr.packet_out.op == PacketOutOp.WINDOW_WRITE && hdr.window_out.isValid()) {
            meta.window_op = WindowOp.WRITE;
            meta.verdict.conn_index = hdr.packet_out.conn_index;
        } else if (hdr.packet_out.op == PacketOutOp.WINDOW_MERGE && hdr.window_out.isValid()) {
            meta.window_op = WindowOp.MERGE;
            meta.verdict.conn_index = hdr.packet_out.conn_index;
        } else if (hdr.packet_out.op == PacketOutOp.WINDOW_READ) {
            meta.window_op = WindowOp.READ;
            meta.verdict.conn_index = hdr.packet_out.conn_index;
            meta.punt.reason = PuntReason.WINDOW_READ;
            meta.punt.class_ = PuntClass.CONTROL;
        } else {
            meta.drop = true;
            meta.drop_reason = DropReason.BAD_PACKET_OUT;
        }
    }
}

#endif

// SPDX-License-Identifier: Apache-2.0
// Between steps 5 and 7: TCP window validation, for entries that ask for it.
//
// For each direction of a connection the registers hold what Linux calls td_end, td_maxend,
// td_maxwin, td_maxack and td_scale (nf_conntrack_proto_tcp.c, tcp_in_window; G. van Rooij, "Real
// Stateful TCP Packet Filtering").  All but the scale only grow (in serial arithmetic), so software
// merges two readings by taking the larger.  The controller writes them before the entries.  While
// entries forward, it only raises them: what the eswitch has seen meanwhile is never forgotten.
//
// SACK blocks are not read: a segment is checked by its acknowledgement alone.  A segment outside
// the window goes up with its reason and changes nothing here; conntrack decides about it.

#ifndef ESWITCH_WINDOW_P4
#define ESWITCH_WINDOW_P4

// Linux's MAXACKWINCONST: an acknowledgement may be this old at least.
const bit<32> MAX_ACK_WINDOW = 66000;

control window_stage(inout headers_t hdr, inout metadata_t meta) {

    @name(".window_end")     register<bit<32>>(CT_COUNTER_SIZE) window_end;
    @name(".window_max_end") register<bit<32>>(CT_COUNTER_SIZE) window_max_end;
    @name(".window_max_win") register<bit<32>>(CT_COUNTER_SIZE) window_max_win;
    @name(".window_max_ack") register<bit<32>>(CT_COUNTER_SIZE) window_max_ack;
    @name(".window_scale")   register<bit<8>>(CT_COUNTER_SIZE)  window_scale;

    window_t original;
    window_t reply;
    window_t sender;
    window_t receiver;
    bit<32> end = 0;          // sequence number after the segment
    bit<32> win = 0;          // the offered window, scaled
    bit<32> ack_window = 0;
    bit<32> edge = 0;

    action read_window(out window_t state, in bit<32> cell) {
        window_end.read(state.end, cell);
        window_max_end.read(state.max_end, cell);
        window_max_win.read(state.max_win, cell);
        window_max_ack.read(state.max_ack, cell);
        window_scale.read(state.scale, cell);
    }

    action write_window(in window_t state, in bit<32> cell) {
        window_end.write(cell, state.end);
        window_max_end.write(cell, state.max_end);
        window_max_win.write(cell, state.max_win);
        window_max_ack.write(cell, state.max_ack);
        window_scale.write(cell, state.scale);
    }

    apply {
        bit<32> cell = (bit<32>) (meta.verdict.conn_index[15:0] ++ 1w0);
        if (meta.window_op == WindowOp.WRITE) {
            write_window({ hdr.window_out.original_end, hdr.window_out.original_max_end,
                           hdr.window_out.original_max_win, hdr.window_out.original_max_ack,
                           hdr.window_out.original_scale }, cell);
            write_window({ hdr.window_out.reply_end, hdr.window_out.reply_max_end,
                           hdr.window_out.reply_max_win, hdr.window_out.reply_max_ack,
                           hdr.window_out.reply_scale }, cell + 1);
        } else {
            read_window(original, cell);
            read_window(reply, cell + 1);
            if (meta.window_op == WindowOp.MERGE) {
                if ((original.end - hdr.window_out.original_end)[31:31] == 1) {
                    original.end = hdr.window_out.original_end;
                }
                if ((original.max_end - hdr.window_out.original_max_end)[31:31] == 1) {
                    original.max_end = hdr.window_out.original_max_end;
                }
                if ((original.max_ack - hdr.window_out.original_max_ack)[31:31] == 1) {
                    original.max_ack = hdr.window_out.original_max_ack;
                }
                if (original.max_win < hdr.window_out.original_max_win) {
                    original.max_win = hdr.window_out.original_max_win;
                }
                if ((reply.end - hdr.window_out.reply_end)[31:31] == 1) {
                    reply.end = hdr.window_out.reply_end;
                }
                if ((reply.max_end - hdr.window_out.reply_max_end)[31:31] == 1) {
                    reply.max_end = hdr.window_out.reply_max_end;
                }
                if ((reply.max_ack - hdr.window_out.reply_max_ack)[31:31] == 1) {
                    reply.max_ack = hdr.window_out.reply_max_ack;
                }
                if (reply.max_win < hdr.window_out.reply_max_win) {
                    reply.max_win = hdr.window_out.reply_max_win;
                }
                write_window(original, cell);
                write_window(reply, cell + 1);
            } else if (meta.window_op == WindowOp.CHECK) {
                if (meta.verdict.direction == 0) {
                    sender = original;
                    receiver = reply;
                } else {
                    sender = reply;
                    receiver = original;
                }
                end = hdr.tcp.seq_no + (bit<32>) (meta.lookup.l4_len
                                                  - (bit<16>) hdr.tcp.data_offset * 4);
                ack_window = MAX_ACK_WINDOW;
                if (sender.max_win > MAX_ACK_WINDOW) {
                    ack_window = sender.max_win;
                }
                // Bit 31 of a - b says that a is before b (RFC 1982).
                if ((sender.max_end - hdr.tcp.seq_no)[31:31] == 1) {
                    meta.window_verdict = WindowVerdict.SEQ_ABOVE;
                } else if ((end - (sender.end - receiver.max_win))[31:31] == 1) {
                    meta.window_verdict = WindowVerdict.SEQ_BELOW;
                } else if ((receiver.end - hdr.tcp.ack_no)[31:31] == 1) {
                    meta.window_verdict = WindowVerdict.ACK_ABOVE;
                } else if ((hdr.tcp.ack_no - (receiver.end - ack_window))[31:31] == 1) {
                    meta.window_verdict = WindowVerdict.ACK_BELOW;
                } else {
                    meta.window_verdict = WindowVerdict.INSIDE;
                    win = (bit<32>) hdr.tcp.window << sender.scale;
                    if (win > sender.max_win) {
                        sender.max_win = win;
                    }
                    if ((sender.end - end)[31:31] == 1) {
                        sender.end = end;
                    }
                    if ((sender.max_ack - hdr.tcp.ack_no)[31:31] == 1) {
                        sender.max_ack = hdr.tcp.ack_no;
                    }
                    if ((sender.max_end - end)[31:31] == 1) {
                        receiver.max_win = receiver.max_win + (end - sender.max_end);
                    }
                    edge = hdr.tcp.ack_no + win;
                    if ((edge - receiver.max_end)[31:31] == 0) {
                        receiver.max_end = edge;
                        if (win == 0) {
                            receiver.max_end = edge + 1;
                        }
                    }
                    if (meta.verdict.direction == 0) {
                        original = sender;
                        reply = receiver;
                    } else {
                        original = receiver;
                        reply = sender;
                    }
                    write_window(original, cell);
                    write_window(reply, cell + 1);
                }
                if (meta.window_verdict != WindowVerdict.INSIDE) {
                    meta.punt.reason = PuntReason.WINDOW;
                    meta.punt.class_ = PuntClass.CONTROL;
                    meta.punt.step = Step.WINDOW;
                    meta.verdict.forward = false;
                }
            }
            meta.window_original = original.end ++ original.max_end
                                   ++ original.max_win ++ original.max_ack;
            meta.window_reply = reply.end ++ reply.max_end ++ reply.max_win ++ reply.max_ack;
            meta.window_scales = original.scale ++ reply.scale;
        }
    }
}

#endif

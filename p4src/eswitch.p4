// SPDX-License-Identifier: Apache-2.0
// The eswitch: a connection-tracking offload data plane for a programmable NIC (v1model).
//
// This file holds the includes and the order of the steps; each step is a file in stages/.  The
// default of every step is to punt: what the eswitch does not know, it does not decide.

#include <core.p4>
#include <v1model.p4>

#include "include/version.p4"
#include "include/sizes.p4"
#include "include/ids.p4"
#include "include/reasons.p4"
#include "include/headers.p4"
#include "include/actions.p4"

#include "stages/parser.p4"
#include "stages/checksum.p4"
#include "stages/tunnel.p4"
#include "stages/classify.p4"
#include "stages/packet_out.p4"
#include "stages/vport.p4"
#include "stages/connection.p4"
#include "stages/trap.p4"
#include "stages/window.p4"
#include "stages/flow.p4"
#include "stages/nat.p4"
#include "stages/encapsulate.p4"
#include "stages/next_hop.p4"
#include "stages/punt.p4"
#include "stages/egress.p4"
#include "stages/deparser.p4"

control eswitch_ingress(inout headers_t hdr,
                        inout metadata_t meta,
                        inout standard_metadata_t standard_metadata) {
    apply {
        // An egress_spec that nothing sets would mean port 0 (v1model).
        mark_to_drop(standard_metadata);
        meta.frame_length = (bit<16>) standard_metadata.packet_length;

        if (hdr.packet_out.isValid()) {
            meta.frame_length = meta.frame_length - PACKET_OUT_LENGTH;
            packet_out_stage.apply(hdr, meta, standard_metadata);                   // step 0
        } else {
            meta.lookup.port = standard_metadata.ingress_port;
            if (meta.replayed == 1) {
                meta.lookup.port = meta.replay_port;
            }
            meta.punt.step = Step.TUNNEL;
            tunnel_stage.apply(hdr, meta, standard_metadata);                       // step 1
        }
        // A packet-out by next hop, too: encapsulation wants to know the flow and the tag.
        classify.apply(hdr, meta, standard_metadata);
        if (!hdr.packet_out.isValid()) {
            meta.punt.step = Step.VPORT;
            vport_stage.apply(meta);                                                // steps 2, 3
            if (meta.punt.reason == PuntReason.NONE) {
                connection_stage.apply(meta, hdr);                                  // step 4
                trap_stage.apply(meta);                                             // step 5
                if (meta.punt.reason == PuntReason.NONE && !meta.verdict.forward) {
                    flow_stage.apply(meta);                                         // step 6
                }
                // What goes up from a connection carries its window.
                if (meta.verdict.forward && meta.verdict.check_window == 1
                    && meta.lookup.is_tcp == 1) {
                    meta.window_op = WindowOp.CHECK;
                } else if (meta.verdict.ct_hit != CtHit.MISS && meta.lookup.is_tcp == 1) {
                    meta.window_op = WindowOp.READ;
                }
            }
        }

        if (meta.window_op != WindowOp.NONE) {
            window_stage.apply(hdr, meta);
        }
        if (meta.verdict.forward) {
            next_hop_stage.apply(hdr, meta, standard_metadata);                     // step 7
        }
        punt_stage.apply(meta, standard_metadata);                                  // step 8
        hdr.packet_out.setInvalid();
    }
}

@pkginfo(name = "eswitch", version = ESWITCH_VERSION, organization = "p4ct")
V1Switch(eswitch_parser(),
         eswitch_verify_checksum(),
         eswitch_ingress(),
         eswitch_egress(),
         eswitch_compute_checksum(),
         eswitch_deparser()) main;

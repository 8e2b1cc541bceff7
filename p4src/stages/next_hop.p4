// SPDX-License-Identifier: Apache-2.0
// Step 7: where the packet goes and what it looks like there.  Connections name a next hop by
// number, so a change of route rewrites one row, never the connections behind it.
//
// The table only says what to do.  The packet is changed and counted once nothing can stop it any
// more, so that whatever is punted here goes up as it came.

#ifndef ESWITCH_NEXT_HOP_P4
#define ESWITCH_NEXT_HOP_P4

control next_hop_stage(inout headers_t hdr,
                       inout metadata_t meta,
                       inout standard_metadata_t standard_metadata) {

    @id(ID_COUNTER_CT)
    @name(".ct_counter")
    counter(CT_COUNTER_SIZE, CounterType.packets_and_bytes) ct_counter;

    @id(ID_COUNTER_PATH)
    @name(".path_counter")
    counter(PATH_SIZE, CounterType.packets_and_bytes) path_counter;

    @id(ID_ACTION_NH_OUTPUT)
    @name(".nh_output")
    action nh_output(@id(1) port_t port,
                     @id(2) bit<16> mtu,
                     @id(3) VlanOp vlan_op,
                     @id(4) bit<12> vlan_id) {
        meta.rewrite.port = port;
        meta.rewrite.mtu = mtu;
        meta.rewrite.vlan_op = vlan_op;
        meta.rewrite.vlan_id = vlan_id;
    }

    @id(ID_ACTION_NH_ROUTE)
    @name(".nh_route")
    action nh_route(@id(1) port_t port,
                    @id(2) bit<16> mtu,
                    @id(3) VlanOp vlan_op,
                    @id(4) bit<12> vlan_id,
                    @id(5) @format(MAC_ADDRESS) mac_t eth_src,
                    @id(6) @format(MAC_ADDRESS) mac_t eth_dst) {
        meta.rewrite.port = port;
        meta.rewrite.mtu = mtu;
        meta.rewrite.vlan_op = vlan_op;
        meta.rewrite.vlan_id = vlan_id;
        meta.rewrite.route = true;
        meta.rewrite.eth_src = eth_src;
        meta.rewrite.eth_dst = eth_dst;
    }

    @id(ID_ACTION_NH_DROP)
    @name(".nh_drop")
    action nh_drop() {
        meta.drop = true;
        meta.drop_reason = DropReason.NEXT_HOP;
    }

    @id(ID_TABLE_NEXT_HOP)
    @name(".next_hop")
    table next_hop {
        key = {
            meta.verdict.next_hop : exact @id(1) @name("next_hop");
        }
        actions = { nh_output; nh_route; nh_drop; @defaultonly miss; }
        const default_action = miss;
        size = NEXT_HOP_SIZE;
    }

    // 16 bits of the index are in use: an index beyond CT_COUNTER_SIZE would be undefined on BMv2.
    action count_connection() {
        ct_counter.count((bit<32>) (meta.verdict.conn_index[15:0] ++ meta.verdict.direction));
    }

    // The checksum follows by the difference (RFC 1624, equation 3): it stays right whatever
    // options follow, and a sum that was wrong stays wrong.
    action decrement_ttl() {
        bit<32> sum = (bit<32>) (~hdr.ipv4.hdr_checksum) + 0xfeff;
        hdr.ipv4.hdr_checksum = ~((bit<16>) sum + (bit<16>) (sum >> 16));
        hdr.ipv4.ttl = hdr.ipv4.ttl - 1;
    }

    action push_vlan() {
        hdr.vlan.setValid();
        hdr.vlan.pcp = 0;
        hdr.vlan.dei = 0;
        hdr.vlan.vid = meta.rewrite.vlan_id;
        hdr.vlan.ether_type = hdr.ethernet.ether_type;
        hdr.ethernet.ether_type = ETHERTYPE_VLAN;
    }

    action pop_vlan() {
        hdr.ethernet.ether_type = hdr.vlan.ether_type;
        hdr.vlan.setInvalid();
    }

    apply {
        bool from_controller = hdr.packet_out.isValid();
        meta.punt.step = Step.NEXT_HOP;
        if (!next_hop.apply().hit) {
            if (from_controller) {
                meta.drop = true;
                meta.drop_reason = DropReason.BAD_PACKET_OUT;
            } else {
                meta.punt.reason = PuntReason.NO_NEXT_HOP;
                meta.punt.class_ = PuntClass.EXCEPTION;
            }
        } else if (from_controller && meta.rewrite.route
                   && ((hdr.ipv4.isValid() && hdr.ipv4.ttl <= 1)
                       || (hdr.ipv6.isValid() && hdr.ipv6.hop_limit <= 1))) {
            // The trap saw to this for a packet from the wire; a TTL never wraps.
            meta.drop = true;
            meta.drop_reason = DropReason.BAD_PACKET_OUT;
        } else if (!from_controller && meta.rewrite.mtu != 0
                   && meta.lookup.l3_len > meta.rewrite.mtu) {
            meta.punt.reason = PuntReason.MTU_EXCEEDED;
            meta.punt.class_ = PuntClass.EXCEPTION;
        } else {
            // A packet-out is the controller's to count.
            if (!from_controller) {
                if (meta.verdict.ct_hit == CtHit.FORWARD) {
                    count_connection();
                }
                path_counter.count((bit<32>) meta.verdict.path);
            }
            if (!meta.drop) {
                standard_metadata.egress_spec = meta.rewrite.port;
                if (meta.rewrite.route) {
                    hdr.ethernet.src_addr = meta.rewrite.eth_src;
                    hdr.ethernet.dst_addr = meta.rewrite.eth_dst;
                    if (hdr.ipv4.isValid()) {
                        decrement_ttl();
                    } else if (hdr.ipv6.isValid()) {
                        hdr.ipv6.hop_limit = hdr.ipv6.hop_limit - 1;
                    }
                }
                if (meta.rewrite.vlan_op == VlanOp.POP) {
                    if (hdr.vlan.isValid()) {
                        pop_vlan();
                    }
                } else if (meta.rewrite.vlan_op != VlanOp.KEEP) {
                    // Whatever it came with, it leaves with this tag.
                    if (hdr.vlan.isValid()) {
                        hdr.vlan.vid = meta.rewrite.vlan_id;
                    } else {
                        push_vlan();
                    }
                }
            }
        }
    }
}

#endif

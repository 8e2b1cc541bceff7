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

    // The packet in VXLAN.  `mtu` is the limit of the inner packet; route 1 also sets its MAC
    // addresses and decrements its TTL.
    @id(ID_ACTION_NH_VXLAN_V4)
    @name(".nh_vxlan_v4")
    action nh_vxlan_v4(@id(1) port_t port,
                       @id(2) bit<16> mtu,
                       @id(3) VlanOp vlan_op,
                       @id(4) bit<12> vlan_id,
                       @id(5) bit<1> route,
                       @id(6) @format(MAC_ADDRESS) mac_t eth_src,
                       @id(7) @format(MAC_ADDRESS) mac_t eth_dst,
                       @id(8) @format(MAC_ADDRESS) mac_t outer_eth_src,
                       @id(9) @format(MAC_ADDRESS) mac_t outer_eth_dst,
                       @id(10) @format(IPV4_ADDRESS) ipv4_t outer_src,
                       @id(11) @format(IPV4_ADDRESS) ipv4_t outer_dst,
                       @id(12) bit<24> vni,
                       @id(13) bit<8> ttl,
                       @id(14) bit<6> dscp) {
        nh_output(port, mtu, vlan_op, vlan_id);
        meta.rewrite.route = route == 1;
        meta.rewrite.eth_src = eth_src;
        meta.rewrite.eth_dst = eth_dst;
        meta.rewrite.encap_v4 = true;
        meta.rewrite.outer_eth_src = outer_eth_src;
        meta.rewrite.outer_eth_dst = outer_eth_dst;
        meta.rewrite.outer_src = (bit<128>) outer_src;
        meta.rewrite.outer_dst = (bit<128>) outer_dst;
        meta.rewrite.vni = vni;
        meta.rewrite.ttl = ttl;
        meta.rewrite.dscp = dscp;
    }

    @id(ID_ACTION_NH_VXLAN_V6)
    @name(".nh_vxlan_v6")
    action nh_vxlan_v6(@id(1) port_t port,
                       @id(2) bit<16> mtu,
                       @id(3) VlanOp vlan_op,
                       @id(4) bit<12> vlan_id,
                       @id(5) bit<1> route,
                       @id(6) @format(MAC_ADDRESS) mac_t eth_src,
                       @id(7) @format(MAC_ADDRESS) mac_t eth_dst,
                       @id(8) @format(MAC_ADDRESS) mac_t outer_eth_src,
                       @id(9) @format(MAC_ADDRESS) mac_t outer_eth_dst,
                       @id(10) @format(IPV6_ADDRESS) ipv6_t outer_src,
                       @id(11) @format(IPV6_ADDRESS) ipv6_t outer_dst,
                       @id(12) bit<24> vni,
                       @id(13) bit<8> ttl,
                       @id(14) bit<6> dscp) {
        nh_output(port, mtu, vlan_op, vlan_id);
        meta.rewrite.route = route == 1;
        meta.rewrite.eth_src = eth_src;
        meta.rewrite.eth_dst = eth_dst;
        meta.rewrite.encap_v6 = true;
        meta.rewrite.outer_eth_src = outer_eth_src;
        meta.rewrite.outer_eth_dst = outer_eth_dst;
        meta.rewrite.outer_src = outer_src;
        meta.rewrite.outer_dst = outer_dst;
        meta.rewrite.vni = vni;
        meta.rewrite.ttl = ttl;
        meta.rewrite.dscp = dscp;
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
        actions = { nh_output; nh_route; nh_vxlan_v4; nh_vxlan_v6; nh_drop; @defaultonly miss; }
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
                if (meta.nat.active) {
                    nat_stage.apply(hdr, meta);
                }
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
                if (meta.rewrite.encap_v4 || meta.rewrite.encap_v6) {
                    encapsulate_stage.apply(hdr, meta);
                }
            }
        }
    }
}

#endif

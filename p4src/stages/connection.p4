// SPDX-License-Identifier: Apache-2.0
// Step 4: the connection tables.  A hit only records what to do; nothing is changed or counted
// before the trap and the next hop agree.

#ifndef ESWITCH_CONNECTION_P4
#define ESWITCH_CONNECTION_P4

control connection_stage(inout metadata_t meta, in headers_t hdr) {

    @id(ID_ACTION_CT_FORWARD)
    @name(".ct_forward")
    action ct_forward(@id(1) conn_index_t conn_index,
                      @id(2) generation_t generation,
                      @id(3) bit<1> direction,
                      @id(4) path_t path,
                      @id(5) next_hop_t next_hop,
                      @id(6) bit<1> check_window) {
        meta.verdict.ct_hit = CtHit.FORWARD;
        meta.verdict.forward = true;
        meta.verdict.conn_index = conn_index;
        meta.verdict.generation = generation;
        meta.verdict.direction = direction;
        meta.verdict.path = path;
        meta.verdict.next_hop = next_hop;
        meta.verdict.check_window = check_window;
    }

    // As ct_forward, with the addresses and ports that the packet leaves with.
    @id(ID_ACTION_CT_NAT_V4)
    @name(".ct_nat_v4")
    action ct_nat_v4(@id(1) conn_index_t conn_index,
                     @id(2) generation_t generation,
                     @id(3) bit<1> direction,
                     @id(4) path_t path,
                     @id(5) next_hop_t next_hop,
                     @id(6) bit<1> check_window,
                     @id(7) @format(IPV4_ADDRESS) ipv4_t src,
                     @id(8) @format(IPV4_ADDRESS) ipv4_t dst,
                     @id(9) bit<16> sport,
                     @id(10) bit<16> dport) {
        ct_forward(conn_index, generation, direction, path, next_hop, check_window);
        meta.nat.active = true;
        meta.nat.src = (bit<128>) src;
        meta.nat.dst = (bit<128>) dst;
        meta.nat.sport = sport;
        meta.nat.dport = dport;
    }

    @id(ID_ACTION_CT_NAT_V6)
    @name(".ct_nat_v6")
    action ct_nat_v6(@id(1) conn_index_t conn_index,
                     @id(2) generation_t generation,
                     @id(3) bit<1> direction,
                     @id(4) path_t path,
                     @id(5) next_hop_t next_hop,
                     @id(6) bit<1> check_window,
                     @id(7) @format(IPV6_ADDRESS) ipv6_t src,
                     @id(8) @format(IPV6_ADDRESS) ipv6_t dst,
                     @id(9) bit<16> sport,
                     @id(10) bit<16> dport) {
        ct_forward(conn_index, generation, direction, path, next_hop, check_window);
        meta.nat.active = true;
        meta.nat.src = src;
        meta.nat.dst = dst;
        meta.nat.sport = sport;
        meta.nat.dport = dport;
    }

    // The first step of removal: packets go up and are no longer counted here, so that what is
    // read from ct_counter afterwards is final.
    @id(ID_ACTION_CT_DRAIN)
    @name(".ct_drain")
    action ct_drain(@id(1) conn_index_t conn_index,
                    @id(2) generation_t generation,
                    @id(3) bit<1> direction) {
        meta.verdict.ct_hit = CtHit.DRAIN;
        meta.verdict.conn_index = conn_index;
        meta.verdict.generation = generation;
        meta.verdict.direction = direction;
    }

    @id(ID_TABLE_CT_V4)
    @name(".ct_v4")
    table ct_v4 {
        key = {
            meta.l2_id           : exact @id(1) @name("l2_id");
            meta.lookup.ipv4_src : exact @id(2) @name("src") @format(IPV4_ADDRESS);
            meta.lookup.ipv4_dst : exact @id(3) @name("dst") @format(IPV4_ADDRESS);
            meta.lookup.proto    : exact @id(4) @name("proto");
            meta.lookup.sport    : exact @id(5) @name("sport");
            meta.lookup.dport    : exact @id(6) @name("dport");
        }
        actions = { ct_forward; ct_nat_v4; ct_drain; @defaultonly miss; }
        const default_action = miss;
        support_timeout = true;
        size = CT_SIZE;
    }

    @id(ID_TABLE_CT_V6)
    @name(".ct_v6")
    table ct_v6 {
        key = {
            meta.l2_id         : exact @id(1) @name("l2_id");
            meta.lookup.ip_src : exact @id(2) @name("src") @format(IPV6_ADDRESS);
            meta.lookup.ip_dst : exact @id(3) @name("dst") @format(IPV6_ADDRESS);
            meta.lookup.proto  : exact @id(4) @name("proto");
            meta.lookup.sport  : exact @id(5) @name("sport");
            meta.lookup.dport  : exact @id(6) @name("dport");
        }
        actions = { ct_forward; ct_nat_v6; ct_drain; @defaultonly miss; }
        const default_action = miss;
        support_timeout = true;
        size = CT_SIZE;
    }

    apply {
        if (meta.l2_id != 0 && meta.lookup.trackable == 1) {
            meta.punt.step = Step.CT;
            if (hdr.ipv4.isValid()) {
                ct_v4.apply();
            } else {
                ct_v6.apply();
            }
        }
    }
}

#endif

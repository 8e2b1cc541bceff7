// SPDX-License-Identifier: Apache-2.0
// Step 6: stateless traffic that the pipeline resolved without connection tracking.

#ifndef ESWITCH_FLOW_P4
#define ESWITCH_FLOW_P4

control flow_stage(inout metadata_t meta) {

    @id(ID_COUNTER_FLOW)
    @name(".flow_counter")
    direct_counter(CounterType.packets_and_bytes) flow_counter;

    @id(ID_ACTION_FLOW_FORWARD)
    @name(".flow_forward")
    action flow_forward(@id(1) path_t path, @id(2) next_hop_t next_hop) {
        meta.verdict.forward = true;
        meta.verdict.path = path;
        meta.verdict.next_hop = next_hop;
        flow_counter.count();
    }

    // vport is exact: an entry never serves a vport that it was not decided for.
    @id(ID_TABLE_FLOW)
    @name(".flow")
    table flow {
        key = {
            meta.vport             : exact   @id(1) @name("vport");
            meta.lookup.eth_src  : ternary @id(2) @name("eth_src") @format(MAC_ADDRESS);
            meta.lookup.eth_dst  : ternary @id(3) @name("eth_dst") @format(MAC_ADDRESS);
            meta.lookup.ether_type : ternary @id(4) @name("ether_type");
            meta.lookup.ip_src     : ternary @id(5) @name("src");
            meta.lookup.ip_dst     : ternary @id(6) @name("dst");
            meta.lookup.proto      : ternary @id(7) @name("proto");
            meta.lookup.sport      : ternary @id(8) @name("sport");
            meta.lookup.dport      : ternary @id(9) @name("dport");
        }
        actions = { flow_forward; @defaultonly miss; }
        const default_action = miss;
        counters = flow_counter;
        support_timeout = true;
        size = FLOW_SIZE;
    }

    apply {
        meta.punt.step = Step.FLOW;
        if (!flow.apply().hit) {
            meta.punt.reason = PuntReason.MISS;
            meta.punt.class_ = PuntClass.MISS;
        }
    }
}

#endif

// SPDX-License-Identifier: Apache-2.0
// Steps 2 and 3: which logical port the packet came in on, and which pair of stations it joins.

#ifndef ESWITCH_VPORT_P4
#define ESWITCH_VPORT_P4

control vport_stage(inout metadata_t meta) {

    @id(ID_ACTION_SET_VPORT)
    @name(".set_vport")
    action set_vport(@id(1) vport_t vport) {
        meta.vport = vport;
    }

    // The tunnel vport is 0 for a packet that came in without a tunnel.
    @id(ID_TABLE_VPORT)
    @name(".vport")
    table vport {
        key = {
            meta.lookup.port         : exact @id(1) @name("port");
            meta.lookup.tunnel_vport : exact @id(2) @name("tunnel_vport");
            meta.lookup.vlan_present : exact @id(3) @name("vlan_present");
            meta.lookup.vlan_id      : exact @id(4) @name("vlan_id");
        }
        actions = { set_vport; @defaultonly miss; }
        const default_action = miss;
        size = VPORT_SIZE;
    }

    @id(ID_ACTION_SET_L2_ID)
    @name(".set_l2_id")
    action set_l2_id(@id(1) l2_id_t l2_id) {
        meta.l2_id = l2_id;
    }

    // An entry of a connection holds for the pair of MAC addresses that it was decided for.
    @id(ID_TABLE_L2_PAIR)
    @name(".l2_pair")
    table l2_pair {
        key = {
            meta.vport            : exact @id(1) @name("vport");
            meta.lookup.eth_src   : exact @id(2) @name("eth_src") @format(MAC_ADDRESS);
            meta.lookup.eth_dst   : exact @id(3) @name("eth_dst") @format(MAC_ADDRESS);
        }
        actions = { set_l2_id; @defaultonly miss; }
        const default_action = miss;
        size = L2_PAIR_SIZE;
    }

    apply {
        if (vport.apply().hit) {
            meta.punt.step = Step.L2_PAIR;
            l2_pair.apply();
        } else {
            meta.punt.reason = PuntReason.UNKNOWN_VPORT;
            meta.punt.class_ = PuntClass.MISS;
        }
    }
}

#endif

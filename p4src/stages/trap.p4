// SPDX-License-Identifier: Apache-2.0
// Step 5: what must never be forwarded by hardware, whether step 4 hit or not.  The entries are
// const: the controller cannot weaken them, and they exist before any connection does.

#ifndef ESWITCH_TRAP_P4
#define ESWITCH_TRAP_P4

control trap_stage(inout metadata_t meta) {

    @id(ID_COUNTER_TRAP)
    @name(".trap_counter")
    direct_counter(CounterType.packets_and_bytes) trap_counter;

    @id(ID_ACTION_PUNT)
    @name(".punt")
    action punt(@id(1) PuntReason reason, @id(2) PuntClass class_) {
        meta.punt.reason = reason;
        meta.punt.class_ = class_;
        trap_counter.count();
    }

    @id(ID_TABLE_TRAP)
    @name(".trap")
    table trap {
        key = {
            meta.verdict.ct_hit      : ternary @id(1) @name("ct_hit");
            meta.lookup.malformed    : ternary @id(2) @name("malformed");
            meta.lookup.bad_checksum : ternary @id(3) @name("bad_checksum");
            meta.lookup.fragment     : ternary @id(4) @name("fragment");
            meta.lookup.options      : ternary @id(5) @name("options");
            meta.lookup.low_ttl      : ternary @id(6) @name("low_ttl");
            meta.lookup.same_address : ternary @id(7) @name("same_address");
            meta.lookup.is_tcp       : ternary @id(8) @name("is_tcp");
            meta.lookup.tcp_flags    : ternary @id(9) @name("tcp_flags");
        }
        actions = { punt; @defaultonly miss; }
        const default_action = miss;
        // First match wins.  The FIN of a draining connection is still a FIN: the flags come
        // before the drain.  RST before SYN before FIN, as conntrack reads them.
        const entries = {
            (_, 1, _, _, _, _, _, _, _) : punt(PuntReason.MALFORMED,    PuntClass.EXCEPTION);
            (_, _, 1, _, _, _, _, _, _) : punt(PuntReason.BAD_CHECKSUM, PuntClass.EXCEPTION);
            (_, _, _, 1, _, _, _, _, _) : punt(PuntReason.FRAGMENT,     PuntClass.EXCEPTION);
            (_, _, _, _, 1, _, _, _, _) : punt(PuntReason.IP_OPTIONS,   PuntClass.EXCEPTION);
            (_, _, _, _, _, 1, _, _, _) : punt(PuntReason.TTL,          PuntClass.EXCEPTION);
            (_, _, _, _, _, _, 1, _, _) : punt(PuntReason.SAME_ADDRESS, PuntClass.EXCEPTION);
            // Flags of a connection without an entry share the policer of the misses: a flood of
            // them must not starve the FIN of a connection that has one.  Who asks for a new
            // connection is apart from both: of established connections that have no entry, none
            // begins with a SYN.
            (CtHit.MISS, _, _, _, _, _, _, 1, TCP_RST &&& TCP_RST) : punt(PuntReason.TCP_RST, PuntClass.MISS);
            (CtHit.MISS, _, _, _, _, _, _, 1, TCP_SYN &&& (TCP_SYN | TCP_ACK)) : punt(PuntReason.TCP_SYN, PuntClass.SYN);
            (CtHit.MISS, _, _, _, _, _, _, 1, TCP_SYN &&& TCP_SYN) : punt(PuntReason.TCP_SYN, PuntClass.MISS);
            (CtHit.MISS, _, _, _, _, _, _, 1, TCP_FIN &&& TCP_FIN) : punt(PuntReason.TCP_FIN, PuntClass.MISS);
            (CtHit.MISS, _, _, _, _, _, _, 1, 0 &&& TCP_ACK)       : punt(PuntReason.TCP_FLAGS, PuntClass.MISS);
            (_, _, _, _, _, _, _, 1, TCP_RST &&& TCP_RST) : punt(PuntReason.TCP_RST,   PuntClass.CONTROL);
            (_, _, _, _, _, _, _, 1, TCP_SYN &&& TCP_SYN) : punt(PuntReason.TCP_SYN,   PuntClass.CONTROL);
            (_, _, _, _, _, _, _, 1, TCP_FIN &&& TCP_FIN) : punt(PuntReason.TCP_FIN,   PuntClass.CONTROL);
            (_, _, _, _, _, _, _, 1, 0 &&& TCP_ACK)       : punt(PuntReason.TCP_FLAGS, PuntClass.CONTROL);
            (CtHit.DRAIN, _, _, _, _, _, _, _, _)         : punt(PuntReason.DRAIN,     PuntClass.DRAIN);
        }
        counters = trap_counter;
    }

    apply {
        trap.apply();
        if (meta.punt.reason != PuntReason.NONE) {
            meta.verdict.forward = false;
            // A draining connection's packets say so: they stopped at step 4.
            if (meta.punt.reason != PuntReason.DRAIN) {
                meta.punt.step = Step.TRAP;
            }
        }
    }
}

#endif

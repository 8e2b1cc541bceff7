// SPDX-License-Identifier: Apache-2.0
// Step 8: what goes up is bounded and counted.

#ifndef ESWITCH_PUNT_P4
#define ESWITCH_PUNT_P4

const bit<2> METER_RED = 2;

control punt_stage(inout metadata_t meta, inout standard_metadata_t standard_metadata) {

    // One cell for each vport and class; the cells of vport 0 serve every unknown vport.  Classes
    // 4 to 7 have the second half of the meter.
    @id(ID_METER_PUNT)
    @name(".punt_meter")
    meter(PUNT_METER_SIZE, MeterType.packets) punt_meter;

    @id(ID_COUNTER_PUNT)
    @name(".punt_counter")
    counter(PUNT_REASON_SIZE, CounterType.packets_and_bytes) punt_counter;

    @id(ID_COUNTER_DROP)
    @name(".drop_counter")
    counter(DROP_REASON_SIZE, CounterType.packets_and_bytes) drop_counter;

    apply {
        if (meta.punt.reason != PuntReason.NONE) {
            bit<3> class_ = (bit<3>) meta.punt.class_;
            punt_meter.execute_meter((bit<32>) (class_[2:2] ++ meta.vport[9:0] ++ class_[1:0]),
                                     meta.meter_color);
            if (meta.meter_color == METER_RED) {
                meta.drop = true;
                // The first four drop reasons have the numbers of their classes.
                meta.drop_reason = (DropReason) (5w0 ++ class_);
                if (meta.punt.class_ == PuntClass.SYN) {
                    meta.drop_reason = DropReason.POLICER_SYN;
                }
            } else {
                punt_counter.count((bit<32>) (bit<8>) meta.punt.reason);
                standard_metadata.egress_spec = CPU_PORT;
            }
        }
        if (meta.drop) {
            mark_to_drop(standard_metadata);
            drop_counter.count((bit<32>) (bit<8>) meta.drop_reason);
        }
    }
}

#endif

// SPDX-License-Identifier: Apache-2.0
// Stable P4Runtime ids.  An id is never reused, not even after what it named has gone.
// The upper byte is the P4Runtime resource type (tables 0x02, actions 0x01, counters 0x12,
// direct counters 0x13, meters 0x14).

#ifndef ESWITCH_IDS_P4
#define ESWITCH_IDS_P4

// Tables.  Next free: 0x0200000a
#define ID_TABLE_TUNNEL_TERM_V4 0x02000001
#define ID_TABLE_TUNNEL_TERM_V6 0x02000002
#define ID_TABLE_VPORT          0x02000003
#define ID_TABLE_L2_PAIR        0x02000004
#define ID_TABLE_CT_V4          0x02000005
#define ID_TABLE_CT_V6          0x02000006
#define ID_TABLE_TRAP           0x02000007
#define ID_TABLE_FLOW           0x02000008
#define ID_TABLE_NEXT_HOP       0x02000009

// Actions.  Next free: 0x01000010
#define ID_ACTION_SET_VPORT     0x01000001
#define ID_ACTION_SET_L2_ID     0x01000002
#define ID_ACTION_CT_FORWARD    0x01000003
#define ID_ACTION_CT_DRAIN      0x01000004
#define ID_ACTION_PUNT          0x01000005
#define ID_ACTION_FLOW_FORWARD  0x01000006
#define ID_ACTION_NH_OUTPUT     0x01000007
#define ID_ACTION_NH_ROUTE      0x01000008
#define ID_ACTION_NH_DROP       0x01000009
#define ID_ACTION_MISS          0x0100000a
#define ID_ACTION_TERMINATE     0x0100000b
#define ID_ACTION_CT_NAT_V4     0x0100000c
#define ID_ACTION_CT_NAT_V6     0x0100000d
#define ID_ACTION_NH_VXLAN_V4   0x0100000e
#define ID_ACTION_NH_VXLAN_V6   0x0100000f

// Indirect counters.  Next free: 0x12000005
#define ID_COUNTER_CT           0x12000001
#define ID_COUNTER_PATH         0x12000002
#define ID_COUNTER_PUNT         0x12000003
#define ID_COUNTER_DROP         0x12000004

// Direct counters.  Next free: 0x13000003
#define ID_COUNTER_TRAP         0x13000001
#define ID_COUNTER_FLOW         0x13000002

// Meters.  Next free: 0x14000002
#define ID_METER_PUNT           0x14000001

#endif

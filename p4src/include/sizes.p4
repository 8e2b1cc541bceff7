// SPDX-License-Identifier: Apache-2.0
// Widths and guaranteed sizes.  A target may offer more rows, never fewer.

#ifndef ESWITCH_SIZES_P4
#define ESWITCH_SIZES_P4

// BMv2's port is 9 bits; 511 is its drop port.
typedef bit<9>  port_t;
// The port that stands for the controller.  Start the target with --cpu-port 510.
const port_t CPU_PORT = 510;
// Where a pipeline packet-out is sent while it waits to be recirculated.  Never a real port.
const port_t RECIRCULATE_PORT = 509;

typedef bit<16> vport_t;       // 0 means: no such vport
typedef bit<32> l2_id_t;       // 0 means: MAC pair not known
typedef bit<24> conn_index_t;
typedef bit<8>  generation_t;
typedef bit<16> path_t;
typedef bit<24> next_hop_t;

// vport ids run from 1 to 1023: the punt meter has eight cells for each (room for as many classes).
#define TUNNEL_TERM_SIZE    1024
// Two rows for each vport: untagged frames, and those with a tag that has only a priority.
#define VPORT_SIZE          2048
// One MAC pair for each direction of each pair of hosts that have connections.
#define L2_PAIR_SIZE        16384
// Two entries (original and reply) for each of 65536 connections, in each family.  BMv2 allocates
// its rows when it starts: a million of them would cost it gigabytes before the first packet.
#define CT_SIZE             131072
// Two cells (one for each direction) for each connection index, which both families share.
#define CT_COUNTER_SIZE     131072
#define FLOW_SIZE           4096
#define NEXT_HOP_SIZE       4096
#define PATH_SIZE           65536
#define PUNT_METER_SIZE     8192
#define PUNT_REASON_SIZE    32
#define DROP_REASON_SIZE    16

#endif

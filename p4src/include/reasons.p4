// SPDX-License-Identifier: Apache-2.0
// Why a packet goes up, where it stopped, and why one is dropped.  All are serializable enums:
// P4Info carries the names, so that no tool needs a copy of these numbers.  Values are never
// reused.

#ifndef ESWITCH_REASONS_P4
#define ESWITCH_REASONS_P4

// Reason of a punt; index of punt_counter.
enum bit<8> PuntReason {
    NONE            = 0,
    UNKNOWN_VPORT   = 1,   // step 2: no such port and VLAN
    MISS            = 2,   // step 6: neither a connection nor a flow
    DRAIN           = 3,   // step 4: the connection's entries are being removed
    TCP_SYN         = 4,   // step 5 from here on
    TCP_FIN         = 5,
    TCP_RST         = 6,
    TCP_FLAGS       = 7,   // no ACK, SYN, FIN or RST: not a segment of an open connection
    FRAGMENT        = 8,
    IP_OPTIONS      = 9,   // IPv4 options or IPv6 extension headers
    TTL             = 10,  // TTL or hop limit of 1 or less
    BAD_CHECKSUM    = 11,  // IPv4 header checksum
    MALFORMED       = 12,  // truncated, or lengths that contradict each other
    NO_NEXT_HOP     = 13,  // step 7: the entry names a next hop that does not exist
    MTU_EXCEEDED    = 14,  // step 7: the packet is longer than the next hop allows
    SAME_ADDRESS    = 15,  // IP source equals IP destination
    WINDOW          = 16,  // outside the TCP window
    WINDOW_READ     = 17   // the answer to a WINDOW_READ packet-out
}

// The last step that a punted packet reached (the numbers of docs/p4-contract.md).
enum bit<8> Step {
    TUNNEL   = 1,
    VPORT    = 2,
    L2_PAIR  = 3,
    CT       = 4,
    TRAP     = 5,
    FLOW     = 6,
    NEXT_HOP = 7,
    WINDOW   = 8    // between 5 and 7
}

// What step 4 found.
enum bit<2> CtHit {
    MISS    = 0,
    FORWARD = 1,
    DRAIN   = 2
}

// The policer's classes: each vport has one meter cell for each.  A flood in one class leaves the
// others their share, so connection misses cannot starve the flags that end known connections.
enum bit<3> PuntClass {
    MISS      = 0,   // no entry: other than the first packet of a TCP connection
    CONTROL   = 1,   // SYN, FIN, RST of a connection that has an entry
    EXCEPTION = 2,   // fragments, options, TTL, checksum, malformed, MTU
    DRAIN     = 3,   // packets of a connection whose entries are being removed
    SYN       = 4    // no entry, and asks for a new TCP connection: the cheapest to flood with
}

// Reason of a drop; index of drop_counter.
enum bit<8> DropReason {
    POLICER_MISS      = 0,   // the punt policer, by class
    POLICER_CONTROL   = 1,
    POLICER_EXCEPTION = 2,
    POLICER_DRAIN     = 3,
    NEXT_HOP          = 4,   // a next hop that drops
    BAD_PACKET_OUT    = 5,   // unknown operation or next hop, no frame, or a TTL too low to route
    POLICER_SYN       = 6
}

// Operation of a packet-out.
enum bit<8> PacketOutOp {
    SEND     = 1,   // send unchanged to a port
    NEXT_HOP = 2,   // apply a next hop (no MTU check, no counters)
    PIPELINE = 3,   // run through the pipeline as if received on a port
    WINDOW_WRITE = 4,  // write the window registers of a connection index from the payload
    WINDOW_READ  = 5,  // read them: answered by a packet-in
    WINDOW_MERGE = 6   // raise them to those in the payload where these are higher
}

// Where a segment lies, by the four conditions of Linux's tcp_in_window.
enum bit<8> WindowVerdict {
    NOT_CHECKED = 0,
    INSIDE      = 1,
    SEQ_ABOVE   = 2,   // starts beyond what the receiver offered
    SEQ_BELOW   = 3,   // ends before what the receiver can still want
    ACK_ABOVE   = 4,   // acknowledges what was never sent
    ACK_BELOW   = 5    // acknowledges what is too old
}

// What a next hop does to the VLAN tag.  PUSH and SET both mean that the packet leaves with the tag
// named, whether it came with one or not; a tag that is there keeps its priority.
enum bit<2> VlanOp {
    KEEP = 0,
    PUSH = 1,
    POP  = 2,
    SET  = 3
}

#endif

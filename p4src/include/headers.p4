// SPDX-License-Identifier: Apache-2.0
// Headers on the wire, headers to and from the controller, and metadata.

#ifndef ESWITCH_HEADERS_P4
#define ESWITCH_HEADERS_P4

typedef bit<48>  mac_t;
typedef bit<32>  ipv4_t;
typedef bit<128> ipv6_t;

const bit<16> ETHERTYPE_VLAN = 0x8100;
const bit<16> ETHERTYPE_IPV4 = 0x0800;
const bit<16> ETHERTYPE_IPV6 = 0x86dd;

const bit<16> PORT_VXLAN = 4789;

const bit<8> PROTO_ICMP   = 1;
const bit<8> PROTO_TCP    = 6;
const bit<8> PROTO_UDP    = 17;
const bit<8> PROTO_ICMPV6 = 58;

header ethernet_t {
    mac_t   dst_addr;
    mac_t   src_addr;
    bit<16> ether_type;
}

header vlan_t {
    bit<3>  pcp;
    bit<1>  dei;
    bit<12> vid;
    bit<16> ether_type;
}

header ipv4_header_t {
    bit<4>  version;
    bit<4>  ihl;
    bit<8>  dscp_ecn;
    bit<16> total_len;
    bit<16> identification;
    bit<1>  reserved;
    bit<1>  dont_fragment;
    bit<1>  more_fragments;
    bit<13> frag_offset;
    bit<8>  ttl;
    bit<8>  protocol;
    bit<16> hdr_checksum;
    ipv4_t  src_addr;
    ipv4_t  dst_addr;
}

header ipv6_header_t {
    bit<4>  version;
    bit<8>  traffic_class;
    bit<20> flow_label;
    bit<16> payload_len;
    bit<8>  next_header;
    bit<8>  hop_limit;
    ipv6_t  src_addr;
    ipv6_t  dst_addr;
}

header tcp_t {
    bit<16> src_port;
    bit<16> dst_port;
    bit<32> seq_no;
    bit<32> ack_no;
    bit<4>  data_offset;
    bit<4>  reserved;
    bit<8>  flags;
    bit<16> window;
    bit<16> checksum;
    bit<16> urgent_ptr;
}

const bit<8> TCP_FIN = 0x01;
const bit<8> TCP_SYN = 0x02;
const bit<8> TCP_RST = 0x04;
const bit<8> TCP_ACK = 0x10;

header udp_t {
    bit<16> src_port;
    bit<16> dst_port;
    bit<16> length_;
    bit<16> checksum;
}

// ICMP and ICMPv6: the first eight bytes of an echo message.
header icmp_t {
    bit<8>  type_;
    bit<8>  code;
    bit<16> checksum;
    bit<16> identifier;
    bit<16> sequence;
}

header vxlan_t {
    bit<8>  flags;
    bit<24> reserved1;
    bit<24> vni;
    bit<8>  reserved2;
}

const bit<8> VXLAN_HAS_VNI = 0x08;

// To the controller: enough to resume in software where the eswitch stopped.
@controller_header("packet_in")
header packet_in_t {
    @id(1)  port_t       ingress_port;
    @id(2)  bit<7>       pad0;
    @id(3)  vport_t      vport;          // 0: unknown
    @id(4)  PuntReason   reason;
    @id(5)  Step         step;           // the last step reached
    @id(6)  CtHit        ct_hit;
    @id(7)  bit<1>       direction;      // of the entry that was hit: 0 original, 1 reply
    @id(8)  bit<5>       pad1;
    @id(9)  conn_index_t conn_index;     // of the entry that was hit
    @id(10) generation_t generation;     // of the entry that was hit
    @id(11) bit<24>      tunnel_id;      // VNI, 0 when not tunnelled
    @id(12) bit<128>     outer_src;      // outer source address; IPv4 in the low 32 bits
    @id(13) bit<16>      frame_length;   // bytes at ingress, FCS not counted
    // The window registers of both directions, where an entry was hit (else 0): end, maximum end,
    // maximum window and highest acknowledgement, 32 bits each; then both scales.
    @id(14) bit<128>     window_original;
    @id(15) bit<128>     window_reply;
    @id(16) bit<16>      window_scales;
    @id(17) WindowVerdict window_verdict;
}

// From the controller.
@controller_header("packet_out")
header packet_out_t {
    @id(1) PacketOutOp op;
    @id(2) port_t      port;             // SEND: egress port; PIPELINE: the port to act as
    @id(3) bit<7>      pad0;
    @id(4) next_hop_t  next_hop;         // NEXT_HOP only
    @id(5) conn_index_t conn_index;      // WINDOW_WRITE, WINDOW_READ, WINDOW_MERGE
}

// Bytes of packet_out_t.
const bit<16> PACKET_OUT_LENGTH = 9;

// Payload of a WINDOW_WRITE or WINDOW_MERGE packet-out.
header window_out_t {
    bit<32> original_end;
    bit<32> original_max_end;
    bit<32> original_max_win;
    bit<32> original_max_ack;
    bit<8>  original_scale;
    bit<32> reply_end;
    bit<32> reply_max_end;
    bit<32> reply_max_win;
    bit<32> reply_max_ack;
    bit<8>  reply_scale;
}

struct headers_t {
    packet_in_t   packet_in;
    packet_out_t  packet_out;
    window_out_t  window_out;
    // Added in front by a next hop that encapsulates.
    ethernet_t    encap_ethernet;
    ipv4_header_t encap_ipv4;
    ipv6_header_t encap_ipv6;
    udp_t         encap_udp;
    vxlan_t       encap_vxlan;
    // What every step works on: the packet, or after decapsulation the inner packet.
    ethernet_t    ethernet;
    vlan_t        vlan;
    ipv4_header_t ipv4;
    ipv6_header_t ipv6;
    tcp_t         tcp;
    udp_t         udp;
    icmp_t        icmp;
    // What follows UDP port 4789; becomes the packet if the tunnel ends here.
    vxlan_t       vxlan;
    ethernet_t    inner_ethernet;
    vlan_t        inner_vlan;
    ipv4_header_t inner_ipv4;
    ipv6_header_t inner_ipv6;
    tcp_t         inner_tcp;
    udp_t         inner_udp;
    icmp_t        inner_icmp;
}

// What step 4 and step 6 decide, carried to step 7.
struct verdict_t {
    bool         forward;
    next_hop_t   next_hop;
    path_t       path;
    CtHit        ct_hit;
    conn_index_t conn_index;
    generation_t generation;
    bit<1>       direction;
    bit<1>       check_window;
}

// One direction's window registers.
struct window_t {
    bit<32> end;
    bit<32> max_end;
    bit<32> max_win;
    bit<32> max_ack;
    bit<8>  scale;
}

// What the window stage is to do.
enum bit<3> WindowOp {
    NONE  = 0,
    READ  = 1,
    CHECK = 2,
    WRITE = 3,
    MERGE = 4
}

// The tunnel that ended here.
struct tunnel_t {
    bool     terminated;
    ipv4_t   dst_v4;          // outer destination, what the tables match on
    ipv6_t   dst_v6;
    bit<24>  vni;
    bit<128> outer_src;       // IPv4 in the low 32 bits
    bit<16>  removed;         // bytes of the outer headers
}

// The addresses and ports that NAT gives the packet; all of them, changed or not.
struct nat_t {
    bool     active;
    ipv6_t   src;             // either family; IPv4 in the low 32 bits
    ipv6_t   dst;
    bit<16>  sport;           // of ICMP echo: the identifier
    bit<16>  dport;
}

// What tables match on.  Never a field of a header that may be invalid.
struct lookup_t {
    port_t   port;
    bit<16>  tunnel_vport;    // 0: came in without a tunnel
    mac_t    eth_src;
    mac_t    eth_dst;
    bit<1>   vlan_present;
    bit<12>  vlan_id;
    bit<16>  ether_type;      // after the tag
    bit<16>  l3_len;          // length of the IP packet, 0 when not IP
    bit<16>  l4_len;          // of it, behind the IP header
    ipv4_t   ipv4_src;
    ipv4_t   ipv4_dst;
    ipv6_t   ip_src;          // either family; IPv4 in the low 32 bits
    ipv6_t   ip_dst;
    bit<8>   proto;
    bit<16>  sport;
    bit<16>  dport;
    bit<8>   tcp_flags;       // 0 when not TCP
    bit<1>   is_tcp;
    bit<1>   trackable;       // a whole TCP, UDP or ICMP echo packet: may have an entry
    bit<1>   fragment;
    bit<1>   options;
    bit<1>   low_ttl;
    bit<1>   bad_checksum;
    bit<1>   malformed;
    bit<1>   same_address;
}

// What a next hop asks for, applied once it is certain that the packet is sent.
struct rewrite_t {
    bool    route;            // new MAC addresses, TTL decremented
    bool    encap_v4;
    bool    encap_v6;
    port_t  port;
    bit<16> mtu;              // of the IP packet; 0: no limit
    VlanOp  vlan_op;
    bit<12> vlan_id;
    mac_t   eth_src;
    mac_t   eth_dst;
    // VXLAN: the outer headers.
    mac_t   outer_eth_src;
    mac_t   outer_eth_dst;
    ipv6_t  outer_src;        // IPv4 in the low 32 bits
    ipv6_t  outer_dst;
    bit<24> vni;
    bit<8>  ttl;
    bit<6>  dscp;
}

struct punt_t {
    PuntReason reason;
    PuntClass  class_;
    Step       step;
}

struct metadata_t {
    // Survives recirculation: this is a pipeline packet-out in its second pass, and its port.
    @field_list(1) bit<1> replayed;
    @field_list(1) port_t replay_port;
    bit<1>    replay_now;     // set in ingress of the first pass only: recirculate in egress
    bool      drop;           // dropped for drop_reason, counted at step 8
    DropReason drop_reason;
    vport_t   vport;
    l2_id_t   l2_id;
    bit<16>   frame_length;
    bit<2>    meter_color;
    WindowOp  window_op;
    WindowVerdict window_verdict;
    bit<128>  window_original;
    bit<128>  window_reply;
    bit<16>   window_scales;
    tunnel_t  tunnel;
    nat_t     nat;
    lookup_t  lookup;
    verdict_t verdict;
    rewrite_t rewrite;
    punt_t    punt;
}

#endif

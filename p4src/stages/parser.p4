// SPDX-License-Identifier: Apache-2.0
// Parser: one optional 802.1Q tag, IPv4 or IPv6, then TCP, UDP or an echo header.
//
// L4 is parsed only where it is certain to start there: not behind IPv4 options, not behind IPv6
// extension headers, not in a later fragment.  Those packets have a trap of their own.

#ifndef ESWITCH_PARSER_P4
#define ESWITCH_PARSER_P4

parser eswitch_parser(packet_in packet,
                      out headers_t hdr,
                      inout metadata_t meta,
                      inout standard_metadata_t standard_metadata) {
    state start {
        transition select(standard_metadata.ingress_port) {
            CPU_PORT: parse_packet_out;
            default:  parse_ethernet;
        }
    }

    state parse_packet_out {
        packet.extract(hdr.packet_out);
        transition select(hdr.packet_out.op) {
            PacketOutOp.WINDOW_WRITE: parse_window_out;
            PacketOutOp.WINDOW_MERGE: parse_window_out;
            default:                  parse_ethernet;
        }
    }

    state parse_window_out {
        packet.extract(hdr.window_out);
        transition accept;
    }

    state parse_ethernet {
        packet.extract(hdr.ethernet);
        transition select(hdr.ethernet.ether_type) {
            ETHERTYPE_VLAN: parse_vlan;
            ETHERTYPE_IPV4: parse_ipv4;
            ETHERTYPE_IPV6: parse_ipv6;
            default:        accept;
        }
    }

    state parse_vlan {
        packet.extract(hdr.vlan);
        transition select(hdr.vlan.ether_type) {
            ETHERTYPE_IPV4: parse_ipv4;
            ETHERTYPE_IPV6: parse_ipv6;
            default:        accept;
        }
    }

    state parse_ipv4 {
        packet.extract(hdr.ipv4);
        transition select(hdr.ipv4.version, hdr.ipv4.ihl, hdr.ipv4.frag_offset, hdr.ipv4.protocol) {
            (4, 5, 0, PROTO_TCP):  parse_tcp;
            (4, 5, 0, PROTO_UDP):  parse_udp;
            (4, 5, 0, PROTO_ICMP): parse_icmp;
            default:               accept;
        }
    }

    state parse_ipv6 {
        packet.extract(hdr.ipv6);
        transition select(hdr.ipv6.version, hdr.ipv6.next_header) {
            (6, PROTO_TCP):    parse_tcp;
            (6, PROTO_UDP):    parse_udp;
            (6, PROTO_ICMPV6): parse_icmp;
            default:           accept;
        }
    }

    state parse_tcp {
        packet.extract(hdr.tcp);
        transition accept;
    }

    state parse_udp {
        packet.extract(hdr.udp);
        transition select(hdr.udp.dst_port) {
            PORT_VXLAN: parse_vxlan;
            default:    accept;
        }
    }

    state parse_icmp {
        packet.extract(hdr.icmp);
        transition accept;
    }

    // Whether the tunnel ends here is a table's decision; until then this is the payload of UDP.
    state parse_vxlan {
        packet.extract(hdr.vxlan);
        packet.extract(hdr.inner_ethernet);
        transition select(hdr.inner_ethernet.ether_type) {
            ETHERTYPE_VLAN: parse_inner_vlan;
            ETHERTYPE_IPV4: parse_inner_ipv4;
            ETHERTYPE_IPV6: parse_inner_ipv6;
            default:        accept;
        }
    }

    state parse_inner_vlan {
        packet.extract(hdr.inner_vlan);
        transition select(hdr.inner_vlan.ether_type) {
            ETHERTYPE_IPV4: parse_inner_ipv4;
            ETHERTYPE_IPV6: parse_inner_ipv6;
            default:        accept;
        }
    }

    state parse_inner_ipv4 {
        packet.extract(hdr.inner_ipv4);
        transition select(hdr.inner_ipv4.version, hdr.inner_ipv4.ihl,
                          hdr.inner_ipv4.frag_offset, hdr.inner_ipv4.protocol) {
            (4, 5, 0, PROTO_TCP):  parse_inner_tcp;
            (4, 5, 0, PROTO_UDP):  parse_inner_udp;
            (4, 5, 0, PROTO_ICMP): parse_inner_icmp;
            default:               accept;
        }
    }

    state parse_inner_ipv6 {
        packet.extract(hdr.inner_ipv6);
        transition select(hdr.inner_ipv6.version, hdr.inner_ipv6.next_header) {
            (6, PROTO_TCP):    parse_inner_tcp;
            (6, PROTO_UDP):    parse_inner_udp;
            (6, PROTO_ICMPV6): parse_inner_icmp;
            default:           accept;
        }
    }

    state parse_inner_tcp {
        packet.extract(hdr.inner_tcp);
        transition accept;
    }

    state parse_inner_udp {
        packet.extract(hdr.inner_udp);
        transition accept;
    }

    state parse_inner_icmp {
        packet.extract(hdr.inner_icmp);
        transition accept;
    }
}

#endif

# SPDX-License-Identifier: Apache-2.0
"""What each object of eswitch.p4 means, by its public name: the words of docs/p4-contract.md.

P4Info has names, ids and widths but no meanings.  They are kept here once; tools/contract_page.py
joins the two and refuses to work when one side names something that the other does not.
"""

from __future__ import annotations

TABLES = {
    "tunnel_term_v4": "Step 1. VXLAN tunnels over IPv4 that end here: the packet inside becomes the"
    " packet. A miss leaves the packet as it is.",
    "tunnel_term_v6": "Step 1. As `tunnel_term_v4`, over IPv6.",
    "vport": "Step 2. Gives the logical ingress port. A miss punts with UNKNOWN_VPORT.",
    "l2_pair": "Step 3. Gives the pair of stations a number. A miss leaves it 0, and a packet with"
    " number 0 is not looked up in step 4: an entry never serves another MAC pair.",
    "ct_v4": "Step 4, IPv4. A hit only records what to do; nothing is changed or counted yet.",
    "ct_v6": "Step 4, IPv6. As `ct_v4`.",
    "trap": "Step 5. What hardware must never forward. All entries are const, see below; the size"
    " is the compiler's default, the entries are all there will be.",
    "flow": "Step 6. Stateless traffic, for packets that step 4 did not hit. A miss punts with"
    " MISS.",
    "next_hop": "Step 7. Everything that changes the packet, and where it goes. A miss punts with"
    " NO_NEXT_HOP (for a packet-out: drops with BAD_PACKET_OUT).",
}

#: (table, key) -> meaning.
KEYS = {
    ("vport", "port"): "dataplane port, or the port that a pipeline packet-out names",
    ("vport", "tunnel_vport"): "from step 1; 0: came in without a tunnel",
    ("vport", "vlan_present"): "1 if the frame, in a tunnel the inner one, has an 802.1Q tag",
    ("vport", "vlan_id"): "id of the tag, 0 without one",
    ("l2_pair", "vport"): "from step 2",
    ("l2_pair", "eth_src"): "source MAC address",
    ("l2_pair", "eth_dst"): "destination MAC address",
    ("trap", "ct_hit"): "what step 4 found (CtHit)",
    ("trap", "malformed"): "truncated, or lengths that contradict each other",
    ("trap", "bad_checksum"): "the IPv4 header checksum is wrong",
    ("trap", "fragment"): "any fragment, the first one included",
    ("trap", "options"): "IPv4 options, or an IPv6 extension header",
    ("trap", "low_ttl"): "TTL or hop limit of 1 or 0",
    ("trap", "same_address"): "IP source equals IP destination",
    ("trap", "is_tcp"): "a TCP header was parsed",
    ("trap", "tcp_flags"): "flags as on the wire, 0 when not TCP",
    ("flow", "vport"): "always exact: an entry never serves another vport",
    ("flow", "eth_src"): "source MAC address",
    ("flow", "eth_dst"): "destination MAC address",
    ("flow", "ether_type"): "EtherType after the tag",
    ("flow", "src"): "IP source; IPv4 in the low 32 bits, 0 when not IP",
    ("flow", "dst"): "IP destination, likewise",
    ("flow", "proto"): "IPv4 protocol or IPv6 next header, 0 when not IP",
    ("flow", "sport"): "as in the connection tables",
    ("flow", "dport"): "as in the connection tables",
    ("next_hop", "next_hop"): "id that an entry or a packet-out names",
}
for _table in ("tunnel_term_v4", "tunnel_term_v6"):
    KEYS |= {
        (_table, "outer_dst"): "outer IP destination address",
        (_table, "vni"): "VXLAN network identifier",
    }
for _table in ("ct_v4", "ct_v6"):
    KEYS |= {
        (_table, "l2_id"): "number of the MAC pair, never 0",
        (_table, "src"): "IP source address",
        (_table, "dst"): "IP destination address",
        (_table, "proto"): "6 TCP, 17 UDP, 1 ICMP, 58 ICMPv6",
        (_table, "sport"): "source port; ICMP echo: the identifier, in both directions",
        (_table, "dport"): "destination port; ICMP echo: type<<8 \\| code",
    }

ACTIONS = {
    "miss": "Nothing; default of every table. The step sees the miss.",
    "terminate": "The tunnel ends here. Which port it came in on is matched together with"
    " `tunnel_vport` in step 2: a tunnel from a port that is no uplink belongs to no vport.",
    "set_vport": "Names the vport.",
    "set_l2_id": "Names the MAC pair.",
    "ct_forward": "The packet belongs to an offloaded connection: forward it, if the trap agrees.",
    "ct_nat_v4": "As `ct_forward`, and the packet leaves with these addresses and ports, changed or"
    " not; checksums follow by the difference (RFC 1624).",
    "ct_nat_v6": "As `ct_nat_v4`, for IPv6.",
    "ct_drain": "The connection's entries are being removed: punt, do not count.",
    "punt": "Send up with this reason, in this class of the policer.",
    "flow_forward": "Forward by a stateless entry.",
    "nh_output": "Send to a port; MAC addresses and TTL stay.",
    "nh_route": "As `nh_output`, with new MAC addresses and TTL or hop limit decremented"
    " (the IPv4 checksum is computed again).",
    "nh_vxlan_v4": "As `nh_output` (as `nh_route` with `route` 1), then into VXLAN over IPv4: DF is"
    " set, the ECN of the inner packet is copied (RFC 6040), the UDP source port is 0xc000 plus 14"
    " bits of a CRC-16 of the inner flow, the UDP checksum is 0.",
    "nh_vxlan_v6": "As `nh_vxlan_v4`, over IPv6.",
    "nh_drop": "Drop, counted as NEXT_HOP.",
}

#: (action, parameter) -> meaning.
PARAMS = {
    ("set_vport", "vport"): "1 to 1023",
    ("set_l2_id", "l2_id"): "not 0",
    ("punt", "reason"): "PuntReason",
    ("punt", "class_"): "PuntClass",
    ("flow_forward", "path"): "cell of `path_counter`",
    ("flow_forward", "next_hop"): "row of `next_hop`",
    ("terminate", "tunnel_vport"): "key of step 2, not 0",
    ("nh_route", "eth_src"): "new source MAC address",
    ("nh_route", "eth_dst"): "new destination MAC address",
}
for _action in ("ct_forward", "ct_nat_v4", "ct_nat_v6"):
    PARAMS |= {
        (_action, "path"): "cell of `path_counter`: the list of flows that the packet stands for",
        (_action, "next_hop"): "row of `next_hop`",
        (_action, "check_window"): "1: forward TCP segments only inside the window registers",
    }
for _action in ("ct_nat_v4", "ct_nat_v6"):
    PARAMS |= {
        (_action, "src"): "new IP source address",
        (_action, "dst"): "new IP destination address",
        (_action, "sport"): "new source port; ICMP echo: the new identifier",
        (_action, "dport"): "new destination port; ICMP echo: no effect",
    }
for _action in ("ct_forward", "ct_nat_v4", "ct_nat_v6", "ct_drain"):
    PARAMS |= {
        (_action, "conn_index"): "cells 2·index and 2·index+1 of `ct_counter`; below 65536",
        (_action, "generation"): "use of the index, so that late packets can be told apart",
        (_action, "direction"): "0 original, 1 reply",
    }
for _action in ("nh_vxlan_v4", "nh_vxlan_v6"):
    PARAMS |= {
        (_action, "route"): "1: new inner MAC addresses, TTL or hop limit decremented",
        (_action, "eth_src"): "new inner source MAC address",
        (_action, "eth_dst"): "new inner destination MAC address",
        (_action, "outer_eth_src"): "outer source MAC address",
        (_action, "outer_eth_dst"): "outer destination MAC address",
        (_action, "outer_src"): "outer IP source address",
        (_action, "outer_dst"): "outer IP destination address",
        (_action, "vni"): "VXLAN network identifier",
        (_action, "ttl"): "outer TTL or hop limit",
        (_action, "dscp"): "outer DSCP",
    }
for _action in ("nh_output", "nh_route", "nh_vxlan_v4", "nh_vxlan_v6"):
    PARAMS |= {
        (_action, "port"): "egress port",
        (_action, "mtu"): "longest IP packet in bytes, in a tunnel the inner one; 0: no limit",
        (_action, "vlan_op"): "VlanOp",
        (_action, "vlan_id"): "id for PUSH and SET",
    }

COUNTERS = {
    "ct_counter": "Cell 2·conn_index + direction: what entries forwarded (or `nh_drop` dropped for"
    " them), counted in step 7 once nothing can send it up any more. Punted packets and packet-outs"
    " are not in it.",
    "path_counter": "Cell path: the same packets by the flows that led to the entry, and those of"
    " `flow` entries.",
    "punt_counter": "Cell PuntReason: what went up, after the policer.",
    "drop_counter": "Cell DropReason: every drop that the program decides.",
    "trap_counter": "Direct, one for each const entry of `trap`, before the policer.",
    "flow_counter": "Direct, one for each entry of `flow`; counts hits, also those that step 7"
    " punts.",
}

METERS = {
    "punt_meter": "Cell 4·vport + PuntClass; class SYN: cell 4096 + 4·vport. vport 0 stands for"
    " every unknown vport. Red is dropped, green and yellow go up.",
}

REGISTERS_NOTE = (
    "Not needed; P4Runtime does not have to serve them, and their ids are p4c's own. Cell"
    " 2·conn_index + direction of the sender. They are written and read by packet-outs"
    " (WINDOW_WRITE, WINDOW_MERGE, WINDOW_READ); what is punted from a TCP entry carries both"
    " directions. All but the scale only grow, in serial arithmetic (RFC 1982). The names of Linux"
    " are in brackets."
)

REGISTERS = {
    "window_end": "highest sequence number after a segment that was sent (td_end)",
    "window_max_end": "highest acknowledgement plus window that the peer offered (td_maxend)",
    "window_max_win": "largest window that it offered itself, scaled (td_maxwin)",
    "window_max_ack": "highest acknowledgement that it sent (td_maxack)",
    "window_scale": "window scale, 0 to 14 (td_scale)",
}

HEADERS = {
    "packet_in": "In front of every packet that goes up.",
    "packet_out": "In front of every packet from the controller. Every field has to be given,"
    " padding included.",
}

#: (header, field) -> meaning.
FIELDS = {
    ("packet_in", "ingress_port"): "port it came in on, or acts as coming in on",
    ("packet_in", "pad0"): "0",
    ("packet_in", "vport"): "from step 2; 0 unknown",
    ("packet_in", "reason"): "PuntReason",
    ("packet_in", "step"): "last step reached (Step)",
    ("packet_in", "ct_hit"): "CtHit; the next three fields hold unless it is MISS",
    ("packet_in", "direction"): "of the entry: 0 original, 1 reply",
    ("packet_in", "pad1"): "0",
    ("packet_in", "conn_index"): "of the entry",
    ("packet_in", "generation"): "of the entry",
    ("packet_in", "tunnel_id"): "VNI of the tunnel that ended here, 0 without one",
    ("packet_in", "outer_src"): "outer source address, IPv4 in the low 32 bits; 0 without a tunnel",
    ("packet_in", "frame_length"): "bytes at ingress, outer headers included, FCS not counted",
    ("packet_in", "window_original"): "registers end, max_end, max_win, max_ack of the original"
    " direction, 32 bits each, where a TCP entry was hit; else 0",
    ("packet_in", "window_reply"): "those of the reply direction",
    ("packet_in", "window_scales"): "both scales, 8 bits each, original first",
    ("packet_in", "window_verdict"): "WindowVerdict",
    ("packet_out", "op"): "PacketOutOp",
    ("packet_out", "port"): "SEND: egress port; PIPELINE: the port to act as",
    ("packet_out", "pad0"): "0",
    ("packet_out", "next_hop"): "NEXT_HOP: row of `next_hop`",
    ("packet_out", "conn_index"): "WINDOW_WRITE, WINDOW_MERGE, WINDOW_READ: whose registers",
}

ENUMS = {
    "PuntReason": "Why a packet goes up.",
    "Step": "Where it stopped.",
    "CtHit": "What step 4 found.",
    "PuntClass": "Classes of the policer.",
    "DropReason": "Why the program drops. p4c does not list it in P4Info, because no key, parameter"
    " or header has this type; the numbers are those of `p4src/include/reasons.p4`.",
    "PacketOutOp": "What a packet-out asks for.",
    "WindowVerdict": "Where a TCP segment lies, by the conditions of Linux's `tcp_in_window`;"
    " SACK blocks are not read.",
    "VlanOp": "What a next hop does to the 802.1Q tag.",
}

#: (enum, member) -> meaning.
MEMBERS = {
    ("PuntReason", "NONE"): "not punted",
    ("PuntReason", "UNKNOWN_VPORT"): "no such port and VLAN",
    ("PuntReason", "MISS"): "neither a connection nor a flow",
    ("PuntReason", "DRAIN"): "the connection's entries are being removed",
    ("PuntReason", "TCP_SYN"): "SYN is set",
    ("PuntReason", "TCP_FIN"): "FIN is set",
    ("PuntReason", "TCP_RST"): "RST is set",
    ("PuntReason", "TCP_FLAGS"): "none of ACK, SYN, FIN, RST is set",
    ("PuntReason", "FRAGMENT"): "a fragment",
    ("PuntReason", "IP_OPTIONS"): "IPv4 options or IPv6 extension headers",
    ("PuntReason", "TTL"): "TTL or hop limit of 1 or 0",
    ("PuntReason", "BAD_CHECKSUM"): "IPv4 header checksum",
    ("PuntReason", "MALFORMED"): "truncated or contradictory lengths",
    ("PuntReason", "NO_NEXT_HOP"): "the entry names a next hop that does not exist",
    ("PuntReason", "MTU_EXCEEDED"): "longer than the next hop allows",
    ("PuntReason", "SAME_ADDRESS"): "IP source equals IP destination",
    ("PuntReason", "WINDOW"): "a TCP segment outside the window registers",
    ("PuntReason", "WINDOW_READ"): "no punt: the answer to a WINDOW_READ packet-out",
    ("Step", "TUNNEL"): "step 1",
    ("Step", "VPORT"): "step 2",
    ("Step", "L2_PAIR"): "step 3",
    ("Step", "CT"): "step 4",
    ("Step", "TRAP"): "step 5",
    ("Step", "FLOW"): "step 6",
    ("Step", "NEXT_HOP"): "step 7",
    ("Step", "WINDOW"): "window check, between steps 5 and 7",
    ("CtHit", "MISS"): "no entry, or not looked up",
    ("CtHit", "FORWARD"): "an entry that forwards",
    ("CtHit", "DRAIN"): "an entry that is being removed",
    ("PuntClass", "MISS"): "no entry: all but SYN, stateless traffic, unknown vports",
    ("PuntClass", "CONTROL"): "SYN, FIN, RST and odd flags of a connection that has an entry",
    ("PuntClass", "EXCEPTION"): "fragments, options, TTL, checksum, malformed, MTU, next hop",
    ("PuntClass", "DRAIN"): "packets of a connection whose entries are being removed",
    ("PuntClass", "SYN"): "SYN without ACK and without an entry: new TCP connections",
    ("DropReason", "POLICER_MISS"): "the policer, class MISS",
    ("DropReason", "POLICER_CONTROL"): "the policer, class CONTROL",
    ("DropReason", "POLICER_EXCEPTION"): "the policer, class EXCEPTION",
    ("DropReason", "POLICER_DRAIN"): "the policer, class DRAIN",
    ("DropReason", "NEXT_HOP"): "a next hop that drops",
    ("DropReason", "BAD_PACKET_OUT"): "unknown operation or next hop, no frame, or a TTL too low",
    ("DropReason", "POLICER_SYN"): "the policer, class SYN",
    ("PacketOutOp", "SEND"): "send unchanged to a port",
    ("PacketOutOp", "NEXT_HOP"): "apply a next hop, without MTU check and counters",
    ("PacketOutOp", "PIPELINE"): "run through the pipeline as if received on a port",
    ("PacketOutOp", "WINDOW_WRITE"): "write the window registers of both directions of `conn_index`"
    " from the payload, 34 bytes: end, max_end, max_win, max_ack (32 bits each) and scale (8 bits)"
    " of the original direction, then of the reply",
    ("PacketOutOp", "WINDOW_READ"): "read them: the packet comes back with reason WINDOW_READ",
    ("PacketOutOp", "WINDOW_MERGE"): "raise them to those of the payload (as of WINDOW_WRITE), each"
    " where it is higher; the scales stay",
    ("WindowVerdict", "NOT_CHECKED"): "the entry does not ask for it, or it was not reached",
    ("WindowVerdict", "INSIDE"): "inside; the registers moved on",
    ("WindowVerdict", "SEQ_ABOVE"): "starts beyond what the receiver offered",
    ("WindowVerdict", "SEQ_BELOW"): "ends before what the receiver can still want",
    ("WindowVerdict", "ACK_ABOVE"): "acknowledges what was never sent",
    ("WindowVerdict", "ACK_BELOW"): "acknowledges what is too old",
    ("VlanOp", "KEEP"): "leave it",
    ("VlanOp", "PUSH"): "leave with this tag, whatever the packet came with",
    ("VlanOp", "POP"): "remove the tag, if there is one",
    ("VlanOp", "SET"): "the same; its name where a tag is known to be there",
}

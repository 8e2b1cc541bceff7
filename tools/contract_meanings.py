# SPDX-License-Identifier: Apache-2.0
"""What each object of eswitch.p4 means, by its public name: the words of docs/p4-contract.md.

P4Info has names, ids and widths but no meanings.  They are kept here once; tools/contract_page.py
joins the two and refuses to work when one side names something that the other does not.
"""

from __future__ import annotations

TABLES = {
    "vport": "Step 2. Gives the logical ingress port. A miss punts with UNKNOWN_VPORT.",
    "l2_pair": "Step 3. Gives the pair of stations a number. A miss leaves it 0, and a packet with"
    " number 0 is not looked up in step 4: an entry never serves another MAC pair.",
    "ct_v4": "Step 4, IPv4. A hit only records what to do; nothing is changed or counted yet.",
    "ct_v6": "Step 4, IPv6. As `ct_v4`.",
    "trap": "Step 5. What hardware must never forward. All entries are const: see below.",
    "flow": "Step 6. Stateless traffic, for packets that step 4 did not hit. A miss punts with"
    " MISS.",
    "next_hop": "Step 7. Everything that changes the packet, and where it goes. A miss punts with"
    " NO_NEXT_HOP (for a packet-out: drops with BAD_PACKET_OUT).",
}

#: (table, key) -> meaning.
KEYS = {
    ("vport", "port"): "dataplane port, or the port that a pipeline packet-out names",
    ("vport", "tunnel_vport"): "0: came in without a tunnel (other values come with tunnels)",
    ("vport", "vlan_present"): "1 if the frame has an 802.1Q tag",
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
    "set_vport": "Names the vport.",
    "set_l2_id": "Names the MAC pair.",
    "ct_forward": "The packet belongs to an offloaded connection: forward it, if the trap agrees.",
    "ct_drain": "The connection's entries are being removed: punt, do not count.",
    "punt": "Send up with this reason, in this class of the policer.",
    "flow_forward": "Forward by a stateless entry.",
    "nh_output": "Send to a port; MAC addresses and TTL stay.",
    "nh_route": "As `nh_output`, with new MAC addresses and TTL or hop limit decremented"
    " (the IPv4 checksum is computed again).",
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
    ("ct_forward", "path"): "cell of `path_counter`: the list of flows that the packet stands for",
    ("ct_forward", "next_hop"): "row of `next_hop`",
    ("nh_route", "eth_src"): "new source MAC address",
    ("nh_route", "eth_dst"): "new destination MAC address",
}
for _action in ("ct_forward", "ct_drain"):
    PARAMS |= {
        (_action, "conn_index"): "cells 2·index and 2·index+1 of `ct_counter`; below 65536",
        (_action, "generation"): "use of the index, so that late packets can be told apart",
        (_action, "direction"): "0 original, 1 reply",
    }
for _action in ("nh_output", "nh_route"):
    PARAMS |= {
        (_action, "port"): "egress port",
        (_action, "mtu"): "longest IP packet in bytes, 0: no limit",
        (_action, "vlan_op"): "VlanOp",
        (_action, "vlan_id"): "id for PUSH and SET",
    }

COUNTERS = {
    "ct_counter": "Cell 2·conn_index + direction: what entries forwarded, counted in step 7 once"
    " forwarding is decided. Punted packets and packet-outs are not in it.",
    "path_counter": "Cell path: the same packets by the flows that led to the entry, and those of"
    " `flow` entries.",
    "punt_counter": "Cell PuntReason: what went up, after the policer.",
    "drop_counter": "Cell DropReason: every drop that the program decides.",
    "trap_counter": "Direct, one for each const entry of `trap`, before the policer.",
    "flow_counter": "Direct, one for each entry of `flow`; counts hits, also those that step 7"
    " punts.",
}

METERS = {
    "punt_meter": "Cell 4·vport + PuntClass; vport 0 stands for every unknown vport. Red is"
    " dropped, green and yellow go up.",
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
    ("packet_in", "tunnel_id"): "VNI; always 0 in this version",
    ("packet_in", "outer_src"): "outer source address; always 0 in this version",
    ("packet_in", "frame_length"): "bytes at ingress, FCS not counted",
    ("packet_out", "op"): "PacketOutOp",
    ("packet_out", "port"): "SEND: egress port; PIPELINE: the port to act as",
    ("packet_out", "pad0"): "0",
    ("packet_out", "next_hop"): "NEXT_HOP: row of `next_hop`",
}

ENUMS = {
    "PuntReason": "Why a packet goes up.",
    "Step": "Where it stopped.",
    "CtHit": "What step 4 found.",
    "PuntClass": "Classes of the policer.",
    "DropReason": "Why the program drops. p4c does not list it in P4Info, because no key, parameter"
    " or header has this type; the numbers are those of `p4src/include/reasons.p4`.",
    "PacketOutOp": "What a packet-out asks for.",
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
    ("Step", "TUNNEL"): "reserved for tunnel termination",
    ("Step", "VPORT"): "step 2",
    ("Step", "L2_PAIR"): "step 3",
    ("Step", "CT"): "step 4",
    ("Step", "TRAP"): "step 5",
    ("Step", "FLOW"): "step 6",
    ("Step", "NEXT_HOP"): "step 7",
    ("CtHit", "MISS"): "no entry, or not looked up",
    ("CtHit", "FORWARD"): "an entry that forwards",
    ("CtHit", "DRAIN"): "an entry that is being removed",
    ("PuntClass", "MISS"): "no entry: new connections, stateless traffic, unknown vports",
    ("PuntClass", "CONTROL"): "SYN, FIN, RST and odd flags of a connection that has an entry",
    ("PuntClass", "EXCEPTION"): "fragments, options, TTL, checksum, malformed, MTU, next hop",
    ("PuntClass", "DRAIN"): "packets of a connection whose entries are being removed",
    ("DropReason", "POLICER_MISS"): "the policer, class MISS",
    ("DropReason", "POLICER_CONTROL"): "the policer, class CONTROL",
    ("DropReason", "POLICER_EXCEPTION"): "the policer, class EXCEPTION",
    ("DropReason", "POLICER_DRAIN"): "the policer, class DRAIN",
    ("DropReason", "NEXT_HOP"): "a next hop that drops",
    ("DropReason", "BAD_PACKET_OUT"): "unknown operation or next hop, no frame, or a TTL too low",
    ("PacketOutOp", "SEND"): "send unchanged to a port",
    ("PacketOutOp", "NEXT_HOP"): "apply a next hop, without MTU check and counters",
    ("PacketOutOp", "PIPELINE"): "run through the pipeline as if received on a port",
    ("VlanOp", "KEEP"): "leave it",
    ("VlanOp", "PUSH"): "leave with this tag, whatever the packet came with",
    ("VlanOp", "POP"): "remove the tag, if there is one",
    ("VlanOp", "SET"): "the same; its name where a tag is known to be there",
}

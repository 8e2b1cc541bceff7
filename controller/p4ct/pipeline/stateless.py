# SPDX-License-Identifier: Apache-2.0
"""What a stateless result depends on, in terms of the eswitch's `flow` table.

A result without conntrack may become an entry that holds for every packet with the same values in
the fields that were looked at, and for no other.  The entry's EtherType is always matched: it says
which of the other fields a packet has at all, and keeps out frames with a second VLAN tag.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from p4ct.pipeline.fields import ICMP, ICMPV6, TCP, UDP, Field, FieldSet, field_set

if TYPE_CHECKING:
    from p4ct.packet.parse import Packet
    from p4ct.pipeline.result import Result

__all__ = ["covered_by_flow_entry", "why_no_flow_entry"]

_FIRST_ETHERTYPE = 0x0600
"""Below it stands a length (IEEE 802.3)."""

#: Matched where they were looked at, or the same for every frame that hits the entry: what the
#: pipeline sees is untagged, untracked and no fragment (those are trapped).
_ALWAYS = field_set(
    [
        Field.IN_PORT,
        Field.DL_SRC,
        Field.DL_DST,
        Field.DL_TYPE,
        Field.VLAN_VID,
        Field.VLAN_PCP,
        Field.CT_STATE,
        Field.CT_ZONE,
        Field.CT_MARK,
        Field.NW_FRAG,
    ]
)
_ARP = field_set([Field.ARP_SPA, Field.ARP_TPA, Field.ARP_OP, Field.ARP_SHA, Field.ARP_THA])
_V4 = field_set([Field.NW_SRC, Field.NW_DST])
_V6 = field_set([Field.IPV6_SRC, Field.IPV6_DST])
_IP = field_set([Field.NW_PROTO, Field.NW_TOS, Field.NW_ECN, Field.NW_TTL])
_PORTS = field_set([Field.TP_SRC, Field.TP_DST])
_ICMP = field_set([Field.ICMP_TYPE, Field.ICMP_CODE])
_ND = field_set([Field.ND_TARGET])
_FLAGS = field_set([Field.TCP_FLAGS])
_L4 = _PORTS | _ICMP | _ND | _FLAGS
_ETH_ARP, _ETH_RARP = 0x0806, 0x8035


def covered_by_flow_entry(pkt: Packet) -> FieldSet:
    """The fields that an entry made for this packet pins down, or that a packet which hits it
    cannot have."""
    covered = _ALWAYS
    if pkt.eth_type not in (_ETH_ARP, _ETH_RARP):
        covered |= _ARP
    if not pkt.version:
        return covered | _V4 | _V6 | _IP | _L4
    covered |= _V4 | _V6 | field_set([Field.NW_PROTO])
    if pkt.proto in (TCP, UDP):
        covered |= _PORTS | _ICMP | _ND
    elif pkt.proto in (ICMP, ICMPV6):
        covered |= _PORTS | _ICMP
    else:
        covered |= _PORTS | _ICMP | _ND
    return covered if pkt.proto == TCP else covered | _FLAGS


def why_no_flow_entry(pkt: Packet, result: Result) -> str:
    """Why this result cannot become a `flow` entry; empty if it can."""
    if result.ct:
        return "it passes ct()"
    if result.flood:
        return f"flood: {result.flood}"
    if len(result.outputs) != 1:
        return f"{len(result.outputs)} outputs" if result.outputs else "dropped"
    if result.packets[0] is not pkt:
        return "its actions change the packet"
    if pkt.error or pkt.frag or pkt.options:
        return "never in hardware: damaged, a fragment, or with IP options"
    if pkt.vlan_id is not None or pkt.eth_type < _FIRST_ETHERTYPE:
        return "a second VLAN tag, or a length in the place of the EtherType"
    if pkt.eth_src[0] & 1:
        return "a multicast source"
    uncovered = result.looked_at.without(covered_by_flow_entry(pkt))
    return "looks at " + ", ".join(uncovered.names()) if uncovered else ""

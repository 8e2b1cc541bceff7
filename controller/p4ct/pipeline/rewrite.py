# SPDX-License-Identifier: Apache-2.0
"""What flows made of a packet, in the terms of the eswitch: NAT, routing and a VLAN tag.

An entry can give a packet other addresses and ports, and its next hop other MAC addresses together
with a TTL of one less, and a tag. Anything else that was done to the packet keeps it in software.
"""

from __future__ import annotations

from typing import NamedTuple

from p4ct.packet.parse import Packet
from p4ct.packet.rewrite import Ends, set_link, set_tag, set_ttl, translate

__all__ = ["Rewrite", "rewrite_of"]


class Rewrite(NamedTuple):
    """`ends`: addresses and ports that the packet leaves with, None if they stay; `route`: source
    and destination MAC of a packet whose TTL was decremented, None if it was not; `vlan`: the VLAN
    id of the tag that it got, None if it got none."""

    ends: Ends | None = None
    route: tuple[bytes, bytes] | None = None
    vlan: int | None = None


def rewrite_of(came: Packet, leaves: Packet) -> Rewrite | str:
    """What turns one packet into the other, or why no entry can do it."""
    if leaves is came or leaves.frame == came.frame:
        return Rewrite()
    ends = leaves.src, leaves.dst, leaves.sport, leaves.dport
    made = came
    if ends != (came.src, came.dst, came.sport, came.dport):
        made = translate(made, ends)
    else:
        ends = None
    route = None
    link = leaves.eth_src, leaves.eth_dst
    if leaves.ttl == came.ttl - 1:
        made = set_ttl(set_link(made, *link), leaves.ttl)
        route = link
    elif link != (came.eth_src, came.eth_dst):
        return "other MAC addresses without dec_ttl: the eswitch does both or none"
    vlan = None
    if came.vlan_id is None and leaves.vlan_id is not None:
        if leaves.vlan_pcp:
            return "a VLAN tag with a priority: the eswitch takes that of the tag that it came with"
        vlan = leaves.vlan_id
        made = set_tag(made, vlan)
    if made.frame != leaves.frame:
        return "its headers are changed in a way that the eswitch cannot"
    return Rewrite(ends, route, vlan)

# SPDX-License-Identifier: Apache-2.0
"""Next hops: one row of the eswitch for each vport that entries send to, as it is or routed.

Entries name a row by number, and its key is the vport, not what the vport is made of: when the
vport moves to another dataplane port or its tunnel's route changes, one row is rewritten, and
every connection behind it follows at once.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from p4ct.eswitch.entries import Modify, NextHopEntry
from p4ct.eswitch.enums import VlanOp
from p4ct.offload.allocate import SharedRows
from p4ct.packet.vxlan import Tunnel
from p4ct.pipeline.ports import PortTable

__all__ = ["NextHopKey", "key_of", "next_hop_row", "rewrites"]


class NextHopKey(NamedTuple):
    """A row of `next_hop`: the vport that its packets leave by, and the MAC addresses that they
    get if they are routed (then their TTL goes down as well)."""

    vport: int
    eth_src: bytes = b""
    eth_dst: bytes = b""


def next_hop_row(ports: PortTable, key: NextHopKey, number: int) -> NextHopEntry:
    """The row as it has to be now.

    What the packet came in, the eswitch has taken off before: only the egress counts.  SET and POP
    make the tag what the vport wants, whatever the frame came with.
    """
    vport = ports.by_id[key.vport]
    tunnel = ports.tunnels.get(vport.id)
    return NextHopEntry(
        number,
        "vxlan" if tunnel is not None else "route" if key.eth_src else "output",
        port=vport.port,
        mtu=vport.mtu,
        vlan_op=VlanOp.POP if vport.vlan is None else VlanOp.SET,
        vlan_id=vport.vlan or 0,
        eth_src=key.eth_src,
        eth_dst=key.eth_dst,
        tunnel=tunnel,
    )


def key_of(ports: PortTable, row: NextHopEntry) -> NextHopKey | None:
    """The key of a row found in the switch; None if we would not write it like that."""
    tunnel: Tunnel | None = row.tunnel
    end = None if tunnel is None else (tunnel.src, tunnel.vni)
    vport = ports.on_wire(row.port, end, row.vlan_id or None)
    if vport is None:
        return None
    key = NextHopKey(vport.id, row.eth_src, row.eth_dst)
    return key if next_hop_row(ports, key, row.next_hop) == row else None


def rewrites(
    rows: SharedRows[NextHopKey], ports: PortTable, vports: Collection[int]
) -> list[Modify]:
    """The operations that bring the rows of these vports up to date, one for each row."""
    stale = [key for key in rows if key.vport in vports]
    return [
        rows.rewrite(key, next_hop_row(ports, key, number))
        for key in stale
        if (number := rows.number(key)) is not None
    ]

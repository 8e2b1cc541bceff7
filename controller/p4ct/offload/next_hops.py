# SPDX-License-Identifier: Apache-2.0
"""Next hops: one row of the eswitch for each vport that entries send to, as it is, routed or with
a tag that flows have put on.

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
from p4ct.pipeline.ports import PortTable, Vport

__all__ = ["NextHopKey", "keys_of", "next_hop_row", "rewrites"]


class NextHopKey(NamedTuple):
    """A row of `next_hop`: the vport that its packets leave by, the MAC addresses that they get if
    they are routed (then their TTL goes down as well), and the VLAN id of the tag that flows have
    put on them (None: no tag but that of the vport)."""

    vport: int
    eth_src: bytes = b""
    eth_dst: bytes = b""
    vlan: int | None = None


def next_hop_row(ports: PortTable, key: NextHopKey, number: int) -> NextHopEntry:
    """The row as it has to be now.

    What the packet came in, the eswitch has taken off before: only the egress counts.  SET and POP
    make the tag what the vport wants, whatever the frame came with.
    """
    vport = ports.by_id[key.vport]
    tunnel = ports.tunnels.get(vport.id)
    vlan = vport.vlan if key.vlan is None else key.vlan
    return NextHopEntry(
        number,
        "vxlan" if tunnel is not None else "route" if key.eth_src else "output",
        port=vport.port,
        mtu=vport.mtu,
        vlan_op=VlanOp.POP if vlan is None else VlanOp.SET,
        vlan_id=vlan or 0,
        eth_src=key.eth_src,
        eth_dst=key.eth_dst,
        tunnel=tunnel,
    )


def keys_of(ports: PortTable, row: NextHopEntry) -> list[NextHopKey]:
    """The keys for which we would write a row that was found in the switch.

    A tag may be that of a vport, or be put on by flows towards a vport of the same port without
    one: only what uses the row can tell which of the two it is.
    """
    tunnel: Tunnel | None = row.tunnel
    end = None if tunnel is None else (tunnel.src, tunnel.vni)
    candidates: list[tuple[Vport | None, int | None]] = [
        (ports.on_wire(row.port, end, row.vlan_id or None), None),
        (ports.on_wire(row.port, end, None), row.vlan_id),
    ]
    keys = [
        NextHopKey(vport.id, row.eth_src, row.eth_dst, vlan)
        for vport, vlan in candidates
        if vport is not None
    ]
    return [key for key in keys if next_hop_row(ports, key, row.next_hop) == row]


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

# SPDX-License-Identifier: Apache-2.0
"""The action NORMAL: a learning switch (OVS xlate_normal).

Every vport is untagged towards the pipeline (the tag of a vport with a VLAN is taken off before and
put on after), so all vports are of one bridge, and a tag that is still there is that of a VLAN
inside it. Addresses are learned per such VLAN; 0 stands for no tag.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from p4ct.pipeline.fields import Field, field_set
from p4ct.pipeline.mac_table import MacTable
from p4ct.pipeline.ports import PortTable
from p4ct.pipeline.result import MacMove, Result

if TYPE_CHECKING:
    from p4ct.packet.parse import Packet

__all__ = ["LearningSwitch"]

_LOOKS_AT = int(field_set([Field.IN_PORT, Field.DL_SRC, Field.DL_DST, Field.VLAN_VID]))

# IEEE 802.1D: 01-80-C2-00-00-00 to -0F are never forwarded by a bridge.
_RESERVED = bytes.fromhex("0180c20000")
_ETH_VLAN = 0x8100


class LearningSwitch:
    """Learns sources and finds the outputs for destinations."""

    __slots__ = ("_others", "macs")

    def __init__(self, ports: PortTable, macs: MacTable) -> None:
        self.macs = macs
        self._others = {
            vport: [other for other in ports.by_id if other != vport] for vport in ports.by_id
        }

    def __contains__(self, vport: int) -> bool:
        """Is there a vport of this number?"""
        return vport in self._others

    def forward(self, pkt: Packet, in_port: int, now: float, learn: bool, result: Result) -> str:
        """Adds the outputs to the result, or returns the reason of a drop.

        Without `learn` the MAC table stays as it is and the answer is what it would have been.
        """
        result.looked_bits |= _LOOKS_AT
        source, destination = pkt.eth_src, pkt.eth_dst
        if destination.startswith(_RESERVED) and destination[5] < 16:
            return "NORMAL: reserved multicast address"
        if pkt.eth_type == _ETH_VLAN and pkt.vlan_id is None:
            return "NORMAL: truncated VLAN tag"
        vlan = pkt.vlan_id or 0
        if learn and not source[0] & 1:
            news, old = self.macs.learn(vlan, source, in_port, now)
            if news:
                result.learned.append(MacMove(vlan, source, old, in_port))
        if destination[0] & 1:
            result.flood = "multicast or broadcast destination"
        else:
            result.fdb_dependencies.add((vlan, destination))
            port = self.macs.lookup(vlan, destination, now)
            if not learn and source == destination:
                port = in_port
            if port == in_port:
                return "NORMAL: destination is behind the ingress vport"
            if port in self._others:
                result.outputs.append(port)
                return ""
            result.flood = "destination MAC not learned"
        others = self._others[in_port]
        result.outputs += others
        return "" if others else "NORMAL: no other port"

# SPDX-License-Identifier: Apache-2.0
"""Between vports and wire: tags and tunnels off on the way in, on again on the way out, and MTU.

The software counterpart of the eswitch's steps 1, 2 and 7: what a vport sends looks the same
whichever of the two sent it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from p4ct.eswitch.entries import PuntInfo
from p4ct.packet.build import pop_vlan, push_vlan
from p4ct.packet.fragment import cut
from p4ct.packet.parse import Packet, parse
from p4ct.packet.rewrite import set_tag
from p4ct.packet.too_big import fragments, ip_length, may_be_fragmented, too_big_answer
from p4ct.packet.vxlan import decapsulate, encapsulate
from p4ct.pipeline.ports import PRIORITY_TAG, PortTable, Vport
from p4ct.pipeline.result import Result

__all__ = ["Send", "Wire"]

_TAG = b"\x81\x00"

Send = Callable[[int, bytes], bool]
"""Sends a frame to a dataplane port; False if it could not be queued."""


def _has_priority_tag(frame: bytes) -> bool:
    return (
        frame[12:14] == _TAG
        and len(frame) >= 18
        and (frame[14] & 0x0F) << 8 | frame[15] == PRIORITY_TAG
    )


def _with_priority(pkt: Packet, priority: int) -> Packet:
    """The packet whose tag takes over priority and DEI (4 bits), if it has none of its own."""
    return pkt if pkt.vlan_pcp else set_tag(pkt, priority << 12 | (pkt.vlan_id or 0))


class Wire:
    """`router`: IP version -> address that answers packets longer than an MTU."""

    def __init__(self, ports: PortTable, send: Send, router: Mapping[int, bytes]) -> None:
        self.ports = ports
        self.send = send
        self.router = router
        self.sent = 0
        #: Packets dropped here by reason.
        self.drops: Counter[str] = Counter()
        #: Packets longer than the MTU of their output, by what became of them.
        self.too_big: Counter[str] = Counter()
        #: Packets that the eswitch sent up inside a tunnel that ends here.
        self.decapsulated = 0

    def receive(self, payload: bytes, info: PuntInfo) -> tuple[Vport, bytes, int] | None:
        """The vport of a packet-in, its untagged frame, and priority and DEI (4 bits) of its tag.

        None if no vport has it; that is counted.
        """
        frame = payload
        vport = self.ports.by_id.get(info.vport)
        if self.ports.tunnels and not info.tunnel_id:
            # The eswitch leaves a tunnel alone whose outer header has options, for one.
            inside = self._inside(payload, info.ingress_port)
            if inside is not None:
                vport, frame = inside
                self.decapsulated += 1
        if vport is None:
            self.drops["unknown vport"] += 1
            return None
        if vport.vlan is None and not _has_priority_tag(frame):
            return vport, frame, 0
        untagged = pop_vlan(frame)
        if vport.vlan is None and untagged[12:14] == _TAG:
            # Behind a tag that has only a priority nobody gets into a VLAN.
            self.drops["a second tag behind a priority tag"] += 1
            return None
        return vport, untagged, frame[14] >> 4

    def _inside(self, payload: bytes, port: int) -> tuple[Vport, bytes] | None:
        found = decapsulate(payload)
        if found is None:
            return None
        vlan = parse(found.frame).vlan_id
        vport = self.ports.on_wire(port, (found.dst, found.vni), vlan)
        return None if vport is None else (vport, found.frame)

    def deliver(self, result: Result, in_port: int, priority: int = 0) -> None:
        """Send what became of a packet that came in on vport `in_port` to its outputs.

        A packet that came in fragments leaves in fragments. A tag that it leaves with has the
        priority of the one that it came with, as in hardware: that of the vport, and one that flows
        have put on without a priority.
        """
        answered = False
        for number, packet in zip(result.outputs, result.packets, strict=True):
            vport = self.ports.by_id[number]
            pieces = [packet]
            if result.cuts is not None and not packet.frag:
                pieces = [parse(frame) for frame in cut(packet, result.cuts)]
            for piece in pieces:
                if priority and piece.vlan_id is not None and not result.tagged:
                    piece = _with_priority(piece, priority)
                if not vport.mtu or ip_length(piece) <= vport.mtu:
                    self._put(vport, piece.frame, priority)
                elif may_be_fragmented(piece):
                    self.too_big["fragmented"] += 1
                    for fragment in fragments(piece, vport.mtu):
                        self._put(vport, fragment, priority)
                else:
                    self.too_big["not sent"] += 1
                    # The sender knows the packet as it sent it, before any translation.
                    sent = piece if packet is result.pkt else result.pkt
                    answered = answered or self._answer(sent, in_port, vport.mtu)

    def _answer(self, pkt: Packet, in_port: int, mtu: int) -> bool:
        answer = too_big_answer(pkt, mtu, self.router.get(pkt.version))
        if answer is None:
            return False
        self.too_big["answered"] += 1
        self._put(self.ports.by_id[in_port], answer)
        return True

    def _put(self, vport: Vport, frame: bytes, priority: int = 0) -> None:
        wire = frame
        if vport.vlan is not None:
            wire = push_vlan(frame, vport.vlan, priority >> 1, bool(priority & 1))
        tunnel = self.ports.tunnels.get(vport.id)
        if tunnel is not None:
            wire = encapsulate(wire, tunnel)
        if self.send(vport.port, wire):
            self.sent += 1
        else:
            self.drops["packet-out queue full"] += 1

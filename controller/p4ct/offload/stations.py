# SPDX-License-Identifier: Apache-2.0
"""Where IP addresses were last seen: vport and MAC address, for questions about packets to come.

Forwarding does not depend on it.  It lets `p4ct explain` ask the pipeline about a tuple as the next
packet of it would.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from p4ct.packet.parse import Packet

__all__ = ["Station", "Stations"]


class Station(NamedTuple):
    """`mac`: 6 bytes; of the router, for an address behind one."""

    vport: int
    mac: bytes


class Stations:
    """The last source of each IP address, as many as `capacity`; the least recently seen goes."""

    def __init__(self, capacity: int = 4096) -> None:
        self.capacity = capacity
        self._seen: OrderedDict[bytes, Station] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def note(self, pkt: Packet, vport: int) -> None:
        """A packet that policy let through came from here."""
        address = pkt.src or pkt.arp_spa
        if not address or not any(address):
            return
        self._seen[address] = Station(vport, pkt.eth_src)
        self._seen.move_to_end(address)
        if len(self._seen) > self.capacity:
            self._seen.popitem(last=False)

    def find(self, address: bytes) -> Station | None:
        """Where this address (4 or 16 bytes) was last seen."""
        return self._seen.get(address)

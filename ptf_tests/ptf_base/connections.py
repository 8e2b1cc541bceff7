# SPDX-License-Identifier: Apache-2.0
"""A connection as the eswitch sees it: two entries, each for frames of one direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ptf_base import frames
from ptf_base.frames import Station
from ptf_base.p4info import Value
from ptf_base.traffic import EntryHit, Vport

ORIGINAL, REPLY = 0, 1


@dataclass(frozen=True)
class Side:
    """One direction: who sends to whom, the vport it comes in on, and its two row ids."""

    src: Station
    dst: Station
    vport: Vport
    l2_id: int
    next_hop: int
    path: int


@dataclass(frozen=True)
class Connection:
    """`sport` is the client's port, or the identifier of an echo; `sides` by direction."""

    proto: str
    family: int
    sport: int
    dport: int
    index: int
    generation: int
    sides: tuple[Side, Side]
    idle_timeout_ns: int = 0
    metadata: bytes = b""
    controller_metadata: int = 0
    check_window: int = 0

    @property
    def table(self) -> str:
        return f"ct_v{self.family}"

    def match(self, direction: int) -> dict[str, Value]:
        """The key of one direction's entry."""
        side = self.sides[direction]
        sport, dport = self.ports(direction)
        number, sport, dport = frames.key(
            self.proto, self.family, sport, dport, reply=direction == REPLY
        )
        return {
            "l2_id": side.l2_id,
            "src": side.src.ip(self.family),
            "dst": side.dst.ip(self.family),
            "proto": number,
            "sport": sport,
            "dport": dport,
        }

    def ports(self, direction: int) -> tuple[int, int]:
        """Source and destination port; an echo has the same identifier both ways."""
        if direction == ORIGINAL or self.proto == "icmp":
            return self.sport, self.dport
        return self.dport, self.sport

    def forward_params(self, direction: int) -> dict[str, Value]:
        side = self.sides[direction]
        return {
            **self.drain_params(direction),
            "path": side.path,
            "next_hop": side.next_hop,
            "check_window": self.check_window,
        }

    def drain_params(self, direction: int) -> dict[str, Value]:
        return {
            "conn_index": self.index,
            "generation": self.generation,
            "direction": direction,
        }

    def hit(self, direction: int, ct_hit: str = "FORWARD") -> EntryHit:
        """What a packet-in says that hit this direction's entry."""
        return EntryHit(ct_hit, direction, self.index, self.generation)

    def frame(self, direction: int = ORIGINAL, **changes: Any) -> bytes:
        """A frame of that direction; `changes` go to `frames.frame`."""
        side = self.sides[direction]
        sport, dport = self.ports(direction)
        arguments: dict[str, Any] = {
            "sport": sport,
            "dport": dport,
            "reply": direction == REPLY,
            "vlan": side.vport.vlan,
            **changes,
        }
        src, dst = arguments.pop("src", side.src), arguments.pop("dst", side.dst)
        return frames.frame(self.proto, self.family, src, dst, **arguments)

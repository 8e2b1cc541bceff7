# SPDX-License-Identifier: Apache-2.0
"""What the pipeline decided for one packet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from p4ct.pipeline.blockers import find_blockers
from p4ct.pipeline.fields import FieldSet
from p4ct.pipeline.flow import Flow

if TYPE_CHECKING:
    from p4ct.conntrack import Connection, CtResult
    from p4ct.packet.fragment import Cuts
    from p4ct.packet.parse import Packet
    from p4ct.pipeline.ports import PortTable

__all__ = ["CtVisit", "MacMove", "Result"]


class CtVisit:
    """One passage of the packet through conntrack."""

    __slots__ = (
        "changed",
        "committed",
        "connection",
        "label",
        "mark",
        "result",
        "translated",
        "zone",
    )

    def __init__(self, zone: int, result: CtResult) -> None:
        self.zone = zone
        self.result = result
        self.committed = False
        """A ct(commit) accepted this passage (with PeekConntrack: it would have)."""
        self.connection: Connection | None = result.connection
        """The connection, after the commit if there was one; None while it is not committed."""
        known = result.connection
        self.mark = 0 if known is None else known.mark
        self.label = 0 if known is None else known.label
        """As the packet sees them (with PeekConntrack: as it would)."""
        self.changed = False
        """exec() gave the connection another mark or label."""
        self.translated = False
        """nat() was carried out."""

    def __repr__(self) -> str:
        return f"CtVisit(zone={self.zone}, {self.result!r}, committed={self.committed})"


class MacMove(NamedTuple):
    """NORMAL learned that `mac` (6 bytes) is behind `new_port`; `old_port` None: it was unknown."""

    vlan: int
    mac: bytes
    old_port: int | None
    new_port: int


class Result:
    """The pipeline's answer for one packet."""

    __slots__ = (
        "_blockers",
        "_ports",
        "ct",
        "cuts",
        "drop_reason",
        "fdb_dependencies",
        "flood",
        "held",
        "learned",
        "looked_bits",
        "outputs",
        "packets",
        "path",
        "pkt",
        "tagged",
        "version",
    )

    def __init__(self, pkt: Packet, ports: PortTable, version: int) -> None:
        self.pkt = pkt
        """The packet; once ct() has put fragments together, the whole one."""
        self.tagged = pkt.vlan_id is not None
        """It came with a tag inside the vport's frame."""
        self.cuts: Cuts | None = None
        """How it was cut into fragments, if it was: it leaves as it came. What an output before
        ct() sends is the fragment itself."""
        self.held = False
        """A fragment that ct() keeps until its packet is whole: no output from there on."""
        self._ports = ports
        self.version = version
        """`Pipeline.version` when the packet was resolved."""
        self.outputs: list[int] = []
        """Vport ids in the order of the actions; a vport may occur twice, as in OVS."""
        self.packets: list[Packet] = []
        """What goes to each output: `pkt` itself, or what the actions made of it."""
        self.drop_reason = ""
        """Why there is no output; empty if there is one."""
        self.path: tuple[Flow, ...] = ()
        """The flows hit, in order; a flow may occur twice."""
        self.looked_bits = 0
        self.ct: list[CtVisit] = []
        """The passages through conntrack, in order; one per zone change."""
        self.flood = ""
        """Why NORMAL flooded the packet; empty if it did not."""
        self.fdb_dependencies: set[tuple[int, bytes]] = set()
        """(vlan, MAC) pairs that NORMAL looked up, found or not."""
        self.learned: list[MacMove] = []
        self._blockers: list[str] | None = None

    @property
    def verdict(self) -> Literal["forward", "drop", "hold"]:
        """`forward` if there is an output; `hold`: a fragment that waits for others."""
        if self.held:
            return "hold"
        return "forward" if self.outputs else "drop"

    @property
    def looked_at(self) -> FieldSet:
        """Every field that a lookup or an action consulted, whether it matched or not."""
        return FieldSet(self.looked_bits)

    @property
    def blockers(self) -> list[str]:
        """Why this result cannot become an eswitch entry, one sentence each; empty if it can.

        Found at the first access, because most packets are never asked.
        """
        if self._blockers is None:
            self._blockers = find_blockers(self, self._ports)
        return self._blockers

    def __repr__(self) -> str:
        what = self.outputs or self.drop_reason
        return f"Result({self.verdict}, {what!r})"

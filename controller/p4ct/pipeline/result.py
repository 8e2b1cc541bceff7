# SPDX-License-Identifier: Apache-2.0
"""What the pipeline decided for one packet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from p4ct.pipeline.fields import FieldSet
from p4ct.pipeline.flow import Flow

if TYPE_CHECKING:
    from p4ct.conntrack import Connection, CtResult

__all__ = ["CtVisit", "MacMove", "Result"]


class CtVisit:
    """One passage of the packet through conntrack."""

    __slots__ = ("committed", "connection", "result", "zone")

    def __init__(self, zone: int, result: CtResult) -> None:
        self.zone = zone
        self.result = result
        self.committed = False
        """A ct(commit) accepted this passage (with PeekConntrack: it would have)."""
        self.connection: Connection | None = result.connection
        """The connection, after the commit if there was one; None while it is not committed."""

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
        "blockers",
        "ct",
        "drop_reason",
        "fdb_dependencies",
        "learned",
        "looked_at",
        "outputs",
        "path",
        "verdict",
        "version",
    )

    def __init__(self, version: int) -> None:
        self.version = version
        """`Pipeline.version` when the packet was resolved."""
        self.outputs: list[int] = []
        """Vport ids in the order of the actions; a vport may occur twice, as in OVS."""
        self.verdict: Literal["forward", "drop"] = "drop"
        self.drop_reason = ""
        """Why there is no output; empty if there is one."""
        self.path: tuple[Flow, ...] = ()
        """The flows hit, in order; a flow may occur twice."""
        self.looked_at = FieldSet(0)
        """Every field that a lookup or an action consulted, whether it matched or not."""
        self.ct: list[CtVisit] = []
        self.blockers: list[str] = []
        """Why this result cannot become an eswitch entry; empty if it can."""
        self.fdb_dependencies: set[tuple[int, bytes]] = set()
        """(vlan, MAC) pairs that NORMAL looked up, found or not."""
        self.learned: list[MacMove] = []

    def __repr__(self) -> str:
        what = self.outputs if self.verdict == "forward" else self.drop_reason
        return f"Result({self.verdict}, {what!r}, blockers={self.blockers!r})"

# SPDX-License-Identifier: Apache-2.0
"""How the pipeline uses conntrack: for packets, or only to ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from p4ct.conntrack import Connection, CtResult
    from p4ct.conntrack.nat import NatRange
    from p4ct.packet.parse import Packet

__all__ = ["ConntrackAccess", "PeekConntrack", "Peekable"]


class ConntrackAccess(Protocol):
    """The part of `conntrack.Tracker` that `ct()` needs."""

    def track(self, pkt: Packet, zone: int, now: float) -> CtResult:
        """Passes one packet through the zone."""
        ...

    def commit(
        self,
        result: CtResult,
        pkt: Packet,
        now: float,
        *,
        nat: NatRange | None = None,
        force: bool = False,
        alg: str = "",
        timeout: str = "",
    ) -> Connection | None:
        """Stores a new connection; an existing one stays, unless `force` replaces it."""
        ...

    def set_mark(self, conn: Connection, mark: int, label: int, now: float) -> None:
        """Gives a connection another mark and label."""
        ...


class Peekable(Protocol):
    """The part of `conntrack.Tracker` that answers without changing anything."""

    def peek(self, pkt: Packet, zone: int, now: float) -> CtResult:
        """What `track` would answer."""
        ...

    def preview(
        self,
        result: CtResult,
        pkt: Packet,
        now: float,
        *,
        nat: NatRange | None = None,
        force: bool = False,
    ) -> Connection | None:
        """What `commit` would do to `result`; the connection if it exists already."""
        ...


class PeekConntrack:
    """A view of a tracker that answers as it would for a packet and changes nothing.

    With it, `Pipeline.process` changes nothing either: no counters, no MAC learning, no commits.
    It serves `explain` and re-checks of established connections.
    """

    __slots__ = ("_tracker",)

    def __init__(self, tracker: Peekable) -> None:
        self._tracker = tracker

    def track(self, pkt: Packet, zone: int, now: float) -> CtResult:
        """`Tracker.peek`."""
        return self._tracker.peek(pkt, zone, now)

    def commit(
        self,
        result: CtResult,
        pkt: Packet,
        now: float,
        *,
        nat: NatRange | None = None,
        force: bool = False,
        alg: str = "",
        timeout: str = "",
    ) -> Connection | None:
        """`Tracker.preview`: the connection if there is one already; a new one is not stored."""
        return self._tracker.preview(result, pkt, now, nat=nat, force=force)

    def set_mark(self, conn: Connection, mark: int, label: int, now: float) -> None:
        """Nothing: who asks changes nothing."""

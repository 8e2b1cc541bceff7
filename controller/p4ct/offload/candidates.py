# SPDX-License-Identifier: Apache-2.0
"""Connections that are not offloaded: what is known of each, and what it still needs.

A candidate has one half for each direction, decided from a real packet; it is complete when both
are there, agree, and hold under the policy of now.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from p4ct.conntrack import Connection
from p4ct.offload import reasons
from p4ct.offload.decide import eligible, half_of, marks_of, own_direction
from p4ct.offload.options import OffloadOptions
from p4ct.offload.pending import PendingQueue
from p4ct.offload.record import Half
from p4ct.offload.tally import Tally
from p4ct.packet.parse import Packet
from p4ct.pipeline.execute import Pipeline
from p4ct.pipeline.result import Result

__all__ = ["Candidate", "Candidates"]

RETRY_PERIOD = 1.0
"""Seconds after which a refused connection is tried again (Linux's flowtable: about as often)."""


@dataclass(slots=True)
class Candidate:
    """What is known of a connection that is not offloaded: one half for each direction."""

    connection: Connection
    halves: list[Half | None] = field(default_factory=lambda: [None, None])


class Candidates:
    """All candidates, by their connection; `pending` are those that wait for a free record."""

    def __init__(self, pipeline: Pipeline, options: OffloadOptions) -> None:
        self._pipeline = pipeline
        self._options = options
        self.tally = Tally()
        self.pending: PendingQueue[Candidate] = PendingQueue()
        self._known: dict[int, Candidate] = {}
        #: Connection id -> when the switch may be asked again after it refused the entries.
        self.refused_until: dict[int, float] = {}

    def consider(
        self,
        pkt: Packet,
        in_vport: int,
        result: Result,
        connections: list[Connection],
        now: float,
    ) -> Candidate | str | None:
        """Learn from a packet of these connections, the members of one record to be.

        The answer is their candidate, or why its packets cannot become entries; None: nothing new.
        """
        if not self._options.enabled:
            return reasons.DISABLED
        if now < self.refused_until.get(connections[0].id, 0.0):
            return None  # the reason stays what the switch said
        helper = next((c.helper for c in connections if c.helper), "")
        if helper:
            return f"{reasons.HELPER}: {helper}"
        half = half_of(pkt, in_vport, result, self._pipeline.ports)
        primary = min(connections, key=lambda c: c.id)
        if isinstance(half, str):
            self.forget(primary)
            return half
        candidate = self._known.get(primary.id)
        if candidate is None:
            candidate = self._known[primary.id] = Candidate(primary)
        if half is not None:
            candidate.halves[own_direction(half, primary)] = half
        return candidate

    def complete(
        self, candidate: Candidate, connections: Iterable[Connection]
    ) -> tuple[Half, Half] | str:
        """Both halves if nothing is missing; otherwise what is."""
        for connection in connections:
            if why := eligible(connection, self._options.mode):
                return why
        original, reply = candidate.halves
        if original is None or reply is None:
            return reasons.ONE_DIRECTION
        if {c.id for c, _ in original.visits} != {c.id for c, _ in reply.visits}:
            return reasons.DIRECTIONS_DIFFER
        version = self._pipeline.version
        if min(original.policy_version, reply.policy_version) != version:
            stale = 0 if original.policy_version != version else 1
            candidate.halves[stale] = None
            return reasons.ONE_DIRECTION
        if stale := [h for h in (original, reply) if h.marks != marks_of(h.visits)]:
            for half in stale:
                candidate.halves[candidate.halves.index(half)] = None
            return reasons.ONE_DIRECTION
        return original, reply

    def refused(self, connection: Connection, now: float) -> None:
        """The switch did not take its entries: do not ask again with every packet."""
        if connection.alive:  # nobody would take the note of a dead one away
            self.refused_until[connection.id] = now + RETRY_PERIOD

    def forget(self, connection: Connection) -> None:
        """Drop what was noted of its packets; it waits for nothing."""
        self._known.pop(connection.id, None)
        self.pending.discard(connection.id)

    def gone(self, connection: Connection) -> None:
        """The connection has ended."""
        self.forget(connection)
        self.tally.gone(connection)
        self.refused_until.pop(connection.id, None)

    def clear(self) -> None:
        """Policy has changed: everything was decided by another one."""
        self._known.clear()
        while (candidate := self.pending.pop()) is not None:
            self.tally.explain((candidate.connection,), reasons.POLICY_CHANGED)

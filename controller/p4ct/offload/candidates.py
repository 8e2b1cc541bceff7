# SPDX-License-Identifier: Apache-2.0
"""Connections that are not offloaded: what is known of each, and what it still needs.

A candidate has one half for each direction, decided from a real packet (in mode assume-established
one of them may be assumed); it is complete when both are there, agree, and hold under the policy of
now and with the stations where they are now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from p4ct.conntrack import Connection, Tracker
from p4ct.offload import reasons
from p4ct.offload.assume import Seen, is_current, note, one_way, other_direction
from p4ct.offload.decide import Mode, eligible, half_of, is_assumed, own_direction
from p4ct.offload.options import OffloadOptions
from p4ct.offload.pending import PendingQueue
from p4ct.offload.record import Half
from p4ct.offload.tally import Tally
from p4ct.packet.parse import Packet
from p4ct.pipeline.execute import Pipeline
from p4ct.pipeline.result import Result

__all__ = ["Candidate", "Candidates", "Stale"]

RETRY_PERIOD = 1.0
"""Seconds after which a refused connection is tried again (Linux's flowtable: about as often)."""


@dataclass(slots=True)
class Candidate:
    """What is known of a connection that is not offloaded: one half for each direction."""

    connection: Connection
    halves: list[Half | None] = field(default_factory=lambda: [None, None])
    #: How packets of each direction came in, whatever they were (a SYN too).
    seen: list[Seen | None] = field(default_factory=lambda: [None, None])
    #: Both halves, as long as nobody answers.
    unanswered: tuple[Half, Half] | None = None
    #: What the other direction would do is not certain before it is seen: why; or empty.
    left_open: str = ""


class Candidates:
    """All candidates, by their connection; `pending` are those that wait for a free record."""

    def __init__(self, pipeline: Pipeline, tracker: Tracker, options: OffloadOptions) -> None:
        self._pipeline = pipeline
        self._tracker = tracker
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
        if self._options.mode is Mode.ASSUME:
            note(candidate.seen, pkt, in_vport, result, primary)
            candidate.unanswered = None
            if half is not None:
                self._assume(candidate, pkt, half, now)
            else:
                pair = one_way(pkt, in_vport, result, self._pipeline, self._tracker, now)
                if isinstance(pair, str):
                    return f"{reasons.NOT_ESTABLISHED}: {pair}"
                candidate.unanswered = pair
        return candidate

    def _assume(self, candidate: Candidate, pkt: Packet, half: Half, now: float) -> None:
        """Decide the direction that no real packet has decided yet, from a synthesised one."""
        other = 1 - own_direction(half, candidate.connection)
        seen, known = candidate.seen[other], candidate.halves[other]
        if seen is None or (known is not None and is_current(known, self._pipeline, now)):
            return
        assumed = other_direction(
            pkt, seen, candidate.connection, self._pipeline, self._tracker, now
        )
        candidate.left_open = assumed if isinstance(assumed, str) else ""
        candidate.halves[other] = None if isinstance(assumed, str) else assumed

    def complete(
        self, candidate: Candidate, connections: Iterable[Connection], now: float
    ) -> tuple[Half, Half] | str:
        """Both halves if nothing is missing; otherwise what is."""
        if candidate.unanswered is not None:
            return candidate.unanswered
        for connection in connections:
            if why := eligible(connection, self._options.mode):
                return why
            if self._options.window_check and is_assumed(connection):
                return reasons.NOT_ESTABLISHED  # its windows are not known before
        original, reply = candidate.halves
        if original is None or reply is None:
            why = candidate.left_open
            return f"{reasons.ONE_DIRECTION}: {why}" if why else reasons.ONE_DIRECTION
        if {c.id for c, _ in original.visits} != {c.id for c, _ in reply.visits}:
            return reasons.DIRECTIONS_DIFFER
        stale = [i for i in (0, 1) if not is_current((original, reply)[i], self._pipeline, now)]
        if stale:
            for direction in stale:  # its next packet decides it again
                candidate.halves[direction] = None
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

    def begin_anew(self) -> Stale:
        """Policy has changed: everything was decided by another one."""
        stale = Stale(self._known, self.pending, self.tally, lambda key: key in self.pending)
        self._known, self.pending = {}, PendingQueue()
        return stale


class Stale:
    """Candidates of a former policy, to be forgotten a portion at a time."""

    def __init__(
        self,
        known: dict[int, Candidate],
        pending: PendingQueue[Candidate],
        tally: Tally,
        waits: Callable[[int], bool],
    ) -> None:
        self._known = known
        self._pending = pending
        self._tally = tally
        #: Does this connection wait for a record again, by the policy of now?
        self._waits = waits

    def __bool__(self) -> bool:
        return bool(self._known or self._pending)

    def drop(self, number: int) -> None:
        """Forget so many."""
        for _ in range(number):
            if self._known:
                self._known.popitem()
            elif (candidate := self._pending.pop()) is not None:
                connection = candidate.connection
                if self._waits(connection.id) or not connection.alive:
                    continue
                if connection.offload_reason.startswith(reasons.FULL):
                    self._tally.explain((connection,), reasons.POLICY_CHANGED)
            else:
                return

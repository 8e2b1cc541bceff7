# SPDX-License-Identifier: Apache-2.0
"""The offload manager: decides which connections become entries, and when the entries go.

It is pure: it never waits and has no clock.  What is to be written to the eswitch collects in
queues; `rounds.run_round` carries it out against an `EswitchPort`, and `wake` tells the owner that
there is something to do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from p4ct.conntrack import Connection, CtState, Direction, Tracker
from p4ct.eswitch.entries import CtKey, FlowKey, PuntInfo
from p4ct.eswitch.enums import CtHit
from p4ct.offload import reasons, windows
from p4ct.offload.assume import confirm, needs_counters, unproven
from p4ct.offload.candidates import Candidate, Candidates
from p4ct.offload.decide import Mode, is_assumed, is_half_closed, is_proven, must_leave
from p4ct.offload.idle_timeout import idle_timeout
from p4ct.offload.options import OffloadOptions
from p4ct.offload.pending import PendingQueue
from p4ct.offload.policy_check import PolicyCheck
from p4ct.offload.record import Half, Member, Record, RecordState
from p4ct.offload.record_table import RecordTable
from p4ct.offload.stateless import StatelessFlows
from p4ct.packet.parse import Packet
from p4ct.pipeline.execute import Pipeline
from p4ct.pipeline.result import Result

__all__ = ["OffloadManager", "OffloadOptions"]

#: +rel alone is an ICMP error; a connection that a helper expected is +new or +est besides.
_ABOUT = CtState.REL | CtState.NEW | CtState.EST


class OffloadManager(RecordTable):
    """All records of one eswitch. Connections must not belong to two managers."""

    def __init__(
        self,
        pipeline: Pipeline,
        tracker: Tracker,
        options: OffloadOptions,
        *,
        path_size: int = 65536,
    ) -> None:
        self.pipeline = pipeline
        self.tracker = tracker
        flows = options.flow_capacity if options.stateless else 0
        self.stateless = StatelessFlows(pipeline, flows, options.flow_timeout, self._wake)
        self.candidates = Candidates(pipeline, tracker, options)
        super().__init__(options, self.candidates.tally, path_size)
        self.policy = PolicyCheck(pipeline, tracker, options)
        #: What the last packet has begun and should wait for, if it is the answer to a SYN.
        self.begun: Record | None = None

        # Work for the next round.
        self.to_install: deque[Record] = deque()
        self.to_remove: deque[Record] = deque()
        self.to_retime: deque[Record] = deque()
        self._ended: list[Record] = []
        #: Manager and switch agree, or nothing is known of the switch yet. False while they are
        #: reconciled: nothing is begun then.
        self.settled = True
        #: Steps that the last reconciliation has taken, or the one under way so far.
        self.reconcile_steps = 0
        #: `on_gone` of records that were given up because the switch was lost.
        self.waiting: list[Callable[[], None]] = []

        self.wake: Callable[[], None] = lambda: None
        #: EswitchPort.merge_windows.
        self.merge_windows: windows.Merge = lambda _index, _pair: False
        #: Called with ("offload" | "onload" | "offload_failed", record, detail).
        self.on_event: Callable[[str, Record, str], None] = _ignore

    # -- packets ---------------------------------------------------------------------------

    def punted(self, info: PuntInfo) -> Record | None:
        """Before a punt is resolved: learn the windows that it brings; the watched record."""
        record = None if info.ct_hit == CtHit.MISS else self.records.get(info.conn_index)
        if record and not (record.checks_window and record.generation == info.generation):
            record = None
        # A packet on another MAC pair or with IP options hits no entry, and brings no window.
        self.tracker.windows_current = record is not None
        if record is not None:
            windows.learn(record, info.window)
        return record

    def ask_counters(self, info: PuntInfo, pkt: Packet) -> Record | None:
        """A record that has to be gone before this packet can be judged (`needs_counters`)."""
        record = None if info.ct_hit == CtHit.MISS else self.records.get(info.conn_index)
        if record is None or not needs_counters(record, info, pkt):
            return None
        self.remove(record, reasons.ASK_COUNTERS)
        return record

    def window_lags(self, record: Record, info: PuntInfo) -> None:
        """Software accepts what the eswitch found beyond its registers: it raises them.

        They have missed packets that were under way at the install, or a FIN
        (docs/decisions/0012-window-registers.md).
        """
        if not record.checks_window or record.state in (RecordState.LEAVING, RecordState.GONE):
            return
        if not windows.catch_up(record, info.window, self.merge_windows):
            windows.forget(record)
            self._retime(record)

    def packet(self, pkt: Packet, in_vport: int, result: Result, now: float) -> list[Record]:
        """Account for one packet that software has just resolved.

        The answer lists the records that must be gone before the packet's outputs are sent: its
        FIN, RST or SYN ended them, or it changed a mark, and what follows has to come up.
        """
        self.begun = None
        for move in result.learned:
            if move.old_port is not None:
                self.mac_moved(move.vlan, move.mac)
        if not result.ct and self.options.enabled and self.settled:
            self.stateless.consider(pkt, in_vport, result, now)
        connections = [v.connection for v in result.ct if v.connection is not None]
        changed = [v.connection for v in result.ct if v.connection is not None and v.changed]
        if any(v.result.state & _ABOUT == CtState.REL for v in result.ct):
            connections = []  # an ICMP error about a connection is none of its packets
        # A SYN that reopened, seen by conntrack just now; what ended before may be gone already.
        ending = [r for r in self.take_ended() if r.state is not RecordState.GONE]
        ending += [r for r in self.records_of(changed) if r.state is RecordState.LEAVING]
        at_once = bool(ending)
        for connection in connections:
            record = self.of_connection.get(connection.id)
            if record is None:
                continue
            if record.one_way and connection.seen_reply:
                # What follows the answer is +est: nothing may pass by what was decided before.
                self.remove(record, reasons.ANSWERED)
                at_once = True
            elif record.unproven and not unproven(record):
                self._proven(record)
            if must_leave(connection) and not (record.unproven and is_assumed(connection)):
                self.remove(record, f"TCP {connection.state_name}")
            elif is_half_closed(connection):
                self._shorten(record, connection, now)
            if record.state is RecordState.LEAVING and record not in ending:
                ending.append(record)
        if not connections:
            return ending
        known = self.of_connection.get(connections[0].id)
        if known is None:
            self._consider(pkt, in_vport, result, connections, now)
        elif known.state is not RecordState.LEAVING and result.outputs:
            # What policy drops says nothing about where the connection's stations are.
            self._watch(known, pkt, in_vport, result)
        elif known.one_way:
            # It has been answered: the first half of what comes next.
            self.candidates.consider(pkt, in_vport, result, connections, now)
        # Only what changes the state of a connection waits; stragglers of a draining one go on.
        return ending if at_once or any(must_leave(c) for c in connections) else []

    def take_ended(self) -> list[Record]:
        """Records whose connections conntrack has dropped since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def _watch(self, record: Record, pkt: Packet, in_vport: int, result: Result) -> None:
        """A packet of an offloaded connection came up: does its entry still fit?"""
        visit = next((v for v in result.ct if v.connection is not None), None)
        if visit is None or visit.connection is None:
            return
        for member in record.members:
            if member.connection is visit.connection:
                half = record.halves[member.direction(visit.result.direction)]
                if half.l2 != (in_vport, pkt.eth_src, pkt.eth_dst):
                    self.remove(record, "seen on a new pair of MAC addresses or a new port")
                return

    def _consider(
        self,
        pkt: Packet,
        in_vport: int,
        result: Result,
        connections: list[Connection],
        now: float,
    ) -> None:
        candidate = self.candidates.consider(pkt, in_vport, result, connections, now)
        if isinstance(candidate, Candidate):
            self._advance(candidate, connections, now)
        elif candidate is not None:
            self.tally.explain(connections, candidate)

    def _advance(self, candidate: Candidate, connections: list[Connection], now: float) -> None:
        """Install the candidate if nothing is missing; otherwise note what is."""
        if any(c.id in self.of_connection for c in connections):
            # Another zone's part of this path has entries, or they are being removed: a connection
            # is never in two records, or the end of one would make us forget the other.
            others = (c for c in connections if c.id not in self.of_connection)
            self.tally.explain(others, reasons.SHARED)
            return
        halves = self.candidates.complete(candidate, connections, now)
        if isinstance(halves, str):
            self.tally.explain(connections, halves)
            return
        if not self.settled:
            self.tally.explain(connections, reasons.UNSETTLED)
            return
        if not all(c.alive for c, _ in halves[0].visits):
            self.forget(candidate.connection)
            return
        proven = all(is_proven(c) for c in connections)
        if not proven and not self.unproven.room(self.pool, len(self.to_install)):
            self.tally.explain(connections, reasons.UNPROVEN_FULL)
            return
        taken = self.pool.take()
        if taken is None:
            if candidate.connection.id not in self.pending:
                self._make_room()
            self.pending.add(candidate.connection.id, candidate.connection.zone, candidate)
            full = f"{reasons.FULL} ({self.pool.used} of {self.pool.capacity} records)"
            self.tally.explain(connections, full)
            return
        record = self._start(candidate, taken, halves)
        if not proven:
            self.unproven.add(record)
            record.one_way = candidate.unanswered is not None
            self.begun = None if record.one_way else record

    def _make_room(self) -> None:
        """An established connection waits: the newest record that stands for less gives way."""
        record = self.unproven.newest()
        if record is not None:
            self.remove(record, reasons.GAVE_WAY)

    def _proven(self, record: Record) -> None:
        """All its connections are known to be established."""
        self.unproven.discard(record)
        if record.state is not RecordState.LEAVING:
            record.timeout = idle_timeout(record.members, self.options, self.tracker)
            self._retime(record)

    def _start(
        self, candidate: Candidate, taken: tuple[int, int], halves: tuple[Half, Half]
    ) -> Record:
        members = tuple(Member(c, d == Direction.REPLY) for c, d in halves[0].visits)
        timeout = idle_timeout(members, self.options, self.tracker)
        record = Record(*taken, halves, members, timeout)
        self.forget(candidate.connection)
        self.enter(record)
        self.to_install.append(record)
        self.tally.explain((m.connection for m in members), reasons.INSTALLING)
        self.wake()
        return record

    def _shorten(self, record: Record, connection: Connection, now: float) -> None:
        """The first FIN: the entries stay, for as long as conntrack allows a half-close."""
        if record.state is RecordState.LEAVING or connection.timeout >= record.timeout:
            return
        record.timeout = connection.timeout
        record.used(now)  # it counts from the FIN
        self._retime(record)

    def _retime(self, record: Record) -> None:
        """Write the entries once more: their timeout, or what they check, has changed."""
        if not record.retime:
            record.retime = True
            self.to_retime.append(record)
            self.wake()

    # -- removal ---------------------------------------------------------------------------

    def remove(self, record: Record, cause: str) -> None:
        """Begin to remove a record: its entries are drained, read and deleted."""
        if record.state in (RecordState.LEAVING, RecordState.GONE):
            return
        record.cause = cause
        # A record in a write that is in flight is removed when the write has been answered.
        if record.state is not RecordState.INSTALLING:
            self.to_remove.append(record)
        self.tally.change(record, RecordState.LEAVING)
        self.unproven.discard(record)
        self.wake()

    def connection_gone(self, connection: Connection, cause: str = "connection ended") -> None:
        """Conntrack has dropped a connection: nothing of it stays in the switch."""
        self.candidates.gone(connection)
        record = self.of_connection.get(connection.id)
        if record is not None:
            self.remove(record, cause)
            self._ended.append(record)

    def mark_changed(self, connection: Connection) -> None:
        """Flows may look at mark and label: what was decided by the old ones is decided again."""
        self.forget(connection)
        record = self.of_connection.get(connection.id)
        if record is not None:
            self.remove(record, reasons.MARK_CHANGED)

    def mac_moved(self, vlan: int, mac: bytes) -> None:
        """NORMAL learned that a station is behind another port: decide again what led to it."""
        for record in self.stations.of((vlan, mac)):
            self.remove(record, reasons.MAC_MOVED)
        self.stateless.mac_moved(vlan, mac, reasons.MAC_MOVED)

    def idle(self, key: CtKey | FlowKey, now: float) -> None:
        """The target reports that an entry was not hit for its timeout."""
        if isinstance(key, FlowKey):
            self.stateless.idle(key, reasons.IDLE)
        elif key in self.by_key:
            self.idle_reports[key] = now
            self.wake()

    # -- called by the rounds --------------------------------------------------------------

    def refused(self, record: Record, now: float) -> None:
        """The switch did not take the entries: do not ask again with every packet."""
        for member in record.members:
            self.candidates.refused(member.connection, now)

    def credit(
        self, record: Record, cells: tuple[tuple[int, int], tuple[int, int]], now: float
    ) -> None:
        """Account a reading of a record's two cells, (packets, bytes) each."""
        packets, octets = self.forwarded
        gains = record.credit(cells, now)
        if self.options.mode is Mode.ASSUME:
            confirm(record, gains, self.tracker, now)
            if record.unproven and not unproven(record):
                self._proven(record)
        for half, gain in zip(record.halves, gains, strict=True):
            packets, octets = packets + gain[0], octets + gain[1]
            if gain[0]:
                # NORMAL does not see these packets, but the station that sends them is alive.
                for vlan in {0, *(vlan for vlan, _ in half.fdb)}:
                    self.pipeline.macs.refresh(vlan, half.l2.eth_src, half.l2.vport, now)
                for member in record.members:
                    connection = member.connection
                    connection.expires = max(connection.expires, now + connection.timeout)
        self.forwarded = (packets, octets)
        if record.one_way and not self._knows_stations(record, now):
            # Nobody behind there has spoken for so long that NORMAL floods again.
            self.remove(record, reasons.MAC_MOVED)

    def _knows_stations(self, record: Record, now: float) -> bool:
        found = (self.pipeline.macs.lookup(*to, now) for half in record.halves for to in half.fdb)
        return all(port is not None for port in found)

    def refill(self, now: float) -> None:
        """A record became free: the next pending connection takes its place."""
        while self.pool.used < self.pool.capacity:
            candidate = self.pending.pop()
            if candidate is None:
                return
            half = candidate.halves[0] or candidate.halves[1]
            assert half is not None
            self._advance(candidate, [c for c, _ in half.visits], now)

    # -- questions -------------------------------------------------------------------------

    @property
    def pending(self) -> PendingQueue[Candidate]:
        """Candidates that wait for a free record."""
        return self.candidates.pending

    def forget(self, connection: Connection) -> None:
        """Drop what was noted about a connection that is not offloaded."""
        self.candidates.forget(connection)

    def _wake(self) -> None:
        self.wake()

    @property
    def has_work(self) -> bool:
        return bool(
            self.to_install
            or self.to_remove
            or self.to_retime
            or self.idle_reports
            or self.stateless.has_work
        )


def _ignore(what: str, record: Record, detail: str) -> None:
    """For an owner that does not want events."""

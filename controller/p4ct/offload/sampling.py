# SPDX-License-Identifier: Apache-2.0
"""Ageing without the target's help: cells are read in turn, and what did not move is idle.

A record has its turn every period, always in the same step: the one of its index.  So a step reads
1/2^k of the indices that there are at most, whatever comes and goes, and nobody keeps an order.

When the last packet came is known only as "between these two readings".  The later one counts, so
that no record goes before its timeout.  One whose timeout ends before its next turn is read once
more right then, so its end is noticed within a period (until the reading that found the last
packet) and a step (from the end of the timeout until somebody looks).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from p4ct.eswitch.entries import EswitchPort
from p4ct.offload import reasons
from p4ct.offload.ageing import Sampling
from p4ct.offload.manager import OffloadManager
from p4ct.offload.record import Record, RecordState

__all__ = ["BATCH", "Sampler"]

BATCH = 250
"""Records of one read at most: what else is to be written or read has its turn between two."""


class Sampler:
    """Looks at the records of one manager. Like it, it never waits and has no clock.

    The owner calls `step` every `sampling.interval` seconds, and `look` with each batch.
    """

    def __init__(self, manager: OffloadManager, sampling: Sampling) -> None:
        self.sampling = sampling
        #: Records read so far; and seconds after the end of its timeout until the latest one was
        #: found idle, counted from the earliest moment that its last packet can have come.
        self.looks = 0
        self.latest = 0.0
        self._manager = manager
        self._slot = 0
        #: (end of the timeout, index) of records for which that is before their next turn.  Only a
        #: hint: the index may have another record by then, or the record another end.
        self._ending: list[tuple[float, int]] = []

    def step(self, clock: Callable[[], float]) -> Iterator[list[Record]]:
        """What is to be read now, in batches; each is chosen when it is asked for."""
        self._slot = (self._slot + 1) % self.sampling.slots
        for records in (self._turn(), self._ended(clock)):
            while batch := list(islice(records, BATCH)):
                yield batch

    def _turn(self) -> Iterator[Record]:
        manager = self._manager
        for index in range(self._slot, manager.pool.capacity, self.sampling.slots):
            record = manager.records.get(index)
            if record is not None and record.state is RecordState.ACTIVE:
                yield record

    def _ended(self, clock: Callable[[], float]) -> Iterator[Record]:
        ending = self._ending
        while ending and ending[0][0] <= clock():
            record = self._manager.records.get(heapq.heappop(ending)[1])
            if (
                record is not None
                and record.state is RecordState.ACTIVE
                and record.last_seen + record.timeout <= clock()
            ):
                yield record

    async def look(
        self, port: EswitchPort, clock: Callable[[], float], records: Iterable[Record]
    ) -> None:
        """Read the cells of these records; those that are idle begin to leave.

        Nothing else may read or write entries meanwhile. Raises EswitchError; then the records
        are looked at in their next turn.
        """
        # One that began to leave since it was chosen has its own, final reading.
        active = [record for record in records if record.state is RecordState.ACTIVE]
        if not active:
            return
        began = clock()
        cells = await port.read_connection_counters([record.index for record in active])
        now = clock()
        for record in active:
            if record.state is not RecordState.ACTIVE:
                continue
            self.looks += 1
            self._manager.credit(record, cells[record.index], now)
            end = record.last_seen + record.timeout
            if end <= began:
                self.latest = max(self.latest, now - record.seen_after - record.timeout)
                self._manager.remove(record, reasons.IDLE)
            elif end < now + self.sampling.period and self._has_its_turn(record):
                heapq.heappush(self._ending, (end, record.index))

    def _has_its_turn(self, record: Record) -> bool:
        # Not after a look out of turn: it would come again and again where timeouts are short.
        return record.index % self.sampling.slots == self._slot

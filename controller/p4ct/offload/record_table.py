# SPDX-License-Identifier: Apache-2.0
"""All records of one eswitch: what they are found by, what they share, and what became of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from p4ct.conntrack import Connection
from p4ct.eswitch.entries import CtKey
from p4ct.offload.ageing import Ageing
from p4ct.offload.allocate import IndexPool, SharedRows
from p4ct.offload.assume import Unproven
from p4ct.offload.dependents import Dependents
from p4ct.offload.next_hops import NextHopKey
from p4ct.offload.options import OffloadOptions
from p4ct.offload.paths import Paths
from p4ct.offload.record import L2Key, Record, RecordState
from p4ct.offload.tally import Tally

__all__ = ["RecordTable"]


class RecordTable:
    """The part of the offload manager that decides nothing."""

    def __init__(self, options: OffloadOptions, tally: Tally, path_size: int) -> None:
        self.options = options
        self.tally = tally
        self.pool = IndexPool(options.capacity)
        self.l2_rows: SharedRows[L2Key] = SharedRows()
        self.next_hops: SharedRows[NextHopKey] = SharedRows()
        self.paths = Paths(path_size)
        self.by_key: dict[CtKey, Record] = {}
        self.records: dict[int, Record] = {}
        self.of_connection: dict[int, Record] = {}
        self.stations: Dependents[Record] = Dependents()
        self.unproven = Unproven(options.batch)
        #: By index: records of entries that were found, and are not decided yet or may not stay.
        self.claimed: dict[int, Record] = {}
        #: Entries that the target reports idle, and when.
        self.idle_reports: dict[CtKey, float] = {}

        self.installed_total = 0
        #: (packets, bytes) that entries have forwarded, as far as read.
        self.forwarded = (0, 0)
        self.removed: Counter[str] = Counter()
        #: Records that never forwarded: refused, or taken back before the switch had answered.
        self.withdrawn: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.drift: Counter[str] = Counter()

    def enter(self, record: Record) -> None:
        """A record is begun; the caller has taken its index."""
        self.records[record.index] = record
        record.reports_idle = self.options.ageing is not Ageing.SAMPLING
        for member in record.members:
            self.of_connection[member.connection.id] = record
        for half in record.halves:
            self.stations.add(record, half.fdb)

    def adopt(self, record: Record) -> None:
        """Take over a record whose entries were found in the switch."""
        assert record.keys is not None
        self.enter(record)
        for key in record.keys:
            self.by_key[key] = record
        for direction in (0, 1):
            self.tally.found(record, direction, True)
        self.tally.activate(record)

    def leave(self, record: Record) -> None:
        """Forget a record that is gone from the switch; the caller counts it in `removed`."""
        self.tally.leave(record)
        self.unproven.discard(record)
        del self.records[record.index]
        for member in record.members:
            if self.of_connection.get(member.connection.id) is record:
                del self.of_connection[member.connection.id]
        for half in record.halves:
            self.stations.discard(record, half.fdb)
        for key in record.keys or ():
            if self.by_key.get(key) is record:
                del self.by_key[key]
                self.idle_reports.pop(key, None)

    def credit_paths(self, cells: Mapping[int, tuple[int, int]]) -> None:
        """Account a reading of path cells; what stateless flows forward is counted nowhere else."""
        packets, octets = self.paths.credit(cells)
        self.forwarded = (self.forwarded[0] + packets, self.forwarded[1] + octets)

    def records_of(self, connections: Iterable[Connection]) -> list[Record]:
        """The records that stand for any of these connections."""
        found = {id(r): r for c in connections if (r := self.of_connection.get(c.id)) is not None}
        return list(found.values())

    def leaving(self) -> list[Record]:
        """Records whose entries are on their way out."""
        return [r for r in self.records.values() if r.state is RecordState.LEAVING]

    def active(self) -> Iterator[Record]:
        """Records whose entries forward."""
        return (r for r in self.records.values() if r.state is RecordState.ACTIVE)

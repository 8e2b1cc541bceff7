# SPDX-License-Identifier: Apache-2.0
"""How many records forward, and how many connections do not, by reason.

It is counted as it changes, so that nobody has to walk all connections or records to know.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

from p4ct.conntrack import Connection
from p4ct.offload.record import Record, RecordState

__all__ = ["Tally", "in_short"]

_ZONE = re.compile(r" (?:in|of) zone [0-9]+")


@lru_cache(4096)
def in_short(reason: str) -> str:
    """The fixed part of a reason, of which there are few: no details, numbers or names."""
    return _ZONE.sub("", reason.partition(":")[0].partition(" (")[0])


class Tally:
    """`by_reason`: living connections that have a reason, by its fixed part; `active_records`:
    records whose entries forward; `entries`: what is in the switch of all records.
    """

    def __init__(self) -> None:
        self.active_records = 0
        self.entries = 0
        self.by_reason: Counter[str] = Counter()

    def found(self, record: Record, direction: int, there: bool) -> None:
        """Note whether an entry is in the switch."""
        self.entries += there - record.installed[direction]
        record.installed[direction] = there

    def activate(self, record: Record) -> None:
        """Both entries forward from now on."""
        self.change(record, RecordState.ACTIVE)
        self.explain((member.connection for member in record.members), "")

    def leave(self, record: Record) -> None:
        """Neither entry is in the switch any more, or nobody knows."""
        self.change(record, RecordState.GONE)
        self.entries -= sum(record.installed)

    def change(self, record: Record, state: RecordState) -> None:
        """Give a record another state."""
        self.active_records += (state is RecordState.ACTIVE) - (record.state is RecordState.ACTIVE)
        record.state = state

    def explain(self, connections: Iterable[Connection], why: str) -> None:
        """Give connections their reason; empty: they are offloaded."""
        for connection in connections:
            if connection.offload_reason == why:
                continue
            if connection.alive:
                self._uncount(connection)
                if why:
                    self.by_reason[in_short(why)] += 1
            connection.offload_reason = why

    def gone(self, connection: Connection) -> None:
        """A connection has died, just now; its last reason stays with whoever still holds it."""
        self._uncount(connection)

    def _uncount(self, connection: Connection) -> None:
        if connection.offload_reason:
            reason = in_short(connection.offload_reason)
            self.by_reason[reason] -= 1
            if not self.by_reason[reason]:
                del self.by_reason[reason]

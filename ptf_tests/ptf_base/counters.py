# SPDX-License-Identifier: Apache-2.0
"""Counter and meter verbs: what has been counted since a moment, exact to the byte."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4

from ptf_base.entities import Match, counter_entry, params_of, table_entry
from ptf_base.p4info import P4Names
from ptf_base.switch import Switch

if TYPE_CHECKING:
    from ptf_base.connections import Connection


class Count(NamedTuple):
    """Packets and frame bytes."""

    packets: int = 0
    bytes: int = 0

    @classmethod
    def of(cls, *frames: bytes) -> Count:
        return cls(len(frames), sum(map(len, frames)))


class Watch:
    """A counter since the moment that it is watched."""

    def __init__(self, what: str, read: Callable[[], Count]) -> None:
        self._what = what
        self._read = read
        self._start = read()
        self.noticed: Callable[[], None] | None = None
        """Called when something has been counted."""

    def count(self) -> Count:
        now = self._read()
        if self.noticed is not None and now.packets != self._start.packets:
            self.noticed()
        return Count(now.packets - self._start.packets, now.bytes - self._start.bytes)

    def expect(self, *frames: bytes) -> None:
        """Exactly these frames have been counted."""
        expected, got = Count.of(*frames), self.count()
        if got != expected:
            raise AssertionError(
                f"{self._what}: expected {expected.packets} packets, {expected.bytes} bytes; "
                f"counted {got.packets} packets, {got.bytes} bytes"
            )


class CounterVerbs:
    """Needs `switch`."""

    switch: Switch

    def watch(self, counter: str, index: int | str) -> Watch:
        """A cell of an indirect counter; the index may be a punt or drop reason's name."""
        names, ledger = self.switch.wire.names, self.switch.ledger
        member = index
        if isinstance(index, str):
            index = names.enum_value(ENUM_OF_COUNTER[counter], index)
        entity = counter_entry(names, counter, index)
        watch = Watch(f"{counter}[{index}]", lambda: self._read_cell(entity))
        if counter == "drop_counter":
            watch.noticed = lambda: ledger.dropped(str(member))
        return watch

    def watch_connection(self, connection: Connection) -> tuple[Watch, Watch]:
        """The two cells of a connection: original and reply."""
        index = 2 * connection.index
        return self.watch("ct_counter", index), self.watch("ct_counter", index + 1)

    def watch_entry(self, table: str, match: Match, priority: int) -> Watch:
        """The direct counter of one entry."""
        entity = table_entry(self.switch.wire.names, table, match, priority=priority)
        entity.table_entry.counter_data.SetInParent()
        return Watch(f"counter of {table} {dict(match)}", lambda: self._read_direct(entity))

    def watch_trap(self, reason: str, class_: str) -> Watch:
        """The direct counter of the const trap entry with that reason and policer class."""
        names = self.switch.wire.names

        def read() -> Count:
            wanted = {"reason": reason, "class_": class_}
            found = [e for e in self.read_traps() if params_of(names, e.action.action) == wanted]
            if len(found) != 1:
                raise AssertionError(f"{len(found)} trap entries with {wanted}")
            return Count(found[0].counter_data.packet_count, found[0].counter_data.byte_count)

        return Watch(f"counter of trap {reason} {class_}", read)

    def read_traps(self) -> list[p4.TableEntry]:
        """The const entries of the trap, with their counters."""
        entity = table_entry(self.switch.wire.names, "trap", {})
        entity.table_entry.counter_data.SetInParent()
        return [e.table_entry for e in self.switch.wire.read(entity)]

    def _read_cell(self, entity: p4.Entity) -> Count:
        (read,) = self.switch.wire.read(entity)
        return Count(read.counter_entry.data.packet_count, read.counter_entry.data.byte_count)

    def _read_direct(self, entity: p4.Entity) -> Count:
        (read,) = self.switch.wire.read(entity)
        data = read.table_entry.counter_data
        return Count(data.packet_count, data.byte_count)


ENUM_OF_COUNTER = {"punt_counter": "PuntReason", "drop_counter": "DropReason"}


def meter_index(names: P4Names, vport: int, class_: str) -> int:
    """The cell of the punt policer for a vport and class; vport 0 serves all unknown ones."""
    half, place = divmod(names.enum_value("PuntClass", class_), 4)
    return 4096 * half + 4 * vport + place

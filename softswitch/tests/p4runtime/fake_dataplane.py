# SPDX-License-Identifier: Apache-2.0
"""A data plane of dictionaries: a test double for the server's logic only."""

from __future__ import annotations

import dataclasses
import queue
from collections.abc import Iterator, Sequence

from softswitch.api import DefaultAction, Digest, Entry, Key, MeterConfig
from softswitch.errors import EntryExists, EntryNotFound, PortError, TableFull

from .program import FakeProgram


class FakeDataplane:
    """Implements the part of `DataplaneApi` that the server calls."""

    def __init__(self) -> None:
        self.program: FakeProgram | None = None
        self.loads = 0
        self.cpu_port: int | None = 510
        self.packet_outs: queue.Queue[bytes] = queue.Queue()
        self.packet_ins: queue.Queue[list[bytes]] = queue.Queue()
        self.idle: queue.Queue[list[tuple[str, Entry]]] = queue.Queue()
        self.digests: queue.Queue[list[Digest]] = queue.Queue()

    def bulk_plan(self, tables: object) -> None:
        """Every update goes the long way, whose checks these tests are about."""

    def load(self, program: FakeProgram) -> None:
        self.program = program
        self.loads += 1
        self.tables: dict[str, dict[tuple[Key, int], Entry]] = {
            name: {(e.key, e.priority): e for e in table.const_entries}
            for name, table in program.tables.items()
        }
        self.defaults = {name: table.default_action for name, table in program.tables.items()}
        self.counters = {
            name: [(0, 0)] * counter.size for name, counter in program.counters.items()
        }
        self.meters: dict[tuple[object, ...], MeterConfig] = {}
        self.registers = {name: [0] * reg.size for name, reg in program.registers.items()}

    def insert(self, table: str, entry: Entry) -> None:
        rows = self.tables[table]
        if (entry.key, entry.priority) in rows:
            raise EntryExists(f"table {table!r} has this entry already")
        if len(rows) >= self.program.tables[table].max_size:
            raise TableFull(f"table {table!r} is full")
        rows[entry.key, entry.priority] = entry

    def modify(self, table: str, entry: Entry) -> None:
        old = self._find(table, entry.key, entry.priority)
        self.tables[table][entry.key, entry.priority] = dataclasses.replace(
            entry, packets=old.packets, bytes=old.bytes
        )

    def delete(self, table: str, key: Key, priority: int = 0) -> None:
        self._find(table, key, priority)
        del self.tables[table][key, priority]

    def get(self, table: str, key: Key, priority: int = 0) -> Entry | None:
        return self.tables[table].get((key, priority))

    def entries(self, table: str) -> Iterator[Entry]:
        yield from list(self.tables[table].values())

    def _find(self, table: str, key: Key, priority: int) -> Entry:
        entry = self.tables[table].get((key, priority))
        if entry is None:
            raise EntryNotFound(f"table {table!r} has no such entry")
        return entry

    def set_default(self, table: str, action: str | None, params: Sequence[int] = ()) -> None:
        self.defaults[table] = (
            self.program.tables[table].default_action
            if action is None
            else DefaultAction(action, tuple(params))
        )

    def get_default(self, table: str) -> DefaultAction | None:
        return self.defaults[table]

    def counter_read(self, name: str, index: int) -> tuple[int, int]:
        return self.counters[name][index]

    def counter_read_all(self, name: str) -> list[tuple[int, int]]:
        return list(self.counters[name])

    def counter_write(self, name: str, index: int, packets: int, bytes: int) -> None:
        self.counters[name][index] = (packets, bytes)

    def direct_counter_write(
        self, table: str, key: Key, priority: int, packets: int, bytes: int
    ) -> None:
        entry = self._find(table, key, priority)
        self.tables[table][key, priority] = dataclasses.replace(entry, packets=packets, bytes=bytes)

    def meter_set(self, name: str, index: int, config: MeterConfig | None) -> None:
        self._set_meter((name, index), config)

    def meter_get(self, name: str, index: int) -> MeterConfig | None:
        return self.meters.get((name, index))

    def direct_meter_set(
        self, table: str, key: Key, priority: int, config: MeterConfig | None
    ) -> None:
        self._find(table, key, priority)
        self._set_meter((table, key, priority), config)

    def direct_meter_get(self, table: str, key: Key, priority: int) -> MeterConfig | None:
        return self.meters.get((table, key, priority))

    def _set_meter(self, cell: tuple[object, ...], config: MeterConfig | None) -> None:
        self.meters.pop(cell, None)
        if config is not None:
            self.meters[cell] = config

    def register_read(self, name: str, index: int) -> int:
        return self.registers[name][index]

    def register_write(self, name: str, index: int, value: int) -> None:
        self.registers[name][index] = value

    def packet_out(self, frame: bytes) -> None:
        if self.cpu_port is None:
            raise PortError("there is no CPU port; start with --cpu-port")
        self.packet_outs.put(frame)

    def wait_packet_ins(self, timeout_s: float) -> list[bytes]:
        return _take(self.packet_ins, timeout_s)

    def wait_idle(self, timeout_s: float) -> list[tuple[str, Entry]]:
        return _take(self.idle, timeout_s)

    def wait_digests(self, timeout_s: float) -> list[Digest]:
        return _take(self.digests, timeout_s)

    def stop(self) -> None:
        self.packet_ins.put([])
        self.idle.put([])
        self.digests.put([])


def _take(source: queue.Queue[list], timeout_s: float) -> list:
    try:
        return source.get(timeout=timeout_s)
    except queue.Empty:
        return []

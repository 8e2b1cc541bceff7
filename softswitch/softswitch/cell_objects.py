# SPDX-License-Identifier: Apache-2.0
"""Counters, meters and registers of the loaded program, by name."""

from __future__ import annotations

from typing import Any

from softswitch import native
from softswitch.api import Key, MeterConfig
from softswitch.errors import BadEntry, UnknownObject
from softswitch.objects_base import U64, Loaded, LoadedObjects


class CellObjects(LoadedObjects):
    """Arrays of the program, and the direct cells of its tables."""

    # Counters

    def _counter(self, name: str) -> tuple[Loaded, int, int]:
        loaded = self._now()
        for counter in loaded.program.ir.counters:
            if counter.name == name and counter.table is None:
                return loaded, counter.index, counter.size
        raise UnknownObject(f"there is no indirect counter {name!r}")

    def counter_read(self, name: str, index: int) -> tuple[int, int]:
        return self._counter_cells(name, index, 1)[0]

    def counter_read_all(self, name: str) -> list[tuple[int, int]]:
        return self._counter_cells(name, 0, self._counter(name)[2])

    def _counter_cells(self, name: str, first: int, n: int) -> list[tuple[int, int]]:
        loaded, number, size = self._counter(name)
        if not 0 <= first <= size - n:
            raise UnknownObject(f"counter {name}: index {first} is not below {size}")
        cells = native.words([0] * (2 * n))
        rc = self._lib.ss_counter_read(self._handle, loaded.generation, number, first, n, cells)
        self._check(rc, f"counter {name}")
        values = list(cells)
        return list(zip(values[: 2 * n : 2], values[1 : 2 * n : 2], strict=True))

    def counter_write(self, name: str, index: int, packets: int, bytes: int) -> None:
        loaded, number, size = self._counter(name)
        if not 0 <= index < size:
            raise UnknownObject(f"counter {name}: index {index} is not below {size}")
        rc = self._lib.ss_counter_write(
            self._handle, loaded.generation, number, index, packets & U64, bytes & U64
        )
        self._check(rc, f"counter {name}")

    def direct_counter_write(
        self, table: str, key: Key, priority: int, packets: int, bytes: int
    ) -> None:
        loaded, codec = self._table(table)
        if not codec.info.with_counters:
            raise UnknownObject(f"table {table} has no direct counter")
        words = native.words(codec.encode_key(key))
        rc = self._lib.ss_direct_counter_write(
            self._handle,
            loaded.generation,
            codec.table.index,
            words,
            priority,
            packets & U64,
            bytes & U64,
        )
        self._check(rc, f"table {table}")

    # Meters

    def _meter(self, name: str, index: int) -> tuple[Loaded, int]:
        loaded = self._now()
        for meter in loaded.program.ir.meters:
            if meter.name == name and meter.table is None:
                if not 0 <= index < meter.size:
                    raise UnknownObject(f"meter {name}: index {index} is not below {meter.size}")
                return loaded, meter.index
        raise UnknownObject(f"there is no indirect meter {name!r}")

    def meter_set(self, name: str, index: int, config: MeterConfig | None) -> None:
        loaded, number = self._meter(name, index)
        words = native.words(_meter_words(config))
        rc = self._lib.ss_meter_access(self._handle, loaded.generation, number, index, words, 1)
        self._check(rc, f"meter {name}")

    def meter_get(self, name: str, index: int) -> MeterConfig | None:
        loaded, number = self._meter(name, index)
        words = native.words([0] * 5)
        rc = self._lib.ss_meter_access(self._handle, loaded.generation, number, index, words, 0)
        self._check(rc, f"meter {name}")
        return _meter_config(list(words))

    def direct_meter_set(
        self, table: str, key: Key, priority: int, config: MeterConfig | None
    ) -> None:
        self._direct_meter(table, key, priority, native.words(_meter_words(config)), 1)

    def direct_meter_get(self, table: str, key: Key, priority: int) -> MeterConfig | None:
        words = native.words([0] * 5)
        self._direct_meter(table, key, priority, words, 0)
        return _meter_config(list(words))

    def _direct_meter(self, table: str, key: Key, priority: int, words: Any, write: int) -> None:
        loaded, codec = self._table(table)
        if codec.info.direct_meter is None:
            raise UnknownObject(f"table {table} has no direct meter")
        encoded = native.words(codec.encode_key(key))
        rc = self._lib.ss_direct_meter(
            self._handle, loaded.generation, codec.table.index, encoded, priority, words, write
        )
        self._check(rc, f"table {table}")

    # Registers

    def register_read(self, name: str, index: int) -> int:
        words = native.words([0, 0])
        self._register(name, index, words, 0)
        return words[0] | words[1] << 64

    def register_read_all(self, name: str) -> list[int]:
        sizes = {r.name: r.size for r in self._now().program.ir.registers}
        if name not in sizes:
            raise UnknownObject(f"there is no register {name!r}")
        return [self.register_read(name, i) for i in range(sizes[name])]

    def register_write(self, name: str, index: int, value: int) -> None:
        self._register(name, index, native.words([value & U64, value >> 64 & U64]), 1, value)

    def _register(self, name: str, index: int, words: Any, write: int, value: int = 0) -> None:
        loaded = self._now()
        found = [r for r in loaded.program.ir.registers if r.name == name]
        if not found or not 0 <= index < found[0].size:
            raise UnknownObject(f"there is no register {name!r} with index {index}")
        if not 0 <= value < 1 << found[0].width:
            raise BadEntry(f"register {name}: the value does not fit {found[0].width} bits")
        number = found[0].index
        rc = self._lib.ss_register_access(
            self._handle, loaded.generation, number, index, words, write
        )
        self._check(rc, f"register {name}")


def _meter_words(config: MeterConfig | None) -> list[int]:
    if config is None:
        return [0] * 5
    values = [config.cir, config.cburst, config.pir, config.pburst]
    if not all(0 <= v <= 2**63 - 1 for v in values):
        raise BadEntry("meter: rates and bursts are numbers from 0 to 2^63 - 1")
    return [1, *values]


def _meter_config(words: list[int]) -> MeterConfig | None:
    return MeterConfig(*words[1:5]) if words[0] else None

# SPDX-License-Identifier: Apache-2.0
"""Tables, counters, meters and registers of the loaded program, by name."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from softswitch import native
from softswitch.api import DefaultAction, Entry, Key, MeterConfig
from softswitch.entry_codec import EntryCodec
from softswitch.errors import (
    BadEntry,
    ConstObject,
    DataplaneError,
    EntryExists,
    EntryNotFound,
    NoProgram,
    OutOfMemory,
    TableFull,
    UnknownObject,
)
from softswitch.program import Program

CHUNK_BYTES = 1 << 18
CHUNK_SLOTS = 2048
MAX_BUFFER = 1 << 26
MAX_REPLICAS = 65536
U64 = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Loaded:
    """Names of the program that runs, and the generation that the runtime knows it by."""

    program: Program
    generation: int
    tables: dict[str, EntryCodec]


class Objects:
    """The part of the data plane that needs a program."""

    def __init__(self, lib: Any, handle: int) -> None:
        self._lib = lib
        self._handle: int | None = handle
        self._loaded: Loaded | None = None

    @property
    def _program(self) -> Program | None:
        return None if self._loaded is None else self._loaded.program

    def prepare(self, program: Program, generation: int) -> Loaded:
        """Fills the tables of a program that does not run yet: const entries and defaults."""
        tables = {
            t.name: EntryCodec(program.ir, t, program.tables[t.name]) for t in program.ir.tables
        }
        loaded = Loaded(program, generation, tables)
        for codec in tables.values():
            if codec.info.default_action is not None:
                self._write_default(loaded, codec, codec.info.default_action)
            for entry in codec.info.const_entries:
                self._write(self._lib.ss_insert, loaded, codec, entry)
        return loaded

    def activate(self, program: Program, loaded: Loaded) -> None:
        self._loaded = loaded

    def _now(self) -> Loaded:
        if self._loaded is None:
            raise NoProgram("no program has been loaded")
        return self._loaded

    def _table(self, name: str) -> tuple[Loaded, EntryCodec]:
        loaded = self._now()
        if name not in loaded.tables:
            raise UnknownObject(f"there is no table {name!r}")
        return loaded, loaded.tables[name]

    def _writable(self, name: str) -> tuple[Loaded, EntryCodec]:
        loaded, codec = self._table(name)
        if codec.info.is_const_table:
            raise ConstObject(f"table {name}: its entries are const")
        return loaded, codec

    # Entries

    def insert(self, table: str, entry: Entry) -> None:
        self._write(self._lib.ss_insert, *self._writable(table), entry)

    def modify(self, table: str, entry: Entry) -> None:
        self._write(self._lib.ss_modify, *self._writable(table), entry)

    def _write(self, call: Any, loaded: Loaded, codec: EntryCodec, entry: Entry) -> None:
        name = codec.info.name
        key = native.words(codec.encode_key(entry.key))
        codec.check_priority(entry.priority)
        action, data = codec.encode_action(entry.action, entry.params)
        if entry.idle_timeout_ns and not codec.info.support_timeout:
            raise BadEntry(f"table {name}: it does not support idle timeouts")
        if not 0 <= entry.idle_timeout_ns < 2**63 or not 0 <= entry.controller_metadata <= U64:
            raise BadEntry(f"table {name}: idle timeout or controller metadata out of range")
        words = native.words(data)
        request = native.EntryIn(
            key=ctypes.addressof(key),
            data=ctypes.addressof(words),
            metadata=entry.metadata,
            timeout_ns=entry.idle_timeout_ns,
            controller_metadata=entry.controller_metadata,
            metadata_len=len(entry.metadata),
            action=action,
            priority=entry.priority,
            rank=codec.rank(entry.key, entry.priority),
            is_const=int(entry.is_const),
        )
        rc = call(self._handle, loaded.generation, codec.table.index, ctypes.byref(request))
        self._check(rc, f"table {name}")

    def delete(self, table: str, key: Key, priority: int = 0) -> None:
        loaded, codec = self._writable(table)
        words = native.words(codec.encode_key(key))
        codec.check_priority(priority)
        rc = self._lib.ss_delete(
            self._handle, loaded.generation, codec.table.index, words, priority
        )
        self._check(rc, f"table {table}")

    def get(self, table: str, key: Key, priority: int = 0) -> Entry | None:
        loaded, codec = self._table(table)
        words = native.words(codec.encode_key(key))
        codec.check_priority(priority)
        size = 4096
        while True:
            buffer = ctypes.create_string_buffer(size)
            n = self._lib.ss_read_entry(
                self._handle, loaded.generation, codec.table.index, words, priority, buffer, size
            )
            if n == native.E_NOT_FOUND:
                return None
            if n != native.E_MEMORY or size >= MAX_BUFFER:
                break
            size *= 16
        self._check(n, f"table {table}")
        return codec.decode(memoryview(buffer).cast("B")[:n])[0]

    def entries(self, table: str) -> Iterator[Entry]:
        loaded, codec = self._table(table)
        return self._iterate(loaded, codec, 0)

    def _iterate(self, loaded: Loaded, codec: EntryCodec, idle_at: int) -> Iterator[Entry]:
        cursor = ctypes.c_uint32(0)
        buffer = ctypes.create_string_buffer(CHUNK_BYTES)
        while codec.table.keys and cursor.value != native.NONE:
            before = cursor.value
            n = self._lib.ss_read_entries(
                self._handle,
                loaded.generation,
                codec.table.index,
                ctypes.byref(cursor),
                CHUNK_SLOTS,
                idle_at,
                buffer,
                len(buffer),
            )
            self._check(n, f"table {codec.info.name}")
            if n == 0 and cursor.value == before:
                buffer = ctypes.create_string_buffer(2 * len(buffer))
            yield from codec.decode(memoryview(buffer).cast("B")[:n])

    def entry_count(self, table: str) -> int:
        loaded, codec = self._table(table)
        n = self._lib.ss_entry_count(self._handle, loaded.generation, codec.table.index)
        self._check(n, f"table {table}")
        return int(n)

    def idle_entries(self, now_ns: int | None = None) -> list[tuple[str, Entry]]:
        """Entries that are idle at this time (None: now) and due for a notification."""
        loaded = self._loaded
        if loaded is None:
            return []
        now = self._lib.ss_clock(self._handle) if now_ns is None else now_ns
        found: list[tuple[str, Entry]] = []
        for name, codec in loaded.tables.items():
            if codec.info.support_timeout:
                try:
                    found += [(name, entry) for entry in self._iterate(loaded, codec, now)]
                except NoProgram:  # replaced meanwhile, and its entries with it
                    return []
        return found

    # Defaults

    def set_default(self, table: str, action: str | None, params: Sequence[int] = ()) -> None:
        loaded, codec = self._table(table)
        if codec.info.const_default_action:
            raise ConstObject(f"table {table}: its default action is const")
        default = codec.info.default_action
        if action is not None:
            default = DefaultAction(action, tuple(params))
        self._write_default(loaded, codec, default)

    def _write_default(
        self, loaded: Loaded, codec: EntryCodec, default: DefaultAction | None
    ) -> None:
        action, data = native.NONE, [0] * codec.data_words
        if default is not None:
            action, data = codec.encode_action(default.action, default.params)
        words = native.words(data)
        rc = self._lib.ss_default_set(
            self._handle, loaded.generation, codec.table.index, action, words
        )
        self._check(rc, f"table {codec.info.name}")

    def get_default(self, table: str) -> DefaultAction | None:
        loaded, codec = self._table(table)
        action, words = ctypes.c_uint32(), native.words([0] * codec.data_words)
        rc = self._lib.ss_default_get(
            self._handle, loaded.generation, codec.table.index, ctypes.byref(action), words
        )
        self._check(rc, f"table {table}")
        if action.value == native.NONE:
            return None
        name, params = codec.decode_action(action.value, list(words))
        return DefaultAction(name, params, codec.info.const_default_action)

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

    # Replication

    def replicas_set(
        self, kind: int, number: int, replicas: Sequence[tuple[int, int]] | None, truncate: int
    ) -> None:
        loaded = self._now()
        what = f"{'clone session' if kind else 'multicast group'} {number}"
        pairs = list(replicas or ())
        if len(pairs) > MAX_REPLICAS or number < 0 or not 0 <= truncate < 2**32:
            raise BadEntry(f"{what}: out of range")
        flat = (ctypes.c_uint32 * max(2 * len(pairs), 1))(
            *(v & 0xFFFFFFFF for p in pairs for v in p)
        )
        n = native.NONE if replicas is None else len(pairs)
        rc = self._lib.ss_replicas_set(
            self._handle, loaded.generation, kind, number, flat, n, truncate
        )
        self._check(rc, what)

    @staticmethod
    def _check(rc: int, what: str) -> None:
        """Raises what an error of the runtime means."""
        if rc >= 0:
            return
        known: dict[int, type[DataplaneError]] = {
            native.E_FULL: TableFull,
            native.E_EXISTS: EntryExists,
            native.E_NOT_FOUND: EntryNotFound,
            native.E_MEMORY: OutOfMemory,
            native.E_STALE: NoProgram,
            native.E_INDEX: UnknownObject,
        }
        texts: dict[int, str] = {
            native.E_FULL: "it is full: it holds as many entries as the program declares",
            native.E_EXISTS: "there is already an entry with this key and priority",
            native.E_NOT_FOUND: "there is no entry with this key and priority",
            native.E_MEMORY: "no memory",
            native.E_STALE: "the program was replaced meanwhile",
            native.E_INDEX: "the index is out of range",
        }
        raise known.get(rc, DataplaneError)(f"{what}: {texts.get(rc, f'error {rc}')}")


def _meter_words(config: MeterConfig | None) -> list[int]:
    if config is None:
        return [0] * 5
    values = [config.cir, config.cburst, config.pir, config.pburst]
    if not all(0 <= v <= 2**63 - 1 for v in values):
        raise BadEntry("meter: rates and bursts are numbers from 0 to 2^63 - 1")
    return [1, *values]


def _meter_config(words: list[int]) -> MeterConfig | None:
    return MeterConfig(*words[1:5]) if words[0] else None

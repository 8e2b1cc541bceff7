# SPDX-License-Identifier: Apache-2.0
"""Tables of the loaded program, by name: entries, defaults, idle timeouts; and replication."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from typing import Any

from softswitch import native, wire_plan
from softswitch.api import DefaultAction, Entry, Key
from softswitch.cell_objects import CellObjects
from softswitch.entry_codec import EntryCodec
from softswitch.errors import (
    BadEntry,
    ConstObject,
    NoProgram,
)
from softswitch.objects_base import U64, Loaded
from softswitch.profile_objects import ProfileObjects
from softswitch.profile_state import ProfileState
from softswitch.program import Program
from softswitch.wire_plan import WireTable

CHUNK_BYTES = 1 << 18
CHUNK_SLOTS = 2048
MAX_BUFFER = 1 << 26
MAX_REPLICAS = 65536


class Objects(CellObjects, ProfileObjects):
    """The part of the data plane that needs a program."""

    def prepare(self, program: Program, generation: int) -> Loaded:
        """Fills the tables of a program that does not run yet: const entries and defaults."""
        states = [ProfileState(program.profiles[p.name], p.index) for p in program.ir.profiles]
        tables = {
            t.name: EntryCodec(
                program.ir,
                t,
                program.tables[t.name],
                None if t.profile is None else states[t.profile],
            )
            for t in program.ir.tables
        }
        profiles = {state.info.name: state for state in states}
        loaded = Loaded(program, generation, tables, profiles)
        for codec in tables.values():
            if codec.info.default_action is not None:
                self._write_default(loaded, codec, codec.info.default_action)
            for entry in codec.info.const_entries:
                self._write(self._lib.ss_insert, loaded, codec, entry)
        return loaded

    def activate(self, program: Program, loaded: Loaded) -> None:
        self._loaded = loaded

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
        state = codec.profile
        if not codec.table.keys:
            raise BadEntry(f"table {codec.info.name} has no key, so it has no entries")
        if state is None:
            if (entry.member, entry.group, entry.one_shot) != (None, None, None):
                raise BadEntry(f"table {codec.info.name}: it has no action profile")
            action, data = codec.encode_action(entry.action, entry.params)
            self._put(call, loaded, codec, entry, action, data)
            return
        with state.lock:
            old = self._reference(loaded, codec, entry.key, entry.priority)
            ref = self._take(loaded, state, entry)
            try:
                self._put(call, loaded, codec, entry, 0, [ref])
            except BaseException:
                self._release(loaded, state, ref)
                raise
            if old is not None:
                self._release(loaded, state, old)

    def _put(
        self,
        call: Any,
        loaded: Loaded,
        codec: EntryCodec,
        entry: Entry,
        action: int,
        data: list[int],
    ) -> None:
        name = codec.info.name
        key = native.words(codec.encode_key(entry.key))
        codec.check_priority(entry.priority)
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

    def bulk_plan(self, tables: Sequence[WireTable]) -> object | None:
        loaded = self._now()
        return wire_plan.build(loaded.program.ir, loaded.generation, tables)

    def bulk_write(self, plan: object, request: bytes, at: int, skip: bool) -> tuple[int, int]:
        assert isinstance(plan, wire_plan.Plan)
        cursor = ctypes.c_uint64(at)
        done = self._lib.ss_write_wire(
            self._handle, ctypes.byref(plan), request, len(request), ctypes.byref(cursor), int(skip)
        )
        return done, cursor.value

    def delete(self, table: str, key: Key, priority: int = 0) -> None:
        loaded, codec = self._writable(table)
        words = native.words(codec.encode_key(key))
        codec.check_priority(priority)
        with codec.lock:
            ref = self._reference(loaded, codec, key, priority)
            rc = self._lib.ss_delete(
                self._handle, loaded.generation, codec.table.index, words, priority
            )
            self._check(rc, f"table {table}")
            if codec.profile is not None and ref is not None:
                self._release(loaded, codec.profile, ref)

    def get(self, table: str, key: Key, priority: int = 0) -> Entry | None:
        loaded, codec = self._table(table)
        with codec.lock:
            record = self._record(loaded, codec, key, priority)
            return None if record is None else codec.decode(record)[0]

    def _reference(self, loaded: Loaded, codec: EntryCodec, key: Key, priority: int) -> int | None:
        """What an entry of an indirect table refers to now; None: there is no such entry."""
        if codec.profile is None:
            return None
        record = self._record(loaded, codec, key, priority)
        return None if record is None else codec.reference(record)

    def _record(
        self, loaded: Loaded, codec: EntryCodec, key: Key, priority: int
    ) -> memoryview | None:
        """One entry as the runtime hands it out."""
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
        self._check(n, f"table {codec.info.name}")
        return memoryview(buffer).cast("B")[:n]

    def entries(self, table: str) -> Iterator[Entry]:
        loaded, codec = self._table(table)
        return self._iterate(loaded, codec, 0)

    def _iterate(self, loaded: Loaded, codec: EntryCodec, idle_at: int) -> Iterator[Entry]:
        cursor = ctypes.c_uint32(0)
        buffer = ctypes.create_string_buffer(CHUNK_BYTES)
        while codec.table.keys and cursor.value != native.NONE:
            before = cursor.value
            with codec.lock:
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
                found = codec.decode(memoryview(buffer).cast("B")[:n])
            if n == 0 and cursor.value == before:
                buffer = ctypes.create_string_buffer(2 * len(buffer))
            yield from found

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
        if codec.profile is not None:
            raise BadEntry(f"table {table}: a table with an action profile has no default to set")
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

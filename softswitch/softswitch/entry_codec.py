# SPDX-License-Identifier: Apache-2.0
"""Entries to and from the words of the C runtime, with all checks that a table asks for."""

from __future__ import annotations

import struct
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from softswitch.api import Entry, Key, TableInfo
from softswitch.bmv2 import ir
from softswitch.codegen import keys
from softswitch.codegen.control import decode_params, encode_params, table_words
from softswitch.errors import BadEntry
from softswitch.native import ENTRY_OUT
from softswitch.profile_state import HeldMember, ProfileState

WORD = 2**64 - 1


def split(value: int, n: int) -> list[int]:
    """An integer as n words of 64 bits, least significant first."""
    return [value >> (64 * i) & WORD for i in range(n)]


def join(words: Sequence[int]) -> int:
    return sum(word << (64 * i) for i, word in enumerate(words))


class EntryCodec:
    """Knows one table. `table.index` is the number that the runtime knows it by."""

    def __init__(
        self,
        program: ir.Program,
        table: ir.Table,
        info: TableInfo,
        profile: ProfileState | None = None,
    ) -> None:
        self.profile = profile
        self._program = program
        self.table = table
        self.info = info
        self._widths = tuple(k.width for k in table.keys)
        self._key_words = keys.key_words(table)
        self._copies = {"exact": 1, "lpm": 2, "ternary": 2, "range": 3}[table.match]
        self.data_words = table_words(program, table)
        self._actions = {program.actions[a].name: program.actions[a] for a in table.actions}

    @property
    def lock(self) -> AbstractContextManager[object]:
        """Hold it while reading entries: what they refer to must not change before it is named."""
        return nullcontext() if self.profile is None else self.profile.lock

    def reference(self, record: memoryview) -> int:
        """The data word of one entry of an indirect table."""
        at = struct.calcsize(ENTRY_OUT) + 8 * self._key_words * self._copies
        return int.from_bytes(record[at : at + 8], sys.byteorder)

    def encode_key(self, key: Key) -> list[int]:
        """Value, mask and upper bounds as the table needs them. BadEntry if they do not fit."""
        table = self.table
        if not table.keys:
            raise BadEntry(f"table {table.name} has no key, so it has no entries")
        if len(key) != len(table.keys):
            raise BadEntry(f"table {table.name}: {len(table.keys)} key fields, not {len(key)}")
        values: list[int] = []
        masks: list[int] = []
        uppers: list[int] = []
        for field, (value, mask) in zip(table.keys, key, strict=True):
            self._check_field(field, value, mask)
            is_range = field.kind == "range"
            values.append(value & field.mask)
            masks.append(0 if is_range else mask & field.mask)
            uppers.append(mask if is_range else 0)
        out: list[int] = []
        for part in (values, masks, uppers)[: self._copies]:
            out += split(keys.pack(tuple(part), self._widths), self._key_words)
        return out

    def _check_field(self, field: ir.TableKey, value: int, mask: int) -> None:
        full = (1 << field.width) - 1
        where = f"table {self.table.name}, key {field.name}"
        if not 0 <= value <= full or not 0 <= mask <= full:
            raise BadEntry(f"{where}: the value does not fit {field.width} bits")
        if field.kind == "range":
            if value > mask:
                raise BadEntry(f"{where}: the range is empty")
            return
        if field.kind == "exact" and mask != full:
            raise BadEntry(f"{where}: an exact match takes the whole field")
        if value & ~mask:
            raise BadEntry(f"{where}: the value has bits outside its mask")
        if field.kind == "lpm" and (full ^ mask) & ((full ^ mask) + 1):
            raise BadEntry(f"{where}: the mask is not a prefix")

    def check_priority(self, priority: int) -> None:
        if not self.info.needs_priority and priority:
            raise BadEntry(f"table {self.table.name}: its entries have no priority")
        if self.info.needs_priority and not 0 < priority < 2**31:
            raise BadEntry(f"table {self.table.name}: a priority above 0 is needed")

    def rank(self, key: Key, priority: int) -> int:
        """What decides between matching entries; higher wins."""
        if self.table.match != "lpm":
            return priority
        for field, (_, mask) in zip(self.table.keys, key, strict=True):
            if field.kind == "lpm":
                return mask.bit_count()
        return 0

    def encode_action(self, name: str, params: Sequence[int]) -> tuple[int, list[int]]:
        """(action number, parameter words), padded to the table's longest list."""
        where = f"table {self.table.name}"
        action = self._actions.get(name)
        if action is None:
            raise BadEntry(f"{where}: there is no action {name!r}")
        if len(params) != len(action.params):
            count = len(action.params)
            raise BadEntry(f"{where}: action {name} takes {count} parameters, not {len(params)}")
        for value, (param, width) in zip(params, action.params, strict=True):
            if not 0 <= value < 1 << width:
                raise BadEntry(f"{where}: parameter {param} of {name} does not fit {width} bits")
        words = encode_params(action, tuple(params))
        return action.index, words + [0] * (self.data_words - len(words))

    def decode_action(self, index: int, words: list[int]) -> tuple[str, tuple[int, ...]]:
        action = self._program.actions[index]
        return action.name, decode_params(action, words)

    def decode(self, data: memoryview) -> list[Entry]:
        """Entries from records of ss_read_entries."""
        entries: list[Entry] = []
        at = 0
        while at < len(data):
            used, entry = self._decode_one(data[at:])
            entries.append(entry)
            at += used
        return entries

    def _decode_one(self, data: memoryview) -> tuple[int, Entry]:
        head = struct.calcsize(ENTRY_OUT)
        (used, _, action, metadata_len, priority, is_const, timeout, controller, *counts) = (
            struct.unpack_from(ENTRY_OUT, data)
        )
        n_keys = self._key_words * self._copies
        n_words = n_keys + self.data_words
        words = list(struct.unpack_from(f"={n_words}Q", data, head))
        metadata_at = head + 8 * n_words
        entry = self._decode_reference(words[n_keys]) if self.profile else Entry(())
        if not self.profile:
            name, params = self.decode_action(action, words[n_keys:])
            entry = Entry((), action=name, params=params)
        return used, replace(
            entry,
            key=self._decode_key(words),
            priority=priority,
            idle_timeout_ns=timeout,
            metadata=bytes(data[metadata_at : metadata_at + metadata_len]),
            controller_metadata=controller,
            is_const=bool(is_const),
            packets=counts[0],
            bytes=counts[1],
            time_since_last_hit_ns=counts[2],
        )

    def _decode_reference(self, ref: int) -> Entry:
        """The part of an entry that names what a data word refers to; the lock is held."""
        assert self.profile is not None
        held = self.profile.held(ref)
        if isinstance(held, HeldMember):
            return Entry((), member=held.value.id)
        if held.one_shot is not None:
            return Entry((), one_shot=held.one_shot)
        return Entry((), group=held.value.id)

    def _decode_key(self, words: list[int]) -> Key:
        n = self._key_words
        parts = [
            keys.unpack(join(words[i * n : (i + 1) * n]), self._widths) for i in range(self._copies)
        ]
        out: list[tuple[int, int]] = []
        for i, field in enumerate(self.table.keys):
            if field.kind == "range":
                out.append((parts[0][i], parts[2][i]))
            elif self._copies == 1:
                out.append((parts[0][i], (1 << field.width) - 1))
            else:
                out.append((parts[0][i], parts[1][i]))
        return tuple(out)

# SPDX-License-Identifier: Apache-2.0
"""Where connections are kept: one dict per zone and protocol, keyed by packed tuples.

Both directions are keys of the same record, and the record holds the very same key objects, so a
connection costs two short byte strings. A table that becomes empty is removed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TypeVar

from p4ct.conntrack.connection import Connection, Direction, Tuple

_K = TypeVar("_K")


def table_id(zone: int, version: int, proto: int) -> int:
    """Number of the table: zone (16 bits), IP version (1 bit), protocol (8 bits)."""
    return zone << 9 | (0x100 if version == 6 else 0) | proto


class ConnectionTable:
    """All connections, found by zone and tuple, counted by zone, protocol and state."""

    __slots__ = ("by_protocol", "by_state", "by_zone", "count", "tables")

    def __init__(self) -> None:
        self.tables: dict[int, dict[bytes, Connection]] = {}
        self.count = 0
        self.by_zone: Counter[int] = Counter()
        self.by_protocol: Counter[int] = Counter()
        self.by_state: Counter[str] = Counter()

    def insert(self, conn: Connection) -> None:
        """Add a connection; its keys must be free."""
        number = table_id(conn.zone, conn.version, conn.proto)
        table = self.tables.setdefault(number, {})
        table[conn.reply_key] = conn
        table[conn.key] = conn  # last: when both tuples are equal a packet counts as original
        self.count += 1
        self.by_zone[conn.zone] += 1
        self.by_protocol[conn.proto] += 1
        self.by_state[conn.state_name] += 1

    def remove(self, conn: Connection, state_name: str) -> None:
        """Take a connection out; state_name is the one it was last counted under."""
        number = table_id(conn.zone, conn.version, conn.proto)
        table = self.tables[number]
        del table[conn.key]
        table.pop(conn.reply_key, None)
        if not table:
            del self.tables[number]
        self.count -= 1
        _decrement(self.by_zone, conn.zone)
        _decrement(self.by_protocol, conn.proto)
        _decrement(self.by_state, state_name)

    def count_state(self, old: str, new: str) -> None:
        """A connection went from one state to another."""
        _decrement(self.by_state, old)
        self.by_state[new] += 1

    def find(self, key: Tuple, zone: int) -> tuple[Connection, Direction] | None:
        """The connection that a packet with this tuple belongs to, and the packet's direction."""
        table = self.tables.get(table_id(zone, key.version, key.proto))
        packed = key.key()
        conn = None if table is None else table.get(packed)
        if conn is None:
            return None
        return conn, Direction.ORIGINAL if packed == conn.key else Direction.REPLY

    def __iter__(self) -> Iterator[Connection]:
        """Every connection once; connections may come and go meanwhile."""
        for table in list(self.tables.values()):
            yield from _originals(table)

    def of(self, zone: int | None, version: int | None, proto: int | None) -> Iterator[Connection]:
        """Connections of a zone, IP version, protocol; None for any."""
        for number, table in list(self.tables.items()):
            if (
                (zone is None or number >> 9 == zone)
                and (version is None or (number & 0x100 != 0) == (version == 6))
                and (proto is None or number & 0xFF == proto)
            ):
                yield from _originals(table)


def _originals(table: dict[bytes, Connection]) -> Iterator[Connection]:
    for key, conn in list(table.items()):
        if conn.alive and key is conn.key:
            yield conn


def _decrement(counter: Counter[_K], key: _K) -> None:
    if counter[key] == 1:
        del counter[key]
    else:
        counter[key] -= 1

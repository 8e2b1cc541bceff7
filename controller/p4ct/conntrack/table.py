# SPDX-License-Identifier: Apache-2.0
"""Where connections are kept: a table per zone, IP version and protocol, keyed by packed tuples.

Both directions are keys of the same record, and the record holds the very same key objects, so a
connection costs two short byte strings. A table that becomes empty is removed.

Growing a dict of a million keys stops everything for a third of a second, so a table that grows is
split into shards, by the hash of the key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from p4ct.conntrack.connection import Connection, Direction, Tuple
from p4ct.conntrack.eviction import Order, Queue
from p4ct.conntrack.limits import SourceCounts
from p4ct.conntrack.numbers import WorkingSet

#: Connections that are looked at without giving others their turn.
PORTION = 1000
#: Shards of a table that was split, a power of 2, and the connections at which it is.
SHARDS = 256
SPLIT = 4096


def table_id(zone: int, version: int, proto: int) -> int:
    """Number of the table: zone (16 bits), IP version (1 bit), protocol (8 bits)."""
    return zone << 9 | (0x100 if version == 6 else 0) | proto


class Zone:
    """What is known of a zone as a whole.

    count: its connections.   sources: those by who opened them, once there was a limit for it.
    unreplied, unassured: those of them that may be evicted: without a
    reply; with one, but not assured. Offloaded ones are in neither.
    """

    __slots__ = ("count", "number", "sources", "unassured", "unreplied")

    def __init__(self, number: int, unreplied: Order, unassured: Order) -> None:
        self.number = number
        self.count = 0
        self.sources: SourceCounts | None = None
        self.unreplied = Queue(number, unreplied)
        self.unassured = Queue(number, unassured)

    def close(self) -> None:
        """The zone is flushed: nobody has to make room any more."""
        self.unreplied.close()
        self.unassured.close()

    def enqueue(self, conn: Connection) -> None:
        """Make a connection, which is in no queue, one that may be evicted."""
        if not conn.assured:
            (self.unassured if conn.seen_reply else self.unreplied).append(conn)


class Table:
    """The connections of one zone, IP version and protocol.

    shards, mask: the shard of a key is `shards[hash(key) & mask]`; `mask` is 0 or SHARDS - 1.
    flushed: taken out of the `ConnectionTable`; what is left in it is about to be destroyed, and
    its shards before `emptied` are empty.
    """

    __slots__ = (
        "count",
        "emptied",
        "flushed",
        "in_zone",
        "mask",
        "number",
        "proto",
        "shards",
        "states",
        "version",
        "working",
        "zone",
    )

    def __init__(self, number: int, in_zone: Zone, working: WorkingSet) -> None:
        self.number = number
        self.zone = number >> 9
        self.version = 6 if number & 0x100 else 4
        self.proto = number & 0xFF
        self.in_zone = in_zone
        self.working = working
        self.shards: list[dict[bytes, Connection]] = [{}]
        self.mask = 0
        self.count = 0
        self.states: Counter[str] = Counter()
        self.flushed = False
        self.emptied = 0

    def get(self, key: bytes) -> Connection | None:
        """The connection that has this key in either direction."""
        return self.shards[hash(key) & self.mask].get(key)

    def insert(self, conn: Connection) -> None:
        """Add a connection; its keys must be free."""
        shards, mask, key, reply_key = self.shards, self.mask, conn.key, conn.reply_key
        shards[hash(reply_key) & mask][reply_key] = conn
        # Last: when both tuples are equal a packet counts as original.
        shards[hash(key) & mask][key] = conn
        self.count += 1
        if self.count > SPLIT and not mask:
            self._split()

    def remove(self, conn: Connection) -> None:
        """Take a connection out."""
        shards, mask, key, reply_key = self.shards, self.mask, conn.key, conn.reply_key
        del shards[hash(key) & mask][key]
        shards[hash(reply_key) & mask].pop(reply_key, None)
        self.count -= 1

    def change_state(self, old: str, new: str) -> None:
        """A connection went from one state to another."""
        states = self.states
        states[old] -= 1
        states[new] += 1

    def portions(self) -> Iterator[list[Connection]]:
        """Every connection once, in lists of at most PORTION; they may come and go meanwhile."""
        for shard in self.shards:
            keys = list(shard)
            for start in range(0, len(keys), PORTION):
                if not self.flushed:
                    part = ((key, shard.get(key)) for key in keys[start : start + PORTION])
                    yield [c for key, c in part if c is not None and key is c.key and c.alive]

    def take(self) -> Connection:
        """Take out any connection of a table that has some, and free what it leaves empty."""
        shards = self.shards
        while not shards[self.emptied]:
            shards[self.emptied] = {}  # an emptied dict is as large as it was
            self.emptied += 1
        key, conn = shards[self.emptied].popitem()
        other = conn.reply_key if key is conn.key else conn.key
        shards[hash(other) & self.mask].pop(other, None)
        self.count -= 1
        return conn

    def _split(self) -> None:
        mask = SHARDS - 1
        shards: list[dict[bytes, Connection]] = [{} for _ in range(SHARDS)]
        for key, conn in self.shards[0].items():
            shards[hash(key) & mask][key] = conn
        self.shards, self.mask = shards, mask


class ConnectionTable:
    """All connections, found by zone and tuple, counted by zone, protocol and state."""

    __slots__ = ("_flushed", "count", "tables", "unassured", "unreplied", "working", "zones")

    def __init__(self, working: WorkingSet) -> None:
        self.tables: dict[int, Table] = {}
        self.zones: dict[int, Zone] = {}
        self.working = working
        self.unreplied = Order()
        self.unassured = Order()
        self.count = 0
        self._flushed: list[Table] = []

    def table(self, zone: int, version: int, proto: int) -> Table:
        """The table for such connections; it belongs to us once something is inserted."""
        number = table_id(zone, version, proto)
        table = self.tables.get(number)
        if table is None:
            in_zone = self.zones.get(zone) or Zone(zone, self.unreplied, self.unassured)
            table = Table(number, in_zone, self.working)
        return table

    def insert(self, conn: Connection) -> None:
        """Add a connection to its table, which is from `table`; its keys must be free."""
        if not conn.table.count:  # not ours yet, or not any more
            conn.table = self.table(conn.zone, conn.version, conn.proto)
        table = conn.table
        zone = table.in_zone
        if not table.count:
            self.tables[table.number] = table
            self.zones[zone.number] = zone
        table.insert(conn)
        table.states[conn.state_name] += 1
        zone.count += 1
        self.count += 1

    def remove(self, conn: Connection, state_name: str) -> None:
        """Take a connection out; state_name is the one it was last counted under."""
        table = conn.table
        zone = table.in_zone
        table.remove(conn)
        if table.flushed:
            return
        table.states[state_name] -= 1
        zone.count -= 1
        self.count -= 1
        if not table.count:
            del self.tables[table.number]
        if not zone.count:
            del self.zones[zone.number]

    def flush(self, zone: int | None) -> int:
        """Make all connections of a zone, or of all, unknown at once; returns how many.

        They are still alive: `take_flushed` gives them out one by one.
        """
        chosen = [table for table in self.tables.values() if zone is None or table.zone == zone]
        for table in chosen:
            table.flushed = True
            table.in_zone.close()
            del self.tables[table.number]
            self.zones.pop(table.zone, None)
        self._flushed += chosen
        number = sum(table.count for table in chosen)
        self.count -= number
        return number

    def take_flushed(self) -> Connection | None:
        """Take out one of the flushed connections that are left."""
        while self._flushed:
            if self._flushed[-1].count:
                return self._flushed[-1].take()
            self._flushed.pop()
        return None

    @property
    def flushing(self) -> bool:
        """Are there flushed connections left?"""
        while self._flushed and not self._flushed[-1].count:
            self._flushed.pop()
        return bool(self._flushed)

    def find(self, key: Tuple, zone: int) -> tuple[Connection, Direction] | None:
        """The connection that a packet with this tuple belongs to, and the packet's direction."""
        table = self.tables.get(table_id(zone, key.version, key.proto))
        packed = key.key()
        conn = None if table is None else table.get(packed)
        if conn is None:
            return None
        return conn, Direction.ORIGINAL if packed == conn.key else Direction.REPLY

    def portions(
        self, zone: int | None, version: int | None, proto: int | None
    ) -> Iterator[list[Connection]]:
        """Connections of a zone, IP version, protocol; None for any. See `Table.portions`."""
        for table in list(self.tables.values()):
            if (
                (zone is None or table.zone == zone)
                and (version is None or table.version == version)
                and (proto is None or table.proto == proto)
            ):
                yield from table.portions()

    def by_protocol(self) -> Counter[int]:
        """Connections per IP protocol number."""
        counts: Counter[int] = Counter()
        for table in self.tables.values():
            counts[table.proto] += table.count
        return counts

    def by_state(self, proto: int | None = None) -> Counter[str]:
        """Connections per state name, of one IP protocol or of all."""
        counts: Counter[str] = Counter()
        for table in self.tables.values():
            for state, count in table.states.items():
                if count and proto in (None, table.proto):
                    counts[state] += count
        return counts

# SPDX-License-Identifier: Apache-2.0
"""A timer wheel that is not touched when a packet renews its connection.

A connection sits in a bucket that starts no later than it expires. Renewing moves `expires` only;
when the wheel gets to the bucket it puts the connection into a later one. Buckets are a second wide
for the next 64 s, 64 s wide up to 4096 s, 4096 s wide beyond, so there are few of them however long
the timeouts, and no operation looks at more connections than its budget. The connections of the
current second wait in a heap, which makes expiry exact.

A bucket is made of chunks, because growing one list of a million connections takes too long. A
connection knows its chunk and its position there; when it leaves, the last of the bucket takes its
place.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p4ct.conntrack.connection import Connection

_FINE = 64
_COARSE = 4096
#: Small enough that all positions are integers that CPython has anyway.
_CHUNK = 256
#: Stale entries that `next` clears away at a time.
_TIDY = 64


class Chunk:
    """Some connections of a bucket. second: when the wheel looks at them, never later."""

    __slots__ = ("bucket", "connections", "second")

    def __init__(self, second: float, bucket: Bucket | None) -> None:
        self.second = second
        self.bucket = bucket
        self.connections: list[Connection] = []


class Bucket:
    """Connections that the wheel looks at in the same second, in chunks full but for the last."""

    __slots__ = ("chunks", "second")

    def __init__(self, second: float) -> None:
        self.second = second
        self.chunks: list[Chunk] = []

    def add(self, conn: Connection) -> None:
        """Put a connection in, at the end."""
        chunks = self.chunks
        if not chunks or len(chunks[-1].connections) == _CHUNK:
            chunks.append(Chunk(self.second, self))
        chunk = chunks[-1]
        conn.chunk = chunk
        conn.position = len(chunk.connections)
        chunk.connections.append(conn)

    def pop(self) -> Connection:
        """Take the last one out."""
        last = self.chunks[-1].connections
        conn = last.pop()
        if not last:
            self.chunks.pop()
        return conn

    def remove(self, chunk: Chunk, conn: Connection) -> None:
        """Take one out; the last one gets its place."""
        last = self.pop()
        if last is not conn:
            chunk.connections[conn.position] = last
            last.chunk = chunk
            last.position = conn.position


NOT_ARMED = Chunk(-1.0, None)
"""The chunk of a connection without a timer."""


class TimerWheel:
    """Connections by time of expiry. Times are seconds, not negative."""

    __slots__ = ("_base", "_buckets", "_due", "_starts")

    def __init__(self) -> None:
        self._base = 0  # the second up to which buckets have been emptied
        self._buckets: dict[int, Bucket] = {}
        self._starts: list[int] = []  # heap: the keys of _buckets
        # An entry is stale when its chunk, made for it alone, is not the connection's any more.
        self._due: list[tuple[float, int, Chunk, Connection]] = []

    def arm(self, conn: Connection) -> None:
        """Make sure `conn` is looked at no later than `conn.expires`; it must not be armed."""
        expires = conn.expires
        second = int(expires)
        ahead = second - self._base
        if ahead <= 0:
            conn.chunk = chunk = Chunk(expires, None)
            heapq.heappush(self._due, (expires, conn.id, chunk, conn))
            return
        if ahead >= _COARSE:
            second -= second % _COARSE
        elif ahead >= _FINE:
            second -= second % _FINE
        bucket = self._buckets.get(second)
        if bucket is None:
            bucket = self._buckets[second] = Bucket(float(second))
            heapq.heappush(self._starts, second)
        bucket.add(conn)

    def cancel(self, conn: Connection) -> None:
        """Forget `conn`; nothing happens if it is not armed."""
        chunk = conn.chunk
        if chunk.bucket is not None:
            chunk.bucket.remove(chunk, conn)
        conn.chunk = NOT_ARMED  # an entry in the heap is now stale and is skipped

    def expired(self, now: float, budget: int) -> list[Connection]:
        """Take out what has expired at `now`, soonest first, looking at `budget` connections."""
        self._base = max(self._base, int(now))
        starts = self._starts
        while starts and starts[0] <= self._base and budget > 0:
            bucket = self._buckets[starts[0]]
            while bucket.chunks and budget > 0:
                self.arm(bucket.pop())
                budget -= 1
            if not bucket.chunks:
                del self._buckets[heapq.heappop(starts)]
        taken: list[Connection] = []
        due = self._due
        while due and due[0][0] <= now and budget > 0:
            _, _, chunk, conn = heapq.heappop(due)
            budget -= 1
            if conn.chunk is not chunk:
                continue
            if conn.expires <= now:
                conn.chunk = NOT_ARMED
                taken.append(conn)
            else:
                self.arm(conn)
        return taken

    def next(self) -> float | None:
        """When to call `expired` again: never later than the first expiry, maybe earlier."""
        due, starts = self._due, self._starts
        tidy = _TIDY
        while due and due[0][3].chunk is not due[0][2] and tidy:
            heapq.heappop(due)
            tidy -= 1
        while starts and not self._buckets[starts[0]].chunks and tidy:
            del self._buckets[heapq.heappop(starts)]
            tidy -= 1
        if due and starts:
            return min(due[0][0], float(starts[0]))
        if due:
            return due[0][0]
        return float(starts[0]) if starts else None

    def __len__(self) -> int:
        """Connections waiting (entries that are stale included)."""
        waiting = sum(
            len(chunk.connections) for bucket in self._buckets.values() for chunk in bucket.chunks
        )
        return len(self._due) + waiting

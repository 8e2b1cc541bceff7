# SPDX-License-Identifier: Apache-2.0
"""A timer wheel that is not touched when a packet renews its connection.

A connection sits in a bucket that starts no later than it expires. Renewing moves `expires` only;
when the wheel gets to the bucket it puts the connection into a later one. Buckets are a second wide
for the next 64 s, 64 s wide up to 4096 s, 4096 s wide beyond, so there are few of them however long
the timeouts, and no operation looks at more connections than its budget. The connections of the
current second wait in a heap, which makes expiry exact.
"""

from __future__ import annotations

import heapq

from p4ct.conntrack.connection import Connection

_NOT_ARMED = -1.0
_FINE = 64
_COARSE = 4096


class TimerWheel:
    """Connections by time of expiry. Times are seconds, not negative."""

    __slots__ = ("_base", "_buckets", "_due", "_starts")

    def __init__(self) -> None:
        self._base = 0  # the second up to which buckets have been emptied
        self._buckets: dict[int, set[Connection]] = {}
        self._starts: list[int] = []  # heap: the keys of _buckets
        self._due: list[tuple[float, int, Connection]] = []

    def arm(self, conn: Connection) -> None:
        """Make sure `conn` is looked at no later than `conn.expires`."""
        expires = conn.expires
        second = int(expires)
        ahead = second - self._base
        if ahead <= 0:
            conn.timer_at = expires
            heapq.heappush(self._due, (expires, conn.id, conn))
            return
        if ahead >= _COARSE:
            second -= second % _COARSE
        elif ahead >= _FINE:
            second -= second % _FINE
        conn.timer_at = float(second)
        bucket = self._buckets.get(second)
        if bucket is None:
            self._buckets[second] = {conn}
            heapq.heappush(self._starts, second)
        else:
            bucket.add(conn)

    def cancel(self, conn: Connection) -> None:
        """Forget `conn`; nothing happens if it is not armed."""
        bucket = self._buckets.get(int(conn.timer_at))
        if bucket is not None:
            bucket.discard(conn)
        conn.timer_at = _NOT_ARMED  # an entry in the heap is now stale and is skipped

    def expired(self, now: float, budget: int) -> list[Connection]:
        """Take out what has expired at `now`, soonest first, looking at `budget` connections."""
        self._base = max(self._base, int(now))
        starts = self._starts
        while starts and starts[0] <= self._base and budget > 0:
            bucket = self._buckets[starts[0]]
            while bucket and budget > 0:
                self.arm(bucket.pop())
                budget -= 1
            if not bucket:
                del self._buckets[heapq.heappop(starts)]
        taken: list[Connection] = []
        due = self._due
        while due and due[0][0] <= now and budget > 0:
            at, _, conn = heapq.heappop(due)
            if conn.timer_at != at:
                continue
            budget -= 1
            if conn.expires <= now:
                conn.timer_at = _NOT_ARMED
                taken.append(conn)
            else:
                self.arm(conn)
        return taken

    def next(self) -> float | None:
        """When to call `expired` again: never later than the first expiry, maybe earlier."""
        due, starts = self._due, self._starts
        while due and due[0][2].timer_at != due[0][0]:
            heapq.heappop(due)
        while starts and not self._buckets[starts[0]]:
            del self._buckets[heapq.heappop(starts)]
        if due and starts:
            return min(due[0][0], float(starts[0]))
        if due:
            return due[0][0]
        return float(starts[0]) if starts else None

    def __len__(self) -> int:
        """Connections waiting (entries that are stale included)."""
        return len(self._due) + sum(map(len, self._buckets.values()))

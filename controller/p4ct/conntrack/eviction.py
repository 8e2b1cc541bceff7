# SPDX-License-Identifier: Apache-2.0
"""Who has to go first when there is no room: queues of the connections that are not assured.

A queue is a linked list through the connections themselves, so that entering and leaving cost the
same however long it is.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p4ct.conntrack.connection import Connection


class Link:
    """A place in a circular list; one that points at itself is alone."""

    __slots__ = ("newer", "older")

    def __init__(self) -> None:
        self.newer: Link = self
        self.older: Link = self


class Queue(Link):
    """Connections in the order in which they entered; `order` finds the oldest of all queues.

    closed: not asked any more, for what is still in it is about to leave.
    """

    __slots__ = ("closed", "length", "listed", "number", "order")

    def __init__(self, number: int, order: Order) -> None:
        super().__init__()
        self.number = number
        self.order = order
        self.length = 0
        self.listed = False
        self.closed = False

    def append(self, conn: Connection) -> None:
        """Enter as the newest; it must not be in a queue."""
        newest = self.older
        newest.newer = conn
        conn.older = newest
        conn.newer = self
        self.older = conn
        conn.queue = self
        self.length += 1
        self.order.length += not self.closed
        if not self.listed:
            self.order.add(self, conn)

    def remove(self, conn: Connection) -> None:
        """Leave; it must be in this queue."""
        conn.older.newer = conn.newer
        conn.newer.older = conn.older
        conn.newer = conn.older = conn
        conn.queue = None
        self.length -= 1
        self.order.length -= not self.closed

    def close(self) -> None:
        """Nothing in it counts from now on, or makes room."""
        if not self.closed:
            self.closed = True
            self.order.length -= self.length

    def oldest(self) -> Connection | None:
        """The one that entered first."""
        first = self.newer
        return None if first is self else first  # type: ignore[return-value]


class Order:
    """Which of many queues has the oldest connection, by id.

    A heap with one entry for each queue that is not empty, corrected when it is looked at.
    length: connections in all of them.
    """

    __slots__ = ("_heap", "length")

    def __init__(self) -> None:
        self.length = 0
        self._heap: list[tuple[int, int, Queue]] = []

    def add(self, queue: Queue, oldest: Connection) -> None:
        """A queue has got its first connection."""
        queue.listed = True
        heapq.heappush(self._heap, (oldest.id, queue.number, queue))

    def oldest(self) -> Connection | None:
        """The oldest connection of all queues."""
        heap = self._heap
        while heap:
            known, number, queue = heap[0]
            conn = queue.oldest()
            if conn is None or queue.closed:
                queue.listed = False
                heapq.heappop(heap)
            elif conn.id == known:
                return conn
            else:
                heapq.heapreplace(heap, (conn.id, number, queue))
        return None

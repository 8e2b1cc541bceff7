# SPDX-License-Identifier: Apache-2.0
"""Connections that helpers expect, until they come, their time is over or their parent is gone.

As `nf_conntrack_expect.c`: the source port is open, a parent has one at a time (a further one takes
its place), and the number of all is limited.
"""

from __future__ import annotations

from typing import NamedTuple

from p4ct.conntrack.connection import Connection, Tuple

__all__ = ["TIMEOUT", "Expectation", "Expectations", "ExpectedTuple"]

TIMEOUT = 300.0
"""Seconds that an expectation waits (FTP and TFTP of Linux: 5 minutes)."""


class ExpectedTuple(NamedTuple):
    """The first packet that is expected, from any port. Addresses: 4 or 16 bytes."""

    zone: int
    version: int
    proto: int
    src: bytes
    dst: bytes
    dport: int


class Expectation(NamedTuple):
    """An expected connection.

    parent: the control connection.   deadline: seconds of the tracker's clock.
    target, source: what its packets are translated to, as those of its parent are: destination
        address and port, and source address. target None: nothing is translated.
    """

    tuple: ExpectedTuple
    parent: Connection
    deadline: float
    target: tuple[bytes, int] | None = None
    source: bytes = b""


class Expectations:
    """All of them; `limit`: how many there may be."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        #: In the order of their deadlines: all wait equally long.
        self._by_tuple: dict[ExpectedTuple, Expectation] = {}
        self._by_parent: dict[int, ExpectedTuple] = {}

    def __len__(self) -> int:
        return len(self._by_tuple)

    def add(self, expectation: Expectation) -> bool:
        """Wait for a connection. False: another parent expects it, or there are too many."""
        wanted = expectation.tuple
        known = self._by_tuple.get(wanted)
        if known is not None and known.parent is not expectation.parent:
            return False
        former = self._by_parent.get(expectation.parent.id)
        if former is not None:
            self._forget(former)
        elif len(self._by_tuple) >= self.limit:
            return False
        self._by_tuple[wanted] = expectation
        self._by_parent[expectation.parent.id] = wanted
        return True

    def free(self, wanted: ExpectedTuple, parent: Connection) -> bool:
        """Whether this parent could add it, limits apart."""
        known = self._by_tuple.get(wanted)
        return known is None or known.parent is parent

    def find(self, zone: int, first: Tuple, now: float) -> Expectation | None:
        """Who expects a connection that begins with a packet of this tuple in this zone."""
        if not self._by_tuple:
            return None
        wanted = ExpectedTuple(zone, first.version, first.proto, first.src, first.dst, first.dport)
        found = self._by_tuple.get(wanted)
        return found if found is not None and found.deadline > now else None

    def take(self, expectation: Expectation) -> None:
        """The connection has come: nothing is expected any more."""
        if self._by_tuple.get(expectation.tuple) is expectation:
            self._forget(expectation.tuple)

    def parent_gone(self, parent: Connection) -> None:
        """The control connection has ended, and what it announced with it."""
        wanted = self._by_parent.get(parent.id)
        if wanted is not None:
            self._forget(wanted)

    def flush(self, zone: int | None) -> None:
        """Forget those of a zone, or all: their parents are flushed."""
        for wanted in [w for w in self._by_tuple if zone is None or w.zone == zone]:
            self._forget(wanted)

    def expire(self, now: float) -> int:
        """Forget those whose time is over; how many."""
        number = 0
        while self._by_tuple:
            first = next(iter(self._by_tuple.values()))
            if first.deadline > now:
                break
            self._forget(first.tuple)
            number += 1
        return number

    def next_deadline(self) -> float | None:
        """When `expire` has something to do."""
        return next(iter(self._by_tuple.values())).deadline if self._by_tuple else None

    def list(self) -> list[Expectation]:
        """All of them, the oldest first."""
        return list(self._by_tuple.values())

    def _forget(self, wanted: ExpectedTuple) -> None:
        expectation = self._by_tuple.pop(wanted)
        del self._by_parent[expectation.parent.id]

# SPDX-License-Identifier: Apache-2.0
"""Connections that wait for a free record: visible, in order of arrival, fair between zones."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

__all__ = ["PendingQueue"]

T = TypeVar("T")


class PendingQueue(Generic[T]):
    """First come, first served inside a zone; the zones take turns.

    A zone with ten thousand waiting connections therefore does not hold up a zone with one.
    """

    def __init__(self) -> None:
        self._zones: OrderedDict[int, OrderedDict[int, T]] = OrderedDict()
        self._zone_of: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._zone_of)

    def __contains__(self, key: int) -> bool:
        return key in self._zone_of

    def __iter__(self) -> Iterator[T]:
        """In the order in which they will be served."""
        queues = [list(queue.values()) for queue in self._zones.values()]
        for turn in range(max(map(len, queues), default=0)):
            for queue in queues:
                if turn < len(queue):
                    yield queue[turn]

    def add(self, key: int, zone: int, item: T) -> None:
        """Add, or renew without losing the place."""
        self._zone_of.setdefault(key, zone)
        self._zones.setdefault(self._zone_of[key], OrderedDict())[key] = item

    def discard(self, key: int) -> None:
        zone = self._zone_of.pop(key, None)
        if zone is None:
            return
        queue = self._zones[zone]
        del queue[key]
        if not queue:
            del self._zones[zone]

    def pop(self) -> T | None:
        """The next one: the first of the zone whose turn it is."""
        if not self._zones:
            return None
        zone, queue = self._zones.popitem(last=False)
        key, item = queue.popitem(last=False)
        del self._zone_of[key]
        if queue:
            self._zones[zone] = queue  # to the end: another zone's turn
        return item

# SPDX-License-Identifier: Apache-2.0
"""Who depends on where NORMAL knows a station to be."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

__all__ = ["Dependents", "FdbKey"]

FdbKey = tuple[int, bytes]
"""VLAN id and MAC address."""
T = TypeVar("T")


class Dependents(Generic[T]):
    """Items by each station that they were decided with."""

    def __init__(self) -> None:
        self._of: dict[FdbKey, set[T]] = {}

    def of(self, station: FdbKey) -> list[T]:
        """What depends on this station."""
        return list(self._of.get(station, ()))

    def add(self, item: T, stations: Iterable[FdbKey]) -> None:
        for station in stations:
            self._of.setdefault(station, set()).add(item)

    def discard(self, item: T, stations: Iterable[FdbKey]) -> None:
        """The item has gone. A station may be named more than once."""
        for station in stations:
            items = self._of.get(station, set())
            items.discard(item)
            if not items:
                self._of.pop(station, None)

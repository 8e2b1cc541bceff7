# SPDX-License-Identifier: Apache-2.0
"""Numbers and rows of the eswitch that records share: connection indices, MAC pairs, next hops."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import Generic, TypeVar

from p4ct.eswitch.entries import Delete, Insert, L2PairEntry, Modify, NextHopEntry

__all__ = ["IndexPool", "SharedRows"]

GENERATIONS = 256
"""The generation is 8 bits in the entry and in the packet-in header."""


class IndexPool:
    """Connection indices 0 to capacity-1, each with the generation of its current use.

    An index comes back only after its counter cells were zeroed; its generation then moves on, so
    that a late packet-in of the former connection can be told from one of the next.  What the
    cells of an index hold that this pool has not given out before, nobody knows: a controller may
    have ended between deleting the entries and zeroing the cells.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._free: list[int] = []
        self._fresh = 0  # every index from here on was never used
        self._generation: dict[int, int] = {}
        self._unknown: set[int] = set()
        self.used = 0

    def take(self) -> tuple[int, int] | None:
        """A free (index, generation), or None when all are in use."""
        if self.used >= self.capacity:
            return None
        if self._free:
            index = self._free.pop()
        else:
            while self._fresh in self._generation:  # adopted from the switch
                self._fresh += 1
            index = self._fresh
            self._fresh += 1
            self._unknown.add(index)
        self.used += 1
        generation = self._generation.setdefault(index, 0)
        return index, generation

    def give_back(self, index: int) -> None:
        """The index may be used again; the caller has zeroed its cells."""
        self._generation[index] = (self._generation[index] + 1) % GENERATIONS
        self._free.append(index)
        self.used -= 1

    def unknown(self, indices: Iterable[int]) -> list[int]:
        """Those of these indices whose cells have to be zeroed before they count."""
        return [index for index in indices if index in self._unknown]

    def zeroed(self, indices: Iterable[int]) -> None:
        """The cells of these indices are zero now."""
        self._unknown.difference_update(indices)

    def adopt(self, index: int, generation: int) -> None:
        """Mark an index as used by an entry that was found in the switch."""
        self._generation[index] = generation
        self.used += 1


Key = TypeVar("Key", bound=Hashable)


class SharedRows(Generic[Key]):
    """Reference-counted rows of a table: written before the first user, removed after the last."""

    def __init__(self) -> None:
        self._number: dict[Key, int] = {}
        self._users: dict[Key, int] = {}
        self._row: dict[Key, L2PairEntry | NextHopEntry] = {}
        self._free: list[int] = []
        self._next = 1
        #: Rows that the switch refused; they have users until those have rolled back.
        self._refused: set[Key] = set()

    def __len__(self) -> int:
        return len(self._number)

    def acquire(self, key: Key) -> tuple[int, bool]:
        """(number, is new) of the row; when it is new the caller sets and writes it first."""
        if key in self._number:
            self._users[key] += 1
            return self._number[key], False
        number = self._free.pop() if self._free else self._take_fresh()
        self._number[key] = number
        self._users[key] = 1
        return number, True

    def _take_fresh(self) -> int:
        taken = set(self._number.values()) if self._next == 1 else None
        if taken:
            self._next = max(taken) + 1
        number = self._next
        self._next += 1
        return number

    def set_row(self, key: Key, row: L2PairEntry | NextHopEntry) -> Insert:
        """Remember the row of a new key; the operation that writes it."""
        self._row[key] = row
        return Insert(row)

    def rewrite(self, key: Key, row: L2PairEntry | NextHopEntry) -> Modify:
        """Another row under the same key and number; the operation that writes it."""
        self._row[key] = row
        return Modify(row)

    def users(self, key: Key) -> int:
        """How many entries use the row; 0 if there is none."""
        return self._users.get(key, 0)

    def __iter__(self) -> Iterator[Key]:
        """The keys of all rows that the switch has taken."""
        return (key for key in self._row if key not in self._refused)

    def refused(self, key: Key) -> None:
        """The switch did not take the row: there is nothing to delete when its users have gone."""
        self._refused.add(key)

    def is_refused(self, key: Key) -> bool:
        return key in self._refused

    def release(self, key: Key) -> Delete | None:
        """One user less; the operation that removes the row if it was the last."""
        self._users[key] -= 1
        if self._users[key]:
            return None
        del self._users[key]
        self._free.append(self._number.pop(key))
        row = self._row.pop(key)
        if key in self._refused:
            self._refused.discard(key)
            return None
        return Delete(row)

    def adopt(self, key: Key, number: int, row: L2PairEntry | NextHopEntry) -> None:
        """A row found in the switch, without users so far."""
        self._number[key] = number
        self._users[key] = 0
        self._row[key] = row
        self._next = max(self._next, number + 1)

    def number(self, key: Key) -> int | None:
        return self._number.get(key)

    def use(self, key: Key) -> None:
        """One user more of an adopted row."""
        self._users[key] += 1

    def drop_unused(self) -> Iterable[Delete]:
        """Forget adopted rows that nobody uses; the operations that remove them."""
        for key in [k for k, users in self._users.items() if users == 0]:
            del self._users[key]
            self._free.append(self._number.pop(key))
            yield Delete(self._row.pop(key))

    def clear(self) -> None:
        """Forget everything: the switch was emptied."""
        self._number.clear()
        self._users.clear()
        self._row.clear()
        self._refused.clear()
        self._free.clear()
        self._next = 1

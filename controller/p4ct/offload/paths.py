# SPDX-License-Identifier: Apache-2.0
"""Path ids: one number for each list of flows that offloaded packets pass.

The eswitch counts packets by path (`path_counter`), so that the count of a flow is the sum over
the paths that contain it and no flow needs a counter of its own in hardware.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from p4ct.pipeline.flow import Flow

__all__ = ["Path", "Paths"]

Count = tuple[int, int]


class Path:
    """A list of flows, its number and its users (records)."""

    __slots__ = ("flows", "id", "last", "stateless", "users")

    def __init__(self, path_id: int, flows: tuple[Flow, ...]) -> None:
        self.id = path_id
        self.flows = flows
        self.users = 0
        #: Its users are stateless flows: no connection counts what they forward.
        self.stateless = False
        #: (packets, bytes) of the cell when it was last read.
        self.last: Count = (0, 0)

    def credit(self, cell: Count) -> Count:
        """Add what the cell gained since the last reading to every flow of the path; the gain."""
        if cell[0] < self.last[0]:
            self.last = (0, 0)  # the switch started anew
        packets, octets = cell[0] - self.last[0], cell[1] - self.last[1]
        self.last = cell
        for flow in self.flows:
            flow.hw_packets += packets
            flow.hw_bytes += octets
        return packets, octets


class Paths:
    """The paths in use; ids from 1 (0 means: none)."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._by_flows: dict[tuple[int, ...], Path] = {}
        self._free: list[int] = []
        self._next = 1
        self._reserved: set[int] = set()
        self._unknown: list[int] = []

    def __len__(self) -> int:
        return len(self._by_flows)

    def __iter__(self) -> Iterator[Path]:
        return iter(self._by_flows.values())

    def acquire(self, flows: tuple[Flow, ...]) -> Path | None:
        """The path of these flows with one user more; None when all ids are taken."""
        key = tuple(flow.id for flow in flows)
        path = self._by_flows.get(key)
        if path is None:
            if self._free:
                number = self._free.pop()
            else:
                while self._next in self._reserved:
                    self._next += 1
                if self._next >= self.size:
                    return None
                number = self._next
                self._next += 1
                self._unknown.append(number)
            path = self._by_flows[key] = Path(number, flows)
        path.users += 1
        return path

    def release(self, path: Path) -> bool:
        """One user less; True if it was the last (read the cell, zero it, then `forget`)."""
        path.users -= 1
        return path.users == 0

    def forget(self, path: Path) -> None:
        """The id may be used again, unless somebody acquired the path in the meantime."""
        key = tuple(flow.id for flow in path.flows)
        if path.users == 0 and self._by_flows.get(key) is path:
            del self._by_flows[key]
            self._free.append(path.id)

    def take_unknown(self) -> list[int]:
        """Ids given out for the first time: the caller zeroes their cells before they count."""
        taken, self._unknown = self._unknown, []
        return taken

    def reserve(self, ids: Iterable[int]) -> None:
        """Do not hand out these ids yet: entries found in the switch count under them."""
        self._reserved.update(ids)

    def unreserve(self) -> list[int]:
        """No entry counts under the reserved ids any more; the caller zeroes their cells."""
        ids = sorted(self._reserved)
        self._reserved.clear()
        self._free += [number for number in ids if number < self._next]
        return ids

    def credit(self, cells: Mapping[int, Count]) -> Count:
        """Account a reading of the cells, by path id; what stateless flows have gained."""
        gained = (0, 0)
        for path in self._by_flows.values():
            if path.id in cells:
                packets, octets = path.credit(cells[path.id])
                if path.stateless:
                    gained = gained[0] + packets, gained[1] + octets
        return gained

# SPDX-License-Identifier: Apache-2.0
"""Which MAC address is behind which vport: the learning table of NORMAL.

Its rules are those of OVS lib/mac-learning.c.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["MacEntry", "MacTable"]

Address = tuple[int, bytes]


class MacEntry(NamedTuple):
    """One learned address, for display. `age`: seconds since it was last seen."""

    vlan: int
    mac: bytes
    port: int
    age: float


class _Learned:
    __slots__ = ("port", "seen")

    def __init__(self, port: int, seen: float) -> None:
        self.port = port
        self.seen = seen


class MacTable:
    """At most `capacity` addresses, each forgotten `max_age` seconds after it was last seen.

    When the table is full, the address that was seen longest ago on the vport with the most
    addresses makes room, so that one vport cannot displace the others.
    """

    __slots__ = ("_by_port", "_entries", "capacity", "counts", "max_age")

    def __init__(self, *, capacity: int = 8192, max_age: float = 300.0) -> None:
        if capacity < 1:
            raise ValueError(f"the MAC table needs room for at least one address, not {capacity}")
        self.capacity = capacity
        self.max_age = max_age
        self._entries: dict[Address, _Learned] = {}
        # Per vport in the order in which they were last seen, oldest first.
        self._by_port: dict[int, dict[Address, _Learned]] = {}
        self.counts: Counter[str] = Counter()
        """How often an address was `learned`, `moved`, `expired`, `evicted`."""

    def __len__(self) -> int:
        return len(self._entries)

    def lookup(self, vlan: int, mac: bytes, now: float) -> int | None:
        """The vport of an address, or None if it is unknown or too old."""
        entry = self._entries.get((vlan, mac))
        if entry is None or now - entry.seen >= self.max_age:
            return None
        return entry.port

    def learn(self, vlan: int, mac: bytes, port: int, now: float) -> tuple[bool, int | None]:
        """Notes that `mac` was seen as a source on `port`.

        Returns whether that is news, and the vport where the address was until now, if any.
        """
        address = vlan, mac
        entry = self._entries.get(address)
        if entry is not None and now - entry.seen >= self.max_age:
            self._forget(address, entry)
            self.counts["expired"] += 1
            entry = None
        if entry is None:
            if len(self._entries) >= self.capacity:
                self._evict()
            entry = self._entries[address] = _Learned(port, now)
            self._by_port.setdefault(port, {})[address] = entry
            self.counts["learned"] += 1
            return True, None
        old = entry.port
        if old == port and now == entry.seen:
            return False, None
        self._leave_port(address, old)
        entry.port = port
        entry.seen = now
        self._by_port.setdefault(port, {})[address] = entry
        if old == port:
            return False, None
        self.counts["moved"] += 1
        return True, old

    def refresh(self, vlan: int, mac: bytes, port: int, now: float) -> bool:
        """Keeps an address alive that hardware saw; False if it is not (any more) on `port`."""
        if self.lookup(vlan, mac, now) != port:
            return False
        self.learn(vlan, mac, port, now)
        return True

    def expire(self, now: float) -> list[Address]:
        """Forgets what is too old; returns the (vlan, MAC) pairs."""
        gone: list[Address] = []
        for members in list(self._by_port.values()):
            for address, entry in list(members.items()):
                if now - entry.seen < self.max_age:
                    break
                self._forget(address, entry)
                gone.append(address)
        self.counts["expired"] += len(gone)
        return gone

    def flush(self) -> list[Address]:
        """Forgets everything; returns the (vlan, MAC) pairs."""
        gone = list(self._entries)
        self._entries.clear()
        self._by_port.clear()
        return gone

    def entries(self, now: float) -> Iterator[MacEntry]:
        """What is known, in the order of learning (the columns of `ovs-appctl fdb/show`)."""
        for (vlan, mac), entry in self._entries.items():
            if now - entry.seen < self.max_age:
                yield MacEntry(vlan, mac, entry.port, now - entry.seen)

    def _forget(self, address: Address, entry: _Learned) -> None:
        del self._entries[address]
        self._leave_port(address, entry.port)

    def _leave_port(self, address: Address, port: int) -> None:
        members = self._by_port[port]
        del members[address]
        if not members:
            del self._by_port[port]

    def _evict(self) -> None:
        members = max(self._by_port.values(), key=len)
        address = next(iter(members))
        self._forget(address, members[address])
        self.counts["evicted"] += 1

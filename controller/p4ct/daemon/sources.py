# SPDX-License-Identifier: Apache-2.0
"""Who fills the connection table: connections by the address that opened them, and by zone."""

from __future__ import annotations

import asyncio
import heapq
from typing import NamedTuple

from p4ct.conntrack import Tracker
from p4ct.conntrack.limits import SourceCounts
from p4ct.daemon.select import Selection

__all__ = ["Source", "largest"]


class Source(NamedTuple):
    """One address in one zone: its connections, and those of them that nobody has answered."""

    connections: int
    zone: int
    address: bytes
    unreplied: int


async def largest(tracker: Tracker, selection: Selection, most: int) -> list[Source]:
    """The sources with most connections, at most so many. Packets get their turn in between."""
    counts: dict[int, tuple[SourceCounts, SourceCounts]] = {}
    for portion in selection.portions(tracker):
        for connection in portion:
            total, unreplied = counts.setdefault(connection.zone, (SourceCounts(), SourceCounts()))
            total.add(connection.source)
            if not connection.seen_reply:
                unreplied.add(connection.source)
        await asyncio.sleep(0)
    found: list[Source] = []
    for zone, (total, unreplied) in counts.items():
        for portion in total.portions():
            sources = [Source(n, zone, address, unreplied[address]) for address, n in portion]
            found = heapq.nlargest(most, found + sources)
            await asyncio.sleep(0)
    return found

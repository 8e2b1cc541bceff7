# SPDX-License-Identifier: Apache-2.0
"""Shared rows that were found in the switch: which are ours to use, and which have to go."""

from __future__ import annotations

from collections.abc import Iterable

from p4ct.eswitch.entries import L2PairEntry, NextHopEntry
from p4ct.offload.manager import OffloadManager
from p4ct.offload.next_hops import NextHopKey, keys_of
from p4ct.offload.record import L2Key

__all__ = ["FoundRows"]


class FoundRows:
    """Rows by number, and strays: rows that this controller would not write.

    A stray gives a number that another row has, does what another row does, or does what we do not
    ask for (a vport has another port now, say); entries that use it cannot stay, and then it goes.
    """

    def __init__(self, manager: OffloadManager) -> None:
        self._manager = manager
        self.l2: dict[int, L2PairEntry] = {}
        self.next_hops: dict[int, NextHopEntry] = {}
        #: Next hops that may be one of two keys until an entry says which.
        self._unsettled: dict[int, NextHopEntry] = {}
        self._strays: list[L2PairEntry | NextHopEntry] = []

    def add_pair(self, row: L2PairEntry) -> None:
        """A row of `l2_pair`."""
        if row.l2_id == 0 or row.l2_id in self.l2:
            self._strays.append(row)
            return
        self.l2[row.l2_id] = row
        self._manager.l2_rows.adopt(L2Key(row.vport, row.eth_src, row.eth_dst), row.l2_id, row)

    def add_next_hops(self, rows: Iterable[NextHopEntry]) -> None:
        """All rows of `next_hop`."""
        known = self._manager.next_hops
        for hop in rows:
            self.next_hops[hop.next_hop] = hop
            keys = keys_of(self._manager.pipeline.ports, hop)
            if len(keys) > 1:
                self._unsettled[hop.next_hop] = hop
            elif not keys or known.number(keys[0]) is not None:
                self._strays.append(hop)
            else:
                known.adopt(keys[0], hop.next_hop, hop)

    def leads_there(self, key: NextHopKey, hop: NextHopEntry) -> bool:
        """Is this the row of that key? One that was not settled is from then on."""
        manager = self._manager
        number = manager.next_hops.number(key)
        if (
            number is None
            and hop.next_hop in self._unsettled
            and key in keys_of(manager.pipeline.ports, hop)
        ):
            manager.next_hops.adopt(key, hop.next_hop, self._unsettled.pop(hop.next_hop))
            return True
        return number == hop.next_hop

    def strays(self) -> list[L2PairEntry | NextHopEntry]:
        """What has to go, now that no more entries come."""
        return [*self._strays, *self._unsettled.values()]

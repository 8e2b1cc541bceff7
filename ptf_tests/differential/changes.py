# SPDX-License-Identifier: Apache-2.0
"""Random writes between packets: rows change, go and come back; some writes must fail."""

from __future__ import annotations

import random

from ptf_base.entities import Match

from differential.case import Change, Entry
from differential.world import World


class Changes:
    """Keeps count of which of the world's entries are there."""

    def __init__(self, rng: random.Random, world: World) -> None:
        self._rng = rng
        self._world = world
        self._there = list(world.entries)
        self._gone = [self._there.pop()]

    def some(self) -> tuple[Change, ...]:
        """A batch of one to six; no two of a batch are for the same row."""
        changes: list[Change] = []
        for _ in range(self._rng.randrange(1, 7)):
            change = self._one()
            if _row(change.entry) in [_row(c.entry) for c in changes]:
                break
            self._apply(change)
            changes.append(change)
        return tuple(changes)

    def _one(self) -> Change:
        rng = self._rng
        kind = rng.random()
        if kind < 0.06 and self._gone:
            return Change(rng.choice(("MODIFY", "DELETE")), rng.choice(self._gone))
        if kind < 0.1:
            return Change("INSERT", rng.choice(self._there))
        if kind < 0.55:
            return Change("MODIFY", self._world.again(rng.choice(self._there)))
        if kind < 0.55 + 0.45 * len(self._gone) / 20:
            return Change("INSERT", rng.choice(self._gone))
        return Change("DELETE", rng.choice(self._there))

    def _apply(self, change: Change) -> None:
        wanted = _row(change.entry)
        there = next((i for i, e in enumerate(self._there) if _row(e) == wanted), None)
        if there is None and change.kind == "INSERT":
            self._there.append(change.entry)
            self._gone = [e for e in self._gone if _row(e) != wanted]
        elif there is not None and change.kind == "MODIFY":
            self._there[there] = change.entry
        elif there is not None and change.kind == "DELETE":
            self._gone.append(self._there.pop(there))


def _row(entry: Entry) -> tuple[str, Match, int]:
    return entry.table, entry.match, entry.priority

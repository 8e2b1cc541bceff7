# SPDX-License-Identifier: Apache-2.0
"""Many random traces of all kinds; what differs is shrunk and shown."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from .compare import Cell, Play, Trace, play, replay
from .differences import explain
from .kinds import Kind
from .packets import Ends
from .router import Router
from .shrink import shrink

_SHOWN = 10  # failing traces that are shrunk and printed; the rest is only counted
_HOSTS = 60000
_FLUSH_EVERY = 2000


@dataclass
class Result:
    """What a campaign saw. marks: how often the kernel said what; cells: of the TCP table,
    how often reached; explained: by heading of the page.
    """

    traces: int = 0
    packets: int = 0
    unexplained: int = 0
    marks: Counter[str] = field(default_factory=lambda: Counter[str]())
    cells: Counter[Cell] = field(default_factory=lambda: Counter[Cell]())
    explained: Counter[str] = field(default_factory=lambda: Counter[str]())

    def __str__(self) -> str:
        return (
            f"{self.traces} traces, {self.packets} packets, "
            f"{self.unexplained} unexplained differences"
        )


class Campaign:
    """Runs kinds of traces; `say` gets what people should read. Trace n of a kind and seed is
    always the same packets.
    """

    def __init__(self, seed: int, say: Callable[[str], None]) -> None:
        self.seed = seed
        self.result = Result()
        self._say = say
        self._ends = 0
        self._shown = 0

    def run(self, name: str, kind: Kind, traces: int, first: int = 0) -> None:
        """`traces` traces of a kind, from number `first` on, through a router of their own."""
        router = Router(kind.rules)
        try:
            router.set_conntrack(kind.sysctls)
            affinity = os.sched_getaffinity(0)
            os.sched_setaffinity(0, {min(affinity)})  # packets of one sender stay in order
            try:
                for number in range(first, first + traces):
                    self._one(router, name, kind, number)
            finally:
                os.sched_setaffinity(0, affinity)
        finally:
            router.close()

    def _one(self, router: Router, name: str, kind: Kind, number: int) -> None:
        rng = random.Random(f"{self.seed} {name} {number}")
        version = rng.choice((4, 4, 6))

        def begin() -> Play:
            return Play(router, kind.subject(), self._new_ends(router, kind, version), explain)

        played, difference = play(kind.writer(rng, version), begin)
        result = self.result
        result.traces += 1
        result.packets += len(played.marks)
        result.marks.update(played.marks)
        result.cells.update(played.cells)
        result.explained.update(played.explained)
        if difference is None:
            return
        result.unexplained += 1
        self._shown += 1
        if self._shown > _SHOWN:
            return
        self._say(f"{name} trace {number} (seed {self.seed}), IPv{version}: {difference}")
        plain: Trace = shrink(played.steps, lambda trace: replay(trace, begin) is not None)
        again = replay(plain, begin)
        self._say(f"shrunk to {len(plain)} packets: {again or 'a difference that comes and goes'}")
        for step in plain if again else played.steps:
            self._say(f"    {step},")

    def _new_ends(self, router: Router, kind: Kind, version: int) -> Ends:
        self._ends = (self._ends + 1) % _HOSTS
        if self._ends % _FLUSH_EVERY == 0:
            router.conntrack.flush()
        return kind.ends(self._ends, version)

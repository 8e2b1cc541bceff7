# SPDX-License-Identifier: Apache-2.0
"""Many random traces of all kinds; what differs is shrunk and shown."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .compare import Begun, Cell, Difference, Play, Trace, play, replay
from .differences import explain
from .kinds import Kind
from .packets import Ends, Pause
from .router import Router
from .shrink import shrink

_SHOWN = 10  # failing traces that are shrunk and printed; the rest is only counted
_BUDGET, _SLOW_BUDGET = 400, 20  # replays for shrinking, without and with pauses
_SLOW = 0.2  # seconds for a packet that usually takes some microseconds
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
                size = traces if kind.together else 1
                for number in range(first, first + traces, size):
                    self._some(router, name, kind, range(number, number + size))
            finally:
                os.sched_setaffinity(0, affinity)
        finally:
            router.close()

    def _some(self, router: Router, name: str, kind: Kind, numbers: Sequence[int]) -> None:
        """Play these traces together, and judge each."""
        begun: list[Begun] = []
        begins: list[Callable[[], Play]] = []
        for number in numbers:
            rng = random.Random(f"{self.seed} {name} {number}")
            version = rng.choice((4, 4, 6))

            def begin(version: int = version) -> Play:
                return Play(router, kind.subject(), self._new_ends(router, kind, version), explain)

            begins.append(begin)
            begun.append((kind.writer(rng, version), begin()))
        for number, begin, (played, difference) in zip(numbers, begins, play(begun), strict=True):
            result = self.result
            result.traces += 1
            result.packets += len(played.marks)
            result.marks.update(played.marks)
            result.cells.update(played.cells)
            result.explained.update(played.explained)
            title = f"{name} trace {number} (seed {self.seed})"
            if difference is not None and not self._disturbed(title, played, begin):
                result.unexplained += 1
                self._show(title, played, difference, begin)

    def _disturbed(self, title: str, played: Play, begin: Callable[[], Play]) -> bool:
        """Did the machine stop for so long that the two clocks do not mean the same?

        Then the trace is played again, and what it shows then is what counts.
        """
        if played.slowest < _SLOW or replay(played.steps, begin) is not None:
            return False
        self._say(f"{title}: a packet took {played.slowest:.1f} s; played again, all was equal")
        return True

    def _show(
        self, name: str, played: Play, difference: Difference, begin: Callable[[], Play]
    ) -> None:
        self._shown += 1
        if self._shown > _SHOWN:
            return
        self._say(f"{name}, IPv{played.ends.version}: {difference}")
        slow = any(isinstance(step, Pause) for step in played.steps)

        def alike(trace: Trace) -> bool:  # a shorter trace may show something else
            found = replay(trace, begin)
            if found is None or found.what != difference.what:
                return False
            return found.what != "mark" or found.kernel == difference.kernel

        plain = shrink(played.steps, alike, _SLOW_BUDGET if slow else _BUDGET)
        again = replay(plain, begin)
        self._say(f"shrunk to {len(plain)} packets: {again or 'a difference that comes and goes'}")
        for step in plain if again else played.steps:
            self._say(f"    {step},")

    def _new_ends(self, router: Router, kind: Kind, version: int) -> Ends:
        self._ends = (self._ends + 1) % _HOSTS
        if self._ends % _FLUSH_EVERY == 0:
            router.conntrack.flush()
        return kind.ends(self._ends, version)

# SPDX-License-Identifier: Apache-2.0
"""From a case that shows a difference to one in which nothing can be left out."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from differential.case import Batch, Case, Change, Stimulus, Way

Item = TypeVar("Item")
Single = tuple[Batch, Stimulus | Change]
MIN_WIRE = 14


class Shrinker:
    """`fails` runs a case from the start and says whether it still shows the difference.

    Stops after `budget` runs with the smallest case so far.
    """

    def __init__(self, fails: Callable[[Case], bool], budget: int = 400) -> None:
        self._fails = fails
        self._join = _apart
        self.left = budget

    def shrink(self, case: Case, batch: int | None) -> Case:
        """`batch`: where the difference was seen; None: at the end."""
        if batch is not None:
            case = replace(case, batches=case.batches[: batch + 1])
            # Most often what came before does not matter.
            alone = replace(case, batches=case.batches[-1:])
            if len(case.batches) > 1 and self._still(alone):
                case = alone
        batches = self._minimal(case.batches, lambda kept: replace(case, batches=tuple(kept)))
        case = replace(case, batches=tuple(batches))
        kept = [(b, s) for b in case.batches for s in b.stimuli]
        if not self._still(replace(case, batches=_apart(kept))):
            self._join = _together
        kept = self._minimal(kept, lambda kept: replace(case, batches=self._join(kept)))
        case = replace(case, batches=self._join(kept))
        entries = self._minimal(case.entries, lambda kept: replace(case, entries=tuple(kept)))
        case = replace(case, entries=tuple(entries))
        for index, (batch_of, stimulus) in enumerate(kept):
            if isinstance(stimulus, Stimulus):
                shorter = self._shorter(case, kept, index, stimulus)
                kept = [*kept]
                kept[index] = (batch_of, shorter)
        return replace(case, batches=self._join(kept))

    def _still(self, case: Case) -> bool:
        if self.left <= 0:
            return False
        self.left -= 1
        return self._fails(case)

    def _minimal(self, items: Sequence[Item], make: Callable[[Sequence[Item]], Case]) -> list[Item]:
        """Delta debugging (Zeller and Hildebrandt): leave out ever smaller parts."""
        kept = list(items)
        size = max(1, len(kept) // 2)
        while kept and self.left > 0:
            at, shrunk = 0, False
            while at < len(kept):
                fewer = kept[:at] + kept[at + size :]
                if self._still(make(fewer)):
                    kept, shrunk = fewer, True
                else:
                    at += size
            if size > 1:
                size //= 2
            elif not shrunk:
                break
        return kept

    def _shorter(
        self, case: Case, kept: Sequence[Single], index: int, stimulus: Stimulus
    ) -> Stimulus:
        """A shorter frame, and zeros where its bytes do not matter."""
        batch = kept[index][0]

        def fails(frame: bytes) -> bool:
            tried = [*kept]
            tried[index] = (batch, stimulus._replace(frame=frame))
            return self._still(replace(case, batches=self._join(tried)))

        best = stimulus.frame
        least = MIN_WIRE if batch.way is Way.WIRE else 0
        cut = len(best) // 2
        while cut:
            shorter = best[: len(best) - cut]
            if len(shorter) >= least and fails(shorter):
                best = shorter
            else:
                cut //= 2
        size = 16
        while size:
            for at in range(0, len(best), size):
                zeroed = best[:at] + bytes(len(best[at : at + size])) + best[at + size :]
                if zeroed != best and fails(zeroed):
                    best = zeroed
            size = size // 4
        return stimulus._replace(frame=best)


def _apart(singles: Sequence[Single]) -> tuple[Batch, ...]:
    """Batches of one packet each: no packet can disturb another."""
    return tuple(replace(batch, stimuli=(stimulus,)) for batch, stimulus in singles)


def _together(singles: Sequence[Single]) -> tuple[Batch, ...]:
    """Packets of one batch stay in one batch: what matters is what came just before."""
    groups = itertools.groupby(singles, key=lambda single: id(single[0]))
    found: list[Batch] = []
    for _, group in groups:
        members = list(group)
        found.append(replace(members[0][0], stimuli=tuple(s for _, s in members)))
    return tuple(found)

# SPDX-License-Identifier: Apache-2.0
"""Rounds of random cases on two targets, and the report of what differed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from ptf_base.p4info import P4Names

from differential.case import Case
from differential.compare import Difference, Pair
from differential.generate import generate
from differential.shrink import Shrinker

ROUND = 10_000
"""Packets for each set of entries."""


@dataclass
class Result:
    """Sums over all rounds."""

    seed: int
    packets: int = 0
    entries: int = 0
    differences: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.packets} packets, {self.entries} entries, "
            f"{self.differences} differences (seed {self.seed})"
        )


def run(
    pair: Pair,
    names: P4Names,
    seed: int,
    packets: int,
    say: Callable[[str], None],
    *,
    only_round: int | None = None,
    shrink: bool = True,
) -> Result:
    """A round ends at its first difference, which is shrunk and said; the next one goes on."""
    result = Result(seed)
    started = time.monotonic()
    for number in range((packets + ROUND - 1) // ROUND):
        if only_round not in (None, number):
            continue
        size = min(ROUND, packets - number * ROUND)
        case = generate(f"{seed}:{number}", names, size)
        found = pair.run(case)
        result.entries += len(case.entries)
        if found is None:
            result.packets += case.packets
        else:
            done = case.batches if found.batch is None else case.batches[: found.batch + 1]
            result.packets += sum(len(batch.stimuli) for batch in done)
            result.differences += 1
            say(
                f"round {number}: a difference in {found.kind}; again: --seed {seed} "
                f"--packets {packets} --round {number}"
            )
            _explain(pair, case, found, say, shrink=shrink)
    result.seconds = time.monotonic() - started
    return result


def _explain(
    pair: Pair, case: Case, found: Difference, say: Callable[[str], None], *, shrink: bool
) -> None:
    def fails(smaller: Case) -> bool:
        again = pair.run(smaller, only=found.cells)
        return again is not None and again.kind == found.kind

    if shrink:
        shrinker = Shrinker(fails)
        case = shrinker.shrink(case, found.batch)
        again = pair.run(case)
        if again is None:
            say(
                "it does not always come: a race in a target, or the program reads what P4 leaves "
                "undefined, such as a field of an invalid header"
            )
        else:
            found = again
        say(f"the smallest case: {len(case.entries)} entries, {case.packets} packets")
        for entry in case.entries:
            say(f"  {entry}")
        for batch in case.batches:
            for stimulus in batch.stimuli:
                say(f"  {stimulus.describe(batch.way, batch.port)}")
    for line in found.lines:
        say(f"  {line}")

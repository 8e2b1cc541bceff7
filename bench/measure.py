# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: settings of a run, samples taken in rounds, progress, failures."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Logs, sockets and results of quick runs.
BUILD = ROOT / "build" / "bench"

Setting = str | int | float | bool | list[int]


class BenchFailed(Exception):
    """A benchmark cannot be run, or what it measured was not what it meant to measure."""


class SubjectEnded(BenchFailed):
    """What is measured has ended by itself; its last words."""


@dataclass(frozen=True)
class Run:
    """Settings of one run.

    `quick`: smaller and shorter, for a first look and for tests. `subjects`: only those whose names
    have one of these words in them; all if there are none.
    """

    quick: bool
    progress: Callable[[str], None]
    subjects: tuple[str, ...] = ()

    def wanted(self, subject: str) -> bool:
        """Whether a subject takes part."""
        return not self.subjects or any(word in subject for word in self.subjects)

    def pick(self, full: int, quick: int) -> int:
        """One of two sizes."""
        return quick if self.quick else full


@dataclass
class Measured:
    """What a benchmark hands back.

    `samples`: by figure and subject, one a round, so that those of one round can be compared.
    `bases`: the subjects that every other subject of the same figure is compared with.
    """

    settings: dict[str, Setting]
    bases: tuple[str, ...]
    notes: list[str] = field(default_factory=list[str])
    units: dict[str, str] = field(default_factory=dict[str, str])
    samples: dict[tuple[str, str], list[float]] = field(
        default_factory=dict[tuple[str, str], list[float]]
    )

    def add(self, figure: str, subject: str, unit: str, value: float) -> None:
        """Note one sample of this round."""
        self.units[figure] = unit
        self.samples.setdefault((figure, subject), []).append(value)

    def add_all(self, other: Measured) -> None:
        """Take over the samples of another one."""
        self.units.update(other.units)
        for key, values in other.samples.items():
            self.samples.setdefault(key, []).extend(values)


def progress(line: str) -> None:
    """Show what is going on; on a terminal the next line takes its place."""
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
    else:
        print(line, file=sys.stderr, flush=True)


def end_progress() -> None:
    """Leave no half line behind on a terminal."""
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)

# SPDX-License-Identifier: Apache-2.0
"""How many Writes a client made, and how long the target took to answer them."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

__all__ = ["BOUNDS", "WriteStats"]

#: Upper bounds of the classes of latency, in seconds; one more class has what took longer.
BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class WriteStats:
    """Counts since the start.

    updates: inserts, modifies and deletes that were asked for.   failed: those of them that the
    target refused, or of which nobody knows what became.   seconds: latency of all Writes together.
    """

    def __init__(self) -> None:
        self.updates = 0
        self.failed = 0
        self.seconds = 0.0
        self._classes = [0] * (len(BOUNDS) + 1)

    def add(self, seconds: float, updates: int, failed: int) -> None:
        """One Write was answered, or given up."""
        self.updates += updates
        self.failed += failed
        self.seconds += seconds
        self._classes[bisect_left(BOUNDS, seconds)] += 1

    @property
    def batches(self) -> int:
        """How many Writes there were."""
        return sum(self._classes)

    def at_most(self) -> list[tuple[float, int]]:
        """For each bound, how many Writes took that long at most."""
        return list(zip(BOUNDS, accumulate(self._classes), strict=False))

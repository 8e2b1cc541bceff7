# SPDX-License-Identifier: Apache-2.0
"""Keeps Python's cyclic garbage collector away from connections.

A full collection visits every container object, which takes a third of a second for a million
connections. They are in no cycles: they end when the tracker lets go of them. So what a full
collection leaves alive is *frozen*: the collector does not visit it any more, and what it still
visits, which came since the last time, stays small however many connections there are.

What was frozen and becomes cyclic garbage later is never freed. That is little, because it has to
be alive at that moment, and nothing is frozen while there are few connections.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

#: With fewer connections than this nothing is frozen: collecting them takes some milliseconds.
FEW = 8192


class Collector:
    """Between `start` and `stop`. `live` gives the number of connections."""

    def __init__(self, live: Callable[[], int], few: int = FEW) -> None:
        self._live = live
        self._few = few
        self._made = 0

    def start(self) -> None:
        """What is there before the first connection is frozen as well: modules, mostly."""
        gc.collect()
        gc.freeze()
        gc.callbacks.append(self._collected)

    def stop(self) -> None:
        """Collect as usual from now on; what was frozen stays so."""
        gc.callbacks.remove(self._collected)

    def connection_made(self) -> None:
        """A connection was made: each `few` of them are collected before they are too many."""
        self._made += 1
        if self._made >= self._few:
            self._made = 0
            if self._live() >= self._few:
                gc.collect()

    def _collected(self, phase: str, info: dict[str, int]) -> None:
        if phase == "stop" and info["generation"] == 2 and self._live() >= self._few:
            gc.freeze()

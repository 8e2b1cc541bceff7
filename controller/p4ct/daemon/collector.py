# SPDX-License-Identifier: Apache-2.0
"""Keeps Python's cyclic garbage collector away from connections.

A full collection visits every container object, which takes a third of a second for a million
connections. They are in no cycles: they end when the tracker lets go of them. So each time that
many of them have come, all that is alive is *frozen*: the collector does not visit it any more, and
what it still visits stays small however many connections there are.

What was frozen and becomes cyclic garbage later is never freed. That is little, because it has to
be alive at that moment, and nothing is frozen while there are few connections.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

#: Connections that come between two freezes: collecting them takes some milliseconds.
STEP = 8192


class Collector:
    """Call `connection_made` for each new connection. `live` gives the number of connections."""

    def __init__(self, live: Callable[[], int], step: int = STEP) -> None:
        self._live = live
        self._step = step
        self._made = 0

    def start(self) -> None:
        """What is there before the first connection stays as well: modules, mostly."""
        gc.collect()
        gc.freeze()

    def connection_made(self) -> None:
        """A connection was made; every `step` of them the old are taken out of the collector."""
        self._made += 1
        if self._made >= self._step:
            self._made = 0
            if self._live() >= self._step:
                gc.collect()
                gc.freeze()

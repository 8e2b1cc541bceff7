# SPDX-License-Identifier: Apache-2.0
"""Long work in the event loop, a little at a time."""

from __future__ import annotations

import asyncio

__all__ = ["Pace"]


class Pace:
    """Called between the steps of long work: as long as a step took, the loop is for others.

    So packets keep at least half of the time, however many of them wait; a bare `sleep(0)` would
    give each step one event of theirs.
    """

    def __init__(self) -> None:
        self._clock = asyncio.get_running_loop().time
        self._began = self._clock()

    async def __call__(self) -> None:
        """Let the others have their turn."""
        await asyncio.sleep(self._clock() - self._began)
        self._began = self._clock()

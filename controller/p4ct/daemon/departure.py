# SPDX-License-Identifier: Apache-2.0
"""Waiting until records have left the switch, however many they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from p4ct.offload.record import Leaving, RecordState

__all__ = ["Departure"]


class Departure:
    """Records that are on their way out; `left`: how many of them are still there."""

    def __init__(self) -> None:
        self.left = 0
        self._records: list[Leaving] = []
        self._progress = asyncio.Event()

    def add(self, records: Iterable[Leaving]) -> None:
        """Wait for these, too, unless they are gone."""
        for record in records:
            if record.state is RecordState.GONE:
                continue
            record.on_gone.append(self._gone)
            self._records.append(record)
            self.left += 1

    def _gone(self) -> None:
        self.left -= 1
        self._progress.set()

    async def complete(self, patience: float, goes_on: Callable[[], bool] = lambda: False) -> None:
        """Until all are gone.

        Raises TimeoutError if for `patience` seconds none went, and nothing `goes_on` either that
        they wait for.
        """
        try:
            while self.left:
                self._progress.clear()
                try:
                    async with asyncio.timeout(patience):
                        await self._progress.wait()
                except TimeoutError:
                    if not goes_on():
                        raise
        finally:
            for record in self._records if self.left else ():
                if self._gone in record.on_gone:  # nobody waits any more
                    record.on_gone.remove(self._gone)
            self._records.clear()

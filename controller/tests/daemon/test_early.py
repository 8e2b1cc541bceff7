# SPDX-License-Identifier: Apache-2.0
"""Punts from before the first reconciliation, while more come than are handled."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from p4ct.daemon.controller import EARLY_PER_STEP
from p4ct.eswitch.entries import PuntInfo

from .bench import controller_of, softswitch, until, write_config

# The first push compiles the program.
pytestmark = pytest.mark.timeout(180)

INFO = PuntInfo(1, 1, 2, 4, 0, 0, 0, 0, 0, 0, 60)
WAITING = 4 * EARLY_PER_STEP


def test_a_start_under_load_ends(tmp_path: Path) -> None:
    """Twice as many come as a step handles, for as long as the start lasts; none is overtaken."""

    async def main(address: str) -> None:
        controller = controller_of(write_config(tmp_path, address))
        handled: list[int] = []
        loads: list[asyncio.Task[None]] = []
        number = 0

        def punts(count: int) -> None:
            nonlocal number
            for _ in range(count):
                number += 1
                controller._punt(b"%d" % number, INFO)  # pyright: ignore[reportPrivateUsage]

        async def load() -> None:
            while not controller.usable:
                punts(2 * EARLY_PER_STEP)
                await asyncio.sleep(0)

        def handle(payload: bytes, info: PuntInfo, _now: float) -> None:
            if info is not INFO:
                return  # the switch's own
            if not handled:
                loads.append(asyncio.create_task(load()))
            handled.append(int(payload))

        controller.slow_path.punt = handle  # type: ignore[method-assign]
        punts(WAITING)
        assert handled == []
        stop = asyncio.Event()
        task = asyncio.create_task(controller.run(stop))
        try:
            await until(lambda: controller.usable or task.done(), "the start ends", 60)
        finally:
            for item in loads:
                item.cancel()
            stop.set()
            await task
        assert len(handled) > WAITING, "there was no load"
        assert handled == sorted(handled)

    with softswitch() as (address, _):
        asyncio.run(main(address))

# SPDX-License-Identifier: Apache-2.0
"""Long work gives way to others, and whoever waits for removals waits as long as they go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from p4ct.daemon.departure import Departure
from p4ct.offload.record import RecordState
from p4ct.pace import Pace


class Leaver:
    """Something in the switch."""

    def __init__(self) -> None:
        self.state = RecordState.LEAVING
        self.on_gone: list[Callable[[], None]] = []

    def go(self) -> None:
        self.state = RecordState.GONE
        for callback in self.on_gone:
            callback()


def test_others_have_their_turn_between_the_steps() -> None:
    order: list[str] = []

    async def other() -> None:
        for _ in range(3):
            order.append("other")
            await asyncio.sleep(0)

    async def main() -> None:
        task = asyncio.create_task(other())
        pace = Pace()
        for _ in range(3):
            order.append("step")
            await pace()
        await task

    asyncio.run(main())
    assert "".join(word[0] for word in order).startswith("so")
    assert "ss" not in "".join(word[0] for word in order)


def test_a_departure_is_complete_when_the_last_has_gone() -> None:
    async def main() -> None:
        leavers = [Leaver() for _ in range(3)]
        leavers[0].go()
        departure = Departure()
        departure.add(leavers)
        assert departure.left == 2
        waiting = asyncio.create_task(departure.complete(60))
        for leaver in leavers[1:]:
            await asyncio.sleep(0)
            assert not waiting.done()
            leaver.go()
        await waiting
        assert departure.left == 0

    asyncio.run(main())


def test_patience_goes_on_with_what_a_departure_waits_for() -> None:
    async def main() -> None:
        leaver = Leaver()
        departure = Departure()
        departure.add([leaver])
        asked: list[int] = []

        def goes_on() -> bool:
            asked.append(departure.left)
            if len(asked) == 3:
                leaver.go()
            return len(asked) < 4

        await departure.complete(0.01, goes_on)
        assert asked == [1, 1, 1]
        departure.add([Leaver()])
        with pytest.raises(TimeoutError):
            await departure.complete(0.01, goes_on)
        assert len(asked) == 4

    asyncio.run(main())


def test_without_progress_patience_ends() -> None:
    async def main() -> None:
        leavers = [Leaver() for _ in range(2)]
        departure = Departure()
        departure.add(leavers)
        leavers[0].go()
        with pytest.raises(TimeoutError):
            await departure.complete(0.01)
        assert departure.left == 1
        assert leavers[1].on_gone == []

    asyncio.run(main())

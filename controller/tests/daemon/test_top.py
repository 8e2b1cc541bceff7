# SPDX-License-Identifier: Apache-2.0
"""`top`: rates between two looks, with a clock that moves when the test says so."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from p4ct.daemon.commands import CommandError, carry_out
from p4ct.daemon.controller import Controller
from p4ct.daemon.top import watch

from ..offload.model import Tcp, World, learn
from .bench import controller_of, write_config


def records(number: int) -> World:
    """A world with so many connections in its eswitch; the first is the busiest."""
    world = World()
    learn(world)
    for n in range(number):
        tcp = Tcp(world, sport=40000 + n).offload()
        for _ in range(number - n):
            tcp.send("vm1", payload=b"x" * 46)
    world.refresh()
    return world


def watched(tmp_path: Path, change: Any, most: int = 10, number: int = 3) -> dict[str, Any]:
    """What `top` says of an interval of 2 seconds in which `change` happens."""

    async def main() -> dict[str, Any]:
        controller = controller_of(write_config(tmp_path))
        now = 100.0
        controller.clock = lambda: now

        async def wait(seconds: float) -> None:
            nonlocal now
            now += seconds
            change(controller)

        return await watch(controller, 2.0, most, wait)

    return asyncio.run(main())


def test_rates_are_a_second(tmp_path: Path) -> None:
    def change(controller: Controller) -> None:
        slow, manager = controller.slow_path, controller.manager
        slow.punted = (30, 3000)
        slow.punt_counts.update({(1, 2): 20, (1, 4): 6, (3, 2): 4})
        slow.drops["packet-out queue full"] += 5
        controller.pipeline.drops["action drop"] += 7
        manager.forwarded = (970, 97000)
        manager.installed_total += 8
        manager.removed.update({"flushed": 1, "idle": 2})
        manager.failed["RESOURCE_EXHAUSTED"] += 1
        controller.connections_seen += 10

    answer = watched(tmp_path, change)
    assert answer["seconds"] == 2.0
    assert answer["rates"] == {
        "punts": 15.0,
        "slow_path_bytes": 1500.0,
        "slow_path_sent": 0.0,
        "hardware_packets": 485.0,
        "hardware_bytes": 48500.0,
        "connections": 5.0,
        "installs": 4.0,
        "removals": 1.5,
        "failures": 0.5,
        "drops": 6.0,
        "policer_drops": 0.0,
    }
    assert answer["hardware_share"] == 0.97
    assert answer["vports"] == [
        {"vport": "vm1", "punts": 13.0, "reason": "MISS"},
        {"vport": "ext", "punts": 2.0, "reason": "MISS"},
    ]
    assert answer["connections"] == {"total": 0, "limit": 262144}
    assert answer["target"]["connected"] is False


def test_nothing_happens(tmp_path: Path) -> None:
    answer = watched(tmp_path, lambda _: None)
    assert not any(answer["rates"].values())
    assert answer["hardware_share"] is None
    assert (answer["busiest"], answer["vports"], answer["reasons"]) == ([], [], [])


def test_the_busiest_first_and_no_more_than_asked_for(tmp_path: Path) -> None:
    world = records(5)

    def change(controller: Controller) -> None:
        controller.manager.records = world.manager.records
        controller.tracker = world.tracker
        controller.manager.tally.by_reason.update({f"reason {n}": n for n in range(1, 9)})

    answer = watched(tmp_path, change, most=2)
    assert [item["sport"] for item in answer["busiest"]] == [40000, 40001]
    first = answer["busiest"][0]
    (record, *_) = world.manager.records.values()
    packets, octets = (sum(column) for column in zip(*record.last, strict=True))
    assert (first["packets"], first["bytes"]) == (packets / 2, octets / 2)
    assert (first["src"], first["dst"], first["dport"]) == ("10.0.0.1", "10.0.0.3", 80)
    assert (first["in_port"], first["output"], first["zones"]) == ("vm1", "ext", [1])
    total = sum(r.last[0][0] + r.last[1][0] for r in world.manager.records.values())
    assert answer["zones"] == [
        {"zone": 1, "connections": 5, "packets": total / 2, "bytes": answer["zones"][0]["bytes"]}
    ]
    assert [item["reason"] for item in answer["reasons"]] == ["reason 8", "reason 7"]


def test_a_switch_that_counts_from_zero_again_has_no_negative_rate(tmp_path: Path) -> None:
    world = records(1)

    async def main() -> dict[str, Any]:
        controller = controller_of(write_config(tmp_path))
        controller.manager.records = world.manager.records
        controller.manager.forwarded = (100, 1000)

        async def wait(_: float) -> None:
            controller.manager.forwarded = (5, 50)
            (record,) = world.manager.records.values()
            record.last = [(0, 0), (0, 0)]

        return await watch(controller, 1.0, 5, wait)

    answer = asyncio.run(main())
    assert answer["rates"]["hardware_packets"] == 0
    assert answer["busiest"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seconds": 0}, "Expected `float` >= 0.1"),
        ({"seconds": 3600}, "Expected `float` <= 60"),
        ({"most": 0}, "Expected `int` >= 1"),
        ({"most": 10**6}, "Expected `int` <= 1000"),
        ({"second": 1}, "unknown field `second`"),
    ],
)
def test_arguments_are_bounded(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    async def main() -> None:
        await carry_out(controller_of(write_config(tmp_path)), "top", arguments)

    with pytest.raises(CommandError, match=message):
        asyncio.run(main())

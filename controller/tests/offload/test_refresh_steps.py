# SPDX-License-Identifier: Apache-2.0
"""Counters are credited in steps, and packets come in between."""

from __future__ import annotations

from typing import Any

import pytest
from p4ct.offload import readings

from .model import ACK, RST, Tcp, World, finish, learn


@pytest.fixture
def world() -> World:
    made = World()
    learn(made)
    return made


def test_packets_between_the_steps(world: World, monkeypatch: Any) -> None:
    """One connection ends after the reading and before it is credited; nothing counts twice."""
    monkeypatch.setattr(readings, "CREDITED_PER_STEP", 1)
    talks = [Tcp(world, sport=40000 + n).offload() for n in range(3)]
    for talk in talks:
        assert talk.send("vm1", ACK, b"by hardware") == "hardware"
    world.auto_round = False
    steps = 0

    async def pause() -> None:
        nonlocal steps
        steps += 1
        if steps == 1:
            assert talks[1].send("vm1", ACK, b"after the reading") == "hardware"
            assert talks[2].send("vm1", ACK, b"after the reading") == "hardware"
            talks[2].send("vm1", RST | ACK)

    finish(readings.refresh(world.manager, world.switch, world.clock, pause))
    assert steps == 3
    connections = {c.original.sport: c for c in world.connections()}
    # A full count but for what came after the reading.
    assert [
        connections[40000 + n].packets[0] + connections[40000 + n].hw_packets[0] for n in (0, 1)
    ] == [talks[0].sent["vm1"][0], talks[1].sent["vm1"][0] - 1]
    ended = next(r for r in world.manager.records.values() if r.keys and r.keys[0].sport == 40002)
    assert ended.last == [(0, 0), (0, 0)], "its reading is of when it has drained"
    connection = ended.members[0].connection
    world.rounds()
    assert connection.packets[0] + connection.hw_packets[0] == talks[2].sent["vm1"][0]
    world.refresh()
    assert (
        connections[40001].packets[0] + connections[40001].hw_packets[0]
        == (talks[1].sent["vm1"][0])
    )


def test_a_packet_in_between_is_the_later_sign_of_life(world: World, monkeypatch: Any) -> None:
    monkeypatch.setattr(readings, "CREDITED_PER_STEP", 1)
    talks = [Tcp(world, sport=40000 + n).offload() for n in range(2)]
    talks[1].send("vm1", ACK, b"counts")
    last = next(r for r in world.manager.records.values() if r.keys and r.keys[0].sport == 40001)

    async def pause() -> None:
        if not last.last[0][0]:
            world.now += 0.5
            last.used(world.now)

    finish(readings.refresh(world.manager, world.switch, world.clock, pause))
    assert last.last[0][0]
    assert last.last_seen == world.now

# SPDX-License-Identifier: Apache-2.0
"""Rounds and reconciliations that break off in the middle, and what a dead controller left."""

from __future__ import annotations

from typing import Any

import pytest
from p4ct.eswitch.entries import CtKey, Delete, EswitchError
from p4ct.offload.decide import Mode
from p4ct.offload.manager import OffloadOptions

from .model import ACK, DENY_ALL, FIN, SYN, ModelSwitch, Tcp, World, learn


class Failing(ModelSwitch):
    """`fails` has names of methods that raise; `keeps` makes every delete of an entry fail."""

    def __init__(self) -> None:
        super().__init__()
        self.fails: set[str] = set()
        self.keeps = False

    async def zero_connection_counters(self, indices: Any) -> None:
        self._maybe("zero_connection_counters")
        await super().zero_connection_counters(indices)

    async def read_connection_counters(self, indices: Any) -> Any:
        self._maybe("read_connection_counters")
        return await super().read_connection_counters(indices)

    async def read_path_counters(self, ids: Any) -> Any:
        self._maybe("read_path_counters")
        return await super().read_path_counters(ids)

    def _maybe(self, name: str) -> None:
        if name in self.fails:
            raise EswitchError("UNAVAILABLE", name)

    def _carry_out(self, op: Any) -> str:
        if self.keeps and isinstance(op, Delete) and isinstance(op.entry, CtKey):
            return "INTERNAL"
        return super()._carry_out(op)


@pytest.fixture
def world() -> World:
    made = World(switch=Failing())
    learn(made)
    return made


def gone_calls(world: World) -> list[int]:
    calls: list[int] = []
    for record in list(world.manager.records.values()):
        record.on_gone.append(lambda: calls.append(1))
    return calls


def deny(world: World) -> None:
    world.change_policy(DENY_ALL)


def test_an_entry_that_stays_is_not_reported_gone(world: World) -> None:
    Tcp(world).offload()
    calls = gone_calls(world)
    world.switch.keeps = True
    deny(world)
    with pytest.raises(EswitchError, match="could not be removed"):
        world.rounds()
    with pytest.raises(EswitchError, match="could not be removed"):
        world.reconcile()
    assert calls == []
    world.switch.keeps = False
    world.reconcile()
    assert calls == [1]
    assert not world.switch.ct


def test_a_reconciliation_that_breaks_off_forgets_no_waiter(world: World) -> None:
    tcp = Tcp(world).offload()
    calls = gone_calls(world)
    world.auto_round = False
    tcp.send("vm1", FIN | ACK)
    world.delivered.clear()
    tcp.send("ext", FIN | ACK)
    assert world.slow_path.held == 1
    world.switch.fails = {"read_connection_counters"}
    for attempt in (world.rounds, world.reconcile, world.reconcile):
        with pytest.raises(EswitchError):
            attempt()
        assert calls == []
    world.switch.fails = set()
    world.reconcile()
    assert calls == [1]
    assert world.slow_path.held == 0
    assert len(world.delivered) == 1


@pytest.mark.parametrize("step", ["read_path_counters", "zero_connection_counters"])
def test_cells_that_a_broken_removal_left_are_not_counted_again(world: World, step: str) -> None:
    tcp = Tcp(world).offload()
    for _ in range(7):
        tcp.send("vm1", ACK, b"counted once")
    world.switch.fails = {step}
    deny(world)
    with pytest.raises(EswitchError):
        world.rounds()
    assert world.switch.cells, "the removal was to break off before the cells were zeroed"
    world.switch.fails = set()
    assert not world.switch.ct

    heir = World(switch=world.switch)  # another controller, after this one died
    learn(heir)
    heir.reconcile()
    second = Tcp(heir, sport=40001).offload()
    second.send("vm1", ACK, b"mine")
    heir.refresh()
    (connection,) = heir.connections()
    assert [connection.packets[d] + connection.hw_packets[d] for d in (0, 1)] == [
        second.sent["vm1"][0],
        second.sent["ext"][0],
    ]
    last_flow = next(f for f in heir.pipeline.flows if f.table == 2)
    software_and_hardware = last_flow.n_packets + last_flow.hw_packets
    assert software_and_hardware == second.sent["vm1"][0] + second.sent["ext"][0]


def broken(*_: object) -> None:
    raise ZeroDivisionError("a defect")


RELEASES = [World.rounds, World.reconcile]


@pytest.mark.parametrize("release", RELEASES)
def test_a_defect_in_a_packet_that_waited_to_be_resolved(release: Any, monkeypatch: Any) -> None:
    world = World(options=OffloadOptions(mode=Mode.ASSUME))
    learn(world)
    tcp = Tcp(world)
    tcp.send("vm1", SYN)
    tcp.send("ext", SYN | ACK)
    world.auto_round = False
    tcp.send("vm1", SYN | ACK)
    assert world.slow_path.held == 1
    with monkeypatch.context() as patch:
        patch.setattr(world.pipeline, "process", broken)
        release(world)
    assert world.slow_path.drops == {"internal error": 1}
    assert world.slow_path.held == 0
    world.auto_round = True
    assert Tcp(world, sport=40001).offload().send("vm1", ACK, b"goes on") == "hardware"


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("ends", [False, True])
def test_a_defect_in_a_packet_that_waited_to_be_sent(
    release: Any, ends: bool, monkeypatch: Any
) -> None:
    world = World(options=OffloadOptions(mode=Mode.ASSUME))
    learn(world)
    tcp = Tcp(world)
    if ends:
        tcp.offload()
        world.auto_round = False
        tcp.send("vm1", FIN | ACK)
        tcp.send("ext", FIN | ACK)
    else:
        tcp.send("vm1", SYN)
        world.auto_round = False
        tcp.send("ext", SYN | ACK)
    assert world.slow_path.held == 1
    with monkeypatch.context() as patch:
        patch.setattr(world.slow_path.wire, "deliver", broken)
        release(world)
    assert world.slow_path.drops == {"internal error": 1}
    assert world.slow_path.held == 0
    world.auto_round = True
    assert Tcp(world, sport=40001).offload().send("vm1", ACK, b"goes on") == "hardware"

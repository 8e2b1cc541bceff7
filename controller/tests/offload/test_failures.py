# SPDX-License-Identifier: Apache-2.0
"""What the switch refuses, forgets or does not answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from p4ct.eswitch.entries import EntryError, EswitchError, Op
from p4ct.offload import reasons
from p4ct.offload.manager import OffloadOptions

from .model import ACK, DENY_ALL, FIN, POLICY, ModelSwitch, Tcp, World, learn


@pytest.fixture
def world() -> World:
    made = World()
    learn(made)
    return made


@pytest.mark.parametrize("direction", [0, 1])
def test_one_refused_entry_takes_the_other_with_it(world: World, direction: int) -> None:
    world.switch.refuse = {"CtEntry": "RESOURCE_EXHAUSTED"}
    world.switch.refuse_direction = direction
    tcp = Tcp(world).open()
    assert world.switch.empty
    (connection,) = world.connections()
    assert connection.offload is None
    assert "RESOURCE_EXHAUSTED" in connection.offload_reason
    assert world.manager.pool.used == 0
    assert tcp.send("vm1", ACK, b"by software") == "software"
    assert tcp.send("ext", ACK, b"as well") == "software"
    assert "RESOURCE_EXHAUSTED" in connection.offload_reason
    assert world.manager.failed == {"RESOURCE_EXHAUSTED": 1}  # not asked again with every packet
    world.switch.refuse = {}
    world.later(1.5)
    tcp.send("vm1", ACK, b"later")
    tcp.send("ext", ACK, b"later")
    assert tcp.send("vm1", ACK, b"it works") == "hardware"


@pytest.mark.parametrize("row", ["L2PairEntry", "NextHopEntry"])
def test_a_refused_row_leaves_nothing(world: World, row: str) -> None:
    world.switch.refuse = {row: "RESOURCE_EXHAUSTED"}
    Tcp(world).open()
    assert world.switch.empty
    world.switch.refuse = {}
    tcp = Tcp(world, sport=40001).offload()
    assert tcp.send("vm1", ACK, b"now it works") == "hardware"


def test_a_foreign_entry_under_our_key_is_reported_in_the_switchs_words(world: World) -> None:
    world.switch.refuse = {"CtEntry": "ALREADY_EXISTS"}
    world.switch.refuse_direction = 0
    Tcp(world).open()
    (connection,) = world.connections()
    assert connection.offload_reason == f"{reasons.INSTALL_FAILED}: ALREADY_EXISTS by the model"


def test_full_is_pending_and_the_next_free_slot_is_taken() -> None:
    world = World(options=OffloadOptions(capacity=1))
    learn(world)
    first = Tcp(world, sport=1).offload()
    second = Tcp(world, sport=2).offload()
    waiting = [c for c in world.connections() if c.offload is None]
    assert [c.offload_reason for c in waiting] == [f"{reasons.FULL} (1 of 1 records)"]
    assert len(world.manager.pending) == 1
    first.close()
    assert len(world.manager.pending) == 0
    assert second.send("vm1", ACK, b"my turn") == "hardware"


def test_both_entries_of_a_record_fit_one_write(world: World) -> None:
    """The client sends at most 1000 updates in one Write; a record must not be split over two."""
    world.auto_round = False
    sizes: list[int] = []
    write = world.switch.write

    async def watch(ops: Sequence[Op]) -> list[EntryError | None]:
        sizes.append(len(ops))
        return await write(ops)

    world.switch.write = watch  # type: ignore[method-assign]
    open_ones = [Tcp(world, sport=1000 + n).open() for n in range(300)]
    world.rounds()
    assert len(world.switch.ct) == 600
    for tcp in open_ones:
        tcp.send("vm1", FIN | ACK)
    world.rounds()
    for tcp in open_ones:
        tcp.send("ext", FIN | ACK)
    world.rounds()
    assert world.switch.empty
    assert max(sizes) <= 1000


def test_a_fin_while_the_entries_are_being_written(world: World) -> None:
    world.auto_round = False
    tcp = Tcp(world).open()
    tcp.send("vm1", FIN | ACK)
    tcp.send("ext", FIN | ACK)
    held = len(world.delivered)
    world.rounds()
    assert len(world.delivered) == held + 1
    assert world.switch.empty
    assert world.manager.of_connection == {}


def test_policy_that_changes_while_the_entries_are_being_written(world: World) -> None:
    world.auto_round = False
    Tcp(world).open()
    changed: list[bool] = []

    def change(_: object) -> None:
        if not changed:
            changed.append(True)
            world.change_policy(DENY_ALL)

    world.switch.between = change
    world.rounds()
    assert changed
    assert world.switch.empty


def test_a_packet_held_for_a_removal_is_not_sent_under_a_new_policy(world: World) -> None:
    tcp = Tcp(world).offload()
    tcp.send("vm1", FIN | ACK)
    world.auto_round = False
    world.delivered.clear()
    tcp.send("ext", FIN | ACK)
    world.change_policy(DENY_ALL)
    world.rounds()
    assert world.delivered == []
    assert world.slow_path.drops == {"policy changed while the packet was held": 1}


def test_policy_change_cuts_only_what_is_denied_now(world: World) -> None:
    Tcp(world, sport=1).offload()
    kept = Tcp(world, sport=2, v6=True).offload()
    leaving = world.change_policy(
        POLICY.replace("table=0,priority=50,ip,actions=ct(zone=1,table=1)\n", "")
    )
    assert len(leaving) == 1
    world.rounds()
    assert {key.version for key in world.switch.ct} == {6}
    assert kept.send("vm1", ACK, b"still allowed") == "hardware"


def test_a_switch_that_dies_is_reported_and_reconciled(world: World) -> None:
    tcp = Tcp(world).offload()
    world.auto_round = False
    tcp.send("vm1", FIN | ACK)
    tcp.send("ext", FIN | ACK)
    world.switch.dead = True
    with pytest.raises(EswitchError):
        world.rounds()
    world.switch.dead = False
    world.delivered.clear()
    world.reconcile()
    world.rounds()
    assert world.switch.empty
    assert len(world.delivered) == 1  # the FIN that waited


def test_a_switch_that_comes_back_empty(world: World) -> None:
    tcp = Tcp(world).offload()
    world.switch.ct.clear()
    world.switch.l2.clear()
    world.switch.hops.clear()
    world.switch.cells.clear()
    drift = world.reconcile()
    assert drift.lost == 1
    (connection,) = world.connections()
    assert connection.offload is None
    tcp.send("vm1", ACK, b"up")
    tcp.send("ext", ACK, b"up, too")
    assert tcp.send("vm1", ACK, b"and down") == "hardware"


def restarted(old: World, policy: str = POLICY) -> World:
    """Another controller on the same switch, which knows nothing."""
    return World(switch=old.switch, policy=policy)


def test_a_restart_keeps_the_connection_and_its_counters(world: World) -> None:
    tcp = Tcp(world).offload()
    tcp.send("vm1", ACK, b"before")
    new = restarted(world)
    drift = new.reconcile()
    assert drift.kept == 1
    tcp.world = new
    assert tcp.send("vm1", ACK, b"in between") == "hardware"
    tcp.close()
    (connection,) = new.connections()
    totals = [connection.packets[d] + connection.hw_packets[d] for d in (0, 1)]
    # What software handled after the install and before the restart is not in the metadata.
    handled_meanwhile = 0
    assert totals[0] == tcp.sent["vm1"][0] - handled_meanwhile
    assert totals[1] == tcp.sent["ext"][0]
    assert new.switch.empty


def test_a_restart_with_another_policy_removes_first(world: World) -> None:
    Tcp(world).offload()
    new = restarted(world, DENY_ALL)
    drift = new.reconcile()
    assert drift.kept == 0
    assert new.switch.empty


@pytest.mark.parametrize("direction", [0, 1])
def test_a_restart_removes_half_a_record(world: World, direction: int) -> None:
    Tcp(world).offload()
    victim = next(k for k, e in world.switch.ct.items() if e.action.direction == direction)
    del world.switch.ct[victim]
    new = restarted(world)
    drift = new.reconcile()
    assert drift.removed == {"half a record": 1}
    assert new.switch.empty


def test_a_restart_does_not_guess_at_foreign_metadata(world: World) -> None:
    Tcp(world).offload()
    for key, entry in list(world.switch.ct.items()):
        world.switch.ct[key] = type(entry)(key, entry.action, entry.idle_timeout_ns, b"\x01other")
    new = restarted(world)
    assert new.reconcile().removed == {"metadata of another controller": 1}
    assert new.switch.empty


def test_reconciling_twice_changes_nothing(world: World) -> None:
    Tcp(world).offload()
    before = dict(world.switch.ct)
    assert world.reconcile().kept == 1
    first = {k: e.action for k, e in world.switch.ct.items()}
    assert world.reconcile().kept == 1
    second = {k: replace(e.action, path=0) for k, e in world.switch.ct.items()}
    assert second == {k: replace(a, path=0) for k, a in first.items()}
    assert set(before) == set(first)


def test_an_empty_switch_model_is_empty() -> None:
    assert ModelSwitch().empty

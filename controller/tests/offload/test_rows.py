# SPDX-License-Identifier: Apache-2.0
"""Shared rows, numbers and zones: what stays behind would be taken for something else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from p4ct.eswitch.entries import (
    Counts,
    CtDrain,
    CtEntry,
    CtForward,
    CtKey,
    Delete,
    EntryError,
    EswitchError,
    Insert,
    L2PairEntry,
    NextHopEntry,
    Op,
)
from p4ct.eswitch.enums import VlanOp
from p4ct.offload.manager import OffloadOptions

from .model import ACK, MAC, POLICY, ModelSwitch, Tcp, World, learn

OTHER_MAC = bytes([2, 0, 0, 0, 0, 9])
SIZE = 65536
TWO_ZONES = """
table=0,priority=100,arp,actions=NORMAL
table=0,priority=50,ip,actions=ct(zone=1,table=1)
table=1,priority=90,ct_state=+trk+est,ip,actions=ct(zone=2,table=2)
table=1,priority=80,ct_state=+trk+new,ip,actions=ct(commit,zone=1),ct(zone=2,table=2)
table=2,priority=90,ct_state=+trk+est,ip,actions=goto_table:3
table=2,priority=80,ct_state=+trk+new,ip,actions=ct(commit,zone=2),goto_table:3
table=3,priority=0,actions=NORMAL
"""


class Unsure(ModelSwitch):
    """`lose`: the next write of new entries is carried out, but its answer does not arrive.
    `keep_rows`: rows cannot be deleted. It has counter cells for SIZE connections."""

    def __init__(self) -> None:
        super().__init__()
        self.lose = False
        self.keep_rows = False

    async def write(self, ops: Sequence[Op]) -> list[EntryError | None]:
        answers = await super().write(ops)
        if self.lose and any(isinstance(op, Insert) for op in ops):
            self.lose = False
            lost = "DEADLINE_EXCEEDED"
            return [EntryError(op, lost, "no answer", unknown_outcome=True) for op in ops]
        return answers

    def _carry_out(self, op: Op) -> str:
        is_row = isinstance(op.entry, L2PairEntry | NextHopEntry)
        if self.keep_rows and is_row and isinstance(op, Delete):
            return "INTERNAL"
        return super()._carry_out(op)

    async def read_connection_counters(
        self, indices: Sequence[int]
    ) -> dict[int, tuple[Counts, Counts]]:
        if any(index >= SIZE for index in indices):
            raise EswitchError("OUT_OF_RANGE", "no such cell")
        return await super().read_connection_counters(indices)


@pytest.fixture
def switch() -> Unsure:
    return Unsure()


@pytest.fixture
def world(switch: Unsure) -> World:
    made = World(switch=switch)
    learn(made)
    return made


@pytest.fixture
def other_mac() -> Iterator[None]:
    """Within: a station that was not there before has the uplink's address."""
    before, MAC["ext"] = MAC["ext"], OTHER_MAC
    yield
    MAC["ext"] = before


def settle(world: World) -> None:
    """Rounds as the controller runs them: one that breaks off is followed by a reconciliation."""
    for _ in range(5):
        try:
            world.rounds()
            return
        except EswitchError:
            world.reconcile()
    raise AssertionError("rounds and reconciliations never end")


def test_a_write_whose_answer_is_lost_is_looked_up(world: World, switch: Unsure) -> None:
    world.auto_round = False
    tcp = Tcp(world).open()
    switch.lose = True
    with pytest.raises(EswitchError, match="not known"):
        world.rounds()
    world.reconcile()
    settle(world)
    assert tcp.send("vm1", ACK, b"the entries were written after all") == "hardware"
    world.auto_round = True
    tcp.close()
    assert switch.empty


def test_rows_that_stayed_behind_are_not_used_for_another_next_hop(
    world: World, switch: Unsure, other_mac: None
) -> None:
    MAC["ext"] = bytes([2, 0, 0, 0, 0, 2])
    world.auto_round = False
    first = Tcp(world).open()
    switch.lose = True
    settle(world)
    MAC["ext"] = OTHER_MAC
    learn(world)
    second = Tcp(world, sport=first.port["vm1"] + 1).open()
    settle(world)
    world.delivered.clear()
    assert second.send("vm1", ACK, b"question") == "hardware"
    assert [port for port, _ in world.delivered] == [3]


def test_a_row_that_cannot_be_deleted_is_not_forgotten(world: World, switch: Unsure) -> None:
    world.auto_round = False
    Tcp(world).open()
    world.rounds()
    switch.keep_rows = True
    world.tracker.remove(world.connections()[0], world.now)
    with pytest.raises(EswitchError, match="could not be removed"):
        world.rounds()
    with pytest.raises(EswitchError, match="could not be removed"):
        world.reconcile()
    switch.keep_rows = False
    world.reconcile()
    assert switch.empty


@pytest.mark.parametrize(
    "strays",
    [
        [NextHopEntry(1, "drop")],
        [
            NextHopEntry(1, "output", port=3, vlan_op=VlanOp.POP),
            NextHopEntry(2, "output", port=3, vlan_op=VlanOp.POP),
        ],
    ],
)
def test_next_hops_of_somebody_else_go(
    world: World, switch: Unsure, strays: list[NextHopEntry]
) -> None:
    switch.hops = {hop.next_hop: hop for hop in strays}
    world.reconcile()
    assert switch.hops == {}
    tcp = Tcp(world).offload()
    world.delivered.clear()
    assert tcp.send("vm1", ACK, b"where it belongs") == "hardware"
    assert [port for port, _ in world.delivered] == [3]


def test_two_mac_pairs_under_one_number_do_not_both_stay(world: World, switch: Unsure) -> None:
    Tcp(world).offload()
    ours = next(iter(switch.l2.values()))
    key = (ours.vport, OTHER_MAC, ours.eth_dst)
    switch.l2[key] = L2PairEntry(*key, ours.l2_id)
    world.reconcile()
    assert key not in switch.l2


def test_a_row_that_appears_beside_us_is_found_before_it_is_used(
    world: World, switch: Unsure
) -> None:
    switch.hops[1] = NextHopEntry(1, "output", port=7)
    world.auto_round = False
    tcp = Tcp(world).open()
    with pytest.raises(EswitchError, match="in the way"):
        world.rounds()
    world.reconcile()
    settle(world)
    for source in ("vm1", "ext", "vm1", "ext"):
        tcp.send(source, ACK, b"again")
    settle(world)
    world.delivered.clear()
    assert tcp.send("vm1", ACK, b"where it belongs") == "hardware"
    assert [port for port, _ in world.delivered] == [3]


def test_an_index_that_the_switch_has_no_cells_for_does_not_keep_us_from_starting(
    world: World, switch: Unsure
) -> None:
    key = CtKey(4, 99, bytes([10, 0, 0, 8]), bytes([10, 0, 0, 9]), 6, 1, 2)
    switch.ct[key] = CtEntry(key, CtForward(SIZE, 0, 0, 1, 1))
    world.reconcile()
    assert switch.empty
    assert world.manager.pool.used == 0
    assert world.manager.pool.take() == (0, 0)


def test_path_ids_that_do_not_suffice_are_given_back(switch: Unsure) -> None:
    by_port = POLICY.replace(
        "table=2,priority=0,actions=NORMAL",
        "table=2,in_port=vm1,actions=NORMAL\ntable=2,in_port=ext,actions=NORMAL",
    )
    world = World(switch=switch, policy=by_port)
    learn(world)
    world.manager.paths.size = 2  # one id, and each direction needs one
    tcp = Tcp(world).open()
    assert len(world.manager.paths) == 0
    assert "all path ids are in use" in world.connections()[0].offload_reason
    withdrawn = world.manager.pool.take()
    assert withdrawn == (0, 1)
    tcp.send("vm1", ACK, b"not asked again at once")
    assert world.manager.records == {}


def test_nothing_is_noted_of_a_connection_that_died_before_the_refusal(
    world: World, switch: Unsure
) -> None:
    world.auto_round = False
    switch.refuse = {"CtEntry": "RESOURCE_EXHAUSTED"}
    Tcp(world).open()
    (connection,) = world.connections()

    def die(_: object) -> None:
        if connection.alive:
            world.tracker.remove(connection, world.now)

    switch.between = die
    world.rounds()
    assert world.manager.failed == {"RESOURCE_EXHAUSTED": 1}
    assert not world.manager.candidates.refused_until


def test_a_connection_is_never_in_two_records(switch: Unsure) -> None:
    """Zone 1 forgets its connection; while the entries drain, the packets make a new one there,
    beside the old one of zone 2. Flushing that afterwards removes the entries that it is in."""
    world = World(switch=switch, policy=TWO_ZONES)
    learn(world)
    tcp = Tcp(world).offload()
    world.auto_round = False
    of_zone = {c.zone: c for c in world.connections()}
    world.tracker.remove(of_zone[1], world.now)
    world.manager.take_ended()
    draining: list[bool] = []

    def more_packets(_: object) -> None:
        all_drain = all(isinstance(e.action, CtDrain) for e in switch.ct.values())
        if switch.ct and all_drain and not draining:
            draining.append(True)
            for _ in range(3):
                tcp.send("vm1", ACK, b"question")
                tcp.send("ext", ACK, b"answer")

    switch.between = more_packets
    world.rounds()
    assert draining
    for source in ("vm1", "ext"):
        tcp.send(source, ACK, b"afterwards")
    world.rounds()
    assert tcp.send("vm1", ACK, b"offloaded again") == "hardware"
    world.tracker.remove(of_zone[2], world.now)
    world.manager.take_ended()
    world.rounds()
    assert switch.empty


def test_who_waits_takes_the_place_of_what_the_switch_lost(switch: Unsure) -> None:
    world = World(switch=switch, options=OffloadOptions(capacity=1))
    learn(world)
    Tcp(world, sport=1).offload()
    waiting = Tcp(world, sport=2).offload()
    assert len(world.manager.pending) == 1
    for table in (switch.ct, switch.l2, switch.hops):
        table.clear()
    world.reconcile()
    world.rounds()
    assert len(world.manager.pending) == 0
    assert waiting.send("vm1", ACK, b"my turn") == "hardware"

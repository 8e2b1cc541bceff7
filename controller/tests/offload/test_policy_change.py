# SPDX-License-Identifier: Apache-2.0
"""A change of the policy while connections are offloaded: in steps, and as configured."""

from __future__ import annotations

import pytest
from p4ct.offload import reasons
from p4ct.offload.options import OffloadOptions, OnPolicyChange
from p4ct.offload.policy_change import (
    COMPARED_PER_STEP,
    DECIDED_PER_STEP,
    LOOKED_AT_PER_STEP,
    PolicyChange,
)
from p4ct.offload.record import RecordState

from .model import ACK, DENY_ALL, FIN, POLICY, Tcp, World, learn

PSH = 8
#: Nothing tells without deciding again that it concerns no connection: marks are no part of a key.
UNRELATED = "table=1,priority=95,ct_mark=5,actions=drop"
DENY_HIGH = "table=1,priority=95,tcp,tp_dst=81,actions=drop"
MIRRORED = "table=1,priority=95,tcp,tp_src=81,actions=drop"
#: Established packets by another flow, to the same place.
OTHER_WAY = "table=1,priority=95,ct_state=+trk+est,actions=goto_table:2"


def world_of(
    number: int, mode: OnPolicyChange = OnPolicyChange.RECHECK, **options: int
) -> tuple[World, list[Tcp]]:
    """So many offloaded connections; every second one to port 81."""
    world = World(options=OffloadOptions(policy_change=mode, **options))
    learn(world)
    return world, [Tcp(world, 20000 + n, 80 + n % 2).offload() for n in range(number)]


def added(world: World, text: str) -> PolicyChange:
    """The change is made, and not carried out yet."""
    return PolicyChange(world.manager, world.pipeline.add(world.flows(text), world.now))


def delivers(world: World, tcp: Tcp) -> bool:
    before = len(world.delivered)
    tcp.send("vm1", ACK, b"payload")
    return len(world.delivered) > before


# -- in steps --------------------------------------------------------------------------------------


def test_each_step_decides_a_bounded_number_again() -> None:
    number = 3 * DECIDED_PER_STEP + 1
    world, _ = world_of(number)
    change = added(world, UNRELATED)
    decided: list[int] = []
    while not change.done:
        before = world.manager.policy.decided
        assert change.step(world.now) == []
        decided.append(world.manager.policy.decided - before)
    assert decided == [DECIDED_PER_STEP] * 3 + [1]


def test_what_a_change_cannot_touch_is_only_looked_at() -> None:
    world, _ = world_of(2 * DECIDED_PER_STEP)
    change = added(world, "table=1,priority=95,udp,actions=drop")
    assert change.step(world.now) == []
    assert change.done
    assert world.manager.policy.decided == 0
    assert world.manager.policy.untouched == 2 * DECIDED_PER_STEP


def test_each_step_looks_at_a_bounded_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p4ct.offload.policy_change.LOOKED_AT_PER_STEP", 10)
    assert LOOKED_AT_PER_STEP > 10
    world, _ = world_of(25)
    change = added(world, "table=1,priority=95,udp,actions=drop")
    looked: list[int] = []
    while not change.done:
        before = world.manager.policy.untouched
        change.step(world.now)
        looked.append(world.manager.policy.untouched - before)
    assert looked == [10, 10, 5]


def steps_of(world: World, change: PolicyChange) -> list[int]:
    """Comparisons with an added flow, of each step."""
    compared: list[int] = []
    while not change.done:
        before = world.manager.policy.history.compared
        assert change.step(world.now) == []
        compared.append(world.manager.policy.history.compared - before)
    return compared


def test_each_step_compares_a_bounded_number_with_the_records(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Flows that could win a lookup, but for the addresses of each record."""
    monkeypatch.setattr("p4ct.offload.policy_change.COMPARED_PER_STEP", 20)
    assert COMPARED_PER_STEP > 20
    world, _ = world_of(25)
    flows = "\n".join(f"table=1,priority=95,ip,nw_src=10.9.0.{n},actions=drop" for n in range(4))
    compared = steps_of(world, added(world, flows))
    # Once for the path that all have in common, and for both directions of each record.
    assert compared == [4 + 16, *[24] * 7, 16]
    assert (world.manager.policy.decided, world.manager.policy.untouched) == (0, 25)


def test_each_step_compares_a_bounded_number_with_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every connection has a path of its own, and no added flow passes that of a path."""
    monkeypatch.setattr("p4ct.offload.policy_change.COMPARED_PER_STEP", 20)
    number = 10
    own = "\n".join(
        f"table=1,priority=90,ct_state=+trk+est,tcp,{port}={1000 + n},actions=goto_table:2"
        for n in range(number)
        for port in ("tp_dst", "tp_src")
    )
    world = World(policy=POLICY.replace("ct_state=+trk+est,", "ct_state=+trk+est,udp,") + own)
    learn(world)
    for n in range(number):
        Tcp(world, 20000 + n, 1000 + n).offload()
    assert len(world.manager.records) == number
    flows = "\n".join(f"table=1,priority=95,udp,tp_dst={n},actions=drop" for n in range(1, 11))
    compared = steps_of(world, added(world, flows))
    assert compared == [20] * number
    assert world.manager.policy.untouched == number


def test_only_what_the_added_flow_matches_is_decided_again() -> None:
    world, connections = world_of(10)
    leaving = world.carry_out(added(world, DENY_HIGH))
    assert len(leaving) == 5
    assert (world.manager.policy.decided, world.manager.policy.untouched) == (5, 5)
    world.rounds()
    world.auto_round = False
    assert [delivers(world, tcp) for tcp in connections] == [True, False] * 5


def test_between_the_steps_software_decides_by_the_new_policy() -> None:
    world, connections = world_of(3 * DECIDED_PER_STEP)
    change = added(world, UNRELATED + "\n" + DENY_HIGH + "\n" + MIRRORED)
    change.step(world.now)
    world.rounds()
    # Not reached yet: entries of the first ones forward still, the command has not returned.
    assert connections[1].send("vm1", ACK, b"old entries") == "hardware"
    # What comes up is denied, and nothing is installed for it any more.
    late = Tcp(world, 50000, 81)
    installed = world.manager.installed_total
    world.delivered.clear()
    late.open()
    assert [len(frame) for _, frame in world.delivered] == []
    # What is still allowed is installed by the new policy, and is not judged once more.
    Tcp(world, 50001, 80).offload()
    assert world.manager.installed_total == installed + 1
    world.carry_out(change)
    world.rounds()
    assert [delivers(world, tcp) for tcp in connections] == [n % 2 == 0 for n in range(75)]
    assert all(
        record.policy_version == world.pipeline.version for record in world.manager.records.values()
    )


def test_a_packet_that_ends_a_connection_between_the_steps() -> None:
    world, connections = world_of(2 * DECIDED_PER_STEP)
    change = added(world, UNRELATED)
    change.step(world.now)
    for tcp in (connections[0], connections[-1]):
        tcp.close()
    assert len(world.manager.records) == 2 * DECIDED_PER_STEP - 2
    assert world.carry_out(change) == []
    assert len(world.manager.records) == 2 * DECIDED_PER_STEP - 2


def test_a_second_change_during_the_first() -> None:
    """Each record is judged by the policy of the moment, and both changes are complete."""
    world, connections = world_of(3 * DECIDED_PER_STEP)
    first = added(world, UNRELATED)
    first.step(world.now)
    second = added(world, UNRELATED.replace("95", "96") + "\n" + DENY_HIGH)
    taken: list[object] = []
    while not (first.done and second.done):
        for change in (first, second):
            if not change.done:
                taken += change.step(world.now)
    world.rounds()
    world.auto_round = False
    assert [delivers(world, tcp) for tcp in connections] == [n % 2 == 0 for n in range(75)]
    # Once for those that the first had judged before the second came, and once for all.
    assert world.manager.policy.decided == 4 * DECIDED_PER_STEP


def test_a_change_that_is_taken_back_during_its_steps() -> None:
    world, connections = world_of(3 * DECIDED_PER_STEP)
    first = added(world, DENY_HIGH + "\n" + UNRELATED)
    leaving = first.step(world.now)
    assert leaving
    second = PolicyChange(world.manager, world.pipeline.replace(world.flows(POLICY), world.now))
    gone = len(leaving)
    while not (first.done and second.done):
        for change in (first, second):
            if not change.done:
                gone = max(gone, len({id(r) for r in (*leaving, *change.step(world.now))}))
    world.rounds()
    assert world.manager.removed.total() == len(leaving) == gone
    assert all(delivers(world, tcp) for tcp in connections)


def test_candidates_of_the_former_policy_are_forgotten() -> None:
    world, _ = world_of(1, capacity=1)
    waiting = [Tcp(world, 30000 + n).offload() for n in range(3)]
    assert len(world.manager.pending) == 3
    world.carry_out(added(world, UNRELATED))
    assert len(world.manager.pending) == 0
    assert {
        c.offload_reason for c in world.connections() if c.id not in world.manager.of_connection
    } == {reasons.POLICY_CHANGED}
    for tcp in waiting:
        tcp.send("vm1", ACK)
        tcp.send("ext", ACK)
    assert len(world.manager.pending) == 3


def test_a_candidate_that_waits_again_keeps_its_reason() -> None:
    world, _ = world_of(1, capacity=1)
    waiting = Tcp(world, 30000).offload()
    change = added(world, UNRELATED)
    waiting.send("vm1", ACK)
    waiting.send("ext", ACK)
    world.carry_out(change)
    assert len(world.manager.pending) == 1
    (connection,) = [c for c in world.connections() if c.id not in world.manager.of_connection]
    assert connection.offload_reason.startswith(reasons.FULL)


# -- as configured ---------------------------------------------------------------------------------


def test_recheck_leaves_the_connection_in_conntrack() -> None:
    world, connections = world_of(2)
    world.carry_out(added(world, DENY_HIGH))
    world.rounds()
    assert len(world.connections()) == 2
    world.carry_out(
        PolicyChange(world.manager, world.pipeline.replace(world.flows(POLICY), world.now))
    )
    assert delivers(world, connections[1]), "established, and allowed again"


def test_cut_ends_what_is_denied_and_nothing_else() -> None:
    world, connections = world_of(2, OnPolicyChange.CUT)
    packets = [c.packets[0] + c.hw_packets[0] for c in world.connections()]
    assert len(packets) == 2
    world.carry_out(added(world, DENY_HIGH))
    world.rounds()
    (left,) = world.connections()
    assert left.original.dport == 80
    assert connections[0].send("vm1", ACK, b"untouched") == "hardware"
    # Decided otherwise, but allowed: only its entries go.
    world.carry_out(added(world, OTHER_WAY))
    world.rounds()
    assert world.connections() == [left]
    assert not world.switch.ct
    assert delivers(world, connections[0])


def test_cut_counts_to_the_end() -> None:
    world, (tcp,) = world_of(1, OnPolicyChange.CUT)
    for _ in range(5):
        assert tcp.send("vm1", ACK, b"by hardware") == "hardware"
    (connection,) = world.connections()
    world.change_policy(DENY_ALL)
    world.rounds()
    assert not connection.alive
    assert connection.packets[0] + connection.hw_packets[0] == tcp.sent["vm1"][0]
    assert world.switch.empty


def test_cut_spares_a_connection_whose_entries_were_not_written() -> None:
    world, _ = world_of(0, OnPolicyChange.CUT)
    world.auto_round = False
    Tcp(world, 20000).offload()
    (record,) = world.manager.records.values()
    assert record.state is RecordState.QUEUED
    world.change_policy(DENY_ALL)
    world.rounds()
    assert len(world.connections()) == 1
    assert world.switch.empty


def test_keep_keeps_what_is_decided_otherwise() -> None:
    world, (tcp,) = world_of(1, OnPolicyChange.KEEP)
    assert world.carry_out(added(world, OTHER_WAY)) == []
    assert tcp.send("vm1", ACK, b"as before") == "hardware"
    (record,) = world.manager.records.values()
    assert record.kept


def test_keep_does_not_keep_what_is_denied() -> None:
    world, connections = world_of(2, OnPolicyChange.KEEP)
    assert len(world.carry_out(added(world, DENY_HIGH))) == 1
    world.rounds()
    assert connections[0].send("vm1", ACK, b"allowed") == "hardware"
    assert not delivers(world, connections[1])


@pytest.mark.parametrize("flags", ["tcp_flags=+psh", "in_port=ext,tcp_flags=+psh"])
def test_keep_does_not_keep_what_no_entry_can_say(flags: str) -> None:
    """An ACK passes; what the flow denies differs in what entries do not match."""
    world, (tcp,) = world_of(1, OnPolicyChange.KEEP)
    flow = f"table=1,priority=95,tcp,{flags},actions=drop"
    assert len(world.carry_out(added(world, flow))) == 1
    world.rounds()
    assert not world.switch.ct
    world.delivered.clear()
    assert tcp.send("ext", ACK | PSH, b"denied") != "hardware"
    assert not world.delivered
    assert delivers(world, tcp), "an ACK is allowed, by software"
    assert not world.switch.ct


def test_keep_does_not_keep_what_came_from_a_removed_flow() -> None:
    world, (tcp,) = world_of(1, OnPolicyChange.KEEP)
    policy = POLICY.replace("priority=90,ct_state=+trk+est", "priority=91,ct_state=+trk+est")
    assert len(world.change_policy(policy)) == 1
    world.rounds()
    assert delivers(world, tcp)


def test_what_is_kept_is_judged_again_by_every_later_policy() -> None:
    """What was added first hides a denial from the pipeline; not when it goes again."""
    world, (tcp,) = world_of(1, OnPolicyChange.KEEP)
    world.carry_out(added(world, OTHER_WAY + "\ntable=1,priority=93,ct_state=+est,actions=drop"))
    assert tcp.send("vm1", ACK, b"kept") == "hardware"
    policy = POLICY + "table=1,priority=93,ct_state=+est,actions=drop\n"
    assert len(world.change_policy(policy)) == 1
    world.rounds()
    assert not delivers(world, tcp)
    assert not world.switch.ct


def test_keep_withdraws_an_install_in_flight() -> None:
    world, _ = world_of(0, OnPolicyChange.KEEP)
    world.auto_round = False
    Tcp(world).open()
    changed: list[object] = []

    def change(_: object) -> None:
        if not changed:
            changed.extend(world.carry_out(added(world, OTHER_WAY)))

    world.switch.between = change
    world.rounds()
    assert len(changed) == 1
    assert world.manager.withdrawn[reasons.POLICY_CHANGED] == 1
    assert not world.switch.ct


def test_a_kept_connection_ends_as_any_other() -> None:
    world, (tcp,) = world_of(1, OnPolicyChange.KEEP)
    world.carry_out(added(world, OTHER_WAY))
    tcp.send("vm1", FIN | ACK)
    tcp.send("ext", FIN | ACK)
    tcp.send("vm1", ACK)
    assert world.switch.empty

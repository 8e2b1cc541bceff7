# SPDX-License-Identifier: Apache-2.0
"""A reconciliation in bounded steps, and packets, changes and ends in between."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from p4ct.conntrack import Connection
from p4ct.eswitch.entries import EswitchError
from p4ct.offload import reasons, reconcile
from p4ct.offload.options import OffloadOptions, OnPolicyChange
from p4ct.offload.policy_change import PolicyChange
from p4ct.offload.record import RecordState

from .model import ACK, DENY_ALL, FIN, POLICY, SYN, Tcp, World, finish, learn

NUMBER = 5


@pytest.fixture(autouse=True)
def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for size in ("DECIDED_PER_STEP", "CLAIMED_PER_STEP", "LISTED_PER_STEP", "PORTION"):
        monkeypatch.setattr(reconcile, size, 1)


def made(mode: OnPolicyChange = OnPolicyChange.RECHECK) -> tuple[World, list[Tcp]]:
    world = World(options=OffloadOptions(policy_change=mode))
    learn(world)
    return world, [Tcp(world, 20000 + n).offload() for n in range(NUMBER)]


def restarted(old: World, connections: list[Tcp], policy: str = POLICY) -> World:
    new = World(switch=old.switch, policy=policy)
    new.auto_round = False
    for tcp in connections:
        tcp.world = new
    return new


class Meanwhile:
    """A pause that does something at one of its turns; `known` is the number of turns before."""

    def __init__(self, world: World, at: int, what: Callable[[], Any]) -> None:
        self.world, self.at, self.what = world, at, what
        self.turns = 0
        self.known = -1
        world.auto_round = False  # nobody else has the switch meanwhile

    async def pause(self) -> None:
        if self.turns == self.at:
            self.what()
        self.turns += 1

    async def connections_known(self) -> None:
        self.known = self.turns

    def run(self) -> reconcile.Drift:
        manager, switch = self.world.manager, self.world.switch
        drift = finish(
            reconcile.reconcile(
                manager, switch, self.world.clock, self.pause, self.connections_known
            )
        )
        assert not manager.claimed
        assert manager.settled
        self.world.rounds()
        self.world.auto_round = True
        return drift


def turns() -> tuple[int, int]:
    """Of a reconciliation of these connections after a restart: in all, and until all are known."""
    world, connections = made()
    counting = Meanwhile(restarted(world, connections), -1, lambda: None)
    assert counting.run().kept == NUMBER
    return counting.turns, counting.known


def test_every_step_is_bounded() -> None:
    """A pause after each row, entry, claim, decision and portion."""
    assert turns()[0] >= 2 + 2 * NUMBER + NUMBER + NUMBER + NUMBER


@pytest.mark.parametrize("restart", [False, True])
def test_data_at_any_moment(restart: bool) -> None:
    total, known = turns()
    for at in range(known if restart else 0, total):
        world, connections = made()
        here = restarted(world, connections) if restart else world
        said: list[str] = []
        before = len(here.delivered)

        def send(tcps: list[Tcp] = connections, said: list[str] = said) -> None:
            said.extend(tcp.send("vm1", ACK, b"meanwhile") for tcp in tcps)

        assert Meanwhile(here, at, send).run().kept == NUMBER
        assert said == ["hardware"] * NUMBER
        assert len(here.delivered) == before + NUMBER
        for tcp in connections:
            assert tcp.send("vm1", ACK, b"after") == "hardware"
            tcp.close()
        assert here.switch.empty
        totals = sorted(c.packets[0] + c.hw_packets[0] for c in here.connections())
        assert totals == sorted(tcp.sent["vm1"][0] for tcp in connections)


@pytest.mark.parametrize("restart", [False, True])
def test_an_end_at_any_moment_waits_for_the_entries(restart: bool) -> None:
    """The second FIN is not sent on while hardware could still forward what follows it."""
    total, known = turns()
    for at in range(known if restart else 0, total):
        world, connections = made()
        for tcp in connections:
            tcp.send("vm1", FIN | ACK)
        here = restarted(world, connections) if restart else world
        sent: list[int] = []

        def close(
            here: World = here, tcps: list[Tcp] = connections, sent: list[int] = sent
        ) -> None:
            before = len(here.delivered)
            for tcp in tcps:
                tcp.send("ext", FIN | ACK)
            sent.append(len(here.delivered) - before)

        before = len(here.delivered)
        Meanwhile(here, at, close).run()
        assert sent == [0]
        assert len(here.delivered) == before + NUMBER
        for tcp in connections:
            assert tcp.send("vm1", ACK) == "software"
        assert {c.state_name for c in here.connections()} == {"TIME_WAIT"}
        assert here.switch.empty


def test_nothing_begins_meanwhile() -> None:
    total, known = turns()
    for at in range(known, total):
        world, connections = made()
        here = restarted(world, connections)
        late = Tcp(here, 30000)
        reason: list[str] = []

        def begin(here: World = here, late: Tcp = late, reason: list[str] = reason) -> None:
            late.offload()
            reason.extend(c.offload_reason for c in here.connections() if c.original.sport == 30000)
            assert not here.manager.to_install

        assert Meanwhile(here, at, begin).run().kept == NUMBER
        assert reason == [reasons.UNSETTLED]
        late.send("vm1", ACK, b"again")
        assert late.send("vm1", ACK, b"again") == "hardware"


@pytest.mark.parametrize("restart", [False, True])
def test_a_policy_that_denies_at_any_moment(restart: bool) -> None:
    total, known = turns()
    for at in range(known if restart else 0, total):
        world, connections = made()
        here = restarted(world, connections) if restart else world

        def deny(here: World = here) -> None:
            here.carry_out(
                PolicyChange(here.manager, here.pipeline.replace(here.flows(DENY_ALL), here.now))
            )

        Meanwhile(here, at, deny).run()
        here.delivered.clear()
        for tcp in connections:
            tcp.send("vm1", ACK, b"denied")
        assert here.delivered == []
        assert here.switch.empty


def test_a_connection_that_is_dropped_is_not_restored() -> None:
    """Its entries still say that there was one."""
    total, _ = turns()
    for at in range(total):
        world, _ = made()
        gone: list[Connection] = world.connections()[:2]

        def drop(world: World = world, gone: list[Connection] = gone) -> None:
            for connection in gone:
                world.tracker.remove(connection, world.now)
            world.manager.take_ended()

        Meanwhile(world, at, drop).run()
        assert len(world.connections()) == NUMBER - 2
        assert len(world.manager.records) == NUMBER - 2


def test_a_reconciliation_that_breaks_off_forgets_nobody() -> None:
    total, _ = turns()
    for at in range(total):
        world, connections = made()
        calls: list[int] = []
        connections[0].send("vm1", FIN | ACK)

        def fail(world: World = world, tcp: Tcp = connections[0], calls: list[int] = calls) -> None:
            before = len(world.delivered)
            tcp.send("ext", FIN | ACK)
            calls.append(len(world.delivered) - before)
            world.switch.dead = True

        before = len(world.delivered)
        attempt = Meanwhile(world, at, fail)
        try:
            attempt.run()
        except EswitchError:
            assert not world.manager.settled
        world.switch.dead = False
        drift = Meanwhile(world, -1, lambda: None).run()
        assert calls == [0]
        assert drift.kept == NUMBER - 1
        assert len(world.delivered) == before + 1, "the FIN was sent on, once"
        assert len(world.manager.records) == NUMBER - 1
        assert set(world.manager.of_connection.values()) == set(world.manager.records.values())


def test_a_switch_that_comes_back_empty_after_an_attempt_that_broke_off() -> None:
    total, _ = turns()
    for at in range(total):
        world, connections = made()

        def fail(world: World = world, tcp: Tcp = connections[0]) -> None:
            tcp.send("vm1", FIN | ACK)
            tcp.send("ext", FIN | ACK)
            world.switch.dead = True

        attempt = Meanwhile(world, at, fail)
        with contextlib.suppress(EswitchError):
            attempt.run()
        world.switch.dead = False
        for table in (world.switch.ct, world.switch.l2, world.switch.hops, world.switch.cells):
            table.clear()
        world.switch.path_cells.clear()
        before = len(world.delivered)
        assert Meanwhile(world, -1, lambda: None).run().kept == 0
        assert len(world.delivered) <= before + 1
        assert world.manager.of_connection == {}
        assert world.manager.waiting == []
        assert all(c.offload is None for c in world.connections())
        assert connections[1].send("vm1", ACK, b"by software") == "software"


def test_cut_ends_connections_that_a_restarted_controller_denies() -> None:
    world, connections = made()
    new = World(
        switch=world.switch,
        policy=DENY_ALL,
        options=OffloadOptions(policy_change=OnPolicyChange.CUT),
    )
    assert new.reconcile().kept == 0
    assert new.connections() == []
    assert new.switch.empty
    assert len(connections) == NUMBER


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 60),
        st.sampled_from(["data", "answer", "fin", "finish", "open", "deny", "allow", "idle"]),
        st.integers(0, NUMBER - 1),
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=100)
@given(EVENTS, EVENTS)
def test_anything_at_any_moment(
    first: list[tuple[int, str, int]], second: list[tuple[int, str, int]]
) -> None:
    world, connections = made()
    extra = 30000

    def happen(what: str, which: int) -> None:
        nonlocal extra
        tcp = connections[which]
        match what:
            case "data":
                tcp.send("vm1", ACK, b"data")
            case "answer":
                tcp.send("ext", ACK, b"answer")
            case "fin":
                tcp.send("vm1", FIN | ACK)
            case "finish":
                tcp.send("ext", FIN | ACK)
            case "open":
                extra += 1
                Tcp(world, extra).send("vm1", SYN)
            case "idle":
                for key in list(world.switch.ct):
                    world.manager.idle(key, world.now)
            case _:
                world.change_policy(DENY_ALL if what == "deny" else POLICY)

    for events in (first, second):
        turn = 0

        async def pause(events: list[tuple[int, str, int]] = events) -> None:
            nonlocal turn
            for at, what, which in events:
                if at == turn:
                    happen(what, which)
            turn += 1

        world.auto_round = False
        finish(reconcile.reconcile(world.manager, world.switch, world.clock, pause))
        world.rounds()
        world.auto_round = True
        manager = world.manager
        assert not manager.claimed
        assert all(record.state is RecordState.ACTIVE for record in manager.records.values())
        assert len(world.switch.ct) == 2 * len(manager.records)
        assert set(manager.of_connection.values()) == set(manager.records.values())
        assert manager.tally.active_records == len(manager.records)
        version = world.pipeline.version
        assert all(record.policy_version == version for record in manager.records.values())
    world.change_policy(DENY_ALL)
    world.rounds()
    assert world.switch.empty

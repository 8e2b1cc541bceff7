# SPDX-License-Identifier: Apache-2.0
"""TCP windows while the eswitch forwards: checked there, known again when a connection returns."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from p4ct.conntrack import Connection
from p4ct.conntrack.tcp_window import BE_LIBERAL, export_windows
from p4ct.eswitch.entries import CtForward, Insert
from p4ct.eswitch.enums import PuntReason
from p4ct.offload.manager import OffloadOptions

from .model import ACK, DENY_ALL, FIN, POLICY, Tcp, World, learn

TWO_ZONES = """
table=0,priority=100,arp,actions=NORMAL
table=0,priority=50,ip,actions=ct(zone=1,table=1)
table=1,priority=90,ct_state=+trk+est,ip,actions=ct(zone=2,table=2)
table=1,priority=80,ct_state=+trk+new,ip,actions=ct(commit,zone=1),ct(zone=2,table=2)
table=2,priority=90,ct_state=+trk+est,actions=NORMAL
table=2,priority=80,ct_state=+trk+new,ip,actions=ct(commit,zone=2),NORMAL
"""


def made(check: bool = True, enabled: bool = True, policy: str = POLICY) -> World:
    options = OffloadOptions(enabled=enabled, window_check=check)
    world = World(options=options, policy=policy)
    learn(world)
    return world


def checks(world: World) -> list[bool]:
    actions = [entry.action for entry in world.switch.ct.values()]
    return [action.check_window for action in actions if isinstance(action, CtForward)]


def liberal(connection: Connection) -> bool:
    assert connection.tcp is not None
    return any(side.flags & BE_LIBERAL for side in connection.tcp.sides)


def windows(world: World) -> list[object]:
    """All that conntrack keeps of the windows, flags included."""
    return [
        [(s.end, s.maxend, s.maxwin, s.maxack, s.scale, s.flags) for s in c.tcp.sides]
        for c in world.connections()
        if c.tcp is not None
    ]


def forged(tcp: Tcp, source: str, seq: int = 0, ack: int = 0) -> str:
    """A segment whose numbers are off by so much; its sender's own numbers stay."""
    other = "ext" if source == "vm1" else "vm1"
    before = dict(tcp.seq)
    tcp.seq[source] += seq
    tcp.seq[other] += ack
    outcome = tcp.send(source, ACK, b"forged")
    tcp.seq = before
    return outcome


def give_up(world: World) -> None:
    """Every record returns to software."""
    for record in list(world.manager.records.values()):
        world.manager.remove(record, "test")
    world.rounds()


@pytest.mark.parametrize("v6", [False, True])
def test_a_segment_outside_the_window_comes_up_and_is_invalid(v6: bool) -> None:
    world = made()
    tcp = Tcp(world, v6=v6).offload()
    assert checks(world) == [True, True]
    assert tcp.send("vm1", ACK, b"inside") == "hardware"
    world.delivered.clear()
    for source in ("vm1", "ext"):
        assert forged(tcp, source, seq=300_000) == "software"
        assert forged(tcp, source, ack=300_000) == "software"
    assert world.delivered == []
    assert world.slow_path.punts[PuntReason.WINDOW.name] == 4
    assert world.tracker.stats["invalid"] == 4
    assert checks(world) == [True, True]
    assert tcp.send("ext", ACK, b"still there") == "hardware"


def test_without_the_check_it_is_forwarded() -> None:
    world = made(check=False)
    tcp = Tcp(world).offload()
    assert checks(world) == [False, False]
    assert forged(tcp, "vm1", seq=300_000) == "hardware"
    assert not world.switch.windows


def test_an_old_segment_comes_up_and_changes_nothing() -> None:
    world = made()
    tcp = Tcp(world).offload()
    world.delivered.clear()
    assert forged(tcp, "vm1", seq=-300_000) == "software"
    assert len(world.delivered) == 1  # as Linux: let through, ignored
    assert checks(world) == [True, True]


TRAFFIC = st.lists(
    st.one_of(
        st.tuples(st.just("data"), st.sampled_from(["vm1", "ext"]), st.integers(0, 1400)),
        st.tuples(st.just("forged"), st.sampled_from(["vm1", "ext"]), st.booleans()),
        st.tuples(st.just("return")),
        st.tuples(st.just("policy")),
    ),
    max_size=30,
)


def carry_out(world: World, tcp: Tcp, steps: list[tuple[Any, ...]]) -> None:
    for step in steps:
        match step:
            case ("data", str(source), int(size)):
                tcp.send(source, ACK, bytes(size))
            case ("forged", str(source), bool(sequence)):
                forged(tcp, source, 500_000 * sequence, 500_000 * (not sequence))
            case ("policy",):
                world.change_policy(POLICY)
                world.rounds()
            case _:
                give_up(world)


@settings(deadline=None, max_examples=200)
@given(TRAFFIC)
def test_windows_and_deliveries_are_those_of_software_alone(steps: list[tuple[Any, ...]]) -> None:
    """Strict on both sides: nothing is forwarded that conntrack alone would have refused."""
    on, off = made(), made(enabled=False)
    for world in (on, off):
        tcp = Tcp(world).open()
        carry_out(world, tcp, steps)
        give_up(world)
    assert off.by_hardware == 0
    assert Counter(on.delivered) == Counter(off.delivered)
    assert windows(on) == windows(off)
    assert not any(liberal(connection) for connection in on.connections())


def test_both_zones_of_a_record_learn() -> None:
    worlds = made(policy=TWO_ZONES), made(enabled=False, policy=TWO_ZONES)
    for world in worlds:
        tcp = Tcp(world).offload()
        tcp.send("vm1", ACK, bytes(1000))
        tcp.send("ext", ACK, bytes(100))
        give_up(world)
        assert len(world.connections()) == 2
    assert worlds[0].by_hardware >= 2
    assert windows(worlds[0]) == windows(worlds[1])


def test_what_software_accepts_beyond_the_registers_raises_them() -> None:
    """A segment that was under way at the install: its acknowledgement is ahead of hardware."""
    world = made()
    tcp = Tcp(world)
    world.auto_round = False
    tcp.open()
    pending = list(world.manager.to_install)
    assert len(pending) == 1

    def meanwhile(op: object) -> None:
        if isinstance(op, Insert):
            world.switch.between = None
            # Before the entries are there, and after the registers were written.
            assert tcp.send("vm1", ACK, b"under way") == "software"

    world.switch.between = meanwhile
    world.rounds()
    assert checks(world) == [True, True]
    assert tcp.send("ext", ACK, b"answer") == "software"
    assert checks(world) == [True, True]
    assert tcp.send("ext", ACK, b"more") == "hardware"
    assert tcp.send("vm1", ACK, b"and back") == "hardware"
    assert len(world.delivered) == 7
    (connection,) = world.connections()
    assert not liberal(connection)
    assert forged(tcp, "vm1", seq=300_000) == "software"
    assert len(world.delivered) == 7


def test_registers_that_do_not_hear_of_it_are_told_again() -> None:
    world = made()
    tcp = Tcp(world).offload()
    (record,) = world.manager.records.values()
    tcp.send("vm1", FIN | ACK)  # trapped: the registers have not seen it
    world.switch.deaf = {record.index}
    assert tcp.send("ext", ACK) == "software"
    assert tcp.send("ext", ACK, b"half-closed") == "software"
    world.switch.deaf = set()
    assert tcp.send("ext", ACK, b"half-closed") == "software"
    assert tcp.send("ext", ACK, b"half-closed") == "hardware"
    assert checks(world) == [True, True]


def test_registers_that_nobody_confirmed_are_not_used() -> None:
    world = made()
    world.switch.deaf = {0}
    tcp = Tcp(world).offload()
    assert checks(world) == [False, False]
    (connection,) = world.connections()
    assert liberal(connection)
    assert tcp.send("vm1", ACK, b"forwarded") == "hardware"


def test_registers_that_cannot_be_read_leave_it_liberal() -> None:
    world = made()
    tcp = Tcp(world).offload()
    tcp.send("vm1", ACK, b"unseen")
    world.switch.deaf = {0}
    give_up(world)
    (connection,) = world.connections()
    assert liberal(connection)
    assert connection.tcp is not None
    assert not connection.tcp.watched


def test_a_refused_install_keeps_the_window() -> None:
    world = made()
    world.switch.refuse["CtEntry"] = "RESOURCE_EXHAUSTED"
    Tcp(world).offload()
    off = made(enabled=False)
    Tcp(off).offload()
    assert not world.switch.ct
    assert windows(world) == windows(off)
    (connection,) = world.connections()
    assert connection.tcp is not None
    assert not connection.tcp.watched


def test_a_connection_that_is_liberal_already_is_not_checked() -> None:
    """Picked up in the middle: its scale is unknown."""
    world = made()
    tcp = Tcp(world)
    for _ in range(2):
        tcp.send("vm1", ACK, b"middle")
        tcp.send("ext", ACK, b"middle")
    assert checks(world) == [False, False]


def test_the_end_of_a_connection() -> None:
    """The FIN came up: its ACK is beyond the registers, and software sees it."""
    world = made()
    tcp = Tcp(world).offload()
    tcp.send("vm1", FIN | ACK)
    assert tcp.send("ext", ACK) == "software"
    (connection,) = world.connections()
    assert connection.state_name == "CLOSE_WAIT"
    assert tcp.send("ext", ACK, b"half-closed") == "hardware"
    tcp.send("ext", FIN | ACK)
    tcp.send("vm1", ACK)
    assert connection.state_name == "TIME_WAIT"
    assert world.switch.ct == {}


def test_after_a_restart_the_window_is_unknown() -> None:
    world = made()
    Tcp(world).offload()
    again = World(options=OffloadOptions(window_check=True), switch=world.switch)
    assert again.reconcile().kept == 1
    assert checks(again) == [False, False]
    (connection,) = again.connections()
    assert liberal(connection)
    # The same controller, which has lost sight of the switch, is no wiser.
    assert world.reconcile().kept == 1
    assert liberal(world.connections()[0])


def test_a_packet_that_brings_no_window_is_let_through() -> None:
    """From a new MAC address it hits no entry: software is behind, and must not refuse it."""
    world = made()
    tcp = Tcp(world).offload()
    for _ in range(100):
        assert tcp.send("ext", ACK, bytes(1400)) == "hardware"
        assert tcp.send("vm1", ACK) == "hardware"
    world.delivered.clear()
    assert tcp.send("ext", ACK, bytes(1400), mac=b"\2\0\0\0\0\x63") == "software"
    assert len(world.delivered) == 1
    (connection,) = world.connections()
    assert not liberal(connection)  # it was removed, and its registers were read
    assert world.manager.removed.total() == 1
    assert world.tracker.stats["invalid"] == 0


def test_a_policy_that_denies_still_cuts() -> None:
    world = made()
    tcp = Tcp(world).offload()
    world.change_policy(DENY_ALL)
    world.rounds()
    world.delivered.clear()
    tcp.send("vm1", ACK, b"denied")
    assert world.delivered == []
    assert not world.switch.ct


def test_a_used_index_gets_fresh_registers() -> None:
    world = World(options=OffloadOptions(window_check=True, capacity=1))
    learn(world)
    first = Tcp(world, 40000).offload()
    first.close()
    second = Tcp(world, 40001)
    second.seq = {"vm1": 3_000_000_000, "ext": 10}
    second.offload()
    assert second.send("vm1", ACK, b"new numbers") == "hardware"
    connection = next(c for c in world.connections() if c.offload is not None)
    give_up(world)
    assert connection.tcp is not None
    values = export_windows(connection.tcp)
    assert values is not None
    assert values[0][0] == second.seq["vm1"]

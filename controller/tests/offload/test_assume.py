# SPDX-License-Identifier: Apache-2.0
"""Mode assume-established: TCP from the SYN/ACK on, others from the second packet on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from p4ct.conntrack import TcpState, Timeouts
from p4ct.daemon.tuples import parse_tuple
from p4ct.eswitch.entries import CtDrain, CtForward
from p4ct.offload import reasons
from p4ct.offload.decide import Mode
from p4ct.offload.explain import explain
from p4ct.offload.manager import OffloadOptions
from p4ct.packet import build

from .model import ACK, DENY_ALL, FIN, IP, MAC, POLICY, RST, SYN, Tcp, World, learn

ONE_WAY_MARK = POLICY.replace(
    "table=1,priority=90,ct_state=+trk+est,actions=goto_table:2",
    "table=1,priority=95,in_port=vm1,ct_state=+trk+est,tcp,ct_mark=0,"
    "actions=ct(commit,zone=1,exec(set_field:7->ct_mark),table=2)\n"
    "table=1,priority=90,ct_state=+trk+est,actions=goto_table:2",
)
NO_FURTHER = POLICY + "table=1,priority=95,in_port=vm1,ct_state=+trk+est,actions=drop\n"


def assuming(**more: object) -> World:
    """A world in this mode whose stations are known; `more`: options, or policy and the like."""
    names = ("policy", "timeouts", "max_connections", "liberal")
    own = {name: more.pop(name) for name in names if name in more}
    options = OffloadOptions(mode=Mode.ASSUME, **more)  # type: ignore[arg-type]
    world = World(options=options, **own)  # type: ignore[arg-type]
    learn(world)
    return world


@pytest.fixture
def world() -> World:
    return assuming()


def reason(world: World) -> str:
    (connection,) = world.connections()
    return connection.offload_reason


def datagram(world: World, source: str, sport: int = 4000) -> str:
    target = "ext" if source == "vm1" else "vm1"
    ports = {"vm1": sport, "ext": 53}
    frame = build.udp_frame(
        eth_src=MAC[source],
        eth_dst=MAC[target],
        src=IP[source],
        dst=IP[target],
        sport=ports[source],
        dport=ports[target],
    )
    return world.packet(frame, 1 if source == "vm1" else 3)


def short_connection(world: World) -> int:
    """Punts of a connection with a question and an answer."""
    tcp = Tcp(world)
    ways = [tcp.send("vm1", SYN), tcp.send("ext", SYN | ACK), tcp.send("vm1", ACK)]
    ways += [tcp.send("vm1", ACK, b"question"), tcp.send("ext", ACK, b"answer")]
    ways += [tcp.send("vm1", FIN | ACK), tcp.send("ext", FIN | ACK), tcp.send("vm1", ACK)]
    return ways.count("software")


def test_a_short_connection_has_fewer_punts_than_in_the_other_modes(world: World) -> None:
    assert short_connection(world) == 5  # SYN, SYN/ACK, two FINs and the ACK of the second
    for mode in (Mode.ASSURED, Mode.ESTABLISHED):
        other = World(options=OffloadOptions(mode=mode))
        learn(other)
        assert short_connection(other) == 6


def test_the_answer_to_a_syn_waits_for_the_entries(world: World) -> None:
    world.auto_round = False
    tcp = Tcp(world)
    tcp.send("vm1", SYN)
    tcp.send("ext", SYN | ACK)
    assert len(world.delivered) == 1
    assert world.slow_path.held == 1
    tcp.send("ext", SYN | ACK)  # repeated by its sender: that one does not wait
    assert len(world.delivered) == 2
    world.rounds()
    assert len(world.delivered) == 3
    assert world.slow_path.held == 0
    assert tcp.send("vm1", ACK) == "hardware"


def test_the_answer_is_sent_if_the_switch_refuses_the_entries(world: World) -> None:
    world.switch.refuse["CtEntry"] = "RESOURCE_EXHAUSTED"
    tcp = Tcp(world)
    tcp.send("vm1", SYN)
    tcp.send("ext", SYN | ACK)
    assert len(world.delivered) == 2
    assert reason(world).startswith(reasons.INSTALL_FAILED)
    assert tcp.send("vm1", ACK) == "software"
    assert world.connections()[0].state_name == "ESTABLISHED"


def test_no_segment_before_the_answer_is_forwarded(world: World) -> None:
    """After a SYN conntrack calls an ACK invalid: an entry would forward what policy denies."""
    tcp = Tcp(world)
    tcp.send("vm1", SYN)
    assert not world.switch.ct
    assert reason(world) == reasons.NOT_ESTABLISHED
    assert tcp.send("vm1", ACK) == "software"
    assert len(world.delivered) == 1


def test_the_counters_say_that_it_is_established(world: World) -> None:
    tcp = Tcp(world)
    tcp.send("vm1", SYN)
    tcp.send("ext", SYN | ACK)
    (connection,), (record,) = world.connections(), world.manager.records.values()
    assert (connection.state_name, connection.assured) == ("SYN_RECV", False)
    assert (record.unproven, record.timeout) == (True, Timeouts().tcp_syn_recv)
    tcp.send("ext", ACK)  # nothing that only the other side could have brought about
    world.refresh()
    assert connection.state_name == "SYN_RECV"
    tcp.send("vm1", ACK)
    world.refresh()
    world.rounds()
    assert (connection.state_name, connection.assured) == ("ESTABLISHED", True)
    assert world.tracker.by_tcp_state == {"ESTABLISHED": 1}
    assert (record.unproven, record.timeout) == (False, 3600.0)
    assert {e.idle_timeout_ns for e in world.switch.ct.values()} == {3600 * 10**9}
    assert len(world.manager.unproven) == 0


def test_an_idle_report_does_not_end_what_its_reading_proves(world: World) -> None:
    tcp = Tcp(world).open()
    world.later(61.0)
    world.report_idle()
    assert world.connections()[0].state_name == "ESTABLISHED"
    assert tcp.send("vm1", ACK) == "hardware"


def test_a_handshake_that_is_never_completed_ends_with_its_timeout(world: World) -> None:
    tcp = Tcp(world)
    tcp.send("vm1", SYN)
    tcp.send("ext", SYN | ACK)
    world.later(61.0)
    world.report_idle()
    world.later(1.0)
    assert world.connections() == []
    assert world.switch.empty
    assert world.manager.removed[reasons.IDLE] == 1


@pytest.mark.parametrize("source", ["vm1", "ext"])
@pytest.mark.parametrize("acknowledged", [False, True])
def test_a_reset_removes_the_entries(world: World, source: str, acknowledged: bool) -> None:
    tcp = Tcp(world)
    tcp.send("vm1", SYN)
    tcp.send("ext", SYN | ACK)
    if acknowledged:
        tcp.send("vm1", ACK)
    tcp.send(source, RST | ACK)
    assert world.switch.empty
    assert world.connections()[0].state_name == "CLOSE"


def test_a_syn_ack_of_the_initiator_is_judged_by_the_counters(world: World) -> None:
    tcp = Tcp(world).open()
    world.auto_round = False
    world.delivered.clear()
    tcp.send("vm1", SYN | ACK)
    tcp.send("vm1", SYN | ACK)
    assert world.slow_path.held == 2
    world.rounds()
    assert world.delivered == []  # invalid, for the ACK has gone by
    assert world.connections()[0].state_name == "ESTABLISHED"
    assert reason(world) == reasons.ASK_COUNTERS
    assert tcp.send("vm1", ACK) == "software"


def test_both_have_sent_a_syn(world: World) -> None:
    """Simultaneous open (RFC 9293 3.5): conntrack follows it to its end."""
    tcp = Tcp(world)
    tcp.send("vm1", SYN)
    tcp.send("ext", SYN)
    tcp.seq["vm1"] -= 1
    tcp.send("vm1", SYN | ACK)
    assert world.connections()[0].state_name == "SYN_RECV"
    assert not world.switch.ct


def test_what_policy_still_has_to_decide_is_left_open() -> None:
    """The ACK sets a mark: only the real one does."""
    world = assuming(policy=ONE_WAY_MARK)
    tcp = Tcp(world)
    tcp.send("vm1", SYN)
    tcp.send("ext", SYN | ACK)
    assert not world.switch.ct
    assert reason(world) == f"{reasons.ONE_DIRECTION}: policy has more to decide about it"
    tcp.send("vm1", ACK)
    tcp.send("vm1", ACK, b"question")
    assert world.connections()[0].mark == 7
    tcp.send("ext", ACK, b"answer")
    assert len(world.switch.ct) == 2


def test_what_policy_denies_after_the_answer_is_not_forwarded() -> None:
    world = assuming(policy=NO_FURTHER)
    tcp = Tcp(world)
    tcp.send("vm1", SYN)
    tcp.send("ext", SYN | ACK)
    assert not world.switch.ct
    assert reason(world) == f"{reasons.ONE_DIRECTION}: {reasons.POLICY_DROPS}: action drop"
    world.delivered.clear()
    tcp.send("vm1", ACK)
    assert world.delivered == []


def test_an_unlearned_station_leaves_the_other_direction_open() -> None:
    policy = POLICY + "table=2,priority=10,in_port=ext,actions=output:vm1\n"
    world = World(policy=policy, options=OffloadOptions(mode=Mode.ASSUME))
    tcp = Tcp(world)  # vm1's packets go by NORMAL, which never sees a packet of ext
    tcp.send("vm1", SYN)
    tcp.send("ext", SYN | ACK)
    assert not world.switch.ct
    assert reason(world) == f"{reasons.ONE_DIRECTION}: flood: destination MAC not learned"


def test_the_entries_are_for_the_pairs_that_were_seen(world: World) -> None:
    """The initiator's packets go to another address than the answers come from."""
    gateway = bytes.fromhex("020000000009")
    world.pipeline.macs.learn(0, gateway, 3, world.now)
    syn = build.tcp_frame(
        eth_src=MAC["vm1"], eth_dst=gateway, src=IP["vm1"], dst=IP["ext"], sport=40000, dport=80,
        seq=1000, flags=SYN,
    )  # fmt: skip
    world.packet(syn, 1)
    tcp = Tcp(world)
    tcp.seq["vm1"] = 1001
    tcp.send("ext", SYN | ACK)
    (record,) = world.manager.records.values()
    assert record.halves[0].l2 == (1, MAC["vm1"], gateway)
    assert record.halves[1].l2 == (3, MAC["ext"], MAC["vm1"])


def test_with_window_registers_tcp_waits_for_its_handshake() -> None:
    world = assuming(window_check=True)
    tcp = Tcp(world)
    tcp.send("vm1", SYN)
    tcp.send("ext", SYN | ACK)
    assert not world.switch.ct
    tcp.send("vm1", ACK)
    (record,) = world.manager.records.values()
    assert record.checks_window


def test_a_datagram_and_its_answer_are_enough(world: World) -> None:
    assert datagram(world, "vm1") == "software"
    assert not world.switch.ct
    assert datagram(world, "ext") == "software"
    assert len(world.switch.ct) == 2
    assert datagram(world, "ext") == "hardware"
    assert datagram(world, "vm1") == "hardware"


def test_a_policy_change_meets_an_answer_that_waits(world: World) -> None:
    world.auto_round = False
    tcp = Tcp(world)
    tcp.send("vm1", SYN)
    world.delivered.clear()
    tcp.send("ext", SYN | ACK)
    world.change_policy(DENY_ALL)
    world.rounds()
    assert world.delivered == []
    assert world.slow_path.drops["policy changed while the packet was held"] == 1
    assert world.switch.empty


# -- traffic that nobody answers ------------------------------------------------------------


def echo(world: World, source: str) -> str:
    target = "ext" if source == "vm1" else "vm1"
    frame = build.icmp_echo_frame(
        eth_src=MAC[source],
        eth_dst=MAC[target],
        src=IP[source],
        dst=IP[target],
        identifier=7,
        reply=source == "ext",
    )
    return world.packet(frame, 1 if source == "vm1" else 3)


@pytest.mark.parametrize("send", [datagram, echo])
def test_what_nobody_answers_has_an_entry_from_its_second_packet_on(
    world: World, send: Callable[[World, str], str]
) -> None:
    assert [send(world, "vm1") for _ in range(4)] == ["software", "software"] + 2 * ["hardware"]
    (record,), (connection,) = world.manager.records.values(), world.connections()
    assert (record.one_way, record.unproven, record.timeout) == (True, True, 30.0)
    assert not connection.seen_reply
    actions = {e.action.direction: e.action for e in world.switch.ct.values()}
    assert isinstance(actions[0], CtForward)
    assert isinstance(actions[1], CtDrain)
    world.refresh()
    assert (sum(connection.packets), sum(connection.hw_packets)) == (2, 2)
    passed = [f.n_packets + f.hw_packets for f in world.pipeline.flows if f.priority == 80]
    assert 4 in passed  # each of them is counted as +new, as it is in software


@pytest.mark.parametrize("send", [datagram, echo])
def test_the_first_answer_is_seen_and_what_follows_is_decided_anew(
    world: World, send: Callable[[World, str], str]
) -> None:
    for _ in range(3):
        send(world, "vm1")
    world.delivered.clear()
    world.auto_round = False
    assert send(world, "ext") == "software"
    (connection,) = world.connections()
    assert connection.seen_reply
    assert world.delivered == []  # until the old entries are gone
    world.rounds()
    assert len(world.delivered) == 1
    assert world.manager.removed[reasons.ANSWERED] == 1
    world.auto_round = True
    assert send(world, "vm1") == "software"
    assert send(world, "vm1") == send(world, "ext") == "hardware"
    (record,) = world.manager.records.values()
    assert (record.one_way, record.unproven) == (False, False)


def test_explain_tells_what_nobody_answered(world: World) -> None:
    def ask(text: str) -> str:
        asked = parse_tuple(text, world.ports)
        stations = world.slow_path.stations
        answer = explain(asked, world.pipeline, world.tracker, world.manager, stations, world.now)
        return str(answer["eswitch"])

    question = "udp src=10.0.0.1 dst=10.0.0.3 sport=4000 dport=53 in_port=vm1"
    question += " eth_src=02:00:00:00:00:01 eth_dst=02:00:00:00:00:02"
    assert ask(question) == "no entry: no established connection"
    datagram(world, "vm1")
    assert ask(question) == "an entry can hold this direction"
    datagram(world, "vm1")
    assert ask(question) == "an entry holds it: index 0/0"
    answer = "udp src=10.0.0.3 dst=10.0.0.1 sport=53 dport=4000"
    assert ask(answer) == "an entry sends it up, as the first answer: index 0/0"


def test_only_new_passes_and_an_answer_ends_it() -> None:
    """The policy drops +est of the initiator: by its entry it would go on."""
    world = assuming(policy=NO_FURTHER)
    for _ in range(3):
        datagram(world, "vm1")
    assert datagram(world, "vm1") == "hardware"
    datagram(world, "ext")
    world.delivered.clear()
    assert datagram(world, "vm1") == "software"
    assert world.delivered == []


def test_traffic_without_answers_ends_with_its_timeout(world: World) -> None:
    for _ in range(3):
        datagram(world, "vm1")
    world.later(20.0)
    assert datagram(world, "vm1") == "hardware"
    world.later(20.0)
    world.report_idle()
    assert len(world.connections()) == 1
    world.later(11.0)
    world.report_idle()
    assert world.manager.removed[reasons.IDLE] == 1
    world.later(30.0)  # as long again after the last reading, at the most
    assert world.connections() == []
    assert world.switch.empty


def test_what_nobody_answered_makes_room_in_conntrack() -> None:
    world = assuming(max_connections=3)
    for _ in range(3):
        datagram(world, "vm1", 4000)
    assert world.switch.ct
    for number in range(3):
        Tcp(world, 41000 + number).open()
    assert {c.original.sport for c in world.connections()} == {41000, 41001, 41002}
    assert datagram(world, "vm1", 4000) == "software"


def test_a_policy_change_ends_what_nobody_answered(world: World) -> None:
    for _ in range(3):
        datagram(world, "vm1")
    assert len(world.change_policy(DENY_ALL)) == 1
    world.rounds()
    world.delivered.clear()
    assert datagram(world, "vm1") == "software"
    assert world.delivered == []


def test_a_station_that_is_silent_for_too_long_is_flooded_again(world: World) -> None:
    datagram(world, "vm1")
    for _ in range(20):
        datagram(world, "vm1")
        world.refresh()
        world.later(20.0)
    assert world.manager.removed[reasons.MAC_MOVED] == 1
    assert reason(world) == f"{reasons.NOT_ESTABLISHED}: flood: destination MAC not learned"


def test_an_answer_that_would_be_somebody_else_s_leaves_it_in_software() -> None:
    """Answers come through another zone, where they are new."""
    policy = POLICY.replace(
        "table=0,priority=50,ip,", "table=0,priority=60,in_port=ext,ip,actions=ct(zone=2,table=1)\n"
        "table=0,priority=50,ip,",
    )  # fmt: skip
    world = assuming(policy=policy)
    for _ in range(3):
        datagram(world, "vm1")
    assert not world.switch.ct
    assert reason(world) == f"{reasons.NOT_ESTABLISHED}: {reasons.DIRECTIONS_DIFFER}"


def test_after_a_restart_it_begins_anew(world: World) -> None:
    for _ in range(3):
        datagram(world, "vm1")
    again = World(switch=world.switch, options=OffloadOptions(mode=Mode.ASSUME))
    drift = again.reconcile()
    assert drift.kept == 0
    assert again.switch.empty
    learn(again)
    assert [datagram(again, "vm1") for _ in range(3)] == ["software", "software", "hardware"]


def test_many_single_datagrams_write_nothing() -> None:
    world = assuming(capacity=8)
    for sport in range(50):
        datagram(world, "vm1", 5000 + sport)
    assert not world.switch.history
    for sport in range(50):
        datagram(world, "vm1", 5000 + sport)
    assert len(world.manager.records) == 2


# -- the share of the unproven -----------------------------------------------------------------


def half_open(world: World, number: int) -> None:
    """A SYN and its answer, and no more: one of a flood that is answered."""
    tcp = Tcp(world, 20000 + number)
    tcp.send("vm1", SYN)
    tcp.send("ext", SYN | ACK)


def test_half_open_connections_have_a_quarter_of_the_records() -> None:
    world = assuming(capacity=8)
    for number in range(20):
        half_open(world, number)
    assert len(world.manager.records) == 2
    assert len(world.manager.pending) == 0
    why = [c.offload_reason for c in world.connections()]
    assert why.count(reasons.UNPROVEN_FULL) == 18
    tcp = Tcp(world).open()  # established, though not by entries
    assert tcp.send("vm1", ACK) == "hardware"


def test_the_newest_half_open_connection_gives_way_to_an_established_one() -> None:
    world = assuming(capacity=4)
    half_open(world, 0)
    for number in range(3):
        Tcp(world, 40000 + number).open()
        world.refresh()
    world.rounds()
    assert world.manager.pool.used == 4
    late = Tcp(world, 50000).open()
    late.send("ext", ACK)
    assert late.send("vm1", ACK) == "hardware"
    assert world.manager.removed[reasons.GAVE_WAY] == 1
    assert {c.original.sport for c in world.connections() if c.offload is None} == {20000}
    later = Tcp(world, 50001).open()
    later.send("ext", ACK)
    assert later.send("vm1", ACK) == "software"
    assert [c.connection.original.sport for c in world.manager.pending] == [50001]


def test_half_open_connections_queue_for_no_longer_than_a_round() -> None:
    world = assuming(batch=3)
    world.auto_round = False
    for number in range(6):
        half_open(world, number)
    assert len(world.manager.to_install) == 3
    assert world.slow_path.held == 3  # the other answers have gone on at once
    world.rounds()
    assert world.slow_path.held == 0


def test_a_half_open_connection_is_in_software_after_a_restart(world: World) -> None:
    tcp = Tcp(world)
    tcp.send("vm1", SYN)
    tcp.send("ext", SYN | ACK)
    again = World(switch=world.switch, options=OffloadOptions(mode=Mode.ASSUME))
    again.reconcile()
    (connection,) = again.connections()
    assert (connection.protocol_state, connection.assured) == (TcpState.SYN_RECV, False)
    assert again.switch.empty
    tcp.world = again
    assert tcp.send("vm1", ACK) == "software"
    assert connection.state_name == "ESTABLISHED"

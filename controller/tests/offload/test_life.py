# SPDX-License-Identifier: Apache-2.0
"""The life of an offload record: installed from real packets, ended by FIN, RST and time."""

from __future__ import annotations

import pytest
from p4ct.conntrack import Timeouts
from p4ct.daemon.tuples import parse_tuple
from p4ct.offload import reasons
from p4ct.offload.explain import explain
from p4ct.offload.manager import OffloadOptions
from p4ct.packet import build

from .model import ACK, FIN, IP, MAC, POLICY, RST, SYN, Tcp, World, learn


@pytest.fixture
def world() -> World:
    made = World()
    learn(made)
    return made


def test_the_first_packets_come_up_and_the_others_do_not(world: World) -> None:
    tcp = Tcp(world).open()
    (connection,) = world.connections()
    assert connection.offload is not None
    assert connection.offload_reason == ""
    assert tcp.send("vm1", ACK, b"data") == "hardware"
    assert tcp.send("ext", ACK, b"data") == "hardware"
    assert len(world.switch.ct) == 2


def test_every_packet_is_delivered_once_and_unchanged(world: World) -> None:
    tcp = Tcp(world).offload()
    tcp.close()
    assert len(world.delivered) == sum(n for n, _ in tcp.sent.values())


@pytest.mark.parametrize("v6", [False, True])
def test_both_families(v6: bool) -> None:
    world = World()
    learn(world)
    tcp = Tcp(world, v6=v6).offload()
    assert tcp.send("vm1", ACK, b"more") == "hardware"
    assert {key.version for key in world.switch.ct} == {6 if v6 else 4}


def test_nothing_is_installed_before_the_connection_is_assured(world: World) -> None:
    tcp = Tcp(world)
    for source, flags in (("vm1", SYN), ("ext", SYN | ACK)):
        tcp.send(source, flags)
        assert not world.switch.ct
        (connection,) = world.connections()
        assert connection.offload_reason in (reasons.NOT_ESTABLISHED, reasons.NOT_ASSURED)


def test_the_first_fin_leaves_the_entries_and_the_second_removes_them_first(world: World) -> None:
    tcp = Tcp(world).offload()
    tcp.send("vm1", FIN | ACK)
    assert tcp.send("ext", ACK, b"half-closed, still sending") == "hardware"
    removed_before_delivery: list[bool] = []
    send = world.slow_path.wire.send

    def watch(port: int, frame: bytes) -> bool:
        removed_before_delivery.append(not world.switch.ct)
        return send(port, frame)

    world.slow_path.wire.send = watch
    tcp.send("ext", FIN | ACK)
    assert removed_before_delivery == [True]
    tcp.send("vm1", ACK)
    (connection,) = world.connections()
    assert connection.state_name == "TIME_WAIT"
    assert world.switch.empty


def test_the_half_close_shortens_the_idle_timeout(world: World) -> None:
    tcp = Tcp(world).offload()
    before = {entry.idle_timeout_ns for entry in world.switch.ct.values()}
    tcp.send("vm1", FIN | ACK)
    after = {entry.idle_timeout_ns for entry in world.switch.ct.values()}
    assert before == {3600 * 10**9}
    assert after == {120 * 10**9}


def test_an_rst_removes_at_once_and_only_then_goes_on(world: World) -> None:
    tcp = Tcp(world).offload()
    world.auto_round = False
    world.delivered.clear()
    tcp.send("ext", RST | ACK)
    assert world.delivered == []
    world.rounds()
    assert len(world.delivered) == 1
    assert world.switch.empty


def test_a_syn_that_reopens_ends_the_old_record_before_it_goes_on(world: World) -> None:
    tcp = Tcp(world).offload()
    tcp.send("vm1", FIN | ACK)
    # The other side crashed and forgot; an RST in hardware's view is a trap, in conntrack CLOSE.
    tcp.send("ext", RST | ACK)
    assert world.switch.empty
    again = Tcp(world)
    again.seq = {"vm1": 900000, "ext": 70000}
    again.offload()
    assert again.send("vm1", ACK, b"new life") == "hardware"
    assert {entry.action.generation for entry in world.switch.ct.values()} == {1}


def test_idle_needs_both_directions(world: World) -> None:
    world.manager.options = OffloadOptions(tcp_timeout=10.0)
    tcp = Tcp(world).offload()
    world.later(9.0)
    assert tcp.send("ext", ACK, b"one-way") == "hardware"
    world.later(2.0)
    world.report_idle()
    assert len(world.switch.ct) == 2
    world.later(9.0)
    world.report_idle()
    assert world.switch.empty
    (connection,) = world.connections()
    assert connection.offload is None
    assert connection.offload_reason == reasons.IDLE


def test_a_connection_expires_by_the_last_packet_that_hardware_saw() -> None:
    world = World(timeouts=Timeouts(tcp_established=30.0), options=OffloadOptions(tcp_timeout=10.0))
    learn(world)
    tcp = Tcp(world).offload()
    world.later(60.0)  # nobody reported it idle: the timer must not destroy it
    assert len(world.connections()) == 1
    tcp.send("vm1", ACK, b"still here")
    tcp.send("ext", ACK, b"so am I")
    world.later(11.0)
    world.report_idle()
    assert world.switch.empty
    world.later(18.0)
    assert len(world.connections()) == 1
    world.later(2.0)
    assert world.connections() == []


def test_the_remaining_time_follows_what_hardware_forwards(world: World) -> None:
    world.tracker.timeouts = Timeouts(tcp_established=30.0)
    tcp = Tcp(world).offload()
    world.later(20.0)
    tcp.send("vm1", ACK, b"by hardware")
    world.refresh()
    (connection,) = world.connections()
    assert connection.expires - world.now == pytest.approx(30.0)


def test_a_new_mac_pair_is_decided_again(world: World) -> None:
    tcp = Tcp(world).offload()
    twin = bytes.fromhex("020000000099")
    assert tcp.send("vm1", ACK, b"after a failover", mac=twin) == "software"
    assert world.manager.removed.total() == 1
    tcp.send("vm1", ACK, b"again", mac=twin)
    tcp.send("ext", ACK, b"back")
    assert tcp.send("vm1", ACK, b"now", mac=twin) == "hardware"


def test_a_station_that_moves_takes_its_connections_along(world: World) -> None:
    Tcp(world).offload()
    frame = build.arp_frame(op=1, sha=MAC["ext"], spa=IP["ext"], tpa=IP["vm1"])
    world.packet(frame, 1)  # ext's address is seen behind vm1's port
    assert world.switch.empty


def test_an_icmp_error_about_a_connection_leaves_it_offloaded(world: World) -> None:
    tcp = Tcp(world).offload()
    # A router on the way (another MAC address) says that ext's answer was too big.
    quoted = build.tcp_frame(
        src=IP["vm1"], dst=IP["ext"], sport=40000, dport=80, seq=tcp.seq["vm1"], flags=ACK
    )[14:42]
    frame = build.icmp_frame(
        eth_src=bytes.fromhex("0200000000fe"),
        eth_dst=MAC["vm1"],
        src="10.0.0.254",
        dst=IP["vm1"],
        icmp_type=3,
        icmp_code=4,
        body=bytes(4) + quoted,
    )
    world.packet(frame, 3)
    assert len(world.switch.ct) == 2


def test_what_policy_drops_does_not_disturb_an_offloaded_connection() -> None:
    spoof_proof = POLICY.replace(
        "table=1,priority=90,ct_state=+trk+est,actions=goto_table:2",
        "table=1,priority=90,ct_state=+trk+est,dl_src=02:00:00:00:00:01,actions=goto_table:2\n"
        "table=1,priority=90,ct_state=+trk+est,dl_src=02:00:00:00:00:02,actions=goto_table:2",
    )
    world = World(policy=spoof_proof)
    learn(world)
    tcp = Tcp(world).offload()
    tcp.send("vm1", ACK, b"spoofed", mac=bytes.fromhex("020000000099"))
    assert len(world.switch.ct) == 2


def test_udp_is_offloaded_once_replied(world: World) -> None:
    def datagram(source: str, target: str, vport: int, sport: int, dport: int) -> str:
        frame = build.udp_frame(
            eth_src=MAC[source],
            eth_dst=MAC[target],
            src=IP[source],
            dst=IP[target],
            sport=sport,
            dport=dport,
            payload=b"x",
        )
        return world.packet(frame, vport)

    assert datagram("vm1", "ext", 1, 4000, 53) == "software"
    assert datagram("ext", "vm1", 3, 53, 4000) == "software"
    assert not world.switch.ct  # the original direction is decided by an established packet
    assert datagram("vm1", "ext", 1, 4000, 53) == "software"
    assert datagram("vm1", "ext", 1, 4000, 53) == "hardware"
    assert datagram("ext", "vm1", 3, 53, 4000) == "hardware"


def test_echo_is_offloaded_and_its_reply_has_another_key(world: World) -> None:
    def echo(source: str, target: str, vport: int, reply: bool) -> str:
        frame = build.icmp_echo_frame(
            eth_src=MAC[source],
            eth_dst=MAC[target],
            src=IP[source],
            dst=IP[target],
            identifier=7,
            reply=reply,
        )
        return world.packet(frame, vport)

    echo("vm1", "ext", 1, False)
    echo("ext", "vm1", 3, True)
    echo("vm1", "ext", 1, False)
    assert {key.dport for key in world.switch.ct} == {8 << 8, 0}
    assert echo("ext", "vm1", 3, True) == "hardware"


def test_counters_are_exact_at_the_end(world: World) -> None:
    tcp = Tcp(world).offload()
    for size in (1, 100, 1400):
        tcp.send("vm1", ACK, bytes(size))
        tcp.send("ext", ACK, bytes(size // 2))
    tcp.close()
    (connection,) = world.connections()
    totals = [
        [
            connection.packets[d] + connection.hw_packets[d],
            connection.bytes[d] + connection.hw_bytes[d],
        ]
        for d in (0, 1)
    ]
    assert totals == [tcp.sent["vm1"], tcp.sent["ext"]]
    assert connection.hw_packets[0] >= 3


def test_flows_count_what_hardware_forwards(world: World) -> None:
    tcp = Tcp(world).offload()
    for _ in range(5):
        tcp.send("vm1", ACK, b"data")
    world.refresh()
    last = world.pipeline.flows[-1]
    assert last.table == 2
    before = last.n_packets + last.hw_packets
    tcp.close()
    # ARP twice, and every packet of the connection, passed the last table.
    assert last.n_packets + last.hw_packets == before + 3
    assert last.hw_packets == world.by_hardware


def test_disabled_offload_says_so() -> None:
    world = World(options=OffloadOptions(enabled=False))
    learn(world)
    Tcp(world).offload()
    (connection,) = world.connections()
    assert connection.offload_reason == reasons.DISABLED
    assert not world.switch.ct


def ask(world: World, text: str) -> dict[str, object]:
    return explain(
        parse_tuple(text, world.ports),
        world.pipeline,
        world.tracker,
        world.manager,
        world.slow_path.stations,
        world.now,
    )


def test_explain_asks_as_the_next_packet_would(world: World) -> None:
    answer = ask(world, "tcp src=10.0.0.1 dst=10.0.0.3 sport=40000 dport=80")
    assert answer["verdict"] == "forward to ext"
    assert "assumed" not in answer
    answer = ask(world, "tcp src=10.0.0.3 dst=10.0.0.1 sport=40000 dport=22")
    assert answer["verdict"] == "drop: action drop"


def test_explain_says_what_it_assumed(world: World) -> None:
    answer = ask(world, "udp src=10.0.0.1 dst=192.0.2.1 dport=53")
    assert answer["verdict"] == "forward to ext"
    assert str(answer["assumed"]).startswith("eth_dst not known")
    assert "flood" in str(answer["eswitch"]) or "no established" in str(answer["eswitch"])


def test_explain_of_a_connection_that_went_back_to_software(world: World) -> None:
    tcp = Tcp(world).offload()
    world.manager.mac_moved(0, MAC["ext"])
    world.rounds()
    answer = ask(world, "tcp src=10.0.0.1 dst=10.0.0.3 sport=40000 dport=80")
    assert answer["verdict"] == "forward to ext"
    assert answer["eswitch"] == "an entry can hold this direction"
    assert tcp.send("vm1", ACK, b"x") == "software"


def test_what_never_forwarded_was_withdrawn_and_not_removed(world: World) -> None:
    world.auto_round = False
    tcp = Tcp(world).open()
    tcp.send("ext", RST | ACK)
    world.rounds()
    assert world.switch.empty
    assert world.manager.removed.total() == 0
    assert world.manager.withdrawn.total() == 1

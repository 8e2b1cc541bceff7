# SPDX-License-Identifier: Apache-2.0
"""A station moves to another port before there is a record of its connection."""

from __future__ import annotations

import pytest
from p4ct.offload import reasons
from p4ct.offload.decide import Mode
from p4ct.offload.manager import OffloadOptions
from p4ct.packet import build
from p4ct.pipeline.ports import PortTable, Vport

from .model import ACK, IP, MAC, POLICY, RST, SYN, Tcp, World, learn

VM1, VM2, EXT = 1, 2, 3
ANY_PORT = POLICY.replace("in_port=vm1,", "")


def three_ports(mode: Mode, capacity: int = 64) -> World:
    """vm1 and ext are known; a second vport is free for one of them to move to."""
    world = World(
        policy=ANY_PORT,
        ports=PortTable(
            [Vport(VM1, "vm1", 1), Vport(VM2, "vm2", 2), Vport(EXT, "ext", 3, kind="uplink")]
        ),
        options=OffloadOptions(mode=mode, capacity=capacity),
    )
    learn(world)
    return world


def datagram(world: World, source: str, vport: int) -> tuple[str, list[int]]:
    """Sent from this vport: who forwarded it, and where it went."""
    target = "ext" if source == "vm1" else "vm1"
    ports = {"vm1": 4000, "ext": 53}
    world.delivered.clear()
    way = world.packet(
        build.udp_frame(
            eth_src=MAC[source],
            eth_dst=MAC[target],
            src=IP[source],
            dst=IP[target],
            sport=ports[source],
            dport=ports[target],
        ),
        vport,
    )
    return way, [port for port, _ in world.delivered]


def syn_ack(world: World, tcp: Tcp, vport: int) -> None:
    """ext's answer to the SYN of this connection, from this vport."""
    world.packet(
        build.tcp_frame(
            eth_src=MAC["ext"],
            eth_dst=MAC["vm1"],
            src=IP["ext"],
            dst=IP["vm1"],
            sport=tcp.port["ext"],
            dport=tcp.port["vm1"],
            seq=5000,
            ack=tcp.seq["vm1"],
            flags=SYN | ACK,
        ),
        vport,
    )
    tcp.seq["ext"] = 5001


def egress_ports(world: World) -> set[int]:
    """Where the connection entries forward to."""
    return {half.out_vport for record in world.manager.records.values() for half in record.halves}


@pytest.mark.parametrize("mode", list(Mode))
def test_answers_follow_a_client_that_moves(mode: Mode) -> None:
    world = three_ports(mode)
    datagram(world, "vm1", VM1)
    datagram(world, "ext", EXT)
    datagram(world, "vm1", VM2)
    assert VM1 not in egress_ports(world)
    assert datagram(world, "ext", EXT)[1] == [VM2]
    datagram(world, "vm1", VM2)
    assert egress_ports(world) == {VM2, EXT}
    assert datagram(world, "ext", EXT) == ("hardware", [VM2])
    assert datagram(world, "vm1", VM2) == ("hardware", [EXT])


def test_what_was_assumed_before_the_move_is_assumed_again() -> None:
    world = three_ports(Mode.ASSUME, capacity=4)
    first = Tcp(world, 50000)
    first.send("vm1", SYN)
    first.send("ext", SYN | ACK)
    tcp = Tcp(world)
    tcp.send("vm1", SYN)
    syn_ack(world, tcp, EXT)
    waits = next(c for c in world.connections() if c.original.sport == 40000)
    assert waits.offload_reason == reasons.UNPROVEN_FULL
    first.send("vm1", RST | ACK)
    assert not world.manager.records
    syn_ack(world, tcp, VM2)
    world.delivered.clear()
    assert tcp.send("vm1", ACK) == "hardware"
    assert [port for port, _ in world.delivered] == [VM2]


def test_who_waits_for_room_while_a_station_moves_is_decided_again() -> None:
    world = three_ports(Mode.ESTABLISHED, capacity=1)
    first = Tcp(world, 50000).offload()
    datagram(world, "vm1", VM1)
    datagram(world, "ext", EXT)
    datagram(world, "vm1", VM1)
    assert len(world.manager.pending) == 1
    world.packet(build.arp_frame(op=1, sha=MAC["vm1"], spa=IP["vm1"], tpa=IP["ext"]), VM2)
    first.send("ext", RST | ACK)
    assert not world.manager.records
    waited = next(c for c in world.connections() if c.original.sport == 4000)
    assert waited.offload_reason == reasons.ONE_DIRECTION
    assert datagram(world, "ext", EXT)[1] == [VM2]
    assert egress_ports(world) == {VM2, EXT}
    datagram(world, "vm1", VM2)  # the entry of this direction was for the port of before
    assert datagram(world, "ext", EXT)[1] == [VM2]
    datagram(world, "vm1", VM2)
    assert datagram(world, "ext", EXT) == ("hardware", [VM2])


def test_what_was_decided_by_a_forgotten_station_is_decided_again() -> None:
    world = three_ports(Mode.ESTABLISHED)
    tcp = Tcp(world)
    tcp.send("vm1", SYN)
    tcp.send("ext", SYN | ACK)
    tcp.send("vm1", ACK)
    world.later(world.pipeline.macs.max_age + 1.0)
    tcp.send("ext", ACK)  # flooded, for vm1 has been silent
    tcp.send("vm1", ACK)
    tcp.send("ext", ACK)
    assert tcp.send("vm1", ACK) == "hardware"
    assert egress_ports(world) == {VM1, EXT}

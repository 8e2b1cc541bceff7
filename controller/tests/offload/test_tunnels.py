# SPDX-License-Identifier: Apache-2.0
"""Vports in VXLAN and vports with an MTU: the same on the wire, whoever sends it."""

from __future__ import annotations

import pytest
from p4ct.eswitch.entries import NextHopEntry
from p4ct.eswitch.enums import PuntReason
from p4ct.offload.manager import OffloadOptions
from p4ct.packet import build
from p4ct.packet.parse import parse
from p4ct.packet.vxlan import decapsulate
from p4ct.pipeline.ports import PortTable, Vport, Vxlan

from .model import ACK, FIN, IP, IP6, MAC, Tcp, World, learn

ROUTER = {4: bytes([10, 0, 0, 254])}
OUTER = {"outer_eth_src": "02:00:00:00:01:01", "outer_eth_dst": "02:00:00:00:01:02"}


def ports(mtu: int = 0, remote: str = "192.0.2.2") -> PortTable:
    tunnel = Vxlan(7, "192.0.2.1", remote, **OUTER)
    ext = Vport(3, "ext", 9, kind="uplink", mtu=mtu, vxlan=tunnel)
    return PortTable([Vport(1, "vm1", 1), ext])


def made(enabled: bool = True, mtu: int = 0) -> World:
    world = World(ports=ports(mtu), options=OffloadOptions(enabled=enabled), router=ROUTER)
    learn(world)
    return world


def test_a_connection_into_a_tunnel_is_offloaded() -> None:
    world = made()
    tcp = Tcp(world).offload()
    hops = {(hop.kind, hop.port): hop.tunnel for hop in world.switch.hops.values()}
    tunnel = world.ports.tunnels[3]
    assert hops == {("vxlan", 9): tunnel, ("output", 1): None}
    world.delivered.clear()
    assert tcp.send("vm1", ACK, b"by hardware") == "hardware"
    ((port, wire),) = world.delivered
    inside = decapsulate(wire)
    assert port == 9
    assert inside is not None
    assert inside[:2] == (tunnel.dst, 7)
    assert inside.frame.endswith(b"by hardware")


@pytest.mark.parametrize("v6", [False, True])
def test_the_wire_does_not_tell_who_sent_it(v6: bool) -> None:
    delivered = []
    for enabled in (True, False):
        world = made(enabled)
        tcp = Tcp(world, v6=v6).offload()
        tcp.send("ext", ACK, b"answer")
        tcp.close()
        assert (world.by_hardware > 0) == enabled
        delivered.append(world.delivered)
    assert delivered[0] == delivered[1]


def test_entries_in_a_tunnel_survive_a_restart() -> None:
    world = made()
    Tcp(world).offload()
    again = World(switch=world.switch, ports=ports())
    assert again.reconcile().kept == 1
    assert len(again.switch.hops) == 2


def test_entries_into_a_tunnel_that_moved_do_not() -> None:
    world = made()
    Tcp(world).offload()
    again = World(switch=world.switch, ports=ports(remote="192.0.2.9"))
    drift = again.reconcile()
    assert drift.kept == 0
    assert dict(drift.removed) == {"it is sent elsewhere now": 1}
    assert again.switch.empty


def test_rows_that_change_addresses_are_not_adopted() -> None:
    world = made()
    Tcp(world).offload()
    routed = NextHopEntry(
        77, "vxlan", 9, eth_src=MAC["vm1"], eth_dst=MAC["ext"], tunnel=world.ports.tunnels[3]
    )
    world.switch.hops[77] = routed
    again = World(switch=world.switch, ports=ports())
    assert again.reconcile().kept == 1
    assert 77 not in again.switch.hops  # not ours: it goes


def test_too_long_and_df_is_answered_by_the_router() -> None:
    """build's packets have no DF: set it."""
    world = made(mtu=576)
    Tcp(world).offload()
    world.delivered.clear()
    frame = bytearray(
        build.tcp_frame(
            eth_src=MAC["vm1"], eth_dst=MAC["ext"], src=IP["vm1"], dst=IP["ext"],
            sport=40000, dport=80, seq=1009, ack=5007, payload=bytes(600),
        )
    )  # fmt: skip
    frame[20] |= 0x40
    total = build.checksum(bytes(frame[14:24]) + b"\0\0" + bytes(frame[26:34]))
    frame[24:26] = total.to_bytes(2, "big")
    assert world.packet(bytes(frame), 1) == "software"
    assert world.slow_path.punts[PuntReason.MTU_EXCEEDED.name] == 1
    ((port, answer),) = world.delivered
    assert port == 1
    pkt = parse(answer)
    assert (pkt.icmp_type, pkt.icmp_code, pkt.src) == (3, 4, ROUTER[4])
    assert int.from_bytes(answer[40:42], "big") == 576
    assert dict(world.slow_path.wire.too_big) == {"not sent": 1, "answered": 1}


def test_too_long_without_df_is_fragmented_into_the_tunnel() -> None:
    world = made(mtu=576)
    tcp = Tcp(world).offload()
    world.delivered.clear()
    assert tcp.send("vm1", ACK, bytes(1200)) == "software"
    assert len(world.delivered) == 3
    for port, wire in world.delivered:
        inside = decapsulate(wire)
        assert port == 9
        assert inside is not None
        assert len(inside.frame) <= 14 + 576
        assert parse(inside.frame).frag
    assert dict(world.slow_path.wire.too_big) == {"fragmented": 1}
    # The other way there is no limit, and what fits is still hardware's.
    assert tcp.send("ext", ACK, bytes(1200)) == "hardware"
    assert tcp.send("vm1", ACK, bytes(500)) == "hardware"


def test_ipv6_is_answered_by_the_packets_own_destination() -> None:
    world = made(mtu=1280)
    tcp = Tcp(world, v6=True).offload()
    world.delivered.clear()
    assert tcp.send("vm1", ACK, bytes(1300)) == "software"
    ((port, answer),) = world.delivered
    pkt = parse(answer)
    assert (port, pkt.icmp_type) == (1, 2)
    assert pkt.src == parse(build.udp_frame(src=IP6["ext"], dst="::1", sport=1, dport=1)).src
    assert int.from_bytes(answer[58:62], "big") == 1280


def test_what_is_too_long_before_there_are_entries() -> None:
    world = made(mtu=576)
    world.packet(
        build.udp_frame(
            eth_src=MAC["vm1"], eth_dst=MAC["ext"], src=IP["vm1"], dst=IP["ext"],
            sport=1, dport=2, payload=bytes(1000),
        ),
        1,
    )  # fmt: skip
    assert len(world.delivered) == 2
    assert dict(world.slow_path.wire.too_big) == {"fragmented": 1}


def test_a_held_packet_goes_into_its_tunnel() -> None:
    world = made()
    tcp = Tcp(world).offload()
    tcp.send("ext", FIN | ACK)
    world.delivered.clear()
    tcp.send("vm1", FIN | ACK)
    ((port, wire),) = world.delivered
    assert port == 9
    assert decapsulate(wire) is not None

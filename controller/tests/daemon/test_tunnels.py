# SPDX-License-Identifier: Apache-2.0
"""A tunnel of the configuration on the embedded target: rows at session start, and offload."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from p4ct.daemon.switch import BARRIER_PORT, BARRIER_VPORT
from p4ct.eswitch.entries import Delete, Insert, TunnelTermEntry, VportEntry
from p4ct.packet import build
from p4ct.packet.vxlan import encapsulate

from .bench import ACK, IP, MAC, SYN, Bench, running, softswitch, until, write_config

# The first push compiles the program.
pytestmark = pytest.mark.timeout(180)

VXLAN = """
mtu = 1450
[vport.vxlan]
vni = 7
local = "fd00::1"
remote = "fd00::2"
outer_eth_src = "02:00:00:00:01:01"
outer_eth_dst = "02:00:00:00:01:02"
"""
LOCAL = b"\xfd" + bytes(14) + b"\1"


class TunnelBench(Bench):
    """As Bench, and what `ext` sends comes in its tunnel."""

    def packet(self, port: int, frame: bytes) -> None:
        if port == 3:
            mine = self.controller.config.ports.tunnels[3]
            frame = encapsulate(frame, mine._replace(src=mine.dst, dst=mine.src))
        super().packet(port, frame)


def test_a_connection_through_a_tunnel(tmp_path: Path) -> None:
    async def main(address: str) -> None:
        path = write_config(tmp_path, address, more=VXLAN)
        async with running(path) as plain:
            eswitch = plain.controller.switch.eswitch
            term = TunnelTermEntry(6, LOCAL, 7, 3)
            assert await eswitch.read_tunnels() == [term]
            assert set(await eswitch.read_vports()) == {
                *(VportEntry(1, tag, 1) for tag in (None, 0)),
                *(VportEntry(3, tag, 3, 3) for tag in (None, 0)),
                VportEntry(BARRIER_PORT, None, BARRIER_VPORT),
            }
            bench = TunnelBench(plain.controller)
            await bench.connect()
            # Hardware from here on: a reply through the tunnel and its answer into it.
            record = next(plain.controller.manager.active())
            hops = await eswitch.read_next_hops()
            assert {(hop.kind, hop.port, hop.mtu) for hop in hops} == {
                ("vxlan", 3, 1450),
                ("output", 1, 0),
            }
            reply = build.tcp_frame(
                eth_src=MAC[3], eth_dst=MAC[1], src=IP[3], dst=IP[1],
                sport=80, dport=40000, seq=3001, ack=1001, flags=ACK,
            )  # fmt: skip
            bench.packet(3, reply)
            await bench.tcp(1, SYN)  # goes up, behind the reply
            assert await plain.controller.refresh()
            outer = 14 + 40 + 8 + 8
            assert record.last == [(0, 0), (1, len(reply) + outer)]
            # What is not of the configuration goes, what is missing comes back.
            wrong = TunnelTermEntry(4, bytes([192, 0, 2, 1]), 9, 5)
            assert await eswitch.write([Insert(wrong), Delete(term)]) == [None, None]
        async with running(path) as plain:
            assert await plain.controller.switch.eswitch.read_tunnels() == [term]

    with softswitch() as (address, _):
        asyncio.run(main(address))


def test_a_tunnelled_packet_that_the_eswitch_left_alone(tmp_path: Path) -> None:
    """Its row is not there yet: software takes it out of the tunnel."""

    async def main(address: str) -> None:
        async with running(write_config(tmp_path, address, more=VXLAN)) as plain:
            eswitch = plain.controller.switch.eswitch
            term = TunnelTermEntry(6, LOCAL, 7, 3)
            assert await eswitch.write([Delete(term)]) == [None]
            bench = TunnelBench(plain.controller)
            slow = plain.controller.slow_path
            arp = build.arp_frame(op=1, sha=MAC[3], spa=IP[3], tpa=IP[1])
            bench.packet(3, arp)
            await until(lambda: slow.wire.decapsulated == 1, "the packet is taken out")
            assert slow.punts["UNKNOWN_VPORT"] == 1
            assert plain.controller.pipeline.macs.lookup(0, MAC[3], 0.0) == 3
            assert slow.sent == 1

    with softswitch() as (address, _):
        asyncio.run(main(address))

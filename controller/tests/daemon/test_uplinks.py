# SPDX-License-Identifier: Apache-2.0
"""`p4ct vport move` on the embedded target: connections follow, and a refusal changes nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from p4ct.daemon.commands import CommandError, carry_out
from p4ct.daemon.switch import BARRIER_VPORT
from p4ct.eswitch.entries import (
    CtEntry,
    EntryError,
    EswitchError,
    Modify,
    NextHopEntry,
    Op,
    VportEntry,
)
from p4ct.packet import build

from .bench import ACK, IP, MAC, Bench, controller_of, running, softswitch, until, write_config

# The first push compiles the program.
pytestmark = pytest.mark.timeout(180)

TUNNEL = """\
[[vport]]
id = 4
name = "far"
port = 9

[vport.vxlan]
vni = 7
local = "192.0.2.1"
remote = "192.0.2.2"
outer_eth_src = "02:00:00:00:01:01"
outer_eth_dst = "02:00:00:00:01:02"
"""


def data(bench: Bench, source: int) -> bytes:
    """An ACK of the connection 40000 > 80."""
    other = 4 - source
    ports = {1: 40000, 3: 80}
    return build.tcp_frame(
        eth_src=MAC[source], eth_dst=MAC[other], src=IP[source], dst=IP[other],
        sport=ports[source], dport=ports[other],
        seq=bench.seq[source, 40000], ack=bench.seq[other, 40000], flags=ACK, payload=b"",
    )  # fmt: skip


async def held(bench: Bench) -> tuple[set[VportEntry], dict[int, NextHopEntry], list[CtEntry]]:
    """What the switch has: vports but the barrier's, next hops, connection entries."""
    eswitch = bench.controller.switch.eswitch
    vports = {row for row in await eswitch.read_vports() if row.vport != BARRIER_VPORT}
    hops = {hop.next_hop: hop for hop in await eswitch.read_next_hops()}
    return vports, hops, sorted(await eswitch.read_ct_entries(), key=lambda e: e.key)


async def hits(bench: Bench) -> list[int]:
    """Packets that the one connection's entries have forwarded, by direction."""
    await bench.controller.refresh()
    (connection,) = bench.controller.tracker.select()
    return list(connection.hw_packets)


def test_connections_follow_a_vport(tmp_path: Path) -> None:
    async def main(address: str) -> None:
        async with running(write_config(tmp_path, address)) as bench:
            await bench.connect()
            _, hops, entries = await held(bench)
            writes: list[Op] = []
            eswitch = bench.controller.switch.eswitch
            write = eswitch.write

            async def recorded(ops: Any) -> Any:
                writes.extend(ops)
                return await write(ops)

            eswitch.write = recorded  # type: ignore[method-assign]
            answer = await carry_out(bench.controller, "vport-move", {"vports": ["ext"], "port": 4})
            eswitch.write = write  # type: ignore[method-assign]
            assert answer == {"vports": ["ext"], "next_hops": 1, "entries": 1}
            assert [op for op in writes if not isinstance(op.entry, VportEntry)] == [
                Modify(NextHopEntry(1, port=4, vlan_op=hops[1].vlan_op))
            ]
            vports, after, same = await held(bench)
            places = {(1, 1), (4, 3)}
            assert vports == {VportEntry(p, tag, v) for p, v in places for tag in (None, 0)}
            assert {number: hop.port for number, hop in after.items()} == {1: 4, 2: 1}
            assert same == entries
            # The peer behind the new port hits the entries that were made for the old one.
            punted = bench.controller.slow_path.punted[0]
            bench.packet(1, data(bench, 1))
            bench.packet(4, data(bench, 3))
            assert await bench.controller.switch.barrier()
            assert bench.controller.slow_path.punted[0] == punted
            assert await hits(bench) == [1, 1]
            # The old port is nobody's now.
            drops = bench.controller.slow_path.drops
            bench.packet(3, data(bench, 3))
            await until(lambda: drops["unknown vport"] == 1, "the old port's frame is dropped")
            shown = await carry_out(bench.controller, "vport-list", {})
            ext = next(item for item in shown if item["name"] == "ext")
            assert (ext["port"], ext["next_hop"], ext["entries"]) == (4, 1, 1)

    with softswitch() as (address, _):
        asyncio.run(main(address))


WRITTEN = """\
table=0,priority=100,arp,actions=NORMAL
table=0,priority=50,ip,actions=ct(zone=1,table=1)
table=1,priority=90,ct_state=+trk+est,actions=goto_table:2
table=1,priority=80,in_port=vm1,ct_state=+trk+new,ip,actions=ct(commit,zone=1,table=2)
table=1,priority=0,actions=drop
table=2,priority=2,in_port=vm1,ip,tcp,tp_dst=80,actions=WRITES,ext
table=2,priority=0,actions=NORMAL
"""


@pytest.mark.parametrize(
    "writes",
    [
        "dec_ttl,mod_dl_src:02:00:00:00:00:aa,mod_dl_dst:02:00:00:00:00:bb",
        "mod_vlan_vid:5",
    ],
)
def test_entries_that_write_follow_and_are_counted(tmp_path: Path, writes: str) -> None:
    async def main(address: str) -> None:
        path = write_config(tmp_path, address, policy=WRITTEN.replace("WRITES", writes))
        async with running(path) as bench:
            await bench.connect()
            answer = await carry_out(bench.controller, "vport-move", {"vports": ["ext"], "port": 4})
            assert answer == {"vports": ["ext"], "next_hops": 1, "entries": 1}
            _, hops, _ = await held(bench)
            assert sorted(hop.port for hop in hops.values()) == [1, 4]

    with softswitch() as (address, _):
        asyncio.run(main(address))


def test_a_refused_move_changes_nothing(tmp_path: Path) -> None:
    async def main(address: str) -> None:
        async with running(write_config(tmp_path, address)) as bench:
            await bench.connect()
            before = await held(bench)
            eswitch = bench.controller.switch.eswitch
            write = eswitch.write

            async def refuses_next_hops(ops: Any) -> Any:
                """Carries out the rest, so that there is something to take back."""
                kept = [op for op in ops if not isinstance(op.entry, NextHopEntry)]
                await write(kept)
                bad = [op for op in ops if isinstance(op.entry, NextHopEntry)]
                eswitch.write = write  # type: ignore[method-assign]
                return [EntryError(op, "RESOURCE_EXHAUSTED", "was told to") for op in bad]

            eswitch.write = refuses_next_hops  # type: ignore[method-assign]
            with pytest.raises(EswitchError, match="nothing was moved: was told to"):
                await carry_out(bench.controller, "vport-move", {"vports": ["ext"], "port": 4})
            assert bench.controller.config.ports.by_name["ext"].port == 3
            await until(lambda: bench.ready, "the controller agrees with the switch again")
            vports, hops, entries = await held(bench)
            assert (vports, hops) == before[:2]
            assert [entry.key for entry in entries] == [entry.key for entry in before[2]]
            bench.packet(3, data(bench, 3))
            assert await bench.controller.switch.barrier()
            assert await hits(bench) == [0, 1]

    with softswitch() as (address, _):
        asyncio.run(main(address))


def test_the_route_of_a_tunnel(tmp_path: Path) -> None:
    """Another gateway: the outer MAC address changes, and nothing else is written."""

    async def main(address: str) -> None:
        async with running(write_config(tmp_path, address, more=TUNNEL)) as bench:
            controller = bench.controller
            before = await held(bench)
            way = {"vports": ["far"], "outer_eth_dst": "02:00:00:00:01:03"}
            await carry_out(controller, "vport-move", way)
            assert controller.config.ports.tunnels[4].eth_dst == bytes([2, 0, 0, 0, 1, 3])
            assert await held(bench) == before

    with softswitch() as (address, _):
        asyncio.run(main(address))


MISTAKES = [
    ({"vports": ["exit"], "port": 4}, "there is no vport 'exit'; there are: vm1, ext, far"),
    ({"vports": ["ext"], "port": 508}, "port 508 is not in 0 to 507"),
    ({"vports": ["ext"], "port": 3}, "vport 'ext' is there already"),
    ({"vports": ["ext"]}, "say where to: a port, or the outer MAC addresses of a tunnel"),
    (
        {"vports": ["ext"], "outer_eth_dst": "02:00:00:00:01:03"},
        "vport 'ext' is in no tunnel; only those have outer_eth_dst",
    ),
    ({"vports": ["far"], "outer_eth_dst": "here"}, "outer_eth_dst: "),
]


@pytest.mark.parametrize(("arguments", "said"), MISTAKES)
def test_mistakes(tmp_path: Path, arguments: dict[str, Any], said: str) -> None:
    async def main() -> None:
        controller = controller_of(write_config(tmp_path, more=TUNNEL))
        with pytest.raises(CommandError) as error:
            await carry_out(controller, "vport-move", arguments)
        assert str(error.value).startswith(said)

    asyncio.run(main())


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    async def main(address: str) -> None:
        async with running(write_config(tmp_path, address)) as bench:
            with pytest.raises(CommandError, match="both claim untagged frames of port 1"):
                await carry_out(bench.controller, "vport-move", {"vports": ["ext"], "port": 1})
            assert bench.ready

    with softswitch() as (address, _):
        asyncio.run(main(address))


def test_a_switch_that_is_away(tmp_path: Path) -> None:
    async def main() -> None:
        controller = controller_of(write_config(tmp_path))
        with pytest.raises(EswitchError, match=r"nothing was moved: the switch .* not connected"):
            await carry_out(controller, "vport-move", {"vports": ["ext"], "port": 4})
        assert controller.config.ports.by_name["ext"].port == 3

    asyncio.run(main())

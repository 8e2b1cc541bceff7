# SPDX-License-Identifier: Apache-2.0
"""Next hops: one row for each vport, rewritten under the connections behind it."""

from __future__ import annotations

import msgspec
import pytest
from p4ct.eswitch.enums import VlanOp
from p4ct.offload.next_hops import NextHopKey, keys_of, next_hop_row, rewrites
from p4ct.offload.policy_change import PolicyChange
from p4ct.packet import build
from p4ct.pipeline.ports import PortError, PortTable, Vport, Vxlan

from .model import ACK, Tcp, World, finish, learn

TUNNEL = Vxlan(7, "192.0.2.1", "192.0.2.2", "02:00:00:00:01:01", "02:00:00:00:01:02")


def table() -> PortTable:
    return PortTable(
        [
            Vport(1, "plain", 1),
            Vport(2, "tagged", 1, vlan=100),
            Vport(3, "same", 2, vlan=100, mtu=1400),
            Vport(4, "tunnel", 2, vxlan=TUNNEL),
            Vport(5, "inside", 2, vlan=100, vxlan=TUNNEL),
        ]
    )


def move(world: World, vport: int, port: int) -> int:
    """What `p4ct vport move` does to the switch's next hops; how many rows that is."""
    world.ports.change([msgspec.structs.replace(world.ports.by_id[vport], port=port)])
    ops = rewrites(world.manager.next_hops, world.ports, {vport})
    assert finish(world.switch.write(ops)) == [None] * len(ops)
    return len(ops)


def test_a_row_tells_whose_it_is() -> None:
    ports = table()
    for number in ports.by_id:
        row = next_hop_row(ports, NextHopKey(number), 9)
        assert row.next_hop == 9
        assert keys_of(ports, row)[0] == NextHopKey(number)


def test_a_row_that_we_would_not_write_is_nobodys() -> None:
    ports = table()
    row = next_hop_row(ports, NextHopKey(3), 9)
    for field, value in {"port": 7, "mtu": 9000, "vlan_op": VlanOp.KEEP, "kind": "route"}.items():
        other = type(row)(**{**{f: getattr(row, f) for f in row.__slots__}, field: value})
        assert keys_of(ports, other) == []


def test_a_move_redirects_every_connection_with_one_row() -> None:
    world = World()
    learn(world)
    connections = [Tcp(world, 40000 + n, v6=n % 2 == 1).offload() for n in range(20)]
    before = dict(world.switch.ct)
    assert move(world, 3, 4) == 1
    assert world.switch.ct == before
    world.delivered.clear()
    for tcp in connections:
        assert tcp.send("vm1", ACK, b"there") == "hardware"
        assert tcp.send("ext", ACK, b"and back") == "hardware"
    assert [port for port, _ in world.delivered] == [4, 1] * 20


def test_software_sends_where_hardware_does() -> None:
    world = World()
    learn(world)
    move(world, 3, 4)
    world.delivered.clear()
    tcp = Tcp(world).offload()
    tcp.close()
    tcp.send("vm1", ACK)
    assert {port for port, _ in world.delivered} == {1, 4}


def test_a_policy_change_after_a_move_keeps_what_is_still_allowed() -> None:
    world = World()
    learn(world)
    tcp = Tcp(world).offload()
    move(world, 3, 4)
    change = world.pipeline.add(
        world.flows("table=1,priority=95,ct_mark=5,actions=drop"), world.now
    )
    assert world.carry_out(PolicyChange(world.manager, change)) == []
    assert world.manager.policy.decided == 1
    assert tcp.send("vm1", ACK, b"still") == "hardware"


def test_entries_survive_a_reconciliation_after_a_move() -> None:
    world = World()
    learn(world)
    tcp = Tcp(world).offload()
    move(world, 3, 4)
    assert world.reconcile().kept == 1
    world.delivered.clear()
    assert tcp.send("vm1", ACK, b"there") == "hardware"
    assert [port for port, _ in world.delivered] == [4]


def test_a_controller_with_another_port_decides_anew_and_cuts_nobody() -> None:
    world = World()
    learn(world)
    tcp = Tcp(world).offload()
    move(world, 3, 4)
    again = World(switch=world.switch)  # reads port 3 from its configuration
    drift = again.reconcile()
    assert (drift.kept, dict(drift.removed)) == (0, {"it is sent elsewhere now": 1})
    assert again.switch.empty
    tcp.world = again
    # The server goes on first: a connection that was forgotten could not.
    assert tcp.send("ext", ACK, b"data") == "software"
    assert [port for port, _ in again.delivered] == [1]
    tcp.send("vm1", ACK)
    again.delivered.clear()
    assert tcp.send("vm1", ACK, b"there") == "hardware"
    assert [port for port, _ in again.delivered] == [3]


def test_a_port_that_is_taken_is_refused_and_nothing_changes() -> None:
    ports = table()
    with pytest.raises(PortError, match="both claim VLAN 100 of port 2"):
        ports.change([msgspec.structs.replace(ports.by_id[2], port=2)])
    assert ports.by_id[2].port == 1
    assert ports.on_wire(1, None, 100) == ports.by_id[2]


def test_arp_follows_at_once() -> None:
    """What has no entry is software's, and goes the new way as well."""
    world = World()
    learn(world)
    move(world, 3, 4)
    frame = build.arp_frame(
        op=1, sha=bytes([2, 0, 0, 0, 0, 1]), spa="10.0.0.1", tha=bytes(6), tpa="10.0.0.3"
    )
    world.packet(frame, 1)
    assert [port for port, _ in world.delivered] == [4]

# SPDX-License-Identifier: Apache-2.0
"""Conntrack ends a connection that has entries, without a packet of it."""

from __future__ import annotations

from p4ct.conntrack import Connection, Event
from p4ct.conntrack.saved import save
from p4ct.offload.decide import Mode
from p4ct.offload.manager import OffloadOptions
from p4ct.packet import build

from .model import ACK, IP, MAC, SYN, Tcp, World, learn


def assuming(max_connections: int = 1000) -> World:
    world = World(options=OffloadOptions(mode=Mode.ASSUME), max_connections=max_connections)
    learn(world)
    return world


def datagram(world: World, sport: int) -> str:
    frame = build.udp_frame(
        eth_src=MAC["vm1"],
        eth_dst=MAC["ext"],
        src=IP["vm1"],
        dst=IP["ext"],
        sport=sport,
        dport=53,
    )
    return world.packet(frame, 1)


def test_nobody_waits_for_what_an_import_has_evicted_and_is_gone() -> None:
    donor = assuming()
    for sport in (9000, 9001):
        datagram(donor, sport)
    world = assuming(max_connections=2)
    datagram(world, 4000)
    datagram(world, 4000)
    datagram(world, 4001)
    (record,) = world.manager.records.values()
    for connection in donor.connections():
        assert world.tracker.load(save(connection, donor.now), world.now)
    world.rounds()
    assert record.members[0].connection.alive is False
    assert world.switch.empty
    world.delivered.clear()
    datagram(world, 4500)
    assert (len(world.delivered), world.slow_path.held) == (1, 0)


def test_the_last_reading_does_not_establish_a_connection_that_has_ended() -> None:
    world = assuming()
    events: list[Event] = []
    before = world.tracker.on_event
    assert before is not None

    def heard(event: Event, connection: Connection, now: float) -> None:
        events.append(event)
        before(event, connection, now)

    other = Tcp(world, 50000)
    other.send("vm1", SYN)
    tcp = Tcp(world)
    tcp.send("vm1", SYN)
    tcp.send("ext", SYN | ACK)
    assert tcp.send("vm1", ACK) == "hardware"
    ended = next(c for c in world.connections() if c.original.sport == 40000)
    world.tracker.on_event = heard
    world.tracker.remove(ended, world.now)
    world.rounds()
    assert world.switch.empty
    assert events == [Event.DESTROY]
    assert (ended.state_name, ended.assured) == ("SYN_RECV", False)
    assert world.tracker.by_state == {"SYN_SENT": 1}

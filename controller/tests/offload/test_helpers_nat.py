# SPDX-License-Identifier: Apache-2.0
"""FTP and TFTP through NAT: both ends see an exchange without a gap, in their own numbers.

The client is vm1, the server ext. The client's address is translated to `outside`, or the server is
known to the client as `outside`.
"""

from __future__ import annotations

import pytest
from p4ct.packet import build
from p4ct.packet.parse import Packet, parse
from p4ct.packet.text import format_ip

from .ftp import OUTSIDE, VPORT, End, Pair, control, line_of, policy, sound, translated_line
from .model import ACK, IP, IP6, MAC, World, learn

CASES = [
    (nat, version, OUTSIDE[version][n], command)
    for nat in ("snat", "dnat")
    for version, commands in ((4, ("PORT", "EPRT", "227", "229")), (6, ("EPRT", "229")))
    for command in commands
    for n in (0, 1)
]


@pytest.mark.parametrize(("nat", "version", "outside", "command"), CASES)
def test_ftp(nat: str, version: int, outside: str, command: str) -> None:
    pair = control(nat, version, outside)
    client, server = pair.client, pair.server
    active = command in ("PORT", "EPRT")
    announcer, listener = (client, server) if active else (server, client)
    for port in (30000, 30001, 50000):
        line = line_of(command, announcer.own, port)
        # It names the address that the other end knows.
        read = pair.say(announcer, line)
        assert read == translated_line(command, listener.peer, port)
        pair.chat()
    # The other end calls what it has read, and reaches the announcer from the address it knows.
    world = pair.world
    caller = End(world, listener.name, listener.own, listener.peer, (20, 50000))
    callee = End(world, announcer.name, announcer.own, announcer.peer, (50000, 20))
    callee.send_next, caller.send_next = 77, 99
    data = Pair(world, caller, callee).open()
    data.say(caller, b"data")
    data.say(callee, b"data")
    (found,) = [c for c in world.connections() if c.original.sport == 20]
    assert found.offload is not None
    (parent,) = [c for c in world.connections() if c.helper]
    assert parent.offload is None
    assert parent.offload_reason == "a helper reads its packets: ftp"
    assert len(world.tracker.helpers.expectations) == 0


@pytest.mark.parametrize("outside", OUTSIDE[4])
def test_a_command_that_is_sent_again(outside: str) -> None:
    pair = control("snat", 4, outside)
    line = line_of("PORT", pair.client.own, 30000)
    frame = pair.client.frame(ACK, line)
    first = pair.client.send(ACK, line)
    assert pair.server.receive(first) == line_of("PORT", outside, 30000)
    # The acknowledgement was lost: the same segment, and then the conversation goes on.
    again = pair.client.arrives(frame)
    assert again.frame == first.frame
    assert pair.server.receive(again, again=True) == line_of("PORT", outside, 30000)
    pair.client.receive(pair.server.send(ACK))
    pair.chat()
    for port in (30001, 30002):
        pair.say(pair.client, line_of("PORT", pair.client.own, port))
        pair.chat()


def test_an_announced_port_that_is_expected_already_gets_another_number() -> None:
    outside = OUTSIDE[4][0]
    pair = control("snat", 4, outside)
    pair.say(pair.client, line_of("PORT", pair.client.own, 30000))
    second = End(pair.world, "vm1", pair.client.own, IP["ext"], (40001, 21))
    server = End(pair.world, "ext", IP["ext"], outside, (21, 40001))
    other = Pair(pair.world, second, server).open()
    other.say(second, b"USER x\r\n")
    read = other.say(second, line_of("PORT", second.own, 30000))
    assert read == line_of("PORT", outside, 30001)
    callee = End(pair.world, "vm1", second.own, IP["ext"], (30000, 20))
    caller = End(pair.world, "ext", IP["ext"], outside, (20, 30001))
    callee.send_next = 50
    Pair(pair.world, caller, callee).open()


def test_without_room_the_announcement_is_dropped() -> None:
    pair = control("snat", 4, OUTSIDE[4][0])
    pair.world.tracker.helpers.expectations.limit = 0
    frame = pair.client.frame(ACK, line_of("PORT", pair.client.own, 30000))
    pair.world.delivered.clear()
    pair.world.packet(frame, 1)
    assert pair.world.delivered == []
    assert pair.world.pipeline.drops == {"ftp: no free port for what it announces": 1}


@pytest.mark.parametrize("nat", ["snat", "dnat"])
@pytest.mark.parametrize("version", [4, 6])
def test_tftp(nat: str, version: int) -> None:
    ips, outside = (IP, OUTSIDE[4][1]) if version == 4 else (IP6, OUTSIDE[6][1])
    source, target = (outside, "") if nat == "snat" else ("", ips["ext"])
    world = World(policy=policy(source, target))
    learn(world)
    seen_client = outside if nat == "snat" else ips["vm1"]
    seen_server = outside if nat == "dnat" else ips["ext"]

    def send(name: str, dst: str, ports: tuple[int, int], data: bytes) -> Packet:
        other = "ext" if name == "vm1" else "vm1"
        frame = build.udp_frame(
            eth_src=MAC[name], eth_dst=MAC[other], src=ips[name], dst=dst, sport=ports[0],
            dport=ports[1], payload=data,
        )  # fmt: skip
        world.delivered.clear()
        world.packet(frame, VPORT[name])
        ((_, got),) = world.delivered
        sound(got)
        return parse(got)

    asked = send("vm1", seen_server, (5000, 69), b"\0\1file\0octet\0")
    assert (format_ip(asked.src), format_ip(asked.dst)) == (seen_client, ips["ext"])
    answer = send("ext", seen_client, (33333, asked.sport), b"\0\3\0\1data")
    assert (format_ip(answer.src), format_ip(answer.dst)) == (seen_server, ips["vm1"])
    assert (answer.sport, answer.dport) == (33333, 5000)
    ack = send("vm1", seen_server, (5000, 33333), b"\0\4\0\1")
    assert (format_ip(ack.src), format_ip(ack.dst)) == (seen_client, ips["ext"])
    assert (ack.sport, ack.dport) == (asked.sport, 33333)

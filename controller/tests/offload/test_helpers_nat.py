# SPDX-License-Identifier: Apache-2.0
"""FTP and TFTP through NAT: both ends see an exchange without a gap, in their own numbers.

The client is vm1, the server ext. The client's address is translated to `outside`, or the server is
known to the client as `outside`.
"""

from __future__ import annotations

import pytest
from p4ct.packet import build
from p4ct.packet.parse import Packet, parse
from p4ct.packet.segment import payload_of
from p4ct.packet.text import format_ip
from scapy.layers.inet import TCP, UDP
from scapy.layers.l2 import Ether

from .model import ACK, FIN, IP, IP6, MAC, SYN, World, learn

#: Shorter and longer than the addresses that it stands for.
OUTSIDE = {4: ("1.1.1.1", "192.168.100.200"), 6: ("f::", "fd00:1111:2222:3333:4444:5555:6666:7777")}
VPORT = {"vm1": 1, "ext": 3}
WORD = 0xFFFFFFFF


def policy(source: str, target: str) -> str:
    """Translate the source of what vm1 begins, or its target; data connections as announced."""
    lines = ["table=0,priority=100,arp,actions=NORMAL"]
    for family, tcp, udp in (("ip", "tcp", "udp"), ("ipv6", "tcp6", "udp6")):
        if (":" in (source or target)) != (family == "ipv6"):
            continue
        nat = f"nat(src={source})" if source else f"nat(dst={target})"
        for protocol, port, alg in ((tcp, 21, "ftp"), (udp, 69, "tftp")):
            lines.append(
                f"table=1,priority=85,in_port=vm1,{protocol},tp_dst={port},ct_state=+trk+new-rel,"
                f"actions=ct(commit,alg={alg},{nat},zone=1,table=2)"
            )
        lines += [
            f"table=0,priority=50,{family},actions=ct(zone=1,nat,table=1)",
            f"table=1,priority=95,{family},ct_state=+trk+new+rel,"
            "actions=ct(commit,nat,zone=1,table=2)",
        ]
    lines += [
        "table=1,priority=90,ct_state=+trk+est,actions=goto_table:2",
        "table=1,priority=0,actions=drop",
        "table=2,priority=0,actions=NORMAL",
    ]
    return "\n".join(lines)


class End:
    """One end of a TCP connection; it checks all that it gets."""

    def __init__(
        self, world: World, name: str, own: str, peer: str, ports: tuple[int, int]
    ) -> None:
        self.world = world
        self.name = name
        self.own, self.peer = own, peer
        self.ports = ports
        self.send_next = 5000 if name == "ext" else 1000
        self.expected = 0

    def frame(self, flags: int, payload: bytes = b"") -> bytes:
        other = "ext" if self.name == "vm1" else "vm1"
        return build.tcp_frame(
            eth_src=MAC[self.name], eth_dst=MAC[other], src=self.own, dst=self.peer,
            sport=self.ports[0], dport=self.ports[1], seq=self.send_next,
            ack=self.expected if flags & ACK else 0, flags=flags, payload=payload,
        )  # fmt: skip

    def send(self, flags: int, payload: bytes = b"") -> Packet:
        """Send, and what the other end gets of it."""
        frame = self.frame(flags, payload)
        used = len(payload) + bool(flags & SYN) + bool(flags & FIN)
        self.send_next = (self.send_next + used) & WORD
        return self.arrives(frame)

    def arrives(self, frame: bytes) -> Packet:
        self.world.delivered.clear()
        self.world.packet(frame, VPORT[self.name])
        ((port, got),) = self.world.delivered
        assert port != VPORT[self.name]
        sound(got)
        return parse(got)

    def receive(self, pkt: Packet, *, again: bool = False) -> bytes:
        """Take what has arrived, which must be what comes next, and be meant for this end."""
        assert (format_ip(pkt.src), format_ip(pkt.dst)) == (self.peer, self.own)
        assert (pkt.sport, pkt.dport) == (self.ports[1], self.ports[0])
        payload = payload_of(pkt)
        if pkt.flags & SYN:
            self.expected = pkt.seq
        if again:
            assert pkt.seq + len(payload) == self.expected
            return payload
        assert pkt.seq == self.expected
        if pkt.flags & ACK:
            assert pkt.ack == self.send_next
        used = len(payload) + bool(pkt.flags & SYN) + bool(pkt.flags & FIN)
        self.expected = (self.expected + used) & WORD
        return payload


def sound(frame: bytes) -> None:
    """Checksums and lengths are those that scapy would fill in."""
    packet = Ether(frame)
    for layer in (TCP, UDP):
        if layer in packet:
            del packet[layer].chksum
    assert bytes(packet) == frame
    assert parse(frame).error == ""


class Pair:
    """Two ends that know each other by these addresses."""

    def __init__(self, world: World, client: End, server: End) -> None:
        self.world, self.client, self.server = world, client, server

    def open(self) -> Pair:
        for sender, flags in ((self.client, SYN), (self.server, SYN | ACK), (self.client, ACK)):
            self.other(sender).receive(sender.send(flags))
        return self

    def other(self, end: End) -> End:
        return self.server if end is self.client else self.client

    def say(self, end: End, line: bytes) -> bytes:
        """A line and its acknowledgement; what the other end reads."""
        read = self.other(end).receive(end.send(ACK, line))
        end.receive(self.other(end).send(ACK))
        return read

    def chat(self) -> None:
        """A few lines both ways arrive as they are."""
        for end in (self.client, self.server, self.client):
            assert self.say(end, b"NOOP 1,2,3\r\n") == b"NOOP 1,2,3\r\n"


def control(kind: str, version: int, outside: str) -> Pair:
    """A control connection; the client is translated (SNAT), or the server (DNAT)."""
    ips = IP if version == 4 else IP6
    source, target = (outside, "") if kind == "snat" else ("", ips["ext"])
    world = World(policy=policy(source, target))
    learn(world)
    seen_client = outside if kind == "snat" else ips["vm1"]
    seen_server = outside if kind == "dnat" else ips["ext"]
    client = End(world, "vm1", ips["vm1"], seen_server, (40000, 21))
    server = End(world, "ext", ips["ext"], seen_client, (21, 40000))
    pair = Pair(world, client, server).open()
    pair.say(server, b"220 ready\r\n")
    pair.say(client, b"USER x\r\n")
    pair.say(server, b"230 welcome\r\n")
    return pair


def line_of(command: str, address: str, port: int) -> bytes:
    if command in ("PORT", "227"):
        numbers = ",".join((*address.split("."), str(port >> 8), str(port & 255)))
        text = f"PORT {numbers}" if command == "PORT" else f"227 Passive ({numbers})."
    elif command == "EPRT":
        text = f"EPRT |{2 if ':' in address else 1}|{address}|{port}|"
    else:
        text = f"229 Extended passive (|||{port}|)"
    return text.encode() + b"\r\n"


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
        assert read == line_of(command, listener.peer, port)
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

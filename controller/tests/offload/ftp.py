# SPDX-License-Identifier: Apache-2.0
"""FTP and TFTP, both ends of them: they check that they see an exchange without a gap.

The client is vm1, the server ext. The client's address is translated to `outside`, or the server is
known to the client as `outside`.
"""

from __future__ import annotations

from ipaddress import ip_address

from p4ct.offload.manager import OffloadOptions
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
        #: Frames that arrived of what this end sent.
        self.arrived: list[bytes] = []

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
        self.arrived.append(got)
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


def control(
    kind: str, version: int, outside: str, *, flows: str = "", enabled: bool = True, port: int = 21
) -> Pair:
    """A control connection; the client is translated (snat), or the server (dnat), or none."""
    ips = IP if version == 4 else IP6
    source, target = (outside, "") if kind == "snat" else ("", ips["ext"])
    text = flows or policy(source, target)
    world = World(policy=text, options=OffloadOptions(enabled=enabled))
    learn(world)
    seen_client = outside if kind == "snat" else ips["vm1"]
    seen_server = outside if kind == "dnat" else ips["ext"]
    client = End(world, "vm1", ips["vm1"], seen_server, (40000, port))
    server = End(world, "ext", ips["ext"], seen_client, (port, 40000))
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


def translated_line(command: str, address: str, port: int) -> bytes:
    """The line as it comes out of a translated connection: IPv6 addresses are written out."""
    return line_of(command, ip_address(address).exploded, port)

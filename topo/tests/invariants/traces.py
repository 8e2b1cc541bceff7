# SPDX-License-Identifier: Apache-2.0
"""Random traces: connections of all kinds, interleaved, with everything odd that peers can send.

A trace is made from a seed alone, before anything is sent.  The peers keep to the rules that make
a result independent of timing: they answer what they have received, and stay inside the windows
that they were given (a documented difference: conntrack does not know them while hardware
forwards).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from scapy.layers.inet import ICMP
from scapy.layers.inet6 import ICMPv6DestUnreach
from scapy.packet import Raw

from topo.tests.invariants.hosts import (
    ACK,
    EXT,
    FIN,
    PSH,
    RST,
    SYN,
    TAG,
    A,
    B,
    Host,
    echo,
    l3,
    tcp,
    udp,
)
from topo.tests.invariants.odd import odd_packets

URG, ECE, CWR = 0x20, 0x40, 0x80
PAIRS = ((A, B), (B, A), (A, EXT), (B, EXT), (EXT, A), (TAG, A), (B, TAG), (TAG, EXT))
#: What a step with a wrong TCP checksum is; what has to be equal is equal but for these.
DAMAGED = "bad TCP checksum"
ODD_FLAGS = (0, PSH, URG, 0xFF, SYN, SYN | FIN, SYN | ACK, FIN)
SIZES = (0, 1, 6, 12, 100, 600, 1300)


class Step(NamedTuple):
    """One frame (untagged) from a station; `quiet`: wait until nothing is being installed or
    removed afterwards, as peers do that wait for an answer."""

    connection: str
    src: Host
    frame: bytes
    what: str
    quiet: bool = False


def trace(seed: int, connections: int = 8, packets: int = 22) -> list[Step]:
    """The steps of about `connections` times `packets` packets."""
    chance = random.Random(seed)
    lives = [_life(chance, seed, number, packets) for number in range(connections)]
    result: list[Step] = []
    while lives:
        life = chance.choice(lives)
        for _ in range(chance.randint(1, 6)):
            step = next(life, None)
            if step is None:
                lives.remove(life)
                break
            result.append(step)
    return result


def _life(chance: random.Random, seed: int, number: int, packets: int) -> Iterator[Step]:
    version = chance.choice((4, 6))
    client, server = chance.choice(PAIRS)
    port = 1024 + (seed * 64 + number) % 60000
    kind = chance.choice(("tcp", "tcp", "tcp", "udp", "ping", "stranger"))
    if client is EXT and kind in ("udp", "ping"):
        kind = "tcp"  # policy lets nothing else begin there
    name = f"{number}: {kind} v{version} {client.name}:{port} > {server.name}"
    if kind == "tcp":
        return _Tcp(chance, name, (client, server), port, version).live(packets)
    if kind == "udp":
        return _udp(chance, name, (client, server), port, version, packets)
    if kind == "ping":
        return _ping(chance, name, (client, server), port, version, packets)
    return _stranger(chance, name, port, version, packets)


class _Tcp:
    """A TCP connection, several lives of it with the same tuple."""

    def __init__(
        self, chance: random.Random, name: str, hosts: tuple[Host, Host], port: int, version: int
    ) -> None:
        self.chance = chance
        self.name = name
        self.hosts = hosts
        self.ports = (port, 80)
        self.version = version
        self.next = [chance.getrandbits(32), chance.getrandbits(32)]
        #: What each side has acknowledged of the other's numbers.
        self.acked = [0, 0]
        self.open = [True, True]
        self.last: list[Step] = []

    def live(self, packets: int) -> Iterator[Step]:
        while packets > 0:
            length = self.chance.randint(8, max(9, packets))
            packets -= length
            self.open = [True, True]
            self.last.clear()
            yield from self._handshake()
            for _ in range(length):
                yield from self._one()
            yield from self._end()
            self.next = [n + 500_000 & 0xFFFFFFFF for n in self.next]

    def _segment(
        self, side: int, flags: int, payload: bytes = b"", what: str = "", **fields: int
    ) -> Step:
        given = {
            "sport": self.ports[side],
            "dport": self.ports[1 - side],
            "seq": self.next[side],
            "ack": self.next[1 - side] if flags & ACK else 0,
            "flags": flags,
            "window": 50000,
            **fields,
        }
        src, dst = self.hosts[side], self.hosts[1 - side]
        frame = tcp(src, dst, self.version, payload=payload, **given)
        quiet = bool(flags & (SYN | FIN | RST)) or self.chance.random() < 0.2
        return Step(self.name, src, frame, what or f"flags {flags:#x}", quiet)

    def _send(self, side: int, flags: int, payload: bytes = b"", what: str = "") -> Step:
        step = self._segment(side, flags, payload, what)
        used = len(payload) + bool(flags & SYN) + bool(flags & FIN)
        self.next[side] = (self.next[side] + used) & 0xFFFFFFFF
        self.acked[side] = self.next[1 - side] if flags & ACK else self.acked[side]
        self.last.append(step)
        return step

    def _handshake(self) -> Iterator[Step]:
        yield self._send(0, SYN, what="SYN")
        yield self._send(1, SYN | ACK, what="SYN/ACK")
        yield self._send(0, ACK, what="handshake")._replace(quiet=True)

    def _one(self) -> Iterator[Step]:
        side = self.chance.randrange(2)
        if not self.open[side]:
            yield self._send(side, ACK, what="ACK of a closed side")
            return
        dice = self.chance.random()
        if dice < 0.6:
            flags = ACK | self.chance.choice((0, PSH, PSH, ECE, CWR, URG))
            payload = self.chance.randbytes(self.chance.choice(SIZES))
            step = self._send(side, flags, payload, "data")
            if self.chance.random() < 0.3:
                step = step._replace(frame=step.frame + bytes(max(0, 60 - len(step.frame))))
            yield step
        elif dice < 0.7:
            yield self._send(side, ACK, what="ACK")
        elif dice < 0.8:
            yield self.chance.choice(self.last[3:] or self.last)._replace(what="retransmission")
        elif dice < 0.86:
            keep_alive = (self.next[side] - 1) & 0xFFFFFFFF
            yield self._segment(side, ACK, what="keep-alive", seq=keep_alive)
        else:
            yield self._odd(side)

    def _odd(self, side: int) -> Step:
        if self.chance.random() < 0.4:
            flags = self.chance.choice(ODD_FLAGS)
            return self._segment(side, flags, b"odd", f"odd flags {flags:#x}")
        good = self._segment(side, PSH | ACK, self.chance.randbytes(30))
        if self.chance.random() < 0.2:
            wrong = good.frame[:-20] + bytes(20)
            return good._replace(frame=wrong, what=DAMAGED)
        return good._replace(frame=self.chance.choice(odd_packets(good.frame)), what="odd IP")

    def _acknowledged(self) -> Iterator[Step]:
        """Everything that was sent is acknowledged: an RST is believed at that number only."""
        for side in (0, 1):
            if self.acked[side] != self.next[1 - side]:
                yield self._send(side, ACK, what="ACK")

    def _end(self) -> Iterator[Step]:
        how = self.chance.choice(("client", "server", "reset", "both", "open"))
        if how == "open":
            return
        yield from self._acknowledged()
        if how == "reset":
            yield self._send(self.chance.randrange(2), RST | ACK, what="RST")
        else:
            first = self.chance.randrange(2) if how == "both" else int(how == "server")
            yield self._send(first, FIN | ACK, what="first FIN")
            self.open[first] = False
            if how != "both":
                yield self._send(1 - first, ACK, what="ACK of the first FIN")
                for _ in range(self.chance.randint(0, 5)):
                    payload = self.chance.randbytes(40)
                    yield self._send(1 - first, PSH | ACK, payload, "half-closed data")
                    yield self._send(first, ACK, what="half-closed ACK")
            yield self._send(1 - first, FIN | ACK, what="second FIN")
            yield self._send(first, ACK, what="last ACK")
        if self.chance.random() < 0.5:
            yield self.chance.choice(self.last)._replace(what="late retransmission", quiet=True)


def _udp(
    chance: random.Random,
    name: str,
    hosts: tuple[Host, Host],
    port: int,
    version: int,
    packets: int,
) -> Iterator[Step]:
    ports = (port, 53)
    for number in range(packets):
        side = chance.randrange(2) if number > 1 else number
        src, dst = hosts[side], hosts[1 - side]
        payload = chance.randbytes(chance.choice(SIZES))
        frame = udp(src, dst, version, ports[side], ports[1 - side], payload)
        dice = chance.random()
        if dice < 0.1 and number > 1:
            yield Step(name, src, chance.choice(odd_packets(frame)), "odd IP")
        elif dice < 0.2 and number > 1:
            # About a datagram that the other side had sent.
            quoted = udp(dst, src, version, ports[1 - side], ports[side], b"quoted")[14:]
            about = ICMP(type=3, code=3) if version == 4 else ICMPv6DestUnreach(code=4)
            error = bytes(l3(src, dst, version) / about / Raw(quoted))
            yield Step(name, src, error, "ICMP error")
        else:
            yield Step(name, src, frame, "datagram", chance.random() < 0.3 or number < 4)


def _ping(
    chance: random.Random,
    name: str,
    hosts: tuple[Host, Host],
    identifier: int,
    version: int,
    packets: int,
) -> Iterator[Step]:
    for sequence in range(packets // 2):
        payload = chance.randbytes(chance.choice(SIZES))
        for side in (0, 1):
            src, dst = hosts[side], hosts[1 - side]
            frame = echo(src, dst, version, identifier, sequence, reply=bool(side), payload=payload)
            if chance.random() < 0.1:
                yield Step(name, src, chance.choice(odd_packets(frame)), "odd IP")
            yield Step(name, src, frame, "echo", chance.random() < 0.3 or sequence < 2)


def _stranger(
    chance: random.Random, name: str, port: int, version: int, packets: int
) -> Iterator[Step]:
    """What policy does not let begin, what floods, and a station that is seen elsewhere."""
    for _ in range(packets // 2):
        dice = chance.random()
        if dice < 0.4:
            flags = chance.choice((SYN, ACK, SYN | ACK, RST, FIN | ACK))
            frame = tcp(EXT, A, version, sport=port, dport=22, flags=flags, payload=b"no")
            yield Step(name, EXT, frame, "outside to inside")
        elif dice < 0.6:
            yield Step(name, B, udp(A, EXT, version, port, 53, b"spoofed"), "another's address")
        elif dice < 0.8:
            frame = udp(A, B, version, port, 9, b"nobody has this MAC")
            frame = bytes.fromhex("0200000000ee") + frame[6:]
            yield Step(name, A, frame, "unknown destination")
        else:
            yield Step(name, EXT, udp(EXT, B, version, port, 9, b"new"), "outside to inside")

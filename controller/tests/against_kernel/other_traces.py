# SPDX-License-Identifier: Apache-2.0
"""Random traces of everything but TCP: UDP, ICMP, ICMP errors, SCTP, GRE, other protocols."""

from __future__ import annotations

import random
from collections.abc import Iterator
from struct import pack

from p4ct.conntrack import Connection

from .packets import PROTO_GRE, Icmp, IcmpError, Ip, Pause, Step, Tcp, Udp
from .sctp_packets import (
    ABORT,
    COOKIE_ACK,
    COOKIE_ECHO,
    DATA,
    ERROR,
    HEARTBEAT,
    HEARTBEAT_ACK,
    INIT,
    INIT_ACK,
    SACK,
    SHUTDOWN,
    SHUTDOWN_ACK,
    SHUTDOWN_COMPLETE,
    Chunk,
    Sctp,
)
from .tcp_traces import TcpWriter


class Writer:
    """Base: `step` gives the next packet, `length` times."""

    def __init__(self, rng: random.Random, version: int, length: int = 20) -> None:
        self.rng = rng
        self.version = version
        self._left = length

    def __call__(self, conn: Connection | None) -> Step | Pause | None:
        """The next packet, given our connection now."""
        if not self._left:
            return None
        self._left -= 1
        return self.step(conn)

    def step(self, conn: Connection | None) -> Step | Pause:
        raise NotImplementedError


class UdpWriter(Writer):
    """Datagrams either way, some of them broken."""

    def step(self, conn: Connection | None) -> Step:
        draw = self.rng
        damage = draw.choice(("checksum", "zero", "length")) if draw.random() < 0.15 else ""
        return Udp(draw.getrandbits(1), draw.choice((0, 1, 2, 7, 100, 1400)), damage)


class StreamWriter(UdpWriter):
    """Datagrams, and a pause after which an answered connection is a stream."""

    def __init__(self, rng: random.Random, version: int, length: int = 20) -> None:
        super().__init__(rng, version, length)
        self._until_pause = rng.randrange(1, length // 2)

    def step(self, conn: Connection | None) -> Step | Pause:
        self._until_pause -= 1
        return Pause(2.5) if self._until_pause == 0 else super().step(conn)


class IcmpWriter(Writer):
    """Queries, their answers, and types that are neither."""

    def step(self, conn: Connection | None) -> Step:
        draw = self.rng
        if self.version == 4:
            usual = (8, 8, 0, 0, 13, 14, 15, 16, 17, 18)
            odd = (1, 2, 6, 7, 9, 10, 19, 30, 40, 41, 42, 255)
        else:
            usual = (128, 128, 129, 129, 139, 140)
            odd = (127, 130, 131, 132, 133, 134, 135, 136, 137, 141, 143, 144, 200, 255)
        kind = draw.choice(usual) if draw.random() < 0.85 else draw.choice(odd)
        code = draw.choice((0, 0, 0, 0, 1))
        damage = "checksum" if draw.random() < 0.05 else ""
        return Icmp(draw.getrandbits(1), kind, code, draw.choice((7, 7, 8)), damage)


class ErrorWriter(Writer):
    """A conversation, and ICMP errors about its packets and about packets that never were."""

    def __init__(self, rng: random.Random, version: int, length: int = 20) -> None:
        super().__init__(rng, version, length)
        kinds = {
            "tcp": TcpWriter(rng, 100),
            "udp": UdpWriter(rng, version, 100),
            "icmp": IcmpWriter(rng, version, 100),
            "sctp": SctpWriter(rng, version, 100),
            "other": IpWriter(rng, version, 100),
        }
        self._talk = kinds[rng.choice(tuple(kinds))]
        self._sent: list[Step] = []

    def step(self, conn: Connection | None) -> Step:
        draw = self.rng
        if not self._sent or draw.random() < 0.5:
            step = self._talk(conn)
            assert step is not None
            assert not isinstance(step, Pause)
            self._sent.append(step)
            return step
        quoted = draw.choice(self._sent)
        if draw.random() < 0.1:
            quoted = draw.choice(
                (
                    Udp(draw.getrandbits(1)),
                    Tcp(draw.getrandbits(1), 16, 1, 1),
                    Icmp(draw.getrandbits(1), 8 if self.version == 4 else 128),
                )
            )
        way = 1 - quoted.way if draw.random() < 0.8 else quoted.way
        kinds = (3, 3, 4, 5, 11, 12) if self.version == 4 else (1, 1, 2, 3, 4, 100, 127)
        code = draw.choice((0, 1, 3, 4))
        header = 20 if self.version == 4 else 40
        keep = draw.choice(
            (576, header + 8, header + 8, header + 7, header + 4, header + 2, header, 10, 0)
        )
        return IcmpError(
            way,
            draw.choice(kinds),
            code,
            quoted,
            keep,
            elsewhere=draw.random() < 0.1,
            router=draw.random() < 0.3,
            damage="checksum" if draw.random() < 0.05 else "",
        )


class IpWriter(Writer):
    """A protocol that has no tracker of its own; or GRE, with and without its PPTP form."""

    def __init__(self, rng: random.Random, version: int, length: int = 20) -> None:
        super().__init__(rng, version, length)
        self._proto = rng.choice((PROTO_GRE, 2, 50, 51, 89, 103, 112, 115, 253))
        if version == 6 and self._proto == 51:
            self._proto = 50  # in IPv6 an authentication header is an extension header

    def step(self, conn: Connection | None) -> Step:
        draw = self.rng
        payload = draw.randbytes(draw.choice((0, 2, 4, 8, 20)))
        if self._proto == PROTO_GRE:
            payload = draw.choice(
                (
                    pack("!HH", 0, 0x0800) + bytes(20),
                    pack("!HHL", 0x2000, 0x0800, draw.choice((1, 2))) + bytes(20),
                    pack("!HHHH", 0x3001, 0x880B, 4, draw.choice((5, 6))) + bytes(8),
                    pack("!HHHH", 0x3001, 0x0800, 4, 5) + bytes(8),
                    pack("!HH", 0x3001, 0x880B),
                    b"\0\0",
                    b"",
                )
            )
        return Ip(draw.getrandbits(1), self._proto, payload)


class SctpWriter(Writer):
    """Two SCTP peers that mostly behave."""

    def __init__(self, rng: random.Random, version: int, length: int = 20) -> None:
        super().__init__(rng, version, length)
        self._wild = rng.choice((0.1, 0.2, 0.4, 0.7))
        self._tags = [1, 2]
        self._sent: list[Sctp] = []
        self._plan = self._script()

    def step(self, conn: Connection | None) -> Step:
        draw = self.rng
        if draw.random() >= self._wild:
            packet = next(self._plan)
        elif self._sent and draw.random() < 0.3:
            packet = draw.choice(self._sent[-4:])
        else:
            packet = self._mishap()
        self._sent.append(packet)
        return packet

    def _send(self, way: int, *kinds: int, vtag: int | None = None) -> Sctp:
        """What `way` sends: with the other's tag, its own in INIT and INIT ACK."""
        tag = self._tags[1 - way] if vtag is None else vtag
        return Sctp(way, tag, tuple(Chunk(kind, tag=self._tags[way]) for kind in kinds))

    def _script(self) -> Iterator[Sctp]:
        draw = self.rng
        while True:
            self._tags = [draw.choice((1, 2, 0xFFFFFFFF, draw.getrandbits(32))) for _ in range(2)]
            kind = draw.choice(("usual", "usual", "usual", "heartbeat", "both", "none"))
            if kind == "usual":
                yield self._send(0, INIT, vtag=0)
                yield self._send(1, INIT_ACK)
                yield self._send(0, COOKIE_ECHO)
                yield self._send(1, COOKIE_ACK)
            elif kind == "heartbeat":
                yield self._send(0, HEARTBEAT)
                yield self._send(1, HEARTBEAT_ACK)
            elif kind == "both":
                for way in (0, 1):
                    yield self._send(way, INIT, vtag=0)
                for way in (1, 0):
                    yield self._send(way, INIT_ACK)
                yield self._send(0, COOKIE_ECHO)
                yield self._send(1, COOKIE_ACK)
            for _ in range(draw.choice((0, 1, 3))):
                way = draw.getrandbits(1)
                yield self._send(way, DATA)
                yield self._send(1 - way, SACK)
                if draw.random() < 0.3:
                    yield self._send(way, HEARTBEAT)
                    yield self._send(1 - way, HEARTBEAT_ACK)
            way = draw.getrandbits(1)
            ends = draw.choice(("shutdown", "shutdown", "abort", "none"))
            if ends == "shutdown":
                yield self._send(way, SHUTDOWN)
                yield self._send(1 - way, SHUTDOWN_ACK)
                yield self._send(way, SHUTDOWN_COMPLETE)
            elif ends == "abort":
                yield self._send(way, ABORT)

    def _mishap(self) -> Sctp:
        draw = self.rng
        kinds = (
            *(DATA, INIT, INIT_ACK, SACK, HEARTBEAT, HEARTBEAT_ACK, ABORT, SHUTDOWN),
            *(SHUTDOWN_ACK, ERROR, COOKIE_ECHO, COOKIE_ACK, SHUTDOWN_COMPLETE, 12, 200),
        )
        way = draw.getrandbits(1)
        count = draw.choice((1, 1, 1, 1, 2, 2, 3, 0))
        chunks: list[Chunk] = []
        for _ in range(count):
            odd = draw.random() < 0.1
            chunks.append(
                Chunk(
                    draw.choice(kinds),
                    draw.choice((0, 0, 0, 1)),
                    draw.choice((*self._tags, self._tags[way], 0, 77)),
                    draw.choice((0, 1, 3, 5, 40)) if odd else None,
                    draw.choice((b"", b"", b"x", b"1234", b"12345")),
                )
            )
        vtag = draw.choice((self._tags[1 - way], self._tags[1 - way], self._tags[way], 0, 77))
        if chunks and chunks[0].kind == INIT and draw.random() < 0.7:
            vtag = 0
        damage = draw.choice(("checksum", "short")) if draw.random() < 0.05 else ""
        return Sctp(way, vtag, tuple(chunks), damage)

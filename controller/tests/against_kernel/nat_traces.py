# SPDX-License-Identifier: Apache-2.0
"""Random traces through a router that translates: left is known to right by another address.

SNAT: left's packets come from 10.3.0.0/16 (fd03::/64) instead of 10.1.0.0/16 (fd01::/64).
DNAT: left asks for 10.4.0.0/16 (fd04::/64), and right, in 10.2.0.0/16 (fd02::/64), answers.

Packets are compared as they arrive, byte for byte but for what a router changes anyway. Traces keep
away from connections that right would begin: nothing translates these, and the port that left's
next one then gets is drawn at random by both.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from p4ct.conntrack import (
    Connection,
    CtResult,
    CtState,
    Direction,
    NatRange,
    Tracker,
    Tuple,
)
from p4ct.packet import Packet, parse
from p4ct.packet.build import icmp_frame
from p4ct.packet.parse import PROTO_ICMP, PROTO_ICMPV6
from p4ct.packet.quoted import translate_error
from p4ct.packet.rewrite import translate

from .packets import Ends, Icmp, IcmpError, Pause, Step, Udp, make_ends
from .subject import Subject
from .tcp_traces import TcpWriter

SNAT_RULES = """
table inet translate {
    chain source {
        type nat hook postrouting priority srcnat;
        snat ip prefix to ip saddr map { 10.1.0.0/16 : 10.3.0.0/16 }
        snat ip6 prefix to ip6 saddr map { fd01::/64 : fd03::/64 }
    }
}
"""
DNAT_RULES = """
table inet translate {
    chain target {
        type nat hook prerouting priority dstnat;
        dnat ip prefix to ip daddr map { 10.4.0.0/16 : 10.2.0.0/16 }
        dnat ip6 prefix to ip6 daddr map { fd04::/64 : fd02::/64 }
    }
}
"""
_LEFT, _RIGHT = 0, 1


def _in_net(address: bytes, net: int) -> bytes:
    return address[:1] + bytes([net]) + address[2:]


@dataclass(frozen=True)
class NatEnds(Ends):
    """Left and right have their own addresses; each knows the other by `known_as`.

    known_as: (how right knows left, how left knows right).
    """

    known_as: tuple[bytes, bytes] = (b"", b"")

    def tuple(self, way: int, proto: int, ports: bool = True) -> Tuple:
        plain = super().tuple(way, proto, ports)
        return plain._replace(dst=self.known_as[1 - way])

    def arrived(self) -> Ends:
        """Ends with which a packet is built as it arrives at the other end."""
        return _Arrived(self.version, self.addresses, self.ports, self.known_as)


class _Arrived(NatEnds):
    def tuple(self, way: int, proto: int, ports: bool = True) -> Tuple:
        plain = Ends.tuple(self, way, proto, ports)
        return plain._replace(src=self.known_as[way])


def snat_ends(number: int, version: int) -> Ends:
    plain = make_ends(number, version)
    left, right = plain.addresses
    return NatEnds(version, plain.addresses, plain.ports, (_in_net(left, 3), right))


def dnat_ends(number: int, version: int) -> Ends:
    plain = make_ends(number, version)
    left, right = plain.addresses
    return NatEnds(version, plain.addresses, plain.ports, (left, _in_net(right, 4)))


@dataclass(frozen=True)
class NatError(IcmpError):
    """An ICMP error that quotes a packet as it arrived at who sends the error."""

    def frame(self, ends: Ends) -> bytes:
        assert isinstance(ends, NatEnds)
        outer = parse(super().frame(ends))
        quote = self.quoted.frame(ends.arrived())[14 : 14 + self.keep]
        return icmp_frame(
            src=outer.src,
            dst=outer.dst,
            icmp_type=self.kind,
            icmp_code=self.code,
            body=bytes(4) + quote,
        )


class NatTcp:
    """TCP traces that left begins, each time that there is no connection."""

    def __init__(self, rng: random.Random, version: int) -> None:
        self._writer = TcpWriter(rng, 25)

    def __call__(self, conn: Connection | None) -> Step | Pause | None:
        while (step := self._writer(conn)) is not None:
            begins = step.flags & 0x12 == 2 or conn is None
            if step.way == _LEFT or not begins:
                return step
        return None


class NatOther:
    """Datagrams and echo both ways, and errors about what was sent."""

    def __init__(self, rng: random.Random, version: int) -> None:
        self._rng = rng
        self._version = version
        self._left = 20
        self._sent: list[Step] = []
        self._kind = rng.choice(("udp", "icmp"))

    def __call__(self, conn: Connection | None) -> Step | Pause | None:
        if not self._left:
            return None
        self._left -= 1
        draw = self._rng
        if self._sent and draw.random() < 0.4:
            return self._error(draw.choice(self._sent))
        way = _LEFT if conn is None else draw.choice((_LEFT, _RIGHT))
        step: Step
        if self._kind == "udp":
            step = Udp(way, draw.choice((0, 1, 4, 7, 100)), draw.choice(("", "", "", "zero")))
            if self._version == 6:
                step = Udp(way, step.length)  # RFC 8200: there is a checksum
        else:
            ask, answer = (8, 0) if self._version == 4 else (128, 129)
            step = Icmp(way, ask if way == _LEFT else answer)
        self._sent.append(step)
        return step

    def _error(self, quoted: Step) -> Step:
        draw = self._rng
        kinds = ((3, 1), (3, 3), (3, 4), (11, 0), (12, 0))
        if self._version == 6:
            kinds = ((1, 0), (1, 4), (2, 0), (3, 0), (4, 1))
        kind, code = draw.choice(kinds)
        header = 20 if self._version == 4 else 40
        keep = draw.choice((576, 576, header + 8, header + 8))
        return NatError(1 - quoted.way, kind, code, quoted, keep, router=draw.random() < 0.3)


class NatSubject(Subject):
    """Translates as the rules do: what comes from 10.1 or goes to 10.4."""

    def __init__(self, source: bool) -> None:
        super().__init__(Tracker(random=random.Random(1)))
        self.source = source

    def range(self, pkt: Packet) -> NatRange | None:
        if self.source and pkt.src[1] == 1:
            address = _in_net(pkt.src, 3)
        elif not self.source and pkt.dst[1] == 4:
            address = _in_net(pkt.dst, 2)
        else:
            return None
        return NatRange(self.source, address, address)

    def translate(self, pkt: Packet, result: CtResult) -> bool:
        conn = result.connection
        assert conn is not None
        self.leaves = _translated(pkt, conn, result.direction, bool(result.state & CtState.REL))
        return self.leaves is not None


def _translated(pkt: Packet, conn: Connection, direction: Direction, related: bool) -> bytes | None:
    """What `ct(nat)` makes of it."""
    if not conn.nat:
        return pkt.frame
    reply = direction is Direction.REPLY
    target = (conn.original if reply else conn.reply).reversed()
    if related and pkt.proto in (PROTO_ICMP, PROTO_ICMPV6):
        quoted = target.reversed()
        source, sink = (0x80, 0x40) if reply else (0x40, 0x80)
        error = translate_error(
            pkt,
            target.src if conn.nat & source else pkt.src,
            target.dst if conn.nat & sink else pkt.dst,
            (quoted.src, quoted.dst, quoted.sport, quoted.dport),
        )
        return None if error is None else error.frame
    return translate(pkt, (target.src, target.dst, target.sport, target.dport)).frame

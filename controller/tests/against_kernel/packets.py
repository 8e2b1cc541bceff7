# SPDX-License-Identifier: Apache-2.0
"""The packets of a trace, without addresses: the same trace can be sent again between other ends.

`way` is the host that sends: 0 left, 1 right. Every kind has `frame(ends)`, what goes on the wire,
and `key(ends)`, the connection to look at after it. Their repr can be pasted into a test.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import pack
from typing import Protocol

from p4ct.conntrack import Tuple
from p4ct.packet.build import icmp_frame, ip_frame, tcp_frame, udp_frame
from p4ct.packet.parse import PROTO_ICMP, PROTO_ICMPV6, PROTO_TCP, PROTO_UDP

PROTO_GRE, PROTO_SCTP = 47, 132


@dataclass(frozen=True)
class Ends:
    """Addresses and ports of left and right."""

    version: int
    addresses: tuple[bytes, bytes]
    ports: tuple[int, int] = (0, 0)

    def tuple(self, way: int, proto: int, ports: bool = True) -> Tuple:
        """The tuple of a packet that `way` sends."""
        sport, dport = (self.ports[way], self.ports[1 - way]) if ports else (0, 0)
        return Tuple(
            self.version, proto, self.addresses[way], self.addresses[1 - way], sport, dport
        )


def make_ends(number: int, version: int, ports: tuple[int, int] = (40000, 80)) -> Ends:
    """Ends that no other `number` (0..65534) has."""
    last = (number + 1).to_bytes(2, "big")
    if version == 4:
        return Ends(4, (b"\x0a\x01" + last, b"\x0a\x02" + last), ports)
    middle = bytes(12)
    return Ends(6, (b"\xfd\x01" + middle + last, b"\xfd\x02" + middle + last), ports)


class Step(Protocol):
    """One packet of a trace, or a pause."""

    @property
    def way(self) -> int: ...
    def frame(self, ends: Ends) -> bytes: ...
    def key(self, ends: Ends) -> Tuple: ...


@dataclass(frozen=True)
class Pause:
    """Nothing is sent for so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Tcp:
    """A segment. flags, seq, ack, window as on the wire; length of the payload in bytes.

    damage: "checksum" is wrong, data offset "short" (below 5) or "long" (beyond the segment).
    """

    way: int
    flags: int
    seq: int
    ack: int = 0
    window: int = 8192
    length: int = 0
    options: bytes = b""
    damage: str = ""

    def frame(self, ends: Ends) -> bytes:
        where = ends.tuple(self.way, PROTO_TCP)
        frame = tcp_frame(
            src=where.src,
            dst=where.dst,
            sport=where.sport,
            dport=where.dport,
            seq=self.seq,
            ack=self.ack,
            flags=self.flags,
            window=self.window,
            options=self.options,
            payload=self.payload(ends),
        )
        start = 14 + (20 if ends.version == 4 else 40)
        if self.damage == "checksum":
            return _with(frame, start + 16, frame[start + 16] ^ 0x55)
        if self.damage:
            offset = 4 if self.damage == "short" else 15
            return _with_l4_checksum(_with(frame, start + 12, offset << 4), ends, start, 16)
        return frame

    def payload(self, ends: Ends) -> bytes:
        """What it carries."""
        return bytes(self.length)

    def key(self, ends: Ends) -> Tuple:
        return ends.tuple(self.way, PROTO_TCP)


@dataclass(frozen=True)
class Udp:
    """A datagram. damage: "checksum" wrong, "zero" (none), "length" claims more than there is."""

    way: int
    length: int = 4
    damage: str = ""

    def frame(self, ends: Ends) -> bytes:
        where = ends.tuple(self.way, PROTO_UDP)
        frame = udp_frame(
            src=where.src,
            dst=where.dst,
            sport=where.sport,
            dport=where.dport,
            payload=self.payload(ends),
        )
        start = 14 + (20 if ends.version == 4 else 40)
        if self.damage == "checksum":
            return _with(frame, start + 6, frame[start + 6] ^ 0x55)
        if self.damage == "zero":
            return frame[: start + 6] + b"\0\0" + frame[start + 8 :]
        if self.damage == "length":
            return _with_l4_checksum(_with(frame, start + 4, 1), ends, start, 6)
        return frame

    def payload(self, ends: Ends) -> bytes:
        """What it carries."""
        return bytes(self.length)

    def key(self, ends: Ends) -> Tuple:
        return ends.tuple(self.way, PROTO_UDP)


@dataclass(frozen=True)
class Icmp:
    """An ICMP or ICMPv6 message that is not an error. damage: "checksum" is wrong."""

    way: int
    kind: int
    code: int = 0
    identifier: int = 7
    damage: str = ""

    def frame(self, ends: Ends) -> bytes:
        body = pack("!HH", self.identifier, 1) + bytes(12)
        where = ends.tuple(self.way, 0)
        frame = icmp_frame(
            src=where.src, dst=where.dst, icmp_type=self.kind, icmp_code=self.code, body=body
        )
        start = 14 + (20 if ends.version == 4 else 40)
        if self.damage == "checksum":
            return _with(frame, start + 2, frame[start + 2] ^ 0x55)
        return frame

    def key(self, ends: Ends) -> Tuple:
        proto = PROTO_ICMP if ends.version == 4 else PROTO_ICMPV6
        where = ends.tuple(self.way, proto)
        return where._replace(sport=self.identifier, dport=self.kind << 8 | self.code)


@dataclass(frozen=True)
class IcmpError:
    """An ICMP error that `way` (or a router behind it) sends about `quoted`.

    quoted: a packet in whatever way; `keep` bytes of its IP packet are quoted.   elsewhere: the
    error goes to another host than the quoted packet came from.   router: sent by a router.
    """

    way: int
    kind: int
    code: int
    quoted: Step
    keep: int = 576
    elsewhere: bool = False
    router: bool = False
    damage: str = ""

    def frame(self, ends: Ends) -> bytes:
        where = ends.tuple(self.way, 0)
        src, dst = where.src, where.dst
        if self.router:
            src = src[:-3] + b"\xee" + src[-2:]
        if self.elsewhere:
            dst = dst[:-1] + bytes([dst[-1] ^ 0xFF])
        if ends.version == 4 and self.router:
            src = where.src[:2] + b"\xff\xfe"
        quote = self.quoted.frame(ends)[14 : 14 + self.keep]
        frame = icmp_frame(
            src=src, dst=dst, icmp_type=self.kind, icmp_code=self.code, body=bytes(4) + quote
        )
        start = 14 + (20 if ends.version == 4 else 40)
        if self.damage == "checksum":
            return _with(frame, start + 2, frame[start + 2] ^ 0x55)
        return frame

    def key(self, ends: Ends) -> Tuple:
        return self.quoted.key(ends)


@dataclass(frozen=True)
class Ip:
    """Any other protocol: its number and its bytes."""

    way: int
    proto: int
    payload: bytes = bytes(8)

    def frame(self, ends: Ends) -> bytes:
        where = ends.tuple(self.way, self.proto)
        return ip_frame(src=where.src, dst=where.dst, proto=self.proto, payload=self.payload)

    def key(self, ends: Ends) -> Tuple:
        return ends.tuple(self.way, self.proto, ports=False)


def _with(frame: bytes, at: int, value: int) -> bytes:
    return frame[:at] + bytes([value]) + frame[at + 1 :]


def _with_l4_checksum(frame: bytes, ends: Ends, start: int, at: int) -> bytes:
    """The frame with a right checksum again; `at` is the field's offset in the L4 header."""
    from p4ct.packet.checksum import l4_checksum

    proto = frame[23] if ends.version == 4 else frame[20]
    segment = frame[start:]
    bare = segment[:at] + b"\0\0" + segment[at + 2 :]
    src, dst = (frame[26:30], frame[30:34]) if ends.version == 4 else (frame[22:38], frame[38:54])
    total = l4_checksum(src, dst, proto, bare)
    return frame[: start + at] + total.to_bytes(2, "big") + frame[start + at + 2 :]

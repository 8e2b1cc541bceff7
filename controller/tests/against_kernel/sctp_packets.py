# SPDX-License-Identifier: Apache-2.0
"""SCTP packets of a trace (RFC 9260 section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from struct import pack

from p4ct.conntrack import Tuple
from p4ct.packet.build import ip_frame

from .packets import PROTO_SCTP, Ends

DATA, INIT, INIT_ACK, SACK, HEARTBEAT, HEARTBEAT_ACK, ABORT, SHUTDOWN = range(8)
SHUTDOWN_ACK, ERROR, COOKIE_ECHO, COOKIE_ACK, SHUTDOWN_COMPLETE = 8, 9, 10, 11, 14

_POLYNOMIAL = 0x82F63B78


def _table() -> list[int]:
    table: list[int] = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


_CRC32C = _table()


def crc32c(data: bytes) -> int:
    """CRC32c (RFC 9260 appendix A), written apart from the one under test."""
    crc = 0xFFFFFFFF
    for octet in data:
        crc = crc >> 8 ^ _CRC32C[(crc ^ octet) & 0xFF]
    return crc ^ 0xFFFFFFFF


@dataclass(frozen=True)
class Chunk:
    """kind and flags as on the wire; tag: the initiate tag of INIT and INIT ACK.

    length: what the length field says instead of the truth; None: the truth.
    """

    kind: int
    flags: int = 0
    tag: int = 1
    length: int | None = None
    body: bytes = b""

    def encode(self) -> bytes:
        body = self.body
        if self.kind in (INIT, INIT_ACK) and not body:
            body = pack("!LLHHL", self.tag, 65536, 1, 1, 1)
        length = 4 + len(body) if self.length is None else self.length
        return pack("!BBH", self.kind, self.flags, length) + body + bytes(-len(body) % 4)


@dataclass(frozen=True)
class Sctp:
    """A packet of chunks. damage: "checksum" is wrong, "short": the header is cut off."""

    way: int
    vtag: int
    chunks: tuple[Chunk, ...]
    damage: str = ""

    def frame(self, ends: Ends) -> bytes:
        where = ends.tuple(self.way, PROTO_SCTP)
        body = b"".join(chunk.encode() for chunk in self.chunks)
        bare = pack("!HHLL", where.sport, where.dport, self.vtag, 0) + body
        crc = crc32c(bare) ^ (1 if self.damage == "checksum" else 0)
        packet = bare[:8] + crc.to_bytes(4, "little") + bare[12:]
        if self.damage == "short":
            packet = packet[:10]
        return ip_frame(src=where.src, dst=where.dst, proto=PROTO_SCTP, payload=packet)

    def key(self, ends: Ends) -> Tuple:
        return ends.tuple(self.way, PROTO_SCTP)

# SPDX-License-Identifier: Apache-2.0
"""VXLAN (RFC 7348) over IPv4 and IPv6, as the eswitch does it: p4src/stages/encapsulate.p4.

The same frame gets the same outer header here and there, to the bit.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from p4ct.packet.checksum import checksum
from p4ct.packet.parse import ETH_IPV4, ETH_IPV6, PROTO_UDP, parse

__all__ = ["PORT", "Decapsulated", "Tunnel", "crc16", "decapsulate", "encapsulate"]

PORT = 4789
HAS_VNI = 0x08

_IPV4 = Struct("!BBHHHBBH4s4s").pack
_IPV6 = Struct("!LHBB16s16s").pack
_UDP_VXLAN = Struct("!HHHHLL").pack
_FLOW = Struct("!16s16sBHH").pack
_U16 = Struct("!H").pack
_DONT_FRAGMENT = 0x4000


class Tunnel(NamedTuple):
    """What a frame is put into: outer IP addresses (both 4 or both 16 bytes) and MAC addresses.

    vni: 24 bits; dscp: 6 bits; ttl: TTL or hop limit.
    """

    vni: int
    src: bytes
    dst: bytes
    eth_src: bytes
    eth_dst: bytes
    dscp: int = 0
    ttl: int = 64


class Decapsulated(NamedTuple):
    """A frame that was inside VXLAN, and where its tunnel went."""

    dst: bytes
    vni: int
    frame: bytes


def _crc_table() -> tuple[int, ...]:
    table: list[int] = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0xA001 if byte & 1 else 0)
        table.append(byte)
    return tuple(table)


_CRC = _crc_table()


def crc16(data: bytes) -> int:
    """CRC-16/ARC: v1model's HashAlgorithm.crc16 on BMv2 (polynomial 0x8005 reflected, from 0)."""
    value = 0
    for byte in data:
        value = value >> 8 ^ _CRC[(value ^ byte) & 0xFF]
    return value


def encapsulate(frame: bytes, tunnel: Tunnel) -> bytes:
    """The frame inside the tunnel's outer headers.

    The UDP source port tells inner flows apart (RFC 7348 section 5); the inner ECN bits are seen
    outside (RFC 6040); there is no UDP checksum, over IPv6 neither (RFC 6935).
    """
    pkt = parse(frame)
    ecn = pkt.tos & 3 if pkt.version else 0
    flow = _FLOW(
        pkt.src.rjust(16, b"\0"),
        pkt.dst.rjust(16, b"\0"),
        max(pkt.proto, 0),
        pkt.sport,
        pkt.dport,
    )
    source_port = 0xC000 | crc16(flow) & 0x3FFF
    tos = tunnel.dscp << 2 | ecn
    udp_length = len(frame) + 16
    if len(tunnel.src) == 4:
        fields = (0x45, tos, udp_length + 20, 0, _DONT_FRAGMENT, tunnel.ttl, PROTO_UDP)
        header = _IPV4(*fields, 0, tunnel.src, tunnel.dst)
        header = _IPV4(*fields, checksum(header), tunnel.src, tunnel.dst)
        eth_type = ETH_IPV4
    else:
        first = 6 << 28 | tos << 20
        header = _IPV6(first, udp_length, PROTO_UDP, tunnel.ttl, tunnel.src, tunnel.dst)
        eth_type = ETH_IPV6
    vxlan = _UDP_VXLAN(source_port, PORT, udp_length, 0, HAS_VNI << 24, tunnel.vni << 8)
    return tunnel.eth_dst + tunnel.eth_src + _U16(eth_type) + header + vxlan + frame


def decapsulate(frame: bytes) -> Decapsulated | None:
    """What is inside a VXLAN frame; None for any other frame, a broken or a fragmented one.

    Whether the tunnel ends here is the caller's question.
    """
    pkt = parse(frame)
    if pkt.error or pkt.frag or pkt.proto != PROTO_UDP or pkt.dport != PORT:
        return None
    start = pkt.l4_offset + 8
    # The UDP length is what counts: frames may be padded.
    end = pkt.l4_offset + int.from_bytes(frame[start - 4 : start - 2], "big")
    if end > len(frame) or end - start < 8 + 14 or not frame[start] & HAS_VNI:
        return None
    vni = int.from_bytes(frame[start + 4 : start + 7], "big")
    return Decapsulated(pkt.dst, vni, frame[start + 8 : end])

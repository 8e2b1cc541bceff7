# SPDX-License-Identifier: Apache-2.0
"""The Internet checksum (RFC 1071), plain and with the pseudo headers of RFC 793, 768 and 8200; and
CRC32c, which SCTP uses (RFC 9260 appendix A).
"""

from __future__ import annotations

from struct import Struct

_PSEUDO_V6 = Struct("!16s16sL3xB").pack
_PSEUDO_V4 = Struct("!4s4sxBH").pack


def checksum(data: bytes) -> int:
    """16-bit one's complement of the one's complement sum; odd data is padded with a zero byte.

    Over data that already contains its correct checksum the result is 0.
    """
    if len(data) % 2:
        data += b"\0"
    total = int.from_bytes(data, "big")
    remainder = total % 0xFFFF
    if remainder == 0 and total:
        remainder = 0xFFFF  # the sum of non-zero data is never the "positive" zero
    return remainder ^ 0xFFFF


def l4_checksum(src: bytes, dst: bytes, proto: int, segment: bytes) -> int:
    """Checksum of a TCP, UDP or ICMPv6 segment whose checksum field is 0 (or is to be verified)."""
    if len(src) == 4:
        return checksum(_PSEUDO_V4(src, dst, proto, len(segment)) + segment)
    return checksum(_PSEUDO_V6(src, dst, len(segment), proto) + segment)


def _crc_table() -> tuple[int, ...]:
    table: list[int] = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ 0x82F63B78 if value & 1 else value >> 1
        table.append(value)
    return tuple(table)


_CRC = _crc_table()


def crc32c(data: bytes) -> int:
    """CRC32c; SCTP sends it with the least significant byte first."""
    crc = 0xFFFFFFFF
    for octet in data:
        crc = crc >> 8 ^ _CRC[(crc ^ octet) & 0xFF]
    return crc ^ 0xFFFFFFFF

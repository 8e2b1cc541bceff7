# SPDX-License-Identifier: Apache-2.0
"""Is the checksum of a packet's L4 header right? TCP, UDP, ICMP, ICMPv6 and SCTP.

Sources: RFC 1071, RFC 9293, 768, 792, 4443; RFC 9260 appendix A (CRC32c); `nf_ip_checksum` and
`sctp_error` in Linux, which take what the IP header says as the length.
"""

from __future__ import annotations

from p4ct.packet.checksum import crc32c
from p4ct.packet.parse import (
    PROTO_ICMP,
    PROTO_ICMPV6,
    PROTO_SCTP,
    PROTO_TCP,
    PROTO_UDP,
    Packet,
)

_PSEUDO_HEADER = frozenset((PROTO_TCP, PROTO_UDP, PROTO_ICMPV6))
_NAMES = {
    PROTO_ICMP: "ICMP",
    PROTO_TCP: "TCP",
    PROTO_UDP: "UDP",
    PROTO_ICMPV6: "ICMPv6",
    PROTO_SCTP: "SCTP",
}


_FOLDS = tuple((1 << bits, (1 << (1 << bits)) - 1) for bits in range(13, 5, -1))


def _fold(number: int) -> int:
    """A smaller number of the same remainder modulo 65535: `%` of a long one is slow."""
    for width, mask in _FOLDS:
        if number > mask:
            number = (number & mask) + (number >> width)
    return number


def l4_checksum_error(pkt: Packet) -> str:
    """What is wrong with the checksum, or "" (also for protocols without one that we know).

    For whole packets without `error`. A packet found right is marked `checked`, and is not looked
    at again; so is one that came with the hardware's word for it.
    """
    if pkt.checked:
        return ""
    proto = pkt.proto
    start = pkt.l4_offset
    end = start + pkt.l4_len
    frame = pkt.frame
    pseudo = proto in _PSEUDO_HEADER and (proto != PROTO_ICMPV6 or pkt.version == 6)
    if proto == PROTO_UDP and frame[start + 6] == frame[start + 7] == 0:
        right = True  # its sender made none
    elif pseudo or (proto == PROTO_ICMP and pkt.version == 4):
        # The sum is the same with the bytes of all words swapped (RFC 1071 section 2), and read as
        # little-endian an odd last byte is in its place. 2**16 is 1 modulo 65535, so a number may
        # be cut at any 16 bits and its parts added; with a right checksum in it 0xFFFF remains.
        total = int.from_bytes(frame[start:end], "little")
        if pseudo:
            length = pkt.l4_len
            total += int.from_bytes(pkt.src + pkt.dst, "little") + (proto << 8)
            total += length >> 8 | (length & 0xFF) << 8
        right = total != 0 and _fold(total) % 0xFFFF == 0
    elif proto == PROTO_SCTP:
        bare = frame[start : start + 8] + bytes(4) + frame[start + 12 : end]
        right = frame[start + 8 : start + 12] == crc32c(bare).to_bytes(4, "little")
    else:
        right = True
    pkt.checked = right
    return "" if right else f"bad {_NAMES[proto]} checksum"

# SPDX-License-Identifier: Apache-2.0
"""Packets longer than an MTU: IPv4 fragments (RFC 791) and the answers that ask for shorter ones.

The answers are ICMP "fragmentation needed" (RFC 792, RFC 1191) and ICMPv6 "packet too big"
(RFC 4443 section 3.2).
"""

from __future__ import annotations

from struct import Struct

from p4ct.packet.build import icmp_frame
from p4ct.packet.checksum import checksum
from p4ct.packet.parse import PROTO_ICMP, PROTO_ICMPV6, Packet

__all__ = [
    "fragments",
    "ip_length",
    "later_header",
    "may_be_fragmented",
    "sized_header",
    "too_big_answer",
]

_U16 = Struct("!H")
_MTU = Struct("!HH").pack
_MTU_V6 = Struct("!L").pack
_DONT_FRAGMENT, _MORE_FRAGMENTS, _OFFSET = 0x4000, 0x2000, 0x1FFF
_COPIED = 0x80
_END_OF_OPTIONS, _NO_OPERATION = 0, 1
_ANSWER_V4 = 576 - 20 - 8
_ANSWER_V6 = 1280 - 40 - 8
_ICMP_ERRORS = frozenset({3, 4, 5, 11, 12})
_BROADCAST = b"\xff\xff\xff\xff"


def ip_length(pkt: Packet) -> int:
    """Length of the IP packet by its own header, bytes; 0 if it is none."""
    if pkt.version == 4:
        return _U16.unpack_from(pkt.frame, pkt.l3_offset + 2)[0]
    if pkt.version == 6:
        return 40 + _U16.unpack_from(pkt.frame, pkt.l3_offset + 4)[0]
    return 0


def may_be_fragmented(pkt: Packet) -> bool:
    """A sound IPv4 packet without DF."""
    if pkt.version != 4 or pkt.error:
        return False
    flags = _U16.unpack_from(pkt.frame, pkt.l3_offset + 6)[0]
    return not flags & _DONT_FRAGMENT


def fragments(pkt: Packet, mtu: int) -> list[bytes]:
    """The frames of an IPv4 packet of which none is longer than mtu (at least 68) behind Ethernet.

    A fragment may be fragmented again. Padding behind the packet is left out.
    """
    frame, start = pkt.frame, pkt.l3_offset
    link, header = frame[:start], frame[start : pkt.l4_offset]
    payload = frame[pkt.l4_offset : pkt.l4_offset + pkt.l4_len]
    flags = _U16.unpack_from(header, 6)[0]
    more, offset = flags & _MORE_FRAGMENTS, flags & _OFFSET
    later = later_header(header)
    result: list[bytes] = []
    position = 0
    while position < len(payload):
        own = header if position == 0 else later
        room = mtu - len(own)
        last = len(payload) - position <= room
        piece = payload[position : position + (room if last else room & ~7)]
        field = (more if last else _MORE_FRAGMENTS) | offset + position // 8
        result.append(link + sized_header(own, len(piece), field) + piece)
        position += len(piece)
    return result


def sized_header(header: bytes, payload: int, fragment: int) -> bytes:
    """An IPv4 header (with options) before `payload` bytes; `fragment`: flags and offset."""
    size = len(header)
    fresh = bytearray(header)
    fresh[0] = 0x40 | size // 4
    _U16.pack_into(fresh, 2, size + payload)
    _U16.pack_into(fresh, 6, fragment)
    _U16.pack_into(fresh, 10, 0)
    _U16.pack_into(fresh, 10, checksum(bytes(fresh)))
    return bytes(fresh)


def later_header(header: bytes) -> bytes:
    """The IPv4 header of the fragments after the first; lengths and checksum are yet to be set."""
    return header[:20] + _copied_options(header[20:])


def _copied_options(options: bytes) -> bytes:
    """Those that every fragment carries (RFC 791 section 3.1), padded to whole words."""
    kept = b""
    position = 0
    while position < len(options) and options[position] != _END_OF_OPTIONS:
        if options[position] == _NO_OPERATION:
            position += 1
            continue
        length = options[position + 1] if position + 1 < len(options) else 0
        if length < 2 or position + length > len(options):
            break  # unreadable from here on
        if options[position] & _COPIED:
            kept += options[position : position + length]
        position += length
    return kept + bytes(-len(kept) % 4)


def too_big_answer(pkt: Packet, mtu: int, source: bytes | None) -> bytes | None:
    """The untagged frame that tells the sender of `pkt` the MTU; None if it may not be told.

    source: the address that answers; None: the packet's own destination, as Linux does for
    tunnels. Nobody answers errors, later fragments, broken packets, or what came from or goes to
    more than one station (RFC 1122 section 3.2.2, RFC 4443 section 2.4).
    """
    if pkt.error or pkt.frag == 2 or pkt.eth_src[0] & 1 or pkt.eth_dst[0] & 1:
        return None
    if not _one_station(pkt.src) or not _one_station(pkt.dst):
        return None
    packet = pkt.frame[pkt.l3_offset : pkt.l3_offset + ip_length(pkt)]
    if pkt.version == 4:
        if pkt.proto == PROTO_ICMP and pkt.icmp_type in _ICMP_ERRORS:
            return None
        kind, code, body = 3, 4, _MTU(0, mtu) + packet[:_ANSWER_V4]
    else:
        if pkt.proto == PROTO_ICMPV6 and pkt.icmp_type < 128:
            return None
        kind, code, body = 2, 0, _MTU_V6(mtu) + packet[:_ANSWER_V6]
    return icmp_frame(
        eth_src=pkt.eth_dst,
        eth_dst=pkt.eth_src,
        src=pkt.dst if source is None else source,
        dst=pkt.src,
        icmp_type=kind,
        icmp_code=code,
        body=body,
    )


def _one_station(address: bytes) -> bool:
    if len(address) == 4:
        return 0 < address[0] < 224 and address != _BROADCAST
    return address[0] != 0xFF and any(address)

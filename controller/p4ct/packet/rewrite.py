# SPDX-License-Identifier: Apache-2.0
"""Header fields changed in a parsed packet: the answer is a new packet, the old one stays.

Checksums are updated by the difference (RFC 1624 equation 3), exactly as p4src/stages/nat.p4 does:
a wrong checksum stays wrong, and software and eswitch send the same bytes. A UDP checksum of 0
means that there is none and stays; one that computes to 0 is sent as 0xFFFF (RFC 768). SCTP's
CRC32c is computed anew if it was right.
"""

from __future__ import annotations

from struct import Struct

from p4ct.packet.build import pop_vlan, push_vlan
from p4ct.packet.checksum import crc32c
from p4ct.packet.l4_check import l4_checksum_error
from p4ct.packet.parse import (
    ICMP_QUERIES,
    ICMPV6_QUERIES,
    PROTO_ICMP,
    PROTO_ICMPV6,
    PROTO_SCTP,
    PROTO_TCP,
    PROTO_UDP,
    Packet,
    parse,
)

__all__ = [
    "Ends",
    "apply_difference",
    "differences",
    "remade",
    "set_arp",
    "set_link",
    "set_tag",
    "set_tos",
    "set_ttl",
    "translate",
]

_U16 = Struct("!H")
_PORTS = Struct("!HH")
_CRC = Struct("<L")

Ends = tuple[bytes, bytes, int, int]
"""Source and destination address, source and destination port; ICMP queries: the identifier is the
source port, and the last number has no effect."""


def differences(old: bytes, new: bytes) -> int:
    """What a change of these bytes (an even number, at an even offset) adds to a checksum's sum.

    In one's complement that is ~m + m' for each word; congruent to it modulo 0xFFFF.
    """
    # 2**16 is 1 modulo 0xFFFF, so a long number has the remainder of the sum of its words.
    return (int.from_bytes(new, "big") - int.from_bytes(old, "big")) % 0xFFFF


def apply_difference(frame: bytearray, offset: int, difference: int, *, udp: bool = False) -> None:
    """Bring the checksum at this offset up to date; it never becomes 0xFFFF, but for UDP."""
    old = _U16.unpack_from(frame, offset)[0]
    if udp and not old:
        return
    new = 0xFFFF - (((old ^ 0xFFFF) + difference) % 0xFFFF or 0xFFFF)
    _U16.pack_into(frame, offset, 0xFFFF if udp and not new else new)


def remade(pkt: Packet, frame: bytearray) -> Packet:
    """The packet with other bytes in its headers; its checksums are as right as they were."""
    fresh = parse(bytes(frame), pkt.wire_len)
    fresh.checked = pkt.checked
    return fresh


def translate(pkt: Packet, ends: Ends) -> Packet:
    """The IP packet with other addresses (of the same family), ports or ICMP identifier.

    A later fragment has no ports: only its addresses change, and with them no L4 checksum, which
    is that of the whole datagram and in its first fragment. Ports of other protocols are ignored.
    """
    src, dst, sport, dport = ends
    frame = bytearray(pkt.frame)
    addresses = differences(pkt.src, src) + differences(pkt.dst, dst)
    at = pkt.l3_offset
    if pkt.version == 4:
        frame[at + 12 : at + 20] = src + dst
        apply_difference(frame, at + 10, addresses)
    else:
        frame[at + 8 : at + 40] = src + dst
    if pkt.frag != 2:
        _translate_l4(pkt, frame, addresses, sport, dport)
    return remade(pkt, frame)


def _translate_l4(pkt: Packet, frame: bytearray, addresses: int, sport: int, dport: int) -> None:
    l4, proto = pkt.l4_offset, pkt.proto
    if proto in (PROTO_TCP, PROTO_UDP):
        if pkt.l4_len < (20 if proto == PROTO_TCP else 8):
            return  # truncated: no ports were read
        ports = differences(_PORTS.pack(pkt.sport, pkt.dport), _PORTS.pack(sport, dport))
        _PORTS.pack_into(frame, l4, sport, dport)
        if proto == PROTO_TCP:
            apply_difference(frame, l4 + 16, addresses + ports)
        else:
            apply_difference(frame, l4 + 6, addresses + ports, udp=True)
    elif proto == PROTO_SCTP and pkt.l4_len >= 12:
        right = not l4_checksum_error(pkt)
        _PORTS.pack_into(frame, l4, sport, dport)
        if right:  # a sum over all bytes: it does not tell what was wrong
            _CRC.pack_into(frame, l4 + 8, 0)
            _CRC.pack_into(frame, l4 + 8, crc32c(bytes(frame[l4 : l4 + pkt.l4_len])))
    elif proto == (PROTO_ICMP if pkt.version == 4 else PROTO_ICMPV6) and pkt.l4_len >= 8:
        total = addresses if pkt.version == 6 else 0
        if pkt.icmp_type in (ICMP_QUERIES if pkt.version == 4 else ICMPV6_QUERIES):
            total += differences(_U16.pack(pkt.sport), _U16.pack(sport))
            _U16.pack_into(frame, l4 + 4, sport)
        if total:
            apply_difference(frame, l4 + 2, total)


def set_link(pkt: Packet, eth_src: bytes, eth_dst: bytes) -> Packet:
    """The frame with other MAC addresses, 6 bytes each."""
    return remade(pkt, bytearray(eth_dst + eth_src) + pkt.frame[12:])


def set_tag(pkt: Packet, tci: int | None) -> Packet:
    """The frame with this 802.1Q tag (16 bits, DEI included) in the place of the one that it has;
    None: without it."""
    frame = pkt.frame if pkt.vlan_id is None else pop_vlan(pkt.frame)
    if tci is not None:
        frame = push_vlan(frame, tci & 0xFFF, tci >> 13, bool(tci & 0x1000))
    return remade(pkt, bytearray(frame))


def set_ttl(pkt: Packet, ttl: int) -> Packet:
    """The IP packet with another TTL or hop limit, 0..255."""
    at = pkt.l3_offset + (8 if pkt.version == 4 else 7)
    frame = bytearray(pkt.frame)
    old = bytes(frame[at : at + 2])
    frame[at] = ttl
    if pkt.version == 4:
        apply_difference(frame, pkt.l3_offset + 10, differences(old, bytes(frame[at : at + 2])))
    return remade(pkt, frame)


def set_tos(pkt: Packet, tos: int) -> Packet:
    """The IP packet with another TOS byte or traffic class, 0..255."""
    at = pkt.l3_offset
    frame = bytearray(pkt.frame)
    old = bytes(frame[at : at + 2])
    if pkt.version == 4:
        frame[at + 1] = tos
        apply_difference(frame, at + 10, differences(old, bytes(frame[at : at + 2])))
    else:
        first = _U16.unpack(old)[0]
        _U16.pack_into(frame, at, first & 0xF00F | tos << 4)
    return remade(pkt, frame)


def set_arp(pkt: Packet, op: int, sha: bytes, spa: bytes, tha: bytes, tpa: bytes) -> Packet:
    """The ARP packet (Ethernet and IPv4) with other contents."""
    at = pkt.l3_offset
    frame = bytearray(pkt.frame)
    frame[at + 6 : at + 28] = _U16.pack(op) + sha + spa + tha + tpa
    return remade(pkt, frame)

# SPDX-License-Identifier: Apache-2.0
"""ICMP errors with other addresses, outside and in the packet that they quote.

What `nf_nat_icmp_reply_translation` of Linux does; checksums follow by the difference as in
`packet.rewrite`, those of the quoted headers included where the quote reaches that far.
"""

from __future__ import annotations

from struct import Struct

from p4ct.packet.parse import (
    EXTENSION_FRAGMENT,
    EXTENSIONS,
    PROTO_ICMP,
    PROTO_ICMPV6,
    PROTO_SCTP,
    PROTO_TCP,
    PROTO_UDP,
    Packet,
    extension_length,
)
from p4ct.packet.rewrite import Ends, apply_difference, differences, remade

__all__ = ["translate_error", "upper_layer"]

_U16 = Struct("!H")
_PORTS = Struct("!HH")
_EXTENSION = Struct("!BBH").unpack_from


def upper_layer(frame: bytes | bytearray, at: int, end: int, proto: int) -> tuple[int, int] | None:
    """Protocol and offset behind IPv6 extension headers; None for a later fragment."""
    while proto in EXTENSIONS:
        if end < at + 8:
            return None
        following, units, fragment = _EXTENSION(frame, at)
        if proto == EXTENSION_FRAGMENT and fragment & 0xFFF8:
            return None
        at += extension_length(proto, units)
        proto = following
    return proto, at


def translate_error(pkt: Packet, src: bytes, dst: bytes, quoted: Ends) -> Packet | None:
    """The ICMP or ICMPv6 error `pkt` from `src` to `dst`, about a packet with the ends `quoted`.

    `conntrack.icmp.quoted_tuple` has read the quote. None if it does not reach 8 bytes behind its
    IP headers where that matters: Linux drops such an error, too.
    """
    frame = bytearray(pkt.frame)
    icmp = pkt.l4_offset
    inner, end = icmp + 8, icmp + pkt.l4_len
    before = bytes(frame[inner:end])
    if not _translate_quote(frame, inner, end, pkt.version, quoted):
        return None
    after = bytes(frame[inner:end])
    pad = bytes(len(before) % 2)
    total = differences(before + pad, after + pad)
    addresses = differences(pkt.src + pkt.dst, src + dst)
    at = pkt.l3_offset
    if pkt.version == 4:
        frame[at + 12 : at + 20] = src + dst
        apply_difference(frame, at + 10, addresses)
    else:
        frame[at + 8 : at + 40] = src + dst
        total += addresses
    apply_difference(frame, icmp + 2, total)
    return remade(pkt, frame)


def _translate_quote(frame: bytearray, at: int, end: int, version: int, quoted: Ends) -> bool:
    """False, and nothing is changed, if there is too little of the packet."""
    src, dst, sport, dport = quoted
    if version == 4:
        proto, place, l4 = frame[at + 9], at + 12, at + (frame[at] & 15) * 4
    else:
        place = at + 8
        inside = upper_layer(frame, at + 40, end, frame[at + 6])
        assert inside is not None
        proto, l4 = inside
    with_ports = proto in (PROTO_TCP, PROTO_UDP, PROTO_SCTP)
    if end - l4 < 8 and (with_ports or proto == (PROTO_ICMP if version == 4 else PROTO_ICMPV6)):
        return False
    old = bytes(frame[place : place + 2 * len(src)])
    frame[place : place + 2 * len(src)] = src + dst
    addresses = differences(old, src + dst)
    if version == 4:
        apply_difference(frame, at + 10, addresses)
    if with_ports:
        old = bytes(frame[l4 : l4 + 4])
        new = _PORTS.pack(sport, dport)
        frame[l4 : l4 + 4] = new
        total = addresses + differences(old, new)
        if proto == PROTO_UDP:
            apply_difference(frame, l4 + 6, total, udp=True)
        elif proto == PROTO_TCP and end - l4 >= 18:
            apply_difference(frame, l4 + 16, total)
    elif proto == (PROTO_ICMP if version == 4 else PROTO_ICMPV6):
        old = bytes(frame[l4 + 4 : l4 + 6])
        new = _U16.pack(sport)
        frame[l4 + 4 : l4 + 6] = new
        total = differences(old, new) + (addresses if version == 6 else 0)
        apply_difference(frame, l4 + 2, total)
    return True

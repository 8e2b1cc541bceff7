# SPDX-License-Identifier: Apache-2.0
"""ICMP and ICMPv6: echo begins a connection, errors belong to the connection they are about.

Sources: `nf_conntrack_proto_icmp.c`, `nf_conntrack_proto_icmpv6.c`; RFC 792, RFC 4443 section 2.1.
"""

from __future__ import annotations

from struct import Struct

from p4ct.conntrack.connection import Tuple, is_icmp
from p4ct.packet.parse import (
    ICMP_ECHO_REPLY,
    ICMP_ECHO_REQUEST,
    ICMPV6_ECHO_REPLY,
    ICMPV6_ECHO_REQUEST,
    PROTO_TCP,
    PROTO_UDP,
    Packet,
)

# destination unreachable, source quench, redirect, time exceeded, parameter problem
_V4_ERRORS = (3, 4, 5, 11, 12)
_V4_ECHO = (ICMP_ECHO_REQUEST, ICMP_ECHO_REPLY)
_V6_ECHO = (ICMPV6_ECHO_REQUEST, ICMPV6_ECHO_REPLY)

_IPV4 = Struct("!BBHHHBB2x4s4s").unpack_from
_IPV6 = Struct("!LHBB16s16s").unpack_from
_PORTS = Struct("!HH").unpack_from
_ECHO = Struct("!BB2xH").unpack_from


def is_echo_request(pkt: Packet) -> bool:
    """Is this a packet that may begin an ICMP connection?"""
    wanted = ICMP_ECHO_REQUEST if pkt.version == 4 else ICMPV6_ECHO_REQUEST
    return pkt.icmp_type == wanted


def is_error(pkt: Packet) -> bool:
    """Is this an ICMP message that quotes another packet?"""
    return pkt.icmp_type in _V4_ERRORS if pkt.version == 4 else pkt.icmp_type < 128


def quoted_tuple(pkt: Packet) -> Tuple | None:
    """The tuple of the packet that an ICMP error quotes, or None if it cannot be read.

    Only the first 8 bytes of the quoted L4 header need to be there (RFC 792). A quoted fragment
    other than the first, and a quoted IPv6 packet with extension headers, have no readable ports.
    """
    start = pkt.l4_offset + 8
    end = pkt.l4_offset + pkt.l4_len
    frame = pkt.frame
    if pkt.version == 4:
        if end - start < 20:
            return None
        first, _, _, _, fragment, _, proto, src, dst = _IPV4(frame, start)
        header = (first & 15) * 4
        if first >> 4 != 4 or header < 20 or fragment & 0x1FFF:
            return None
    else:
        if end - start < 40:
            return None
        first, _, proto, _, src, dst = _IPV6(frame, start)
        header = 40
        if first >> 28 != 6:
            return None
    l4 = start + header
    if proto in (PROTO_TCP, PROTO_UDP):
        if end - l4 < 8:
            return None
        sport, dport = _PORTS(frame, l4)
        return Tuple(pkt.version, proto, src, dst, sport, dport)
    if is_icmp(pkt.version, proto):
        if end - l4 < 8:
            return None
        kind, code, identifier = _ECHO(frame, l4)
        if kind not in (_V4_ECHO if pkt.version == 4 else _V6_ECHO):
            return None
        return Tuple(pkt.version, proto, src, dst, identifier, kind << 8 | code)
    return Tuple(pkt.version, proto, src, dst, 0, 0)

# SPDX-License-Identifier: Apache-2.0
"""ICMP and ICMPv6: a query begins a connection, an error belongs to the one that it is about.

Sources: `nf_conntrack_proto_icmp.c`, `nf_conntrack_proto_icmpv6.c`; RFC 792, RFC 4443 section 2.1.
"""

from __future__ import annotations

from struct import Struct

from p4ct.conntrack.connection import Tuple, is_icmp
from p4ct.packet.parse import (
    GRE_PPP,
    ICMP_ECHO_REQUEST,
    ICMP_QUERIES,
    ICMPV6_ECHO_REQUEST,
    ICMPV6_QUERIES,
    PROTO_GRE,
    PROTO_SCTP,
    PROTO_TCP,
    PROTO_UDP,
    Packet,
)
from p4ct.packet.quoted import upper_layer

# destination unreachable, source quench, redirect, time exceeded, parameter problem
_V4_ERRORS = (3, 4, 5, 11, 12)
# echo, timestamp, information, address mask; ICMPv6: echo, node information
_V4_REQUESTS = (ICMP_ECHO_REQUEST, 13, 15, 17)
_V6_REQUESTS = (ICMPV6_ECHO_REQUEST, 139)

_IPV4 = Struct("!BBHHHBB2x4s4s").unpack_from
_IPV6 = Struct("!LHBB16s16s").unpack_from
_PORTS = Struct("!HH").unpack_from
_ECHO = Struct("!BB2xH").unpack_from
_GRE = Struct("!2xH2xH").unpack_from


def is_query(pkt: Packet) -> bool:
    """Is this a packet that may begin an ICMP connection?"""
    return pkt.icmp_type in (_V4_REQUESTS if pkt.version == 4 else _V6_REQUESTS)


def is_error(pkt: Packet) -> bool:
    """Is this an ICMP message that quotes another packet?"""
    return pkt.icmp_type in _V4_ERRORS if pkt.version == 4 else pkt.icmp_type < 128


def quoted_tuple(pkt: Packet) -> Tuple | None:
    """The tuple of the packet that an ICMP error quotes, or None if it cannot be read.

    Of a quoted L4 header only what the tuple needs has to be there: the ports, or for ICMP the
    first 8 bytes (RFC 792). A quoted fragment other than the first has none.
    """
    start = pkt.l4_offset + 8
    end = pkt.l4_offset + pkt.l4_len
    frame = pkt.frame
    if pkt.version == 4:
        if end - start < 20:
            return None
        first, _, _, _, fragment, _, proto, src, dst = _IPV4(frame, start)
        header = (first & 15) * 4
        if first >> 4 != 4 or header < 20 or fragment & 0x1FFF or end - start < header:
            return None
        l4 = start + header
    else:
        if end - start < 40:
            return None
        first, _, proto, _, src, dst = _IPV6(frame, start)
        if first >> 28 != 6:
            return None
        inside = upper_layer(frame, start + 40, end, proto)
        if inside is None:
            return None
        proto, l4 = inside
    ports = _quoted_ports(frame, l4, end, pkt.version, proto)
    return None if ports is None else Tuple(pkt.version, proto, src, dst, *ports)


def _quoted_ports(
    frame: bytes, l4: int, end: int, version: int, proto: int
) -> tuple[int, int] | None:
    """sport and dport of a `Tuple`, None if there are none to be read or to be answered."""
    if proto in (PROTO_TCP, PROTO_UDP, PROTO_SCTP):
        return None if end - l4 < 4 else _PORTS(frame, l4)
    if is_icmp(version, proto):
        if end - l4 < 8:
            return None
        kind, code, identifier = _ECHO(frame, l4)
        if kind not in (ICMP_QUERIES if version == 4 else ICMPV6_QUERIES):
            return None
        return identifier, kind << 8 | code
    if proto == PROTO_GRE and end - l4 >= 8 and frame[l4 + 1] & 7 == 1:
        protocol, call = _GRE(frame, l4)
        return (0, call) if protocol == GRE_PPP else None
    return 0, 0

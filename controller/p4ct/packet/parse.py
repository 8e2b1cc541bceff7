# SPDX-License-Identifier: Apache-2.0
"""One pass from frame bytes to the fields that flows and conntrack look at.

`parse` never raises: whatever is wrong with a frame is told in `Packet.error`, and everything that
could be read before the fault is kept, as Open vSwitch's `miniflow_extract` does:

- a fault in the IP header (truncated, version, header length, total length) leaves `version` 0 and
  every L3 and L4 field empty;
- a wrong IPv4 header checksum sets `error` but the fields are read: flows may still match them;
- a fault in the L4 header keeps L3, and the ports when their bytes are there.

Checksums of L4 headers are not verified here but where they matter, in `l4_check`.
Sources: RFC 791, 8200 (headers), 9293 (TCP), 768, 792, 4443, 826, 4861, 9260 (SCTP), 2637 (GRE of
version 1); IEEE 802.1Q.
"""

from __future__ import annotations

from struct import Struct

ETH_ARP = 0x0806
ETH_IPV4 = 0x0800
ETH_IPV6 = 0x86DD
ETH_VLAN = 0x8100

PROTO_ICMP = 1
PROTO_TCP = 6
PROTO_UDP = 17
PROTO_GRE = 47
PROTO_ICMPV6 = 58
PROTO_SCTP = 132

TCP_FIN, TCP_SYN, TCP_RST, TCP_PSH, TCP_ACK, TCP_URG = 1, 2, 4, 8, 16, 32

ICMP_ECHO_REPLY, ICMP_ECHO_REQUEST = 0, 8
ICMPV6_ECHO_REQUEST, ICMPV6_ECHO_REPLY = 128, 129
# Other queries and their answers that carry an identifier where echo has it: timestamp, information
# and address mask (RFC 792, 950); node information (RFC 4620).
ICMP_QUERIES = frozenset((ICMP_ECHO_REPLY, ICMP_ECHO_REQUEST, 13, 14, 15, 16, 17, 18))
ICMPV6_QUERIES = frozenset((ICMPV6_ECHO_REQUEST, ICMPV6_ECHO_REPLY, 139, 140))
ICMPV6_NEIGHBOR_SOLICIT, ICMPV6_NEIGHBOR_ADVERT = 135, 136

# IPv6 extension headers that are walked through (RFC 8200 section 4, RFC 4302)
_HOP_BY_HOP, _ROUTING, EXTENSION_FRAGMENT, _AH, _DEST_OPTIONS = 0, 43, 44, 51, 60
EXTENSIONS = (_HOP_BY_HOP, _ROUTING, EXTENSION_FRAGMENT, _AH, _DEST_OPTIONS)

GRE_PPP = 0x880B

_ETHERNET = Struct("!6s6sH").unpack_from
_TAG = Struct("!HH").unpack_from
# version/ihl, tos, total length, flags and fragment offset, ttl, protocol, src, dst
_IPV4 = Struct("!BBH2xHBB2x4s4s").unpack_from
_IPV6 = Struct("!LHBB16s16s").unpack_from
_TCP = Struct("!HHLLBBH").unpack_from
_UDP = Struct("!HHH").unpack_from
_ICMP = Struct("!BB2xH").unpack_from
_TWO = Struct("!HH").unpack_from
_ARP = Struct("!HHBBH6s4s6s4s").unpack_from
_EXTENSION = Struct("!BBH").unpack_from


class Packet:
    """A parsed frame. Addresses are bytes in network order; absent fields are 0, -1 or b"".

    frame: the whole L2 frame (at most one 802.1Q tag is understood; a second one is the eth_type).
    wire_len: bytes that were on the wire (Ethernet header to payload end, without FCS).
    vlan_id: 0..4095, or None when untagged; vlan_pcp 0..7.   eth_type: the one after the tag.
    version: 0 (not IP), 4 or 6; src, dst: 4 or 16 bytes; tos: TOS or traffic class, 8 bits.
    proto: IPv4 protocol, IPv6 upper-layer protocol, -1 when not IP; ttl: TTL or hop limit.
    frag: 0 none, 1 first fragment, 2 later fragment (no L4 fields then).
    options: IPv4 options or IPv6 extension headers are present.
    sport, dport: TCP, UDP and SCTP ports; ICMP queries: identifier and type<<8|code; other ICMP: 0
        and type<<8|code; GRE of version 1 (PPTP): 0 and the call id.
    l3_offset, l4_offset: byte offsets in `frame`; l4_len: L4 header and payload by the IP length.
    seq, ack, flags, window, doff: TCP (flags as on the wire, FIN=1 .. CWR=128; doff in words).
    payload_len: TCP or UDP payload bytes.
    checked: the L4 checksum is known to be right: hardware said so, or `l4_checksum_error` did.
    """

    __slots__ = (
        "ack",
        "arp_op",
        "arp_sha",
        "arp_spa",
        "arp_tha",
        "arp_tpa",
        "checked",
        "doff",
        "dport",
        "dst",
        "error",
        "eth_dst",
        "eth_src",
        "eth_type",
        "flags",
        "frag",
        "frame",
        "icmp_code",
        "icmp_type",
        "l3_offset",
        "l4_len",
        "l4_offset",
        "nd_target",
        "options",
        "payload_len",
        "proto",
        "seq",
        "sport",
        "src",
        "tos",
        "ttl",
        "version",
        "vlan_id",
        "vlan_pcp",
        "window",
        "wire_len",
    )

    def __init__(self, frame: bytes, wire_len: int) -> None:
        self.frame = frame
        self.wire_len = wire_len
        self.eth_dst = self.eth_src = b""
        self.vlan_id: int | None = None
        self.src = self.dst = b""
        self.proto = -1
        self.options = self.checked = False
        self.eth_type = self.vlan_pcp = self.version = self.tos = self.ttl = self.frag = 0
        self.sport = self.dport = self.l3_offset = self.l4_offset = self.l4_len = 0
        self.seq = self.ack = self.flags = self.window = self.doff = self.payload_len = 0
        self.icmp_type = self.icmp_code = self.arp_op = 0
        self.arp_spa = self.arp_tpa = self.arp_sha = self.arp_tha = self.nd_target = b""
        self.error = ""

    def __repr__(self) -> str:
        return (
            f"Packet(eth_type={self.eth_type:#06x} proto={self.proto} src={self.src.hex()} "
            f"dst={self.dst.hex()} sport={self.sport} dport={self.dport} "
            f"flags={self.flags:#x} error={self.error!r})"
        )


def parse(frame: bytes, wire_len: int | None = None) -> Packet:
    """Parse an Ethernet frame; never raises (see the module text for what a faulty one gives)."""
    size = len(frame)
    pkt = Packet(frame, size if wire_len is None else wire_len)
    if size < 14:
        pkt.error = "truncated Ethernet header"
        return pkt
    pkt.eth_dst, pkt.eth_src, eth_type = _ETHERNET(frame)
    offset = 14
    if eth_type == ETH_VLAN:
        if size < 18:
            pkt.eth_type = eth_type
            pkt.error = "truncated VLAN tag"
            return pkt
        tci, eth_type = _TAG(frame, 14)
        pkt.vlan_id = tci & 0xFFF
        pkt.vlan_pcp = tci >> 13
        offset = 18
    pkt.eth_type = eth_type
    pkt.l3_offset = offset
    if eth_type == ETH_IPV4:
        _parse_ipv4(pkt, frame, offset, size)
    elif eth_type == ETH_IPV6:
        _parse_ipv6(pkt, frame, offset, size)
    elif eth_type == ETH_ARP:
        _parse_arp(pkt, frame, offset, size)
    return pkt


def _parse_ipv4(pkt: Packet, frame: bytes, offset: int, size: int) -> None:
    if size < offset + 20:
        pkt.error = "truncated IPv4 header"
        return
    first, tos, total, fragment, ttl, proto, src, dst = _IPV4(frame, offset)
    header = 20
    if first != 0x45:
        if first >> 4 != 4:
            pkt.error = "IPv4 version is not 4"
            return
        header = (first & 15) * 4
        if header < 20:
            pkt.error = "IPv4 header length below 20"
            return
        if size < offset + header:
            pkt.error = "truncated IPv4 options"
            return
        pkt.options = True
    if total < header:
        pkt.error = "IPv4 total length below the header length"
        return
    if size < offset + total:
        pkt.error = "IPv4 total length beyond the frame"
        return
    pkt.version = 4
    pkt.src = src
    pkt.dst = dst
    pkt.proto = proto
    pkt.tos = tos
    pkt.ttl = ttl
    # 2**16 is 1 modulo 65535, so the remainder of the whole header, taken as one number, is its
    # one's complement sum (RFC 1071); a correct header sums to 0xFFFF, which is 0 modulo 65535.
    if int.from_bytes(frame[offset : offset + header], "big") % 0xFFFF:
        pkt.error = "bad IPv4 checksum"
    pkt.l4_offset = l4 = offset + header
    pkt.l4_len = length = total - header
    if fragment & 0x3FFF:
        if fragment & 0x1FFF:
            pkt.frag = 2
            return
        pkt.frag = 1
    if proto == PROTO_TCP:
        _parse_tcp(pkt, frame, l4, length)
    elif proto == PROTO_UDP:
        _parse_udp(pkt, frame, l4, length)
    elif proto == PROTO_ICMP:
        _parse_icmp(pkt, frame, l4, length)
    elif proto == PROTO_SCTP:
        _parse_sctp(pkt, frame, l4, length)
    elif proto == PROTO_GRE:
        _parse_gre(pkt, frame, l4, length)


def _parse_ipv6(pkt: Packet, frame: bytes, offset: int, size: int) -> None:
    if size < offset + 40:
        pkt.error = "truncated IPv6 header"
        return
    first, payload, proto, ttl, src, dst = _IPV6(frame, offset)
    if first >> 28 != 6:
        pkt.error = "IPv6 version is not 6"
        return
    if size < offset + 40 + payload:
        pkt.error = "IPv6 payload length beyond the frame"
        return
    pkt.version = 6
    pkt.src = src
    pkt.dst = dst
    pkt.tos = (first >> 20) & 0xFF
    pkt.ttl = ttl
    l4 = offset + 40
    end = l4 + payload
    while proto in EXTENSIONS:
        pkt.options = True
        pkt.l4_offset = l4
        pkt.l4_len = end - l4
        if end < l4 + 8:
            pkt.proto = proto
            pkt.error = "truncated IPv6 extension header"
            return
        following, units, fragment = _EXTENSION(frame, l4)
        length = extension_length(proto, units)
        if end < l4 + length:
            pkt.proto = proto
            pkt.error = "truncated IPv6 extension header"
            return
        l4 += length
        if proto == EXTENSION_FRAGMENT and fragment & 0xFFF9:
            if fragment & 0xFFF8:
                # What follows is the middle of something: it must not be read as a header.
                pkt.frag = 2
                pkt.proto = following
                pkt.l4_offset = l4
                pkt.l4_len = end - l4
                return
            pkt.frag = 1
        proto = following
    pkt.proto = proto
    pkt.l4_offset = l4
    pkt.l4_len = length = end - l4
    if proto == PROTO_TCP:
        _parse_tcp(pkt, frame, l4, length)
    elif proto == PROTO_UDP:
        _parse_udp(pkt, frame, l4, length)
    elif proto == PROTO_ICMPV6:
        _parse_icmp(pkt, frame, l4, length)
    elif proto == PROTO_SCTP:
        _parse_sctp(pkt, frame, l4, length)
    elif proto == PROTO_GRE:
        _parse_gre(pkt, frame, l4, length)


def extension_length(proto: int, units: int) -> int:
    """Bytes of an IPv6 extension header whose second byte is `units`."""
    if proto == EXTENSION_FRAGMENT:
        return 8
    return (units + 2) * 4 if proto == _AH else (units + 1) * 8


def _parse_tcp(pkt: Packet, frame: bytes, offset: int, length: int) -> None:
    if length < 20:
        pkt.error = pkt.error or "truncated TCP header"
        return
    pkt.sport, pkt.dport, pkt.seq, pkt.ack, doff, pkt.flags, pkt.window = _TCP(frame, offset)
    pkt.doff = doff = doff >> 4
    if doff < 5:
        pkt.error = pkt.error or "TCP data offset below 5"
    elif doff * 4 > length:
        pkt.error = pkt.error or "TCP data offset beyond the segment"
    else:
        pkt.payload_len = length - doff * 4


def _parse_udp(pkt: Packet, frame: bytes, offset: int, length: int) -> None:
    if length < 8:
        pkt.error = pkt.error or "truncated UDP header"
        return
    pkt.sport, pkt.dport, claimed = _UDP(frame, offset)
    if claimed < 8:
        pkt.error = pkt.error or "UDP length below 8"
    elif pkt.frag:
        # A first fragment carries the length of the whole datagram.
        pkt.payload_len = length - 8
    elif claimed > length:
        pkt.error = pkt.error or "UDP length beyond the IP payload"
    else:
        pkt.payload_len = claimed - 8


def _parse_icmp(pkt: Packet, frame: bytes, offset: int, length: int) -> None:
    """ICMP and ICMPv6 share the first four bytes; the rest depends on family and type."""
    if length < 8:
        pkt.error = pkt.error or "truncated ICMP header"
        return
    kind, code, identifier = _ICMP(frame, offset)
    pkt.icmp_type = kind
    pkt.icmp_code = code
    pkt.dport = kind << 8 | code
    if kind in (ICMP_QUERIES if pkt.version == 4 else ICMPV6_QUERIES):
        pkt.sport = identifier
    elif pkt.version == 6 and kind in (ICMPV6_NEIGHBOR_SOLICIT, ICMPV6_NEIGHBOR_ADVERT):
        if length < 24:
            pkt.error = pkt.error or "truncated neighbour discovery target"
        else:
            pkt.nd_target = frame[offset + 8 : offset + 24]


def _parse_sctp(pkt: Packet, frame: bytes, offset: int, length: int) -> None:
    if length < 12:
        pkt.error = pkt.error or "truncated SCTP header"
        return
    pkt.sport, pkt.dport = _TWO(frame, offset)


def _parse_gre(pkt: Packet, frame: bytes, offset: int, length: int) -> None:
    """Only version 1 has something like a port; `gre_pkt_to_tuple` of Linux knows it for PPP."""
    if length < 4:
        return
    flags, protocol = _TWO(frame, offset)
    if flags & 7 != 1 or length < 8:
        return
    if protocol != GRE_PPP:
        pkt.error = pkt.error or "GRE of version 1 that carries no PPP"
    else:
        pkt.dport = _TWO(frame, offset + 4)[1]


def _parse_arp(pkt: Packet, frame: bytes, offset: int, size: int) -> None:
    if size < offset + 28:
        pkt.error = "truncated ARP packet"
        return
    hardware, protocol, hardware_len, protocol_len, op, sha, spa, tha, tpa = _ARP(frame, offset)
    # Other hardware or protocol types have other field sizes: such an ARP is opaque, not wrong.
    if (hardware, protocol, hardware_len, protocol_len) == (1, ETH_IPV4, 6, 4):
        pkt.arp_op = op
        pkt.arp_sha = sha
        pkt.arp_spa = spa
        pkt.arp_tha = tha
        pkt.arp_tpa = tpa

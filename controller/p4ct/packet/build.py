# SPDX-License-Identifier: Apache-2.0
"""Frames made from fields: for synthesised packets (policy re-checks) and for tests.

Addresses may be bytes or text; IPv4 or IPv6 follows from the length of `src`. All lengths and
checksums are correct. Malformed frames are made by changing the bytes afterwards.
"""

from __future__ import annotations

from struct import Struct

from p4ct.packet.checksum import checksum, crc32c, l4_checksum
from p4ct.packet.parse import (
    ETH_ARP,
    ETH_IPV4,
    ETH_IPV6,
    ETH_VLAN,
    ICMP_ECHO_REPLY,
    ICMP_ECHO_REQUEST,
    ICMPV6_ECHO_REPLY,
    ICMPV6_ECHO_REQUEST,
    PROTO_ICMP,
    PROTO_ICMPV6,
    PROTO_SCTP,
    PROTO_TCP,
    PROTO_UDP,
    TCP_ACK,
)
from p4ct.packet.text import parse_ip, parse_mac

__all__ = [
    "arp_frame",
    "checksum",
    "icmp_echo_frame",
    "icmp_frame",
    "ip_frame",
    "l4_checksum",
    "pop_vlan",
    "push_vlan",
    "sctp_frame",
    "tcp_frame",
    "udp_frame",
]

_TAG = Struct("!HH").pack
_IPV4 = Struct("!BBHHHBBH4s4s").pack
_IPV6 = Struct("!LHBB16s16s").pack
_TCP = Struct("!HHLLBBHHH").pack
_UDP = Struct("!HHHH").pack
_ICMP = Struct("!BBH").pack
_SCTP = Struct("!HHL").pack
_U16 = Struct("!H").pack
_ARP = Struct("!HHBBH6s4s6s4s").pack

_DEFAULT_DST = "02:00:00:00:00:02"
_DEFAULT_SRC = "02:00:00:00:00:01"


def push_vlan(frame: bytes, vid: int, pcp: int = 0, dei: bool = False) -> bytes:
    """The frame with an 802.1Q tag (vid 0..4095, pcp 0..7) put before whatever follows the MACs."""
    if not (0 <= vid <= 4095 and 0 <= pcp <= 7):
        raise ValueError(f"VLAN id {vid} or priority {pcp} out of range (0..4095, 0..7)")
    return frame[:12] + _TAG(ETH_VLAN, pcp << 13 | dei << 12 | vid) + frame[12:]


def pop_vlan(frame: bytes) -> bytes:
    """The frame without its outermost 802.1Q tag; an untagged frame is returned as it is."""
    if len(frame) >= 18 and frame[12:14] == b"\x81\x00":
        return frame[:12] + frame[16:]
    return frame


def _mac(address: bytes | str) -> bytes:
    return parse_mac(address) if isinstance(address, str) else address


def _ip(address: bytes | str) -> bytes:
    return parse_ip(address) if isinstance(address, str) else address


def _ethernet(
    eth_dst: bytes | str, eth_src: bytes | str, vlan_id: int | None, vlan_pcp: int, eth_type: int
) -> bytes:
    header = _mac(eth_dst) + _mac(eth_src) + _U16(eth_type)
    return header if vlan_id is None else push_vlan(header, vlan_id, vlan_pcp)


def ip_frame(
    *,
    src: bytes | str,
    dst: bytes | str,
    proto: int,
    payload: bytes = b"",
    eth_src: bytes | str = _DEFAULT_SRC,
    eth_dst: bytes | str = _DEFAULT_DST,
    vlan_id: int | None = None,
    vlan_pcp: int = 0,
    ttl: int = 64,
    tos: int = 0,
    identification: int = 0,
    fragment: int = 0,
) -> bytes:
    """An IPv4 or IPv6 frame around a ready L4 payload.

    identification and fragment are IPv4 header fields (fragment: flags and offset, 16 bits).
    """
    source, destination = _ip(src), _ip(dst)
    if len(source) != len(destination):
        raise ValueError("src and dst are of different IP versions")
    if len(source) == 4:
        total = 20 + len(payload)
        fields = (0x45, tos, total, identification, fragment, ttl, proto)
        header = _IPV4(*fields, 0, source, destination)
        header = _IPV4(*fields, checksum(header), source, destination)
        eth_type = ETH_IPV4
    else:
        header = _IPV6(6 << 28 | tos << 20, len(payload), proto, ttl, source, destination)
        eth_type = ETH_IPV6
    return _ethernet(eth_dst, eth_src, vlan_id, vlan_pcp, eth_type) + header + payload


def tcp_frame(
    *,
    src: bytes | str,
    dst: bytes | str,
    sport: int,
    dport: int,
    seq: int = 0,
    ack: int = 0,
    flags: int = TCP_ACK,
    window: int = 65535,
    options: bytes = b"",
    payload: bytes = b"",
    eth_src: bytes | str = _DEFAULT_SRC,
    eth_dst: bytes | str = _DEFAULT_DST,
    vlan_id: int | None = None,
    vlan_pcp: int = 0,
    ttl: int = 64,
    tos: int = 0,
) -> bytes:
    """A TCP segment; options are raw bytes, padded here to whole words with zeros (end of list)."""
    options += bytes(-len(options) % 4)
    if len(options) > 40:
        raise ValueError(f"TCP options take at most 40 bytes, not {len(options)}")
    source, destination = _ip(src), _ip(dst)
    doff = (5 + len(options) // 4) << 4
    fields = (sport, dport, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, doff, flags, window)
    rest = options + payload
    total = l4_checksum(source, destination, PROTO_TCP, _TCP(*fields, 0, 0) + rest)
    return ip_frame(
        src=source,
        dst=destination,
        proto=PROTO_TCP,
        payload=_TCP(*fields, total, 0) + rest,
        eth_src=eth_src,
        eth_dst=eth_dst,
        vlan_id=vlan_id,
        vlan_pcp=vlan_pcp,
        ttl=ttl,
        tos=tos,
    )


def udp_frame(
    *,
    src: bytes | str,
    dst: bytes | str,
    sport: int,
    dport: int,
    payload: bytes = b"",
    eth_src: bytes | str = _DEFAULT_SRC,
    eth_dst: bytes | str = _DEFAULT_DST,
    vlan_id: int | None = None,
    vlan_pcp: int = 0,
    ttl: int = 64,
    tos: int = 0,
) -> bytes:
    """A UDP datagram; a checksum that computes to 0 is sent as 0xFFFF (RFC 768)."""
    source, destination = _ip(src), _ip(dst)
    length = 8 + len(payload)
    bare = _UDP(sport, dport, length, 0) + payload
    total = l4_checksum(source, destination, PROTO_UDP, bare) or 0xFFFF
    return ip_frame(
        src=source,
        dst=destination,
        proto=PROTO_UDP,
        payload=_UDP(sport, dport, length, total) + payload,
        eth_src=eth_src,
        eth_dst=eth_dst,
        vlan_id=vlan_id,
        vlan_pcp=vlan_pcp,
        ttl=ttl,
        tos=tos,
    )


def sctp_frame(
    *,
    src: bytes | str,
    dst: bytes | str,
    sport: int,
    dport: int,
    vtag: int,
    chunks: bytes,
    eth_src: bytes | str = _DEFAULT_SRC,
    eth_dst: bytes | str = _DEFAULT_DST,
) -> bytes:
    """An SCTP packet around ready chunks, with its CRC32c (RFC 9260 section 3)."""
    header = _SCTP(sport, dport, vtag)
    crc = crc32c(header + bytes(4) + chunks).to_bytes(4, "little")
    payload = header + crc + chunks
    return ip_frame(
        src=src, dst=dst, proto=PROTO_SCTP, payload=payload, eth_src=eth_src, eth_dst=eth_dst
    )


def icmp_frame(
    *,
    src: bytes | str,
    dst: bytes | str,
    icmp_type: int,
    icmp_code: int = 0,
    body: bytes = bytes(4),
    eth_src: bytes | str = _DEFAULT_SRC,
    eth_dst: bytes | str = _DEFAULT_DST,
    vlan_id: int | None = None,
    vlan_pcp: int = 0,
    ttl: int = 64,
    tos: int = 0,
) -> bytes:
    """An ICMP (IPv4) or ICMPv6 message; body is everything after the checksum field."""
    source, destination = _ip(src), _ip(dst)
    bare = _ICMP(icmp_type, icmp_code, 0) + body
    if len(source) == 4:
        proto, total = PROTO_ICMP, checksum(bare)
    else:
        proto, total = PROTO_ICMPV6, l4_checksum(source, destination, PROTO_ICMPV6, bare)
    return ip_frame(
        src=source,
        dst=destination,
        proto=proto,
        payload=_ICMP(icmp_type, icmp_code, total) + body,
        eth_src=eth_src,
        eth_dst=eth_dst,
        vlan_id=vlan_id,
        vlan_pcp=vlan_pcp,
        ttl=ttl,
        tos=tos,
    )


def icmp_echo_frame(
    *,
    src: bytes | str,
    dst: bytes | str,
    identifier: int,
    sequence: int = 0,
    reply: bool = False,
    payload: bytes = b"",
    eth_src: bytes | str = _DEFAULT_SRC,
    eth_dst: bytes | str = _DEFAULT_DST,
    vlan_id: int | None = None,
    vlan_pcp: int = 0,
    ttl: int = 64,
    tos: int = 0,
) -> bytes:
    """An ICMP or ICMPv6 echo request, or the reply."""
    if len(_ip(src)) == 4:
        kind = ICMP_ECHO_REPLY if reply else ICMP_ECHO_REQUEST
    else:
        kind = ICMPV6_ECHO_REPLY if reply else ICMPV6_ECHO_REQUEST
    return icmp_frame(
        src=src,
        dst=dst,
        icmp_type=kind,
        body=_U16(identifier) + _U16(sequence) + payload,
        eth_src=eth_src,
        eth_dst=eth_dst,
        vlan_id=vlan_id,
        vlan_pcp=vlan_pcp,
        ttl=ttl,
        tos=tos,
    )


def arp_frame(
    *,
    op: int,
    sha: bytes | str,
    spa: bytes | str,
    tha: bytes | str = bytes(6),
    tpa: bytes | str,
    eth_dst: bytes | str = b"\xff" * 6,
    vlan_id: int | None = None,
    vlan_pcp: int = 0,
) -> bytes:
    """An Ethernet/IPv4 ARP request (op 1) or reply (op 2), sent from `sha` (RFC 826)."""
    body = _ARP(1, ETH_IPV4, 6, 4, op, _mac(sha), _ip(spa), _mac(tha), _ip(tpa))
    return _ethernet(eth_dst, sha, vlan_id, vlan_pcp, ETH_ARP) + body

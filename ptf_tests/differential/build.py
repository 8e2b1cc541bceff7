# SPDX-License-Identifier: Apache-2.0
"""Frames from plain numbers, with right or wrong lengths and checksums; scapy would be too slow."""

from __future__ import annotations

import struct

from differential.pools import ICMP, ICMPV6, TCP, UDP


def checksum(data: bytes) -> int:
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ethernet(dst: int, src: int, tags: list[tuple[int, int]], ether_type: int) -> bytes:
    """`tags` are (TPID, TCI), the outer one first."""
    head = dst.to_bytes(6, "big") + src.to_bytes(6, "big")
    for tpid, tci in tags:
        head += struct.pack("!HH", tpid, tci)
    return head + ether_type.to_bytes(2, "big")


def ipv4(
    src: int,
    dst: int,
    proto: int,
    payload: bytes,
    *,
    ttl: int = 64,
    tos: int = 0,
    ident: int = 0,
    frag: int = 0x4000,
    options: bytes = b"",
    version: int = 4,
    ihl: int | None = None,
    total_len: int | None = None,
    sum_error: int = 0,
) -> bytes:
    """`frag` is the whole word, flags included; `sum_error` is added to the checksum."""
    options = options.ljust(-len(options) % 4 + len(options), b"\0")
    length = 20 + len(options)
    head = struct.pack(
        "!BBHHHBBHII",
        version << 4 | (length // 4 if ihl is None else ihl),
        tos,
        (length + len(payload) if total_len is None else total_len) & 0xFFFF,
        ident,
        frag,
        ttl,
        proto,
        0,
        src,
        dst,
    )
    head += options
    right = checksum(head)
    return head[:10] + ((right + sum_error) & 0xFFFF).to_bytes(2, "big") + head[12:] + payload


def ipv6(
    src: int,
    dst: int,
    next_header: int,
    payload: bytes,
    *,
    hop_limit: int = 64,
    traffic_class: int = 0,
    flow_label: int = 0,
    version: int = 6,
    payload_len: int | None = None,
) -> bytes:
    return (
        struct.pack(
            "!IHBB",
            version << 28 | traffic_class << 20 | flow_label,
            (len(payload) if payload_len is None else payload_len) & 0xFFFF,
            next_header,
            hop_limit,
        )
        + src.to_bytes(16, "big")
        + dst.to_bytes(16, "big")
        + payload
    )


def tcp(
    sport: int,
    dport: int,
    payload: bytes,
    *,
    seq: int = 0,
    ack: int = 0,
    flags: int = 0x10,
    window: int = 512,
    options: bytes = b"",
    doff: int | None = None,
) -> bytes:
    options = options.ljust(-len(options) % 4 + len(options), b"\0")
    words = 5 + len(options) // 4 if doff is None else doff
    head = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, words << 4, flags, window, 0, 0)
    return head + options + payload


def udp(sport: int, dport: int, payload: bytes, *, length: int | None = None) -> bytes:
    length = 8 + len(payload) if length is None else length
    return struct.pack("!HHHH", sport, dport, length & 0xFFFF, 0) + payload


def icmp(kind: int, code: int, identifier: int, payload: bytes) -> bytes:
    return struct.pack("!BBHHH", kind, code, 0, identifier, 1) + payload


CHECKSUM_AT = {TCP: 16, UDP: 6, ICMP: 2, ICMPV6: 2}


def with_l4_checksum(family: int, src: int, dst: int, proto: int, message: bytes) -> bytes:
    """The message with its checksum filled in, over the pseudo header where there is one."""
    at = CHECKSUM_AT.get(proto)
    if at is None or len(message) < at + 2:
        return message
    size = 4 if family == 4 else 16
    pseudo = src.to_bytes(size, "big") + dst.to_bytes(size, "big")
    pseudo += struct.pack("!HBB", len(message) & 0xFFFF, 0, proto)
    if proto == ICMP:
        pseudo = b""
    right = checksum(pseudo + message) or (0xFFFF if proto == UDP else 0)
    return message[:at] + right.to_bytes(2, "big") + message[at + 2 :]

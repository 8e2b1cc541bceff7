# SPDX-License-Identifier: Apache-2.0
"""Good packets made odd, in every way in which hardware must leave them to conntrack."""

from __future__ import annotations

from typing import Any

from scapy.layers.inet import IP, IPOption_Timestamp
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
from scapy.layers.l2 import Ether

#: IPv4: fragments, TTL, header checksum, a length beyond the frame's end, a wrong version.
IPV4_CHANGES: tuple[dict[str, Any], ...] = (
    {"flags": "MF"},
    {"frag": 1},
    {"frag": 185, "flags": "MF"},
    {"ttl": 1},
    {"ttl": 0},
    {"chksum": 0xDEAD},
    {"len": 9000},
    {"version": 5},
)
IPV6_CHANGES: tuple[dict[str, Any], ...] = (
    {"hlim": 1},
    {"hlim": 0},
    {"plen": 9000},
    {"version": 4},
)


def odd_packets(frame: bytes) -> list[bytes]:
    """Odd relatives of an untagged IPv4 or IPv6 frame."""
    return _ipv4(frame) if frame[12:14] == b"\x08\x00" else _ipv6(frame)


def _ipv4(frame: bytes) -> list[bytes]:
    result: list[bytes] = []
    for changes in IPV4_CHANGES:
        packet = Ether(frame)
        if "chksum" not in changes:
            packet[IP].chksum = None
        for name, value in changes.items():
            packet[IP].setfieldval(name, value)
        result.append(bytes(packet))
    packet = Ether(frame)
    packet[IP].options = [IPOption_Timestamp()]
    packet[IP].ihl = packet[IP].len = packet[IP].chksum = None
    return [*result, bytes(packet)]


def _ipv6(frame: bytes) -> list[bytes]:
    result: list[bytes] = []
    for changes in IPV6_CHANGES:
        packet = Ether(frame)
        for name, value in changes.items():
            packet[IPv6].setfieldval(name, value)
        result.append(bytes(packet))
    extensions = (
        (44, IPv6ExtHdrFragment(m=1, id=7)),
        (44, IPv6ExtHdrFragment(offset=20, id=7)),
        (0, IPv6ExtHdrHopByHop()),
    )
    for number, header in extensions:
        packet = Ether(frame)
        inner = packet[IPv6].payload
        header.nh = packet[IPv6].nh
        packet[IPv6].remove_payload()
        packet[IPv6].nh = number
        packet[IPv6].plen = None
        result.append(bytes(packet / header / inner))
    return result

# SPDX-License-Identifier: Apache-2.0
"""Who takes part: stations behind the ports of the target, and the frames that they exchange.

A station is a MAC and two IP addresses; no kernel stack has them, so nothing answers by itself.
Frames are built untagged; `Host.wire` is what such a frame looks like on the station's port.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10


@dataclass(frozen=True)
class Host:
    """A station on a dataplane port; `vlan` is the tag of its vport, None for untagged."""

    name: str
    vport: int
    port: int
    mac: str
    ipv4: str
    ipv6: str
    kind: str = "vf"
    vlan: int | None = None

    def ip(self, version: int) -> str:
        return self.ipv4 if version == 4 else self.ipv6

    def wire(self, frame: bytes) -> bytes:
        """The untagged frame as it is on this station's port."""
        if self.vlan is None:
            return frame
        return frame[:12] + b"\x81\x00" + self.vlan.to_bytes(2, "big") + frame[12:]


A = Host("a", 1, 1, "02:00:00:00:00:0a", "10.0.0.1", "fd00::1")
B = Host("b", 2, 2, "02:00:00:00:00:0b", "10.0.0.2", "fd00::2")
EXT = Host("ext", 3, 3, "02:00:00:00:00:0c", "10.0.0.3", "fd00::3", "uplink")
#: A station in VLAN 100 behind the uplink's port.
TAG = Host("tag", 4, 3, "02:00:00:00:00:0d", "10.0.0.4", "fd00::4", "uplink", 100)
HOSTS = (A, B, EXT, TAG)

_serial = itertools.count(1)


def l3(src: Host, dst: Host, version: int = 4, *, ttl: int = 64, **fields: Any) -> Packet:
    """Ethernet and IP headers from one station to another, ready for `/ payload`.

    The identification (IPv6: the flow label) is a running number, so that no two frames of a test
    are equal unless it sends one twice.  `fields` override scapy's fields of the IP header.
    """
    ether = Ether(src=src.mac, dst=dst.mac)
    if version == 4:
        given: dict[str, Any] = {"id": next(_serial) & 0xFFFF, "ttl": ttl, **fields}
        return ether / IP(src=src.ipv4, dst=dst.ipv4, **given)
    given = {"fl": next(_serial) & 0xFFFFF, "hlim": ttl, **fields}
    return ether / IPv6(src=src.ipv6, dst=dst.ipv6, **given)


def tcp(
    src: Host, dst: Host, version: int, *, payload: bytes = b"", ip: Any = None, **fields: Any
) -> bytes:
    """A TCP segment; `fields` are scapy's TCP fields, `ip` keyword arguments of `l3`."""
    return bytes(l3(src, dst, version, **(ip or {})) / TCP(**fields) / Raw(payload))


def udp(
    src: Host,
    dst: Host,
    version: int,
    sport: int,
    dport: int,
    payload: bytes = b"",
    ip: Any = None,
) -> bytes:
    """A UDP datagram."""
    body = UDP(sport=sport, dport=dport) / Raw(payload)
    return bytes(l3(src, dst, version, **(ip or {})) / body)


def echo(
    src: Host,
    dst: Host,
    version: int,
    identifier: int,
    sequence: int,
    *,
    reply: bool = False,
    payload: bytes = b"",
    ip: Any = None,
) -> bytes:
    """An ICMP or ICMPv6 echo request, or its reply."""
    base = l3(src, dst, version, **(ip or {}))
    if version == 4:
        body = ICMP(type=0 if reply else 8, id=identifier, seq=sequence)
    else:
        body = (ICMPv6EchoReply if reply else ICMPv6EchoRequest)(id=identifier, seq=sequence)
    return bytes(base / body / Raw(payload))


def arp_probe(src: Host, number: int) -> bytes:
    """A broadcast ARP request for an address that nobody has; `number` makes it unique."""
    wanted = f"10.{128 + (number >> 16) % 128}.{number >> 8 & 255}.{number & 255}"
    ask = ARP(op=1, hwsrc=src.mac, psrc=src.ipv4, pdst=wanted)
    return bytes(Ether(src=src.mac, dst="ff:ff:ff:ff:ff:ff") / ask)

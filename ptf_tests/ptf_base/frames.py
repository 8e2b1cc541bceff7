# SPDX-License-Identifier: Apache-2.0
"""Stations and the frames between them, built by scapy and handled as bytes."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

# Scapy warns about routes and interfaces, which no frame here depends on.
logging.getLogger("scapy.runtime").setLevel(logging.ERROR)

from scapy.layers.inet import ICMP, IP, TCP, UDP  # noqa: E402
from scapy.layers.inet6 import (  # noqa: E402
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    IPv6,
)
from scapy.layers.l2 import Dot1Q, Ether  # noqa: E402
from scapy.layers.vxlan import VXLAN  # noqa: E402
from scapy.packet import Packet, Raw  # noqa: E402

PROTO_NUMBERS = {("tcp", 4): 6, ("udp", 4): 17, ("icmp", 4): 1}
PROTO_NUMBERS |= {("tcp", 6): 6, ("udp", 6): 17, ("icmp", 6): 58}
ECHO_TYPES = {4: (8, 0), 6: (128, 129)}
"""Family -> (request, reply)."""
ETHERTYPE_EXPERIMENTAL = 0x88B5
"""IEEE 802 local experimental EtherType 1: no protocol of any station."""
PAYLOAD = b"eswitch"


@dataclass(frozen=True)
class Station:
    """A host: the port that it is on, the vport id that it gets there, and its addresses."""

    name: str
    port: int
    vport: int
    mac: str
    ip4: str
    ip6: str

    def ip(self, family: int) -> str:
        return self.ip4 if family == 4 else self.ip6


# Port 0 is nobody's: a frame that leaves there was sent without an egress port.
VM1 = Station("vm1", 1, 11, "02:00:00:00:01:01", "10.0.0.1", "fd00::1")
VM2 = Station("vm2", 2, 12, "02:00:00:00:02:02", "10.0.0.2", "fd00::2")
EXT = Station("ext", 3, 13, "02:00:00:00:03:03", "198.51.100.3", "2001:db8::3")
UNUSED_PORT = 0


PORT_VXLAN = 4789


@dataclass(frozen=True)
class Tunnel:
    """A VXLAN tunnel, from `src` to `dst`: the addresses say which family it is over."""

    src: str
    dst: str
    vni: int
    ttl: int = 64
    dscp: int = 0
    eth_src: str = "02:00:00:00:fe:01"
    eth_dst: str = "02:00:00:00:fe:02"

    @property
    def family(self) -> int:
        return 6 if ":" in self.src else 4

    def wrap(
        self,
        inner: bytes,
        *,
        sport: int = 55555,
        ecn: int = 0,
        vlan: int | None = None,
        ip: dict[str, Any] | None = None,
        udp: dict[str, Any] | None = None,
        vxlan: dict[str, Any] | None = None,
    ) -> bytes:
        """The frame in the tunnel, as scapy builds it; `ip`, `udp` and `vxlan` override fields."""
        packet = Ether(src=self.eth_src, dst=self.eth_dst)
        if vlan is not None:
            packet = packet / Dot1Q(vlan=vlan)
        tos = self.dscp << 2 | ecn
        if self.family == 4:
            fields = {"ttl": self.ttl, "tos": tos, "id": 0, "flags": "DF"}
            packet = packet / IP(**{"src": self.src, "dst": self.dst, **fields, **(ip or {})})
        else:
            fields = {"hlim": self.ttl, "tc": tos}
            packet = packet / IPv6(**{"src": self.src, "dst": self.dst, **fields, **(ip or {})})
        outer = {"sport": sport, "dport": PORT_VXLAN, "chksum": 0, **(udp or {})}
        header = VXLAN(**{"flags": 8, "vni": self.vni, **(vxlan or {})})
        return bytes(packet / UDP(**outer) / header / Raw(inner))


def ethernet(src: Station, dst: Station, /, *, vlan: int | None = None, **fields: Any) -> Packet:
    """The link layer, with a tag if `vlan` is given; `fields` are scapy's of Ether and `prio`."""
    prio = fields.pop("prio", 0)
    header = Ether(**{"src": src.mac, "dst": dst.mac, **fields})
    return header / Dot1Q(vlan=vlan, prio=prio) if vlan is not None else header


def network(src: Station, dst: Station, family: int, /, *, ttl: int = 64, **fields: Any) -> Packet:
    """The IP header; `fields` are scapy's of IP or IPv6."""
    if family == 4:
        return IP(**{"src": src.ip4, "dst": dst.ip4, "ttl": ttl, "id": 0x1234, **fields})
    return IPv6(**{"src": src.ip6, "dst": dst.ip6, "hlim": ttl, **fields})


def transport(
    proto: str, family: int, sport: int, dport: int, *, flags: str = "A", reply: bool = False
) -> Packet:
    """TCP or UDP between two ports, or the echo message with identifier `sport`."""
    if proto == "tcp":
        return TCP(sport=sport, dport=dport, flags=flags, seq=1000, ack=2000, window=502)
    if proto == "udp":
        return UDP(sport=sport, dport=dport)
    if family == 4:
        return ICMP(type=ECHO_TYPES[4][reply], id=sport, seq=1)
    echo = ICMPv6EchoReply if reply else ICMPv6EchoRequest
    return echo(id=sport, seq=1)


def frame(
    proto: str,
    family: int,
    src: Station,
    dst: Station,
    *,
    sport: int = 40000,
    dport: int = 80,
    flags: str = "A",
    reply: bool = False,
    payload: bytes = PAYLOAD,
    ttl: int = 64,
    vlan: int | None = None,
    eth: dict[str, Any] | None = None,
    ip: dict[str, Any] | None = None,
    l4: dict[str, Any] | None = None,
    between: Packet | None = None,
) -> bytes:
    """A whole frame. `eth`, `ip` and `l4` override scapy fields; `between` (IPv6 extension
    headers) goes before the transport header."""
    upper = transport(proto, family, sport, dport, flags=flags, reply=reply)
    for name, value in (l4 or {}).items():
        setattr(upper, name, value)
    packet = ethernet(src, dst, vlan=vlan, **(eth or {}))
    packet = packet / network(src, dst, family, ttl=ttl, **(ip or {}))
    if between is not None:
        packet = packet / between
    return bytes(packet / upper / Raw(payload))


def routed(data: bytes, *, src: str, dst: str) -> bytes:
    """What a router makes of a frame: new MAC addresses, TTL less one, checksums by scapy."""
    packet = Ether(data)
    packet.src, packet.dst = src, dst
    if IP in packet:
        packet[IP].ttl -= 1
        del packet[IP].chksum
    elif IPv6 in packet:
        packet[IPv6].hlim -= 1
    return bytes(packet)


def push_vlan(data: bytes, vlan: int) -> bytes:
    """Add a tag with priority 0."""
    return data[:12] + b"\x81\x00" + vlan.to_bytes(2, "big") + data[12:]


def pop_vlan(data: bytes) -> bytes:
    """Remove the tag."""
    return data[:12] + data[16:]


def pad(data: bytes, length: int = 60) -> bytes:
    """Pad with zeros, as a network card does up to 60 bytes."""
    return data.ljust(length, b"\0")


def key(
    proto: str, family: int, sport: int, dport: int, *, reply: bool = False
) -> tuple[int, int, int]:
    """(proto, sport, dport) as the connection tables match them: an echo message has its
    identifier as sport, and type<<8|code as dport, so the reply has another dport."""
    number = PROTO_NUMBERS[proto, family]
    if proto == "icmp":
        return number, sport, ECHO_TYPES[family][reply] << 8
    return number, sport, dport


def summary(data: bytes) -> str:
    """One line about a frame, for messages."""
    try:
        text = Ether(data).summary()
    except Exception as error:  # scapy dissectors raise anything on a malformed frame
        text = f"not dissected ({error})"
    return f"{len(data)} bytes, {text}"


def difference(expected: bytes, got: bytes) -> str:
    """Where two frames differ, both shown in hex."""
    at = next((i for i, (a, b) in enumerate(zip(expected, got, strict=False)) if a != b), None)
    where = f"at byte {at}" if at is not None else "in length"
    return (
        f"differs {where}\n  expected {summary(expected)}\n    {expected.hex()}"
        f"\n  got      {summary(got)}\n    {got.hex()}"
    )

# SPDX-License-Identifier: Apache-2.0
"""One tracked connection, its two tuples and the compact keys it is found by."""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from p4ct.conntrack.state import FlowState, TcpState
from p4ct.conntrack.tcp_window import TcpTrack
from p4ct.packet.parse import PROTO_ICMP, PROTO_ICMPV6, PROTO_TCP, PROTO_UDP
from p4ct.packet.text import format_ip

_PORTS = Struct("!HH")

# Type of the answer to an ICMP query, by (version, type). Only echo is tracked.
_ICMP_ANSWER = {(4, 8): 0, (4, 0): 8, (6, 128): 129, (6, 129): 128}
_PORT_PROTOCOLS = (PROTO_TCP, PROTO_UDP)


class Direction(IntEnum):
    """ORIGINAL is the direction of the packet that created the connection."""

    ORIGINAL = 0
    REPLY = 1


def is_icmp(version: int, proto: int) -> bool:
    """Is this ICMP of its own IP version? (ICMP over IPv6 is just some protocol.)"""
    return proto == PROTO_ICMP if version == 4 else proto == PROTO_ICMPV6


class Tuple(NamedTuple):
    """One direction of a connection. Addresses: 4 or 16 bytes, network order.

    ICMP echo: sport is the identifier and dport is type<<8|code; protocols without ports have 0.
    """

    version: int
    proto: int
    src: bytes
    dst: bytes
    sport: int
    dport: int

    def reversed(self) -> Tuple:
        """The tuple of the opposite direction (ICMP keeps the identifier and answers the type)."""
        version, proto, src, dst, sport, dport = self
        if is_icmp(version, proto):
            kind = _ICMP_ANSWER.get((version, dport >> 8), dport >> 8)
            return Tuple(version, proto, dst, src, sport, kind << 8 | dport & 0xFF)
        return Tuple(version, proto, dst, src, dport, sport)

    def key(self) -> bytes:
        """src, dst, sport, dport packed: 12 bytes for IPv4, 36 for IPv6."""
        return self.src + self.dst + _PORTS.pack(self.sport, self.dport)

    def __str__(self) -> str:
        text = f"src={format_ip(self.src)} dst={format_ip(self.dst)}"
        if is_icmp(self.version, self.proto):
            return f"{text} type={self.dport >> 8} code={self.dport & 0xFF} id={self.sport}"
        if self.proto in _PORT_PROTOCOLS:
            return f"{text} sport={self.sport} dport={self.dport}"
        return text


def tuple_from_key(version: int, proto: int, key: bytes) -> Tuple:
    """The inverse of `Tuple.key`."""
    size = 4 if version == 4 else 16
    sport, dport = _PORTS.unpack_from(key, 2 * size)
    return Tuple(version, proto, key[:size], key[size : 2 * size], sport, dport)


class Connection:
    """A connection in one zone. Times are seconds of the clock that the caller passes in.

    id: unique in a Tracker, never reused.   key, reply_key: see `Tuple.key`; the table's own keys.
    assured: may not be evicted early.   seen_reply: a packet of the REPLY direction was accepted.
    mark, label: 32 and 128 bit, belong to the policy.
    start: when it was committed; expires: when it dies unless traffic renews it; timeout: seconds
        that the last accepted packet gave it.
    packets, bytes: [original, reply] handled in software (frame bytes, Ethernet header included);
        hw_packets, hw_bytes: the hardware's share, added by the offload manager.
    offload: opaque handle of the offload manager, None while in software (`Tracker.hold`);
        offload_reason: why it is not offloaded, kept by the offload manager.
    tcp: window and history of a TCP connection, else None.
    alive: False once destroyed.   timer_at: when the timer wheel looks next; owned by the wheel.
    """

    __slots__ = (
        "alive",
        "assured",
        "bytes",
        "expires",
        "hw_bytes",
        "hw_packets",
        "id",
        "key",
        "label",
        "mark",
        "offload",
        "offload_reason",
        "packets",
        "proto",
        "protocol_state",
        "reply_key",
        "seen_reply",
        "start",
        "tcp",
        "timeout",
        "timer_at",
        "version",
        "zone",
    )

    def __init__(
        self,
        id: int,
        zone: int,
        original: Tuple,
        reply: Tuple,
        protocol_state: TcpState | FlowState,
        now: float,
    ) -> None:
        self.id = id
        self.zone = zone
        self.version = original.version
        self.proto = original.proto
        self.key = original.key()
        reply_key = reply.key()
        self.reply_key = self.key if reply_key == self.key else reply_key
        self.protocol_state: TcpState | FlowState = protocol_state
        self.assured = False
        self.seen_reply = False
        self.mark = 0
        self.label = 0
        self.start = now
        self.expires = now
        self.timeout = 0.0
        self.packets = [0, 0]
        self.bytes = [0, 0]
        self.hw_packets = [0, 0]
        self.hw_bytes = [0, 0]
        self.offload: object | None = None
        self.offload_reason = ""
        self.tcp: TcpTrack | None = None
        self.alive = True
        self.timer_at = -1.0

    @property
    def original(self) -> Tuple:
        """The tuple of the first packet."""
        return tuple_from_key(self.version, self.proto, self.key)

    @property
    def reply(self) -> Tuple:
        """The tuple of the answers."""
        return tuple_from_key(self.version, self.proto, self.reply_key)

    @property
    def state_name(self) -> str:
        """Name of the protocol state: ESTABLISHED, FIN_WAIT, UNREPLIED, ..."""
        return self.protocol_state.name

    def __repr__(self) -> str:
        return f"<Connection {self.id} zone={self.zone} {self.state_name} {self.original}>"

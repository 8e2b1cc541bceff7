# SPDX-License-Identifier: Apache-2.0
"""One tracked connection, its two tuples and the compact keys it is found by."""

from __future__ import annotations

import copy
from enum import IntEnum
from functools import cache
from struct import Struct
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from p4ct.conntrack.eviction import Link, Queue
from p4ct.conntrack.numbers import Numbers, start_and_counters, unpack
from p4ct.conntrack.sctp_track import SctpTrack
from p4ct.conntrack.state import ProtocolState
from p4ct.conntrack.tcp_window import TcpTrack
from p4ct.conntrack.timers import NOT_ARMED, Chunk
from p4ct.packet.parse import PROTO_ICMP, PROTO_ICMPV6, PROTO_SCTP, PROTO_TCP, PROTO_UDP
from p4ct.packet.text import format_ip

if TYPE_CHECKING:
    from p4ct.conntrack.helpers.seq_adjust import SeqAdjust
    from p4ct.conntrack.helping import Helping
    from p4ct.conntrack.table import Table

_PORTS = Struct("!HH")

# Type of the answer to an ICMP query, by (version, type): echo, timestamp, information, address
# mask; ICMPv6 echo, node information.
_ICMP_QUERIES = ((4, 8, 0), (4, 13, 14), (4, 15, 16), (4, 17, 18), (6, 128, 129), (6, 139, 140))
_ICMP_ANSWER = {(version, query): answer for version, query, answer in _ICMP_QUERIES} | {
    (version, answer): query for version, query, answer in _ICMP_QUERIES
}
_PORT_PROTOCOLS = (PROTO_TCP, PROTO_UDP, PROTO_SCTP)

Key = bytes
"""See `Tuple.key`. (In `Connection`, `bytes` is a counter.)"""


SNAT, DNAT = 0x40, 0x80
"""What is translated, with the bits of CtState."""


class Direction(IntEnum):
    """ORIGINAL is the direction of the packet that created the connection."""

    ORIGINAL = 0
    REPLY = 1


def is_icmp(version: int, proto: int) -> bool:
    """Is this ICMP of its own IP version? (ICMP over IPv6 is just some protocol.)"""
    return proto == PROTO_ICMP if version == 4 else proto == PROTO_ICMPV6


class Tuple(NamedTuple):
    """One direction of a connection. Addresses: 4 or 16 bytes, network order.

    ICMP queries: sport is the identifier and dport is type<<8|code; protocols without ports have 0.
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


class Extra:
    """What few connections have, so that the others need no room for it.

    hw_packets, hw_bytes: [original, reply] that hardware forwarded.   sctp: of an association.
    helper: what reads its packets, None if nothing does.   related: a helper had expected it.
    adjust: [original, reply] what the helper's changes do to sequence numbers, None without any.
    """

    __slots__ = ("adjust", "helper", "hw_bytes", "hw_packets", "related", "sctp")

    def __init__(self) -> None:
        self.helper: Helping | None = None
        self.related = False
        self.adjust: tuple[SeqAdjust, SeqAdjust] | None = None
        self.hw_packets = [0, 0]
        self.hw_bytes = [0, 0]
        self.sctp: SctpTrack | None = None


class Connection(Link):
    """A connection in one zone. Times are seconds of the clock that the caller passes in.

    id: unique in a Tracker, never reused.   key, reply_key: see `Tuple.key`; the table's own keys.
    assured: may not be evicted early.   seen_reply: a packet of the REPLY direction was accepted.
    mark, label: 32 and 128 bit, belong to the policy.
    expires: when it dies unless traffic renews it; timeout: seconds that the last accepted packet
        gave it.
    offload: opaque handle of the offload manager, None while in software (`Tracker.hold`);
        offload_reason: why it is not offloaded, kept by the offload manager.

    The rest belongs to the tracker: table, where it is kept; chunk and position, of the timer
    wheel (position is -1 once destroyed); queue, older and newer, of those that may be evicted;
    numbers, packed or not; extra.
    A million connections may live: an attribute more costs 8 MB, so what is rare belongs in `Extra`
    and what is only counted in `Numbers`.
    """

    nat: ClassVar[int] = 0
    """What of its packets is translated: SNAT and DNAT of CtState. See `connection_class`."""
    timeout_policy: ClassVar[str] = ""
    """The timeouts that the flow which committed it named, empty for those of its zone."""

    __slots__ = (
        "assured",
        "chunk",
        "expires",
        "extra",
        "id",
        "key",
        "label",
        "mark",
        "numbers",
        "offload",
        "offload_reason",
        "position",
        "protocol_state",
        "queue",
        "reply_key",
        "seen_reply",
        "table",
        "timeout",
    )

    def __init__(
        self,
        id: int,
        table: Table,
        key: Key,
        reply_key: Key,
        protocol_state: ProtocolState,
        now: float,
    ) -> None:
        self.id = id
        self.table = table
        self.key = key
        self.reply_key = key if reply_key == key else reply_key
        self.protocol_state: ProtocolState = protocol_state
        self.assured = False
        self.seen_reply = False
        self.mark = 0
        self.label = 0
        self.expires = now
        self.timeout = 0.0
        self.offload: object | None = None
        self.offload_reason = ""
        self.chunk: Chunk = NOT_ARMED
        self.position = 0
        self.older = self.newer = self
        self.queue: Queue | None = None
        self.numbers: Numbers | bytes = Numbers(now)
        self.extra: Extra | None = None

    @property
    def alive(self) -> bool:
        """False once destroyed."""
        return self.position >= 0

    @property
    def zone(self) -> int:
        """Its zone, 16 bit."""
        return self.table.zone

    @property
    def version(self) -> int:
        """IP version, 4 or 6."""
        return self.table.version

    @property
    def proto(self) -> int:
        """IP protocol number."""
        return self.table.proto

    @property
    def original(self) -> Tuple:
        """The tuple of the first packet."""
        return tuple_from_key(self.table.version, self.table.proto, self.key)

    @property
    def reply(self) -> Tuple:
        """The tuple of the answers; with NAT not the mirror image of the original."""
        return tuple_from_key(self.table.version, self.table.proto, self.reply_key)

    @property
    def source(self) -> Key:
        """The address that opened it, 4 or 16 bytes."""
        return self.key[: 4 if self.table.version == 4 else 16]

    @property
    def state_name(self) -> str:
        """Name of the protocol state: ESTABLISHED, FIN_WAIT, UNREPLIED, ..."""
        return self.protocol_state.name

    @property
    def helper(self) -> str:
        """Name of the helper that reads its packets ("ftp", "tftp"), or empty."""
        helper = None if self.extra is None else self.extra.helper
        return "" if helper is None else helper.name

    @property
    def tcp(self) -> TcpTrack | None:
        """Window and history of a TCP connection, else None. Ask again after the next packet."""
        return self.table.working.unpack(self).tcp

    @tcp.setter
    def tcp(self, tcp: TcpTrack | None) -> None:
        self.table.working.unpack(self).tcp = tcp

    @property
    def start(self) -> float:
        """When it was committed."""
        return self._counted()[0]

    @property
    def packets(self) -> tuple[int, int]:
        """(original, reply) handled in software, as of now."""
        _, original, _, reply, _ = self._counted()
        return original, reply

    @property
    def bytes(self) -> tuple[int, int]:
        """(original, reply) frame bytes in software, Ethernet header included, as of now."""
        _, _, original, _, reply = self._counted()
        return original, reply

    @property
    def hw_packets(self) -> tuple[int, int]:
        """(original, reply) that hardware forwarded, as of now."""
        return (
            (0, 0) if self.extra is None else (self.extra.hw_packets[0], self.extra.hw_packets[1])
        )

    @property
    def hw_bytes(self) -> tuple[int, int]:
        """(original, reply) frame bytes that hardware forwarded, as of now."""
        return (0, 0) if self.extra is None else (self.extra.hw_bytes[0], self.extra.hw_bytes[1])

    @property
    def sctp(self) -> SctpTrack | None:
        """Tags and history of an SCTP association, else None."""
        return None if self.extra is None else self.extra.sctp

    @sctp.setter
    def sctp(self, sctp: SctpTrack | None) -> None:
        if self.extra is None:
            self.extra = Extra()
        self.extra.sctp = sctp

    def add_hardware(self, direction: int, packets: int, octets: int) -> None:
        """Hardware forwarded that much more; the offload manager says so."""
        if self.extra is None:
            self.extra = Extra()
        self.extra.hw_packets[direction] += packets
        self.extra.hw_bytes[direction] += octets

    def add_software(self, direction: int, packets: int, octets: int) -> None:
        """Software handled that much more than it tracked: a packet that came in fragments."""
        numbers = self.table.working.unpack(self)
        if direction:
            numbers.reply_packets += packets
            numbers.reply_bytes += octets
        else:
            numbers.original_packets += packets
            numbers.original_bytes += octets

    def set_software(self, packets: tuple[int, int], octets: tuple[int, int]) -> None:
        """Counters from before a restart, (original, reply)."""
        numbers = self.table.working.unpack(self)
        numbers.original_packets, numbers.reply_packets = packets
        numbers.original_bytes, numbers.reply_bytes = octets

    def twin(self) -> Connection:
        """A copy in no table and with no timer, to try a packet on."""
        twin = copy.copy(self)
        numbers = self.numbers
        twin.numbers = unpack(numbers if isinstance(numbers, bytes) else numbers.pack())
        if self.sctp is not None:
            twin.extra = copy.copy(self.extra)
            twin.sctp = self.sctp.copy()
        return twin

    def _counted(self) -> tuple[float, int, int, int, int]:
        numbers = self.numbers
        if not isinstance(numbers, Numbers):
            return start_and_counters(numbers)
        return (
            numbers.start,
            numbers.original_packets,
            numbers.original_bytes,
            numbers.reply_packets,
            numbers.reply_bytes,
        )

    def __repr__(self) -> str:
        return f"<Connection {self.id} zone={self.zone} {self.state_name} {self.original}>"


@cache
def connection_class(nat: int, timeout_policy: str) -> type[Connection]:
    """The class of connections with these bits of NAT and this timeout policy.

    Both are one of a few values and never change: in the class they take no room in a connection.
    """
    if not nat and not timeout_policy:
        return Connection

    class Particular(Connection):
        __slots__ = ()

    Particular.nat, Particular.timeout_policy = nat, timeout_policy
    return Particular

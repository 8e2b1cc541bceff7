# SPDX-License-Identifier: Apache-2.0
"""What may become an eswitch entry: the decision for one packet and for one connection.

Each function answers with a value to use or with a text that says why not; the text is shown to
the operator as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from p4ct.conntrack import Connection, CtState, Direction
from p4ct.conntrack.tcp_window import SIMULTANEOUS_OPEN
from p4ct.eswitch.entries import Nat
from p4ct.offload import reasons
from p4ct.offload.next_hops import NextHopKey
from p4ct.offload.record import Half, L2Key
from p4ct.packet.parse import Packet
from p4ct.pipeline.ports import PortTable
from p4ct.pipeline.result import CtVisit, Result
from p4ct.pipeline.rewrite import rewrite_of

__all__ = [
    "OFFLOADABLE",
    "Mode",
    "eligible",
    "half_of",
    "is_assumed",
    "is_half_closed",
    "is_proven",
    "marks_of",
    "must_leave",
]

ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
OFFLOADABLE = frozenset({ICMP, TCP, UDP, ICMPV6})
ECHO = {ICMP: (8, 0), ICMPV6: (128, 129)}
SYN, ACK, FIN, RST = 0x02, 0x10, 0x01, 0x04
SYN_ACK, FLAGS = SYN | ACK, SYN | ACK | FIN | RST

#: States of a TCP connection from which on its entries must not forward (the second FIN was seen,
#: or an RST, or a SYN that reopens).
ENDING = frozenset({"LAST_ACK", "TIME_WAIT", "CLOSE"})
#: One side has finished: the half-close goes on in hardware.
HALF_CLOSED = frozenset({"FIN_WAIT", "CLOSE_WAIT"})


class Mode(Enum):
    """When a connection may be offloaded (`offload.mode` of the configuration)."""

    ASSURED = "assured"  # TCP established and assured, others once replied
    ESTABLISHED = "established"  # TCP established
    ASSUME = "assume-established"  # TCP once its SYN is answered, others with the second packet


def half_of(
    pkt: Packet, in_vport: int, result: Result, ports: PortTable, *, unanswered: bool = False
) -> Half | str | None:
    """The entry that this packet's result would make, or why there can be none.

    None: this packet is no basis for a decision (a SYN, a fragment), and nothing is wrong.
    `unanswered`: one that nobody has answered is a basis, if it did not begin its connection.
    """
    visits = [
        (visit.connection, visit.result.direction)
        for visit in result.ct
        if visit.connection is not None
    ]
    if not visits:
        return None
    if pkt.proto not in OFFLOADABLE or (pkt.proto in ECHO and not _is_echo(pkt)):
        return f"{reasons.PROTOCOL}: IP protocol {pkt.proto}"
    if result.verdict == "drop":
        return f"{reasons.POLICY_DROPS}: {result.drop_reason}"
    if pkt.error or pkt.frag or pkt.options or result.cuts is not None:
        return None
    if pkt.proto == TCP and pkt.flags & (SYN | ACK) == SYN:
        return None
    for visit in result.ct:
        if visit.connection is None or _established(visit):
            continue
        if not unanswered or pkt.proto == TCP or not _goes_on(visit):
            return None
    if len(visits) != len(result.ct):
        return "it passes a zone that has no connection for it"
    if any(visit.changed for visit in result.ct):
        return None  # flows that look at the mark may do otherwise with the next packet
    if result.blockers:
        return result.blockers[0]
    if len(result.outputs) != 1:
        return f"more than one output: {len(result.outputs)}"
    egress = ports.by_id[result.outputs[0]]
    rewrite = rewrite_of(pkt, result.packets[0])
    if isinstance(rewrite, str):
        return rewrite
    if pkt.eth_src[0] & 1 or pkt.eth_dst[0] & 1:
        return "a multicast MAC address"
    return Half(
        l2=L2Key(in_vport, pkt.eth_src, pkt.eth_dst),
        version=pkt.version,
        src=pkt.src,
        dst=pkt.dst,
        proto=pkt.proto,
        sport=pkt.sport,
        dport=pkt.dport,
        out_vport=egress.id,
        next_hop=NextHopKey(egress.id, *(rewrite.route or (b"", b"")), rewrite.vlan),
        nat=None if rewrite.ends is None else Nat(*rewrite.ends),
        flows=result.path,
        fdb=frozenset(result.fdb_dependencies),
        visits=tuple(visits),
        marks=marks_of(visits),
        policy_version=result.version,
    )


def _is_echo(pkt: Packet) -> bool:
    return pkt.icmp_code == 0 and pkt.icmp_type in ECHO[pkt.proto]


def _established(visit: CtVisit) -> bool:
    state = visit.result.state
    return bool(state & CtState.EST) and not state & (CtState.NEW | CtState.INV)


def _goes_on(visit: CtVisit) -> bool:
    """A packet of the original direction, not the first and without an answer so far."""
    state, connection = visit.result.state, visit.result.connection
    if connection is None or visit.result.key or connection.seen_reply:
        return False  # with a key it was unknown before its commit
    return visit.result.direction is Direction.ORIGINAL and bool(state & CtState.NEW)


def is_proven(connection: Connection) -> bool:
    """Is it known that both sides take part?"""
    return connection.seen_reply and not is_assumed(connection)


def marks_of(visits: Iterable[tuple[Connection, Direction]]) -> tuple[tuple[int, int], ...]:
    """Mark and label of each connection now."""
    return tuple((connection.mark, connection.label) for connection, _ in visits)


def must_leave(connection: Connection) -> bool:
    """A TCP connection whose entries have to go before its packet is sent on.

    It ends, or a SYN and its answer have begun it anew: conntrack needs to see what follows.
    """
    if connection.proto != TCP:
        return False
    state = connection.state_name
    return state != "ESTABLISHED" and state not in HALF_CLOSED


def is_assumed(connection: Connection) -> bool:
    """A TCP connection whose handshake only lacks its last ACK, which may go by unseen.

    Not if both sides have sent a SYN: conntrack then needs to see what follows.
    """
    if connection.proto != TCP or connection.state_name != "SYN_RECV" or not connection.seen_reply:
        return False
    return connection.tcp is not None and not connection.tcp.last_flags & SIMULTANEOUS_OPEN


def is_half_closed(connection: Connection) -> bool:
    """A TCP connection of which one side has finished sending."""
    return connection.proto == TCP and connection.state_name in HALF_CLOSED


def eligible(connection: Connection, mode: Mode) -> str:
    """Why this connection may not be offloaded now; empty if it may."""
    if not connection.seen_reply:
        return reasons.NOT_ESTABLISHED
    if mode is Mode.ASSUME and is_assumed(connection):
        return ""
    if connection.proto == TCP:
        if connection.state_name != "ESTABLISHED":
            if connection.state_name in ENDING or is_half_closed(connection):
                return reasons.CLOSING
            return reasons.NOT_ESTABLISHED
        if mode is Mode.ASSURED and not connection.assured:
            return reasons.NOT_ASSURED
    return ""


def own_direction(half: Half, connection: Connection) -> Direction:
    """The direction that a half's packets have in one of its connections."""
    for candidate, direction in half.visits:
        if candidate is connection:
            return direction
    raise LookupError(f"connection {connection.id} is not part of this half")

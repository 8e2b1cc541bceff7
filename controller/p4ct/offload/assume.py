# SPDX-License-Identifier: Apache-2.0
"""Mode assume-established: a record from the second packet on (docs/decisions/0025).

The direction of the answer is decided from it, as ever.  The other one is decided from a
synthesised packet that continues the connection as seen so far: the ACK of the handshake, another
datagram, another echo message.  If the pipeline cannot say what becomes of that for certain, the
connection waits for the real one.

If the second packet is no answer but one more of the same (not of TCP), the record has one entry
that forwards, and the entry of the answers punts until there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from p4ct.conntrack import Connection, Direction, Tracker, Tuple
from p4ct.conntrack.tcp_window import segment_end
from p4ct.eswitch.entries import PuntInfo
from p4ct.offload import reasons
from p4ct.offload.allocate import IndexPool
from p4ct.offload.decide import ACK, FLAGS, SYN_ACK, TCP, half_of, is_assumed, is_proven, marks_of
from p4ct.offload.recheck import sample_packet
from p4ct.offload.record import Half, L2Key, Record
from p4ct.packet.parse import Packet
from p4ct.pipeline.access import PeekConntrack
from p4ct.pipeline.execute import Pipeline
from p4ct.pipeline.result import Result

__all__ = [
    "Seen",
    "Unproven",
    "confirm",
    "is_current",
    "needs_counters",
    "note",
    "one_way",
    "other_direction",
    "unproven",
]

SHARE = 4
"""Of the records, one in this many at most may be unproven."""


class Seen(NamedTuple):
    """What an entry for packets like the one that was seen would match."""

    l2: L2Key
    version: int
    src: bytes
    dst: bytes
    proto: int
    sport: int
    dport: int


def note(
    seen: list[Seen | None], pkt: Packet, in_vport: int, result: Result, connection: Connection
) -> None:
    """Remember how a packet of this connection came in, by direction."""
    if pkt.error or not result.outputs:
        return
    for visit in result.ct:
        if visit.connection is connection:
            seen[visit.result.direction] = Seen(
                L2Key(in_vport, pkt.eth_src, pkt.eth_dst),
                pkt.version,
                pkt.src,
                pkt.dst,
                pkt.proto,
                pkt.sport,
                pkt.dport,
            )
            return


def is_current(half: Half, pipeline: Pipeline, now: float) -> bool:
    """Does it hold under the policy of now, with marks, labels and stations as they are now?"""
    return (
        half.policy_version == pipeline.version
        and half.marks == marks_of(half.visits)
        and all(pipeline.macs.lookup(*station, now) == half.out_vport for station in half.fdb)
    )


def other_direction(
    pkt: Packet,
    seen: Seen,
    connection: Connection,
    pipeline: Pipeline,
    tracker: Tracker,
    now: float,
) -> Half | str:
    """What the pipeline makes of the next packet the other way, after `pkt`; or what is open.

    Nothing is counted, learned or committed.
    """
    sample = sample_packet(seen, ACK, pkt.ack, segment_end(pkt) if pkt.proto == TCP else 0)
    result = pipeline.process(sample, seen.l2.vport, now, ct=PeekConntrack(tracker))
    half = half_of(sample, seen.l2.vport, result, pipeline.ports)
    if half is None:
        return "policy has more to decide about it"
    if isinstance(half, str):
        return half
    if all(found is not connection for found, _ in half.visits):
        return reasons.DIRECTIONS_DIFFER
    return half


def one_way(
    pkt: Packet, in_vport: int, result: Result, pipeline: Pipeline, tracker: Tracker, now: float
) -> tuple[Half, Half] | str | None:
    """Both halves of a record for packets that nobody answers; why not; None: it is not that.

    The packet is a real one of the original direction, and all that follow are decided as it was
    until there is an answer. The entry of the answers punts: what conntrack and policy make of the
    first one has to be known before anything follows. Where it will come from is a guess that may
    be wrong, for without an entry it comes up as well; but nobody else may need that entry.
    """
    original = half_of(pkt, in_vport, result, pipeline.ports, unanswered=True)
    if not isinstance(original, Half):
        return original
    out = result.packets[0]
    if (out.eth_src[0] | out.eth_dst[0]) & 1:
        return "a multicast MAC address"
    back = Tuple(out.version, out.proto, out.src, out.dst, out.sport, out.dport).reversed()
    reply = original._replace(
        l2=L2Key(original.out_vport, out.eth_dst, out.eth_src),
        src=back.src,
        dst=back.dst,
        sport=back.sport,
        dport=back.dport,
        out_vport=in_vport,
        nat=None,
        fdb=frozenset(),
        visits=tuple((c, Direction(1 - direction)) for c, direction in original.visits),
    )
    answer = pipeline.process(sample_packet(reply), reply.l2.vport, now, ct=PeekConntrack(tracker))
    own = {connection.id for connection, _ in original.visits}
    if any(v.connection is None or v.connection.id not in own for v in answer.ct):
        return reasons.DIRECTIONS_DIFFER
    return original, reply


def confirm(record: Record, gains: Sequence[tuple[int, int]], tracker: Tracker, now: float) -> None:
    """The entries have forwarded this much, (packets, bytes) by direction: what does it prove?

    The original direction of a TCP connection begins with the ACK of the handshake.
    """
    for member in record.members:
        if member.connection.proto == TCP and gains[member.direction(0)][0]:
            tracker.confirm(member.connection, now)


def unproven(record: Record) -> bool:
    """Is there a connection in it of which it is not known that both sides take part?"""
    return not all(is_proven(member.connection) for member in record.members)


def needs_counters(record: Record, info: PuntInfo, pkt: Packet) -> bool:
    """Is this packet judged otherwise if the ACK of the handshake has gone by unseen?

    In SYN_RECV a SYN/ACK of the initiator is possible (RFC 9293 3.5: both have sent a SYN), of an
    established connection it is invalid. To conntrack all other segments are the same in both.
    """
    if pkt.proto != TCP or pkt.flags & FLAGS != SYN_ACK or record.generation != info.generation:
        return False
    return any(
        is_assumed(member.connection) and member.direction(info.direction) == Direction.ORIGINAL
        for member in record.members
    )


class Unproven:
    """Records of connections that nobody has answered, or without the end of the handshake.

    They are few, and give way to others, the newest first.
    """

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self._records: dict[int, Record] = {}

    def __len__(self) -> int:
        return len(self._records)

    def room(self, pool: IndexPool, queue: int) -> bool:
        """May there be one more?  `queue`: records that are to be installed before it.

        Nobody waits longer than a round for one of these, nor they for others.
        """
        share = max(pool.capacity // SHARE, 1)
        return pool.used < pool.capacity and queue < self._batch and len(self) < share

    def add(self, record: Record) -> None:
        record.unproven = True
        self._records[record.index] = record

    def discard(self, record: Record) -> None:
        """It is proven, or on its way out."""
        record.unproven = False
        if self._records.get(record.index) is record:
            del self._records[record.index]

    def newest(self) -> Record | None:
        return next(reversed(self._records.values()), None)

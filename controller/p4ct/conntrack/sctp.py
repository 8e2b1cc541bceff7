# SPDX-License-Identifier: Apache-2.0
"""The SCTP state machine: the table plus the rules on top (`nf_conntrack_sctp_packet` of Linux).

A packet carries chunks (RFC 9260 section 3), and each moves the state. Who may speak is known by
the verification tag: each side tells its own in INIT or INIT ACK and expects it in what it gets.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import NamedTuple

from p4ct.conntrack.connection import Connection
from p4ct.conntrack.sctp_table import TABLE, ChunkType
from p4ct.conntrack.sctp_track import SctpTrack
from p4ct.conntrack.state import SctpState
from p4ct.conntrack.timeouts import Timeouts
from p4ct.conntrack.verdict import Verdict
from p4ct.packet.parse import Packet

_HEADER = 12
_INIT_HEADER = 4 + 16  # chunk header, then initiate tag, window, streams, first TSN
_T_FLAG = 1  # the sender reflects the tag that it got
_CHUNK = Struct("!BBH").unpack_from
_TAG = Struct("!L").unpack_from

_NONE = SctpState.NONE
_CLOSED = SctpState.CLOSED
_HEARTBEATS = frozenset((ChunkType.HEARTBEAT, ChunkType.HEARTBEAT_ACK))
_ALONE = frozenset((ChunkType.INIT, ChunkType.INIT_ACK, ChunkType.SHUTDOWN_COMPLETE))
_FIRST = _ALONE | {ChunkType.COOKIE_ECHO, ChunkType.COOKIE_ACK}
_NEVER_FIRST = frozenset((ChunkType.ABORT, ChunkType.SHUTDOWN_COMPLETE, ChunkType.COOKIE_ACK))
# Their tags have rules of their own, or none.
_OTHER_TAG = frozenset(
    (
        ChunkType.INIT,
        ChunkType.SHUTDOWN_COMPLETE,
        ChunkType.COOKIE_ECHO,
        ChunkType.ABORT,
        ChunkType.SHUTDOWN_ACK,
        ChunkType.HEARTBEAT,
        ChunkType.HEARTBEAT_ACK,
    )
)


class Chunk(NamedTuple):
    """tag: the initiate tag of INIT and INIT ACK, None where the packet is too short for it."""

    kind: int
    flags: int
    tag: int | None


def _chunks(pkt: Packet) -> list[Chunk] | None:
    """The chunks of a packet, None if they cannot stand together (`do_basic_checks`)."""
    frame = pkt.frame
    end = pkt.l4_offset + pkt.l4_len
    at = pkt.l4_offset + _HEADER
    found: list[Chunk] = []
    alone = False
    while at + 4 <= end:
        kind, flags, length = _CHUNK(frame, at)
        alone = alone or kind in _ALONE
        if length == 0 or (found and (alone or kind in _FIRST)):
            return None
        tag = _TAG(frame, at + 4)[0] if at + _INIT_HEADER <= end else None
        found.append(Chunk(kind, flags, tag))
        at += (length + 3) & ~3
    return found or None


def _vtag(pkt: Packet) -> int:
    return _TAG(pkt.frame, pkt.l4_offset + 4)[0]


def sctp_first_verdict(pkt: Packet) -> Verdict:
    """May this packet begin an association (`sctp_new`)?"""
    chunks = _chunks(pkt)
    if chunks is None:
        return Verdict.INVALID_CHUNKS
    return _run(SctpTrack(), _NONE, chunks, _vtag(pkt), 0)[0]


def sctp_packet(
    conn: Connection, track: SctpTrack, pkt: Packet, direction: int, timeouts: Timeouts
) -> Verdict:
    """Run one packet through the state machine.

    On ACCEPT the connection's protocol_state, timeout and assured are up to date; on KEEP only the
    timer is left alone. Does not touch counters or seen_reply.
    """
    chunks = _chunks(pkt)
    if chunks is None:
        return Verdict.INVALID_CHUNKS
    state = conn.protocol_state
    assert isinstance(state, SctpState)
    verdict, after, assured = _run(track, state, chunks, _vtag(pkt), direction)
    conn.protocol_state = after
    conn.assured = conn.assured or assured
    if verdict is Verdict.ACCEPT:
        conn.timeout = timeouts.sctp[after]
    return verdict


def _begin(track: SctpTrack, chunks: Sequence[Chunk], vtag: int) -> Verdict:
    """The first packet of an association; the tags that it tells (RFC 9260 section 8.4)."""
    kinds = {chunk.kind for chunk in chunks}
    if kinds & _NEVER_FIRST or not kinds <= TABLE[0].keys():
        return Verdict.INVALID_STATE
    if ChunkType.INIT in kinds:
        tag = chunks[0].tag
        if vtag != 0 or tag is None:
            return Verdict.INVALID_TAG
        track.tags[1] = tag
    if ChunkType.HEARTBEAT in kinds:
        track.tags[0] = vtag
    if ChunkType.SHUTDOWN_ACK in kinds:
        track.tags[1] = vtag  # its answer reflects it
    return Verdict.ACCEPT


def _run(
    track: SctpTrack, state: SctpState, chunks: Sequence[Chunk], vtag: int, direction: int
) -> tuple[Verdict, SctpState, bool]:
    """All chunks: verdict, the state after them, was the association established.

    What the chunks before an invalid one did stays done, as in the kernel.
    """
    new = state is _NONE
    if new and (verdict := _begin(track, chunks, vtag)) is not Verdict.ACCEPT:
        return verdict, state, False
    tags = track.tags
    kinds = {chunk.kind for chunk in chunks}
    if track.learn[direction] and vtag and not tags[direction]:
        tags[direction] = vtag
        track.learn[direction] = False
    if not kinds & _OTHER_TAG and vtag != tags[direction]:
        return Verdict.INVALID_TAG, state, False
    keep = assured = False
    for chunk in chunks:
        kind = chunk.kind
        if kind in _HEARTBEATS:
            known = _heartbeat(track, kind, vtag, direction, ChunkType.DATA in kinds or keep)
            if known is None:
                return Verdict.INVALID_TAG, state, assured
            if not known:
                keep = True
                continue
        elif not _tag_fits(track, chunk, vtag, direction):
            return Verdict.INVALID_TAG, state, assured
        if kind == ChunkType.COOKIE_ACK:
            track.init = [False, False]
        row = TABLE[direction].get(kind)
        after = state if row is None else row[state]
        if after is None:
            return Verdict.INVALID_STATE, state, assured
        if kind in (ChunkType.INIT, ChunkType.INIT_ACK):
            if not _learn(track, chunk, direction, new):
                return Verdict.INVALID_TAG, state, assured
            if kind == ChunkType.INIT and after is state is _CLOSED and not new:
                keep = True  # or a client that reuses its port could keep the entry for ever
        assured = assured or (after is SctpState.ESTABLISHED and after is not state)
        state = after
    return Verdict.KEEP if keep else Verdict.ACCEPT, state, assured


def _tag_fits(track: SctpTrack, chunk: Chunk, vtag: int, direction: int) -> bool:
    """The verification tag of chunks with rules of their own (RFC 9260 section 8.5.1)."""
    kind = chunk.kind
    if kind == ChunkType.INIT:
        return vtag == 0
    if kind in (ChunkType.ABORT, ChunkType.SHUTDOWN_COMPLETE):
        return vtag == track.tags[1 - direction if chunk.flags & _T_FLAG else direction]
    if kind == ChunkType.COOKIE_ECHO:
        return vtag == track.tags[direction]
    return True


def _heartbeat(track: SctpTrack, kind: int, vtag: int, direction: int, strict: bool) -> bool | None:
    """A heartbeat may come on a path of its own, whose tags are learned from it.

    True: it counts; False: let through, as it may be a restarted peer's; None: invalid.
    """
    tags = track.tags
    if tags[direction] == 0:
        tags[direction] = vtag
    elif vtag == tags[direction]:
        track.unknown_heartbeat = None
    elif strict:
        return None
    elif kind == ChunkType.HEARTBEAT:
        track.unknown_heartbeat = direction
        return False
    else:
        if track.unknown_heartbeat is None or track.unknown_heartbeat == direction:
            return None
        # The answer to it: both sides use tags that we have not seen.
        track.unknown_heartbeat = None
        tags[direction] = vtag
        tags[1 - direction] = 0
    return True


def _learn(track: SctpTrack, chunk: Chunk, direction: int, new: bool) -> bool:
    """INIT and INIT ACK tell the tag that their sender expects; False if that cannot be."""
    if chunk.tag is None:
        return False
    peer = 1 - direction
    init = track.init
    if chunk.kind == ChunkType.INIT:
        if new or chunk.tag != track.tags[peer]:  # else it is sent again, and begins nothing
            if init[direction] and init[peer]:
                init[peer] = False
            init[direction] = True
    else:
        told = track.tags[peer]
        if not init[peer] and told and told != chunk.tag:
            return False
        if init[direction] and init[peer] and told != chunk.tag:
            return False  # both have sent an INIT
    track.tags[peer] = chunk.tag
    return True

# SPDX-License-Identifier: Apache-2.0
"""What the SCTP table cannot say: who may speak, and which chunks can be in one packet."""

from __future__ import annotations

from struct import pack
from typing import Any

import pytest
from p4ct.conntrack import CtState, Direction, Timeouts, Tracker, conntrack_line
from p4ct.conntrack.saved import save
from p4ct.conntrack.sctp_table import ChunkType
from p4ct.packet import parse
from p4ct.packet.build import sctp_frame

ORIG, REPLY = Direction.ORIGINAL, Direction.REPLY
INV = CtState.TRK | CtState.INV
A, B = 0x11, 0x22  # the tags that the sides chose; a packet carries its receiver's


def chunk(kind: int, tag: int = 0, flags: int = 0) -> bytes:
    body = pack("!LLHHL", tag, 65536, 1, 1, 1) if kind in (1, 2) else b""
    return pack("!BBH", kind, flags, 4 + len(body)) + body


INIT, INIT_ACK = chunk(ChunkType.INIT, A), chunk(ChunkType.INIT_ACK, B)
ECHO, ACK = chunk(ChunkType.COOKIE_ECHO), chunk(ChunkType.COOKIE_ACK)
DATA, HEARTBEAT = chunk(ChunkType.DATA), chunk(ChunkType.HEARTBEAT)
HEARTBEAT_ACK, SHUTDOWN_ACK = chunk(ChunkType.HEARTBEAT_ACK), chunk(ChunkType.SHUTDOWN_ACK)


def open_association(wire: Any) -> Any:
    wire.sctp(ORIG, 0, INIT)
    wire.sctp(REPLY, A, INIT_ACK)
    wire.sctp(ORIG, B, ECHO)
    wire.sctp(REPLY, A, ACK)
    return wire.conn


def left(wire: Any) -> float:
    return wire.conn.expires - wire.now


def test_a_handshake_is_assured(wire: Any) -> None:
    conn = open_association(wire)
    assert (conn.state_name, conn.assured, left(wire)) == ("ESTABLISHED", True, 210)
    assert conntrack_line(conn, wire.now).startswith("sctp     132 210 ESTABLISHED src=")
    assert "sport=40000 dport=80" in conntrack_line(conn, wire.now)


def test_timeouts_are_those_of_the_state(make_wire: Any) -> None:
    timeouts = Timeouts(sctp_closed=1, sctp_cookie_wait=2, sctp_cookie_echoed=4)
    wire = make_wire(Tracker(timeouts))
    seen = []
    for way, vtag, what in ((ORIG, 0, INIT), (REPLY, A, INIT_ACK), (ORIG, B, ECHO)):
        wire.sctp(way, vtag, what)
        seen.append(left(wire))
    assert seen == [1, 2, 4]


def test_data_with_another_tag_is_invalid(wire: Any) -> None:
    open_association(wire)
    assert not wire.sctp(ORIG, B, DATA).state & CtState.INV
    result = wire.sctp(ORIG, B + 1, DATA)
    assert result.state == INV
    assert "tag" in result.reason


@pytest.mark.parametrize("kind", [ChunkType.ABORT, ChunkType.SHUTDOWN_COMPLETE])
def test_an_abort_may_reflect_the_tag_of_its_sender(wire: Any, kind: ChunkType) -> None:
    open_association(wire)
    if kind is ChunkType.SHUTDOWN_COMPLETE:
        wire.sctp(ORIG, B, chunk(ChunkType.SHUTDOWN))
        wire.sctp(REPLY, A, SHUTDOWN_ACK)
    assert wire.sctp(ORIG, A, chunk(kind)).state == INV
    assert wire.sctp(ORIG, B, chunk(kind, flags=1)).state == INV
    assert not wire.sctp(ORIG, A, chunk(kind, flags=1)).state & CtState.INV
    assert wire.conn.state_name == "CLOSED"


def test_an_init_has_no_tag(wire: Any) -> None:
    assert wire.sctp(ORIG, 5, INIT).state == INV
    assert wire.sctp(ORIG, 0, INIT[:12]).state == INV
    assert len(wire.tracker) == 0


def test_a_repeated_init_does_not_keep_the_entry_alive(wire: Any) -> None:
    wire.sctp(ORIG, 0, INIT)
    wire.now += 4
    assert wire.sctp(ORIG, 0, INIT).state == CtState.TRK | CtState.NEW
    assert left(wire) == 6


def test_a_restart_needs_a_new_tag(wire: Any) -> None:
    """An INIT sent again begins nothing, so its answer must tell the tag that is known."""
    open_association(wire)
    wire.sctp(ORIG, 0, INIT)
    assert wire.sctp(REPLY, A, chunk(ChunkType.INIT_ACK, 0x99)).state == INV
    wire.sctp(ORIG, 0, chunk(ChunkType.INIT, 0x33))
    assert not wire.sctp(REPLY, 0x33, chunk(ChunkType.INIT_ACK, 0x99)).state & CtState.INV
    assert wire.conn.sctp.tags == [0x99, 0x33]


def test_colliding_inits_keep_their_tags(wire: Any) -> None:
    wire.sctp(ORIG, 0, INIT)
    wire.sctp(REPLY, 0, chunk(ChunkType.INIT, B))
    assert wire.sctp(REPLY, A, chunk(ChunkType.INIT_ACK, 0x99)).state == INV
    assert not wire.sctp(REPLY, A, INIT_ACK).state & CtState.INV


def test_heartbeats_open_a_second_path(wire: Any) -> None:
    wire.sctp(ORIG, B, HEARTBEAT)
    assert wire.conn.state_name == "HEARTBEAT_SENT"
    assert not wire.sctp(REPLY, A, HEARTBEAT_ACK).state & CtState.INV
    assert (wire.conn.state_name, wire.conn.sctp.tags) == ("ESTABLISHED", [B, A])


def test_a_heartbeat_with_new_tags_is_believed_once_it_is_answered(wire: Any) -> None:
    open_association(wire)
    wire.now += 10
    assert wire.sctp(ORIG, 0x99, HEARTBEAT).state == CtState.TRK | CtState.EST
    assert left(wire) == 200  # let through, not believed
    assert wire.sctp(ORIG, 0x98, HEARTBEAT_ACK).state == INV
    assert not wire.sctp(REPLY, 0x77, HEARTBEAT_ACK).state & CtState.INV
    assert wire.conn.sctp.tags == [0, 0x77]
    assert wire.sctp(ORIG, 0x99, HEARTBEAT, DATA).state == CtState.TRK | CtState.EST
    assert wire.sctp(ORIG, 0x55, HEARTBEAT, DATA).state == INV


@pytest.mark.parametrize(
    "chunks",
    [
        (),
        (INIT, DATA),
        (DATA, INIT),
        (DATA, ECHO),
        (DATA, ACK),
        (chunk(ChunkType.SHUTDOWN_COMPLETE), DATA),
        (b"\0\0\0\0",),
    ],
)
def test_chunks_that_cannot_be_together(wire: Any, chunks: tuple[bytes, ...]) -> None:
    open_association(wire)
    vtag = 0 if INIT in chunks else B
    result = wire.sctp(ORIG, vtag, *chunks)
    assert result.state == INV
    assert "chunks" in result.reason


@pytest.mark.parametrize("kind", [ChunkType.ABORT, ChunkType.COOKIE_ACK, ChunkType.DATA, 200])
def test_what_begins_no_association(wire: Any, kind: int) -> None:
    assert wire.sctp(ORIG, 0, chunk(kind)).state == INV
    assert len(wire.tracker) == 0


def test_peek_learns_nothing(wire: Any) -> None:
    open_association(wire)
    tags = list(wire.conn.sctp.tags)
    frame = sctp_frame(
        **wire.ends(ORIG), sport=40000, dport=80, vtag=0, chunks=chunk(ChunkType.INIT, 0x44)
    )
    assert wire.tracker.peek(parse(frame), wire.zone, wire.now).state == CtState.TRK | CtState.EST
    assert wire.conn.sctp.tags == tags


def test_an_association_of_another_table_learns_its_tags(wire: Any) -> None:
    saved = save(open_association(wire), wire.now)
    wire.tracker = Tracker(Timeouts())
    assert wire.tracker.load(saved, wire.now)
    assert wire.conn.state_name == "ESTABLISHED"
    for direction, vtag in ((ORIG, B), (REPLY, A)):
        assert not wire.sctp(direction, vtag, DATA).state & CtState.INV
        assert wire.sctp(direction, vtag + 1, DATA).state == INV

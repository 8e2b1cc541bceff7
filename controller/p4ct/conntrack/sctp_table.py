# SPDX-License-Identifier: Apache-2.0
"""The SCTP transition table of Linux as data (`sctp_conntracks` in nf_conntrack_proto_sctp.c).

A row is a direction and a kind of chunk, a column the state before it, a cell the state after it.
Chunks without a row (DATA, SACK, ...) change nothing. The rules that a table cannot say are in
sctp.py.
"""

from __future__ import annotations

from enum import IntEnum

from p4ct.conntrack.state import SctpState


class ChunkType(IntEnum):
    """Chunks that conntrack knows (RFC 9260 section 3.2)."""

    DATA = 0
    INIT = 1
    INIT_ACK = 2
    HEARTBEAT = 4
    HEARTBEAT_ACK = 5
    ABORT = 6
    SHUTDOWN = 7
    SHUTDOWN_ACK = 8
    ERROR = 9
    COOKIE_ECHO = 10
    COOKIE_ACK = 11
    SHUTDOWN_COMPLETE = 14


_NAMES: dict[str, SctpState | None] = {
    "NO": SctpState.NONE,
    "CL": SctpState.CLOSED,
    "CW": SctpState.COOKIE_WAIT,
    "CE": SctpState.COOKIE_ECHOED,
    "ES": SctpState.ESTABLISHED,
    "SS": SctpState.SHUTDOWN_SENT,
    "SR": SctpState.SHUTDOWN_RECD,
    "SA": SctpState.SHUTDOWN_ACK_SENT,
    "HS": SctpState.HEARTBEAT_SENT,
    "--": None,
}

# columns: NONE CLOSED COOKIE_WAIT COOKIE_ECHOED ESTABLISHED SHUTDOWN_SENT SHUTDOWN_RECD
#          SHUTDOWN_ACK_SENT HEARTBEAT_SENT
ORIGINAL_ROWS = {
    ChunkType.INIT: "CL CL CW CE ES CL CL SA CW",
    ChunkType.INIT_ACK: "CL CL CW CE ES SS SR SA CL",
    ChunkType.ABORT: "CL CL CL CL CL CL CL CL CL",
    ChunkType.SHUTDOWN: "CL CL CW CE SS SS SR SA CL",
    ChunkType.SHUTDOWN_ACK: "SA CL CW CE ES SA SA SA SA",
    ChunkType.ERROR: "CL CL CW CE ES SS SR SA CL",
    ChunkType.COOKIE_ECHO: "CL CL CE CE ES SS SR SA CL",
    ChunkType.COOKIE_ACK: "CL CL CW ES ES SS SR SA CL",
    ChunkType.SHUTDOWN_COMPLETE: "CL CL CW CE ES SS SR CL CL",
    ChunkType.HEARTBEAT: "HS CL CW CE ES SS SR SA HS",
    ChunkType.HEARTBEAT_ACK: "CL CL CW CE ES SS SR SA HS",
}
REPLY_ROWS = {
    ChunkType.INIT: "-- CL CW CE ES SS SR SA --",
    ChunkType.INIT_ACK: "-- CW CW CE ES SS SR SA --",
    ChunkType.ABORT: "-- CL CL CL CL CL CL CL --",
    ChunkType.SHUTDOWN: "-- CL CW CE SR SS SR SA --",
    ChunkType.SHUTDOWN_ACK: "-- CL CW CE ES SA SA SA --",
    ChunkType.ERROR: "-- CL CW CL ES SS SR SA --",
    ChunkType.COOKIE_ECHO: "-- CL CE CE ES SS SR SA --",
    ChunkType.COOKIE_ACK: "-- CL CW ES ES SS SR SA --",
    ChunkType.SHUTDOWN_COMPLETE: "-- CL CW CE ES SS SR CL --",
    ChunkType.HEARTBEAT: "-- CL CW CE ES SS SR SA HS",
    ChunkType.HEARTBEAT_ACK: "-- CL CW CE ES SS SR SA ES",
}


def _rows(rows: dict[ChunkType, str]) -> dict[int, tuple[SctpState | None, ...]]:
    return {int(kind): tuple(_NAMES[name] for name in row.split()) for kind, row in rows.items()}


TABLE = (_rows(ORIGINAL_ROWS), _rows(REPLY_ROWS))
"""TABLE[direction][chunk type][SctpState] -> SctpState, or None for an invalid one."""

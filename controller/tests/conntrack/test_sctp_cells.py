# SPDX-License-Identifier: Apache-2.0
"""One test per cell of the SCTP table: drive an association there by real packets, send, compare.

The expectations are written out a second time, by state.
"""

from __future__ import annotations

from struct import pack
from typing import Any

import pytest
from p4ct.conntrack import CtState, Direction, SctpState
from p4ct.conntrack.sctp_table import TABLE, ChunkType

ORIG, REPLY = Direction.ORIGINAL, Direction.REPLY
INV = CtState.TRK | CtState.INV
OUR_TAG, PEERS_TAG = 0x11, 0x22

Sent = tuple[Direction, ChunkType]
_OPEN: list[Sent] = [
    (ORIG, ChunkType.INIT),
    (REPLY, ChunkType.INIT_ACK),
    (ORIG, ChunkType.COOKIE_ECHO),
    (REPLY, ChunkType.COOKIE_ACK),
]
SETUP: dict[str, list[Sent]] = {
    "NONE": [],
    "CLOSED": _OPEN[:1],
    "COOKIE_WAIT": _OPEN[:2],
    "COOKIE_ECHOED": _OPEN[:3],
    "ESTABLISHED": _OPEN,
    "SHUTDOWN_SENT": [*_OPEN, (ORIG, ChunkType.SHUTDOWN)],
    "SHUTDOWN_RECD": [*_OPEN, (REPLY, ChunkType.SHUTDOWN)],
    "SHUTDOWN_ACK_SENT": [*_OPEN, (ORIG, ChunkType.SHUTDOWN), (REPLY, ChunkType.SHUTDOWN_ACK)],
    "HEARTBEAT_SENT": [(ORIG, ChunkType.HEARTBEAT)],
}
KINDS = [
    ChunkType.INIT,
    ChunkType.INIT_ACK,
    ChunkType.ABORT,
    ChunkType.SHUTDOWN,
    ChunkType.SHUTDOWN_ACK,
    ChunkType.ERROR,
    ChunkType.COOKIE_ECHO,
    ChunkType.COOKIE_ACK,
    ChunkType.SHUTDOWN_COMPLETE,
    ChunkType.HEARTBEAT,
    ChunkType.HEARTBEAT_ACK,
    ChunkType.DATA,
]
_SHORT = {
    "CL": "CLOSED",
    "CW": "COOKIE_WAIT",
    "CE": "COOKIE_ECHOED",
    "ES": "ESTABLISHED",
    "SS": "SHUTDOWN_SENT",
    "SR": "SHUTDOWN_RECD",
    "SA": "SHUTDOWN_ACK_SENT",
    "HS": "HEARTBEAT_SENT",
}

# order: that of KINDS; "no": invalid
EXPECTED = {
    ORIG: {
        "NONE": "CL CL no CL SA CL CL no no HS CL no",
        "CLOSED": "CL CL CL CL CL CL CL CL CL CL CL CL",
        "COOKIE_WAIT": "CW CW CL CW CW CW CE CW CW CW CW CW",
        "COOKIE_ECHOED": "CE CE CL CE CE CE CE ES CE CE CE CE",
        "ESTABLISHED": "ES ES CL SS ES ES ES ES ES ES ES ES",
        "SHUTDOWN_SENT": "CL SS CL SS SA SS SS SS SS SS SS SS",
        "SHUTDOWN_RECD": "CL SR CL SR SA SR SR SR SR SR SR SR",
        "SHUTDOWN_ACK_SENT": "SA SA CL SA SA SA SA SA CL SA SA SA",
        "HEARTBEAT_SENT": "CW CL CL CL SA CL CL CL CL HS HS HS",
    },
    REPLY: {
        "CLOSED": "CL CW CL CL CL CL CL CL CL CL CL CL",
        "COOKIE_WAIT": "CW CW CL CW CW CW CE CW CW CW CW CW",
        "COOKIE_ECHOED": "CE CE CL CE CE CL CE ES CE CE CE CE",
        "ESTABLISHED": "ES ES CL SR ES ES ES ES ES ES ES ES",
        "SHUTDOWN_SENT": "SS SS CL SS SA SS SS SS SS SS SS SS",
        "SHUTDOWN_RECD": "SR SR CL SR SA SR SR SR SR SR SR SR",
        "SHUTDOWN_ACK_SENT": "SA SA CL SA SA SA SA SA CL SA SA SA",
        "HEARTBEAT_SENT": "no no no no no no no no no HS ES HS",
    },
}


def chunk(kind: int, tag: int = 0, flags: int = 0) -> bytes:
    """A chunk; INIT and INIT ACK tell `tag`."""
    body = pack("!LLHHL", tag, 65536, 1, 1, 1) if kind in (1, 2) else b""
    return pack("!BBH", kind, flags, 4 + len(body)) + body


def send(wire: Any, direction: Direction, kind: ChunkType) -> Any:
    """One chunk with the tags that it should have."""
    conn = next(wire.tracker.select(), None)
    vtag = 0 if conn is None or kind is ChunkType.INIT else conn.sctp.tags[direction]
    if conn is None and kind in (ChunkType.HEARTBEAT, ChunkType.SHUTDOWN_ACK):
        vtag = PEERS_TAG
    return wire.sctp(direction, vtag, chunk(kind, PEERS_TAG if direction else OUR_TAG))


CELLS = [
    (direction, state, kind, word)
    for direction, states in EXPECTED.items()
    for state, row in states.items()
    for kind, word in zip(KINDS, row.split(), strict=True)
]


@pytest.mark.parametrize(
    ("direction", "state", "kind", "expected"),
    CELLS,
    ids=[f"{way.name}-{state}-{kind.name}" for way, state, kind, _ in CELLS],
)
def test_cell(wire: Any, direction: Direction, state: str, kind: ChunkType, expected: str) -> None:
    for way, step in SETUP[state]:
        assert not send(wire, way, step).state & CtState.INV
    before = next(wire.tracker.select(), None)
    assert (before.state_name if before else "NONE") == state

    result = send(wire, direction, kind)

    if expected == "no":
        assert result.state == INV
        assert result.reason
        assert before is None or before.state_name == state
        return
    assert not result.state & CtState.INV
    assert wire.conn.state_name == _SHORT[expected]
    assert before is None or wire.conn is before


def test_no_cell_is_left_out() -> None:
    states = {state.name for state in SctpState}
    assert set(EXPECTED[ORIG]) == states == set(SETUP)
    assert set(EXPECTED[REPLY]) == states - {"NONE"}  # with no entry there is no reply yet
    for rows in TABLE:
        assert set(rows) == set(KINDS) - {ChunkType.DATA}
        assert all(len(row) == len(SctpState) for row in rows.values())

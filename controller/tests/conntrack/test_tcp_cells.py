# SPDX-License-Identifier: Apache-2.0
"""One test per cell of the TCP table: drive a connection there by real packets, send, compare.

The expectations are written out here a second time, by state, in the words of the reference, so a
slip in the table's rows does not hide.
"""

from __future__ import annotations

from typing import Any

import pytest
from p4ct.conntrack import CtState, Direction, TcpState, Timeouts, Tracker
from p4ct.conntrack.tcp_table import COLUMNS, TABLE, Cell, Segment

ORIG, REPLY = Direction.ORIGINAL, Direction.REPLY

SETUP: dict[str, list[tuple[Direction, str]]] = {
    "NONE": [],
    "SYN_SENT": [(ORIG, "S")],
    "SYN_SENT2": [(ORIG, "S"), (REPLY, "S")],
    "SYN_RECV": [(ORIG, "S"), (REPLY, "SA")],
    "ESTABLISHED": [(ORIG, "S"), (REPLY, "SA"), (ORIG, "A")],
    "FIN_WAIT": [(ORIG, "S"), (REPLY, "SA"), (ORIG, "A"), (ORIG, "FA")],
    "CLOSE_WAIT": [(ORIG, "S"), (REPLY, "SA"), (ORIG, "A"), (ORIG, "FA"), (REPLY, "A")],
    "LAST_ACK": [(ORIG, "S"), (REPLY, "SA"), (ORIG, "A"), (ORIG, "FA"), (REPLY, "FA")],
    "TIME_WAIT": [
        (ORIG, "S"),
        (REPLY, "SA"),
        (ORIG, "A"),
        (ORIG, "FA"),
        (REPLY, "FA"),
        (ORIG, "A"),
    ],
    "CLOSE": [(ORIG, "S"), (REPLY, "SA"), (ORIG, "A"), (ORIG, "RA")],
}

KINDS = {"SYN": "S", "SYNACK": "SA", "FIN": "FA", "ACK": "A", "RST": "R", "NONE": ""}

# order: SYN SYNACK FIN ACK RST NONE; "new": the entry is replaced; "end": accepted, entry gone
EXPECTED = {
    ORIG: {
        "NONE": "SYN_SENT inv inv ESTABLISHED inv inv",
        "SYN_SENT": "SYN_SENT inv inv inv end inv",
        "SYN_RECV": "ign SYN_RECV FIN_WAIT ESTABLISHED CLOSE inv",
        "ESTABLISHED": "ign inv FIN_WAIT ESTABLISHED CLOSE inv",
        "FIN_WAIT": "ign inv LAST_ACK CLOSE_WAIT CLOSE inv",
        "CLOSE_WAIT": "ign inv LAST_ACK CLOSE_WAIT CLOSE inv",
        "LAST_ACK": "ign inv LAST_ACK TIME_WAIT CLOSE inv",
        "TIME_WAIT": "new inv TIME_WAIT TIME_WAIT CLOSE inv",
        "CLOSE": "new inv CLOSE CLOSE CLOSE inv",
        "SYN_SENT2": "SYN_SENT2 SYN_RECV inv inv CLOSE inv",
    },
    REPLY: {
        "NONE": "SYN_SENT inv inv ESTABLISHED inv inv",  # with no entry there is no reply yet
        "SYN_SENT": "SYN_SENT2 SYN_RECV inv ign end inv",
        "SYN_RECV": "inv ign FIN_WAIT SYN_RECV CLOSE inv",
        "ESTABLISHED": "inv ign FIN_WAIT ESTABLISHED CLOSE inv",
        "FIN_WAIT": "inv ign LAST_ACK CLOSE_WAIT CLOSE inv",
        "CLOSE_WAIT": "inv ign LAST_ACK CLOSE_WAIT CLOSE inv",
        "LAST_ACK": "inv ign LAST_ACK TIME_WAIT CLOSE inv",
        "TIME_WAIT": "new ign TIME_WAIT TIME_WAIT CLOSE inv",
        "CLOSE": "inv ign CLOSE CLOSE CLOSE inv",
        "SYN_SENT2": "SYN_SENT2 SYN_RECV inv ign CLOSE inv",
    },
}

CASES = [
    pytest.param(state, direction, kind, expected, id=f"{direction.name}-{kind}-in-{state}")
    for direction, states in EXPECTED.items()
    for state, row in states.items()
    for kind, expected in zip(KINDS, row.split(), strict=True)
]


def test_there_is_a_case_for_every_cell() -> None:
    cells = {
        (direction, kind, state) for direction in (ORIG, REPLY) for kind in KINDS for state in SETUP
    }
    assert {(case.values[1], case.values[2], case.values[0]) for case in CASES} == cells
    assert set(SETUP) == {state.name for state in COLUMNS}
    assert set(KINDS) == {segment.name for segment in Segment}


@pytest.mark.parametrize(("state", "direction", "kind", "expected"), CASES)
def test_cell(make_wire: Any, state: str, direction: Direction, kind: str, expected: str) -> None:
    wire = make_wire(Tracker(Timeouts(), max_connections=10))
    for way, flags in SETUP[state]:
        assert not wire.tcp(way, flags).state & CtState.INV
    before = next(wire.tracker.select(), None)
    if before is not None:
        assert before.state_name == state
    seen_reply = before is not None and before.seen_reply

    result = wire.tcp(direction, KINDS[kind])

    if expected == "inv":
        assert result.state == CtState.TRK | CtState.INV
        assert result.connection is None
        assert result.reason
        assert (wire.conn if before else None) is before
        assert before is None or before.state_name == state
        return
    assert not result.state & CtState.INV
    conn = result.connection
    assert conn is not None
    if before is None or expected == "new":
        assert result.state == CtState.TRK | CtState.NEW
        assert conn is not before
        assert conn is wire.conn
        assert before is None or not before.alive
        assert conn.state_name == ("SYN_SENT" if kind == "SYN" else "ESTABLISHED")
        return
    assert conn is before
    if direction is REPLY:
        assert result.state == CtState.TRK | CtState.EST | CtState.RPL
    else:
        assert result.state == CtState.TRK | (CtState.EST if seen_reply else CtState.NEW)
    assert result.direction is direction
    if expected == "end":
        assert not conn.alive
        assert len(wire.tracker) == 0
    else:
        assert conn is wire.conn
        assert conn.state_name == (state if expected == "ign" else expected)


def test_no_cell_is_left_out() -> None:
    for states in EXPECTED.values():
        assert list(states) == [*dict.fromkeys(states)]
        assert set(states) == {state.name for state in TcpState} == set(SETUP)
        assert all(len(row.split()) == len(Segment) == len(KINDS) for row in states.values())


def test_the_rows_say_what_was_asked_for() -> None:
    """The table itself against the expectations, with the marks of the rules taken off."""
    for direction, states in EXPECTED.items():
        for state, row in states.items():
            if state == "NONE" and direction is REPLY:
                continue
            for segment, expected in zip(Segment, row.split(), strict=True):
                cell = TABLE[direction][segment][TcpState[state]]
                wanted = {
                    "inv": Cell.INVALID,
                    "ign": Cell.IGNORE,
                    "new": TcpState.SYN_SENT,
                    "end": TcpState.CLOSE,
                }.get(expected)
                assert cell is (wanted if wanted is not None else TcpState[expected])


@pytest.mark.parametrize("flags", range(256))
def test_flag_combinations(make_wire: Any, flags: int) -> None:
    """Only S, SU, SA, R, RA, FA, FAU, A, AU are valid; P, E and C do not matter."""
    wire = make_wire(Tracker(Timeouts(), max_connections=10))
    wire.handshake()
    letters = "".join(
        name
        for name, bit in zip("FSRPAUEC", [1 << i for i in range(8)], strict=True)
        if flags & bit
    )
    result = wire.tcp(ORIG, letters)
    valid = "".join(name for name in letters if name not in "PEC")
    if valid in ("S", "SU", "SA", "R", "RA", "FA", "FAU", "A", "AU"):
        assert "flag" not in result.reason
    else:
        assert result.reason == "invalid TCP flag combination"

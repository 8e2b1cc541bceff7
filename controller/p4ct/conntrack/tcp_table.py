# SPDX-License-Identifier: Apache-2.0
"""The TCP transition table of Linux as data (`tcp_conntracks` in nf_conntrack_proto_tcp.c).

A row is a direction and a kind of packet, a column the state before it, a cell the state after it.
IGNORE: let the packet through without believing it; the peers may know better than we do.
INVALID: no peer in this state would send it. The rules that a table cannot say are in tcp.py.
"""

from __future__ import annotations

from enum import IntEnum

from p4ct.conntrack.state import TcpState
from p4ct.packet.parse import TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, TCP_URG


class Segment(IntEnum):
    """Kind of a segment, `enum tcp_bit_set`: RST wins over SYN, SYN over FIN, FIN over ACK."""

    SYN = 0
    SYNACK = 1
    FIN = 2
    ACK = 3
    RST = 4
    NONE = 5


class Cell(IntEnum):
    """What a cell can hold beside a `TcpState`."""

    IGNORE = 10
    INVALID = 11


COLUMNS = tuple(TcpState)

_NAMES: dict[str, TcpState | Cell] = {
    "SS": TcpState.SYN_SENT,
    "SR": TcpState.SYN_RECV,
    "ES": TcpState.ESTABLISHED,
    "FW": TcpState.FIN_WAIT,
    "CW": TcpState.CLOSE_WAIT,
    "LA": TcpState.LAST_ACK,
    "TW": TcpState.TIME_WAIT,
    "CL": TcpState.CLOSE,
    "S2": TcpState.SYN_SENT2,
    "ig": Cell.IGNORE,
    "--": Cell.INVALID,
}

# columns: NONE SYN_SENT SYN_RECV ESTABLISHED FIN_WAIT CLOSE_WAIT LAST_ACK TIME_WAIT CLOSE SYN_SENT2
ORIGINAL_ROWS = {
    Segment.SYN: "SS SS ig ig ig ig ig SS SS S2",
    Segment.SYNACK: "-- -- SR -- -- -- -- -- -- SR",
    Segment.FIN: "-- -- FW FW LA LA LA TW CL --",
    Segment.ACK: "ES -- ES ES CW CW TW TW CL --",
    Segment.RST: "-- CL CL CL CL CL CL CL CL CL",
    Segment.NONE: "-- -- -- -- -- -- -- -- -- --",
}
REPLY_ROWS = {
    Segment.SYN: "-- S2 -- -- -- -- -- SS -- S2",
    Segment.SYNACK: "-- SR ig ig ig ig ig ig ig SR",
    Segment.FIN: "-- -- FW FW LA LA LA TW CL --",
    Segment.ACK: "-- ig SR ES CW CW TW TW CL ig",
    Segment.RST: "-- CL CL CL CL CL CL CL CL CL",
    Segment.NONE: "-- -- -- -- -- -- -- -- -- --",
}


def _rows(rows: dict[Segment, str]) -> tuple[tuple[TcpState | Cell, ...], ...]:
    return tuple(tuple(_NAMES[name] for name in rows[kind].split()) for kind in Segment)


TABLE = (_rows(ORIGINAL_ROWS), _rows(REPLY_ROWS))
"""TABLE[direction][Segment][TcpState] -> TcpState | Cell."""

_FLAGS = TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK | TCP_URG
"""PSH, ECE and CWR are valid with everything."""

_VALID = frozenset(
    {
        TCP_SYN,
        TCP_SYN | TCP_URG,
        TCP_SYN | TCP_ACK,
        TCP_RST,
        TCP_RST | TCP_ACK,
        TCP_FIN | TCP_ACK,
        TCP_FIN | TCP_ACK | TCP_URG,
        TCP_ACK,
        TCP_ACK | TCP_URG,
    }
)


def classify(flags: int) -> Segment:
    """Which row a segment with these flags is looked up in (`get_conntrack_index`)."""
    if flags & TCP_RST:
        return Segment.RST
    if flags & TCP_SYN:
        return Segment.SYNACK if flags & TCP_ACK else Segment.SYN
    if flags & TCP_FIN:
        return Segment.FIN
    return Segment.ACK if flags & TCP_ACK else Segment.NONE


SEGMENT: tuple[Segment | None, ...] = tuple(
    classify(flags) if flags & _FLAGS in _VALID else None for flags in range(256)
)
"""By the flag byte: the segment's row, or None for a combination that Linux calls invalid."""

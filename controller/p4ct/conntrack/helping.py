# SPDX-License-Identifier: Apache-2.0
"""Helpers at work: whose packets they read, what they expect of them, and what comes of that.

A connection has a helper only if the flow that committed it asked for one (`ct(commit,alg=ftp)`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from p4ct.conntrack.connection import Connection, Direction, Extra, Tuple
from p4ct.conntrack.expectations import TIMEOUT, Expectation, Expectations, ExpectedTuple
from p4ct.conntrack.helpers.ftp import LineStarts, announcement
from p4ct.conntrack.helpers.tftp import is_request
from p4ct.conntrack.state import CtState
from p4ct.packet.parse import PROTO_TCP, PROTO_UDP, Packet

__all__ = ["HELPERS", "Helpers", "Helping"]

HELPERS: Mapping[str, int] = {"ftp": PROTO_TCP, "tftp": PROTO_UDP}
"""Names of helpers, and the IP protocol of the connections that they look at."""

#: Composing IntFlags is slow.
_WITH_RELATED = {
    state: state | CtState.REL
    for base in (CtState.NEW, CtState.EST, CtState.EST | CtState.RPL)
    for nat in (CtState(0), CtState.SNAT, CtState.DNAT, CtState.SNAT | CtState.DNAT)
    for state in (CtState.TRK | base | nat,)
}


class Helping:
    """A helper of one connection."""

    __slots__ = ("lines", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines = LineStarts()


class Helpers:
    """All helpers of a tracker. `stats`: how often "expected", "expectation_refused" (too many, or
    expected by another connection), "expectation_expired", "helper_foreign_address"."""

    def __init__(self, limit: int, stats: Counter[str]) -> None:
        self.expectations = Expectations(limit)
        self.stats = stats

    def inherit(self, conn: Connection, expected: Expectation) -> None:
        """A connection that was expected, before it is stored."""
        conn.mark, conn.label = expected.parent.mark, expected.parent.label
        _extra(conn).related = True

    def begin(
        self, conn: Connection, pkt: Packet, expected: Expectation | None, alg: str, now: float
    ) -> None:
        """A connection is stored, and `pkt` is its first packet.

        A helper for another protocol than the connection's has nothing to look at.
        """
        if expected is not None:
            self.expectations.take(expected)
        if alg and HELPERS[alg] == conn.proto:
            extra = _extra(conn)
            extra.helper = Helping(alg)
            self._look(conn, extra.helper, pkt, Direction.ORIGINAL, now)

    def packet(
        self,
        conn: Connection,
        extra: Extra,
        pkt: Packet,
        direction: Direction,
        state: CtState,
        now: float,
    ) -> CtState:
        """A packet of a connection was accepted: its state, with REL if it had been expected."""
        if extra.helper is not None and conn.alive:
            self._look(conn, extra.helper, pkt, direction, now)
        return _WITH_RELATED[state] if extra.related else state

    def state(self, conn: Connection, state: CtState) -> CtState:
        """The state with REL if the connection had been expected."""
        extra = conn.extra
        return _WITH_RELATED[state] if extra is not None and extra.related else state

    def find(self, zone: int, first: Tuple, now: float) -> Expectation | None:
        """Who expects a connection that begins with this tuple."""
        return self.expectations.find(zone, first, now)

    def ended(self, conn: Connection) -> None:
        """A connection is gone, and with it what its helper expected."""
        if conn.extra is not None and conn.extra.helper is not None:
            self.expectations.parent_gone(conn)

    def expire(self, now: float) -> None:
        """Forget what did not come in time."""
        number = self.expectations.expire(now)
        if number:
            self.stats["expectation_expired"] += number

    # -- inside ----------------------------------------------------------------------------

    def _look(
        self, conn: Connection, helping: Helping, pkt: Packet, direction: Direction, now: float
    ) -> None:
        if not pkt.payload_len:
            return
        if helping.name == "tftp":
            if direction is Direction.ORIGINAL and is_request(_payload(pkt)):
                reply = conn.reply
                self._expect(conn, reply.src, reply.dst, reply.dport, now)
            return
        payload = _payload(pkt)
        if not helping.lines.begins_line(direction, pkt.seq, payload):
            return
        found = announcement(payload, direction is Direction.ORIGINAL, conn.version)
        if found is None:
            return
        own, other = conn.original, conn.reply
        if direction is Direction.REPLY:
            own, other = other, own
        if found.address is not None and found.address != own.src:
            # Else anybody could open a way to a third host (`loose` of nf_conntrack_ftp is off).
            self.stats["helper_foreign_address"] += 1
            return
        self._expect(conn, other.src, other.dst, found.port, now)

    def _expect(self, conn: Connection, src: bytes, dst: bytes, port: int, now: float) -> None:
        wanted = ExpectedTuple(conn.zone, conn.version, conn.proto, src, dst, port)
        added = self.expectations.add(Expectation(wanted, conn, now + TIMEOUT))
        self.stats["expected" if added else "expectation_refused"] += 1


def _extra(conn: Connection) -> Extra:
    if conn.extra is None:
        conn.extra = Extra()
    return conn.extra


def _payload(pkt: Packet) -> bytes:
    """TCP or UDP payload."""
    end = pkt.l4_offset + pkt.l4_len
    header = pkt.doff * 4 if pkt.proto == PROTO_TCP else 8
    start = pkt.l4_offset + header
    return pkt.frame[start : min(end, start + pkt.payload_len)]

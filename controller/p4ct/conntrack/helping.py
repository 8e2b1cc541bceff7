# SPDX-License-Identifier: Apache-2.0
"""Helpers at work: whose packets they read, what they expect of them, and what comes of that.

A connection has a helper only if the flow that committed it asked for one (`ct(commit,alg=ftp)`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from p4ct.conntrack.connection import Connection, Direction, Extra, Tuple
from p4ct.conntrack.expectations import TIMEOUT, Expectation, Expectations, ExpectedTuple
from p4ct.conntrack.helpers.ftp import (
    Announcement,
    LineStarts,
    Unreadable,
    announcement,
    written,
)
from p4ct.conntrack.helpers.seq_adjust import SeqAdjust
from p4ct.conntrack.helpers.tftp import is_request
from p4ct.conntrack.result import CtResult
from p4ct.conntrack.state import CtState
from p4ct.packet.parse import PROTO_TCP, PROTO_UDP, Packet
from p4ct.packet.segment import payload_of, renumber, replace_payload

__all__ = ["HELPERS", "Helpers", "Helping", "acknowledge"]

MAX_TRIES = 128
"""Ports that are tried for an announcement; then its packet is dropped."""

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
    expected by another connection), "expectation_expired", "helper_foreign_address",
    "helper_unreadable" (dropped: begins like an announcement and is none)."""

    def __init__(self, limit: int, stats: Counter[str]) -> None:
        self.expectations = Expectations(limit)
        self.stats = stats

    def inherit(self, conn: Connection, expected: Expectation) -> None:
        """A connection that was expected, before it is stored."""
        conn.mark, conn.label = expected.parent.mark, expected.parent.label
        _extra(conn).related = True

    def begin(self, result: CtResult, conn: Connection, pkt: Packet, alg: str, now: float) -> None:
        """A connection is stored, and `pkt` is its first packet.

        A helper for another protocol than the connection's has nothing to look at.
        """
        if result.expectation is not None:
            self.expectations.take(result.expectation)
        if alg and HELPERS[alg] == conn.proto:
            extra = _extra(conn)
            extra.helper = Helping(alg)
            self._look(result, conn, extra, pkt, now)

    def packet(
        self, result: CtResult, conn: Connection, extra: Extra, pkt: Packet, now: float
    ) -> None:
        """A packet of a connection was accepted, with `result`, which gets REL if it was expected.

        `pkt` acknowledges in the sender's numbers already (`acknowledge`). What the helper changes
        is in `result.packet`.
        """
        if extra.related:
            result.state = _WITH_RELATED[result.state]
        if extra.helper is not None and conn.alive:
            self._look(result, conn, extra, pkt, now)
        if extra.adjust is not None:
            adjust = extra.adjust[result.direction]
            result.packet = renumber(result.packet or pkt, adjust.outgoing, None)

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
        self, result: CtResult, conn: Connection, extra: Extra, pkt: Packet, now: float
    ) -> None:
        helper = extra.helper
        if not pkt.payload_len or helper is None:
            return
        payload = payload_of(pkt)
        if helper.name == "tftp":
            # Whoever asks: the answer comes to the client (nf_conntrack_tftp.c).
            if is_request(payload):
                own, other = conn.original, conn.reply
                if not self._expect(conn, own, other, own.sport, other.dport, now):
                    result.refused = "tftp: the answer cannot be expected"
        elif conn.seen_reply:  # no earlier, as in nf_conntrack_ftp.c
            self._ftp(result, conn, helper, extra, pkt, payload, now)

    def _ftp(
        self,
        result: CtResult,
        conn: Connection,
        helper: Helping,
        extra: Extra,
        pkt: Packet,
        payload: bytes,
        now: float,
    ) -> None:
        direction = result.direction
        if helper.lines.begins_line(direction, pkt.seq):
            try:
                found = announcement(payload, direction is Direction.ORIGINAL, conn.version)
            except Unreadable as reason:
                self.stats["helper_unreadable"] += 1
                result.refused = str(reason)
                return
            if found is not None:
                self._announced(result, conn, extra, pkt, found, now)
        helper.lines.ended(direction, pkt.seq, payload)

    def _announced(
        self,
        result: CtResult,
        conn: Connection,
        extra: Extra,
        pkt: Packet,
        found: Announcement,
        now: float,
    ) -> None:
        direction = result.direction
        own, other = conn.original, conn.reply
        if direction is Direction.REPLY:
            own, other = other, own
        if found.address is not None and found.address != own.src:
            # Else anybody could open a way to a third host (`loose` of nf_conntrack_ftp is off).
            self.stats["helper_foreign_address"] += 1
            return
        if not conn.nat:
            if not self._expect(conn, own, other, found.port, found.port, now):
                result.refused = "ftp: what it announces cannot be expected"
            return
        port = self._expect_any(conn, own, other, found.port, now)
        if port is None:
            result.refused = "ftp: no free port for what it announces"
            return
        text = written(found.kind, other.dst, port)
        if text == payload_of(pkt)[found.start : found.end]:
            return
        result.packet = replace_payload(pkt, found.start, found.end, text)
        more = len(text) - (found.end - found.start)
        if more:
            if extra.adjust is None:
                extra.adjust = (SeqAdjust(), SeqAdjust())
            extra.adjust[direction].shift(pkt.seq, more)

    def _expect_any(
        self, conn: Connection, own: Tuple, other: Tuple, port: int, now: float
    ) -> int | None:
        """The port to be announced instead of this one: itself, or another that is not expected."""
        for tried in range(port, port + MAX_TRIES):
            seen = tried if tried < 65536 else tried - 65536 + 1024
            wanted = _wanted(conn, other, seen)
            if self.expectations.free(wanted, conn):
                return seen if self._expect(conn, own, other, port, seen, now) else None
        self.stats["expectation_refused"] += 1
        return None

    def _expect(
        self, conn: Connection, own: Tuple, other: Tuple, port: int, seen: int, now: float
    ) -> bool:
        """Wait for a connection to the announced port, which the other side knows as `seen`.

        own: the tuple of the announcing packet, other: that of the opposite direction.
        """
        wanted = _wanted(conn, other, seen)
        target = (own.src, port) if conn.nat else None
        expectation = Expectation(wanted, conn, now + TIMEOUT, target, own.dst)
        added = self.expectations.add(expectation)
        self.stats["expected" if added else "expectation_refused"] += 1
        return added


def acknowledge(pkt: Packet, adjust: SeqAdjust) -> Packet:
    """The packet with acknowledgements in the numbers of whom it answers."""
    return renumber(pkt, None, adjust.acknowledged)


def _wanted(conn: Connection, other: Tuple, port: int) -> ExpectedTuple:
    return ExpectedTuple(conn.zone, conn.version, conn.proto, other.src, other.dst, port)


def _extra(conn: Connection) -> Extra:
    if conn.extra is None:
        conn.extra = Extra()
    return conn.extra

# SPDX-License-Identifier: Apache-2.0
"""Random TCP traces: two peers that mostly behave, and what goes wrong between them.

A trace follows scripts (handshake, data, close, ...) with exact numbers, and leaves them at random:
segments are repeated, lost, reordered, get other flags, or numbers near the edges of what the
tracker believes possible at that moment; so the writer looks at the tracker while it writes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from struct import pack

from p4ct.conntrack import Connection
from p4ct.conntrack.tcp_window import MAX_ACK_WINDOW

from .packets import Tcp

F, S, R, P, A, U = 1, 2, 4, 8, 16, 32
_M = 0xFFFFFFFF
_LENGTHS = (0, 0, 0, 1, 10, 500, 1460, 8000)
_WINDOWS = (0, 1, 100, 8192, 8192, 29200, 65535)
_FLAGS = (S, S | A, A, A, A, P | A, F | A, F | A, R, R | A, S, S | A, F, 0, U | A, S | U, F | A | U)
_ISN = (0, 1, 1000, 0x7FFFFFF0, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFF)

Planned = tuple[int, int, int]
"""Who sends, flags, payload bytes; the numbers follow."""


class TcpWriter:
    """Writes one trace of `length` segments."""

    def __init__(self, rng: random.Random, length: int = 20) -> None:
        self._rng = rng
        self._left = length
        self._wild = rng.choice((0.1, 0.3, 0.3, 0.5, 0.8))
        self._sent: list[Tcp] = []
        self._next = [0, 0]
        self._scales = rng.random() < 0.5
        self._new_numbers()
        self._plan = self._script()

    def __call__(self, conn: Connection | None) -> Tcp | None:
        """The next segment, given our connection now."""
        if not self._left:
            return None
        self._left -= 1
        segment = self._mishap(conn) if self._rng.random() < self._wild else self._planned()
        self._sent.append(segment)
        end = segment.seq + segment.length + (segment.flags & 1) + (segment.flags >> 1 & 1)
        if 0 < (end - self._next[segment.way]) & _M < 1 << 24:
            self._next[segment.way] = end & _M
        return segment

    # --- peers that behave -------------------------------------------------------------------

    def _new_numbers(self) -> None:
        draw = self._rng
        self._next = [draw.choice((*_ISN, draw.getrandbits(32))) for _ in range(2)]

    def _script(self) -> Iterator[Planned]:
        draw = self._rng
        while True:
            kind = draw.choice(("usual", "usual", "usual", "usual", "both", "middle", "refused"))
            if kind == "usual":
                yield from ((0, S, 0), (1, S | A, 0), (0, A, 0))
            elif kind == "both":
                yield from ((0, S, 0), (1, S, 0), (0, S | A, 0), (1, S | A, 0), (0, A, 0))
            elif kind == "refused":
                yield from ((0, S, 0), (1, R | A, 0))
            for _ in range(draw.choice((0, 1, 2, 4))):
                way = draw.getrandbits(1)
                for _ in range(draw.choice((1, 1, 2, 3))):
                    yield way, P | A, draw.choice(_LENGTHS)
                yield 1 - way, A, 0
            way = draw.getrandbits(1)
            ends = draw.choice(("close", "close", "both", "reset", "none"))
            if ends == "close":
                yield from ((way, F | A, 0), (1 - way, A, 0), (1 - way, F | A, 0), (way, A, 0))
            elif ends == "both":
                yield from ((way, F | A, 0), (1 - way, F | A, 0), (way, A, 0), (1 - way, A, 0))
            elif ends == "reset":
                yield way, draw.choice((R, R | A)), 0
            if draw.random() < 0.5:
                self._new_numbers()

    def _planned(self) -> Tcp:
        way, flags, length = next(self._plan)
        return self._segment(way, flags, length)

    def _segment(self, way: int, flags: int, length: int) -> Tcp:
        seq = self._next[way]
        ack = self._next[1 - way] if flags & A else 0
        window = self._rng.choice(_WINDOWS[3:])
        return Tcp(way, flags, seq, ack, window, length, self._options(flags))

    def _options(self, flags: int) -> bytes:
        draw = self._rng
        if flags & S:
            options = b"\x02\x04\x05\xb4"
            if self._scales or draw.random() < 0.2:
                options += b"\x01\x03\x03" + bytes([draw.choice((0, 2, 7, 14, 15, 255))])
            if draw.random() < 0.6:
                options += b"\x01\x01\x04\x02"
            return options if draw.random() < 0.8 else b""
        return b"\x01\x01\x08\x0a" + bytes(8) if draw.random() < 0.2 else b""

    # --- what goes wrong ---------------------------------------------------------------------

    def _mishap(self, conn: Connection | None) -> Tcp:
        draw = self._rng
        kind = draw.choice(("again", "again", "lost", "flags", "edge", "edge", "edge", "any"))
        if kind == "again" and self._sent:
            return draw.choice(self._sent[-4:])
        if kind == "lost":
            way, flags, length = next(self._plan)
            lost = self._segment(way, flags, length)
            advance = lost.length + (flags & 1) + (flags >> 1 & 1)
            self._next[way] = (lost.seq + advance) & _M
            return self._planned()
        way = draw.getrandbits(1)
        flags = draw.choice(_FLAGS) if draw.random() < 0.95 else draw.getrandbits(8)
        segment = self._segment(way, flags, draw.choice(_LENGTHS))
        if kind == "flags":
            return segment
        seq, ack, options = segment.seq, segment.ack, segment.options
        tcp = None if conn is None else conn.tcp
        if kind == "edge" and tcp is not None:
            seq = draw.choice((seq, self._edge_seq(tcp, way, segment.length)))
            ack = draw.choice((ack, self._edge_ack(tcp, way)))
            if draw.random() < 0.3 and not flags & S:
                options = self._sack(tcp, way)
        else:
            seq = draw.choice((seq, seq - 1, seq + 1, 0, draw.getrandbits(32)))
            ack = draw.choice((ack, ack - 1, ack + 1, 0, draw.getrandbits(32)))
            if draw.random() < 0.1:
                options = draw.randbytes(draw.choice((1, 3, 4, 8, 12, 20)))
        damage = ""
        if draw.random() < 0.03:
            damage = draw.choice(("checksum", "short", "long"))
        return Tcp(
            way,
            flags,
            seq & _M,
            ack & _M,
            draw.choice(_WINDOWS),
            segment.length,
            options,
            damage,
        )

    def _edge_seq(self, tcp: object, way: int, length: int) -> int:
        """A sequence number near one of the limits of the window checks and of the RST rule."""
        sender, receiver = tcp.sides[way], tcp.sides[1 - way]  # type: ignore[attr-defined]
        limit = self._rng.choice(
            (
                sender.maxend,
                sender.end,
                sender.end - length,
                sender.end - receiver.maxwin - length,
                sender.maxend + receiver.maxwin - length,
                receiver.maxack,
                tcp.last_end,  # type: ignore[attr-defined]
                tcp.last_ack,  # type: ignore[attr-defined]
                0,
            )
        )
        return limit + self._rng.choice((-2, -1, 0, 0, 1, 2))

    def _edge_ack(self, tcp: object, way: int) -> int:
        sender, receiver = tcp.sides[way], tcp.sides[1 - way]  # type: ignore[attr-defined]
        limit = self._rng.choice(
            (
                receiver.end,
                receiver.end,
                receiver.end - max(sender.maxwin, MAX_ACK_WINDOW),
                sender.maxack,
                tcp.last_end,  # type: ignore[attr-defined]
                0,
            )
        )
        return limit + self._rng.choice((-2, -1, 0, 0, 1, 2))

    def _sack(self, tcp: object, way: int) -> bytes:
        """One or two SACK blocks whose edges are near what the other side has sent."""
        draw = self._rng
        blocks = b""
        for _ in range(draw.choice((1, 1, 2))):
            left = self._edge_ack(tcp, way)
            blocks += pack("!LL", left & _M, (left + draw.choice((0, 1, 100, 1460))) & _M)
        return b"\x01\x01\x05" + bytes([2 + len(blocks)]) + blocks

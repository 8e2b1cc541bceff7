# SPDX-License-Identifier: Apache-2.0
"""The numbers of a connection: objects while packets come, one byte string while none do.

Counters, start and TCP windows are some thirty integers, and an integer object takes 32 bytes.  So
only the connections of the `WorkingSet` have them unpacked; any other has them as 40 or 95 bytes.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from p4ct.conntrack.tcp_window import TcpTrack

if TYPE_CHECKING:
    from p4ct.conntrack.connection import Connection

# start; packets and bytes of the original direction, of the reply
_COUNTERS = Struct("<d4Q")
_TCP_OFFSET = _COUNTERS.size
#: The most connections that are unpacked at a time, if nothing else is said: a kilobyte each.
WORKING_SET = 65536


class Numbers:
    """Counters, start and TCP state of one connection; `Connection` says what they mean.

    place: in the working set, -1 for none.
    """

    __slots__ = (
        "original_bytes",
        "original_packets",
        "place",
        "reply_bytes",
        "reply_packets",
        "start",
        "tcp",
    )

    def __init__(self, start: float) -> None:
        self.start = start
        self.original_packets = self.original_bytes = 0
        self.reply_packets = self.reply_bytes = 0
        self.tcp: TcpTrack | None = None
        self.place = -1

    def pack(self) -> bytes:
        """Everything but the place."""
        counters = _COUNTERS.pack(
            self.start,
            self.original_packets,
            self.original_bytes,
            self.reply_packets,
            self.reply_bytes,
        )
        return counters if self.tcp is None else counters + self.tcp.pack()

    def load(self, packed: bytes) -> None:
        """Become what `pack` packed; the objects stay."""
        (
            self.start,
            self.original_packets,
            self.original_bytes,
            self.reply_packets,
            self.reply_bytes,
        ) = _COUNTERS.unpack_from(packed)
        if len(packed) == _TCP_OFFSET:
            self.tcp = None
        else:
            tcp = self.tcp
            if tcp is None:
                tcp = self.tcp = TcpTrack()
            tcp.load(packed, _TCP_OFFSET)


def unpack(packed: bytes) -> Numbers:
    """The inverse of `Numbers.pack`."""
    numbers = Numbers(0.0)
    numbers.load(packed)
    return numbers


def start_and_counters(packed: bytes) -> tuple[float, int, int, int, int]:
    """Start, packets and bytes of the original direction, packets and bytes of the reply."""
    return _COUNTERS.unpack_from(packed)


class WorkingSet:
    """The connections whose numbers are unpacked: those unpacked last, at most `size` of them."""

    __slots__ = ("_free", "_hand", "_places", "size")

    def __init__(self, size: int = WORKING_SET) -> None:
        if size < 1:
            raise ValueError(f"a working set has room for at least 1 connection, not {size}")
        self.size = size
        self._places: list[Connection | None] = []
        self._free: list[int] = []
        self._hand = 0  # when all places are taken, the next one to be packed

    def __len__(self) -> int:
        """Connections that are unpacked."""
        return len(self._places) - len(self._free)

    def enter(self, conn: Connection, numbers: Numbers) -> Numbers:
        """Give a connection these unpacked numbers; may pack those of another connection."""
        conn.numbers = numbers
        if not conn.alive:
            return numbers  # nobody would ever take it out
        places = self._places
        if self._free:
            place = self._free.pop()
        elif len(places) < self.size:
            place = len(places)
            places.append(None)
        else:
            place = self._hand
            self._hand = (place + 1) % self.size
            other = places[place]
            if other is not None and isinstance(other.numbers, Numbers):
                other.numbers = other.numbers.pack()
        places[place] = conn
        numbers.place = place
        return numbers

    def unpack(self, conn: Connection) -> Numbers:
        """The unpacked numbers of a connection, for use until the next one is unpacked.

        When all places are taken the objects go from one connection to the other: new ones would
        be as many for the garbage collector to visit, though as many have gone.
        """
        numbers = conn.numbers
        if isinstance(numbers, Numbers):
            return numbers
        hand = self._hand
        if self._free or len(self._places) < self.size or not conn.alive:
            return self.enter(conn, unpack(numbers))
        other = self._places[hand]
        assert other is not None, "a place without a connection is free"
        handed = other.numbers
        assert isinstance(handed, Numbers), "who has a place is unpacked"
        other.numbers = handed.pack()
        handed.load(numbers)
        conn.numbers = handed
        self._places[hand] = conn
        self._hand = hand + 1 if hand + 1 < self.size else 0
        return handed

    def leave(self, conn: Connection) -> None:
        """A connection has ended; its last numbers stay with whoever still holds it."""
        numbers = conn.numbers
        if isinstance(numbers, Numbers) and numbers.place >= 0:
            self._places[numbers.place] = None
            self._free.append(numbers.place)
            numbers.place = -1

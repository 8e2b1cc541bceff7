# SPDX-License-Identifier: Apache-2.0
"""One trace through both, compared after every packet."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace

from p4ct.conntrack import Connection, Tuple
from p4ct.conntrack.tcp_table import SEGMENT

from .packets import Ends, Pause, Step, Tcp
from .router import Router
from .subject import Entry, Subject, entry_of_kernel

# The kernel tells whole seconds, and its clock goes on between our call and its.
_TIMEOUT_SLACK = 2.0
# Seconds: forwarding is done when send() returns, but for a busy machine. What we drop is not
# waited for that long, or the connection's timer would go on.
_LOST, _DROPPED = 2.0, 0.02

Trace = Sequence[Step | Pause]
Cell = tuple[int, str, str]
Following = Callable[[Connection | None], Step | Pause | None]


@dataclass(frozen=True)
class Difference:
    """After step `index` (from 0): `what` is "mark", "packet", "entry" or a field of `Entry`."""

    index: int
    what: str
    kernel: object
    ours: object

    def __str__(self) -> str:
        return f"packet {self.index + 1}: {self.what}: kernel {self.kernel}, p4ct {self.ours}"


class Play:
    """A trace on its way through both; every packet is sent by `send`.

    ends: whose packets.   steps: what was sent so far.   marks: what the kernel said of each.
    cells: of the TCP table, those that were reached: direction, kind of segment, our state.
    slowest: seconds that a packet took at most.
    Explained differences are collected in `explained` and do not end the trace.
    """

    def __init__(self, router: Router, subject: Subject, ends: Ends, explain: Explain) -> None:
        self._router = router
        self._subject = subject
        self.ends = ends
        self._explain = explain
        self._keys: list[Tuple] = []
        self._ignored: Counter[tuple[int, int]] = Counter()
        self.steps: list[Step | Pause] = []
        self.marks: list[str] = []
        self.cells: list[Cell] = []
        self.explained: list[str] = []
        self.slowest = 0.0

    @property
    def connection(self) -> Connection | None:
        """Ours, of the first packet's tuple."""
        return self._subject.connection(self._keys[0]) if self._keys else None

    def send(self, step: Step | Pause) -> Difference | None:
        """The first unexplained difference that this packet shows."""
        self.steps.append(step)
        if isinstance(step, Pause):
            return None  # whoever plays it waits
        index = len(self.steps) - 1
        frame = step.frame(self.ends)
        key = step.key(self.ends)
        if key not in self._keys and key.reversed() not in self._keys:
            self._keys.append(key)
        if isinstance(step, Tcp):
            self._note_cell(key, step)
        before = {conn.id: (conn.expires, conn.packets) for conn in self._connections()}
        now = time.monotonic()
        ours = self._subject.send(frame, now)
        seen = self._router.send(step.way, frame, _DROPPED if ours == "dropped" else _LOST)
        self.slowest = max(self.slowest, time.monotonic() - now)
        kernel = "dropped" if seen is None else seen.mark
        self.marks.append(kernel)
        self._note_ignored(before)
        found: list[Difference] = []
        if kernel != ours:
            found.append(Difference(index, "mark", kernel, ours))
        leaves = self._subject.leaves
        if seen is not None and leaves is not None and comparable(seen.frame) != comparable(leaves):
            found.append(Difference(index, "packet", seen.frame.hex(), leaves.hex()))
        for key in self._keys:
            held = self._router.conntrack.find(key)
            theirs = None if held is None else entry_of_kernel(held)
            found += _compare(index, theirs, self._entry(key, now))
        for difference in found:
            paragraph = self._explain(difference, step)
            if paragraph is None:
                return difference
            self.explained.append(paragraph)
        return None

    def _connections(self) -> list[Connection]:
        found = [self._subject.connection(key) for key in self._keys]
        return [conn for conn in found if conn is not None]

    def _note_ignored(self, before: dict[int, tuple[float, tuple[int, int]]]) -> None:
        """Packets that were let through without being believed: they renew no timer. We count them
        (docs/decisions/0011), the kernel does not.
        """
        for conn in {conn.id: conn for conn in self._connections()}.values():
            expires, packets = before.get(conn.id, (0.0, (0, 0)))
            for way in (0, 1):
                if conn.expires == expires:
                    self._ignored[conn.id, way] += conn.packets[way] - packets[way]

    def _entry(self, key: Tuple, now: float) -> Entry | None:
        """Ours, counted as the kernel counts."""
        conn, entry = self._subject.connection(key), self._subject.entry(key, now)
        if conn is None or entry is None:
            return None
        original, reply = conn.packets
        ignored = self._ignored[conn.id, 0], self._ignored[conn.id, 1]
        return replace(entry, packets=(original - ignored[0], reply - ignored[1]))

    def _note_cell(self, key: Tuple, step: Tcp) -> None:
        conn = self._subject.connection(key)
        segment = SEGMENT[step.flags]
        if segment is not None and not step.damage:
            state = "NONE" if conn is None else conn.state_name
            direction = 0 if conn is None or conn.original == key else 1
            self.cells.append((direction, segment.name, state))

    def close(self) -> None:
        """Remove what the kernel still has of it."""
        for key in self._keys:
            self._router.conntrack.delete(key)


Explain = Callable[[Difference, Step], str | None]
"""The paragraph of docs/conntrack-differences.md that explains a difference, or None."""


Begun = tuple[Following, Play]
Ended = tuple[Play, Difference | None]


def play(begun: Sequence[Begun]) -> list[Ended]:
    """Ask each `Following` for packets, which may look at our connection, until there is none.

    Traces take turns at their pauses only, and wait together.
    """
    ended: dict[int, Ended] = {}
    try:
        while len(ended) < len(begun):
            wait = 0.0
            for number, (following, playing) in enumerate(begun):
                while number not in ended:
                    step = following(playing.connection)
                    difference = None if step is None else playing.send(step)
                    if step is None or difference is not None:
                        ended[number] = playing, difference
                    elif isinstance(step, Pause):
                        wait = max(wait, step.seconds)
                        break
            time.sleep(wait)
    finally:
        for _, playing in begun:
            playing.close()
    return [ended[number] for number in range(len(begun))]


def replay(steps: Iterable[Step | Pause], begin: Callable[[], Play]) -> Difference | None:
    """The first difference of a trace that was written before."""
    waiting = iter(steps)
    return play([(lambda _: next(waiting, None), begin())])[0][1]


def _compare(index: int, kernel: Entry | None, ours: Entry | None) -> list[Difference]:
    if kernel is None or ours is None:
        return [] if kernel is ours else [Difference(index, "entry", kernel, ours)]
    found: list[Difference] = []
    for field in fields(Entry):
        one, other = getattr(kernel, field.name), getattr(ours, field.name)
        if field.name == "packets" and one is None:
            continue
        same = abs(one - other) <= _TIMEOUT_SLACK if field.name == "timeout" else one == other
        if not same:
            found.append(Difference(index, field.name, one, other))
    return found


def comparable(frame: bytes) -> bytes:
    """An IP packet without what every router changes: TTL, and the IPv4 checksum with it."""
    packet = bytearray(frame[14:])
    if packet[0] >> 4 == 4:
        packet[8] = 0
        packet[10:12] = bytes(2)
    else:
        packet[7] = 0
    return bytes(packet)

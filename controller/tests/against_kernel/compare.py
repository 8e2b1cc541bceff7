# SPDX-License-Identifier: Apache-2.0
"""One trace through both, compared after every packet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields

from p4ct.conntrack import Connection, Tuple
from p4ct.conntrack.tcp_table import SEGMENT

from .packets import Ends, Pause, Step, Tcp
from .router import Router
from .subject import Entry, Subject, entry_of_kernel

# The kernel tells whole seconds, and its clock goes on between our call and its.
_TIMEOUT_SLACK = 2.0

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

    steps: what was sent so far.   marks: what the kernel said of each packet.   cells: of the TCP
    table, those that were reached: direction, kind of segment, our state.
    Explained differences are collected in `explained` and do not end the trace.
    """

    def __init__(self, router: Router, subject: Subject, ends: Ends, explain: Explain) -> None:
        self._router = router
        self._subject = subject
        self._ends = ends
        self._explain = explain
        self._keys: list[Tuple] = []
        self.steps: list[Step | Pause] = []
        self.marks: list[str] = []
        self.cells: list[Cell] = []
        self.explained: list[str] = []

    @property
    def connection(self) -> Connection | None:
        """Ours, of the first packet's tuple."""
        return self._subject.connection(self._keys[0]) if self._keys else None

    def send(self, step: Step | Pause) -> Difference | None:
        """The first unexplained difference that this packet shows."""
        self.steps.append(step)
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        index = len(self.steps) - 1
        frame = step.frame(self._ends)
        key = step.key(self._ends)
        if key not in self._keys and key.reversed() not in self._keys:
            self._keys.append(key)
        if isinstance(step, Tcp):
            self._note_cell(key, step)
        now = time.monotonic()
        seen = self._router.send(step.way, frame)
        kernel = "dropped" if seen is None else seen.mark
        self.marks.append(kernel)
        ours = self._subject.send(frame, now)
        found: list[Difference] = []
        if kernel != ours:
            found.append(Difference(index, "mark", kernel, ours))
        leaves = self._subject.leaves
        if seen is not None and leaves is not None and comparable(seen.frame) != comparable(leaves):
            found.append(Difference(index, "packet", seen.frame.hex(), leaves.hex()))
        for key in self._keys:
            held = self._router.conntrack.find(key)
            theirs = None if held is None else entry_of_kernel(held)
            found += _compare(index, theirs, self._subject.entry(key, now))
        for difference in found:
            paragraph = self._explain(difference, step)
            if paragraph is None:
                return difference
            self.explained.append(paragraph)
        return None

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


def play(following: Following, begin: Callable[[], Play]) -> tuple[Play, Difference | None]:
    """Ask `following` for packets, which may look at our connection, until there is none."""
    playing = begin()
    try:
        difference: Difference | None = None
        while difference is None and (step := following(playing.connection)) is not None:
            difference = playing.send(step)
    finally:
        playing.close()
    return playing, difference


def replay(steps: Iterable[Step | Pause], begin: Callable[[], Play]) -> Difference | None:
    """The first difference of a trace that was written before."""
    waiting = iter(steps)
    return play(lambda _: next(waiting, None), begin)[1]


def _compare(index: int, kernel: Entry | None, ours: Entry | None) -> list[Difference]:
    if kernel is None or ours is None:
        return [] if kernel is ours else [Difference(index, "entry", kernel, ours)]
    found: list[Difference] = []
    for field in fields(Entry):
        one, other = getattr(kernel, field.name), getattr(ours, field.name)
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

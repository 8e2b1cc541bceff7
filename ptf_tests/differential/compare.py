# SPDX-License-Identifier: Apache-2.0
"""Runs cases on two targets side by side, and says where they differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from ptf_base import frames
from ptf_base.counters import Count
from ptf_base.traffic import describe_packet_in

from differential.case import Batch, Case
from differential.counters import Cell, Counts
from differential.rig import Outputs, Rig, Stuck


@dataclass(frozen=True)
class Difference:
    """`kind` is writes, frames, packet-ins, counters or stuck; `batch`: None at the end."""

    kind: str
    batch: int | None
    lines: tuple[str, ...]
    cells: frozenset[Cell] = frozenset()


class Pair:
    """Two targets, by functions that start them: one that is stuck is started anew."""

    def __init__(self, left: Callable[[], Rig], right: Callable[[], Rig]) -> None:
        self._start = (left, right)
        self._rigs: list[Rig | None] = [None, None]
        self.seen: Counter[str] = Counter()
        """What came out, by kind: frames that left, and packet-ins by reason."""

    def run(self, case: Case, *, only: Collection[Cell] | None = None) -> Difference | None:
        """The first difference of a case, which starts on empty switches.

        At its end all counters are compared, or `only` some.
        """
        try:
            rigs = self._opened()
            for rig in rigs:
                rig.start(case.entries)
            for index, batch in enumerate(case.batches):
                found = self._compare(rigs, batch)
                if found is not None:
                    return Difference(found[0], index, found[1])
            left, right = (rig.counts(only) for rig in rigs)
            cells = frozenset(c for c in {*left, *right} if left.get(c) != right.get(c))
            if not cells:
                return None
            return Difference("counters", None, _counters(rigs, cells, left, right), cells)
        except Stuck as error:
            self.close()
            return Difference("stuck", None, tuple(str(error).splitlines()))

    def _compare(self, rigs: tuple[Rig, Rig], batch: Batch) -> tuple[str, tuple[str, ...]] | None:
        for rig in rigs:
            rig.begin(batch)
        left, right = (rig.finish() for rig in rigs)
        if left == right:
            self.seen["forwarded"] += sum(map(len, left.frames.values()))
            self.seen.update(str(got.fields["reason"]) for got in left.packet_ins)
            return None
        if left.codes != right.codes:
            return "writes", _codes(rigs, batch, left, right)
        lines = _packet_ins(rigs, left, right)
        if lines:
            return "packet-ins", lines
        return "frames", _frames(rigs, left, right)

    def close(self) -> None:
        """End both targets."""
        for rig in self._rigs:
            if rig is not None:
                rig.close()
        self._rigs = [None, None]

    def _opened(self) -> tuple[Rig, Rig]:
        for i, start in enumerate(self._start):
            if self._rigs[i] is None:
                self._rigs[i] = start()
        left, right = self._rigs
        assert left is not None
        assert right is not None
        return left, right


def _codes(rigs: tuple[Rig, Rig], batch: Batch, left: Outputs, right: Outputs) -> tuple[str, ...]:
    lines: list[str] = []
    for change, a, b in zip(batch.stimuli, left.codes, right.codes, strict=False):
        if a != b:
            lines.append(f"{change.describe(batch.way, batch.port)}:")
            lines += _side(rigs[0], a) + _side(rigs[1], b)
    return tuple(lines)


def _frames(rigs: tuple[Rig, Rig], left: Outputs, right: Outputs) -> tuple[str, ...]:
    lines: list[str] = []
    for port in left.frames:
        for a, b in zip_longest(left.frames[port], right.frames[port]):
            if a != b:
                lines.append(f"port {port}:")
                lines += _side(rigs[0], _frame(a)) + _side(rigs[1], _frame(b))
                break
    return tuple(lines)


def _packet_ins(rigs: tuple[Rig, Rig], left: Outputs, right: Outputs) -> tuple[str, ...]:
    for a, b in zip_longest(left.packet_ins, right.packet_ins):
        if a is None or b is None or a.frame != b.frame or a.fields != b.fields:
            return ("packet-in:", *_side(rigs[0], _packet_in(a)), *_side(rigs[1], _packet_in(b)))
    return ()


def _counters(
    rigs: tuple[Rig, Rig], cells: Collection[Cell], left: Counts, right: Counts
) -> tuple[str, ...]:
    lines: list[str] = []
    for cell in sorted(cells):
        lines.append(f"{cell.counter} {cell.what}:")
        lines += _side(rigs[0], str(left.get(cell, Count())))
        lines += _side(rigs[1], str(right.get(cell, Count())))
    return tuple(lines)


def _side(rig: Rig, text: str) -> list[str]:
    first, *rest = text.splitlines()
    return [f"  {rig.name:10} {first}", *(f"  {'':10} {line}" for line in rest)]


def _frame(frame: bytes | None) -> str:
    return "nothing" if frame is None else f"{frames.summary(frame)}\n{frame.hex()}"


def _packet_in(got: Any) -> str:
    return "nothing" if got is None else f"{describe_packet_in(got).strip()}\n{got.frame.hex()}"

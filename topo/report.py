# SPDX-License-Identifier: Apache-2.0
"""The report of a run: build/report.json, and the same on the screen."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Expectation:
    """One thing that had to be so; `detail` has the numbers, or what was seen instead."""

    name: str
    ok: bool
    detail: str


@dataclass
class Packets:
    """Packets that reached the eswitch: `total` is what entries forwarded plus what was punted."""

    total: int = 0
    punted: int = 0
    fast_path_share: float = 0.0


@dataclass
class Connections:
    """Connections tracked, pushed to the eswitch, and taken out of it again."""

    seen: int = 0
    offloaded: int = 0
    removed: int = 0


@dataclass
class Report:
    """What build/report.json holds."""

    target: str
    expectations: list[Expectation] = field(default_factory=list[Expectation])
    packets: Packets = field(default_factory=Packets)
    connections: Connections = field(default_factory=Connections)
    punts: dict[str, int] = field(default_factory=dict[str, int])
    #: Connection entries in the switch at the end, from a P4Runtime read; -1 when not read.
    entries_left: int = -1
    duration_s: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether there are expectations and all of them hold."""
        return bool(self.expectations) and all(e.ok for e in self.expectations)

    def add_counts(self, status: dict[str, Any]) -> None:
        """Add the counts of one controller's life (`p4ct status --json`).

        A restarted controller counts from zero, so the scenario calls this before each stop, with
        control.counts_of_this_life.
        """
        packets, connections = status["packets"], status["connections"]
        self.packets.punted += packets["punted"]
        self.packets.total += packets["punted"] + packets["fast_path"]
        forwarded = self.packets.total - self.packets.punted
        self.packets.fast_path_share = (
            round(forwarded / self.packets.total, 6) if self.packets.total else 0.0
        )
        self.connections.seen += connections["seen"]
        self.connections.offloaded += connections["offloaded_total"]
        self.connections.removed += connections["removed_total"]
        for reason, number in status["punts"].items():
            self.punts[reason] = self.punts.get(reason, 0) + number

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    def lines(self) -> list[str]:
        """The closing report: what was punted, offloaded and removed, and the verdict."""
        packets, connections = self.packets, self.connections
        failed = [e for e in self.expectations if not e.ok]
        result = [
            f"packets      {packets.total:,} in total, {packets.punted:,} punted: "
            f"{packets.fast_path_share:.3%} forwarded by entries",
            f"connections  {connections.seen:,} seen, {connections.offloaded:,} offloaded, "
            f"{connections.removed:,} removed from the switch",
            "punts        "
            + ", ".join(f"{reason} {number:,}" for reason, number in self.punts_by_size()),
            f"entries left {self.entries_left}",
            f"target       {self.target}, {self.duration_s:.0f} s",
        ]
        if failed:
            result.append(f"{len(failed)} of {len(self.expectations)} expectations failed:")
            result += [f"  {e.name}: {e.detail}" for e in failed]
        else:
            result.append(f"all {len(self.expectations)} expectations hold")
        return result

    def punts_by_size(self) -> list[tuple[str, int]]:
        """Punt reasons that occurred, the most frequent first."""
        return sorted(((r, n) for r, n in self.punts.items() if n), key=lambda item: -item[1])

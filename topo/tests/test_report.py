# SPDX-License-Identifier: Apache-2.0
"""build/report.json: its shape, its sums and its verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from topo.report import Expectation, Report


def status(punted: int, fast_path: int, **punts: int) -> dict[str, Any]:
    """`p4ct status --json`, as far as the report reads it."""
    return {
        "packets": {"punted": punted, "fast_path": fast_path},
        "connections": {"seen": 5, "offloaded_total": 4, "removed_total": 3},
        "punts": punts,
    }


def test_the_file_has_the_promised_fields(tmp_path: Path) -> None:
    report = Report("softswitch", [Expectation("ping", True, "3/3")])
    report.add_counts(status(10, 990, MISS=10))
    report.entries_left = 0
    report.duration_s = 61.5
    report.write(tmp_path / "build" / "report.json")
    written = json.loads((tmp_path / "build" / "report.json").read_text(encoding="utf-8"))
    assert written == {
        "target": "softswitch",
        "expectations": [{"name": "ping", "ok": True, "detail": "3/3"}],
        "packets": {"total": 1000, "punted": 10, "fast_path_share": 0.99},
        "connections": {"seen": 5, "offloaded": 4, "removed": 3},
        "punts": {"MISS": 10},
        "entries_left": 0,
        "duration_s": 61.5,
    }


def test_the_lives_of_a_restarted_controller_add_up() -> None:
    report = Report("bmv2")
    report.add_counts(status(10, 90, MISS=7, TCP_SYN=3))
    report.add_counts(status(30, 70, MISS=30))
    assert (report.packets.total, report.packets.punted) == (200, 40)
    assert report.packets.fast_path_share == 0.8
    assert report.punts == {"MISS": 37, "TCP_SYN": 3}
    assert report.connections.seen == 10


@pytest.mark.parametrize(("verdicts", "ok"), [([], False), ([True], True), ([True, False], False)])
def test_a_run_is_good_when_every_expectation_holds(verdicts: list[bool], ok: bool) -> None:
    assert Report("x", [Expectation("e", verdict, "") for verdict in verdicts]).ok is ok


def test_a_report_without_traffic_divides_nothing() -> None:
    report = Report("x")
    report.add_counts(status(0, 0))
    assert report.packets.fast_path_share == 0.0


def test_failures_are_repeated_at_the_end() -> None:
    report = Report("x", [Expectation("a", True, "fine"), Expectation("b", False, "it leaked")])
    text = "\n".join(report.lines())
    assert "1 of 2 expectations failed" in text
    assert "b: it leaked" in text
    assert "fine" not in text

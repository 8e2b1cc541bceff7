# SPDX-License-Identifier: Apache-2.0
"""docs/ovs-scenarios.md names tests that exist, and counts its own rows."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "ovs-scenarios.md"
RESULTS = {"passes", "does not apply", "not covered"}
OFFLOAD = {"both", "on", "software"}


def rows() -> Iterator[tuple[str, str, str, str, list[str]]]:
    """(scenario, result, offload, text, tests) of each row."""
    for line in PAGE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("|") and cells[0] != "scenario" and not cells[0].startswith("---"):
            scenario, result, offload, text = cells
            yield scenario, result, offload, text, re.findall(r"`([^`]*::[^`]*)`", text)


@cache
def functions_of(path: str) -> frozenset[str]:
    home = next(p for p in (ROOT / path, ROOT / "controller" / "tests" / path) if p.exists())
    tree = ast.parse(home.read_text("utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def test_every_row_is_complete_and_stands_once() -> None:
    seen: set[str] = set()
    for scenario, result, offload, text, tests in rows():
        assert result in RESULTS, scenario
        assert (offload in OFFLOAD) == (result == "passes"), scenario
        assert tests if result == "passes" else text, scenario
        assert scenario not in seen, scenario
        seen.add(scenario)


def test_every_test_that_is_named_exists() -> None:
    for scenario, _, _, _, tests in rows():
        for reference in tests:
            path, _, name = reference.partition("::")
            assert name.startswith("test_"), (scenario, reference)
            assert name in functions_of(path), (scenario, reference)


def test_the_counts_are_those_of_the_rows() -> None:
    found = list(rows())
    count = Counter(result for _, result, _, _, _ in found)
    both = sum(offload == "both" for _, _, offload, _, _ in found)
    said = (
        f"**{len(found)} scenarios: {count['passes']} pass ({both} of them with offload on and"
        f" off), {count['does not apply']} do not apply, {count['not covered']} are not covered.**"
    )
    assert said in PAGE.read_text("utf-8"), said

# SPDX-License-Identifier: Apache-2.0
"""docs/conformance.md names tests that exist, and counts its own rows."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parents[1] / "docs" / "conformance.md"
FOLLOWS = {"both", "spec", "BMv2", "own"}
STATUS = {"tested", "refused", "not covered"}


LANGUAGE = "\n# v1model: the language\n"


def rows(part: str | None = None) -> Iterator[tuple[str, str, str, list[str]]]:
    """(behaviour, follows, status, tests) of each row; of the whole page, or of a part of it."""
    for line in (part or PAGE.read_text("utf-8")).splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("|") and cells[0] != "behaviour" and not cells[0].startswith("---"):
            behaviour, follows, status, tests = cells
            yield behaviour, follows, status, re.findall(r"`([^`]*)`", tests)


def names(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_row_is_complete() -> None:
    for behaviour, follows, status, tests in rows():
        assert follows in FOLLOWS, behaviour
        assert status in STATUS, behaviour
        assert bool(tests) == (status != "not covered"), behaviour


def test_every_test_that_is_named_exists() -> None:
    for behaviour, _, _, tests in rows():
        for reference in tests:
            where, _, name = reference.partition(": ")
            folder, _, stem = where.rpartition("/")
            home = TESTS / (folder or "p4runtime")
            if folder == "interop":
                home = TESTS.parent / "interop"
            assert f"test_{name}" in names(home / f"test_{stem}.py"), (behaviour, reference)


def test_the_counts_are_those_of_the_rows() -> None:
    count = Counter(status for _, _, status, _ in rows())
    said = (
        f"**{sum(count.values())} behaviours: {count['tested']} supported and tested,"
        f" {count['refused']} refused, {count['not covered']} not covered.**"
    )
    assert said in PAGE.read_text("utf-8"), said


def test_the_counts_of_the_language_are_those_of_its_rows() -> None:
    part = PAGE.read_text("utf-8").partition(LANGUAGE)[2]
    count = Counter(status for _, _, status, _ in rows(part))
    said = (
        f"Of the rows below {count['tested']} are supported and tested,"
        f" {count['refused']} refused, {count['not covered']} not covered."
    )
    assert said in part, said

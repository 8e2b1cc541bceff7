# SPDX-License-Identifier: Apache-2.0
"""Results as tables: for the screen, and for bench/results/README.md."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.result import Result, load

HEADER = ("figure", "subject", "median", "lowest", "highest", "ratio")


def number(value: float) -> str:
    """Three digits or more, with a separator of thousands."""
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 1:
        return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
    return f"{value:.3g}"


def ratio(value: float) -> str:
    """A ratio with the digits that it deserves."""
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def cells(result: Result) -> list[tuple[str, ...]]:
    """The rows of a result's table, in the columns of HEADER."""
    return [
        (
            row.figure,
            row.subject,
            f"{number(row.value)} {row.unit}",
            number(min(row.samples)),
            number(max(row.samples)),
            ", ".join(f"{ratio(value)} x {base}" for base, value in row.ratios.items()),
        )
        for row in result.rows
    ]


def circumstances(result: Result) -> list[str]:
    """When, on what, in which company, and with which settings."""
    machine = result.machine
    settings = ", ".join(f"{key} {value}" for key, value in result.settings.items())
    before, after = result.load_before[0], result.load_after[0]
    return [
        f"{result.date}{', quick' if result.quick else ''}, commit {machine.commit}, "
        f"{result.duration_s:.0f} s, load average {before:.2f} before and {after:.2f} after",
        f"{machine.cpu}, {machine.cores} cores, {machine.memory_mib} MiB, Linux {machine.kernel}, "
        f"{machine.python}, {machine.compiler}, BMv2 {machine.bmv2}",
        f"settings: {settings}",
        *(f"note: {note}" for note in result.notes),
    ]


def show(result: Result, console: Console) -> None:
    """Print one result for people."""
    table = Table(title=f"{result.name}: {result.title}", title_justify="left")
    for column in HEADER:
        table.add_column(
            column, justify="left" if column in ("figure", "subject", "ratio") else "right"
        )
    named = ""
    for row in cells(result):
        # A figure is named once, above its subjects.
        table.add_row("" if row[0] == named else row[0], *row[1:])
        named = row[0]
    console.print(table)
    for line in circumstances(result):
        console.print(line, style="dim")


def markdown(results: Iterable[Result]) -> str:
    """All results as one page."""
    lines = [
        "# Last results",
        "",
        "Written by `bench/run` from the JSON files beside it. What each figure means is said in",
        "[bench/README.md](../README.md). Compare figures of one table only.",
    ]
    for result in results:
        lines += ["", f"## {result.name}: {result.title}", ""]
        lines += [f"| {' | '.join(HEADER)} |", "|---|---|---:|---:|---:|---|"]
        lines += [f"| {' | '.join(row)} |" for row in cells(result)]
        lines += ["", *(f"- {line}" for line in circumstances(result))]
    return "\n".join(lines) + "\n"


def write_page(folder: Path) -> Path:
    """Write FOLDER/README.md from the results in that folder. Raises BadResult."""
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "README.md"
    results = [load(path) for path in sorted(folder.glob("*.json"))]
    page.write_text(markdown(results), encoding="utf-8")
    return page

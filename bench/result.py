# SPDX-License-Identifier: Apache-2.0
"""The result of one benchmark: its schema, its file, and how ratios are taken."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Literal

import msgspec

from bench.machine import Machine
from bench.measure import Measured, Setting

SCHEMA = 1


class BadResult(Exception):
    """A file that is no result; the text says which file and what is wrong with it."""


class Row(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One figure of one subject. `value`: the median of `samples`, one a round. `ratios`: to other
    subjects of the same figure, each the median of the rounds' own ratios."""

    figure: str
    subject: str
    unit: str
    value: float
    samples: list[float]
    ratios: dict[str, float]


class Result(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One benchmark's file. `date`: ISO 8601, UTC, at the start; load averages are of 1, 5 and 15
    minutes. `notes`: what a reader has to know, such as a target that was left out."""

    schema: Literal[1]
    name: str
    title: str
    date: str
    quick: bool
    duration_s: float
    machine: Machine
    load_before: tuple[float, float, float]
    load_after: tuple[float, float, float]
    settings: dict[str, Setting]
    notes: list[str]
    rows: list[Row]


def rows_of(measured: Measured) -> list[Row]:
    """A row for each figure and subject, those of one figure together."""
    figures = list(dict.fromkeys(figure for figure, _ in measured.samples))
    return [
        row_of(measured, figure, subject)
        for figure in figures
        for of, subject in measured.samples
        if of == figure
    ]


def row_of(measured: Measured, figure: str, subject: str) -> Row:
    """Median and ratios of one subject. A ratio needs a base that was measured, and was not 0."""
    samples = [digits(value) for value in measured.samples[figure, subject]]
    ratios: dict[str, float] = {}
    for base in measured.bases:
        others = measured.samples.get((figure, base), [])
        if base != subject and others and all(others):
            pairs = zip(samples, others, strict=True)
            ratios[base] = digits(median(value / other for value, other in pairs))
    unit = measured.units[figure]
    return Row(figure, subject, unit, digits(median(samples)), samples, ratios)


def digits(value: float) -> float:
    """Four significant digits, which is more than any of these figures deserves."""
    return float(f"{value:.4g}")


def write(result: Result, folder: Path) -> Path:
    """Write FOLDER/<name>.json; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result.name}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
    return path


def load(path: Path) -> Result:
    """Read a result. Raises BadResult if the file does not have the schema."""
    try:
        result = msgspec.json.decode(path.read_bytes(), type=Result)
    except (OSError, msgspec.DecodeError) as error:
        raise BadResult(f"{path}: {error}") from error
    names = [(row.figure, row.subject) for row in result.rows]
    problems = [f"{name} is there twice" for name in set(names) if names.count(name) > 1]
    for row in result.rows:
        where = f"{row.figure}, {row.subject}"
        if not row.samples or row.value != digits(median(row.samples)):
            problems.append(f"{where}: its value is not the median of its samples")
        for base in row.ratios:
            if (row.figure, base) not in names:
                problems.append(f"{where}: ratio to {base}, which has no row")
    if result.name != path.stem:
        problems.append(f"it holds the result {result.name!r}")
    if problems:
        raise BadResult(f"{path}: {'; '.join(problems)}")
    return result

# SPDX-License-Identifier: Apache-2.0
"""The benchmarks by name, and what is noted around each."""

from __future__ import annotations

import importlib
import time
from datetime import UTC, datetime

from bench.machine import describe, load_average
from bench.measure import BenchFailed, Run
from bench.result import SCHEMA, Result, rows_of
from topo.processes import ProcessFailed


def carry_out(name: str, run: Run) -> Result:
    """Run one benchmark. Raises BenchFailed."""
    module = importlib.import_module(f"bench.{name}")
    date = datetime.now(UTC).isoformat(timespec="seconds")
    load_before = load_average()
    started = time.monotonic()
    try:
        measured = module.measure(run)
    except ProcessFailed as error:
        raise BenchFailed(str(error)) from error
    return Result(
        schema=SCHEMA,
        name=name,
        title=module.TITLE,
        date=date,
        quick=run.quick,
        duration_s=round(time.monotonic() - started, 1),
        machine=describe(),
        load_before=load_before,
        load_after=load_average(),
        settings=measured.settings,
        notes=measured.notes,
        rows=rows_of(measured),
    )

# SPDX-License-Identifier: Apache-2.0
"""The benchmarks run, refuse nonsense, and their files have the schema; how fast is not asked."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from bench.__main__ import NAMES
from bench.measure import Measured
from bench.result import BadResult, Result, load, rows_of
from bench.table import markdown, write_page

BENCH = Path(__file__).resolve().parent.parent
RESULTS = BENCH / "results"
RUN = BENCH / "run"


def bench(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([RUN, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def quick(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    """A folder with the result of the shortest benchmark, and the run that wrote it."""
    folder = tmp_path_factory.mktemp("results")
    return folder, bench("--quick", "--only", "slow_path", "--output", str(folder))


def test_quick_slow_path_runs_and_writes_its_result(quick):
    folder, done = quick
    assert done.returncode == 0, done.stderr
    result = load(folder / "slow_path.json")
    assert result.quick
    subjects = [row.subject for row in result.rows if row.figure == "packets"]
    assert subjects[0] == "parse"
    assert len(subjects) == 5
    for row in result.rows:
        assert len(row.samples) == result.settings["rounds"]
        assert min(row.samples) > 0
        assert row.subject in done.stdout
    # What is done besides parsing is a multiple of it, on any machine.
    assert all(0 < row.ratios["parse"] < 1 for row in result.rows[1:5])


def test_quick_conntrack_measures_all_that_is_promised(tmp_path):
    done = bench("--quick", "--only", "conntrack", "--output", str(tmp_path))
    assert done.returncode == 0, done.stderr
    rows = {(row.figure, row.subject): row for row in load(tmp_path / "conntrack.json").rows}
    assert all(min(row.samples) > 0 for row in rows.values())
    assert {figure for figure, _ in rows} == {
        "memory",
        "nothing expires",
        "longest pause",
        "packets",
        "connections",
    }
    pauses = {subject for figure, subject in rows if figure == "longest pause"}
    assert {"packet", "flush of a zone", "tick that destroys", "portion of a list"} <= pauses


def test_the_page_is_made_from_the_files(quick):
    folder, _ = quick
    assert (folder / "README.md").read_text() == markdown([load(folder / "slow_path.json")])


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_committed_results_have_the_schema_and_are_full_runs(path):
    result = load(path)
    assert result.name in NAMES
    assert not result.quick
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", result.date)
    assert result.machine.cores > 0
    assert result.rows


def test_the_committed_page_is_made_from_the_committed_files():
    results = [load(path) for path in sorted(RESULTS.glob("*.json"))]
    assert (RESULTS / "README.md").read_text() == markdown(results)


def test_ratios_are_taken_round_by_round():
    measured = Measured({}, bases=("slow",))
    for slow, fast in ((1.0, 2.0), (10.0, 30.0), (100.0, 200.0)):
        measured.add("rate", "slow", "1/s", slow)
        measured.add("rate", "fast", "1/s", fast)
    measured.add("other", "fast", "s", 1.0)
    slow, fast, other = rows_of(measured)
    assert (slow.value, slow.ratios) == (10.0, {})
    assert (fast.value, fast.ratios) == (30.0, {"slow": 2.0})
    assert other.ratios == {}


def damaged(result: Result, **changes: object) -> bytes:
    fields = json.loads(msgspec.json.encode(result))
    fields.update(changes)
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"schema": 2}, "schema"),
        ({"typing_error": 1}, "typing_error"),
        ({"rows": "none"}, "rows"),
        ({"name": "install"}, "install"),
    ],
)
def test_a_file_without_the_schema_is_refused(quick, tmp_path, changes, complaint):
    path = tmp_path / "slow_path.json"
    path.write_bytes(damaged(load(quick[0] / "slow_path.json"), **changes))
    with pytest.raises(BadResult, match=complaint) as caught:
        write_page(tmp_path)
    assert str(path) in str(caught.value)


def test_a_value_that_is_no_median_is_refused(quick, tmp_path):
    result = load(quick[0] / "slow_path.json")
    rows = json.loads(msgspec.json.encode(result.rows))
    rows[0]["value"] *= 2
    rows[1]["ratios"]["nobody"] = 1.0
    path = tmp_path / "slow_path.json"
    path.write_bytes(damaged(result, rows=rows))
    with pytest.raises(BadResult, match=r"packets, parse: .*median.*nobody"):
        load(path)


def test_an_unknown_benchmark_is_refused_with_the_names():
    done = bench("--only", "speed")
    assert done.returncode == 2
    for name in NAMES:
        assert name in done.stderr


def test_ctrl_c_ends_it_quietly(tmp_path):
    command = [sys.executable, "-m", "bench", "--only", "slow_path", "--output", str(tmp_path)]
    with subprocess.Popen(
        command, cwd=BENCH.parent, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stderr is not None
        said = process.stderr.readline()  # the first line of progress: it is at work
        assert "slow_path: making" in said
        # The terminal sends it to the whole process group.
        os.killpg(process.pid, signal.SIGINT)
        started = time.monotonic()
        said = process.stderr.read()
    assert process.returncode == 128 + signal.SIGINT, said
    assert "Traceback" not in said
    assert "interrupted" in said
    assert time.monotonic() - started < 30
    assert list(tmp_path.iterdir()) == []

# SPDX-License-Identifier: Apache-2.0
"""The Makefile's verbs, as make itself would run them (--dry-run)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tools import doctor

ROOT = Path(__file__).resolve().parent.parent.parent
VERBS = (
    "run",
    "test",
    "check",
    "unit",
    "interop",
    "ptf",
    "p4",
    "bench",
    "doctor",
    "cli",
    "shell",
    "clean",
)


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False
    )


def test_help_is_the_default_and_lists_every_verb() -> None:
    done = make()
    assert done.returncode == 0
    listed = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("  make ")]
    assert set(VERBS) <= set(listed)


@pytest.mark.parametrize(
    ("test", "path"),
    [
        ("", "ptf_tests "),
        ("hit", "ptf_tests/hit.py "),
        ("hit.Hit", "ptf_tests/hit.py::Hit "),
        ("hit.Hit.runTest", "ptf_tests/hit.py::Hit::runTest "),
    ],
)
def test_ptf_tests_are_named_as_ptf_does(test: str, path: str) -> None:
    done = make("--dry-run", "ptf", f"TEST={test}", "TARGET=bmv2")
    assert f"pytest -q {path}--target=bmv2" in done.stdout


def test_a_packet_test_that_is_not_there_is_told_at_once() -> None:
    done = make("ptf", "TEST=nope.Nope")
    assert done.returncode == 2
    assert "TEST=nope.Nope: there is no ptf_tests/nope.py; the files are: test_" in done.stderr
    assert " test_punt " in done.stderr
    assert "packet tests on" not in done.stdout


def test_doctor_does_not_fail_because_nothing_is_set_up_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "VENV_PYTHON", tmp_path / "python")
    monkeypatch.setattr(doctor, "CHECKS", (doctor.environment,))
    finding = doctor.environment()
    assert (finding.ok, finding.optional) == (False, True)
    assert "make run" in finding.remedy
    assert doctor.main() == 0


def test_an_unknown_target_is_refused() -> None:
    done = make("run", "TARGET=bmv3")
    assert done.returncode == 2
    assert "TARGET=bmv3 is unknown; it is one of: softswitch bmv2" in done.stderr

# SPDX-License-Identifier: Apache-2.0
"""The committed output of p4c is that of the committed sources, where the same p4c can say so."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from .conftest import PROGRAMS

COMPILER = "p4c-bm2-ss"
NAMES = sorted(path.stem for path in PROGRAMS.glob("*.p4"))


def version() -> str:
    done = subprocess.run([COMPILER, "--version"], capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    return next((line for line in lines if "Version" in line), "").strip()


def test_every_program_is_compiled() -> None:
    for suffix in (".json", ".p4info.txtpb"):
        assert (
            sorted(path.name.removesuffix(suffix) for path in PROGRAMS.glob(f"*{suffix}")) == NAMES
        )


@pytest.mark.parametrize("name", NAMES)
def test_sources_and_output_agree(name: str, tmp_path: Path) -> None:
    committed = (PROGRAMS / "p4c-version").read_text("utf-8").strip()
    if shutil.which(COMPILER) is None:
        pytest.skip(f"{COMPILER} is not on the PATH: nothing to compare with")
    if version() != committed:
        pytest.skip(f"the output was made by {committed}; here is {version()}")
    made, p4info = tmp_path / "made.json", tmp_path / "made.p4info.txtpb"
    command = [COMPILER, "--std", "p4-16", "--arch", "v1model", "-o", str(made)]
    command += ["--p4runtime-files", str(p4info), f"{name}.p4"]
    subprocess.run(command, cwd=PROGRAMS, capture_output=True, check=True)
    remedy = f"run programs/compile.sh {name}, and record BMv2 anew if packets change"
    assert json.loads(made.read_bytes()) == json.loads((PROGRAMS / f"{name}.json").read_bytes()), (
        remedy
    )
    assert p4info.read_bytes() == (PROGRAMS / f"{name}.p4info.txtpb").read_bytes(), remedy

# SPDX-License-Identifier: Apache-2.0
"""Commands that are the repository's tools, and the list of commands that were promised."""

from __future__ import annotations

import subprocess
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from p4ct.cli import checkout, main

from ..daemon.bench import ROOT, SCRIPTS

PROMISED = {
    "run": (), "check-config": (), "status": (), "top": (), "explain": (), "doctor": (),
    "p4info": (), "shell": (),
    "conntrack": ("list", "count", "flush", "events"),
    "offload": ("list", "pending", "why"),
    "flows": ("list", "add", "delete", "replace"),
}  # fmt: skip


@pytest.mark.parametrize("name", PROMISED)
def test_every_promised_command_is_there_and_in_the_help(name: str) -> None:
    command = main.commands[name]
    assert f"\n  {name} " in CliRunner().invoke(main, ["--help"]).output
    if PROMISED[name]:
        assert isinstance(command, click.Group)
        assert set(PROMISED[name]) <= command.commands.keys()


def test_the_doctor_comes(tmp_path: Path) -> None:
    done = subprocess.run(
        [SCRIPTS / "p4ct", "doctor"], cwd=tmp_path, capture_output=True, text=True, timeout=100
    )
    assert "ok   Python " in done.stdout
    assert "everything that make run needs works" in done.stdout
    assert (done.returncode, done.stderr) == (0, "")


def test_the_shell_script_is_there() -> None:
    assert checkout._tool("shell.sh") == ROOT / "tools/shell.sh"


@pytest.mark.parametrize("name", ["doctor", "shell"])
def test_without_a_checkout(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkout, "ROOT", Path("/nowhere"))
    result = CliRunner().invoke(main, [name])
    assert result.exit_code == 1
    assert "this command belongs to a checkout of the repository" in result.output

# SPDX-License-Identifier: Apache-2.0
"""The controller through its command: answers, errors, and sums over a connection."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from topo import control
from topo.control import CommandFailed


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A program that stands for p4ct; tests write its text."""
    program = tmp_path / "p4ct"
    monkeypatch.setattr(control, "own_command", lambda _name: str(program))
    return program


def answer(program: Path, text: str) -> None:
    program.write_text(f"#!{shutil.which('sh')}\n{text}\n", encoding="utf-8")
    program.chmod(0o755)


def test_a_failing_command_is_quoted_with_what_it_said(command: Path) -> None:
    answer(command, "echo 'error: no controller' >&2; echo 'start it' >&2; exit 4")
    with pytest.raises(CommandFailed) as found:
        control.status()
    assert str(found.value) == "p4ct status --json: exit code 4: error: no controller | start it"


def test_a_command_that_hangs_is_given_up(command: Path) -> None:
    answer(command, "exec sleep 60")
    with pytest.raises(CommandFailed, match=r"p4ct status: no answer in 0 s"):
        control.p4ct("status", timeout=0.2)


def test_an_answer_that_is_not_json_is_named(command: Path) -> None:
    answer(command, "echo hello")
    with pytest.raises(CommandFailed, match="status --json: not JSON"):
        control.status()


LIST = """
cat <<'END'
[{"original": {"sport": 4000, "dport": 80, "packets": 7}, "reply": {"packets": 5},
  "hw": {"original": {"packets": 4}, "reply": {"packets": 3}}, "offloaded": false},
 {"original": {"sport": 4001, "dport": 80, "packets": 1}, "reply": {"packets": 1},
  "hw": {"original": {"packets": 0}, "reply": {"packets": 0}}, "offloaded": true}]
END
"""


def test_connections_are_found_by_port(command: Path) -> None:
    answer(command, LIST)
    assert len(control.connections(dport=80)) == 2
    (found,) = control.connections(sport=4000, dport=80)
    assert (control.all_packets(found), control.hardware_packets(found)) == (12, 7)
    assert control.offloaded(4001)
    assert not control.offloaded(4000)
    assert not control.offloaded(4002)


def test_entries_that_outlive_a_controller_are_counted_once(command: Path) -> None:
    answer(
        command,
        """case "$*" in
        *"offload list"*) echo '[{"entries": [{"packets": 30}, {"packets": 10}]}]' ;;
        *) echo '{"packets": {"fast_path": 100, "punted": 5}}' ;;
        esac""",
    )
    assert control.counts_of_this_life()["packets"] == {"fast_path": 60, "punted": 5}


def test_waiting_ends_with_the_condition_or_the_time() -> None:
    looks = iter([False, False, True])
    assert control.wait_until(lambda: next(looks), timeout=10.0, interval=0.0) is not None
    assert control.wait_until(lambda: False, timeout=0.0, interval=0.0) is None

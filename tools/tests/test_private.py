# SPDX-License-Identifier: Apache-2.0
"""tools/private.py: what is started in the namespaces ends with them, in whatever way."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools import private

SCRIPT = Path(private.__file__)
RUN = [sys.executable, str(SCRIPT), "--"]
#: A command that makes an interface and leaves two processes behind, one that ignores every request
#: to end; it writes the word "ready" when all of that is so.
STUBBORN = """
trap '' TERM INT HUP
ip link add pt0 type veth peer name pt1
setsid sleep {marker} &
sleep {marker} &
echo ready
wait
"""


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*RUN, *command], capture_output=True, text=True, check=False)


def test_the_command_is_root_of_an_empty_network() -> None:
    done = run("sh", "-c", "id -u; ls /sys/class/net; ip -o link show up; touch /run/mine")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == ["0", "lo"]
    assert "LOOPBACK,UP" in lines[2]
    assert not Path("/run/mine").exists()


@pytest.mark.parametrize(("command", "code"), [("exit 7", 7), ("kill -9 $$", 137)])
def test_the_exit_code_is_the_commands(command: str, code: int) -> None:
    assert run("sh", "-c", command).returncode == code


def test_a_command_that_is_not_there_is_named() -> None:
    done = run("no-such-command")
    assert done.returncode == 127
    assert "cannot run no-such-command" in done.stderr


def processes_with(marker: str) -> list[str]:
    """Process ids, in our namespace, of commands with an argument."""
    found: list[str] = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and marker.encode() in (entry / "cmdline").read_bytes().split(
                b"\0"
            ):
                found.append(entry.name)
    return found


@pytest.fixture
def stubborn() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running private namespace with processes in it, and the argument to know them by."""
    marker = f"{100000 + os.getpid()}"
    process = subprocess.Popen(
        [*RUN, "sh", "-c", STUBBORN.format(marker=marker)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "P4CT_GRACE": "0.5"},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    deadline = time.monotonic() + 10.0
    while len(processes_with(marker)) < 2:  # forked already, but still the shell's own arguments
        assert time.monotonic() < deadline
        time.sleep(0.01)
    yield process, marker
    process.kill()
    process.communicate()


def wait_for_end(marker: str, seconds: float) -> list[str]:
    """What is left of the processes after at most `seconds`."""
    deadline = time.monotonic() + seconds
    while (left := processes_with(marker)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_nothing_outlives_it(
    stubborn: tuple[subprocess.Popen[str], str], number: signal.Signals
) -> None:
    process, marker = stubborn
    process.send_signal(number)
    assert wait_for_end(marker, 5.0) == []


def test_a_command_may_end_in_its_own_way() -> None:
    """SIGTERM to the outer process reaches the command, which decides on its exit code."""
    command = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.1; done"
    process = subprocess.Popen([*RUN, "sh", "-c", command], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    output, _ = process.communicate(timeout=20.0)
    assert output == "bye\n"
    assert process.returncode == 3


def test_a_user_without_namespaces_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(
        private, "read_knob", lambda path: "0" if path.endswith("max_user_namespaces") else ""
    )
    with pytest.raises(private.CannotIsolate) as found:
        private.choose_flags("false")
    assert "sysctl -w user.max_user_namespaces=15000" in str(found.value)
    assert "sudo" in str(found.value)


def test_a_container_without_rights_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(private, "read_knob", lambda _path: "")
    with pytest.raises(private.CannotIsolate, match="CAP_SYS_ADMIN"):
        private.choose_flags("false")


def test_missing_unshare_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(private, "SBIN", ())
    with pytest.raises(private.CannotIsolate, match="util-linux"):
        private.outer(["true"])

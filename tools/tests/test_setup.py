# SPDX-License-Identifier: Apache-2.0
"""tools/setup.sh: what it says when something is missing.  Nothing is installed here."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SETUP = ROOT / "tools" / "setup.sh"
#: What the script itself and the checks need; everything else is missing on the doctored PATH.
BASICS = (
    "sh",
    "dirname",
    "id",
    "cat",
    "stat",
    "mkdir",
    "sha256sum",
    "grep",
    "printf",
    "rm",
    "tail",
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder that looks like a checkout to the script."""
    (tmp_path / "repo" / "tools").mkdir(parents=True)
    shutil.copy(SETUP, tmp_path / "repo" / "tools")
    return tmp_path / "repo"


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    """A folder with BASICS only, to be the PATH."""
    folder = tmp_path / "commands"
    folder.mkdir()
    for name in BASICS:
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    return folder


def script(folder: Path, name: str, text: str) -> None:
    """Put a program into a folder, replacing one of that name."""
    path = folder / name
    path.unlink(missing_ok=True)
    path.write_text(f"#!{shutil.which('sh')}\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


def run(checkout: Path, commands: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script with a doctored PATH and an interpreter that is not there."""
    environment = {"PATH": str(commands), "P4CT_SYSTEM_PYTHON": "/nonexistent/python3"}
    return subprocess.run(
        [str(commands / "sh"), str(checkout / "tools" / "setup.sh"), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_ordinary_user_is_told_the_packages_and_the_command(
    checkout: Path, commands: Path
) -> None:
    script(commands, "id", "echo 1000")
    script(commands, "apt-get", "echo must not be called; exit 99")
    done = run(checkout, commands)
    assert done.returncode == 1
    assert "error: missing Debian packages: python3 python3-venv gcc" in done.stderr
    assert "sudo apt-get install --no-install-recommends python3 python3-venv gcc" in done.stderr
    assert "must not be called" not in done.stdout + done.stderr


def test_a_system_without_apt_is_told_what_is_missing(checkout: Path, commands: Path) -> None:
    done = run(checkout, commands)
    assert done.returncode == 1
    assert "there is no apt-get to install it with: python3 python3-venv gcc" in done.stderr


def test_root_installs_exactly_what_is_missing(checkout: Path, commands: Path) -> None:
    script(commands, "id", "echo 0")
    script(commands, "apt-get", 'echo "$@" >> "$(dirname "$0")/calls"')
    done = run(checkout, commands, "--commands")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("[1/4] Debian packages: python3 python3-venv gcc")
    calls = (commands / "calls").read_text(encoding="utf-8").splitlines()
    assert len(calls) == 1
    assert calls[0].startswith("install --yes --no-install-recommends python3 python3-venv gcc")


def test_package_lists_are_updated_only_when_needed(checkout: Path, commands: Path) -> None:
    script(commands, "id", "echo 0")
    script(
        commands,
        "apt-get",
        'd=$(dirname "$0"); echo "$1" >> "$d/calls"\n'
        '[ "$1" = update ] && : > "$d/updated"; test -e "$d/updated"',
    )
    done = run(checkout, commands, "--commands")
    assert done.returncode == 0, done.stderr
    calls = (commands / "calls").read_text(encoding="utf-8").split()
    assert calls == ["install", "update", "install"]


def test_a_failing_installation_shows_its_end_and_the_log(checkout: Path, commands: Path) -> None:
    script(commands, "id", "echo 0")
    script(commands, "apt-get", "echo E: no network here; exit 100")
    done = run(checkout, commands, "--commands")
    assert done.returncode == 1
    assert "E: no network here" in done.stderr
    assert "the whole output is in build/logs/apt.log" in done.stderr


def test_an_interruption_is_one_line_even_in_the_middle_of_a_step(
    checkout: Path, commands: Path
) -> None:
    script(commands, "id", "echo 0")
    script(commands, "apt-get", "kill -INT $PPID; exit 130")
    done = run(checkout, commands)
    assert done.returncode == 130
    assert done.stderr.startswith("interrupted during set-up; run the same command again")
    assert len(done.stderr.splitlines()) == 1


def test_an_interpreter_that_is_too_old_is_named(checkout: Path, commands: Path) -> None:
    old = commands / "old-python"
    script(
        commands,
        "old-python",
        '[ "$1" = --version ] && echo Python 3.9.2; case $2 in *version_info*) exit 1;; esac',
    )
    environment = {"PATH": os.environ["PATH"], "P4CT_SYSTEM_PYTHON": str(old)}
    done = subprocess.run(
        [str(checkout / "tools" / "setup.sh")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Python 3.9.2; 3.11 or newer is needed" in done.stderr
    assert "P4CT_SYSTEM_PYTHON=" in done.stderr

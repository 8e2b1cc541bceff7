# SPDX-License-Identifier: Apache-2.0
"""`p4ct doctor` and `p4ct shell`: what the repository's tools do, by the command's name."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from p4ct.cli.common import CONTEXT

__all__ = ["doctor", "shell"]

ROOT = Path(__file__).resolve().parents[3]
"""The repository, if the package runs from one."""


@click.command(context_settings=CONTEXT)
def doctor() -> None:
    """Say what works here, and what to do about the rest.

    Exit code 1 if something is missing that "make run" needs. The same as "make doctor".

    \b
    Example:
      p4ct doctor
    """
    _become(sys.executable, str(_tool("doctor.py")))


@click.command(context_settings=CONTEXT)
@click.argument("address", default="127.0.0.1:9559")
def shell(address: str) -> None:
    """Open p4runtime-shell on the target at ADDRESS.

    It comes as a backup controller: it reads, and the primary one goes on writing. ADDRESS is
    HOST:PORT, 127.0.0.1:9559 if it is not given. The first time it is installed, in an environment
    of its own, because its pins clash with ours. The same as "make shell".

    \b
    Example:
      p4ct shell 127.0.0.1:9559
    """
    _become("/bin/sh", str(_tool("shell.sh")), address)


def _tool(name: str) -> Path:
    """A file of the repository's tools. Raises click.ClickException."""
    path = ROOT / "tools" / name
    if not path.is_file():
        raise click.ClickException(
            f"there is no {path}: this command belongs to a checkout of the repository; set one up "
            "with 'make setup', and use its .venv/bin/p4ct"
        )
    return path


def _become(*command: str) -> NoReturn:
    """Go on as another program: terminal, signals and exit code are its own."""
    sys.stdout.flush()
    os.execv(command[0], command)

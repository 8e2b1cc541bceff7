# SPDX-License-Identifier: Apache-2.0
"""What a benchmark ran on."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

import msgspec

from bench.measure import ROOT


class Machine(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The machine and the software; a word in brackets stands for what could not be found out."""

    cpu: str
    cores: int
    memory_mib: int
    kernel: str
    python: str
    compiler: str
    bmv2: str
    commit: str


def first_line(command: list[str]) -> str:
    """First line of what a command prints; "(none)" if there is no such command, or it fails."""
    if shutil.which(command[0]) is None:
        return "(none)"
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    lines = done.stdout.strip().splitlines()
    return lines[0] if done.returncode == 0 and lines else "(none)"


def field(path: str, key: str) -> str:
    """The value of the first line "key : value" of a file below /proc; "(unknown)" without one."""
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return "(unknown)"


def describe() -> Machine:
    """This machine."""
    memory = field("/proc/meminfo", "MemTotal").split()[0]
    commit = first_line(["git", "describe", "--always", "--dirty", "--abbrev=12"])
    return Machine(
        cpu=field("/proc/cpuinfo", "model name"),
        cores=len(os.sched_getaffinity(0)),
        memory_mib=int(memory) // 1024 if memory.isdigit() else 0,
        kernel=platform.release(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        compiler=first_line(["cc", "--version"]),
        bmv2=first_line(["simple_switch_grpc", "--version"]),
        commit=commit,
    )


def load_average() -> tuple[float, float, float]:
    """Runnable processes, averaged over 1, 5 and 15 minutes: the company a benchmark had."""
    one, five, fifteen = os.getloadavg()
    return round(one, 2), round(five, 2), round(fifteen, 2)

# SPDX-License-Identifier: Apache-2.0
"""Fuzz the generated code, the runtime and the P4Runtime server, built with sanitizers.

    make fuzz [PACKETS=10000000] [REQUESTS=100000] [SEED=1]

Address, leak and undefined-behaviour sanitizers. The same seed gives the same packets and requests.
What was found is printed with its input; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from softswitch import compiler

from .packets import PROGRAMS, TESTS, Found, run

REQUEST_PROGRAMS = ("eswitch", "l2", "selector")


def _show(line: str) -> None:
    print(line, end="", flush=True)


def fuzz_requests(
    count: int,
    seed: int,
    programs: tuple[str, ...] = REQUEST_PROGRAMS,
    say: Callable[[str], None] = _show,
) -> str:
    """Run requests.py with libasan in it; what it printed, `say` gets each line. Raises Found."""
    library = subprocess.run(
        [compiler.find_compiler(), "-print-file-name=libasan.so"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    with tempfile.TemporaryDirectory() as folder:
        current = Path(folder) / "current"
        # Python never gives back all of its memory, so leaks are looked for in fuzz.c only.
        options = "detect_leaks=0:abort_on_error=0:exitcode=99"
        environment = {**os.environ, "LD_PRELOAD": library, "ASAN_OPTIONS": options}
        environment["PYTHONPATH"] = str(TESTS.parent)
        words = ["--requests", str(count), "--seed", str(seed), "--current", str(current)]
        command = [sys.executable, "-m", "tests.fuzz.requests", *words, *programs]
        errors = Path(folder) / "errors"
        lines: list[str] = []
        with (
            errors.open("wb") as file,
            subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=file, text=True
            ) as process,
        ):
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                say(line)
        if process.returncode != 0:
            request = current.read_text() if current.exists() else "before the first request"
            said = errors.read_text(errors="replace")[-8000:]
            raise Found(f"exit code {process.returncode}\n{request}\n{said}")
        return "".join(lines)


def main() -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--packets", type=int, default=10_000_000)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    try:
        for name in PROGRAMS:
            with tempfile.TemporaryDirectory() as folder:
                run(name, arguments.seed, arguments.packets // len(PROGRAMS), Path(folder))
        if arguments.requests:
            fuzz_requests(arguments.requests, arguments.seed)
    except Found as found:
        print(f"found with seed {arguments.seed}:\n{found}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""Builds fuzz.c with the runtime and one program, all with sanitizers, and runs it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from softswitch.codegen.generate import generate
from softswitch.program import Program

from softswitch import compiler

from . import corpus

HERE = Path(__file__).resolve().parent
TESTS = HERE.parent
ROOT = TESTS.parent.parent
PROGRAMS = {
    "eswitch": ROOT / "p4src/compiled/eswitch.json",
    "l2": TESTS / "programs/compiled/l2.json",
    "digest": TESTS / "v1model/programs/digest.json",
    "selector": TESTS / "v1model/programs/selector.json",
}


class Found(Exception):
    """A sanitizer, or the fuzzer's own check, found something; the text has the input."""


def build(program: Program, folder: Path) -> Path:
    """The executable. Raises Found with the compiler's words."""
    sources = {
        **compiler.runtime_sources(),
        "program.c": generate(program.ir),
        "fuzz.c": (HERE / "fuzz.c").read_text("utf-8"),
    }
    for name, text in sources.items():
        (folder / name).write_text(text, "utf-8")
    files = sorted(name for name in sources if name.endswith(".c"))
    flags = ["-std=gnu11", "-pthread", "-Wall", "-Wextra", *compiler.SANITIZED]
    command = [compiler.find_compiler(), *flags, "-o", "fuzz", *files]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Found(f"{' '.join(command)}:\n{done.stderr[-3000:]}")
    return folder / "fuzz"


def run(name: str, seed: int, packets: int, folder: Path, *, quiet: bool = False) -> str:
    """Fuzz one program; its last line. Raises Found."""
    program = Program.load(PROGRAMS[name].read_bytes())
    executable = build(program, folder)
    (folder / "corpus").write_bytes(corpus.make(program, seed))
    command = [str(executable), str(folder / "corpus"), str(seed), str(packets)]
    last = ""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            last = line.strip()
            if not quiet:
                print(f"{name}: {last}", flush=True)
        errors = process.stderr.read()
    if process.returncode != 0:
        raise Found(f"{name}, seed {seed}: exit code {process.returncode}\n{errors[-8000:]}")
    return last

# SPDX-License-Identifier: Apache-2.0
"""Builds shared objects with the system's C compiler and keeps them in a cache.

The name of a cached file is the SHA-256 of everything that it depends on: sources, flags, the
compiler's version and the processor (code is built for this machine).
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from softswitch.errors import CompilerFailed, NoCompiler, SoftswitchError

FLAGS = ("-std=gnu11", "-fPIC", "-shared", "-pthread", "-Wall", "-Wextra")
OPTIMISED = ("-O2", "-march=native")
SANITIZED = (
    "-O1",
    "-g",
    "-fno-omit-frame-pointer",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
)
TIMEOUT_S = 300


def default_cache_dir() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(base if base else "~/.cache").expanduser() / "softswitch"


@functools.cache
def runtime_sources() -> Mapping[str, str]:
    """File name -> text of the C files that come with the package."""
    folder = Path(__file__).parent / "runtime"
    return {
        item.name: item.read_text("utf-8")
        for item in sorted(folder.iterdir())
        if item.suffix in (".c", ".h")
    }


def find_compiler() -> str:
    for name in (os.environ.get("CC"), "cc", "gcc", "clang"):
        path = shutil.which(name) if name else None
        if path:
            return path
    raise NoCompiler(
        "no C compiler found (looked for $CC, cc, gcc and clang): softswitch compiles the pipeline"
        " to native code. Install one, for example: apt-get install gcc libc6-dev"
    )


def build_runtime(cache_dir: Path | None = None, *, sanitize: bool = False) -> Path:
    """The runtime's shared object."""
    sources = {name: text for name, text in runtime_sources().items() if name.endswith(".c")}
    return _build("runtime", sources, cache_dir, sanitize)


def build_program(source: str, cache_dir: Path | None = None, *, sanitize: bool = False) -> Path:
    """The shared object of one generated program."""
    return _build("program", {"program.c": source}, cache_dir, sanitize)


def _build(kind: str, sources: Mapping[str, str], cache_dir: Path | None, sanitize: bool) -> Path:
    compiler = find_compiler()
    flags = (*FLAGS, *(SANITIZED if sanitize else OPTIMISED))
    digest = hashlib.sha256(_machine(compiler).encode())
    for part in (*flags, *_pairs(runtime_sources()), *_pairs(sources)):
        digest.update(part.encode() + b"\0")
    folder = _usable(cache_dir or default_cache_dir())
    target = folder / f"{kind}-{digest.hexdigest()}.so"
    if not target.exists():
        _compile(compiler, flags, sources, target)
    return target


def _pairs(files: Mapping[str, str]) -> list[str]:
    return [text for item in files.items() for text in item]


@functools.cache
def _machine(compiler: str) -> str:
    """What `-march=native` and the compiler make of the same source."""
    run = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False)
    cpu = ""
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith(("flags", "model name", "Features")):
                cpu += line
                if line.startswith(("flags", "Features")):
                    break
    except OSError:
        cpu = "unknown"
    return f"{compiler}\n{run.stdout}\n{os.uname().machine}\n{cpu}"


def _usable(folder: Path) -> Path:
    """The cache holds code that is loaded: nobody else may be able to write into it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError as error:
        raise SoftswitchError(
            f"cache directory {folder} cannot be made: {error.strerror}; set XDG_CACHE_HOME"
        ) from None
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise SoftswitchError(
            f"cache directory {folder} can be written by others: it must belong to this user"
            " and have mode 0700 (or set XDG_CACHE_HOME)"
        )
    return folder


def _compile(
    compiler: str, flags: tuple[str, ...], sources: Mapping[str, str], target: Path
) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="build-") as work:
        for name, text in {**runtime_sources(), **sources}.items():
            (Path(work) / name).write_text(text, "utf-8")
        command = [compiler, *flags, "-o", "out.so", *sources]
        # A sanitizer that is preloaded into this process would report the compiler's own leaks.
        environment = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
        try:
            run = subprocess.run(
                command,
                cwd=work,
                env=environment,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CompilerFailed(f"{' '.join(command)}: {error}") from None
        if run.returncode != 0:
            raise CompilerFailed(
                f"{compiler} failed with status {run.returncode}:\n{run.stderr[-4000:]}"
            )
        os.replace(Path(work) / "out.so", target)

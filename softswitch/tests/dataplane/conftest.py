# SPDX-License-Identifier: Apache-2.0
"""Fixtures: one compiler cache for the run, and a data plane with memory ports."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from softswitch.dataplane import Dataplane
from softswitch.program import Program

from .builder import Builder
from .links import ip, make_veth

SANITIZE = os.environ.get("SOFTSWITCH_SANITIZE") == "1"
"""Builds everything with the sanitizers; run with LD_PRELOAD=$(cc -print-file-name=libasan.so)."""

Runner = Callable[..., Dataplane]


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    folder.chmod(0o700)
    return folder


@pytest.fixture
def run(cache_dir: Path) -> Iterator[Runner]:
    """`run(builder)` loads the program into a data plane with memory ports 0 to 4.

    CPU port 510, and a clock that stands still at 1 s."""
    planes: list[Dataplane] = []

    def make(program: Builder | bytes) -> Dataplane:
        data = program if isinstance(program, bytes) else program.json()
        plane = Dataplane(cpu_port=510, cache_dir=cache_dir, sanitize=SANITIZE)
        planes.append(plane)
        for port in range(5):
            plane.add_memory_port(port)
        plane.set_clock_ns(1_000_000_000)
        plane.load(Program.load(data, cache_dir=cache_dir, sanitize=SANITIZE))
        return plane

    yield make
    for plane in planes:
        plane.stop()


@pytest.fixture
def load(cache_dir: Path) -> Callable[[Builder | bytes], Program]:
    def make(program: Builder | bytes) -> Program:
        data = program if isinstance(program, bytes) else program.json()
        return Program.load(data, cache_dir=cache_dir, sanitize=SANITIZE)

    return make


def sent(plane: Dataplane, port: int) -> list[bytes]:
    """All frames that left on a memory port. Injected frames are processed at once: no waiting."""
    frames: list[bytes] = []
    while (frame := plane.read_memory_port(port, 0)) is not None:
        frames.append(frame)
    return frames


@pytest.fixture
def veths() -> Iterator[list[tuple[str, str]]]:
    if os.geteuid() != 0:
        pytest.fail("needs root to make interfaces; run it as: tools/private.py -- pytest …")
    pairs: list[tuple[str, str]] = []
    try:
        pairs += [make_veth(0), make_veth(1, 9000)]
        ip("link", "set", pairs[0][0], "mtu", "9000")
        ip("link", "set", pairs[0][1], "mtu", "9000")
        yield pairs
    finally:
        for near, _ in pairs:
            subprocess.run(["ip", "link", "del", near], check=False, capture_output=True)

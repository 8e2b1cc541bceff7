# SPDX-License-Identifier: Apache-2.0
"""Programs that p4c compiled, in a data plane with memory ports (see programs/compile.sh)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from softswitch.dataplane import Dataplane
from softswitch.program import Program

SANITIZE = os.environ.get("SOFTSWITCH_SANITIZE") == "1"
PROGRAMS = Path(__file__).parent / "programs"
PORTS = range(8)
CPU_PORT = 510

Runner = Callable[[str], Dataplane]


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    folder.chmod(0o700)
    return folder


@pytest.fixture
def run(cache_dir: Path) -> Iterator[Runner]:
    """`run(name)` loads programs/<name>.json; ports 0 to 7, CPU port 510, a clock at 1 s."""
    planes: list[Dataplane] = []

    def make(name: str) -> Dataplane:
        plane = Dataplane(cpu_port=CPU_PORT, cache_dir=cache_dir, sanitize=SANITIZE)
        planes.append(plane)
        for port in PORTS:
            plane.add_memory_port(port)
        plane.set_clock_ns(1_000_000_000)
        data = (PROGRAMS / f"{name}.json").read_bytes()
        plane.load(Program.load(data, cache_dir=cache_dir, sanitize=SANITIZE))
        return plane

    yield make
    for plane in planes:
        plane.stop()


def sent(plane: Dataplane) -> list[tuple[int, bytes]]:
    """(port, frame) of all that left, by port; injected frames are processed at once."""
    frames: list[tuple[int, bytes]] = []
    for port in (port for port, ifname in plane.ports().items() if ifname is None):
        while (frame := plane.read_memory_port(port, 0)) is not None:
            frames.append((port, frame))
    return frames + [(CPU_PORT, frame) for frame in plane.wait_packet_ins(0)]


def through(plane: Dataplane, frame: bytes, port: int = 0) -> list[tuple[int, bytes]]:
    plane.inject(port, frame)
    return sent(plane)

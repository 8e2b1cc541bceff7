# SPDX-License-Identifier: Apache-2.0
"""Two veth pairs for packet rates, what is sent through them, and what arrives.

    generator ─ g0═a0 ─ subject ─ b0═s0 ─ counted by the kernel

Only a0 and b0 belong to the subject. Frames at s0 are for a MAC address that is not its own, so the
kernel counts and drops them without a reader, which would need a share of the cores.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.measure import BUILD, ROOT, BenchFailed

GENERATOR_END, IN, OUT, SINK = "g0", "a0", "b0", "s0"
SOURCE_MAC, ROUTER_MAC, SINK_MAC = "02:00:00:00:00:01", "02:00:00:00:00:aa", "02:00:00:00:00:99"
SOURCE_IP, FIRST_TARGET = 0x0A000001, 0x0A800000
SPORT, DPORT = 1000, 2000
OFFLOADS = ("rx", "tx", "sg", "tso", "gso", "gro", "rxvlan", "txvlan")
NATIVE = ROOT / "bench" / "native"


def run(*command: str) -> str:
    """Output of a command. Raises BenchFailed with what it said."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise BenchFailed(f"{command[0]}: {error.strerror}") from None
    if done.returncode != 0:
        raise BenchFailed(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()[-400:]}")
    return done.stdout


def native(name: str) -> Path:
    """A program of bench/native, compiled if it is not yet, or has changed."""
    folder = BUILD / "native"
    folder.mkdir(parents=True, exist_ok=True)
    program, source = folder / name, NATIVE / f"{name}.c"
    newest = max(path.stat().st_mtime for path in (source, NATIVE / "ring.h"))
    if not program.exists() or program.stat().st_mtime < newest:
        compiler = shutil.which(os.environ.get("CC", "cc"))
        if compiler is None:
            raise BenchFailed("no C compiler: install gcc and libc6-dev")
        run(compiler, "-O2", "-march=native", "-o", str(program), str(source))
    return program


@contextmanager
def links() -> Iterator[None]:
    """The two pairs, quiet: no IPv6, no offloads."""
    for near, far in ((GENERATOR_END, IN), (SINK, OUT)):
        run("ip", "link", "add", near, "type", "veth", "peer", "name", far)
    try:
        run("ip", "link", "set", IN, "address", ROUTER_MAC)
        for name in (GENERATOR_END, IN, OUT, SINK):
            Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
            for feature in OFFLOADS:  # some are fixed on some kernels
                subprocess.run(["ethtool", "-K", name, feature, "off"], capture_output=True)
            run("ip", "link", "set", name, "up")
        yield
    finally:
        for near in (GENERATOR_END, SINK):
            with contextlib.suppress(BenchFailed):
                run("ip", "link", "delete", near)


@dataclass(frozen=True)
class Trial:
    """What one transmission gave. `rate`: packets a second that were really sent."""

    sent: int
    received: int
    seconds: float
    busy_s: float

    @property
    def rate(self) -> float:
        return self.sent / self.seconds

    @property
    def arrived(self) -> float:
        """Packets a second that arrived."""
        return self.received / self.seconds

    @property
    def loss(self) -> float:
        return max(0.0, 1 - self.received / self.sent) if self.sent else 0.0


def received() -> int:
    """Frames that have arrived at the sink."""
    return int(Path(f"/sys/class/net/{SINK}/statistics/rx_packets").read_text())


def busy_seconds() -> float:
    """Processor time that the whole machine has spent at work."""
    words = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, _idle, _wait, irq, softirq = (int(word) for word in words[:7])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def cores() -> tuple[str, str]:
    """(core of the generator, cores of the subject) for taskset; the same where there is one."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) == 1:
        return str(usable[0]), str(usable[0])
    return str(usable[0]), ",".join(str(core) for core in usable[1:])


def send(rate: float, seconds: float, size: int, flows: int, to_router: bool = False) -> Trial:
    """One transmission, and what arrived once it had ended."""
    target = ROUTER_MAC if to_router else SINK_MAC
    before, busy = received(), busy_seconds()
    words = [GENERATOR_END, f"{rate:.0f}", f"{seconds:g}", str(size), str(flows)]
    output = run("taskset", "-c", cores()[0], str(native("generator")), *words, target, SOURCE_MAC)
    sent, nanoseconds = (int(word) for word in output.split())
    last = received()
    for _ in range(50):  # a slow subject has some left in its queues
        time.sleep(0.02)
        now = received()
        if now == last:
            break
        last = now
    return Trial(sent, last - before, nanoseconds / 1e9, busy_seconds() - busy)


def check_path(size: int, flows: int, to_router: bool = False) -> None:
    """The subject sends on what it should: every frame has the size and an address that we sent.
    Raises BenchFailed."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as reader:
        reader.bind((SINK, 3))  # ETH_P_ALL; until here it captures nothing
        reader.settimeout(2)
        trial = send(2000, 0.2, size, flows, to_router)
        for _ in range(min(trial.received, 50)):
            frame = reader.recv(65536)
            target = int.from_bytes(frame[30:34], "big") - FIRST_TARGET
            if len(frame) != size or frame[12:14] != b"\x08\x00" or not 0 <= target < flows:
                raise BenchFailed(f"the subject sent something else: {frame[:48].hex()}")
    if trial.loss > 0.01:
        raise BenchFailed(f"only {trial.received} of {trial.sent} frames came through at 2000/s")


def lossless(
    seconds: float, size: int, flows: int, tolerance: float, steps: int, to_router: bool = False
) -> tuple[Trial, float]:
    """(the fastest trial that lost at most `tolerance`, packets/s that pass when there are more).

    As RFC 2544, section 26.1, with a tolerance, because other processes take a core for a moment
    now and then.
    """
    flood = send(0, seconds, size, flows, to_router)
    if flood.loss <= tolerance:
        return flood, flood.arrived
    low, high = 0.25 * flood.arrived, min(1.3 * flood.arrived, flood.rate)
    best: Trial | None = None
    for _ in range(steps):
        middle = (low + high) / 2
        trial = send(middle, seconds, size, flows, to_router)
        if trial.loss > tolerance:
            trial = send(middle, seconds, size, flows, to_router)  # once more: it may be bad luck
        if trial.loss <= tolerance:
            low, best = middle, trial if best is None or trial.rate > best.rate else best
        else:
            high = middle
    for _ in range(6):
        if best is not None:
            break
        trial = send(low, seconds, size, flows, to_router)
        best = trial if trial.loss <= tolerance else None
        low /= 2
    if best is None:
        raise BenchFailed(f"losses even at {2 * low:,.0f} packets/s: is the machine busy?")
    return best, flood.arrived

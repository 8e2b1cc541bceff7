# SPDX-License-Identifier: Apache-2.0
"""What a packet costs in software: pure Python, one core, offload disabled.

Each step includes the ones before it, over the same frames of the same live connections: parsing,
conntrack, the pipeline with the topology's policy, and the whole handling of a punt but for gRPC.
In operation none of these frames would come up once its connection is offloaded; this is the cost
of what is not offloaded.  Imports p4ct, because a process cannot be measured so from outside.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

from p4ct.conntrack import Tracker
from p4ct.daemon.slow_path import SlowPath
from p4ct.eswitch.entries import PuntInfo
from p4ct.offload.manager import OffloadManager, OffloadOptions
from p4ct.packet.parse import parse
from p4ct.pipeline import Pipeline, PortTable, Vport, parse_flows

from bench.frames import data_frames, life_frames
from bench.measure import ROOT, BenchFailed, Measured, Run, Setting

TITLE = "the slow path in pure Python, one core"
POLICY = ROOT / "topo" / "policy.flows"
ZONE = 1
#: Source ports from here on: live connections, and those that come and go.
LIVE, PASSING = 1024, 40000
#: Seconds between rounds: longer than TIME_WAIT, so that the passing connections are gone.
BETWEEN_ROUNDS = 121.0

PARSE, PUNT = "parse", "whole punt"


class Bench:
    """A slow path with nothing behind it, and frames to put into it."""

    def __init__(self, policy: Path, live: int, passing: int) -> None:
        vports = [Vport(id=n, name=name, port=n) for n, name in ((1, "vm1"), (2, "vm2"))]
        ports = PortTable([*vports, Vport(id=3, name="ext", port=3, kind="uplink")])
        self.tracker = Tracker(max_connections=2 * (live + passing))
        self.pipeline = Pipeline(ports, self.tracker)
        text = policy.read_text(encoding="utf-8")
        self.pipeline.replace(parse_flows(text, source=policy.name, ports=ports.numbers))
        manager = OffloadManager(self.pipeline, self.tracker, OffloadOptions(enabled=False))
        self.slow_path = SlowPath(self.pipeline, manager, lambda _port, _frame: True)
        self.live, self.passing = live, passing
        self.now = 1000.0
        for sport in range(LIVE, LIVE + live):
            self.punt(life_frames(sport)[:3])
        frames = [frame for n in range(live) for frame in data_frames(LIVE + n)]
        self.punt(frames)  # in order once: shuffled, some acknowledge what was not sent yet
        # Packets of one connection are far apart, as they are when many send at a time.
        random.Random(1).shuffle(frames)
        self.frames = frames
        self.lives = [f for n in range(passing) for f in life_frames(PASSING + n)]

    def punt(self, frames: list[tuple[int, bytes]]) -> None:
        """The whole handling of these frames."""
        punt, now = self.slow_path.punt, self.now
        for vport, frame in frames:
            # The header is decoded from the packet-in by the driver; here it is made up.
            punt(frame, PuntInfo(vport, vport, 2, 4, 0, 0, 0, 0, 0, 0, len(frame)), now)

    def only_parse(self) -> None:
        for _, frame in self.frames:
            parse(frame)

    def parse_and_track(self) -> None:
        track, now = self.tracker.track, self.now
        for _, frame in self.frames:
            track(parse(frame), ZONE, now)

    def parse_and_process(self) -> None:
        process, now = self.pipeline.process, self.now
        for vport, frame in self.frames:
            process(parse(frame), vport, now)

    def whole_punt(self) -> None:
        self.punt(self.frames)

    def check(self, sent: int, expected: int) -> None:
        """Everything was let through, and exactly the live connections are left."""
        invalid = self.tracker.stats["invalid"]
        if sent != expected or invalid:
            raise BenchFailed(f"{sent} of {expected} packets passed, {invalid} were invalid")

    def end_round(self) -> None:
        """Let the passing connections expire, and no other."""
        self.now += BETWEEN_ROUNDS
        self.tracker.expire(self.now, 10 * (self.live + self.passing))
        if len(self.tracker) != self.live:
            raise BenchFailed(f"{len(self.tracker)} connections are left of {self.live}")


def cpu_seconds(work: Callable[[], None]) -> float:
    """CPU time of this process, so that others on the machine disturb as little as possible."""
    start = time.process_time()
    work()
    return time.process_time() - start


def measure(run: Run) -> Measured:
    """All steps, one after the other in each round."""
    live, passing, rounds = run.pick(20_000, 2_000), run.pick(1_000, 200), run.pick(7, 3)
    run.progress(f"making {live} connections")
    bench = Bench(POLICY, live, passing)
    settings: dict[str, Setting] = {
        "live_connections": live,
        "passing_connections": passing,
        "packets_per_sample": len(bench.frames),
        "rounds": rounds,
        "policy": "topo/policy.flows",
        "clock": "CPU time",
    }
    measured = Measured(settings, bases=(PARSE,))
    steps = {
        PARSE: bench.only_parse,
        "parse, conntrack": bench.parse_and_track,
        "parse, conntrack, pipeline": bench.parse_and_process,
        PUNT: bench.whole_punt,
    }
    for number in range(1, rounds + 1):
        run.progress(f"round {number} of {rounds}")
        for subject, step in steps.items():
            before = bench.slow_path.sent
            seconds = cpu_seconds(step)
            measured.add("packets", subject, "packets/s", len(bench.frames) / seconds)
            if subject == PUNT:
                bench.check(bench.slow_path.sent - before, len(bench.frames))
        before = bench.slow_path.sent
        seconds = cpu_seconds(lambda: bench.punt(bench.lives))
        bench.check(bench.slow_path.sent - before, len(bench.lives))
        rate = len(bench.lives) / seconds
        measured.add("packets", "whole punt, new connections", "packets/s", rate)
        measured.add("connections", "opened and closed", "connections/s", passing / seconds)
        bench.end_round()
    return measured

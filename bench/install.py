# SPDX-License-Identifier: Apache-2.0
"""How fast the controller installs and removes offload records on a real target.

A record is two entries, with the rows that it shares with other records of its pair of hosts.  The
connections are real ones in conntrack; what is timed is `p4ct.offload.rounds` through
`p4ct.eswitch.driver`: the same policy re-check, P4Runtime messages, drain, counter reads and
zeroing as in operation.  The targets run without interfaces, beside each other, and take turns.
Imports p4ct, because the commands do not tell when a single write was answered.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from statistics import median, quantiles

from p4ct.conntrack import Tracker
from p4ct.daemon.slow_path import SlowPath
from p4ct.daemon.switch import ProgramFiles
from p4ct.eswitch.driver import Eswitch
from p4ct.eswitch.entries import EswitchError, Insert, PuntInfo, VportEntry
from p4ct.offload.manager import OffloadManager, OffloadOptions
from p4ct.offload.rounds import run_round
from p4ct.p4runtime.client import P4RuntimeClient
from p4ct.p4runtime.errors import TargetError
from p4ct.pipeline import Pipeline, PortTable, Vport, parse_flows

from bench.frames import life_frames
from bench.measure import ROOT, BenchFailed, Measured, Run
from bench.targets import BMV2, SOFTSWITCH, address_of, start, stop
from topo.processes import Service

TITLE = "offload records over P4Runtime"
COMPILED = ROOT / "p4src" / "compiled"
POLICY = ROOT / "topo" / "policy.flows"
VPORTS = ((1, "vm1"), (2, "vm2"), (3, "ext"))
BATCHES = (1, 16, 256)
FIRST_SPORT = 1024


class Offloader:
    """A controller's offload side, on one target that has just been programmed."""

    def __init__(self, target: str, program: ProgramFiles) -> None:
        self.target = target
        self.program = program
        self.client = P4RuntimeClient(address_of(target))
        self.eswitch = Eswitch(self.client, program.index)

    async def open(self) -> None:
        """Connect and push the program. Raises TargetError."""
        await self.client.connect()
        program = self.program
        await self.client.ensure_pipeline(program.p4info, program.json, program.cookie)
        vports: list[Insert] = [Insert(VportEntry(n, None, n)) for n, _ in VPORTS]
        errors = [error for error in await self.eswitch.write(vports) if error is not None]
        if errors:
            raise BenchFailed(f"{self.target}: vport: {errors[0].message}")

    async def round(self, batch: int, records: int) -> tuple[list[float], list[float]]:
        """Install so many records, then remove them: seconds of each round of writing.

        The conntrack, pipeline and manager are new each time, so that every sample starts equal.
        """
        manager = established(records, batch)
        if len(manager.to_install) != records:
            raise BenchFailed(
                f"{len(manager.to_install)} of {records} records want to be installed"
            )
        installing = await self._drain_queue(manager)
        active = list(manager.active())
        if len(active) != records:
            raise BenchFailed(
                f"{self.target}: {len(active)} of {records} installed: {manager.failed}"
            )
        for record in active:
            manager.remove(record, "bench")
        removing = await self._drain_queue(manager)
        left = await self.eswitch.read_ct_entries()
        if left or manager.drift:
            raise BenchFailed(f"{self.target}: {len(left)} entries left, drift {manager.drift}")
        return installing, removing

    async def _drain_queue(self, manager: OffloadManager) -> list[float]:
        seconds: list[float] = []
        while manager.has_work:
            start = time.perf_counter()
            await run_round(manager, self.eswitch, time.monotonic)
            seconds.append(time.perf_counter() - start)
        return seconds


def established(records: int, batch: int) -> OffloadManager:
    """Connections that have just been established, in an offload manager that wants to install
    them: two entries each, one pair of MAC addresses."""
    ports = PortTable(Vport(id=number, name=name, port=number) for number, name in VPORTS)
    tracker = Tracker(max_connections=2 * records)
    pipeline = Pipeline(ports, tracker)
    text = POLICY.read_text(encoding="utf-8")
    pipeline.replace(parse_flows(text, source=POLICY.name, ports=ports.numbers))
    manager = OffloadManager(pipeline, tracker, OffloadOptions(batch=batch))
    slow_path = SlowPath(pipeline, manager, lambda _port, _frame: True)
    now = time.monotonic()
    # The reply's half is complete once its destination was learned, so the first connection's
    # handshake must have ended before the others begin.
    for sport in range(FIRST_SPORT, FIRST_SPORT + records):
        for vport, frame in life_frames(sport)[:3]:
            info = PuntInfo(vport, vport, 2, 4, 0, 0, 0, 0, 0, 0, len(frame))
            slow_path.punt(frame, info, now)
    return manager


async def take_turns(run: Run, targets: list[str], measured: Measured) -> None:
    """All batches on all targets in each round."""
    program = ProgramFiles(COMPILED / "eswitch.p4info.txtpb", COMPILED / "eswitch.json")
    rounds = run.pick(5, 2)
    sizes = {1: run.pick(100, 20), 16: run.pick(512, 64), 256: run.pick(2048, 512)}
    measured.settings.update(
        {f"records_in_batches_of_{batch}": records for batch, records in sizes.items()}
    )
    measured.settings["rounds"] = rounds
    offloaders = [Offloader(target, program) for target in targets]
    try:
        for offloader in offloaders:
            run.progress(f"programming {offloader.target}")
            await offloader.open()
            await offloader.round(16, 16)  # what happens only once is not to be measured
        for number in range(1, rounds + 1):
            for batch, records in sizes.items():
                for offloader in offloaders:
                    run.progress(f"round {number} of {rounds}: {offloader.target}, {batch} a batch")
                    installing, removing = await offloader.round(batch, records)
                    note(measured, offloader.target, batch, records, installing, removing)
    finally:
        for offloader in offloaders:
            await offloader.client.close()


def note(
    measured: Measured,
    target: str,
    batch: int,
    records: int,
    installing: list[float],
    removing: list[float],
) -> None:
    """Add the samples of one round of one target."""

    measured.add(f"install, {batch} a batch", target, "records/s", records / sum(installing))
    measured.add(f"remove, {batch} a batch", target, "records/s", records / sum(removing))
    if batch == 1:
        last = quantiles(installing, n=20)[-1]
        measured.add("one install, median", target, "ms", 1000 * median(installing))
        measured.add("one install, 95th percentile", target, "ms", 1000 * last)
        measured.add("one removal, median", target, "ms", 1000 * median(removing))


def measure(run: Run) -> Measured:
    """Start the targets and measure. Raises BenchFailed."""
    measured = Measured({}, bases=(SOFTSWITCH, BMV2))
    targets = [SOFTSWITCH]
    if shutil.which("simple_switch_grpc") is None:
        measured.notes.append("BMv2 was left out: simple_switch_grpc is not on the PATH")
    else:
        targets.append(BMV2)
    services: list[Service] = []
    try:
        for target in targets:
            run.progress(f"starting {target}")
            services.append(start(target))
        asyncio.run(take_turns(run, targets, measured))
    except (TargetError, EswitchError) as error:
        raise BenchFailed(str(error)) from error
    finally:
        stop(services)
    return measured

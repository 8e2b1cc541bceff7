# SPDX-License-Identifier: Apache-2.0
"""Entries over P4Runtime: inserted per second, resident memory of each, and the time to start.

The same client sends the same serialized requests to softswitch and BMv2, so that what it costs is
in both figures and small.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

from bench.measure import BUILD, ROOT, BenchFailed, Measured, Run
from bench.p4rt import BATCH, Client, Program, requests
from bench.targets import BMV2, SOFTSWITCH, address_of, service, start
from topo.processes import Service, listening, own_command

TITLE = "entries over P4Runtime, memory and start"
MANY = 1_000_000


def resident(process: Service) -> int:
    """Bytes of memory that a process has in use."""
    assert process.process is not None
    for line in Path(f"/proc/{process.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise BenchFailed(f"{process.name} has no VmRSS")


def seconds_to_write(client: Client, batches: list[bytes]) -> float:
    """How long the target takes for these requests."""
    began = time.perf_counter()
    client.write(batches)
    return time.perf_counter() - began


def insert_rate(targets: list[str], run: Run, measured: Measured) -> None:
    """Both programs on all targets in turn; each round writes entries that are not there yet."""
    rounds, count = run.pick(5, 2), run.pick(20_000, 5_000)
    for name in ("eswitch", "one_table"):
        program = Program(name)
        for number in range(1, rounds + 1):
            for target in targets:
                run.progress(f"{name}, round {number} of {rounds}: {target}")
                process = start(target)
                try:
                    with Client(address_of(target)) as client:
                        client.push(program)
                        client.write(requests([*program.setting(), *program.flows(0, BATCH)]))
                        batches = requests(program.flows(BATCH, BATCH + count))
                        rate = count / seconds_to_write(client, batches)
                        singles = requests(program.flows(BATCH + count, 2 * BATCH + count), 1)
                        single = len(singles) / seconds_to_write(client, singles)
                finally:
                    process.stop()
                measured.add(f"inserted, {name}, {BATCH} a batch", target, "entries/s", rate)
                measured.add(f"inserted, {name}, one by one", target, "entries/s", single)


def memory(run: Run, measured: Measured) -> None:
    """Of softswitch with `one_table.p4`; BMv2 would need minutes for as many."""
    count = run.pick(MANY, 100_000)
    program = Program("one_table")
    run.progress(f"memory of {count:,} entries")
    process = start(SOFTSWITCH)
    try:
        with Client(address_of(SOFTSWITCH)) as client:
            client.push(program)
            client.write(requests(program.flows(0, BATCH)))
            before = resident(process)
            for first in range(BATCH, BATCH + count, 50_000):
                end = min(first + 50_000, BATCH + count)
                client.write(requests(program.flows(first, end)))
            each = (resident(process) - before) / count
    finally:
        process.stop()
    measured.add(f"resident memory an entry at {count:,}", SOFTSWITCH, "bytes", each)


def ready_after(cache: Path) -> float:
    """Seconds from the start of softswitch with eswitch.json until it accepts connections."""
    json_path = ROOT / "p4src" / "compiled" / "eswitch.json"
    address = address_of(SOFTSWITCH)
    words = [own_command("softswitch"), "--device-id", "0", str(json_path)]
    command = ["env", f"XDG_CACHE_HOME={cache}", *words, "--", "--grpc-server-addr", address]
    process = service(SOFTSWITCH, command)
    began = time.perf_counter()
    process.start()
    try:
        while not listening(address):
            if not process.running():
                raise process.explain("ended while starting")
            time.sleep(0.005)
        return time.perf_counter() - began
    finally:
        process.stop()


def start_times(run: Run, measured: Measured) -> None:
    """With an empty cache, then with the one that this has filled."""
    for number in range(run.pick(5, 2)):
        run.progress(f"start {number + 1}")
        with tempfile.TemporaryDirectory(dir=BUILD) as folder:
            measured.add("start to ready, compiled now", SOFTSWITCH, "s", ready_after(Path(folder)))
            measured.add(
                "start to ready, compiled before", SOFTSWITCH, "s", ready_after(Path(folder))
            )


def measure(run: Run) -> Measured:
    """Raises BenchFailed."""
    BUILD.mkdir(parents=True, exist_ok=True)
    measured = Measured({"batch": BATCH}, bases=(BMV2,))
    targets = [SOFTSWITCH]
    if shutil.which("simple_switch_grpc") is None:
        measured.notes.append("BMv2 was left out: simple_switch_grpc is not on the PATH")
    else:
        targets.append(BMV2)
    insert_rate(targets, run, measured)
    memory(run, measured)
    start_times(run, measured)
    return measured

# SPDX-License-Identifier: Apache-2.0
"""A controller on the embedded target, with packets that come in through packet-out.

The target runs without interfaces: `Bench.packet` has the eswitch treat a frame as received on a
port, and what leaves by software is counted in `sent`.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from p4ct.daemon.check import load
from p4ct.daemon.config import Config
from p4ct.daemon.controller import Controller
from p4ct.daemon.switch import ProgramFiles
from p4ct.packet import build
from p4ct.pipeline.parser import parse_flows

ROOT = Path(__file__).parents[3]
COMPILED = ROOT / "p4src/compiled"
SCRIPTS = Path(sys.executable).parent

POLICY = """\
table=0,priority=100,arp,actions=NORMAL
table=0,priority=50,ip,actions=ct(zone=1,table=1)
table=1,priority=90,ct_state=+trk+est,actions=goto_table:2
table=1,priority=80,in_port=vm1,ct_state=+trk+new,ip,actions=ct(commit,zone=1,table=2)
table=1,priority=0,actions=drop
table=2,priority=0,actions=NORMAL
"""
DENY_ALL = "table=0,priority=0,actions=drop\n"
MAC = {1: bytes([2, 0, 0, 0, 0, 1]), 3: bytes([2, 0, 0, 0, 0, 3])}
IP = {1: "10.0.0.1", 3: "10.0.0.3"}
SYN, ACK, FIN = 2, 16, 1


def write_config(
    folder: Path, address: str = "127.0.0.1:9", *, more: str = "", policy: str = POLICY
) -> Path:
    """A configuration that is right; `more` is appended. `target.connect_timeout` is short."""
    (folder / "policy.flows").write_text(policy)
    path = folder / "p4ct.toml"
    path.write_text(
        f"""\
[target]
address = "{address}"
connect_timeout = 0.3

[program]
p4info = "{COMPILED}/eswitch.p4info.txtpb"
json = "{COMPILED}/eswitch.json"

[pipeline]
flows = "policy.flows"

[[vport]]
id = 1
name = "vm1"
port = 1

[[vport]]
id = 3
name = "ext"
port = 3
kind = "uplink"

{more}"""
    )
    return path


def controller_of(path: Path) -> Controller:
    """The controller of a configuration file; the target need not be there."""
    config: Config = load(path)
    flows = parse_flows(config.flows.read_text(), ports=config.ports.numbers)
    return Controller(config, ProgramFiles(config.p4info, config.program), flows)


@contextmanager
def softswitch(address: str = "127.0.0.1:0") -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The command without interfaces; gives its address and its process."""
    command: list[Any] = [SCRIPTS / "softswitch", "--no-p4", "--"]
    command += ["--grpc-server-addr", address, "--cpu-port", "510"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            said = b""
            assert process.stdout is not None
            for line in process.stdout:
                said += line
                if line.startswith(b"Server listening on "):
                    break
            else:
                raise AssertionError(f"softswitch ended: {said.decode()}")
            yield said.split()[-1].decode(), process
        finally:
            process.kill()


async def until(condition: Callable[[], Any], what: str, timeout: float = 20.0) -> None:
    """Wait for a condition; it is polled, so nothing depends on how long it takes."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"never: {what}"
        await asyncio.sleep(0.01)


class Bench:
    """A running controller and the TCP connections through it."""

    def __init__(self, controller: Controller) -> None:
        self.controller = controller
        self.stop = asyncio.Event()
        self.seq: dict[tuple[int, int], int] = {}

    @property
    def ready(self) -> bool:
        return self.controller.usable

    @property
    def sent(self) -> int:
        return self.controller.slow_path.sent

    @property
    def offloaded(self) -> int:
        return sum(1 for _ in self.controller.manager.active())

    def packet(self, port: int, frame: bytes) -> None:
        assert self.controller.switch.eswitch.send_pipeline(port, frame)

    async def tcp(self, port: int, flags: int, sport: int = 40000, payload: bytes = b"") -> None:
        """One packet of the connection vm1:sport > ext:80, and wait until software has it."""
        other = 4 - port
        seq = self.seq.setdefault((port, sport), 1000 * port)
        self.seq[port, sport] += len(payload) + bool(flags & SYN) + bool(flags & FIN)
        frame = build.tcp_frame(
            eth_src=MAC[port],
            eth_dst=MAC[other],
            src=IP[port],
            dst=IP[other],
            sport=sport if port == 1 else 80,
            dport=80 if port == 1 else sport,
            seq=seq,
            ack=self.seq.get((other, sport), 0) if flags & ACK else 0,
            flags=flags,
            payload=payload,
        )
        before = self.controller.slow_path.punted[0]
        self.packet(port, frame)
        await until(lambda: self.controller.slow_path.punted[0] > before, "the punt")

    async def learn(self) -> None:
        """Both stations say where they are."""
        for port in (1, 3):
            before = self.controller.slow_path.punted[0]
            arp = build.arp_frame(op=1, sha=MAC[port], spa=IP[port], tha=bytes(6), tpa=IP[4 - port])
            self.packet(port, arp)
            await until(lambda n=before: self.controller.slow_path.punted[0] > n, "the ARP punt")

    async def connect(self, sport: int = 40000) -> None:
        """Learn both stations, and a handshake that is offloaded."""
        await self.learn()
        already = self.offloaded
        await self.tcp(1, SYN, sport)
        await self.tcp(3, SYN | ACK, sport)
        await self.tcp(1, ACK, sport)
        await until(lambda: self.offloaded > already, "the connection is offloaded")


@asynccontextmanager
async def running(path: Path, *, wait: bool = True) -> AsyncIterator[Bench]:
    """A controller that serves; it is stopped as by SIGTERM, and its failure is the test's."""
    bench = Bench(controller_of(path))
    task = asyncio.create_task(bench.controller.run(bench.stop))
    try:
        if wait:
            await until(lambda: bench.ready or task.done(), "the controller is ready", 60)
        yield bench
    finally:
        bench.stop.set()
        with suppress(asyncio.CancelledError):
            await asyncio.wait_for(task, 20)

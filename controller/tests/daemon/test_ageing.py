# SPDX-License-Identifier: Apache-2.0
"""Ageing by sampling on the embedded target, and who ages where the target cannot."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from p4ct.daemon.check import load
from p4ct.daemon.commands import carry_out
from p4ct.daemon.switch import ProgramFiles
from p4ct.eswitch.entries import EswitchError, Modify
from p4ct.offload import reasons
from p4ct.offload.ageing import Ageing
from p4ct.offload.record import Record
from p4ct.p4runtime.p4info import load_p4info
from p4ct.packet import build
from p4rt_stubs.p4.config.v1 import p4info_pb2

from .bench import (
    COMPILED,
    IP,
    MAC,
    Bench,
    controller_of,
    running,
    softswitch,
    until,
    write_config,
)

# The first push compiles the program.
pytestmark = pytest.mark.timeout(180)

TIMEOUT = 2.0
SAMPLING = f"""
[offload]
sample_interval = 0.1
sample_exponent = 1
ageing = "AGEING"
[offload.idle_timeout]
udp = {TIMEOUT}
"""


@pytest.fixture(scope="module")
def address():
    with softswitch() as (address, _):
        yield address


class Datagrams:
    """One UDP flow, vm1:4000 > ext:53; `sent` by its ends, (packets, bytes)."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.sent = {1: (0, 0), 3: (0, 0)}

    def send(self, port: int) -> None:
        ports = {1: 4000, 3: 53}
        other = 4 - port
        frame = build.udp_frame(
            eth_src=MAC[port],
            eth_dst=MAC[other],
            src=IP[port],
            dst=IP[other],
            sport=ports[port],
            dport=ports[other],
            payload=bytes(40 + port),
        )
        packets, octets = self.sent[port]
        self.sent[port] = packets + 1, octets + len(frame)
        self.bench.packet(port, frame)

    async def offload(self) -> None:
        await self.bench.learn()
        for port in (1, 3, 1):
            before = self.bench.controller.slow_path.punted[0]
            self.send(port)
            await until(lambda n=before: self.bench.controller.slow_path.punted[0] > n, "the punt")
        await until(lambda: self.bench.offloaded == 1, "the flow is offloaded")


def watch(bench: Bench, gone: Callable[[str, Record, str], None]) -> None:
    """Hear of offload events, as the stream of events does."""
    manager = bench.controller.manager
    told = manager.on_event

    def both(what: str, record: Record, detail: str) -> None:
        told(what, record, detail)
        gone(what, record, detail)

    manager.on_event = both


def test_a_flow_lives_while_packets_come_and_goes_within_the_bound(
    tmp_path: Path, address: str
) -> None:
    path = write_config(tmp_path, address, more=SAMPLING.replace("AGEING", "sampling"))

    async def main() -> None:
        async with running(path) as bench:
            ask, udp = bench.controller, Datagrams(bench)
            sampler = ask.sampler
            assert sampler is not None
            await udp.offload()
            entries = await ask.switch.eswitch.read_ct_entries()
            assert [entry.idle_timeout_ns for entry in entries] == [0, 0]
            ended: list[float] = []
            watch(bench, lambda what, record, detail: ended.append(ask.clock()))
            began = last = ask.clock()
            while ask.clock() < began + 2 * TIMEOUT:
                # One direction is enough, and it may change.
                last = ask.clock()
                udp.send(1 if last < began + TIMEOUT else 3)
                assert ended == []
                await asyncio.sleep(0.05)
            looks = sampler.looks
            await until(lambda: ended, "its entries are gone")
            assert ended[0] >= last + TIMEOUT
            # The bound in looks at it, for the machine may be slow: one finds the last packet, one
            # in each period finds nothing, and one more comes when the timeout has ended.
            assert sampler.looks - looks <= 1 + TIMEOUT / sampler.sampling.period + 2
            assert sampler.latest >= 0
            assert ask.manager.removed == {reasons.IDLE: 1}
            assert await ask.switch.eswitch.read_ct_entries() == []
            (connection,) = ask.tracker.select()
            assert connection.hw_packets[0] >= 3
            assert connection.hw_packets[1] >= 3
            for direction, port in enumerate((1, 3)):
                packets = connection.packets[direction] + connection.hw_packets[direction]
                octets = connection.bytes[direction] + connection.hw_bytes[direction]
                assert (packets, octets) == udp.sent[port]
            status = await carry_out(ask, "status", {})
            found = status["offload"]["ageing"]
            assert found["by"] == "sampling"
            assert found["sampling"] == {
                "interval": 0.1,
                "exponent": 1,
                "late_at_most": pytest.approx(0.3),
                "latest": round(sampler.latest, 3),
                "looks": sampler.looks,
                "text": "1/2 of the connections every 0.1 s, at most 0.3 s late",
            }

    asyncio.run(main())


def test_a_new_controller_ages_what_it_finds_and_a_failed_reading_ends_nothing(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_config(tmp_path, address, more=SAMPLING.replace("AGEING", "sampling"))

    async def main() -> None:
        async with running(path) as bench:
            udp = Datagrams(bench)
            await udp.offload()
            for port in (1, 3, 3):
                udp.send(port)
            eswitch = bench.controller.switch.eswitch

            async def forwarded() -> int:
                cells = await eswitch.read_connection_counters([0])
                return sum(packets for packets, _ in cells[0])

            while await forwarded() < 3:
                await asyncio.sleep(0.01)
        async with running(path) as bench:
            ask = bench.controller
            (connection,) = (
                member.connection for r in ask.manager.active() for member in r.members
            )
            real, failures = ask.switch.eswitch.read_connection_counters, 0

            async def broken(indices: Sequence[int]) -> Any:
                nonlocal failures
                if failures < 3:
                    failures += 1
                    raise EswitchError("UNAVAILABLE", "it was told to fail")
                return await real(indices)

            monkeypatch.setattr(ask.switch.eswitch, "read_connection_counters", broken)
            await until(lambda: ask.manager.removed[reasons.IDLE], "its entries are gone")
            assert failures == 3
            assert await ask.switch.eswitch.read_ct_entries() == []
            for direction, port in enumerate((1, 3)):
                packets = connection.packets[direction] + connection.hw_packets[direction]
                octets = connection.bytes[direction] + connection.hw_bytes[direction]
                assert (packets, octets) == udp.sent[port]

    asyncio.run(main())


def without_idle_timeouts(folder: Path) -> tuple[Path, Path]:
    """The program as for a target whose connection tables have no idle timeout."""
    message = load_p4info(COMPILED / "eswitch.p4info.txtpb")
    for table in message.tables:
        if table.preamble.name in ("ct_v4", "ct_v6"):
            table.idle_timeout_behavior = p4info_pb2.Table.NO_TIMEOUT
    p4info = folder / "without.p4info.txtpb"
    p4info.write_text(text_format.MessageToString(message))
    program: dict[str, Any] = json.loads((COMPILED / "eswitch.json").read_text())
    for pipeline in program["pipelines"]:
        for table in pipeline["tables"]:
            if table["name"] in ("ct_v4", "ct_v6"):
                table["support_timeout"] = False
    compiled = folder / "without.json"
    compiled.write_text(json.dumps(program))
    return p4info, compiled


def use(path: Path, p4info: Path, program: Path) -> None:
    """Have a configuration name this program."""
    text = path.read_text()
    text = text.replace(f"{COMPILED}/eswitch.p4info.txtpb", str(p4info))
    path.write_text(text.replace(f"{COMPILED}/eswitch.json", str(program)))


def test_auto_samples_where_the_target_reports_nothing(
    tmp_path: Path, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="p4ct")
    path = write_config(tmp_path, address, more=SAMPLING.replace("AGEING", "auto"))
    use(path, *without_idle_timeouts(tmp_path))

    async def main() -> None:
        async with running(path) as bench:
            ask, udp = bench.controller, Datagrams(bench)
            assert (
                "ageing by sampling (ct_v4 and ct_v6 cannot report idle entries): "
                "1/2 of the connections every 0.1 s, at most 0.3 s late"
            ) in [record.getMessage() for record in caplog.records]
            await udp.offload()
            eswitch = ask.switch.eswitch
            (record,) = ask.manager.active()
            assert record.timeout == TIMEOUT
            # This target really refuses a timeout, so none was written.
            entry = (await eswitch.read_ct_entries())[0]
            (error,) = await eswitch.write([Modify(replace(entry, idle_timeout_ns=10**9))])
            assert error is not None
            assert error.code == "INVALID_ARGUMENT"
            await until(lambda: ask.manager.removed[reasons.IDLE], "its entries are gone")
            assert await eswitch.read_ct_entries() == []

    asyncio.run(main())


def test_auto_leaves_it_to_a_target_that_reports(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="p4ct")

    async def main() -> None:
        controller = controller_of(write_config(tmp_path))
        assert controller.manager.options.ageing is Ageing.IDLE_TIMEOUT
        assert controller.sampler is None

    asyncio.run(main())
    said = [record.getMessage() for record in caplog.records]
    assert said == ["ageing by idle-timeout (ct_v4 and ct_v6 report idle entries)"]


def test_idle_timeouts_that_the_program_does_not_have_are_a_mistake(tmp_path: Path) -> None:
    path = write_config(tmp_path, more='[offload]\nageing = "idle-timeout"\n')
    use(path, *without_idle_timeouts(tmp_path))
    config = load(path)
    (problem,) = ProgramFiles(config.p4info, config.program).problems(config)
    assert problem.endswith(
        ": offload.ageing: ct_v4 or ct_v6 of the program has no idle timeout; use auto or sampling"
    )
    line = path.read_text().splitlines().index('ageing = "idle-timeout"') + 1
    assert problem.startswith(f"{path}:{line}:")

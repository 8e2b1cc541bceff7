# SPDX-License-Identifier: Apache-2.0
"""Window registers on the embedded target: `offload.window_check`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from p4ct.conntrack.tcp_window import export_windows
from p4ct.eswitch.enums import PuntReason
from p4ct.packet import build

from .bench import ACK, IP, MAC, Bench, controller_of, running, softswitch, until, write_config

# The first push compiles the program.
pytestmark = pytest.mark.timeout(180)

CHECK = "[offload]\nwindow_check = true\n"


def segment(bench: Bench, seq: int, payload: bytes) -> bytes:
    return build.tcp_frame(
        eth_src=MAC[1], eth_dst=MAC[3], src=IP[1], dst=IP[3], sport=40000, dport=80,
        seq=seq, ack=bench.seq[3, 40000], flags=ACK, payload=payload,
    )  # fmt: skip


def test_the_window_is_checked_there_and_comes_back(tmp_path: Path) -> None:
    async def main(address: str) -> None:
        async with running(write_config(tmp_path, address, more=CHECK)) as bench:
            await bench.connect()
            slow = bench.controller.slow_path
            record = next(bench.controller.manager.active())
            assert record.checks_window
            (connection,) = bench.controller.tracker.select()
            assert connection.tcp is not None
            own = bench.seq[1, 40000]
            bench.packet(1, segment(bench, own, b"inside"))
            sent = bench.sent
            # Behind it, and far beyond what was offered: it comes up and is invalid.
            bench.packet(1, segment(bench, own + 1_000_000, b"forged"))
            await until(lambda: slow.punts[PuntReason.WINDOW.name] == 1, "the segment comes up")
            assert bench.controller.tracker.stats["invalid"] == 1
            assert bench.sent == sent
            # What it brought along: the segment before it moved the registers.
            assert connection.tcp.sides[0].end == own + len(b"inside")
            bench.packet(1, segment(bench, own + 6, b"more"))
            bench.controller.manager.remove(record, "test")
            await until(lambda: connection.offload is None, "the connection returns")
            values = export_windows(connection.tcp)
            assert values is not None
            assert values[0][0] == own + len(b"insidemore")
            assert connection.hw_packets[0] == 2

    with softswitch() as (address, _):
        asyncio.run(main(address))


def test_without_the_option_nothing_is_checked(tmp_path: Path) -> None:
    async def main(address: str) -> None:
        async with running(write_config(tmp_path, address)) as bench:
            await bench.connect()
            assert not next(bench.controller.manager.active()).checks_window
            (connection,) = bench.controller.tracker.select()
            assert connection.tcp is not None
            assert export_windows(connection.tcp) is None

    with softswitch() as (address, _):
        asyncio.run(main(address))


def test_a_program_without_registers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The option is then without effect, and the log says so."""
    path = write_config(tmp_path, more=CHECK)
    text = path.read_text()
    source = Path(next(line for line in text.splitlines() if "p4info" in line).split('"')[1])
    stripped = source.read_text().replace('"window_scale"', '"window_shift"')
    (tmp_path / "other.txtpb").write_text(stripped)
    path.write_text(text.replace(str(source), "other.txtpb"))

    async def main() -> bool:
        return controller_of(path).manager.options.window_check

    assert asyncio.run(main()) is False
    assert "the program has no window registers" in caplog.text

# SPDX-License-Identifier: Apache-2.0
"""A target that dies, hangs, or comes back empty; nothing waits for it without an end."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest
from p4ct.daemon import controller as controller_module
from p4ct.daemon import operations, views
from p4ct.daemon.commands import carry_out
from p4ct.eswitch.entries import EswitchError
from p4ct.offload import reconcile

from .bench import ACK, DENY_ALL, FIN, Bench, running, softswitch, until, write_config

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(autouse=True)
def _short(monkeypatch: Any) -> None:
    monkeypatch.setattr(controller_module, "RETRY_FIRST", 0.02)
    monkeypatch.setattr(controller_module, "RETRY_LAST", 0.1)
    monkeypatch.setattr(controller_module, "REFRESH_TIMEOUT", 0.3)
    monkeypatch.setattr(operations, "CONFIRM_TIMEOUT", 0.5)
    monkeypatch.setattr(views, "COUNTERS_TIMEOUT", 0.3)


async def lost(bench: Bench) -> None:
    await until(lambda: not bench.controller.switch.ready, "the loss is noticed")


def test_a_target_that_comes_back_empty_is_set_up_again(tmp_path: Path) -> None:
    async def main() -> None:
        with softswitch() as (address, process):
            async with running(write_config(tmp_path, address)) as bench:
                await bench.connect()
                process.kill()
                await lost(bench)
                (connection,) = await carry_out(bench.controller, "conntrack-list", {})
                assert connection["state"] == "ESTABLISHED", "conntrack goes on"
                process.wait()
                with softswitch(address):
                    await until(lambda: bench.ready, "the new session", 60)
                    (connection,) = await carry_out(bench.controller, "conntrack-list", {})
                    assert not connection["offloaded"]
                    assert connection["offload_reason"]
                    await bench.tcp(1, ACK, payload=b"up")
                    await bench.tcp(3, ACK, payload=b"up, too")
                    await until(lambda: bench.offloaded == 1, "it is offloaded again")
                    status = await carry_out(bench.controller, "status", {})
                    assert status["target"]["sessions"] == 2

    asyncio.run(main())


def test_questions_are_answered_while_the_target_is_away(tmp_path: Path) -> None:
    async def main() -> None:
        with softswitch() as (address, process):
            async with running(write_config(tmp_path, address)) as bench:
                await bench.connect()
                process.kill()
                await lost(bench)
                for command in ("status", "conntrack-list", "offload-list", "flows-list"):
                    await asyncio.wait_for(carry_out(bench.controller, command, {}), 2)
                status = await carry_out(bench.controller, "status", {})
                assert status["target"]["connected"] is False
                assert status["target"]["fresh"] is False
                assert "eswitch" not in status["drops"], "nothing is made up"

    asyncio.run(main())


def test_a_policy_change_meanwhile_holds_and_says_what_is_open(tmp_path: Path) -> None:
    async def main() -> None:
        with softswitch() as (address, process):
            async with running(write_config(tmp_path, address)) as bench:
                await bench.connect()
                process.kill()
                await lost(bench)
                with pytest.raises(EswitchError) as caught:
                    await carry_out(bench.controller, "flows-replace", {"text": DENY_ALL})
                said = str(caught.value)
                assert said.startswith("the policy was changed (1 flows added, 6 removed)")
                assert f"the switch {address} is not connected" in said
                assert "see 'p4ct status'" in said
                assert len(bench.controller.pipeline.flows) == 1
                assert not bench.controller.manager.waiting

    asyncio.run(main())


def test_a_flush_meanwhile_changes_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        with softswitch() as (address, process):
            async with running(write_config(tmp_path, address)) as bench:
                await bench.connect()
                process.kill()
                await lost(bench)
                with pytest.raises(
                    EswitchError, match=r"nothing was flushed: the switch .* is not"
                ):
                    await carry_out(bench.controller, "conntrack-flush", {})
                assert await carry_out(bench.controller, "conntrack-count", {}) == 1

    asyncio.run(main())


@pytest.mark.parametrize("command", ["flows-replace", "conntrack-flush"])
def test_a_command_waits_for_a_reconciliation_that_goes_on(
    tmp_path: Path, monkeypatch: Any, command: str
) -> None:
    """It takes longer than the command waits without progress, and each of its steps does not."""
    steps: list[int] = []
    pause = 0.05

    async def slowly() -> None:
        steps.append(len(steps))
        await asyncio.sleep(pause)

    monkeypatch.setattr(reconcile, "CLAIMED_PER_STEP", 1)
    monkeypatch.setattr(reconcile, "DECIDED_PER_STEP", 1)

    async def main() -> None:
        with softswitch() as (address, _):
            async with running(write_config(tmp_path, address)) as bench:
                for n in range(15):
                    await bench.connect(40000 + n)
                monkeypatch.setattr(controller_module, "Pace", lambda: slowly)
                bench.controller.out_of_step()
                await until(lambda: steps, "the reconciliation")
                arguments = {"text": DENY_ALL} if command == "flows-replace" else {}
                await carry_out(bench.controller, command, arguments)
                assert len(steps) * pause > 2 * operations.CONFIRM_TIMEOUT
                assert await bench.controller.switch.eswitch.read_ct_entries() == []

    asyncio.run(main())


@pytest.mark.parametrize("last", [3, 20])
def test_a_reconciliation_that_breaks_off_again_and_again_is_no_progress(
    tmp_path: Path, monkeypatch: Any, last: int
) -> None:
    monkeypatch.setattr(reconcile, "CLAIMED_PER_STEP", 1)
    monkeypatch.setattr(reconcile, "DECIDED_PER_STEP", 1)

    async def main() -> None:
        with softswitch() as (address, _):
            async with running(write_config(tmp_path, address)) as bench:
                for n in range(15):
                    await bench.connect(40000 + n)
                manager = bench.controller.manager

                async def breaking_off() -> None:
                    await asyncio.sleep(0.01)
                    if manager.reconcile_steps == last:
                        raise EswitchError("ABORTED", "the connection to the switch broke off")

                monkeypatch.setattr(controller_module, "Pace", lambda: breaking_off)
                bench.controller.out_of_step()
                with pytest.raises(EswitchError, match="the policy was changed"):
                    await asyncio.wait_for(
                        carry_out(bench.controller, "flows-replace", {"text": DENY_ALL}), 60
                    )

    asyncio.run(main())


def test_a_policy_change_while_the_session_is_away_removes_on_return(tmp_path: Path) -> None:
    """The entries survive (only the stream broke): they go as soon as it is back."""

    async def main() -> None:
        with softswitch() as (address, _):
            async with running(write_config(tmp_path, address)) as bench:
                await bench.connect()
                switch = bench.controller.switch
                await switch.client.close()
                await lost(bench)
                answer = await carry_out(bench.controller, "flows-replace", {"text": DENY_ALL})
                assert answer["added"] == 1, "it came back in time, so the change is confirmed"
                assert await switch.eswitch.read_ct_entries() == []

    asyncio.run(main())


def test_a_packet_held_for_a_removal_outlives_the_session(tmp_path: Path) -> None:
    async def main() -> None:
        with softswitch() as (address, _):
            async with running(write_config(tmp_path, address)) as bench:
                await bench.connect()
                await bench.tcp(1, FIN | ACK)
                controller = bench.controller
                sent = bench.sent
                async with controller.turn:  # no round may run before the session breaks
                    await bench.tcp(3, FIN | ACK)
                    assert controller.slow_path.held == 1
                    await controller.switch.client.close()
                    await lost(bench)
                await until(lambda: bench.ready, "the next session")
                await until(lambda: controller.slow_path.held == 0, "the FIN is let go")
                assert bench.sent == sent + 1
                assert await controller.switch.eswitch.read_ct_entries() == []

    asyncio.run(main())


def test_work_that_comes_up_while_reconnecting_is_done(tmp_path: Path, monkeypatch: Any) -> None:
    """A wake-up during reconciliation must not be lost."""
    real = controller_module.reconcile
    sessions = 0

    async def main() -> None:
        with softswitch() as (address, _):
            async with running(write_config(tmp_path, address)) as bench:
                await bench.connect()

                async def with_packets(*arguments: Any) -> Any:
                    nonlocal sessions
                    sessions += 1
                    drift = await real(*arguments)
                    record = next(iter(bench.controller.manager.records.values()))
                    bench.controller.manager.remove(record, "wanted meanwhile")
                    await asyncio.sleep(0)  # the rounds see the wake-up, and may not run yet
                    await asyncio.sleep(0)
                    return drift

                monkeypatch.setattr(controller_module, "reconcile", with_packets)
                await bench.controller.switch.client.close()
                await until(lambda: sessions == 1 and bench.ready, "the next session")
                await until(lambda: not bench.controller.manager.records, "the removal")

    asyncio.run(main())


def test_a_target_that_hangs_stops_nobody(tmp_path: Path) -> None:
    async def main() -> None:
        with softswitch() as (address, process):
            async with running(write_config(tmp_path, address)) as bench:
                await bench.connect()
                process.send_signal(signal.SIGSTOP)
                try:
                    status = await asyncio.wait_for(carry_out(bench.controller, "status", {}), 5)
                    assert status["target"]["connected"] is True
                    assert status["target"]["fresh"] is False
                    change = carry_out(bench.controller, "flows-replace", {"text": DENY_ALL})
                    with pytest.raises(EswitchError, match="did not confirm it within"):
                        await asyncio.wait_for(change, 5)
                finally:
                    process.send_signal(signal.SIGCONT)
                await until(
                    lambda: not bench.controller.manager.records, "the entries go after all"
                )
                assert await bench.controller.switch.eswitch.read_ct_entries() == []

    asyncio.run(main())


def test_a_stop_while_the_target_hangs_comes_to_an_end(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(controller_module, "STOP_TIMEOUT", 0.2)

    async def main() -> None:
        with softswitch() as (address, process):
            async with running(write_config(tmp_path, address)) as bench:
                await bench.connect()
                process.send_signal(signal.SIGSTOP)
                manager = bench.controller.manager
                manager.remove(next(iter(manager.records.values())), "in vain")
            # `running` has waited for the end
            assert manager.records
            process.send_signal(signal.SIGCONT)

    asyncio.run(main())

# SPDX-License-Identifier: Apache-2.0
"""The controller on the embedded target: connections, commands, and rounds that break off."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from p4ct.daemon import controller as controller_module
from p4ct.daemon import operations
from p4ct.daemon.commands import carry_out
from p4ct.daemon.switch import BARRIER_PORT, BARRIER_VPORT
from p4ct.eswitch.entries import Delete, EntryError, EswitchError, VportEntry
from p4ct.p4runtime.errors import TargetError, TargetUnavailable
from p4ct.packet import build

from .bench import (
    ACK,
    DENY_ALL,
    FIN,
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


@pytest.fixture(scope="module")
def address():
    with softswitch() as (address, _):
        yield address


@pytest.fixture
def config(tmp_path: Path, address: str):
    """A configuration for the module's target, which is left without entries."""
    path = write_config(tmp_path, address)
    yield path

    async def clear() -> None:
        async with running(path) as bench:
            await carry_out(bench.controller, "conntrack-flush", {})
            assert await bench.controller.switch.eswitch.read_ct_entries() == []

    asyncio.run(clear())


def fail_once(bench: Bench, name: str, monkeypatch: Any, times: int = 1) -> None:
    """The next call of this method of the eswitch breaks down."""
    eswitch = bench.controller.switch.eswitch
    real = getattr(eswitch, name)
    left = times

    async def broken(*arguments: Any) -> Any:
        nonlocal left
        if left:
            left -= 1
            raise EswitchError("UNAVAILABLE", f"{name} was told to fail")
        return await real(*arguments)

    monkeypatch.setattr(eswitch, name, broken)


def test_a_connection_is_offloaded_listed_explained_and_flushed(config: Path) -> None:
    async def main() -> None:
        async with running(config) as bench:
            ask = bench.controller
            await bench.connect()
            (connection,) = await carry_out(ask, "conntrack-list", {"filter": ["tcp"]})
            assert "ESTABLISHED" in connection["line"]
            assert "[OFFLOAD]" in connection["line"]
            bench.packet(1, _data())

            async def forwarded() -> int:
                (record,) = await carry_out(ask, "offload-list", {})
                return record["entries"][0]["packets"]

            end = 200
            while await forwarded() != 1 and end:
                end -= 1
                await asyncio.sleep(0.01)
            assert end, "the entry never counted the packet"
            status = await carry_out(ask, "status", {})
            assert status["target"]["fresh"]
            assert status["entries"] == 2
            assert status["packets"]["fast_path"] == 1
            assert status["eswitch_punts"]["MISS"] >= 1
            why = await carry_out(ask, "offload-why", {})
            assert why["reasons"] == {"offloaded": 1}
            words = "tcp src=10.0.0.1 dst=10.0.0.3 sport=40000 dport=80"
            story = await carry_out(ask, "explain", {"tuple": words})
            assert story["verdict"] == "forward to ext"
            assert await carry_out(ask, "conntrack-flush", {"filter": ["dport=81"]}) == 0
            assert await carry_out(ask, "conntrack-flush", {}) == 1
            assert await carry_out(ask, "conntrack-count", {}) == 0
            assert await ask.switch.eswitch.read_ct_entries() == []

    asyncio.run(main())


def _data(flags: int = ACK) -> bytes:
    return build.tcp_frame(
        eth_src=MAC[1], eth_dst=MAC[3], src=IP[1], dst=IP[3], sport=40000, dport=80,
        seq=1001, ack=3001, flags=flags, payload=b"data",
    )  # fmt: skip


def test_a_policy_change_returns_when_the_entries_are_gone(config: Path, caplog: Any) -> None:
    caplog.set_level("INFO", logger="p4ct.policy")

    async def main() -> None:
        async with running(config) as bench:
            await bench.connect()
            answer = await carry_out(bench.controller, "flows-replace", {"text": DENY_ALL})
            assert answer == {"added": 1, "removed": 6}
            assert await bench.controller.switch.eswitch.read_ct_entries() == []
            said = [r.getMessage() for r in caplog.records if r.name == "p4ct.policy"]
            assert said == ["policy version 2: 1 flows added, 6 removed by 'flows replace flows'"]

    asyncio.run(main())


def test_a_policy_change_goes_on_without_its_client(config: Path) -> None:
    async def main() -> None:
        async with running(config) as bench:
            await bench.connect()
            text = {"text": DENY_ALL}
            task = asyncio.create_task(carry_out(bench.controller, "flows-replace", text))
            await asyncio.sleep(0)
            assert bench.controller.pipeline.version == 2
            assert task.cancel()
            await until(lambda: not bench.controller.manager.records, "the removal")
            assert await bench.controller.switch.eswitch.read_ct_entries() == []

    asyncio.run(main())


def test_the_second_fin_is_held_until_the_entries_are_gone(config: Path) -> None:
    async def main() -> None:
        async with running(config) as bench:
            await bench.connect()
            await bench.tcp(1, FIN | ACK)
            sent = bench.sent
            await bench.tcp(3, FIN | ACK)
            await until(lambda: bench.sent == sent + 1, "the FIN is sent on")
            assert bench.controller.manager.records == {}
            assert await bench.controller.switch.eswitch.read_ct_entries() == []

    asyncio.run(main())


@pytest.mark.parametrize("failures", [1, 2, 3])
def test_a_round_that_breaks_off_is_repaired(config: Path, monkeypatch: Any, failures: int) -> None:
    """Also when the repair itself breaks off: nobody who waits is forgotten."""
    monkeypatch.setattr(controller_module, "RETRY_FIRST", 0.01)

    async def main() -> None:
        async with running(config) as bench:
            await bench.connect()
            fail_once(bench, "read_connection_counters", monkeypatch, failures)
            text = {"text": DENY_ALL}
            await asyncio.wait_for(carry_out(bench.controller, "flows-replace", text), 20)
            assert await bench.controller.switch.eswitch.read_ct_entries() == []
            assert bench.controller.in_step

    asyncio.run(main())


def test_a_policy_is_not_called_in_effect_while_an_entry_stays(
    config: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(controller_module, "RETRY_FIRST", 0.01)
    monkeypatch.setattr(operations, "CONFIRM_TIMEOUT", 1.0)

    async def main() -> None:
        async with running(config) as bench:
            await bench.connect()
            eswitch = bench.controller.switch.eswitch
            real = eswitch.write

            async def keeps(ops: Any) -> list[EntryError | None]:
                sent = [op for op in ops if not isinstance(op, Delete)]
                answers = dict(zip(map(id, sent), await real(sent), strict=True))
                return [
                    answers[id(op)] if id(op) in answers else EntryError(op, "INTERNAL", "no")
                    for op in ops
                ]

            monkeypatch.setattr(eswitch, "write", keeps)
            with pytest.raises(EswitchError, match="did not confirm it within 1 s"):
                await carry_out(bench.controller, "flows-replace", {"text": DENY_ALL})
            status = await carry_out(bench.controller, "status", {})
            assert not status["target"]["in_step"]
            monkeypatch.setattr(eswitch, "write", real)
            await until(lambda: bench.controller.in_step, "the repair")
            assert await eswitch.read_ct_entries() == []

    asyncio.run(main())


def test_a_restart_takes_the_entries_over(config: Path) -> None:
    async def main() -> None:
        async with running(config) as bench:
            await bench.connect()
            before = await bench.controller.switch.eswitch.read_ct_entries()
        assert len(before) == 2, "entries stay when the controller ends"
        async with running(config) as heir:
            assert heir.offloaded == 1
            (connection,) = await carry_out(heir.controller, "conntrack-list", {})
            assert connection["state"] == "ESTABLISHED"
            assert connection["offloaded"]
            after = await heir.controller.switch.eswitch.read_ct_entries()
            assert {entry.key for entry in after} == {entry.key for entry in before}

    asyncio.run(main())


def test_a_punt_before_the_first_reconciliation_waits_for_it(
    config: Path, monkeypatch: Any
) -> None:
    """A FIN that comes up early belongs to the connection that is about to be restored."""

    async def main() -> None:
        async with running(config) as bench:
            await bench.connect()
        heir = controller_of(config)
        real = controller_module.reconcile

        async def slow(*arguments: Any) -> Any:
            assert heir.switch.eswitch.send_pipeline(1, _data(FIN | ACK))
            await until(lambda: heir.switch.client.stats.packet_ins > 0, "the punt")
            assert len(heir.tracker) == 0
            return await real(*arguments)

        monkeypatch.setattr(controller_module, "reconcile", slow)
        stop = asyncio.Event()
        task = asyncio.create_task(heir.run(stop))
        await until(lambda: heir.usable or task.done(), "the controller is ready")
        (connection,) = heir.tracker.select()
        assert connection.original.sport == 40000
        assert connection.state_name == "FIN_WAIT"
        stop.set()
        await task

    asyncio.run(main())


def test_vports_are_repaired(config: Path) -> None:
    async def main() -> None:
        text = config.read_text()
        async with running(config) as bench:
            assert set(await bench.controller.switch.eswitch.read_vports()) == {
                *(VportEntry(port, tag, port) for port in (1, 3) for tag in (None, 0)),
                VportEntry(BARRIER_PORT, None, BARRIER_VPORT),
            }
        config.write_text(text.replace("port = 3\n", "port = 5\nvlan = 9\n"))
        async with running(config) as bench:
            assert set(await bench.controller.switch.eswitch.read_vports()) == {
                *(VportEntry(1, tag, 1) for tag in (None, 0)),
                VportEntry(5, 9, 3),
                VportEntry(BARRIER_PORT, None, BARRIER_VPORT),
            }
        config.write_text(text)

    asyncio.run(main())


def test_another_controller_takes_over_and_the_first_stands_by(
    config: Path, monkeypatch: Any, caplog: Any
) -> None:
    monkeypatch.setattr(controller_module, "RETRY_FIRST", 0.01)
    monkeypatch.setattr(controller_module, "RETRY_LAST", 0.02)

    def said() -> list[str]:
        return [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]

    async def main() -> None:
        async with running(config) as first:
            attempts = 0
            real = first.controller.switch.open

            async def counted() -> str:
                nonlocal attempts
                attempts += 1
                return await real()

            monkeypatch.setattr(first.controller.switch, "open", counted)
            async with running(config) as second:  # the same election id: it takes the next
                await until(lambda: attempts > 3, "the first has tried several times")
                assert second.ready
                assert sorted(said()) == [
                    "election id 1 is in use by another controller; took 2",
                    "switch lost: another controller has become primary; "
                    "standing by until it is gone",
                ]
                status = await carry_out(first.controller, "status", {})
                assert status["target"]["connected"] is False
                assert status["target"]["standby"] is True
                await second.connect()
            await until(lambda: first.ready, "the first is primary again")
            assert not first.controller.switch.standby
            assert first.offloaded == 1, "it took over what the other has installed"

    asyncio.run(main())


def test_a_start_beside_a_higher_election_id_says_what_to_do(config: Path, tmp_path: Path) -> None:
    async def main() -> None:
        text = config.read_text()
        config.write_text(text.replace("[target]", "[target]\nelection_id = 100"))
        async with running(config):
            config.write_text(text)
            with pytest.raises(TargetError, match=r"another controller is primary.*election_id"):
                await controller_of(config).run(asyncio.Event())

    asyncio.run(main())


def test_no_target_is_told_with_address_and_remedy(tmp_path: Path) -> None:
    path = write_config(tmp_path, "127.0.0.1:9")
    with pytest.raises(TargetUnavailable, match=r"127\.0\.0\.1:9.*start the target, or correct"):
        asyncio.run(controller_of(path).run(asyncio.Event()))


def test_a_stop_while_connecting_does_not_wait(tmp_path: Path) -> None:
    path = write_config(tmp_path, "127.0.0.1:9")
    path.write_text(path.read_text().replace("connect_timeout = 0.3", "connect_timeout = 300"))

    async def main() -> None:
        stop = asyncio.Event()
        task = asyncio.create_task(controller_of(path).run(stop))
        await asyncio.sleep(0)
        stop.set()
        await asyncio.wait_for(task, 10)

    asyncio.run(main())


def test_work_that_waits_is_finished_before_the_end(config: Path) -> None:
    async def main() -> None:
        async with running(config) as bench:
            await bench.connect()
            manager = bench.controller.manager
            manager.remove(next(iter(manager.records.values())), "the last moment")
        assert manager.records == {}

    asyncio.run(main())


def test_a_task_that_fails_ends_the_controller(config: Path, monkeypatch: Any) -> None:
    async def main() -> None:
        controller = controller_of(config)

        def broken(*_: object) -> None:
            raise ZeroDivisionError("a defect")

        monkeypatch.setattr(controller.tracker, "next_deadline", broken)
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(controller.run(asyncio.Event()), 60)
        assert not controller.switch.ready

    asyncio.run(main())


def test_a_flow_that_names_nothing_is_never_half_applied(config: Path) -> None:
    async def main() -> None:
        async with running(config) as bench:
            before = [flow.rule for flow in bench.controller.pipeline.flows]
            with pytest.raises(Exception, match="2 errors in flows"):
                await carry_out(
                    bench.controller,
                    "flows-replace",
                    {"text": "arp,actions=NORMAL\ntpc,actions=drop\nactions=output:vm7\n"},
                )
            assert [flow.rule for flow in bench.controller.pipeline.flows] == before

    asyncio.run(main())


def test_a_defect_costs_one_packet_and_is_counted(
    config: Path, monkeypatch: Any, caplog: Any
) -> None:
    async def main() -> None:
        async with running(config) as bench:
            controller = bench.controller

            def broken(*_: object) -> None:
                raise ZeroDivisionError("a defect")

            with monkeypatch.context() as patch:
                patch.setattr(controller.pipeline, "process", broken)
                for sport in range(1, 6):
                    await bench.tcp(1, ACK, sport)
            assert controller.slow_path.drops == {"internal error": 5}
            await bench.connect()

    asyncio.run(main())
    told = [record.getMessage() for record in caplog.records if "packet dropped" in record.message]
    assert [text.partition(")")[0] for text in told] == [
        f"packet dropped ({n} so far" for n in (1, 2, 4)
    ]


def test_formats_statistics_and_events(config: Path) -> None:
    async def main() -> None:
        async with running(config) as bench:
            ask = bench.controller
            listener = await carry_out(ask, "conntrack-events", {"filter": ["tcp"]})
            await bench.connect()
            answer = await carry_out(ask, "conntrack-list", {"format": "dpctl"})
            assert [item["line"] for item in answer] == [
                "tcp,orig=(src=10.0.0.1,dst=10.0.0.3,sport=40000,dport=80),"
                "reply=(src=10.0.0.3,dst=10.0.0.1,sport=80,dport=40000),zone=1,"
                "protoinfo=(state=ESTABLISHED)"
            ]
            words = {"format": "dpctl", "statistics": True}
            (item,) = await carry_out(ask, "conntrack-list", words)
            assert ",packets=2," in item["line"]
            stats = await carry_out(ask, "conntrack-stats", {})
            assert stats["total"] == stats["by_protocol"]["tcp"] == stats["by_zone"]["1"] == 1
            assert stats["by_tcp_state"] == {"ESTABLISHED": 1}
            assert await carry_out(ask, "conntrack-flush", {"filter": ["reply-dport=40000"]}) == 1
            lines = (await listener.take()).splitlines()
            names = [json.loads(line)["event"] for line in lines]
            assert names[0] == "new"
            assert names[-3:] == ["offload", "onload", "destroy"]

    asyncio.run(main())

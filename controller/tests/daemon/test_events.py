# SPDX-License-Identifier: Apache-2.0
"""The event stream: what is told, to whom, with which counters, and to slow readers."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from p4ct.conntrack import Connection, Event
from p4ct.daemon.admin import AdminServer
from p4ct.daemon.controller import Controller
from p4ct.daemon.events import EventStream, Listener
from p4ct.daemon.select import Selection
from p4ct.packet import build
from p4ct.packet.parse import parse

from ..offload.model import ACK, FIN, RST, SYN, Tcp, World, learn
from .bench import SCRIPTS, controller_of, until, write_config
from .test_admin import request


class Heard:
    """A model world whose events are listened to."""

    def __init__(self, *words: str, limit: int = 1000) -> None:
        self.world = World()
        learn(self.world)
        self.stream = EventStream(self.world.manager, limit=limit)
        self.listener: Listener = self.stream.listen(Selection(list(words)))
        world, stream = self.world, self.stream

        def conntrack(event: Event, conn: Connection, now: float) -> None:
            stream.conntrack(event, conn, now)
            if event is Event.DESTROY:
                world.manager.connection_gone(conn)

        world.tracker.on_event = conntrack
        world.manager.on_event = lambda what, record, detail: stream.offload(
            what, record, detail, world.now
        )

    def events(self) -> list[dict[str, Any]]:
        async def take() -> bytes:
            return await asyncio.wait_for(self.listener.take(), 5)

        return [json.loads(line) for line in asyncio.run(take()).splitlines()]

    def names(self) -> list[str]:
        return [event["event"] for event in self.events()]


def test_the_life_of_an_offloaded_connection() -> None:
    heard = Heard()
    tcp = Tcp(heard.world).offload()
    for _ in range(5):
        assert tcp.send("vm1", ACK, b"by hardware") == "hardware"
    tcp.send("vm1", FIN | ACK)
    tcp.send("ext", FIN | ACK)
    tcp.send("vm1", ACK)
    heard.world.later(200)
    events = heard.events()
    names = [event["event"] for event in events]
    assert names[0] == "new"
    assert names.count("assured") == names.count("offload") == names.count("onload") == 1
    assert names.index("assured") < names.index("offload") < names.index("onload")
    assert names[-1] == "destroy"
    states = [e["connection"]["state"] for e in events if e["event"] in ("new", "update")]
    assert states == [
        "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "LAST_ACK", "TIME_WAIT",
    ]  # fmt: skip
    offload = events[names.index("offload")]
    assert offload["entry"] == "0/0"
    assert events[names.index("onload")]["cause"] == "TCP LAST_ACK"
    last = events[-1]["connection"]
    for side, name in (("original", "vm1"), ("reply", "ext")):
        assert [last[side]["packets"], last[side]["bytes"]] == tcp.sent[name]
    assert sum(last["hw"][side]["packets"] for side in last["hw"]) == heard.world.by_hardware > 5
    assert all(event["time"] > 1.7e9 for event in events)


@pytest.mark.parametrize("end", ["reset", "flushed"])
def test_final_counters_wait_for_the_hardware(end: str) -> None:
    heard = Heard()
    tcp = Tcp(heard.world).offload()
    for _ in range(7):
        assert tcp.send("ext", ACK, b"by hardware") == "hardware"
    heard.events()
    heard.world.auto_round = False
    if end == "reset":
        tcp.send("ext", RST | ACK)
        heard.world.rounds()
        heard.world.later(1000)
    else:
        (conn,) = heard.world.connections()
        heard.world.tracker.remove(conn, heard.world.now)
        assert heard.listener.lost == 0
        assert not heard.listener._lines  # nothing is told before the counters are read
    heard.world.rounds()
    events = heard.events()
    assert [event["event"] for event in events][-1] == "destroy"
    last = events[-1]["connection"]
    assert sum(last["hw"][side]["packets"] for side in last["hw"]) == heard.world.by_hardware > 7
    assert [last["reply"]["packets"], last["reply"]["bytes"]] == tcp.sent["ext"]


def test_only_what_fits_is_told() -> None:
    heard = Heard("orig-sport=41000")
    Tcp(heard.world, sport=40000).open()
    Tcp(heard.world, sport=41000).send("vm1", SYN)
    assert heard.names() == ["new"]


def test_a_slow_reader_loses_events_and_is_told_how_many() -> None:
    heard = Heard(limit=3)
    for number in range(10):
        Tcp(heard.world, sport=40000 + number).send("vm1", SYN)
    assert heard.names() == ["new"] * 3
    events = heard.events()
    assert events == [{"event": "lost", "number": 7}]
    Tcp(heard.world, sport=50000).send("vm1", SYN)
    assert heard.names() == ["new"]
    heard.stream.leave(heard.listener)
    assert heard.stream.lost == 7
    assert heard.stream.listeners == 0


def test_losses_stand_where_the_events_would_have_been() -> None:
    heard = Heard(limit=2)
    for number in range(4):
        Tcp(heard.world, sport=40000 + number).send("vm1", SYN)
    heard.listener._lines.popleft()
    Tcp(heard.world, sport=50000).send("vm1", SYN)
    events = heard.events()
    assert [e.get("number") for e in events] == [None, 2, None]
    assert events[2]["connection"]["original"]["sport"] == 50000


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Controller]:
    controller = controller_of(write_config(folder))
    server = AdminServer(controller, folder / "p4ct.sock")
    await server.start()
    try:
        yield controller
    finally:
        await server.stop()


def begin(controller: Controller, sport: int) -> Connection:
    frame = build.tcp_frame(src="10.0.0.1", dst="10.0.0.3", sport=sport, dport=80, flags=SYN)
    pkt = parse(frame)
    now = controller.clock()
    result = controller.tracker.track(pkt, 1, now)
    return controller.tracker.commit(result, pkt, now)


def test_over_the_socket(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path) as controller:
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / "p4ct.sock"))
            writer.write(request("conntrack-events", filter=["tcp"]))
            assert json.loads(await reader.readline()) == {"ok": True, "result": "events follow"}
            conn = begin(controller, 40000)
            controller.tracker.remove(conn, controller.clock())
            names = [json.loads(await reader.readline())["event"] for _ in range(2)]
            assert names == ["new", "destroy"]
            writer.close()
            await until(lambda: controller.events.listeners == 0, "the listener is gone")
            begin(controller, 40001)

    asyncio.run(main())


def test_a_client_that_does_not_read_is_bounded(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path) as controller:
            controller.events.limit = 100
            reader, writer = await asyncio.open_unix_connection(
                str(tmp_path / "p4ct.sock"), limit=2**16
            )
            writer.write(request("conntrack-events"))
            assert json.loads(await reader.readline())["ok"]
            for sport in range(1024, 9024):
                begin(controller, sport)
                if sport % 50 == 0:
                    await asyncio.sleep(0)
            (listener,) = controller.events._listeners
            assert listener.lost > 1000
            told = lost = 0
            while told + lost < 8000:
                event = json.loads(await asyncio.wait_for(reader.readline(), 10))
                told += event["event"] == "new"
                lost += event.get("number", 0)
            assert told + lost == 8000
            writer.close()

    asyncio.run(main())


def test_a_mistake_in_the_filter_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path):
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / "p4ct.sock"))
            writer.write(request("conntrack-events", filter=["tpc"]))
            answer = json.loads(await reader.readline())
            assert answer["code"] == "INVALID_ARGUMENT"
            assert "did you mean 'tcp'?" in answer["error"]
            writer.close()

    asyncio.run(main())


@pytest.mark.parametrize("end", ["ctrl-c", "the controller stops"])
def test_the_command_line(tmp_path: Path, end: str) -> None:
    async def main() -> None:
        async with serving(tmp_path) as controller:
            command: list[Any] = [SCRIPTS / "p4ct", "--socket", tmp_path / "p4ct.sock"]
            process = await asyncio.create_subprocess_exec(
                *command, "conntrack", "events",
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
            await until(lambda: controller.events.listeners == 1, "it listens")
            begin(controller, 40000)
            assert process.stdout is not None
            line = await asyncio.wait_for(process.stdout.readline(), 20)
            assert json.loads(line)["connection"]["original"]["sport"] == 40000
            if end == "ctrl-c":
                process.send_signal(signal.SIGINT)
                out, err = await asyncio.wait_for(process.communicate(), 20)
                assert (process.returncode, out, err) == (0, b"", b"")
                return
        out, err = await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode == 1
        assert b"has ended" in err

    asyncio.run(main())

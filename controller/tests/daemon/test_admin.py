# SPDX-License-Identifier: Apache-2.0
"""The admin socket: clients that behave badly, and controllers that want the same place.

The controller behind it has no target: what it answers does not need one.
"""

from __future__ import annotations

import asyncio
import json
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from p4ct.daemon import admin
from p4ct.daemon.admin import AdminServer, SocketInUse
from p4ct.daemon.commands import COMMANDS
from p4ct.daemon.controller import Controller

from .bench import controller_of, until, write_config


@asynccontextmanager
async def serving(folder: Path, **options: Any) -> AsyncIterator[AdminServer]:
    controller = controller_of(write_config(folder))
    server = AdminServer(controller, folder / "p4ct.sock", **options)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def exchange(path: Path, *lines: bytes, eof: bool = False) -> list[dict[str, Any]]:
    """Send the lines as they are; the answers until the server has none or ends."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        for line in lines:
            writer.write(line)
        if eof:
            writer.write_eof()
        expected = sum(line.count(b"\n") for line in lines) + eof
        answers = [await asyncio.wait_for(reader.readline(), 10) for _ in range(expected)]
        return [json.loads(answer) for answer in answers if answer]
    finally:
        writer.close()


def request(command: str, **arguments: Any) -> bytes:
    return json.dumps({"command": command, "arguments": arguments}).encode() + b"\n"


def test_several_requests_on_one_connection(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path) as server:
            answers = await exchange(server.path, request("conntrack-count"), request("status"))
            assert answers[0] == {"ok": True, "result": 0}
            assert answers[1]["result"]["target"]["connected"] is False

    asyncio.run(main())


@pytest.mark.parametrize("command", ["conntrack-list", "offload-list", "offload-why", "flows-list"])
def test_counters_of_a_switch_that_is_away_come_with_a_warning(
    tmp_path: Path, command: str
) -> None:
    async def main() -> None:
        async with serving(tmp_path) as server:
            (answer,) = await exchange(server.path, request(command))
            assert answer["ok"]
            assert answer["warning"] == (
                "the switch 127.0.0.1:9 is not connected: hardware counters are old"
            )
            server.controller.switch.standby = True
            (answer,) = await exchange(server.path, request(command))
            assert answer["warning"].startswith("another controller is primary: ")
            server.controller.switch.ready = True
            server.controller.switch.standby = False
            assert server.controller.warning == ""

    asyncio.run(main())


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"\n", "not a request: Input data was truncated"),
        (b"hello\n", "not a request: JSON is malformed"),
        (b"[]\n", "not a request: Expected `object`, got `array`"),
        (b'"\xff"\n', "not a request: "),
        (b'{"command": 5}\n', "not a request: Expected `str`, got `int` - at `$.command`"),
        (b'{"arguments": {}}\n', "not a request: Object missing required field `command`"),
        (b'{"command": "stat"}\n', "unknown command 'stat'; known: conntrack-count, "),
        (request("status", x=1), "arguments of status: Object contains unknown field `x`"),
        (request("conntrack-list", filter="tcp"), "arguments of conntrack-list: Expected `array`"),
        (request("conntrack-list", filter=[1]), "arguments of conntrack-list: Expected `str`"),
        (request("conntrack-flush", filter=["dport=http"]), "'dport=http': 'http' is not a number"),
        (request("explain", tuple=None), "arguments of explain: Expected `str`, got `null`"),
        (request("explain", tuple="tcp"), "missing: src, dst; for example: tcp src="),
        (request("flows-add", text=""), "there is no flow to add"),
        (request("flows-add"), "arguments of flows-add: Object missing required field `text`"),
        (request("flows-add", text="tcpp,actions=drop"), "flows:1:1: "),
        (request("flows-replace", text="actions=output:9", source="F"), "F:1:16: "),
        (request("flows-delete", match="tcp,actions=drop"), "MATCH:1:5: "),
    ],
)
def test_a_users_mistake_is_never_an_internal_error(
    tmp_path: Path, line: bytes, error: str
) -> None:
    async def main() -> None:
        async with serving(tmp_path) as server:
            ((answer), after) = await exchange(server.path, line, request("conntrack-count"))
            assert answer["ok"] is False
            assert answer["code"] == "INVALID_ARGUMENT"
            assert answer["error"].startswith(error)
            assert after["ok"], "the connection goes on after a mistake"

    asyncio.run(main())


def test_a_defect_is_told_as_one_and_logged(tmp_path: Path, monkeypatch, caplog) -> None:
    async def broken(controller: Controller, arguments: object) -> None:
        raise ZeroDivisionError("of course")

    monkeypatch.setitem(COMMANDS, "status", COMMANDS["status"]._replace(function=broken))

    async def main() -> None:
        async with serving(tmp_path) as server:
            (answer,) = await exchange(server.path, request("status"))
            assert answer["code"] == "INTERNAL"
            assert "see the controller's log" in answer["error"]

    asyncio.run(main())
    assert "ZeroDivisionError" in caplog.text


def test_half_a_request_is_answered(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path) as server:
            (answer,) = await exchange(server.path, b'{"command": "sta', eof=True)
            assert answer["error"].startswith("not a request: ")
            (answer,) = await exchange(server.path, request("status").strip(), eof=True)
            assert answer["ok"], "the end of the connection ends a request as well"

    asyncio.run(main())


def test_a_huge_request_is_refused_in_words(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path, max_request=1000) as server:
            (answer,) = await exchange(server.path, b"x" * 5000 + b"\n")
            assert answer["error"] == "the request is longer than 1000 bytes"
            (answer,) = await exchange(server.path, request("conntrack-count"))
            assert answer["ok"]

    asyncio.run(main())


def test_a_client_that_vanishes_disturbs_nobody(tmp_path: Path, caplog) -> None:
    async def main() -> None:
        async with serving(tmp_path) as server:
            for data in (b"", b"{", request("status"), request("status") * 500):
                client = socket.socket(socket.AF_UNIX)
                client.connect(str(server.path))
                client.sendall(data)
                client.close()
            await until(lambda: not server._clients, "the clients are forgotten")
            (answer,) = await exchange(server.path, request("conntrack-count"))
            assert answer["ok"]

    asyncio.run(main())
    assert not caplog.records


def test_more_clients_than_there_is_room_for(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(admin, "MAX_CLIENTS", 2)

    async def main() -> None:
        async with serving(tmp_path) as server:
            idle = [await asyncio.open_unix_connection(str(server.path)) for _ in range(2)]
            await until(lambda: len(server._clients) == 2, "two clients are connected")
            (answer,) = await exchange(server.path, b"", eof=True)
            assert answer["code"] == "RESOURCE_EXHAUSTED"
            idle[0][1].close()
            await until(lambda: len(server._clients) == 1, "one is gone")
            (answer,) = await exchange(server.path, request("conntrack-count"))
            assert answer["ok"]
            idle[1][1].close()

    asyncio.run(main())


def test_the_socket_is_for_its_owner_and_goes_with_the_server(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path) as server:
            assert stat.S_IMODE(server.path.stat().st_mode) == 0o600
        assert not server.path.exists()

    asyncio.run(main())


def test_stopping_ends_a_client_that_waits(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path) as server:
            reader, writer = await asyncio.open_unix_connection(str(server.path))
            await until(lambda: server._clients, "the client is connected")
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()

    asyncio.run(main())


def test_a_second_controller_is_refused_and_breaks_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path) as first:
            second = AdminServer(first.controller, first.path)
            with pytest.raises(SocketInUse, match="another p4ct answers there; stop it"):
                await second.start()
            await second.stop()
            (answer,) = await exchange(first.path, request("conntrack-count"))
            assert answer["ok"]

    asyncio.run(main())


def test_two_controllers_that_start_at_once_on_a_stale_socket(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "p4ct.sock"
        stale(path)
        controller = controller_of(write_config(tmp_path))
        servers = [AdminServer(controller, path) for _ in range(5)]
        outcomes = await asyncio.gather(*(s.start() for s in servers), return_exceptions=True)
        assert sum(outcome is None for outcome in outcomes) == 1
        assert sum(isinstance(outcome, SocketInUse) for outcome in outcomes) == 4
        for server in servers:
            await server.stop()

    asyncio.run(main())


def test_a_socket_that_was_replaced_is_left_alone(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path) as old:
            old.path.unlink()  # by hand, and then another controller starts
            new = AdminServer(old.controller, old.path)
            await new.start()
            await old.stop()
            (answer,) = await exchange(new.path, request("conntrack-count"))
            assert answer["ok"]
            await new.stop()

    asyncio.run(main())


def stale(path: Path) -> None:
    """What a controller leaves that was killed."""
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    stale(tmp_path / "p4ct.sock")

    async def main() -> None:
        async with serving(tmp_path) as server:
            (answer,) = await exchange(server.path, request("conntrack-count"))
            assert answer["ok"]

    asyncio.run(main())


def test_a_file_in_the_sockets_place_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "p4ct.sock").write_text("precious")

    async def main() -> None:
        with pytest.raises(SocketInUse, match="is there and is not a socket"):
            async with serving(tmp_path):
                pass

    asyncio.run(main())
    assert (tmp_path / "p4ct.sock").read_text() == "precious"


def test_a_live_socket_whose_owner_is_busy_is_not_removed(tmp_path: Path) -> None:
    """Its backlog is full, so that it does not answer; it is not stale for that."""
    path = tmp_path / "p4ct.sock"
    owner = socket.socket(socket.AF_UNIX)
    owner.bind(str(path))
    owner.listen(0)
    waiting = []
    try:
        while True:
            client = socket.socket(socket.AF_UNIX)
            client.setblocking(False)
            waiting.append(client)
            client.connect(str(path))
    except BlockingIOError:
        pass

    async def main() -> None:
        with pytest.raises(SocketInUse):
            async with serving(tmp_path):
                pass

    asyncio.run(main())
    assert path.exists()
    for client in waiting:
        client.close()
    owner.close()


def test_directories_are_made_and_errors_are_oserrors(tmp_path: Path) -> None:
    async def main() -> None:
        controller = controller_of(write_config(tmp_path))
        server = AdminServer(controller, tmp_path / "run/p4ct/ctl")
        await server.start()
        assert server.path.exists()
        await server.stop()
        (tmp_path / "file").write_text("")
        with pytest.raises(OSError, match=r"Not a directory|File exists"):
            await AdminServer(controller, tmp_path / "file/ctl").start()

    asyncio.run(main())


def test_a_directory_that_may_not_be_written(tmp_path: Path) -> None:
    async def main() -> None:
        controller = controller_of(write_config(tmp_path))
        not_even_root = Path("/sys/p4ct.sock")
        with pytest.raises(OSError, match=r"not permitted|denied|[Rr]ead-only"):
            await AdminServer(controller, not_even_root).start()

    asyncio.run(main())

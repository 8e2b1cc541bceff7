# SPDX-License-Identifier: Apache-2.0
"""Metrics over HTTP: of the real controller on the embedded target, and for odd clients."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from p4ct.daemon import metrics_server
from p4ct.daemon.commands import carry_out
from p4ct.daemon.controller import Controller
from p4ct.daemon.metrics_server import MetricsServer
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families

from .bench import (
    ACK,
    IP,
    MAC,
    SCRIPTS,
    build,
    controller_of,
    running,
    softswitch,
    until,
    write_config,
)

# The first push compiles the program.
pytestmark = pytest.mark.timeout(180)


@asynccontextmanager
async def serving(controller: Controller) -> AsyncIterator[MetricsServer]:
    server = MetricsServer(controller, "127.0.0.1", 0)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def get(server: MetricsServer, path: str = "/metrics", accept: str = "") -> tuple[str, str]:
    """Body and content type, by an ordinary HTTP client in a thread of its own."""

    def fetch() -> tuple[str, str]:
        url = f"http://127.0.0.1:{server.port}{path}"
        request = urllib.request.Request(url, headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.read().decode(), answer.headers["Content-Type"]

    return await asyncio.to_thread(fetch)


async def scrape(server: MetricsServer) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    body, _ = await get(server)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
    }


def test_a_scrape_says_what_was_sent(tmp_path: Path) -> None:
    async def main(address: str) -> None:
        async with (
            running(write_config(tmp_path, address)) as bench,
            serving(bench.controller) as server,
        ):
            await bench.connect()
            frame = build.tcp_frame(
                eth_src=MAC[1], eth_dst=MAC[3], src=IP[1], dst=IP[3], sport=40000, dport=80,
                seq=1001, ack=3001, flags=ACK, payload=b"data",
            )  # fmt: skip
            for _ in range(5):
                bench.packet(1, frame)
            forwarded = bench.controller.manager

            async def read() -> None:
                while forwarded.forwarded[0] < 5:
                    await bench.controller.refresh()
                    await asyncio.sleep(0.01)

            await asyncio.wait_for(read(), 20)
            seen = await scrape(server)

            def of(name: str, **labels: str) -> float:
                return seen[name, frozenset(labels.items())]

            # ARP both ways, SYN, SYN/ACK, and the ACK that completes the handshake.
            assert of("p4ct_packets_total", path="software") == 5
            assert of("p4ct_punts_total", vport="vm1", reason="MISS") == 2
            assert of("p4ct_punts_total", vport="vm1", reason="TCP_SYN") == 1
            assert of("p4ct_punts_total", vport="ext", reason="MISS") == 1
            assert of("p4ct_punts_total", vport="ext", reason="TCP_SYN") == 1
            assert of("p4ct_eswitch_punts_total", reason="TCP_SYN") == 2
            assert of("p4ct_policer_dropped_packets_total", **{"class": "syn"}) == 0
            assert of("p4ct_packets_total", path="hardware") == 5
            assert of("p4ct_bytes_total", path="hardware") == 5 * len(frame)
            assert of("p4ct_connections", protocol="tcp", state="ESTABLISHED") == 1
            assert of("p4ct_zone_connections", zone="1") == 1
            assert of("p4ct_connections_seen_total") == 1
            assert of("p4ct_offload_records") == 1
            assert of("p4ct_offload_entries") == 2
            assert of("p4ct_offload_installs_total") == 1
            assert of("p4ct_target_connected") == 1
            assert of("p4ct_target_sessions_total") == 1
            assert of("p4ct_p4runtime_write_duration_seconds_count") >= 2
            assert of("process_resident_memory_bytes") > 10**6
            await carry_out(bench.controller, "conntrack-flush", {})
            seen = await scrape(server)
            assert of("p4ct_offload_records") == 0
            assert of("p4ct_offload_entries") == 0
            assert of("p4ct_offload_removals_total", cause="flushed") == 1
            assert of("p4ct_packets_total", path="hardware") == 5, "it does not forget"
            assert ("p4ct_connections", frozenset()) not in seen

    with softswitch() as (address, _):
        asyncio.run(main(address))


def test_a_switch_that_goes_away_is_seen(tmp_path: Path) -> None:
    async def main() -> None:
        with softswitch() as (address, process):
            path = write_config(tmp_path, address)
            async with running(path) as bench, serving(bench.controller) as server:
                process.kill()
                await until(lambda: not bench.ready, "the session is lost")
                seen = await scrape(server)
                assert seen["p4ct_target_connected", frozenset()] == 0
                assert not [name for name, _ in seen if name.startswith("p4ct_eswitch_")]

    asyncio.run(main())


def test_openmetrics_for_who_accepts_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(controller_of(write_config(tmp_path))) as server:
            body, kind = await get(server, accept="application/openmetrics-text; version=1.0.0")
            assert kind.startswith("application/openmetrics-text")
            families = {family.name for family in parse_openmetrics(body)}
            assert "p4ct_packets" in families
            _, kind = await get(server, accept="text/html")
            assert kind.startswith("text/plain; version=0.0.4")

    asyncio.run(main())


async def raw(server: MetricsServer, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(request)
        return await asyncio.wait_for(reader.read(), 20)
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"404 Not Found"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405 Method Not Allowed"),
        (b"hello\r\n\r\n", b"400 Bad Request"),
        (b"GET /metrics SPDY/3\r\n\r\n", b"400 Bad Request"),
        (b"\r\n\r\n", b"400 Bad Request"),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 20000 + b"\r\n\r\n", b"431 Request Header"),
        (b"GET /metrics?x=1 HTTP/1.0\r\n\r\n", b"200 OK"),
    ],
)
def test_odd_requests(tmp_path: Path, request_: bytes, status: bytes) -> None:
    async def main() -> None:
        async with serving(controller_of(write_config(tmp_path))) as server:
            assert (await raw(server, request_)).startswith(b"HTTP/1.1 " + status)

    asyncio.run(main())


def test_head_has_no_body(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(controller_of(write_config(tmp_path))) as server:
            answer = await raw(server, b"HEAD /metrics HTTP/1.1\r\n\r\n")
            head, _, body = answer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK")
            assert b"Content-Length: " in head
            assert body == b""

    asyncio.run(main())


def test_silent_and_vanishing_clients_disturb_nobody(tmp_path: Path, monkeypatch, caplog) -> None:
    monkeypatch.setattr(metrics_server, "CLIENT_TIMEOUT", 0.2)

    async def main() -> None:
        async with serving(controller_of(write_config(tmp_path))) as server:
            for data in (b"", b"GET /met", b"GET /metrics HTTP/1.1\r\n\r\n"):
                _, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(data)
                writer.close()
            silent = await asyncio.open_connection("127.0.0.1", server.port)
            assert await asyncio.wait_for(silent[0].read(), 20) == b"", "it was sent away"
            silent[1].close()
            await until(lambda: not server._clients, "the clients are forgotten")
            assert "p4ct_packets_total" in (await get(server))[0]

    asyncio.run(main())
    assert not caplog.records


def test_a_client_that_takes_nothing_is_sent_away(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(metrics_server, "CLIENT_TIMEOUT", 0.2)

    async def main() -> None:
        async with serving(controller_of(write_config(tmp_path))) as server:

            async def much(_: str) -> tuple[bytes, str]:
                return bytes(50_000_000), "text/plain"

            monkeypatch.setattr(server, "text", much)
            client = socket.create_connection(("127.0.0.1", server.port))
            client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            await until(lambda: server._clients, "it is heard")
            await until(lambda: not server._clients, "it is sent away")
            client.close()

    asyncio.run(main())


def test_more_clients_than_there_is_room_for(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(metrics_server, "MAX_CLIENTS", 2)

    async def main() -> None:
        async with serving(controller_of(write_config(tmp_path))) as server:
            idle = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)]
            await until(lambda: len(server._clients) == 2, "two clients are connected")
            with pytest.raises(urllib.error.HTTPError, match="503"):
                await get(server)
            for _, writer in idle:
                writer.close()
            await until(lambda: not server._clients, "they are gone")
            assert "p4ct_packets_total" in (await get(server))[0]

    asyncio.run(main())


def test_a_defect_is_told_and_logged(tmp_path: Path, monkeypatch, caplog) -> None:
    monkeypatch.setattr(metrics_server, "families", None)

    async def main() -> None:
        async with serving(controller_of(write_config(tmp_path))) as server:
            with pytest.raises(urllib.error.HTTPError, match="500"):
                await get(server)

    asyncio.run(main())
    assert "the metrics could not be made" in caplog.text


def refusal(path: Path) -> str:
    """What `p4ct run` says when it does not start; nothing half-done stays."""
    done = subprocess.run(
        [SCRIPTS / "p4ct", "run", "-c", path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert not (path.parent / "p4ct.sock").exists()
    return done.stderr


def test_a_port_in_use_is_named_with_its_key(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f'listen = "127.0.0.1:{taken.getsockname()[1]}"'
        path = write_config(tmp_path, more=f"[metrics]\n{listen}\n")
        line = path.read_text().splitlines().index(listen) + 1
        said = refusal(path)
    assert (
        f"{path}:{line}: metrics.listen: the port is in use; choose another one, or stop who has it"
    ) in said


@pytest.mark.parametrize(
    ("listen", "what"),
    [
        ("192.0.2.1:9090", "no interface has this address; choose one of this machine's"),
        ("no-such-host.invalid:9090", "; choose an address of this machine"),
    ],
)
def test_an_address_where_nobody_can_listen(tmp_path: Path, listen: str, what: str) -> None:
    said = refusal(write_config(tmp_path, more=f'[metrics]\nlisten = "{listen}"\n'))
    assert ": metrics.listen: " in said
    assert what in said

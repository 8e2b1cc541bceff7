# SPDX-License-Identifier: Apache-2.0
"""The programs that run inside the hosts, here against each other on the loopback interface."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scapy.all import ARP, IP, TCP, Ether, rdpcap

from topo.programs import capture, tcp_probe

ROOT = Path(__file__).resolve().parent.parent.parent


def start(name: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", f"topo.programs.{name}", *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == '"ready"\n'


class Talker:
    def __init__(self) -> None:
        self.process = start("talker")

    def ask(self, line: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@pytest.fixture
def talker() -> Iterator[Talker]:
    talker = Talker()
    yield talker
    talker.process.kill()
    talker.process.communicate()


@pytest.fixture
def ports() -> Iterator[tuple[int, int]]:
    """An echo port and a port that answers 300000 bytes after the end of the request."""
    echo, answer = free_port(), free_port()
    process = start("listener", f"{echo}=echo", f"{answer}=answer:300000")
    ready(process)
    yield echo, answer
    process.kill()
    process.communicate()


def test_talker_echoes_and_closes(talker: Talker, ports: tuple[int, int]) -> None:
    connected = talker.ask(f"connect 127.0.0.1 {ports[0]} 5")
    assert connected["connected"]
    assert connected["sport"] > 0
    assert talker.ask("echo 3") == {"rounds": 3}
    assert talker.ask("close") == {}


def test_talker_reads_on_after_its_own_end(talker: Talker, ports: tuple[int, int]) -> None:
    talker.ask(f"connect 127.0.0.1 {ports[1]} 5")
    talker.ask("stream")
    assert talker.ask("shutdown") == {"received": 300000}


def test_talker_resets(talker: Talker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        talker.ask(f"connect 127.0.0.1 {server.getsockname()[1]} 5")
        peer, _ = server.accept()
        with peer:
            talker.ask("reset")
            with pytest.raises(ConnectionResetError):
                peer.recv(1)


def test_talker_says_why_it_cannot_connect(talker: Talker) -> None:
    answer = talker.ask(f"connect 127.0.0.1 {free_port()} 1")
    assert not answer["connected"]
    assert "refused" in answer["error"]
    assert talker.ask("echo 1") == {"error": "echo: not connected"}


def test_http_client_counts_answers_and_failures() -> None:
    port = free_port()
    server = start("http_server", str(port))
    ready(server)
    try:
        good = start("http_client", "127.0.0.1", str(port), "20", "4").communicate()[0]
        assert json.loads(good) == {"ok": 20, "failed": 0, "errors": {}}
    finally:
        server.kill()
        server.communicate()
    bad = json.loads(start("http_client", "127.0.0.1", str(port), "3", "2").communicate()[0])
    assert (bad["ok"], bad["failed"]) == (0, 3)


def test_a_probe_segment_has_a_right_checksum() -> None:
    segment = tcp_probe.segment("10.0.0.3", "10.0.0.1", 443, 16)
    pseudo = socket.inet_aton("10.0.0.3") + socket.inet_aton("10.0.0.1") + b"\0\x06\0\x14"
    assert len(segment) == 20
    assert segment[13] == 16
    assert tcp_probe.checksum(pseudo + segment) == 0
    damaged = bytes([segment[0] ^ 1]) + segment[1:]
    assert tcp_probe.checksum(pseudo + damaged) != 0


def test_capture_selects_stamps_and_writes(tmp_path: Path) -> None:
    pcap = tmp_path / "lo.pcap"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        running = start("capture", "lo", "dst=127.0.0.1", f"dport={port}", str(pcap))
        ready(running)
        started = time.time()
        socket.create_connection(("127.0.0.1", port)).close()
        server.accept()[0].close()
        output, _ = running.communicate(timeout=10.0)
    times = json.loads(output)
    assert len(times) >= 2  # SYN and ACK at least; the other direction has another port
    assert all(started <= moment <= time.time() for moment in times)
    packets = rdpcap(str(pcap))
    assert len(packets) == len(times)
    assert {packet["TCP"].dport for packet in packets} == {port}


@pytest.mark.parametrize(
    ("selections", "selected"),
    [
        ({}, True),
        ({"src": "10.0.0.3", "dport": "80"}, True),
        ({"dst": "10.0.0.1", "sport": "40000"}, True),
        ({"src": "10.0.0.2"}, False),
        ({"dport": "81"}, False),
    ],
)
def test_capture_selections(selections: dict[str, str], selected: bool) -> None:
    frame = bytes(Ether() / IP(src="10.0.0.3", dst="10.0.0.1") / TCP(sport=40000, dport=80))
    assert capture.selects(frame, selections) is selected
    if selections:
        assert not capture.selects(frame[:30], selections)
        assert not capture.selects(bytes(Ether() / ARP()), selections)

# SPDX-License-Identifier: Apache-2.0
"""`p4ct top` and the metrics of `p4ct run`, end to end: real frames on real interfaces, through
softswitch and a controller that are processes of their own.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from p4ct.cli.top import COLUMNS, line, size
from p4ct.cli.top_screen import screen, show_live
from p4ct.packet import build
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from ..daemon.bench import ACK, IP, MAC, SCRIPTS, SYN, write_config

# The first push compiles the program.
pytestmark = pytest.mark.timeout(180)

DATA = 40
"""Packets of the connection that entries forward."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Station:
    """The far end of one port of the switch: a packet socket on a veth."""

    def __init__(self, number: int, mark: int) -> None:
        self.near, far = f"sw{mark}p{number}", f"st{mark}p{number}"
        add = ["ip", "link", "add", self.near, "type", "veth", "peer", "name", far]
        subprocess.run(add, check=True)
        for name in (self.near, far):
            ipv6 = Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6")
            if ipv6.exists():
                ipv6.write_text("1")  # the kernel's own packets are nobody's here
            subprocess.run(["ip", "link", "set", name, "up"], check=True)
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.socket.bind((far, 0))
        self.socket.settimeout(20)
        self.number = number
        self.seq = 1000 * number

    def arp(self) -> None:
        target = IP[4 - self.number]
        own = MAC[self.number]
        self.socket.send(
            build.arp_frame(op=1, sha=own, spa=IP[self.number], tha=bytes(6), tpa=target)
        )

    def tcp(self, flags: int, other: Station, payload: bytes = b"") -> bytes:
        """Send one segment of the connection vm1:40000 > ext:80."""
        me, you = self.number, other.number
        frame = build.tcp_frame(
            eth_src=MAC[me], eth_dst=MAC[you], src=IP[me], dst=IP[you],
            sport=40000 if me == 1 else 80, dport=80 if me == 1 else 40000,
            seq=self.seq, ack=other.seq if flags & ACK else 0, flags=flags, payload=payload,
        )  # fmt: skip
        self.seq += len(payload) + bool(flags & SYN)
        self.socket.send(frame)
        return frame

    def receive(self, frame: bytes) -> None:
        """Wait for this frame."""
        while True:
            got, (_, _, kind, *_) = self.socket.recvfrom(65536)
            if kind != socket.PACKET_OUTGOING and got == frame:
                return

    def close(self) -> None:
        self.socket.close()
        subprocess.run(["ip", "link", "del", self.near], check=True)


@contextlib.contextmanager
def process(command: list[Any], cwd: Path, ready: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as made:
        try:
            said: list[str] = []
            assert made.stdout is not None
            for text in made.stdout:
                said.append(text)
                if ready in text:
                    break
            else:
                raise AssertionError(f"it ended: {''.join(said)}")
            yield made
        finally:
            made.kill()


class Stage:
    """Two stations, softswitch between them, and a controller with metrics."""

    def __init__(self, folder: Path, port: int, vm1: Station, ext: Station) -> None:
        self.folder, self.port, self.vm1, self.ext = folder, port, vm1, ext

    def p4ct(self, *words: str) -> list[Any]:
        return [SCRIPTS / "p4ct", "--socket", self.folder / "p4ct.sock", *words]

    def ask(self, *words: str) -> Any:
        done = subprocess.run(self.p4ct(*words), capture_output=True, check=True, timeout=60)
        return json.loads(done.stdout)

    def scrape(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=20) as answer:
            text = answer.read().decode()
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("top")
    grpc, metrics, mark = free_port(), free_port(), os.getpid() % 100000
    config = write_config(
        folder, f"127.0.0.1:{grpc}", more=f'[metrics]\nlisten = "127.0.0.1:{metrics}"\n'
    )
    text = config.read_text()
    config.write_text(text.replace("connect_timeout = 0.3", "connect_timeout = 30"))
    with contextlib.ExitStack() as stack:
        vm1, ext = Station(1, mark), Station(3, mark)
        stack.callback(vm1.close)
        stack.callback(ext.close)
        switch: list[Any] = [SCRIPTS / "softswitch", "--no-p4", "-i", f"1@{vm1.near}"]
        switch += ["-i", f"3@{ext.near}", "--", "--grpc-server-addr", f"127.0.0.1:{grpc}"]
        switch += ["--cpu-port", "510"]
        stack.enter_context(process(switch, folder, "Server listening on "))
        run = [SCRIPTS / "p4ct", "run", "-c", config]
        stack.enter_context(process(run, folder, "switch ready"))
        yield Stage(folder, metrics, vm1, ext)


def until(condition: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.05)


def test_a_connection_is_seen_in_metrics_and_top(stage: Stage) -> None:
    vm1, ext = stage.vm1, stage.ext
    vm1.arp()
    until(lambda: stage.ask("status", "--json")["packets"]["punted"] == 1, "the ARP")
    ext.arp()
    until(lambda: stage.ask("status", "--json")["packets"]["punted"] == 2, "the other ARP")
    software = 0
    for own, other, flags in ((vm1, ext, SYN), (ext, vm1, SYN | ACK), (vm1, ext, ACK)):
        frame = own.tcp(flags, other)
        software += len(frame)
        other.receive(frame)
    until(lambda: stage.ask("status", "--json")["entries"] == 2, "the entries")

    assert stage.ask("status", "--json")["packets"]["fast_path"] == 0
    top = subprocess.Popen(
        stage.p4ct("top", "--json", "--count", "2", "--interval", "3"), stdout=subprocess.PIPE
    )
    assert top.stdout is not None
    assert json.loads(top.stdout.readline())["rates"]["hardware_packets"] == 0
    time.sleep(0.5)  # the second interval has begun by now, and is far from its end
    hardware = 0
    for _ in range(DATA):
        frame = vm1.tcp(ACK, ext, b"x" * 500)
        hardware += len(frame)
        ext.receive(frame)
    answer = json.loads(top.communicate(timeout=60)[0])
    assert answer["rates"]["hardware_packets"] * answer["seconds"] == pytest.approx(DATA, 1e-3)
    assert answer["rates"]["hardware_bytes"] * answer["seconds"] == pytest.approx(hardware, 1e-3)
    assert answer["hardware_share"] == 1.0
    assert answer["records"]["active"] == 1
    (busiest,) = answer["busiest"]
    assert (busiest["src"], busiest["sport"], busiest["zones"]) == ("10.0.0.1", 40000, [1])
    assert busiest["packets"] == answer["rates"]["hardware_packets"]

    seen = stage.scrape()

    def of(name: str, **labels: str) -> float:
        return seen[name, frozenset(labels.items())]

    assert of("p4ct_packets_total", path="hardware") == DATA
    assert of("p4ct_bytes_total", path="hardware") == hardware
    assert of("p4ct_packets_total", path="software") == 5
    assert of("p4ct_bytes_total", path="software") == software + 2 * 42
    assert of("p4ct_punts_total", vport="vm1", reason="TCP_SYN") == 1
    assert of("p4ct_punts_total", vport="ext", reason="TCP_SYN") == 1
    assert of("p4ct_punts_total", vport="vm1", reason="MISS") == 2
    assert of("p4ct_connections", protocol="tcp", state="ESTABLISHED") == 1
    assert of("p4ct_offload_records") == 1
    assert of("p4ct_target_connected") == 1


def test_lines_elsewhere_than_on_a_terminal(stage: Stage) -> None:
    done = subprocess.run(
        stage.p4ct("top", "--count", "2", "--interval", "0.1"),
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    head, *lines = done.stdout.splitlines()
    assert head.split()[0] == "time"
    assert len(lines) == 2
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d( +[\d.kMGT-]+){10}", text) for text in lines)
    assert done.stderr == ""


def read(master: int, wanted: bytes) -> bytes:
    """What a terminal shows, until it shows this."""
    seen = b""
    while wanted not in seen:
        ready, _, _ = select.select([master], [], [], 30)
        assert ready, f"never: {wanted!r} in {seen!r}"
        seen += os.read(master, 65536)
    return seen


def test_a_screen_on_a_terminal_and_control_c_ends_it(stage: Stage) -> None:
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
    top = subprocess.Popen(
        stage.p4ct("top", "--interval", "0.1"),
        stdin=slave, stdout=slave, stderr=slave, env=environment,
    )  # fmt: skip
    try:
        os.close(slave)
        assert b"\x1b[?1049h" in read(master, b"punts/s"), "the other screen"
        top.send_signal(signal.SIGINT)
        rest = read(master, b"\x1b[?1049l")
        assert top.wait(30) == 0
        with contextlib.suppress(OSError):  # the terminal has gone
            while more := os.read(master, 65536):
                rest += more
        assert b"Traceback" not in rest
        assert b"Aborted" not in rest
        assert b"punts/s" in rest.partition(b"\x1b[?1049l")[2], "the last interval stays"
    finally:
        top.kill()
        os.close(master)


def test_without_a_controller(tmp_path: Path) -> None:
    done = subprocess.run(
        [SCRIPTS / "p4ct", "--socket", tmp_path / "none.sock", "top"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    assert "no controller: there is no socket" in done.stderr
    assert "start one with 'p4ct run'" in done.stderr


TARGET = {
    "address": "127.0.0.1:9559",
    "connected": True,
    "standby": False,
    "in_step": True,
    "fresh": True,
}
ANSWER: dict[str, Any] = {
    "time": 0.0,
    "seconds": 2.0,
    "target": TARGET,
    "rates": dict.fromkeys(
        ("punts", "slow_path_bytes", "slow_path_sent", "hardware_packets", "hardware_bytes",
         "connections", "installs", "removals", "failures", "drops", "policer_drops"), 0.0,
    ) | {"punts": 12.5, "hardware_packets": 1234567.0},
    "hardware_share": 0.99999,
    "records": {"active": 3, "capacity": 4, "pending": 7, "in_flight": 0},
    "connections": {"total": 11, "limit": 262144},
    "busiest": [
        {"proto": "tcp", "src": "fd00::1", "dst": "fd00::3", "sport": 1, "dport": 2,
         "in_port": "vm1", "output": "ext", "zones": [1, 5], "packets": 600.0, "bytes": 9e9},
        {"proto": "icmp", "src": "10.0.0.1", "dst": "10.0.0.3", "sport": 77, "dport": 2048,
         "in_port": "vm1", "output": "ext", "zones": [1], "packets": 1.0, "bytes": 98.0},
    ],
    "zones": [{"zone": 5, "connections": 10, "packets": 600.0, "bytes": 9e9}],
    "vports": [{"vport": "vm1", "punts": 12.5, "reason": "MISS"}],
    "reasons": [{"reason": "pending, the eswitch is full", "connections": 7}],
}  # fmt: skip


def drawn(answer: dict[str, Any], width: int = 100) -> str:
    file = io.StringIO()
    Console(file=file, width=width).print(screen(answer))
    return file.getvalue()


def test_the_screen_says_it_all() -> None:
    text = drawn(ANSWER)
    for words in (
        "127.0.0.1:9559 connected", "1.23M packets/s", "100.00 % of all packets", "12.5 punts/s",
        "3 of 4, 7 pending", "11 of 262144", "[fd00::1]:1", "[fd00::3]:2", "1,5", "9.00G",
        "vm1 > ext", "10.0.0.3 id=77", "MISS", "pending, the eswitch is full",
    ):  # fmt: skip
        assert words in text, words
    assert max(map(len, text.splitlines())) <= 100


def test_lists_without_items_are_left_out() -> None:
    lists: dict[str, Any] = {"busiest": [], "zones": [], "vports": [], "reasons": []}
    text = drawn({**ANSWER, **lists, "hardware_share": None})
    assert "busiest" not in text
    assert "no packet" in text


def test_a_switch_that_is_away_is_told_both_ways() -> None:
    away = {**ANSWER, "target": {**TARGET, "connected": False, "fresh": False}}
    assert "NOT CONNECTED" in drawn(away)
    assert line(away).endswith("  counters may be old")
    assert len(line(ANSWER)) == sum(width + 1 for _, width in COLUMNS) - 1


def test_a_failure_leaves_the_last_screen() -> None:
    def answers() -> Iterator[dict[str, Any]]:
        yield ANSWER
        raise RuntimeError("the controller has ended")

    file = io.StringIO()
    with pytest.raises(RuntimeError):
        show_live(answers(), Console(file=file, force_terminal=True, width=100))
    assert "12.5 punts/s" in file.getvalue().rpartition("\x1b[?1049l")[2]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"), (0.0, "0"), (0.5, "0.5"), (99.97, "100"),
        (9.97, "10.0"), (12.5, "12.5"), (9999, "9999"),
        (9999.4, "9999"), (9999.6, "10.0k"), (12345, "12.3k"), (123456, "123k"),
        (999499, "999k"), (999600, "1.00M"), (1234567, "1.23M"), (9.876e9, "9.88G"),
        (5e15, "5000T"),
    ],
)  # fmt: skip
def test_sizes(number: float, text: str) -> None:
    assert size(number) == text
    assert len(size(number)) <= 6


def test_other_commands_do_not_wait_for_rich() -> None:
    code = "import sys, p4ct.cli; sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

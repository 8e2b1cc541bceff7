# SPDX-License-Identifier: Apache-2.0
"""What the steps of the scenario share: the network, the controller, and how to state a verdict."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from topo import control
from topo.hosts import Network
from topo.plan import HostPlan
from topo.processes import Service
from topo.report import Expectation, Report


class StepFailed(Exception):
    """A step could not be carried out; the text says what was seen."""


@dataclass(frozen=True)
class Sizes:
    """How long and how much; `QUICK` is for the tests of the topology itself.

    The TCP transfer has its full length even there: the packets before the entries and after the
    end (what was still on its way when a side closed) are to be less than one in a thousand.
    """

    http_connections: int = 200
    tcp_seconds: int = 10
    udp_seconds: int = 5
    restart_seconds: int = 12
    half_close_bytes: int = 8_000_000
    scanned_ports: str = "81-280"


QUICK = Sizes(
    http_connections=40,
    udp_seconds=2,
    restart_seconds=10,
    half_close_bytes=2_000_000,
    scanned_ports="81-130",
)


@dataclass
class Context:
    """Handed to every step."""

    network: Network
    target: Service
    controller: Service
    sizes: Sizes
    report: Report
    on_verdict: Callable[[Expectation], None]
    #: Programs that run until the end of the scenario.
    servers: list[subprocess.Popen[str]] = field(default_factory=list[subprocess.Popen[str]])
    #: The connection that is left alone, and when it was last used (CLOCK_MONOTONIC, seconds).
    idle: tuple[Talk, float] | None = None

    def expect(self, name: str, ok: bool, detail: str) -> None:
        """State a verdict."""
        expectation = Expectation(name, ok, detail)
        self.report.expectations.append(expectation)
        self.on_verdict(expectation)

    def program(self, host: HostPlan, name: str, *arguments: str) -> subprocess.Popen[str]:
        """Start one of topo.programs inside a host, with pipes."""
        command = [sys.executable, "-m", f"topo.programs.{name}", *arguments]
        return self.popen(host, command)

    def popen(self, host: HostPlan, command: list[str]) -> subprocess.Popen[str]:
        """Start any program inside a host, with pipes."""
        pipe = subprocess.PIPE
        return self.network.popen(host.name, command, stdin=pipe, stdout=pipe, stderr=pipe)

    def serve(self, host: HostPlan, name: str, *arguments: str) -> None:
        """Start a server of topo.programs and wait until it says that it is ready."""
        self.serve_module(host, f"topo.programs.{name}", *arguments)

    def serve_module(self, host: HostPlan, name: str, *arguments: str) -> None:
        """The same with any module of ours."""
        process = self.popen(host, [sys.executable, "-m", name, *arguments])
        self.servers.append(process)
        assert process.stdout is not None
        if process.stdout.readline().strip() != '"ready"':
            raise StepFailed(f"{name} on {host.name} did not start: {errors_of(process)}")

    def run(self, host: HostPlan, command: list[str], timeout: float) -> tuple[int, str, str]:
        """Run a program inside a host; its exit code, output and errors."""
        process = self.popen(host, command)
        try:
            output, errors = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise StepFailed(
                f"{' '.join(command)} on {host.name}: no end in {timeout:.0f} s"
            ) from None
        return process.returncode, output, errors

    def run_program(self, host: HostPlan, name: str, *arguments: str, timeout: float) -> Any:
        """Run one of topo.programs inside a host; the JSON that it prints."""
        command = [sys.executable, "-m", f"topo.programs.{name}", *arguments]
        code, output, errors = self.run(host, command, timeout)
        if code != 0:
            raise StepFailed(f"{name} on {host.name}: exit code {code}: {errors.strip()[-300:]}")
        return json.loads(output)

    def stop_servers(self) -> None:
        """End the servers."""
        for process in self.servers:
            process.terminate()
        for process in self.servers:
            process.communicate()
        self.servers.clear()


def errors_of(process: subprocess.Popen[str]) -> str:
    """What a program that ended early wrote to its standard error."""
    process.kill()
    return process.communicate()[1].strip()[-300:]


class Talk:
    """A talker program (topo.programs.talker) with one TCP connection; a context manager."""

    def __init__(self, context: Context, host: HostPlan) -> None:
        self.process = context.program(host, "talker")
        self.sport = 0

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def ask(self, *words: object) -> dict[str, Any]:
        """Send a command; its answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(" ".join(map(str, words)) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise StepFailed(f"talker ended: {errors_of(self.process)}") from None
        line = self.process.stdout.readline()
        if not line:
            raise StepFailed(f"talker ended: {errors_of(self.process)}")
        return json.loads(line)

    def must(self, *words: object) -> dict[str, Any]:
        """Send a command that has to succeed."""
        answer = self.ask(*words)
        if answer.get("error"):
            raise StepFailed(f"{' '.join(map(str, words))}: {answer['error']}")
        return answer

    def connect_offloaded(self, address: str, port: int) -> None:
        """Connect to an echo server and exchange messages until the connection has entries."""
        self.sport = self.must("connect", address, port, 10)["sport"]
        self.must("echo", 5)

        def has_entries() -> bool:
            self.must("echo", 1)
            return control.offloaded(self.sport)

        if control.wait_until(has_entries, timeout=5.0) is None:
            reasons = [c.get("offload_reason", "") for c in control.connections(self.sport)]
            raise StepFailed(
                f"the connection from port {self.sport} was not offloaded within 5 s "
                f"({'; '.join(reasons) or 'not tracked'})"
            )

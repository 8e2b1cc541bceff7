# SPDX-License-Identifier: Apache-2.0
"""Long-running processes of the topology: started with a log, awaited, stopped, and explained when
they fail."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from topo import plan


class ProcessFailed(Exception):
    """A process did not start or died; the text has its command, exit code and last log lines."""


def tail(path: Path, lines: int = 12) -> str:
    """The last lines of a text file, indented; "" when there is none."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:])


class Service:
    """One process in a session of its own, so that Ctrl-C reaches only the one who stops it."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        self.command = command
        self.log = plan.LOGS / f"{name}.out"
        self.process: subprocess.Popen[bytes] | None = None
        #: What the process writes to its own log file, if anything; shown beside `log`.
        self.own_log: Path | None = None

    def start(self) -> None:
        """Start it; its output is appended to the log."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            output.write(f"$ {' '.join(self.command)}\n".encode())
            output.flush()
            try:
                self.process = subprocess.Popen(
                    self.command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=plan.ROOT,
                    start_new_session=True,
                )
            except OSError as error:
                raise ProcessFailed(
                    f"cannot start {self.name}: {self.command[0]}: {error.strerror}"
                ) from error

    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self.process is not None and self.process.poll() is None

    def explain(self, what: str) -> ProcessFailed:
        """An error that says what went wrong, with the command and the end of the logs."""
        code = self.process.poll() if self.process else None
        state = "still runs" if code is None else f"exit code {code}"
        parts = [f"{self.name}: {what} ({state})", f"  command: {' '.join(self.command)}"]
        for log in (self.log, self.own_log):
            if log is not None and (end := tail(log)):
                parts += [f"  end of {log}:", end]
        return ProcessFailed("\n".join(parts))

    def wait_ready(self, ready: Callable[[], bool], timeout: float) -> None:
        """Return once `ready` holds; ProcessFailed when it dies or `timeout` seconds pass."""
        deadline = time.monotonic() + timeout
        while not ready():
            if not self.running():
                raise self.explain("ended while starting")
            if time.monotonic() > deadline:
                raise self.explain(f"not ready after {timeout:.0f} s")
            time.sleep(0.1)

    def signal_and_wait(self, number: signal.Signals, timeout: float) -> int | None:
        """Send a signal and wait; the exit code (negative: signal), None if it goes on running."""
        if self.process is None:
            return None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def stop(self, timeout: float = 5.0) -> int | None:
        """SIGTERM, then SIGKILL to its whole session after `timeout` seconds; the exit code."""
        if self.process is None:
            return None
        if self.running() and self.signal_and_wait(signal.SIGTERM, timeout) is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(timeout)
        return self.process.returncode


def listening(address: str) -> bool:
    """Whether something accepts TCP connections at "host:port"."""
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=1.0).close()
    except OSError:
        return False
    return True


def own_command(name: str) -> str:
    """The path of a command of our own packages."""
    path = plan.ROOT / ".venv" / "bin" / name
    if not path.exists():
        raise ProcessFailed(f"{name} is not installed in .venv; run: make setup")
    return str(path)


def target_command(target: str) -> list[str]:
    """The command line that starts a target; both take simple_switch_grpc's options."""
    if target == "bmv2":
        program = shutil.which("simple_switch_grpc")
        if program is None:
            raise ProcessFailed(
                "TARGET=bmv2 needs simple_switch_grpc, which is not on the PATH\n"
                "  build behavioral-model with --with-pi and put it there, or use the embedded "
                "target: make run TARGET=softswitch"
            )
    else:
        program = own_command("softswitch")
    ports = [word for host in plan.HOSTS for word in ("-i", f"{host.port}@{host.port_interface}")]
    general = ["--no-p4", "--device-id", str(plan.DEVICE_ID), *ports]
    specific = ["--grpc-server-addr", plan.GRPC_ADDRESS, "--cpu-port", str(plan.CPU_PORT)]
    return [program, *general, "--", *specific]


def start_target(target: str) -> Service:
    """Start the target and wait until it answers."""
    service = Service(target, target_command(target))
    service.start()
    service.wait_ready(lambda: listening(plan.GRPC_ADDRESS), timeout=20.0)
    return service


def controller(config: Path = plan.CONFIG) -> Service:
    """The controller, not yet started."""
    service = Service("p4ct", [own_command("p4ct"), "run", "--config", str(config)])
    service.own_log = plan.LOGS / "p4ct.log"
    return service


def others() -> list[str]:
    """Processes in our process-id namespace besides us and our ancestors, as "pid command"."""
    mine = {os.getpid()}
    parent = os.getppid()
    while parent > 0:
        mine.add(parent)
        parent = parent_of(parent)
    found: list[str] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) in mine:
            continue
        with contextlib.suppress(OSError):
            if state_of(int(entry.name)) != "Z":  # process 1 collects these
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
                found.append(f"{entry.name} {words}")
    return found


def stat_fields(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on (the name before it may hold spaces)."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    return text.rsplit(")", 1)[1].split()


def parent_of(pid: int) -> int:
    """The parent's process id, 0 for process 1 or one that has ended."""
    try:
        return int(stat_fields(pid)[1])
    except OSError:
        return 0


def state_of(pid: int) -> str:
    """The one-letter state of a process."""
    return stat_fields(pid)[0]

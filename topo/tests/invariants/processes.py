# SPDX-License-Identifier: Apache-2.0
"""The processes under test: started with a log, watched, signalled by process id, and ended."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

EXECUTABLES = {"softswitch": "softswitch", "bmv2": "simple_switch_grpc"}
CPU_PORT = 510


class NotThere(Exception):
    """A program is not installed; the text says what to do."""


def find(name: str) -> str:
    """The path of a program: beside this Python, or on the PATH. Raises NotThere."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which(name)
    if found is None:
        raise NotThere(
            f"{name} is neither in {beside.parent} nor on the PATH; run 'make setup', or for "
            "simple_switch_grpc install BMv2 with P4Runtime and add its folder to the PATH"
        )
    return found


def free_port() -> int:
    """A TCP port of the loopback interface that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Process:
    """A program in a session of its own, its output in a file."""

    def __init__(self, name: str, arguments: list[str], log: Path) -> None:
        self.name = name
        self.arguments = arguments
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def alive(self) -> bool:
        return self._process.poll() is None

    def problem(self, what: str) -> str:
        """What went wrong, with the command line and the end of the log."""
        code = self._process.poll()
        state = "it runs" if code is None else f"it ended with exit code {code}"
        lines = self.log.read_text(errors="replace").splitlines()[-15:]
        text = "\n".join(f"    {line}" for line in lines)
        return f"{self.name}: {what}; {state}\n  {' '.join(self.arguments)}\n{text}"

    def freeze(self) -> None:
        """Stop it where it is, until `thaw`; returns when the kernel says that it has stopped."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it without a chance to clean up."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it in order, and by force if it does not within 5 seconds. Idempotent."""
        if self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self.kill()


def target_command(target: str, interfaces: dict[int, str], address: str, device: int) -> list[str]:
    """The command line of a target; both take simple_switch_grpc's options."""
    ports = [word for port, name in interfaces.items() for word in ("-i", f"{port}@{name}")]
    return [
        *(find(EXECUTABLES[target]), "--no-p4", "--device-id", str(device), *ports),
        *("--", "--grpc-server-addr", address, "--cpu-port", str(CPU_PORT)),
    ]

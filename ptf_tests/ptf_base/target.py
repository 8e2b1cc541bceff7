# SPDX-License-Identifier: Apache-2.0
"""Starts a target between veth pairs, with simple_switch_grpc's command line, and ends it."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from ptf_base.netns import Namespace

PORTS = 4
CPU_PORT = 510
GRPC_PORT = 9559
START_TIMEOUT = 30.0
STOP_TIMEOUT = 5.0
LOG_LINES = 20

EXECUTABLES = {"softswitch": "softswitch", "bmv2": "simple_switch_grpc"}
"""Target -> the program that runs it."""


class TargetError(Exception):
    """The target is not there, or did not start: with its command, exit code and last words."""


def find(target: str) -> str | None:
    """The path of the target's program: on the PATH, or next to this Python."""
    name = EXECUTABLES[target]
    beside = Path(sys.executable).parent / name
    return shutil.which(name) or (str(beside) if os.access(beside, os.X_OK) else None)


def not_found(target: str) -> str:
    """Why a target cannot run, and what to do."""
    name = EXECUTABLES[target]
    hint = {
        "bmv2": "install BMv2 (github.com/p4lang/behavioral-model, with P4Runtime), or add its "
        "bin directory to the PATH",
        "softswitch": "run `make` once, or add the bin directory of the virtual environment "
        "to the PATH",
    }
    return f"target {target}: no {name} on the PATH; {hint[target]}"


class Target:
    """A running target. `interfaces` are the test's ends of its ports, by port number."""

    def __init__(
        self, name: str, program: str | None = None, *, extra_args: Sequence[str] = ()
    ) -> None:
        self.name = name
        program = program or find(name)
        if program is None:
            raise TargetError(not_found(name))
        # Two BMv2 of one device id on a machine share an IPC file.
        self.device_id = os.getpid()
        # Without a name, so that nothing is left on disk, however this process ends.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  closed by close()
        self._process: subprocess.Popen[bytes] | None = None
        self.namespace = Namespace()
        try:
            prefix = f"p{os.getpid()}"
            self.interfaces = {port: f"{prefix}t{port}" for port in range(PORTS)}
            ends = {port: f"{prefix}s{port}" for port in range(PORTS)}
            for port in range(PORTS):
                self.namespace.add_veth(ends[port], self.interfaces[port])
            self.argv = [program]
            for port, link in ends.items():
                self.argv += ["-i", f"{port}@{link}"]
            self.argv += ["--device-id", str(self.device_id), "--no-p4", *extra_args, "--"]
            self.argv += ["--grpc-server-addr", self.address, "--cpu-port", str(CPU_PORT)]
            self._start()
        except BaseException:
            self.close()
            raise

    @property
    def address(self) -> str:
        """Where it serves P4Runtime, inside its namespace."""
        return f"127.0.0.1:{GRPC_PORT}"

    def connect(self) -> socket.socket:
        """A connection to its P4Runtime port, for use from anywhere."""
        address = ("127.0.0.1", GRPC_PORT)
        connection = self.namespace.run(socket.create_connection, address, STOP_TIMEOUT)
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def problem(self) -> str:
        """Its command, exit code and last log lines."""
        code = self._process.poll() if self._process else None
        state = "is running" if code is None else f"ended with exit code {code}"
        size = os.fstat(self._log.fileno()).st_size
        log = os.pread(self._log.fileno(), size, 0).decode(errors="replace")
        lines = log.splitlines()[-LOG_LINES:] or ["(it wrote nothing)"]
        return "\n".join(
            [f"  command: {shlex.join(self.argv)}", f"  it {state}; it said last:"]
        ) + ("".join(f"\n    {line}" for line in lines))

    def close(self) -> None:
        """End the target and remove everything. Idempotent."""
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.namespace.close()
        self._log.close()

    def _start(self) -> None:
        # In a session of its own, so that Ctrl-C reaches this process alone, which then ends the
        # target; and killed by the kernel if this process dies without doing so.
        setpriv = shutil.which("setpriv")
        guard = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
        self._process = self.namespace.run(
            subprocess.Popen,
            [*guard, *self.argv],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                self.connect().close()
                return
            except OSError:
                if self._process.poll() is not None:
                    raise TargetError(f"{self.name} did not start\n{self.problem()}") from None
                if time.monotonic() > deadline:
                    raise TargetError(
                        f"{self.name} does not listen on {self.address} after "
                        f"{START_TIMEOUT:g} s\n{self.problem()}"
                    ) from None
                time.sleep(0.02)

# SPDX-License-Identifier: Apache-2.0
"""Open vSwitch and nft: the system's where it has them, else what bench/fetch.sh unpacked."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.measure import BUILD, BenchFailed
from bench.targets import START_TIMEOUT, service
from topo.processes import Service

OTHERS = BUILD / "others"
ADVICE = "run bench/fetch.sh (it unpacks Debian's package below build/, and installs nothing)"


def _environment() -> list[str]:
    """The words before a command of an unpacked package, so that it finds its libraries."""
    root = OTHERS / "root"
    folders = [str(path) for path in (root / "usr/lib").glob("*-linux-gnu")]
    folders += [str(path) for path in (root / "lib").glob("*-linux-gnu")]
    return ["env", f"LD_LIBRARY_PATH={':'.join(folders)}"]


def _find(name: str) -> list[str]:
    """The command line that starts a program. Raises BenchFailed."""
    path = shutil.which(name)
    if path:
        return [path]
    if (OTHERS / "complete").exists():
        for folder in ("usr/sbin", "usr/bin", "usr/lib/openvswitch-switch"):
            path = OTHERS / "root" / folder / name
            if path.exists():
                return [*_environment(), str(path)]
    raise BenchFailed(f"{name} is not here: {ADVICE}")


def nft() -> list[str]:
    """nft(8)."""
    return _find("nft")


class OpenVSwitch:
    """Its commands, and a private instance of it."""

    def __init__(self, commands: Mapping[str, list[str]], schema: Path) -> None:
        self._commands = commands
        self._schema = schema
        self._folder = BUILD / "ovs"
        self._database = f"unix:{self._folder}/db.sock"

    def call(self, name: str, *arguments: str) -> str:
        """Run one of its tools."""
        command = [*self._commands[name], *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=self._directories()
        )
        if done.returncode != 0:
            raise BenchFailed(f"{name} {' '.join(arguments)}: {done.stderr.strip()[-400:]}")
        return done.stdout

    def _directories(self) -> dict[str, str]:
        folder = str(self._folder)
        return {**os.environ, "OVS_RUNDIR": folder, "OVS_DBDIR": folder, "OVS_LOGDIR": folder}

    @contextmanager
    def running(self, cores: str) -> Iterator[OpenVSwitch]:
        """ovsdb-server and ovs-vswitchd, with a database of their own."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        database = self._folder / "conf.db"
        self.call("ovsdb-tool", "create", str(database), str(self._schema))
        socket = self._folder / "db.sock"
        with ExitStack() as stack:
            for name, arguments in (
                ("ovsdb-server", [str(database), f"--remote=punix:{socket}"]),
                ("ovs-vswitchd", ["--disable-system", self._database]),
            ):
                process = self._service(name, arguments, cores)
                stack.callback(process.stop)
                process.start()
                process.wait_ready(socket.exists, START_TIMEOUT)
            self.call("ovs-vsctl", f"--db={self._database}", "--no-wait", "init")
            yield self

    def _service(self, name: str, arguments: Sequence[str], cores: str) -> Service:
        places = [f"{key}={self._folder}" for key in ("OVS_RUNDIR", "OVS_DBDIR", "OVS_LOGDIR")]
        own = ["--pidfile", f"--unixctl={self._folder}/{name}.ctl"]
        command = ["taskset", "-c", cores, "env", *places, *self._commands[name], *own, *arguments]
        return service(name, command)

    def bridge(self, name: str, ports: Mapping[str, int], flows: Sequence[str]) -> None:
        """A bridge of the userspace datapath with these interfaces and flows, and no others."""
        vsctl = [f"--db={self._database}", "--timeout=20"]
        words = ["add-br", name, "--", "set", "bridge", name, "datapath_type=netdev"]
        words += ["fail_mode=secure"]
        for interface, number in ports.items():
            words += ["--", "add-port", name, interface]
            words += ["--", "set", "interface", interface, f"ofport_request={number}"]
        self.call("ovs-vsctl", *vsctl, *words)
        for flow in flows:
            self.call("ovs-ofctl", "add-flow", f"unix:{self._folder}/{name}.mgmt", flow)


def open_vswitch() -> OpenVSwitch:
    """Open vSwitch. Raises BenchFailed."""
    names = ("ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovs-ofctl")
    commands = {name: _find(name) for name in names}
    for schema in (
        OTHERS / "root/usr/share/openvswitch/vswitch.ovsschema",
        Path("/usr/share/openvswitch/vswitch.ovsschema"),
    ):
        if schema.exists():
            return OpenVSwitch(commands, schema)
    raise BenchFailed(f"vswitch.ovsschema is not here: {ADVICE}")

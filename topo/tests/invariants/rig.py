# SPDX-License-Identifier: Apache-2.0
"""A whole installation to test: veth pairs, a target, a controller, and the test at every end."""

from __future__ import annotations

import itertools
import json
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from topo.tests.invariants.hosts import HOSTS, Host, arp_probe
from topo.tests.invariants.processes import Process, find, free_port, target_command
from topo.tests.invariants.switch import Switch
from topo.tests.invariants.wire import Captured, Wire

ROOT = Path(__file__).resolve().parents[3]
#: Where the compiled program is; a program broken on purpose can be tried by naming its folder.
COMPILED = Path(os.environ.get("P4CT_TEST_PROGRAM", ROOT / "p4src" / "compiled"))
PORTS = (1, 2, 3)
#: Seconds until something that must happen counts as not happening.
PATIENCE = 10.0
ELECTION_ID = 1
#: Longer than any test unless one wants a connection to end by time.
TIMEOUTS: Mapping[str, float] = {
    "tcp_established": 60.0,
    "tcp_time_wait": 60.0,
    "tcp_close": 60.0,
    "udp": 60.0,
    "udp_stream": 60.0,
    "icmp": 60.0,
    "icmpv6": 60.0,
}

T = TypeVar("T")
_numbers = itertools.count()


class CommandFailed(Exception):
    """The controller refused an admin command; the text is its answer."""


class Rig:
    """Owns everything it starts; `close` ends it.

    `policy` is a text of flows; `timeouts` and `idle` (tcp, udp, icmp: seconds) go into the
    controller's configuration, with `offload`, `mode` and `window_check`.
    """

    def __init__(
        self,
        target: str,
        policy: str,
        *,
        offload: bool = True,
        mode: str = "assured",
        window_check: bool = False,
        timeouts: Mapping[str, float] | None = None,
        idle: Mapping[str, float] | None = None,
    ) -> None:
        number = next(_numbers)
        self.directory = Path(tempfile.mkdtemp(prefix="p4ct-invariants-"))
        self.socket = self.directory / "p4ct.sock"
        self.policy_file = self.directory / "policy.flows"
        self.config_file = self.directory / "p4ct.toml"
        self.address = f"127.0.0.1:{free_port()}"
        # Two BMv2 of one device id on a machine share an IPC file.
        self.device_id = secrets.randbelow(1 << 31)
        self.policy_file.write_text(policy, encoding="utf-8")
        self.config_file.write_text(
            _config(
                self, offload, mode, window_check, {**TIMEOUTS, **(timeouts or {})}, idle or {}
            ),
            encoding="utf-8",
        )
        self._target = target
        self._probes = itertools.count(1)
        self._wire: Wire | None = None
        self._processes: dict[str, Process] = {}
        self._switch: Switch | None = None
        prefix = f"inv{os.getpid() % 100000}{chr(97 + number % 26)}"
        self._inner = {port: f"{prefix}s{port}" for port in PORTS}
        self._outer = {port: f"{prefix}t{port}" for port in PORTS}
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    # -- life ------------------------------------------------------------------------------

    def _start(self) -> None:
        for port in PORTS:
            _add_veth(self._inner[port], self._outer[port])
        self._wire = Wire(self._outer)
        command = target_command(self._target, self._inner, self.address, self.device_id)
        target = Process(self._target, command, self.directory / "target.log")
        self._processes["target"] = target
        until(lambda: _listening(self.address) or not target.alive(), "the target listens", 30.0)
        if not target.alive():
            raise AssertionError(target.problem("did not start"))
        self._switch = Switch(self.address, self.device_id, COMPILED / "eswitch.p4info.txtpb")
        self.start_controller()

    def start_controller(self, on_ready: Callable[[], None] = lambda: None) -> None:
        """Start it, and wait until it has set the switch up and knows where the stations are.

        `on_ready` is called as soon as it says that it is connected.
        """
        command = [find("p4ct"), "run", "--config", str(self.config_file)]
        controller = Process("p4ct", command, self.directory / "p4ct.log")
        self._processes["controller"] = controller

        def ready() -> bool:
            if not controller.alive():
                raise AssertionError(controller.problem("did not start"))
            return self._connected()

        # A target that compiles the program does it now.
        until(ready, "the controller is ready", 60.0)
        on_ready()
        for host in HOSTS:
            self.barrier(host)

    @property
    def controller(self) -> Process:
        return self._processes["controller"]

    @property
    def wire(self) -> Wire:
        assert self._wire is not None
        return self._wire

    @property
    def switch(self) -> Switch:
        assert self._switch is not None
        return self._switch

    def close(self) -> None:
        """End everything, the latest first. Idempotent."""
        if self._switch is not None:
            self._switch.close()
        for process in reversed(self._processes.values()):
            process.stop()
        try:
            if self._wire is not None:
                wire, self._wire = self._wire, None
                wire.close()
        finally:
            for name in self._outer.values():
                subprocess.run(["ip", "link", "delete", name], capture_output=True, check=False)
            shutil.rmtree(self.directory, ignore_errors=True)

    # -- packets ---------------------------------------------------------------------------

    def send(self, src: Host, frame: bytes) -> None:
        """Send an untagged frame from a station, with its tag where it has one."""
        self.wire.send(src.port, src.wire(frame))

    def deliver(self, src: Host, dst: Host, frame: bytes) -> None:
        """Send it, and wait until it arrives as it was sent."""
        mark, wanted = self.wire.mark, dst.wire(frame)
        self.send(src, frame)
        arrived = self.wire.wait(
            lambda got: got.port == dst.port and got.frame == wanted, mark, PATIENCE
        )
        if not arrived:
            others = [got for got in self.wire.since(mark) if got.frame[12:] == wanted[12:]]
            raise AssertionError(
                f"not delivered from {src.name} to {dst.name}: {frame.hex()}; elsewhere: {others}"
                f"\n{self.controller.problem('controller log')}"
            )

    def barrier(self, src: Host) -> None:
        """Return when everything that `src` has sent before was seen by target and controller.

        A broadcast of its own that only the controller forwards goes the same way behind it.
        """
        probe = arp_probe(src, next(self._probes))
        others = [host for host in HOSTS if host is not src]
        mark = self.wire.mark
        self.send(src, probe)
        for dst in others:
            wanted = Captured(dst.port, dst.wire(probe), 0)[:2]
            if not self.wire.wait(lambda got, wanted=wanted: got[:2] == wanted, mark, PATIENCE):
                raise AssertionError(
                    f"the barrier from {src.name} did not arrive at {dst.name}"
                    f"\n{self.controller.problem('controller log')}"
                )

    def settle(self) -> dict[str, Any]:
        """Return, with the status, when nothing is being installed, removed or held."""

        def settled() -> dict[str, Any] | None:
            status = self.ask("status")
            work = status["offload"]
            return status if not work["in_flight"] and not work["held_packets"] else None

        return until(settled, "no installation and no removal is under way")

    # -- controller ------------------------------------------------------------------------

    def ask(self, command: str, **arguments: Any) -> Any:
        """One request to the admin socket (what every p4ct command is); raises CommandFailed."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(30)
            client.connect(str(self.socket))
            request = {"command": command, "arguments": arguments}
            client.sendall(json.dumps(request).encode() + b"\n")
            with client.makefile("rb") as answers:
                answer = json.loads(answers.readline())
        if not answer["ok"]:
            raise CommandFailed(answer["error"])
        return answer["result"]

    def p4ct(self, *arguments: str) -> Any:
        """The JSON answer of the command line; raises CommandFailed with what it said."""
        command = [find("p4ct"), "--socket", str(self.socket), *arguments, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        if done.returncode:
            raise CommandFailed(f"exit code {done.returncode}: {done.stderr}")
        return json.loads(done.stdout)

    def connections(self, *words: str) -> list[dict[str, Any]]:
        """`p4ct conntrack list` with these filter words."""
        return self.ask("conntrack-list", filter=list(words))

    def replace_policy(self, policy: str) -> None:
        """`p4ct flows replace`: returns when the controller says that it is in effect."""
        self.ask("flows-replace", text=policy, source="test")

    def _connected(self) -> bool:
        try:
            return self.ask("status")["target"]["connected"]
        except OSError:
            return False


def until(condition: Callable[[], T | None], what: str, timeout: float = PATIENCE) -> T:
    """The first true value of `condition`; AssertionError that names `what` after `timeout` s."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        time.sleep(0.01)


def _add_veth(inner: str, outer: str) -> None:
    subprocess.run(["ip", "link", "add", inner, "type", "veth", "peer", "name", outer], check=True)
    for name in (inner, outer):
        # Ports of a switch: the kernel itself must not say anything on them.
        Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1", encoding="ascii")
        subprocess.run(["ip", "link", "set", name, "up", "promisc", "on"], check=True)


def _listening(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
    except OSError:
        return False
    return True


def _config(
    rig: Rig,
    offload: bool,
    mode: str,
    window_check: bool,
    timeouts: Mapping[str, float],
    idle: Mapping[str, float],
) -> str:
    lines = [
        "[target]",
        f'address = "{rig.address}"',
        f"device_id = {rig.device_id}",
        f"election_id = {ELECTION_ID}",
        "[program]",
        f'p4info = "{COMPILED / "eswitch.p4info.txtpb"}"',
        f'json = "{COMPILED / "eswitch.json"}"',
        "[pipeline]",
        f'flows = "{rig.policy_file}"',
        "[admin]",
        f'socket = "{rig.socket}"',
        "[offload]",
        f"enabled = {str(offload).lower()}",
        f'mode = "{mode}"',
        f"window_check = {str(window_check).lower()}",
        "[offload.idle_timeout]",
        *(f"{name} = {value}" for name, value in idle.items()),
        "[conntrack.timeouts]",
        *(f"{name} = {value}" for name, value in timeouts.items()),
    ]
    for host in HOSTS:
        lines += ["[[vport]]", f"id = {host.vport}", f'name = "{host.name}"']
        lines += [f"port = {host.port}", f'kind = "{host.kind}"']
        lines += [f"vlan = {host.vlan}"] if host.vlan is not None else []
    return "\n".join(lines) + "\n"

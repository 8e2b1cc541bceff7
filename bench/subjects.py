# SPDX-License-Identifier: Apache-2.0
"""What stands between the hosts: the Linux bridge, or a target with the controller."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.measure import BUILD, BenchFailed
from bench.targets import BMV2, SOFTSWITCH, service
from topo import plan
from topo.processes import listening, own_command, target_command

BRIDGE = "bridge"
BRIDGE_INTERFACE = "bench-bridge"
CONFIG = Path(__file__).resolve().parent / "p4ct.toml"
#: As in the configuration.
SOCKET = BUILD / "p4ct.sock"
START_TIMEOUT = 20.0


def available() -> list[str]:
    """The subjects that can be measured here."""
    return [BRIDGE, SOFTSWITCH, *([BMV2] if shutil.which("simple_switch_grpc") else [])]


@contextmanager
def between_hosts(subject: str) -> Iterator[None]:
    """The subject connects the hosts while this is open. Raises BenchFailed or ProcessFailed."""
    with bridge() if subject == BRIDGE else eswitch(subject):
        yield


@contextmanager
def bridge() -> Iterator[None]:
    """The ports of the target in a Linux bridge."""
    ip("link", "add", BRIDGE_INTERFACE, "type", "bridge")
    try:
        for host in plan.HOSTS:
            ip("link", "set", host.port_interface, "master", BRIDGE_INTERFACE)
        ip("link", "set", BRIDGE_INTERFACE, "up")
        yield
    finally:
        ip("link", "delete", BRIDGE_INTERFACE)


def ip(*arguments: str) -> None:
    """Run ip(8)."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchFailed(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


@contextmanager
def eswitch(target: str) -> Iterator[None]:
    """A target on the ports, and the controller with the topology's policy."""
    SOCKET.unlink(missing_ok=True)
    switch = service(target, target_command(target))
    controller = service("p4ct", [own_command("p4ct"), "run", "--config", str(CONFIG)])
    with ExitStack() as stack:
        stack.callback(switch.stop)
        switch.start()
        switch.wait_ready(lambda: listening(plan.GRPC_ADDRESS), START_TIMEOUT)
        stack.callback(controller.stop)
        controller.start()
        controller.wait_ready(ready, START_TIMEOUT)
        yield


def query(*arguments: str) -> Any:
    """The JSON answer of the p4ct command. Raises BenchFailed."""
    command = [own_command("p4ct"), "--socket", str(SOCKET), *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchFailed(f"p4ct {' '.join(arguments)}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def ready() -> bool:
    """Whether the controller has the switch set up."""
    try:
        return SOCKET.exists() and query("status")["target"]["connected"]
    except BenchFailed:
        return False


def share_by_entries(proto: str) -> float:
    """Share of the packets that entries forwarded, of the connection of this protocol that had the
    most. Raises BenchFailed if that is less than half: then offloading is not what was measured."""
    sides = ("original", "reply")
    connections = [c for c in query("conntrack", "list") if c["proto"] == proto]
    if not connections:
        raise BenchFailed(f"p4ct knows no {proto} connection")
    largest = max(connections, key=lambda c: sum(c[side]["packets"] for side in sides))
    packets = sum(largest[side]["packets"] for side in sides)
    share = sum(largest["hw"][side]["packets"] for side in sides) / packets
    if share < 0.5:
        raise BenchFailed(f"entries forwarded only {share:.1%} of {largest['line']}")
    return share

# SPDX-License-Identifier: Apache-2.0
"""The controller as its operator sees it: the p4ct command with --json."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from topo import plan
from topo.processes import own_command


class CommandFailed(Exception):
    """A p4ct command ended with an error; the text is the command and what it said."""


def p4ct(*arguments: str, timeout: float = 20.0) -> str:
    """Run p4ct on the topology's admin socket; its standard output."""
    command = [own_command("p4ct"), "--socket", str(plan.SOCKET), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise CommandFailed(f"p4ct {' '.join(arguments)}: no answer in {timeout:.0f} s") from None
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).replace("\n", " | ")
        raise CommandFailed(f"p4ct {' '.join(arguments)}: exit code {done.returncode}: {said}")
    return done.stdout


def query(*arguments: str) -> Any:
    """The JSON answer of a p4ct command."""
    text = p4ct(*arguments, "--json")
    try:
        return json.loads(text)
    except ValueError as error:
        raise CommandFailed(f"p4ct {' '.join(arguments)} --json: not JSON ({error})") from error


def status() -> dict[str, Any]:
    """`p4ct status --json`."""
    return query("status")


def ready() -> bool:
    """Whether the controller answers on its admin socket and has the switch set up."""
    if not plan.SOCKET.exists():
        return False
    try:
        return status()["target"]["connected"]
    except CommandFailed:
        return False


def connections(sport: int | None = None, dport: int | None = None) -> list[dict[str, Any]]:
    """`p4ct conntrack list --json`, those whose original direction has these ports."""
    return [
        connection
        for connection in query("conntrack", "list")
        if (sport is None or connection["original"]["sport"] == sport)
        and (dport is None or connection["original"]["dport"] == dport)
    ]


def offloaded(sport: int) -> bool:
    """Whether a connection from this source port has entries in the switch."""
    return any(connection["offloaded"] for connection in connections(sport=sport))


def live_hardware_packets() -> int:
    """Packets that the entries now in the switch have forwarded, as far as read."""
    records = query("offload", "list")
    return sum(entry["packets"] for record in records for entry in record["entries"])


def counts_of_this_life() -> dict[str, Any]:
    """`status`, with what the entries now in the switch have forwarded left out of "fast_path".

    The next controller takes these entries over and reads their cells from zero on, so that they
    would be counted twice.  The list is a moment younger than the status: what was forwarded in
    between is not counted at all, and the share of the fast path comes out too low, never too high.
    """
    counts = status()
    counts["packets"]["fast_path"] -= live_hardware_packets()
    return counts


def replace_flows(path: Path) -> None:
    """`p4ct flows replace`; returns when what is now denied has been removed from the switch."""
    p4ct("flows", "replace", str(path))


def wait_until(
    condition: Callable[[], bool], timeout: float, interval: float = 0.1
) -> float | None:
    """Seconds until `condition` held, None when it did not within `timeout`."""
    start = time.monotonic()
    while True:
        if condition():
            return time.monotonic() - start
        if time.monotonic() - start > timeout:
            return None
        time.sleep(interval)


def hardware_packets(connection: dict[str, Any]) -> int:
    """Packets of a connection, both directions, that the switch forwarded by its entries."""
    return sum(connection["hw"][side]["packets"] for side in ("original", "reply"))


def all_packets(connection: dict[str, Any]) -> int:
    """Packets of a connection, both directions, in software and hardware."""
    return sum(connection[side]["packets"] for side in ("original", "reply"))

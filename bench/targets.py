# SPDX-License-Identifier: Apache-2.0
"""Targets without interfaces, as processes of their own: softswitch, and BMv2 where it is there."""

from __future__ import annotations

from collections.abc import Iterable

from bench.measure import BUILD
from topo import plan
from topo.processes import Service, listening, own_command

SOFTSWITCH, BMV2 = "softswitch", "bmv2"
#: In a private network namespace these are always free.
PORTS = {SOFTSWITCH: 9601, BMV2: 9602}
START_TIMEOUT = 20.0


def address_of(target: str) -> str:
    """Where a target that `start` started serves P4Runtime."""
    return f"127.0.0.1:{PORTS[target]}"


def service(name: str, command: list[str]) -> Service:
    """A process that logs into our own folder, so that a `make run` meanwhile keeps its logs."""
    made = Service(name, command)
    made.log = BUILD / "logs" / f"{name}.out"
    made.log.unlink(missing_ok=True)
    return made


def start(target: str) -> Service:
    """Start a target and wait until it answers. Raises ProcessFailed with the end of its log."""
    program = own_command("softswitch") if target == SOFTSWITCH else "simple_switch_grpc"
    specific = ["--grpc-server-addr", address_of(target), "--cpu-port", str(plan.CPU_PORT)]
    made = service(target, [program, "--no-p4", "--device-id", "0", "--", *specific])
    try:
        made.start()
        made.wait_ready(lambda: listening(address_of(target)), START_TIMEOUT)
    except BaseException:
        made.stop()
        raise
    return made


def stop(services: Iterable[Service]) -> None:
    """End them, the last one first."""
    for made in reversed(list(services)):
        made.stop()

# SPDX-License-Identifier: Apache-2.0
"""The main job: topology, target, controller, scenario, report."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

from topo import plan, processes
from topo.control import status
from topo.hosts import Network, interfaces
from topo.live import Screen
from topo.report import Report
from topo.scenario import lifecycle, operations, traffic
from topo.scenario.context import Context, Sizes
from topo.scenario.steps import STEPS, carry_out
from topo.signals import ignore_signals


def require_private_namespace() -> None:
    """Refuse to build the topology among the machine's own interfaces."""
    if os.geteuid() != 0 or interfaces():
        raise SystemExit(
            "error: this is not a private network namespace\n"
            "       start it with: make run   (or: tools/private.py -- python -m topo.run)"
        )


def clear_old_files() -> None:
    """Logs and report of the last run. SystemExit if that run still goes on: they are its files."""
    if answers(plan.SOCKET):
        raise SystemExit(
            "error: another run of this checkout goes on: "
            f"its controller answers at {plan.SOCKET}\n"
            "       end it first, or start this one in another clone"
        )
    plan.LOGS.mkdir(parents=True, exist_ok=True)
    for name in ("softswitch.out", "bmv2.out", "p4ct.out", "p4ct.log"):
        (plan.LOGS / name).unlink(missing_ok=True)
    plan.REPORT.unlink(missing_ok=True)
    plan.SOCKET.unlink(missing_ok=True)


def answers(path: Path) -> bool:
    """Whether somebody listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def all_running(context: Context) -> bool:
    """Whether target and controller are up; states a failed expectation for one that is not."""
    dead = [s for s in (context.target, context.controller) if not s.running()]
    for service in dead:
        context.expect(f"{service.name} stays up", False, str(service.explain("ended")))
    return not dead


def run_scenario(target: str, sizes: Sizes) -> Report:
    """Carry out the scenario on a target; the report, also written to build/report.json."""
    started = time.monotonic()
    report = Report(target)
    clear_old_files()
    services: list[processes.Service] = []
    title = f"p4ct on {target}: real traffic, established connections by entries"
    try:
        with Screen(title, status) as screen:
            screen.begin("topology")
            network = Network()
            network.start()
            screen.begin(target)
            switch = processes.start_target(target)
            services.append(switch)
            screen.begin("controller")
            controller = processes.controller()
            services.append(controller)
            context = Context(network, switch, controller, sizes, report, screen.verdict)
            operations.start_controller(context)
            traffic.start_iperf3_server(context)
            lifecycle.start_listeners(context)
            for name, step in STEPS:
                screen.begin(name)
                carry_out(context, name, step)
                if not all_running(context):
                    break
            screen.begin("shutting down")
            carry_out(context, "shutting down", operations.shut_down)
        report.duration_s = round(time.monotonic() - started, 1)
        report.write(plan.REPORT)
    finally:
        ignore_signals()
        for service in reversed(services):
            service.stop()
    return report

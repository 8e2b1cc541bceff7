# SPDX-License-Identifier: Apache-2.0
"""The main job: `make run`.

Starts the topology, the target and the controller, carries out the scenario under a live table and
ends with a report on the screen and in build/report.json.  Run it through tools/private.py, as the
Makefile does; the exit code is 0 when every expectation holds, 1 when one does not, 130 after
Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from typing import NoReturn

from topo import plan, processes
from topo.control import status
from topo.live import Screen, print_lines
from topo.report import Report
from topo.scenario import lifecycle, operations, traffic
from topo.scenario.context import QUICK, Context, Sizes
from topo.scenario.steps import STEPS, carry_out


class Ended(BaseException):
    """A signal asks us to end; not an Exception, so that no step swallows it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.code = 128 + number


def handle_signals() -> None:
    """SIGINT, SIGTERM and SIGHUP unwind the stack; from the first one on, more are ignored."""

    def end(number: int, _frame: object) -> NoReturn:
        ignore_signals()
        raise Ended(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)


def ignore_signals() -> None:
    """Cleaning up is not interrupted; it is short, and the namespace ends anyway."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def require_private_namespace() -> None:
    """Refuse to build the topology among the machine's own interfaces."""
    from topo.hosts import interfaces

    if os.geteuid() != 0 or interfaces():
        raise SystemExit(
            "error: this is not a private network namespace\n"
            "       start it with: make run   (or: tools/private.py -- python -m topo.run)"
        )


def clear_old_files() -> None:
    """Logs and report of the last run."""
    plan.LOGS.mkdir(parents=True, exist_ok=True)
    for name in ("softswitch.out", "bmv2.out", "p4ct.out", "p4ct.log"):
        (plan.LOGS / name).unlink(missing_ok=True)
    plan.REPORT.unlink(missing_ok=True)
    plan.SOCKET.unlink(missing_ok=True)


def run(target: str, sizes: Sizes) -> Report:
    """Carry out the scenario on a target; the report, also written to build/report.json."""
    from topo.hosts import Network

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
            screen.begin("shutting down")
            carry_out(context, "shutting down", operations.shut_down)
        report.duration_s = round(time.monotonic() - started, 1)
        report.write(plan.REPORT)
    finally:
        ignore_signals()
        for service in reversed(services):
            service.stop()
    return report


def main() -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(prog="make run", description="Run the scenario.")
    parser.add_argument("--target", choices=("softswitch", "bmv2"), default="softswitch")
    parser.add_argument("--quick", action="store_true", help="shorter transfers, for tests")
    arguments = parser.parse_args()
    handle_signals()
    try:
        require_private_namespace()
        report = run(arguments.target, QUICK if arguments.quick else Sizes())
    except Ended as ended:
        print(f"interrupted; nothing is left behind (logs in {plan.LOGS})", file=sys.stderr)
        return ended.code
    except processes.ProcessFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print_lines([*report.lines(), f"report in {plan.REPORT}, logs in {plan.LOGS}"])
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())

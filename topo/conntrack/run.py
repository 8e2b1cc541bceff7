# SPDX-License-Identifier: Apache-2.0
"""Conntrack's further parts on a target, with real traffic; the report is in build/conntrack.json.

    tools/private.py -- python -m topo.conntrack.run [--target softswitch|bmv2]

The exit code is 0 when every expectation holds.
"""

from __future__ import annotations

import argparse
import sys
import time

from topo import control, plan, processes
from topo.conntrack import fragments, helpers
from topo.hosts import Network
from topo.main_job import clear_old_files, require_private_namespace
from topo.report import Expectation, Report
from topo.scenario.context import Context, Sizes, StepFailed
from topo.scenario.operations import START_TIMEOUT, empty, shut_down
from topo.scenario.steps import Step, carry_out
from topo.signals import Ended, handle_signals, ignore_signals

CONFIG = plan.TOPO / "conntrack" / "p4ct.toml"
REPORT = plan.BUILD / "conntrack.json"

STEPS: tuple[tuple[str, Step], ...] = (
    ("server for datagrams", fragments.serve),
    ("pings in fragments", fragments.pings),
    ("datagrams in fragments", fragments.udp),
    ("odd fragments", fragments.odd),
    ("servers for FTP and TFTP", helpers.serve),
    ("FTP", helpers.ftp),
    ("FTP with another address", helpers.translated_ftp),
    ("an open control connection", helpers.reason),
    ("FTP without a helper", helpers.without_helper),
    ("TFTP", helpers.tftp),
    ("waiting for the last connections to end", empty),
    ("shutting down", shut_down),
)


def show(verdict: Expectation) -> None:
    """Print a verdict."""
    print(f"{'ok    ' if verdict.ok else 'FAILED'}  {verdict.name}: {verdict.detail}", flush=True)


def run(target: str) -> Report:
    """Build everything, carry out the steps, take everything down; the report."""
    started = time.monotonic()
    report = Report(target)
    clear_old_files()
    REPORT.unlink(missing_ok=True)
    services: list[processes.Service] = []
    try:
        network = Network()
        network.start()
        switch = processes.start_target(target)
        services.append(switch)
        controller = processes.controller(CONFIG)
        services.append(controller)
        context = Context(network, switch, controller, Sizes(), report, show)
        controller.start()
        controller.wait_ready(control.ready, START_TIMEOUT)
        for name, step in STEPS:
            carry_out(context, name, step)
        report.duration_s = round(time.monotonic() - started, 1)
        report.write(REPORT)
    finally:
        ignore_signals()
        for service in reversed(services):
            service.stop()
    return report


def main() -> int:
    """Entry point; returns the exit code."""
    handle_signals()
    parser = argparse.ArgumentParser(prog="topo.conntrack.run")
    parser.add_argument("--target", choices=("softswitch", "bmv2"), default="softswitch")
    target = parser.parse_args().target
    try:
        require_private_namespace()
        report = run(target)
    except (processes.ProcessFailed, StepFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Ended as ended:
        return ended.code
    print("\n".join(report.lines()))
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())

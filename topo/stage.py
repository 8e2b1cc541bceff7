# SPDX-License-Identifier: Apache-2.0
"""A smaller scenario of its own: hosts, target and controller, steps, and a report."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from topo import control, processes
from topo.hosts import Network
from topo.main_job import clear_old_files, require_private_namespace
from topo.report import Expectation, Report
from topo.scenario.context import Context, Sizes, StepFailed
from topo.scenario.operations import START_TIMEOUT, shut_down
from topo.scenario.steps import Step, carry_out
from topo.signals import Ended, handle_signals, ignore_signals

__all__ = ["play", "stage_main"]


def show(verdict: Expectation) -> None:
    """Print a verdict."""
    print(f"{'ok    ' if verdict.ok else 'FAILED'}  {verdict.name}: {verdict.detail}", flush=True)


def play(
    target: str,
    config: Path,
    report_file: Path,
    build: Callable[[], Network],
    prepare: Step,
    steps: Sequence[tuple[str, Step]],
    begin: Step,
) -> Report:
    """Build everything, carry out the steps, take everything down; the report.

    `prepare` is called before the controller starts, `begin` when it has set the switch up; what
    goes wrong there ends the run.
    """
    started = time.monotonic()
    report = Report(target)
    clear_old_files()
    report_file.unlink(missing_ok=True)
    services: list[processes.Service] = []
    try:
        hosts = build()
        switch = processes.start_target(target)
        services.append(switch)
        controller = processes.controller(config)
        services.append(controller)
        context = Context(hosts, switch, controller, Sizes(), report, show)
        prepare(context)
        controller.start()
        controller.wait_ready(control.ready, START_TIMEOUT)
        begin(context)
        for name, step in steps:
            carry_out(context, name, step)
        carry_out(context, "shutting down", shut_down)
        report.duration_s = round(time.monotonic() - started, 1)
        report.write(report_file)
    finally:
        ignore_signals()
        for service in reversed(services):
            service.stop()
    return report


def stage_main(prog: str, play_on: Callable[[str], Report]) -> int:
    """The command line of such a scenario; returns the exit code, 0 if all expectations hold."""
    handle_signals()
    parser = argparse.ArgumentParser(prog=prog)
    parser.add_argument("--target", choices=("softswitch", "bmv2"), default="softswitch")
    target = parser.parse_args().target
    try:
        require_private_namespace()
        report = play_on(target)
    except (processes.ProcessFailed, StepFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Ended as ended:
        return ended.code
    print("\n".join(report.lines()))
    return 0 if report.ok else 1

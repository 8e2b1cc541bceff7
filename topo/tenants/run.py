# SPDX-License-Identifier: Apache-2.0
"""Two tenants with the same addresses on a target; the report is in build/tenants.json.

    tools/private.py -- python -m topo.tenants.run [--target softswitch|bmv2]

The exit code is 0 when every expectation holds.
"""

from __future__ import annotations

import argparse
import sys
import time

from topo import control, plan, processes, switch_entries
from topo.main_job import clear_old_files, require_private_namespace
from topo.report import Expectation, Report
from topo.scenario.context import Context, Sizes, StepFailed
from topo.scenario.operations import START_TIMEOUT, shut_down
from topo.scenario.steps import carry_out
from topo.signals import Ended, handle_signals, ignore_signals
from topo.tenants import network, steps

CONFIG = plan.TOPO / "tenants" / "p4ct.toml"
REPORT = plan.BUILD / "tenants.json"


def show(verdict: Expectation) -> None:
    """Print a verdict."""
    print(f"{'ok    ' if verdict.ok else 'FAILED'}  {verdict.name}: {verdict.detail}", flush=True)


def run_tenants(target: str) -> Report:
    """Build everything, carry out the steps, take everything down; the report."""
    started = time.monotonic()
    report = Report(target)
    clear_old_files()
    REPORT.unlink(missing_ok=True)
    services: list[processes.Service] = []
    try:
        hosts = network.tenants()
        switch = processes.start_target(target)
        services.append(switch)
        controller = processes.controller(CONFIG)
        services.append(controller)
        context = Context(hosts, switch, controller, Sizes(), report, show)
        network.outside(context)
        controller.start()
        controller.wait_ready(control.ready, START_TIMEOUT)
        configured = switch_entries.count(tables=steps.ALL_TABLES)
        steps.start_servers(context)
        carry_out(context, "MTU", steps.mtu)
        carry_out(context, "same 5-tuple", steps.same_tuple)
        carry_out(context, "iperf3 through VXLAN", steps.iperf3)
        carry_out(context, "the end", lambda context: steps.empty(context, configured))
        carry_out(context, "shutting down", shut_down)
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
    parser = argparse.ArgumentParser(prog="topo.tenants.run")
    parser.add_argument("--target", choices=("softswitch", "bmv2"), default="softswitch")
    target = parser.parse_args().target
    try:
        require_private_namespace()
        report = run_tenants(target)
    except (processes.ProcessFailed, StepFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Ended as ended:
        return ended.code
    print("\n".join(report.lines()))
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())

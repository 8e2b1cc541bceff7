# SPDX-License-Identifier: Apache-2.0
"""The main job: `make run`.

Starts the topology, the target and the controller, carries out the scenario under a live table and
ends with a report on the screen and in build/report.json.  Run it through tools/private.py, as the
Makefile does; the exit code is 0 when every expectation holds, 1 when one does not, 130 after
Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys

from topo.signals import Ended, handle_signals


def run(target: str, quick: bool) -> int:
    """Carry out the scenario and print its report; returns the exit code."""
    # Imported late: Ctrl-C while gRPC and Mininet load has to end as quietly as any other.
    from topo import plan, processes
    from topo.live import print_lines
    from topo.main_job import require_private_namespace, run_scenario
    from topo.scenario.context import QUICK, Sizes, StepFailed

    require_private_namespace()
    try:
        report = run_scenario(target, QUICK if quick else Sizes())
    except (processes.ProcessFailed, StepFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print_lines([*report.lines(), f"report in {plan.REPORT}, logs in {plan.LOGS}"])
    return 0 if report.ok else 1


def main() -> int:
    """Entry point; returns the exit code."""
    handle_signals()
    parser = argparse.ArgumentParser(prog="make run", description="Run the scenario.")
    parser.add_argument("--target", choices=("softswitch", "bmv2"), default="softswitch")
    parser.add_argument("--quick", action="store_true", help="shorter transfers, for tests")
    try:
        arguments = parser.parse_args()
        return run(arguments.target, arguments.quick)
    except Ended as ended:
        print("interrupted; nothing is left behind (logs in build/logs)", file=sys.stderr)
        return ended.code


if __name__ == "__main__":
    sys.exit(main())

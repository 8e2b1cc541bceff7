# SPDX-License-Identifier: Apache-2.0
"""`bench/run`: run the benchmarks one after the other, show and write their results.

Exit code 0 when all were run, 1 when one failed, 130 after Ctrl-C; 2 for wrong arguments.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from topo.signals import Ended, handle_signals

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("slow_path", "conntrack", "install", "forwarding", "packet_rate", "entries", "offloads")
#: What several benchmarks are called together.
GROUPS = {"forwarding": ("packet_rate", "forwarding", "offloads", "entries")}
#: Set for the process that runs in the private namespaces, so that it does not make its own.
MARK = "P4CT_BENCH_PRIVATE"


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="bench/run",
        description="Measure side by side; print ratios.",
        epilog="bench/README.md",
    )
    parser.add_argument(
        "group",
        nargs="?",
        choices=GROUPS,
        help=f"forwarding: all about a target's speed, {', '.join(GROUPS['forwarding'])}",
    )
    parser.add_argument("--quick", action="store_true", help="smaller and shorter, under a minute")
    parser.add_argument("--only", choices=NAMES, action="append", help="this one (repeatable)")
    parser.add_argument(
        "--subject",
        action="append",
        default=[],
        metavar="WORD",
        help="packet_rate: only subjects with this in their name (repeatable); needs --output",
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="folder of the JSON files (default bench/results, build/bench/results with --quick)",
    )
    arguments = parser.parse_args()
    if arguments.subject and arguments.output is None and not arguments.quick:
        parser.error("--subject leaves results incomplete: say with --output where they go")
    return arguments


def enter_private_namespace() -> None:
    """Start over in private namespaces unless we are in some: fixed ports and interfaces inside."""
    interfaces = {path.name for path in Path("/sys/class/net").iterdir()}
    if MARK in os.environ or (os.geteuid() == 0 and interfaces == {"lo"}):
        return
    command = [sys.executable, str(ROOT / "tools" / "private.py"), "--"]
    os.environ[MARK] = "1"
    os.execv(sys.executable, [*command, sys.executable, "-m", "bench", *sys.argv[1:]])


def run(arguments: argparse.Namespace) -> int:
    """Run what was asked for; the exit code."""
    # Imported late: Ctrl-C while gRPC and Mininet load has to end as quietly as any other.
    from rich.console import Console

    from bench.measure import BUILD, BenchFailed, Run, end_progress, progress
    from bench.result import BadResult, write
    from bench.suite import carry_out
    from bench.table import show, write_page

    folder = arguments.output
    if folder is None:
        folder = BUILD / "results" if arguments.quick else ROOT / "bench" / "results"
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    failed = 0
    for name in arguments.only or GROUPS.get(arguments.group, NAMES):
        try:
            result = carry_out(
                name,
                Run(
                    arguments.quick,
                    lambda text, n=name: progress(f"{n}: {text}"),
                    tuple(arguments.subject),
                ),
            )
        except BenchFailed as error:
            end_progress()
            print(f"error: {name}: {error}", file=sys.stderr)
            failed += 1
            continue
        end_progress()
        show(result, console)
        console.print(f"written to {write(result, folder)}\n")
    try:
        write_page(folder)
    except BadResult as error:  # of an earlier run
        print(f"error: {error}; remove it or run that benchmark again", file=sys.stderr)
        failed += 1
    return 1 if failed else 0


def main() -> int:
    """Entry point; returns the exit code."""
    handle_signals()
    try:
        arguments = parse_arguments()
        enter_private_namespace()
        return run(arguments)
    except Ended as ended:
        print("\ninterrupted; nothing is left behind", file=sys.stderr)
        return ended.code


if __name__ == "__main__":
    sys.exit(main())

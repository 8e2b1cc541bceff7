# SPDX-License-Identifier: Apache-2.0
"""`p4ct top`: intervals, one after the other, on a screen, as lines or as JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from p4ct.cli import client
from p4ct.cli.common import CONTEXT

__all__ = ["line", "size", "top"]

HEADINGS_EVERY = 20
"""Lines between two lines of headings."""
COLUMNS = (
    ("time", 8), ("punts/s", 9), ("slow B/s", 9), ("hw pkt/s", 9), ("hw B/s", 9), ("hw %", 7),
    ("records", 8), ("pending", 8), ("conns", 8), ("new/s", 7), ("drops/s", 8),
)  # fmt: skip


@click.command(context_settings=CONTEXT)
@click.option(
    "--interval", "-i", default=2.0, show_default=True, type=click.FloatRange(0.1, 60),
    help="Seconds of each interval.",
)  # fmt: skip
@click.option(
    "--count", "-n", type=click.IntRange(1), help="End after so many intervals; else with Ctrl-C."
)
@click.option(
    "--most", default=10, show_default=True, type=click.IntRange(1, 1000),
    help="Items of each list: connections, zones, vports, reasons.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.pass_obj
def top(socket: Path, interval: float, count: int | None, most: int, as_json: bool) -> None:
    """Show what is going on, live.

    Rates of the slow path and of the eswitch, records in use, the busiest connections and zones,
    who loads the slow path, and why connections are not offloaded. On a terminal it is a screen;
    elsewhere a line for each interval, without the lists.

    \b
    Examples:
      p4ct top
      p4ct top --interval 5 --most 3
      p4ct top --count 1 --json
    """

    def intervals() -> Iterator[dict[str, Any]]:
        arguments = {"seconds": interval, "most": most}
        number = 0
        while count is None or number < count:
            yield client.ask(socket, "top", arguments, takes=interval).result
            number += 1

    try:
        if as_json:
            for answer in intervals():
                click.echo(json.dumps(answer))
        elif sys.stdout.isatty():
            # Imported late: other commands shall not wait for rich.
            from p4ct.cli.top_screen import show_live

            show_live(intervals())
        else:
            _lines(intervals(), click.echo)
    except KeyboardInterrupt:
        return  # the end that was asked for


def _lines(answers: Iterator[dict[str, Any]], write: Callable[[str], None]) -> None:
    for number, answer in enumerate(answers):
        if number % HEADINGS_EVERY == 0:
            write(" ".join(name.rjust(width) for name, width in COLUMNS))
        write(line(answer))


def line(answer: dict[str, Any]) -> str:
    """One interval in columns; a switch that is away has its own word at the end."""
    rates, records = answer["rates"], answer["records"]
    share = answer["hardware_share"]
    cells = (
        time.strftime("%H:%M:%S", time.localtime(answer["time"])),
        size(rates["punts"]),
        size(rates["slow_path_bytes"]),
        size(rates["hardware_packets"]),
        size(rates["hardware_bytes"]),
        "-" if share is None else f"{100 * share:.2f}",
        str(records["active"]),
        str(records["pending"]),
        str(answer["connections"]["total"]),
        size(rates["connections"]),
        size(rates["drops"] + rates["policer_drops"]),
    )
    told = " ".join(cell.rjust(width) for cell, (_, width) in zip(cells, COLUMNS, strict=True))
    return told if answer["target"]["fresh"] else f"{told}  counters may be old"


def size(number: float) -> str:
    """A number in at most six characters: 0.5, 17, 1500, 12.3k, 1.23G."""
    if number < 99.95 and number != int(number):
        return f"{number:.1f}"
    if number < 9999.5:
        return f"{number:.0f}"
    for unit in ("k", "M", "G", "T"):
        number /= 1000
        if number < 999.5 or unit == "T":
            break
    return f"{number:.{0 if number >= 99.95 else 1 if number >= 9.995 else 2}f}{unit}"

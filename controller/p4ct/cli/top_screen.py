# SPDX-License-Identifier: Apache-2.0
"""The screen of `p4ct top`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from p4ct.cli.show import health
from p4ct.cli.top import size

__all__ = ["screen", "show_live"]

Json = dict[str, Any]


def show_live(answers: Iterable[Json], console: Console | None = None) -> None:
    """Show each interval in the place of the one before; the last one stays."""
    console = console or Console(highlight=False)
    shown: RenderableType = Text("p4ct top: the first interval ...", "dim")
    try:
        with Live(shown, console=console, screen=True, auto_refresh=False) as live:
            for answer in answers:
                shown = screen(answer)
                live.update(shown, refresh=True)
    finally:
        console.print(shown)


def screen(answer: Json) -> RenderableType:
    """One interval as tables; lists without items are left out."""
    parts: list[RenderableType] = [_head(answer), Text()]
    for table in (
        _busiest(answer["busiest"]),
        _zones(answer["zones"]),
        _vports(answer["vports"]),
        _reasons(answer["reasons"]),
    ):
        if table.row_count:
            parts += [table, Text()]
    return Group(*parts[:-1])


def _head(answer: Json) -> RenderableType:
    target, rates, records = answer["target"], answer["rates"], answer["records"]
    share = answer["hardware_share"]
    grid = Table.grid(padding=(0, 2))
    well = target["connected"] and target["fresh"]
    state = Text(health(target), "green" if well else "bold red")
    grid.add_row("target", Text(f"{target['address']} ").append_text(state))
    grid.add_row(
        "eswitch",
        f"{size(rates['hardware_packets'])} packets/s, {size(rates['hardware_bytes'])} bytes/s, "
        + ("no packet" if share is None else f"{100 * share:.2f} % of all packets"),
    )
    grid.add_row(
        "slow path",
        f"{size(rates['punts'])} punts/s, {size(rates['slow_path_bytes'])} bytes/s, "
        f"{size(rates['slow_path_sent'])} sent/s, {size(rates['drops'])} dropped/s, "
        f"{size(rates['policer_drops'])} dropped/s by the policer",
    )
    full = records["pending"] > 0
    grid.add_row(
        "records",
        Text(
            f"{records['active']} of {records['capacity']}, {records['pending']} pending, "
            f"{records['in_flight']} in flight, {size(rates['installs'])} installed/s, "
            f"{size(rates['removals'])} removed/s, {size(rates['failures'])} refused/s",
            "yellow" if full else "",
        ),
    )
    connections = answer["connections"]
    grid.add_row(
        "connections",
        f"{connections['total']} of {connections['limit']}, {size(rates['connections'])} new/s",
    )
    return grid


def _table(title: str, *columns: tuple[str, bool]) -> Table:
    """Columns are names, and whether they are numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for name, number in columns:
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    return table


def _row(table: Table, *cells: str) -> None:
    """Cells as they are: rich would take an IPv6 address in brackets for markup."""
    table.add_row(*map(Text, cells))


def _busiest(found: list[Json]) -> Table:
    table = _table(
        "busiest connections in the eswitch",
        ("packets/s", True), ("bytes/s", True), ("", False), ("source", False),
        ("destination", False), ("zone", False), ("way", False),
    )  # fmt: skip
    for item in found:
        source, target = _ends(item)
        _row(
            table,
            size(item["packets"]),
            size(item["bytes"]),
            item["proto"],
            source,
            target,
            ",".join(map(str, item["zones"])),
            f"{item['in_port']} > {item['output']}",
        )
    return table


def _ends(item: Json) -> tuple[str, str]:
    if item["proto"].startswith("icmp"):
        return item["src"], f"{item['dst']} id={item['sport']}"
    ends = (item["src"], item["sport"]), (item["dst"], item["dport"])
    first, second = (f"[{a}]:{p}" if ":" in a else f"{a}:{p}" for a, p in ends)
    return first, second


def _zones(found: list[Json]) -> Table:
    table = _table(
        "zones", ("packets/s", True), ("bytes/s", True), ("zone", True), ("connections", True)
    )
    for item in found:
        _row(
            table,
            size(item["packets"]),
            size(item["bytes"]),
            str(item["zone"]),
            str(item["connections"]),
        )
    return table


def _vports(found: list[Json]) -> Table:
    table = _table("vports by punts", ("punts/s", True), ("vport", False), ("mostly", False))
    for item in found:
        _row(table, size(item["punts"]), item["vport"], item["reason"])
    return table


def _reasons(found: list[Json]) -> Table:
    table = _table("why connections are in software", ("connections", True), ("reason", False))
    for item in found:
        _row(table, str(item["connections"]), item["reason"])
    return table

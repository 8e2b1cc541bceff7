# SPDX-License-Identifier: Apache-2.0
"""`p4ct conntrack`: the connection table."""

from __future__ import annotations

from pathlib import Path

import click

from p4ct.cli import show
from p4ct.cli.client import BadInput, listen
from p4ct.cli.common import CONTEXT, FILTER_HELP, ask, json_option, show_answer
from p4ct.cli.table import import_table, write_table

__all__ = ["conntrack"]


@click.group(context_settings=CONTEXT)
def conntrack() -> None:
    """The connection table.

    \b
    Example:
      p4ct conntrack list udp
    """


@conntrack.command("list", context_settings=CONTEXT, epilog=FILTER_HELP.format(command="list"))
@click.argument("filter", nargs=-1)
@click.option(
    "--format",
    type=click.Choice(["conntrack", "dpctl"]),
    default="conntrack",
    show_default=True,
    help="Lines of conntrack -L, or of dpctl/dump-conntrack.",
)
@click.option("--statistics", "-s", is_flag=True, help="With dpctl: counters, status, timeout.")
@json_option
@click.pass_obj
def conntrack_list(
    socket: Path, filter: tuple[str, ...], format: str, statistics: bool, as_json: bool
) -> None:
    """List connections in the format of conntrack -L, or of dpctl.

    An offloaded connection shows its state and timeout as well, and [OFFLOAD] besides.
    """
    if statistics and format != "dpctl":
        raise BadInput("--statistics belongs to --format dpctl; conntrack -L always has counters")
    arguments = {"filter": filter, "format": format, "statistics": statistics}
    answer = ask(socket, "conntrack-list", arguments)
    show_answer(answer, as_json, show.connections)


@conntrack.command("count", context_settings=CONTEXT, epilog=FILTER_HELP.format(command="count"))
@click.argument("filter", nargs=-1)
@json_option
@click.pass_obj
def conntrack_count(socket: Path, filter: tuple[str, ...], as_json: bool) -> None:
    """Count connections."""
    show_answer(ask(socket, "conntrack-count", {"filter": filter}), as_json, click.echo)


@conntrack.command("flush", context_settings=CONTEXT, epilog=FILTER_HELP.format(command="flush"))
@click.argument("filter", nargs=-1)
@json_option
@click.pass_obj
def conntrack_flush(socket: Path, filter: tuple[str, ...], as_json: bool) -> None:
    """Forget connections; their entries leave first.

    Without FILTER all of them. If entries cannot be removed within 10 seconds, because the switch
    is away, the command fails and nothing is forgotten.
    """
    answer = ask(socket, "conntrack-flush", {"filter": filter})
    show_answer(answer, as_json, show.flushed)


@conntrack.command("set", context_settings=CONTEXT)
@click.argument("settings", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--zone", type=click.IntRange(0, 65535), help="Of this zone alone.")
@json_option
@click.pass_obj
def conntrack_set(socket: Path, settings: tuple[str, ...], zone: int | None, as_json: bool) -> None:
    """Change or show timeouts and limits.

    The names are those of the configuration file, which stays as it is. A timeout holds from a
    connection's next packet on, a limit for new connections; limit 0 is none.

    \b
    Examples:
      p4ct conntrack set
      p4ct conntrack set --zone 5 udp=10 connections=50000
    """
    values: dict[str, float] = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        try:
            values[name] = float(value)
        except ValueError:
            raise BadInput(f"'{setting}' is not NAME=NUMBER, for example udp=10") from None
    answer = ask(socket, "conntrack-set", {"values": values, "zone": zone})
    show_answer(answer, as_json, show.settings)


@conntrack.command(
    "sources", context_settings=CONTEXT, epilog=FILTER_HELP.format(command="sources")
)
@click.argument("filter", nargs=-1)
@click.option(
    "--most", default=20, show_default=True, type=click.IntRange(1, 10000), help="Lines to show."
)
@json_option
@click.pass_obj
def conntrack_sources(socket: Path, filter: tuple[str, ...], most: int, as_json: bool) -> None:
    """Show who fills the table.

    These are the addresses that opened most connections, by zone.
    """
    answer = ask(socket, "conntrack-sources", {"filter": filter, "most": most})
    show_answer(answer, as_json, show.sources)


@conntrack.command("stats", context_settings=CONTEXT)
@json_option
@click.pass_obj
def conntrack_stats(socket: Path, as_json: bool) -> None:
    """Count connections by protocol, state and zone.

    The layout is that of ovs-appctl dpctl/ct-stats-show.

    \b
    Example:
      p4ct conntrack stats
    """
    show_answer(ask(socket, "conntrack-stats"), as_json, show.stats)


@conntrack.command("expectations", context_settings=CONTEXT)
@json_option
@click.pass_obj
def conntrack_expectations(socket: Path, as_json: bool) -> None:
    """List the connections that helpers expect, and of whom.

    \b
    Example:
      p4ct conntrack expectations
    """
    show_answer(ask(socket, "conntrack-expectations"), as_json, show.expectations)


@conntrack.command("events", context_settings=CONTEXT, epilog=FILTER_HELP.format(command="events"))
@click.argument("filter", nargs=-1)
@click.pass_obj
def conntrack_events(socket: Path, filter: tuple[str, ...]) -> None:
    """Print what happens to connections, as JSON lines.

    Until Ctrl-C. Events: new, update, assured, offload, onload, offload_failed, destroy (with final
    counters); lost, if this reader is too slow.
    """
    try:
        for line in listen(socket, "conntrack-events", {"filter": filter}):
            click.echo(line, nl=False)
    except KeyboardInterrupt:
        return  # the end that was asked for


@conntrack.command(
    "export", context_settings=CONTEXT, epilog=FILTER_HELP.format(command="export -")
)
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("filter", nargs=-1)
@click.pass_obj
def conntrack_export(socket: Path, file: Path, filter: tuple[str, ...]) -> None:
    """Write connections to FILE as JSON ("-" is standard output)."""
    found = ask(socket, "conntrack-export", {"filter": filter})
    write_table(found, file)


@conntrack.command("import", context_settings=CONTEXT)
@click.argument("file", type=click.Path(path_type=Path))
@json_option
@click.pass_obj
def conntrack_import(socket: Path, file: Path, as_json: bool) -> None:
    """Take the connections of FILE into the table.

    The file is checked as a whole first; with a mistake in it, or too little room, nothing changes.
    Connections that are known already stay as they are.

    \b
    Example:
      p4ct conntrack import connections.json
    """
    show_answer(import_table(socket, file), as_json, show.imported)

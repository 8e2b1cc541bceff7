# SPDX-License-Identifier: Apache-2.0
"""Commands and options; each command is a few lines, its output is in `p4ct.cli.show`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from p4ct.cli import show
from p4ct.cli.checkout import doctor, shell
from p4ct.cli.client import BadInput
from p4ct.cli.common import CONTEXT, WHY_HELP, ask, json_option, show_answer
from p4ct.cli.conntrack import conntrack
from p4ct.cli.top import top

__all__ = ["main"]


@click.group(context_settings=CONTEXT)
@click.option(
    "--socket",
    type=click.Path(path_type=Path),
    default=Path("p4ct.sock"),
    envvar="P4CT_SOCKET",
    show_envvar=True,
    show_default=True,
    help="Admin socket of the controller.",
)
@click.version_option(package_name="p4ct")
@click.pass_context
def main(context: click.Context, socket: Path) -> None:
    """Connection-tracking offload controller for a P4 eswitch.

    \b
    Examples:
      p4ct run --config topo/p4ct.toml          start the controller
      p4ct status                               what is tracked, offloaded, punted
      p4ct top                                  the same as rates, live
      p4ct conntrack list tcp dport=80          connections, as conntrack -L prints them
      p4ct offload why                          why is this connection not offloaded?
      p4ct explain tcp src=10.0.0.1 dst=10.0.0.3 sport=4000 dport=80 in_port=vm1

    Exit codes: 0 done; 1 it failed (no controller, the switch, permissions); 2 a mistake on the
    command line, in a file, or in a flow, filter or tuple.
    """
    context.obj = socket


@main.command(context_settings=CONTEXT)
@click.option("--config", "-c", required=True, type=click.Path(path_type=Path), help="TOML file.")
def run(config: Path) -> None:
    """Run the controller until SIGINT or SIGTERM.

    Entries stay in the switch when it ends: established connections go on, and the next
    controller takes them over.

    \b
    Example:
      p4ct run --config topo/p4ct.toml
    """
    # What gRPC wants to say about a lost connection, we say ourselves.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from p4ct.cli.run import run_controller

    sys.exit(run_controller(config))


@main.command("check-config", context_settings=CONTEXT)
@click.argument("config", type=click.Path(path_type=Path))
def check_config(config: Path) -> None:
    """Check a configuration without starting anything.

    Its flows and its program are checked as well; every mistake is told with file and line.

    \b
    Example:
      p4ct check-config topo/p4ct.toml
    """
    from p4ct.cli.run import check

    sys.exit(check(config))


@main.command(context_settings=CONTEXT)
@json_option
@click.pass_obj
def status(socket: Path, as_json: bool) -> None:
    """Totals: connections, packets, punts, drops, entries.

    \b
    Examples:
      p4ct status
      p4ct --socket build/p4ct.sock status --json
    """
    show_answer(ask(socket, "status"), as_json, show.status)


main.add_command(top)
main.add_command(doctor)
main.add_command(shell)
main.add_command(conntrack)


@main.group(context_settings=CONTEXT)
def offload() -> None:
    """What the eswitch forwards by itself.

    \b
    Example:
      p4ct offload why
    """


@offload.command("list", context_settings=CONTEXT)
@json_option
@click.pass_obj
def offload_list(socket: Path, as_json: bool) -> None:
    """List entries as ovs-appctl dpctl/dump-flows does.

    One line for each direction, with the columns of type=offloaded.

    \b
    Example:
      p4ct offload list
    """
    show_answer(ask(socket, "offload-list"), as_json, show.records)


@offload.command("pending", context_settings=CONTEXT)
@json_option
@click.pass_obj
def offload_pending(socket: Path, as_json: bool) -> None:
    """List connections that wait because the eswitch is full.

    \b
    Example:
      p4ct offload pending
    """
    show_answer(ask(socket, "offload-pending"), as_json, show.pending)


@offload.command("flows", context_settings=CONTEXT)
@json_option
@click.pass_obj
def offload_flows(socket: Path, as_json: bool) -> None:
    """List entries for traffic that passes no ct().

    One line for each, as ovs-appctl dpctl/dump-flows prints them; fields that are not shown may
    have any value.

    \b
    Example:
      p4ct offload flows
    """
    show_answer(ask(socket, "offload-flows"), as_json, show.stateless)


@offload.command("why", context_settings=CONTEXT, epilog=WHY_HELP)
@click.argument("filter", nargs=-1)
@json_option
@click.pass_obj
def offload_why(socket: Path, filter: tuple[str, ...], as_json: bool) -> None:
    """Say of each connection whether it is offloaded, and why not."""
    show_answer(ask(socket, "offload-why", {"filter": filter}), as_json, show.why)


@main.group(context_settings=CONTEXT)
def flows() -> None:
    """The policy: flows in the syntax of ovs-ofctl.

    \b
    Example:
      p4ct flows list
    """


@flows.command("list", context_settings=CONTEXT)
@json_option
@click.pass_obj
def flows_list(socket: Path, as_json: bool) -> None:
    """List flows as ovs-ofctl dump-flows does.

    Counts are the sum of software and hardware.

    \b
    Example:
      p4ct flows list
    """
    show_answer(ask(socket, "flows-list"), as_json, show.flows)


@flows.command("replace", context_settings=CONTEXT)
@click.argument("file", type=click.File("r"))
@json_option
@click.pass_obj
def flows_replace(socket: Path, file: Any, as_json: bool) -> None:
    """Make FILE the whole policy ("-" reads standard input).

    When it has succeeded, nothing that the new policy denies leaves a port any more; what becomes
    of connections that it only decides otherwise says offload.policy_change in the configuration.
    If the switch makes no progress for 10 seconds, the command fails; the policy holds all the
    same for everything that comes up, and for the rest as soon as the switch is back.

    \b
    Example:
      p4ct flows replace topo/policy.flows
    """
    try:
        arguments = {"text": file.read(), "source": file.name}
    except UnicodeDecodeError as error:
        raise BadInput(f"{file.name}: is not UTF-8 text (byte {error.start})") from None
    show_answer(ask(socket, "flows-replace", arguments), as_json, show.changed)


@flows.command("add", context_settings=CONTEXT)
@click.argument("flow")
@json_option
@click.pass_obj
def flows_add(socket: Path, flow: str, as_json: bool) -> None:
    """Add one flow, in ovs-ofctl syntax.

    \b
    Example:
      p4ct flows add "table=1,priority=95,tcp,in_port=ext,tp_dst=22,ct_state=+new,actions=drop"
    """
    answer = ask(socket, "flows-add", {"text": flow, "source": "FLOW"})
    show_answer(answer, as_json, show.changed)


@flows.command("delete", context_settings=CONTEXT)
@click.argument("match")
@json_option
@click.pass_obj
def flows_delete(socket: Path, match: str, as_json: bool) -> None:
    """Delete the flows that MATCH selects, as ovs-ofctl del-flows.

    An empty MATCH selects all of them.

    \b
    Examples:
      p4ct flows delete "table=1,tcp,tp_dst=22"
      p4ct flows delete ""
    """
    show_answer(ask(socket, "flows-delete", {"match": match}), as_json, show.deleted)


@main.group(context_settings=CONTEXT)
def vport() -> None:
    """Logical ports, and the dataplane ports behind them.

    \b
    Example:
      p4ct vport list
    """


@vport.command("list", context_settings=CONTEXT)
@json_option
@click.pass_obj
def vport_list(socket: Path, as_json: bool) -> None:
    """List vports, their ports, tunnels and next hops.

    \b
    Example:
      p4ct vport list
    """
    show_answer(ask(socket, "vport-list"), as_json, show.vports)


@vport.command("move", context_settings=CONTEXT)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--port", type=int, help="Dataplane port to move to.")
@click.option("--outer-eth-dst", metavar="MAC", help="Next hop of a tunnel on its new way.")
@click.option("--outer-eth-src", metavar="MAC", help="Our end of a tunnel on its new way.")
@json_option
@click.pass_obj
def vport_move(
    socket: Path,
    names: tuple[str, ...],
    port: int | None,
    outer_eth_dst: str | None,
    outer_eth_src: str | None,
    as_json: bool,
) -> None:
    """Move vports to another uplink; their connections go on.

    An uplink has failed over, or the route of a tunnel has changed. One next hop is rewritten for
    each vport, and all entries that use it follow at once. When the command has succeeded, nothing
    is sent the old way any more, and what comes in that way belongs to no vport. If the switch
    refuses or is away, nothing has changed. The configuration file is not changed: a controller
    that is started anew reads its ports from there.

    \b
    Examples:
      p4ct vport move ext --port 4
      p4ct vport move outb --port 4 --outer-eth-dst 02:00:00:00:01:04
    """
    arguments = {
        "vports": names,
        "port": port,
        "outer_eth_src": outer_eth_src,
        "outer_eth_dst": outer_eth_dst,
    }
    show_answer(ask(socket, "vport-move", arguments), as_json, show.moved)


@main.command(context_settings=CONTEXT)
@click.argument("tuple", nargs=-1, required=True)
@json_option
@click.pass_obj
def explain(socket: Path, tuple: tuple[str, ...], as_json: bool) -> None:
    """Explain what happens to packets of TUPLE, and why.

    Shows its connections and entries, the flows on its way, and what keeps it from hardware.
    TUPLE: a protocol (tcp, udp, icmp), src=ADDR, dst=ADDR; sport=N, dport=N (icmp: type=N, id=N);
    in_port=VPORT, eth_src=MAC and eth_dst=MAC where no entry tells them; zone=N.
    A whole line of "p4ct conntrack list" will do; its first tuple is asked.

    \b
    Example:
      p4ct explain tcp src=10.0.0.1 dst=10.0.0.3 sport=40000 dport=80 in_port=vm1
    """
    show_answer(ask(socket, "explain", {"tuple": " ".join(tuple)}), as_json, show.explanation)


@main.command(context_settings=CONTEXT)
@click.argument("file", type=click.Path(path_type=Path))
def p4info(file: Path) -> None:
    """Print what a P4Info FILE holds: tables, actions, counters.

    \b
    Example:
      p4ct p4info p4src/compiled/eswitch.p4info.txtpb
    """
    from p4ct.p4runtime.p4info import P4InfoError, P4InfoIndex, describe, load_p4info

    try:
        click.echo(describe(P4InfoIndex(load_p4info(file))))
    except P4InfoError as error:
        raise BadInput(str(error)) from None

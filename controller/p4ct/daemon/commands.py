# SPDX-License-Identifier: Apache-2.0
"""What the admin API can do: one function for each command, plain JSON in and out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from p4ct.conntrack import Connection
from p4ct.daemon import views
from p4ct.daemon.controller import Controller
from p4ct.daemon.tuples import TupleError, parse_filter, parse_tuple
from p4ct.offload.explain import explain
from p4ct.pipeline.errors import FlowSyntaxError
from p4ct.pipeline.format import flow_line
from p4ct.pipeline.parser import parse_flows, parse_selector

__all__ = ["COMMANDS", "CommandError"]

Arguments = dict[str, Any]
Command = Callable[[Controller, Arguments], Awaitable[Any]]


class CommandError(Exception):
    """The request cannot be carried out; the text says why and what to do."""


async def status(controller: Controller, _: Arguments) -> Any:
    """Totals of everything; reads the switch first."""
    await controller.refresh()
    return await views.status(controller)


async def conntrack_list(controller: Controller, arguments: Arguments) -> Any:
    """Connections that fit the filter words, as objects and as lines of `conntrack -L`."""
    await controller.refresh()
    now = controller.clock()
    return [views.connection(c, now) for c in _select(controller, arguments)]


async def conntrack_count(controller: Controller, arguments: Arguments) -> Any:
    """How many connections fit the filter words."""
    return sum(1 for _ in _select(controller, arguments))


async def conntrack_flush(controller: Controller, arguments: Arguments) -> Any:
    """Forget the connections that fit the filter words; returns how many."""
    return await controller.flush(list(_select(controller, arguments)))


async def offload_list(controller: Controller, _: Arguments) -> Any:
    """Offload records with their counters."""
    await controller.refresh()
    now = controller.clock()
    ports = controller.config.ports
    return [views.record(r, ports, now) for r in controller.manager.records.values()]


async def offload_pending(controller: Controller, _: Arguments) -> Any:
    """Connections that wait for a free record, in the order of their turn."""
    return [
        {"position": position, **views.connection(candidate.connection, controller.clock())}
        for position, candidate in enumerate(controller.manager.pending, 1)
    ]


async def offload_why(controller: Controller, arguments: Arguments) -> Any:
    """For each connection that fits: offloaded or not, and why; with a summary by reason."""
    now = controller.clock()
    found = [views.connection(c, now) for c in _select(controller, arguments)]
    reasons: dict[str, int] = {}
    for item in found:
        reason = "offloaded" if item["offloaded"] else item["offload_reason"]
        reasons[reason] = reasons.get(reason, 0) + 1
    return {"connections": found, "reasons": reasons}


async def flows_list(controller: Controller, _: Arguments) -> Any:
    """Flows with the sum of software's and hardware's counts."""
    await controller.refresh()
    now = controller.clock()
    name = controller.config.ports.name
    return [
        {**views.flow(flow), "text": flow_line(flow, now, name)}
        for flow in controller.pipeline.flows
    ]


async def flows_replace(controller: Controller, arguments: Arguments) -> Any:
    """Make the given text the whole policy."""
    flows = _parse(controller, arguments)
    return views.change(await controller.change_flows(replace=flows))


async def flows_add(controller: Controller, arguments: Arguments) -> Any:
    """Add the flows of the given text."""
    return views.change(await controller.change_flows(add=_parse(controller, arguments)))


async def flows_delete(controller: Controller, arguments: Arguments) -> Any:
    """Delete the flows that a match selects, as `ovs-ofctl del-flows`."""
    try:
        selector = parse_selector(
            str(arguments.get("match", "")), ports=controller.config.ports.numbers
        )
    except FlowSyntaxError as error:
        raise CommandError(str(error)) from None
    return views.change(await controller.change_flows(delete=selector))


async def explain_tuple(controller: Controller, arguments: Arguments) -> Any:
    """What happens to packets of one tuple, and why it is or is not offloaded."""
    await controller.refresh()
    try:
        question = parse_tuple(str(arguments.get("tuple", "")), controller.config.ports)
    except TupleError as error:
        raise CommandError(str(error)) from None
    return explain(
        question, controller.pipeline, controller.tracker, controller.manager, controller.clock()
    )


def _select(controller: Controller, arguments: Arguments) -> list[Connection]:
    words = arguments.get("filter", [])
    try:
        chosen = parse_filter([str(word) for word in words])
    except TupleError as error:
        raise CommandError(str(error)) from None
    return list(controller.tracker.select(**chosen))


def _parse(controller: Controller, arguments: Arguments) -> Any:
    try:
        return parse_flows(
            str(arguments.get("text", "")),
            source=str(arguments.get("source", "flows")),
            ports=controller.config.ports.numbers,
        )
    except FlowSyntaxError as error:
        raise CommandError(str(error)) from None


COMMANDS: dict[str, Command] = {
    "status": status,
    "conntrack-list": conntrack_list,
    "conntrack-count": conntrack_count,
    "conntrack-flush": conntrack_flush,
    "offload-list": offload_list,
    "offload-pending": offload_pending,
    "offload-why": offload_why,
    "flows-list": flows_list,
    "flows-replace": flows_replace,
    "flows-add": flows_add,
    "flows-delete": flows_delete,
    "explain": explain_tuple,
}

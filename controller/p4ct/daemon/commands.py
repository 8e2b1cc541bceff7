# SPDX-License-Identifier: Apache-2.0
"""What the admin API can do: one function for each command, plain JSON in and out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import msgspec

from p4ct.conntrack import Connection
from p4ct.conntrack.format_dpctl import dpctl_line
from p4ct.daemon import operations, settings, transfer, uplinks, views
from p4ct.daemon.controller import Controller
from p4ct.daemon.select import Selection
from p4ct.daemon.sources import largest
from p4ct.daemon.top import watch
from p4ct.daemon.tuples import TupleError, parse_tuple
from p4ct.offload.explain import explain
from p4ct.pipeline.errors import FlowSyntaxError
from p4ct.pipeline.flow import Flow
from p4ct.pipeline.format import flow_line
from p4ct.pipeline.parser import parse_flows, parse_selector

__all__ = ["COMMANDS", "CommandError", "carry_out"]

T = TypeVar("T")

CHUNK = 500
"""Items of a list that are prepared before packets get their turn again."""


class CommandError(Exception):
    """The request has a mistake; the text says which and what to do."""


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """No arguments."""


class Filter(msgspec.Struct, forbid_unknown_fields=True):
    """Words that select connections, as in `p4ct conntrack list`."""

    filter: list[str] = []


class ListArguments(Filter, forbid_unknown_fields=True):
    """`format` of the lines; `statistics` for that of dpctl."""

    format: Literal["conntrack", "dpctl"] = "conntrack"
    statistics: bool = False


class ImportArguments(msgspec.Struct, forbid_unknown_fields=True):
    """A part of a table of `total` connections; an empty one asks whether there is room."""

    total: int
    connections: list[Any] = []


class SourcesArguments(Filter, forbid_unknown_fields=True):
    """`most`: sources in the answer."""

    most: Annotated[int, msgspec.Meta(ge=1, le=10000)] = 20


class SetArguments(msgspec.Struct, forbid_unknown_fields=True):
    """`values`: timeouts and limits by name; none of them: only show. `zone` None: general."""

    values: dict[str, float] = {}
    zone: Annotated[int, msgspec.Meta(ge=0, le=65535)] | None = None


class TopArguments(msgspec.Struct, forbid_unknown_fields=True):
    """`seconds`: of the interval; `most`: items of each list."""

    seconds: Annotated[float, msgspec.Meta(ge=0.1, le=60)] = 2.0
    most: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 10


class Text(msgspec.Struct, forbid_unknown_fields=True):
    """Flows; `source` names them in messages."""

    text: str
    source: str = "flows"


class MatchText(msgspec.Struct, forbid_unknown_fields=True):
    """A match in flow syntax; empty selects every flow."""

    match: str = ""


class TupleText(msgspec.Struct, forbid_unknown_fields=True):
    """A packet as in `p4ct explain`."""

    tuple: str


class Move(msgspec.Struct, forbid_unknown_fields=True):
    """Names of vports, and where they go; None: as it is."""

    vports: list[str]
    port: int | None = None
    outer_eth_src: str | None = None
    outer_eth_dst: str | None = None


async def carry_out(controller: Controller, name: str, arguments: dict[str, Any]) -> Any:
    """The result of one command. Raises CommandError, or EswitchError for what the switch did."""
    command = COMMANDS.get(name)
    if command is None:
        raise CommandError(f"unknown command '{name}'; known: {', '.join(sorted(COMMANDS))}")
    try:
        given = msgspec.convert(arguments, command.arguments)
    except msgspec.ValidationError as error:
        raise CommandError(f"arguments of {name}: {error}") from None
    return await command.function(controller, given)


async def status(controller: Controller, _: Nothing) -> Any:
    """Totals of everything; reads the switch first."""
    fresh = await controller.refresh()
    return await views.status(controller, fresh)


async def top(controller: Controller, arguments: TopArguments) -> Any:
    """What happens during the next seconds."""
    return await watch(controller, arguments.seconds, arguments.most)


async def conntrack_list(controller: Controller, arguments: ListArguments) -> Any:
    """Connections that fit the filter words, as objects and as lines of the format asked for."""
    await controller.refresh()
    now = controller.clock()
    chosen = await _select(controller, arguments)
    if arguments.format == "conntrack":
        return await _each(chosen, lambda c: views.connection(c, now))
    more = arguments.statistics
    return await _each(
        chosen,
        lambda c: {**views.connection(c, now), "line": dpctl_line(c, now, statistics=more)},
    )


async def conntrack_export(controller: Controller, arguments: Filter) -> Any:
    """The connections that fit the filter words, for a file."""
    await controller.refresh()
    now = controller.clock()
    chosen = await _select(controller, arguments)
    found = await _each(chosen, lambda c: transfer.export(c, now) if c.alive else None)
    return [item for item in found if item is not None]


async def conntrack_import(controller: Controller, arguments: ImportArguments) -> Any:
    """Take connections in; those that are known stay as they are."""
    try:
        chosen = transfer.check(arguments.connections)
    except transfer.TransferError as error:
        raise CommandError(str(error)) from None
    return await operations.take_in(controller, chosen, arguments.total)


async def conntrack_set(controller: Controller, arguments: SetArguments) -> Any:
    """Change timeouts and limits while connections live; answers with all that hold then."""
    try:
        settings.change(controller.tracker, arguments.zone, arguments.values)
    except settings.SettingError as error:
        raise CommandError(str(error)) from None
    return settings.settings(controller.tracker, arguments.zone)


async def conntrack_stats(controller: Controller, _: Nothing) -> Any:
    """Connections by protocol, state and zone."""
    return views.conntrack_stats(controller)


async def conntrack_expectations(controller: Controller, _: Nothing) -> Any:
    """Connections that helpers wait for, the oldest first."""
    now = controller.clock()
    waiting = controller.tracker.helpers.expectations.list()
    return [views.expectation(expected, now) for expected in waiting]


async def conntrack_events(controller: Controller, arguments: Filter) -> Any:
    """Events of connections that fit the filter words; the admin server sends what it hears."""
    return controller.events.listen(_selection(arguments))


async def conntrack_count(controller: Controller, arguments: Filter) -> Any:
    """How many connections fit the filter words."""
    number = 0
    for portion in _selection(arguments).portions(controller.tracker):
        number += len(portion)
        await asyncio.sleep(0)
    return number


async def conntrack_sources(controller: Controller, arguments: SourcesArguments) -> Any:
    """Who opened most of the connections that fit the filter words."""
    found = await largest(controller.tracker, _selection(arguments), arguments.most)
    return [views.source(item) for item in found]


async def conntrack_flush(controller: Controller, arguments: Filter) -> Any:
    """Forget the connections that fit the filter words; returns how many."""
    return await operations.flush(controller, _selection(arguments))


async def offload_list(controller: Controller, _: Nothing) -> Any:
    """Offload records with their counters."""
    await controller.refresh()
    now = controller.clock()
    ports = controller.config.ports
    records = list(controller.manager.records.values())
    return await _each(records, lambda record: views.record(record, ports, now))


async def offload_pending(controller: Controller, _: Nothing) -> Any:
    """Connections that wait for a free record, in the order of their turn."""
    return [
        {"position": position, **views.connection(candidate.connection, controller.clock())}
        for position, candidate in enumerate(controller.manager.pending, 1)
    ]


async def offload_flows(controller: Controller, _: Nothing) -> Any:
    """Stateless flows with their counters."""
    await controller.refresh()
    ports = controller.config.ports
    flows = list(controller.manager.stateless.entries.values())
    return await _each(flows, lambda flow: views.stateless_flow(flow, ports))


async def offload_why(controller: Controller, arguments: Filter) -> Any:
    """For each connection that fits: offloaded or not, and why; with a summary by reason."""
    now = controller.clock()
    chosen = await _select(controller, arguments)
    found = await _each(chosen, lambda c: views.connection(c, now))
    reasons: dict[str, int] = {}
    for item in found:
        reason = "offloaded" if item["offloaded"] else item["offload_reason"]
        reasons[reason] = reasons.get(reason, 0) + 1
    return {"connections": found, "reasons": reasons}


async def flows_list(controller: Controller, _: Nothing) -> Any:
    """Flows with the sum of software's and hardware's counts."""
    await controller.refresh()
    now = controller.clock()
    name = controller.config.ports.name
    return [
        {**views.flow(flow), "text": flow_line(flow, now, name)}
        for flow in controller.pipeline.flows
    ]


async def flows_replace(controller: Controller, arguments: Text) -> Any:
    """Make the given text the whole policy."""
    flows = _parse(controller, arguments)
    origin = f"flows replace {arguments.source}"
    return views.change(await operations.change_flows(controller, origin, replace=flows))


async def flows_add(controller: Controller, arguments: Text) -> Any:
    """Add the flows of the given text."""
    flows = _parse(controller, arguments)
    if not flows:
        raise CommandError(
            "there is no flow to add; for example: table=0,priority=10,arp,actions=NORMAL"
        )
    origin = f"flows add {arguments.text}"
    return views.change(await operations.change_flows(controller, origin, add=flows))


async def flows_delete(controller: Controller, arguments: MatchText) -> Any:
    """Delete the flows that a match selects, as `ovs-ofctl del-flows`."""
    try:
        selector = parse_selector(
            arguments.match, source="MATCH", ports=controller.config.ports.numbers
        )
    except FlowSyntaxError as error:
        raise CommandError(str(error)) from None
    origin = f"flows delete {arguments.match}"
    return views.change(await operations.change_flows(controller, origin, delete=selector))


async def vport_list(controller: Controller, _: Nothing) -> Any:
    """Vports, their ports and next hops."""
    ports, rows = controller.config.ports, controller.manager.next_hops
    return [views.vport(vport, ports, rows) for vport in ports.by_id.values()]


async def vport_move(controller: Controller, arguments: Move) -> Any:
    """Give vports another dataplane port or outer MAC addresses, under their connections."""
    route = uplinks.Route(arguments.port, arguments.outer_eth_src, arguments.outer_eth_dst)
    try:
        return msgspec.to_builtins(await uplinks.move(controller, arguments.vports, route))
    except uplinks.MoveError as error:
        raise CommandError(str(error)) from None


async def explain_tuple(controller: Controller, arguments: TupleText) -> Any:
    """What happens to packets of one tuple, and why it is or is not offloaded."""
    try:
        question = parse_tuple(arguments.tuple, controller.config.ports)
    except TupleError as error:
        raise CommandError(str(error)) from None
    await controller.refresh()
    return explain(
        question,
        controller.pipeline,
        controller.tracker,
        controller.manager,
        controller.slow_path.stations,
        controller.clock(),
    )


def _selection(arguments: Filter) -> Selection:
    try:
        return Selection(arguments.filter)
    except TupleError as error:
        raise CommandError(str(error)) from None


async def _select(controller: Controller, arguments: Filter) -> list[Connection]:
    """What fits, found in portions, so that packets do not wait for it."""
    chosen: list[Connection] = []
    for portion in _selection(arguments).portions(controller.tracker):
        chosen += portion
        await asyncio.sleep(0)
    return chosen


def _parse(controller: Controller, arguments: Text) -> list[Flow]:
    try:
        return parse_flows(
            arguments.text,
            source=arguments.source,
            ports=controller.config.ports.numbers,
            timeouts=controller.config.timeouts.policies,
        )
    except FlowSyntaxError as error:
        raise CommandError(str(error)) from None


async def _each(items: Iterable[T], view: Callable[[T], Any]) -> list[Any]:
    """A long list in portions, so that packets do not wait for it."""
    result: list[Any] = []
    for number, item in enumerate(items, 1):
        result.append(view(item))
        if number % CHUNK == 0:
            await asyncio.sleep(0)
    return result


class _Command(NamedTuple):
    arguments: type[msgspec.Struct]
    function: Callable[[Controller, Any], Awaitable[Any]]
    #: Its answer has counters of the switch.
    counters: bool = False


COMMANDS: dict[str, _Command] = {
    "status": _Command(Nothing, status),
    "conntrack-list": _Command(ListArguments, conntrack_list, counters=True),
    "conntrack-count": _Command(Filter, conntrack_count),
    "conntrack-events": _Command(Filter, conntrack_events),
    "conntrack-expectations": _Command(Nothing, conntrack_expectations),
    "conntrack-export": _Command(Filter, conntrack_export, counters=True),
    "conntrack-flush": _Command(Filter, conntrack_flush),
    "conntrack-import": _Command(ImportArguments, conntrack_import),
    "conntrack-set": _Command(SetArguments, conntrack_set),
    "conntrack-sources": _Command(SourcesArguments, conntrack_sources),
    "conntrack-stats": _Command(Nothing, conntrack_stats),
    "offload-list": _Command(Nothing, offload_list, counters=True),
    "offload-pending": _Command(Nothing, offload_pending),
    "offload-flows": _Command(Nothing, offload_flows, counters=True),
    "offload-why": _Command(Filter, offload_why, counters=True),
    "flows-list": _Command(Nothing, flows_list, counters=True),
    "flows-replace": _Command(Text, flows_replace),
    "flows-add": _Command(Text, flows_add),
    "flows-delete": _Command(MatchText, flows_delete),
    "vport-list": _Command(Nothing, vport_list),
    "vport-move": _Command(Move, vport_move),
    "top": _Command(TopArguments, top, counters=True),
    "explain": _Command(TupleText, explain_tuple),
}

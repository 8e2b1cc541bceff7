# SPDX-License-Identifier: Apache-2.0
"""What operators change: the policy and the connection table.

Both take effect in software at once.  The answer is given when the switch has confirmed that it
forwards nothing any more that should not be, and not later than CONFIRM_TIMEOUT: a command never
waits for a switch that stays away.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence

from p4ct.conntrack import Connection, ConntrackFull
from p4ct.conntrack.saved import Saved
from p4ct.daemon.controller import Controller
from p4ct.daemon.select import Selection
from p4ct.eswitch.entries import EswitchError
from p4ct.offload.record import Leaving, Record
from p4ct.pipeline.execute import FlowChange
from p4ct.pipeline.flow import Flow
from p4ct.pipeline.parser import FlowSelector

__all__ = ["CONFIRM_TIMEOUT", "change_flows", "flush", "take_in"]

log = logging.getLogger("p4ct.policy")

LONGEST_ORIGIN = 200
"""Characters of a change's origin in the log."""
PORTION = 500
"""Connections that are forgotten before packets get their turn again."""
CONFIRM_TIMEOUT = 10.0
"""Seconds that a change waits for the switch, reconnecting included."""


async def change_flows(
    controller: Controller,
    origin: str,
    *,
    replace: Iterable[Flow] | None = None,
    delete: FlowSelector | None = None,
    add: Iterable[Flow] | None = None,
) -> FlowChange:
    """Change the policy. On return nothing that it denies leaves a port any more.

    `origin` says in the log what changed it. Raises EswitchError when the switch did not confirm
    that in time: the policy then holds in software, and denied entries go as soon as the switch is
    back.
    """
    now = controller.clock()
    pipeline = controller.pipeline
    change = FlowChange()
    if replace is not None:
        change = pipeline.replace(replace, now)
    if delete is not None:
        change = pipeline.delete(delete, now)
    if add is not None:
        change = pipeline.add(add, now)
    log.info(
        "policy version %d: %d flows added, %d removed by '%s'",
        pipeline.version,
        len(change.added),
        len(change.removed),
        " ".join(origin.split())[:LONGEST_ORIGIN],
    )
    leaving = controller.manager.policy_changed(now)
    try:
        async with asyncio.timeout(CONFIRM_TIMEOUT):
            await _gone(controller, leaving)
            while not await controller.switch.barrier():
                pass
    except TimeoutError:
        raise EswitchError(
            "UNAVAILABLE",
            f"the policy was changed ({len(change.added)} flows added, {len(change.removed)} "
            f"removed) and holds for everything that comes up, but {_why(controller)}: entries "
            "that it denies may forward until the switch is back; see 'p4ct status'",
        ) from None
    return change


async def flush(controller: Controller, selection: Selection) -> int:
    """Forget connections: first their entries go, then they do. Returns how many.

    All of a zone, or of all zones, become unknown at the same moment; others one after the other.
    Raises EswitchError when entries could not be removed in time; no connection is forgotten then.
    """
    manager, tracker = controller.manager, controller.tracker
    chosen: list[Connection] = []
    records: list[Record] = []
    found = 0
    for portion in selection.portions(tracker):
        found += len(portion)
        if not selection.whole_zone:
            chosen += portion
        records += manager.records_of(portion)
        await asyncio.sleep(0)
    try:
        async with asyncio.timeout(CONFIRM_TIMEOUT):
            for record in records:
                manager.remove(record, "flushed")
            if records:
                await _gone(controller, records)
    except TimeoutError:
        raise EswitchError(
            "UNAVAILABLE",
            f"nothing was flushed: {_why(controller)}, and {len(records)} of the "
            f"{found} connections have entries there; try again when 'p4ct status' shows it "
            "connected",
        ) from None
    now = controller.clock()
    if selection.whole_zone:
        number = tracker.flush(selection.zone)
        while tracker.flushing:
            tracker.expire(now, PORTION)
            manager.take_ended()  # no packet waits for them
            await asyncio.sleep(0)
    else:
        number = 0
        while chosen:  # who holds a million and lets go of them at once stops everything
            for connection in chosen[-PORTION:]:
                number += connection.alive
                tracker.remove(connection, now)
            manager.take_ended()  # no packet waits for them
            del chosen[-PORTION:]
            await asyncio.sleep(0)
    ended = manager.leaving()  # offloaded again in the meantime
    try:
        async with asyncio.timeout(CONFIRM_TIMEOUT):
            if ended:
                await _gone(controller, ended)
    except TimeoutError:
        raise EswitchError(
            "UNAVAILABLE",
            f"{number} connections were flushed, but {_why(controller)}: {len(ended)} of them may "
            "have entries until it is back; see 'p4ct status'",
        ) from None
    return number


async def take_in(controller: Controller, chosen: Sequence[Saved], total: int) -> dict[str, int]:
    """Take connections of another table in; how many were, and how many were known already.

    Raises EswitchError when there is no room for all `total` of the table: none is taken then.
    """
    tracker = controller.tracker
    room = tracker.max_connections - len(tracker)
    if max(total, len(chosen)) > room:
        raise EswitchError(
            "RESOURCE_EXHAUSTED",
            f"nothing was imported: {total} connections, and room for {room}; raise "
            f"conntrack.max_connections ({tracker.max_connections}) or flush some",
        )
    imported = 0
    for number, saved in enumerate(chosen, 1):
        try:
            imported += tracker.load(saved, controller.clock())
        except ConntrackFull as error:  # others have come meanwhile
            what = f"{imported} connections were imported, then the table was full: {error}"
            raise EswitchError("RESOURCE_EXHAUSTED", what) from None
        if number % 500 == 0:
            await asyncio.sleep(0)
    return {"imported": imported, "known": len(chosen) - imported}


async def _gone(controller: Controller, records: Iterable[Leaving]) -> None:
    """Wait until these records have left the switch, and we know what else it holds."""
    left = [(record, asyncio.Event()) for record in records]
    for record, event in left:
        record.on_gone.append(event.set)
    try:
        for _, event in left:
            await event.wait()
    finally:
        for record, event in left:
            if event.set in record.on_gone:  # nobody waits any more
                record.on_gone.remove(event.set)
    # While manager and switch do not agree there may be entries that no record stands for; they
    # are judged by the reconciliation that makes them agree again.
    await controller.agreed()


def _why(controller: Controller) -> str:
    name = controller.switch.name
    if not controller.switch.ready:
        return f"the switch {name} is not connected"
    return f"the switch {name} did not confirm it within {CONFIRM_TIMEOUT:g} s"

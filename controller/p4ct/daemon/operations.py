# SPDX-License-Identifier: Apache-2.0
"""What operators change: the policy and the connection table.

Both take effect in software at once.  The answer is given when the switch has confirmed that it
forwards nothing any more that should not be, or when nothing has moved for CONFIRM_TIMEOUT: a
command never waits for a switch that stays away.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence

from p4ct.conntrack import Connection, ConntrackFull
from p4ct.conntrack.saved import Saved
from p4ct.daemon.controller import Controller
from p4ct.daemon.departure import Departure
from p4ct.daemon.select import Selection
from p4ct.eswitch.entries import EswitchError
from p4ct.offload.policy_change import PolicyChange
from p4ct.pace import Pace
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
"""Seconds without progress that a change waits for the switch, reconnecting included."""


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
    pipeline, manager = controller.pipeline, controller.manager
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
    # Not the client's task: denied entries go, even if nobody waits for it any more.
    carrying_out = asyncio.create_task(_carry_out(controller, PolicyChange(manager, change)))
    leaving = await asyncio.shield(carrying_out)
    try:
        await _gone(controller, leaving)
        async with asyncio.timeout(CONFIRM_TIMEOUT):
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
    records = Departure()
    found = 0
    for portion in selection.portions(tracker):
        found += len(portion)
        if not selection.whole_zone:
            chosen += portion
        for record in manager.records_of(portion):
            manager.remove(record, "flushed")
            records.add([record])
        await asyncio.sleep(0)
    entries = records.left
    try:
        if entries:
            await _gone(controller, records)
    except TimeoutError:
        raise EswitchError(
            "UNAVAILABLE",
            f"nothing was flushed: {_why(controller)}, and {entries} of the "
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
    records.add(manager.leaving())  # offloaded again in the meantime
    entries = records.left
    try:
        if entries:
            await _gone(controller, records)
    except TimeoutError:
        raise EswitchError(
            "UNAVAILABLE",
            f"{number} connections were flushed, but {_why(controller)}: {entries} of them may "
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


async def _carry_out(controller: Controller, change: PolicyChange) -> Departure:
    """Judge every record by the policy of now; the answer: those that have to go."""
    leaving, pace = Departure(), Pace()
    leaving.add(change.step(controller.clock()))
    while not change.done:
        await pace()
        leaving.add(change.step(controller.clock()))
    return leaving


async def _gone(controller: Controller, records: Departure) -> None:
    """Wait until these records have left the switch, and we know what else it holds.

    Raises TimeoutError if for CONFIRM_TIMEOUT seconds nothing moved.
    """
    reconciliation = _Reconciliation(controller)
    await records.complete(CONFIRM_TIMEOUT, reconciliation.goes_on)
    # While manager and switch do not agree there may be entries that no record stands for; they
    # are judged by the reconciliation that makes them agree again.
    while True:
        try:
            async with asyncio.timeout(CONFIRM_TIMEOUT):
                return await controller.agreed()
        except TimeoutError:
            if not reconciliation.goes_on():
                raise


class _Reconciliation:
    """The one that a command waits for, if any."""

    def __init__(self, controller: Controller) -> None:
        self._manager = controller.manager
        self._reached = self._manager.reconcile_steps

    def goes_on(self) -> bool:
        """It has come further than it was seen before; one that only begins anew has not."""
        before, self._reached = self._reached, max(self._reached, self._manager.reconcile_steps)
        return self._reached > before


def _why(controller: Controller) -> str:
    name = controller.switch.name
    if not controller.switch.ready:
        return f"the switch {name} is not connected"
    return f"the switch {name} did not confirm it within {CONFIRM_TIMEOUT:g} s"

# SPDX-License-Identifier: Apache-2.0
"""Reading counters: to tell whether records are idle, and to show what their entries forwarded."""

from __future__ import annotations

from collections.abc import Callable

from p4ct.eswitch.entries import EswitchPort
from p4ct.offload import reasons
from p4ct.offload.manager import OffloadManager
from p4ct.offload.reconcile import Pause, straight_on
from p4ct.offload.record import Record, RecordState

__all__ = ["CREDITED_PER_STEP", "check_idle", "refresh"]

Clock = Callable[[], float]

CREDITED_PER_STEP = 250
"""Records; somewhat less than 10 microseconds each."""


async def check_idle(manager: OffloadManager, port: EswitchPort, clock: Clock) -> None:
    """An entry was reported idle: the record is idle only if the other direction is, too.

    What counts is the cell of each direction: it must not have moved since its entry was reported.
    Ages read from the target would not do: BMv2 computes them in 32 bits of nanoseconds, and a
    trapped packet looks like a hit.
    """
    if not manager.idle_reports:
        return
    reports: list[tuple[Record, int]] = []
    for key in manager.idle_reports:
        record = manager.by_key.get(key)
        if record is not None and record.keys is not None and record.state is RecordState.ACTIVE:
            reports.append((record, record.keys.index(key)))
    manager.idle_reports.clear()
    if not reports:
        return
    cells = await port.read_connection_counters(sorted({record.index for record, _ in reports}))
    now = clock()
    for record, direction in reports:
        if record.state is RecordState.ACTIVE:
            record.idle_marks[direction] = cells[record.index][direction]
    for record in {id(record): record for record, _ in reports}.values():
        if record.state is not RecordState.ACTIVE:
            continue
        if record.idle_marks == list(cells[record.index]):
            # Both were last in use before their timeouts began, whenever we read that they were.
            timeout = record.timeout
            before = now - timeout
            manager.credit(record, cells[record.index], before)
            if record.timeout > timeout:
                continue  # the reading says that it is established: it may be idle for longer
            record.last_seen = min(record.last_seen, before)
            manager.remove(record, reasons.IDLE)
        else:
            manager.credit(record, cells[record.index], now)


async def refresh(
    manager: OffloadManager,
    port: EswitchPort,
    clock: Clock,
    pause: Pause = straight_on,
    *,
    connections: bool = True,
) -> None:
    """Read the counters of everything active, so that lists show the sum of both shares.

    Without `connections`, only those of paths and stateless flows. Nothing else may read or write
    entries meanwhile; packets have their turn in every `pause`.
    """
    records = list(manager.active()) if connections else []
    if records:
        cells = await port.read_connection_counters([record.index for record in records])
        now = clock()
        for number, record in enumerate(records, 1):
            # A record that began to drain in the meantime has its own, final reading.
            if record.state is RecordState.ACTIVE and record.index in cells:
                # A packet that has come up since the reading is the later sign of life.
                manager.credit(record, cells[record.index], max(now, record.read_at))
            if number % CREDITED_PER_STEP == 0:
                await pause()
    ids = [path.id for path in manager.paths]
    if ids:
        manager.credit_paths(await port.read_path_counters(ids))
    if manager.stateless.entries:
        counts, now = await port.read_flow_counters(), clock()
        for flow in list(manager.stateless.active()):
            if flow.key in counts:
                manager.stateless.credit(flow, counts[flow.key], now, reasons.MAC_MOVED)

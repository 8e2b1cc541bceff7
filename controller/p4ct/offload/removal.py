# SPDX-License-Identifier: Apache-2.0
"""The end of a record: last counts are read, entries deleted, and what it used is free again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from p4ct.eswitch.entries import Delete, EswitchPort, Op
from p4ct.offload import windows
from p4ct.offload.answers import refuse_to_forget
from p4ct.offload.cells import free_paths
from p4ct.offload.manager import OffloadManager
from p4ct.offload.paths import Path
from p4ct.offload.record import Record

__all__ = ["finish"]

Clock = Callable[[], float]


async def finish(
    manager: OffloadManager, port: EswitchPort, leaving: Sequence[Record], clock: Clock
) -> None:
    """Read the final counts of draining records, delete their entries, free what they used."""
    wrote = [record for record in leaving if record.paths is not None]
    freed: list[Path] = []
    if wrote:
        cells = await port.read_connection_counters([r.index for r in wrote])
        now = clock()
        for record in wrote:
            manager.credit(record, cells.get(record.index, ((0, 0), (0, 0))), now)
        await _learn_windows(port, wrote)
        ops: list[Op] = [
            Delete(record.keys[d])
            for record in wrote
            if record.keys is not None
            for d in (0, 1)
            if record.installed[d]
        ]
        for record in wrote:
            assert record.paths is not None
            freed += [path for path in record.paths if manager.paths.release(path)]
            for half in record.halves:
                for row in (manager.l2_rows.release(half.l2),):
                    ops += [row] if row is not None else []
                row = manager.next_hops.release(half.next_hop)
                ops += [row] if row is not None else []
        results = await port.write(ops) if ops else []
        for error in results:
            if error is not None:
                manager.drift[error.code] += 1
        refuse_to_forget(results)
        await free_paths(manager, port, freed)
        await port.zero_connection_counters([r.index for r in wrote])
    now = clock()
    for record in leaving:
        was_active = record.installed_at > 0
        manager.leave(record)
        (manager.removed if was_active else manager.withdrawn)[record.cause] += 1
        for member in record.members:
            if was_active:
                manager.tracker.release(member.connection, now, record.last_seen)
            elif member.connection.tcp is not None:
                member.connection.tcp.watched = False
            manager.tally.explain((member.connection,), record.cause)
        if was_active:
            manager.on_event("onload", record, record.cause)
        manager.pool.give_back(record.index)
        if record.cut:
            for member in record.members:
                manager.tracker.remove(member.connection, now)
        for callback in record.take_waiting():
            callback()
    manager.refill(now)


async def _learn_windows(port: EswitchPort, records: Sequence[Record]) -> None:
    """The last state of the registers: draining entries do not move them any more."""
    watched = [record for record in records if record.checks_window]
    found = await port.read_windows([r.index for r in watched]) if watched else {}
    for record in watched:
        pair = found.get(record.index)
        if pair is None:
            windows.forget(record)
        else:
            windows.learn(record, pair)

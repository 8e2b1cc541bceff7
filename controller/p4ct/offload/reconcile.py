# SPDX-License-Identifier: Apache-2.0
"""Agree with what the switch really holds: after a restart of either side, or a lost connection.

The switch is read, and records are made from what it has.  A record is kept only if both entries
are there and agree, their metadata can be read, and the policy of now would make the same entries;
everything else is drained, read and deleted.  An established connection that policy still allows
is therefore never cut.

All of it is done in bounded steps, and packets have their turn in between: first the connections of
all entries are known again, then they are decided one after the other.  Meanwhile the entries stay
as they are, nothing is begun, and a packet that ends a connection waits for the end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from p4ct.eswitch.entries import (
    CtDrain,
    CtEntry,
    CtForward,
    Delete,
    EswitchPort,
    FlowEntry,
    Modify,
    Op,
)
from p4ct.offload import reasons, windows
from p4ct.offload.allocate import IndexPool, SharedRows
from p4ct.offload.answers import refuse_to_forget
from p4ct.offload.cells import zero_unknown
from p4ct.offload.claims import Claim, adopt, claim, give_up
from p4ct.offload.found_rows import FoundRows
from p4ct.offload.manager import OffloadManager
from p4ct.offload.metadata import encode
from p4ct.offload.paths import Path, Paths
from p4ct.offload.record import Record, RecordState

__all__ = ["DECIDED_PER_STEP", "Drift", "Pause", "reconcile", "straight_on"]

Pause = Callable[[], Awaitable[None]]
"""Called between steps: whatever else there is to do has its turn."""
T = TypeVar("T")

DECIDED_PER_STEP = 20
"""Records; about 0.1 ms each."""
CLAIMED_PER_STEP = 40
"""Records that are forgotten and claimed; about 50 microseconds each."""
LISTED_PER_STEP = 1000
"""Entries and rows; a few microseconds each."""
PORTION = 64
"""Records that are written or removed with one call of each kind."""


@dataclass(slots=True)
class Drift:
    """What was found: records kept, and what had to be removed or was missing, by reason."""

    kept: int = 0
    removed: dict[str, int] = field(default_factory=lambda: defaultdict[str, int](int))
    lost: int = 0

    def __str__(self) -> str:
        parts = [f"{self.kept} connections kept"]
        parts += [f"{n} removed ({why})" for why, n in sorted(self.removed.items())]
        if self.lost:
            parts.append(f"{self.lost} no longer in the switch")
        return ", ".join(parts)


async def straight_on() -> None:
    """Nothing else has a turn."""


@dataclass(slots=True)
class _Group:
    """Entries under one index, and who knows what they have counted so far."""

    entries: list[CtEntry]
    record: Record | None

    @property
    def index(self) -> int:
        return self.entries[0].action.conn_index


async def reconcile(
    manager: OffloadManager,
    port: EswitchPort,
    clock: Callable[[], float],
    pause: Pause = straight_on,
    known: Pause = straight_on,
) -> Drift:
    """Read the switch, adopt what may stay, remove the rest.

    `known` is called once every connection that has entries is known again.
    Raises EswitchError: then nothing is known of the switch, and only a later call that succeeds
    makes manager and switch agree.  Whoever waits for a record to be gone waits for that.
    """
    manager.settled = False
    manager.reconcile_steps = 0
    pause = _counted(manager, pause)
    entries = await port.read_ct_entries()
    found_l2, found_hops = await port.read_l2_pairs(), await port.read_next_hops()
    flows = await port.read_flows()
    old_paths = list(manager.paths)
    if old_paths:
        manager.credit_paths(await port.read_path_counters([path.id for path in old_paths]))
    _begin_anew(manager)
    former = list(manager.claimed.values())  # by an attempt that broke off
    rows = FoundRows(manager)
    async for row in _in_steps(found_l2, LISTED_PER_STEP, pause):
        rows.add_pair(row)
    rows.add_next_hops(found_hops)
    by_index: dict[int, list[CtEntry]] = defaultdict(list)
    async for entry in _in_steps(_used_up(entries), LISTED_PER_STEP, pause):
        by_index[entry.action.conn_index].append(entry)
        if isinstance(entry.action, CtForward):
            manager.paths.reserve((entry.action.path,))
    manager.paths.reserve(flow.path for flow in flows)

    drift = Drift()
    rejected: list[_Group] = []
    claims: list[Claim] = []
    groups = list(by_index.values())
    by_index.clear()
    async for group in _in_steps(_used_up(groups), CLAIMED_PER_STEP, pause):
        action = group[0].action
        old = _forget(manager, action.conn_index, clock())
        if old is not None and old.generation != action.generation:
            old = None
        found = claim(manager, group, rows, old, clock())
        if isinstance(found, Claim):
            claims.append(found)
            continue
        drift.removed[found] += 1
        rejected.append(_Group(group, old))
        if action.conn_index < manager.pool.capacity:
            manager.pool.adopt(action.conn_index, action.generation)
    # What is left has no entries.
    left = [*manager.records, *(r.index for r in former if manager.claimed.get(r.index) is r)]
    async for index in _in_steps(left, CLAIMED_PER_STEP, pause):
        lost = _forget(manager, index, clock())
        drift.lost += lost is not None and lost.installed_at > 0
    await known()
    adopted: list[Record] = []
    async for found in _in_steps(_used_up(claims), DECIDED_PER_STEP, pause):
        why = adopt(manager, found, rows, clock())
        if why:
            drift.removed[why] += 1
            rejected.append(_Group(list(found.pair), found.record))
            manager.pool.adopt(found.record.index, found.record.generation)
        else:
            adopted.append(found.record)
    drift.kept = len(adopted)
    await zero_unknown(manager, port)
    await _write_back(manager, port, adopted, pause)
    await _remove(manager, port, rejected, clock, pause)
    await _remove_rows(manager, port, flows, rows)
    # Nothing counts under the ids of before any more.
    ids = manager.paths.unreserve()
    if ids:
        await _credit_former(manager, port, [path for path in old_paths if path.id in set(ids)])
        await port.zero_path_counters(ids)
    _settle(manager, rejected, clock())
    for reason, number in drift.removed.items():
        manager.drift[reason] += number
    if drift.lost:
        manager.drift[reasons.LOST] += drift.lost
    manager.refill(clock())  # what was lost or removed has left room
    return drift


def _counted(manager: OffloadManager, pause: Pause) -> Pause:
    """Who waits for manager and switch to agree sees that it goes on."""

    async def counted() -> None:
        manager.reconcile_steps += 1
        await pause()

    return counted


async def _in_steps(items: Iterable[T], size: int, pause: Pause) -> AsyncIterator[T]:
    """The items, with a pause after each `size` of them."""
    for number, item in enumerate(items, 1):
        yield item
        if number % size == 0:
            await pause()


def _used_up(items: list[T]) -> Iterator[T]:
    """The items, each freed when the next one comes: a hundred thousand at once take their time."""
    items.reverse()
    while items:
        yield items.pop()


def _begin_anew(manager: OffloadManager) -> None:
    """Numbers and rows are learned anew; what was to be written is void.

    Records stay until their entries are claimed, so that what ends one waits for that.
    """
    manager.waiting += manager.stateless.forget_everything(reasons.LOST)
    manager.to_install.clear()
    manager.to_remove.clear()
    manager.to_retime.clear()
    manager.idle_reports.clear()
    manager.take_ended()
    manager.pool = IndexPool(manager.options.capacity)
    manager.l2_rows = SharedRows()
    manager.next_hops = SharedRows()
    manager.paths = Paths(manager.paths.size)


def _forget(manager: OffloadManager, index: int, now: float) -> Record | None:
    """The record that this index had, if any: its connections are ordinary ones again."""
    record = manager.claimed.get(index)
    if record is not None:
        give_up(manager, record, now)
        return record
    record = manager.records.get(index)
    if record is None:
        return None
    held = record.state is RecordState.ACTIVE or record.installed_at > 0
    record.cause = record.cause or reasons.LOST
    windows.forget(record)
    manager.leave(record)
    manager.waiting += record.take_waiting()
    for member in record.members:
        if held:
            manager.tracker.release(member.connection, now, now)
        manager.tally.explain((member.connection,), reasons.LOST)
        if record.cut:
            manager.tracker.remove(member.connection, now)
    return record


async def _write_back(
    manager: OffloadManager, port: EswitchPort, adopted: Sequence[Record], pause: Pause
) -> None:
    """The flows have new path ids: write them into the entries that stay."""
    for records in _portions(adopted):
        ops: list[Op] = []
        for record in records:
            metadata = encode(record)
            ops += [Modify(record.entry(d, metadata)) for d in (0, 1)]
        for error in await port.write(ops):
            if error is not None:
                manager.drift[error.code] += 1
        await pause()


async def _remove(
    manager: OffloadManager,
    port: EswitchPort,
    rejected: Sequence[_Group],
    clock: Callable[[], float],
    pause: Pause,
) -> None:
    """Drain, read and delete entries that may not stay."""
    capacity = manager.pool.capacity
    for groups in _portions(rejected):
        entries = [entry for group in groups for entry in group.entries]
        # An index beyond the capacity is not ours, and the switch may have no cells for it.
        indices = [group.index for group in groups if group.index < capacity]
        await port.write([Modify(_drained(entry)) for entry in entries])
        cells = await port.read_connection_counters(indices)
        for group in groups:
            if group.record is not None and group.index in cells:
                manager.credit(group.record, cells[group.index], clock())
        await _delete(manager, port, [Delete(entry.key) for entry in entries])
        await port.zero_connection_counters(indices)
        for index in indices:
            manager.pool.give_back(index)
        await pause()


async def _remove_rows(
    manager: OffloadManager, port: EswitchPort, flows: Sequence[FlowEntry], rows: FoundRows
) -> None:
    """Stateless flows come back by themselves; and rows that nobody uses go."""
    ops: list[Op] = [Delete(flow.key) for flow in flows]
    ops += [Delete(row) for row in rows.strays()]
    ops += manager.l2_rows.drop_unused()
    ops += manager.next_hops.drop_unused()
    if ops:
        await _delete(manager, port, ops)


async def _delete(manager: OffloadManager, port: EswitchPort, ops: Sequence[Op]) -> None:
    results = await port.write(ops)
    for error in results:
        if error is not None:
            manager.drift[error.code] += 1
    refuse_to_forget(results)


async def _credit_former(manager: OffloadManager, port: EswitchPort, paths: Sequence[Path]) -> None:
    """What entries have counted by the path ids of before until they were written again."""
    cells = await port.read_path_counters([path.id for path in paths]) if paths else {}
    for path in paths:
        packets, octets = path.credit(cells[path.id])
        if path.stateless:
            total = manager.forwarded
            manager.forwarded = (total[0] + packets, total[1] + octets)


def _settle(manager: OffloadManager, rejected: Sequence[_Group], now: float) -> None:
    """Manager and switch agree: what was asked for meanwhile is done from here on."""
    for group in rejected:
        if group.record is not None and manager.claimed.get(group.index) is group.record:
            give_up(manager, group.record, now)
    ours = manager.records
    for queue in (manager.to_remove, manager.to_retime):
        kept = [record for record in queue if ours.get(record.index) is record]
        queue.clear()
        queue.extend(kept)
    manager.settled = True
    waiting, manager.waiting = manager.waiting, []
    for callback in waiting:
        callback()


def _portions(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), PORTION):
        yield items[start : start + PORTION]


def _drained(entry: CtEntry) -> CtEntry:
    action = entry.action
    return CtEntry(entry.key, CtDrain(action.conn_index, action.generation, action.direction))

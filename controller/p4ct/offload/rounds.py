# SPDX-License-Identifier: Apache-2.0
"""One round of writing: everything that waits is carried out in a few calls, whatever its number.

    write    inserts of new records, drains of leaving ones, new idle timeouts
    read     the cells of what drains: final, because a draining entry does not count
    write    deletes; then the cells are zeroed and the indices are free again

Installing is both or none: if one entry of a record was refused, the other is drained, read and
deleted in the same round.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from p4ct.eswitch.entries import (
    CtKey,
    EntryError,
    EswitchPort,
    Insert,
    L2PairEntry,
    Modify,
    Op,
    WindowPair,
)
from p4ct.offload import reasons, windows
from p4ct.offload.answers import refuse_to_guess
from p4ct.offload.cells import zero_unknown
from p4ct.offload.manager import OffloadManager
from p4ct.offload.metadata import encode
from p4ct.offload.next_hops import next_hop_row
from p4ct.offload.readings import check_idle
from p4ct.offload.record import Half, Record, RecordState
from p4ct.offload.removal import finish

__all__ = ["run_round"]

Clock = Callable[[], float]


@dataclass(slots=True)
class _Plan:
    """The first write of a round, and what each operation is for."""

    ops: list[Op] = field(default_factory=list[Op])
    #: For each operation: (record, direction), or the key of a shared row.
    about: list[object] = field(default_factory=list[object])
    installs: list[Record] = field(default_factory=list[Record])
    drains: list[Record] = field(default_factory=list[Record])
    #: Window registers to write before the entries of an index.
    windows: dict[int, WindowPair] = field(default_factory=dict[int, WindowPair])

    def add(self, op: Op, about: object) -> None:
        self.ops.append(op)
        self.about.append(about)


async def run_round(manager: OffloadManager, port: EswitchPort, clock: Clock) -> None:
    """Carry out what waits.

    Raises EswitchError when the switch cannot be read, does not let go of an entry or a row, has a
    row of somebody else, or did not say what became of a write: the manager then no longer knows
    what the switch holds, and has to `reconcile` before anything else.
    """
    await check_idle(manager, port, clock)
    plan = _Plan()
    _plan_installs(manager, plan, clock())
    _plan_removals(manager, plan)
    _plan_retimes(manager, plan)
    await zero_unknown(manager, port, [record.index for record in plan.installs])
    await _seed_windows(port, plan)
    results = await port.write(plan.ops) if plan.ops else []
    refuse_to_guess(plan.ops, results)
    failures = _sort_failures(manager, plan, results)
    for record in plan.installs:
        _settle_install(manager, record, failures.get(id(record), []), clock())
    broken = [r for r in plan.installs if r.state is RecordState.LEAVING]
    half_way = [r for r in broken if any(r.installed)]
    if half_way:
        await port.write(
            [Modify(r.drain_entry(d)) for r in half_way for d in (0, 1) if r.installed[d]]
        )
    leaving = plan.drains + broken
    if leaving:
        await finish(manager, port, leaving, clock)


# -- first write ---------------------------------------------------------------------------


def _plan_installs(manager: OffloadManager, plan: _Plan, now: float) -> None:
    for _ in range(min(len(manager.to_install), manager.options.batch)):
        record = manager.to_install.popleft()
        if record.state is not RecordState.QUEUED:
            continue  # it was taken back before anything was written
        if not manager.policy.fits(record, now):
            manager.remove(record, reasons.POLICY_CHANGED)
            continue
        original, reply = record.halves
        first, second = manager.paths.acquire(original.flows), manager.paths.acquire(reply.flows)
        if first is None or second is None:
            for path in (first, second):
                if path is not None and manager.paths.release(path):
                    manager.paths.forget(path)  # nothing counted under it
            manager.refused(record, now)
            manager.remove(record, f"{reasons.INSTALL_FAILED}: all path ids are in use")
            continue
        record.paths = (first, second)
        numbers = [_acquire_rows(manager, plan, half) for half in record.halves]
        record.next_hop_ids = (numbers[0][1], numbers[1][1])
        keys = tuple(
            CtKey(h.version, n[0], h.src, h.dst, h.proto, h.sport, h.dport)
            for h, n in zip(record.halves, numbers, strict=True)
        )
        record.keys = (keys[0], keys[1])
        for key in record.keys:
            manager.by_key[key] = record
        record.state = RecordState.INSTALLING
        pair = windows.begin(record, manager.options.window_check)
        if pair is not None:
            plan.windows[record.index] = pair
        metadata = encode(record)
        # The reply entry first: a reply never finds the way back missing.
        for direction in (1, 0):
            plan.add(Insert(record.entry(direction, metadata)), (record, direction))
        plan.installs.append(record)


async def _seed_windows(port: EswitchPort, plan: _Plan) -> None:
    """Write the window registers; entries of which that is not certain do not check them."""
    if not plan.windows:
        return
    certain = await port.write_windows(plan.windows)
    uncertain = [r for r in plan.installs if r.checks_window and r.index not in certain]
    for record in uncertain:
        windows.forget(record)
        metadata = encode(record)
        for direction in (0, 1):
            plan.ops[plan.about.index((record, direction))] = Insert(
                record.entry(direction, metadata)
            )


def _acquire_rows(manager: OffloadManager, plan: _Plan, half: Half) -> tuple[int, int]:
    l2_id, new = manager.l2_rows.acquire(half.l2)
    if new:
        row = L2PairEntry(half.l2.vport, half.l2.eth_src, half.l2.eth_dst, l2_id)
        plan.add(manager.l2_rows.set_row(half.l2, row), half.l2)
    hop = half.next_hop
    next_hop, new = manager.next_hops.acquire(hop)
    if new:
        entry = next_hop_row(manager.pipeline.ports, hop, next_hop)
        plan.add(manager.next_hops.set_row(hop, entry), hop)
    return l2_id, next_hop


def _plan_removals(manager: OffloadManager, plan: _Plan) -> None:
    for _ in range(min(len(manager.to_remove), manager.options.batch)):
        record = manager.to_remove.popleft()
        for direction in (0, 1):
            if record.installed[direction]:
                plan.add(Modify(record.drain_entry(direction)), (record, direction))
        plan.drains.append(record)


def _plan_retimes(manager: OffloadManager, plan: _Plan) -> None:
    for _ in range(min(len(manager.to_retime), manager.options.batch)):
        record = manager.to_retime.popleft()
        record.retime = False
        if record.state is not RecordState.ACTIVE:
            continue
        metadata = encode(record)
        for direction in (0, 1):
            plan.add(Modify(record.entry(direction, metadata)), (record, direction))


def _sort_failures(
    manager: OffloadManager, plan: _Plan, results: Sequence[EntryError | None]
) -> dict[int, list[EntryError]]:
    """Note what is in the switch now; the errors of each record by its identity."""
    failures: dict[int, list[EntryError]] = {}
    refused_rows: dict[object, EntryError] = {}
    for op, about, error in zip(plan.ops, plan.about, results, strict=True):
        if isinstance(about, tuple) and len(about) == 2 and isinstance(about[0], Record):  # pyright: ignore[reportUnknownArgumentType]
            record, direction = about[0], int(about[1])  # pyright: ignore[reportUnknownArgumentType]
            if error is None:
                manager.tally.found(record, direction, True)
            elif isinstance(op, Insert):
                failures.setdefault(id(record), []).append(error)
            else:
                # A drain or a new timeout that fails: the entry is not as we think it is.
                manager.drift[error.code] += 1
                if error.code == "NOT_FOUND":
                    manager.tally.found(record, direction, False)
        elif error is not None:
            refused_rows[about] = error
            for rows in (manager.l2_rows, manager.next_hops):
                if rows.number(about) is not None:  # type: ignore[arg-type]
                    rows.refused(about)  # type: ignore[arg-type]
    if refused_rows:
        for record in plan.installs:
            for half in record.halves:
                for row in (half.l2, half.next_hop):
                    if row in refused_rows:
                        failures.setdefault(id(record), []).append(refused_rows[row])
    return failures


def _settle_install(
    manager: OffloadManager, record: Record, errors: Sequence[EntryError], now: float
) -> None:
    """A write with both entries of this record was answered."""
    if errors:
        worst = errors[0]
        manager.failed[worst.code] += 1
        if not record.cause:
            record.cause = f"{reasons.INSTALL_FAILED}: {worst.code} {worst.message}".rstrip()
        record.state = RecordState.LEAVING
        manager.refused(record, now)
        manager.on_event("offload_failed", record, record.cause)
        return
    if record.state is RecordState.LEAVING:
        return  # taken back while the write was in flight
    if not manager.policy.fits(record, now):
        record.cause = reasons.POLICY_CHANGED
        record.state = RecordState.LEAVING
        return
    manager.tally.activate(record)
    record.activated(now)
    for member in record.members:
        manager.tracker.hold(member.connection, record)
    manager.installed_total += 1
    manager.on_event("offload", record, "")
    record.settled()

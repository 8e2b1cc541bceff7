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
    Delete,
    EntryError,
    EswitchError,
    EswitchPort,
    Insert,
    L2PairEntry,
    Modify,
    NextHopEntry,
    Op,
    WindowPair,
)
from p4ct.offload import reasons, windows
from p4ct.offload.manager import OffloadManager
from p4ct.offload.metadata import encode
from p4ct.offload.next_hops import next_hop_row
from p4ct.offload.paths import Path
from p4ct.offload.record import Half, Record, RecordState

__all__ = [
    "free_paths",
    "refresh",
    "refuse_to_forget",
    "refuse_to_guess",
    "run_round",
    "zero_unknown",
]

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
    await _check_idle(manager, port, clock)
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
        await _finish(manager, port, leaving, clock)


async def zero_unknown(
    manager: OffloadManager, port: EswitchPort, indices: Sequence[int] = ()
) -> None:
    """Cells that this controller uses for the first time may hold what another one left."""
    unknown = manager.pool.unknown(indices)
    if unknown:
        await port.zero_connection_counters(unknown)
        manager.pool.zeroed(unknown)
    paths = manager.paths.take_unknown()
    if paths:
        await port.zero_path_counters(paths)


# -- first write ---------------------------------------------------------------------------


def _plan_installs(manager: OffloadManager, plan: _Plan, now: float) -> None:
    for _ in range(min(len(manager.to_install), manager.options.batch)):
        record = manager.to_install.popleft()
        if record.state is not RecordState.QUEUED:
            continue  # it was taken back before anything was written
        if not manager.recheck(record, now):
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


def refuse_to_guess(ops: Sequence[Op], results: Sequence[EntryError | None]) -> None:
    """Raises EswitchError if the switch may hold something else than we think.

    Entries name rows by number.  A row that stays behind unnoticed, or was there before us, would
    send the packets of the next connection that gets its number to the wrong port.
    """
    for op, error in zip(ops, results, strict=True):
        if error is None:
            continue
        if error.unknown_outcome:
            raise EswitchError(error.code, f"what became of a write is not known: {error.message}")
        if error.code == "ALREADY_EXISTS" and isinstance(op.entry, L2PairEntry | NextHopEntry):
            raise EswitchError(error.code, f"an unknown row is in the way: {error.message}")


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
                record.installed[direction] = True
            elif isinstance(op, Insert):
                failures.setdefault(id(record), []).append(error)
            else:
                # A drain or a new timeout that fails: the entry is not as we think it is.
                manager.drift[error.code] += 1
                if error.code == "NOT_FOUND":
                    record.installed[direction] = False
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
    if not manager.recheck(record, now):
        record.cause = reasons.POLICY_CHANGED
        record.state = RecordState.LEAVING
        return
    record.state = RecordState.ACTIVE
    record.installed_at = record.last_seen = now
    for member in record.members:
        member.connection.offload_reason = ""
        manager.tracker.hold(member.connection, record)
    manager.installed_total += 1
    manager.on_event("offload", record, "")


# -- removal -------------------------------------------------------------------------------


async def _finish(
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
            member.connection.offload_reason = record.cause
        if was_active:
            manager.on_event("onload", record, record.cause)
        manager.pool.give_back(record.index)
        for callback in record.on_gone:
            callback()
        record.on_gone.clear()
    manager.refill()


async def free_paths(manager: OffloadManager, port: EswitchPort, freed: Sequence[Path]) -> None:
    """Read and zero the cells of paths without users: nothing counts under them any more."""
    if not freed:
        return
    ids = [path.id for path in freed]
    manager.credit_paths(await port.read_path_counters(ids))
    await port.zero_path_counters(ids)
    for path in freed:
        path.last = (0, 0)
        manager.paths.forget(path)


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


def refuse_to_forget(results: Sequence[EntryError | None]) -> None:
    """Raises EswitchError if something that was to be deleted may still be there.

    An entry would go on forwarding; a row would meet the next one that gets its number.
    """
    for error in results:
        if error is None or error.code == "NOT_FOUND" or not isinstance(error.op, Delete):
            continue
        raise EswitchError(error.code, f"an entry could not be removed: {error.message}")


# -- ageing and counters -------------------------------------------------------------------


async def _check_idle(manager: OffloadManager, port: EswitchPort, clock: Clock) -> None:
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
            before = now - record.timeout
            manager.credit(record, cells[record.index], before)
            record.last_seen = min(record.last_seen, before)
            manager.remove(record, reasons.IDLE)
        else:
            manager.credit(record, cells[record.index], now)


async def refresh(manager: OffloadManager, port: EswitchPort, clock: Clock) -> None:
    """Read the counters of everything active, so that lists show the sum of both shares."""
    records = list(manager.active())
    if records:
        cells = await port.read_connection_counters([record.index for record in records])
        now = clock()
        for record in records:
            # A record that began to drain in the meantime has its own, final reading.
            if record.state is RecordState.ACTIVE and record.index in cells:
                manager.credit(record, cells[record.index], now)
    ids = [path.id for path in manager.paths]
    if ids:
        manager.credit_paths(await port.read_path_counters(ids))
    if manager.stateless.entries:
        counts, now = await port.read_flow_counters(), clock()
        for flow in list(manager.stateless.active()):
            if flow.key in counts:
                manager.stateless.credit(flow, counts[flow.key], now, reasons.MAC_MOVED)

# SPDX-License-Identifier: Apache-2.0
"""Agree with what the switch really holds: after a restart of either side, or a lost connection.

The switch is read, and records are made from what it has.  A record is kept only if both entries
are there and agree, their metadata can be read, and the policy of now would make the same entries;
everything else is drained, read and deleted.  An established connection that policy still allows
is therefore never cut.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from p4ct.conntrack import ConntrackFull, Direction, FlowState, TcpState, TupleTaken
from p4ct.eswitch.entries import (
    CtDrain,
    CtEntry,
    CtForward,
    Delete,
    EswitchPort,
    FlowEntry,
    L2PairEntry,
    Modify,
    NextHopEntry,
    Op,
)
from p4ct.offload import reasons, windows
from p4ct.offload.allocate import IndexPool, SharedRows
from p4ct.offload.answers import refuse_to_forget
from p4ct.offload.cells import zero_unknown
from p4ct.offload.decide import TCP, must_leave
from p4ct.offload.manager import OffloadManager
from p4ct.offload.metadata import EntryMetadata, MemberMetadata, decode, encode
from p4ct.offload.next_hops import NextHopKey, keys_of
from p4ct.offload.paths import Paths
from p4ct.offload.recheck import decide_again
from p4ct.offload.record import Half, L2Key, Member, Record, RecordState

__all__ = ["Drift", "reconcile"]


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


async def reconcile(
    manager: OffloadManager, port: EswitchPort, clock: Callable[[], float]
) -> Drift:
    """Read the switch, adopt what may stay, remove the rest.

    Raises EswitchError: then nothing is known of the switch, and only a later call that succeeds
    makes manager and switch agree.  Whoever waits for a record to be gone waits for that.
    """
    entries = await port.read_ct_entries()
    found_l2, found_hops = await port.read_l2_pairs(), await port.read_next_hops()
    flows = await port.read_flows()
    old_paths = [path.id for path in manager.paths]
    if old_paths:
        manager.credit_paths(await port.read_path_counters(old_paths))
    # From here on nothing was decided under an older policy than that of now.
    before = {(r.index, r.generation): r for r in manager.records.values()}
    _forget_everything(manager, clock())
    l2_rows, next_hops, unsettled, strays = _adopt_rows(manager, found_l2, found_hops)
    manager.paths.reserve(e.action.path for e in entries if isinstance(e.action, CtForward))
    manager.paths.reserve(flow.path for flow in flows)

    drift = Drift()
    by_index: dict[int, list[CtEntry]] = defaultdict(list)
    for entry in entries:
        by_index[entry.action.conn_index].append(entry)
    adopted: list[Record] = []
    rejected: list[list[CtEntry]] = []
    for index, group in by_index.items():
        outcome = _adopt(manager, group, l2_rows, next_hops, unsettled, before, clock())
        if isinstance(outcome, Record):
            adopted.append(outcome)
        else:
            drift.removed[outcome] += 1
            rejected.append(group)
            if index < manager.pool.capacity:
                manager.pool.adopt(index, group[0].action.generation)
    found = {(r.index, r.generation) for r in adopted}
    drift.kept = len(adopted)
    drift.lost = sum(
        1
        for identity, old in before.items()
        if identity not in found and old.installed_at and identity[0] not in by_index
    )
    strays += unsettled.values()
    await zero_unknown(manager, port)
    await _write_back(manager, port, adopted)
    await _remove(manager, port, rejected, flows, strays, before, clock)
    # Nothing counts under the ids of before any more.
    ids = manager.paths.unreserve()
    if ids:
        await port.zero_path_counters(ids)
    waiting, manager.waiting = manager.waiting, []
    for callback in waiting:
        callback()
    for reason, number in drift.removed.items():
        manager.drift[reason] += number
    if drift.lost:
        manager.drift[reasons.LOST] += drift.lost
    manager.refill()  # what was lost or removed has left room
    return drift


def _forget_everything(manager: OffloadManager, now: float) -> None:
    """Records become ordinary connections again; numbers and rows are learned anew."""
    for record in list(manager.records.values()):
        held = record.state is RecordState.ACTIVE or record.installed_at > 0
        record.cause = record.cause or reasons.LOST
        windows.forget(record)
        manager.leave(record)
        manager.waiting += record.take_waiting()
        for member in record.members:
            if held:
                manager.tracker.release(member.connection, now, now)
            manager.tally.explain((member.connection,), reasons.LOST)
    manager.waiting += manager.stateless.forget_everything(reasons.LOST)
    manager.to_install.clear()
    manager.to_remove.clear()
    manager.to_retime.clear()
    manager.idle_reports.clear()
    manager.take_ended()
    options = manager.options
    manager.pool = IndexPool(options.capacity)
    manager.l2_rows = SharedRows()
    manager.next_hops = SharedRows()
    manager.paths = Paths(manager.paths.size)


def _adopt_rows(
    manager: OffloadManager,
    found_l2: Iterable[L2PairEntry],
    found_hops: Iterable[NextHopEntry],
) -> tuple[
    dict[int, L2PairEntry],
    dict[int, NextHopEntry],
    dict[int, NextHopEntry],
    list[L2PairEntry | NextHopEntry],
]:
    """Rows by number, the next hops among them that may be one of two keys until an entry says
    which, and strays: rows that this controller would not write.

    A stray gives a number that another row has, does what another row does, or does what we do not
    ask for (a vport has another port now, say); entries that use it cannot stay, and then it goes.
    """
    l2_rows: dict[int, L2PairEntry] = {}
    next_hops: dict[int, NextHopEntry] = {}
    unsettled: dict[int, NextHopEntry] = {}
    strays: list[L2PairEntry | NextHopEntry] = []
    for row in found_l2:
        if row.l2_id == 0 or row.l2_id in l2_rows:
            strays.append(row)
            continue
        l2_rows[row.l2_id] = row
        manager.l2_rows.adopt(L2Key(row.vport, row.eth_src, row.eth_dst), row.l2_id, row)
    for hop in found_hops:
        next_hops[hop.next_hop] = hop
        keys = keys_of(manager.pipeline.ports, hop)
        if len(keys) > 1:
            unsettled[hop.next_hop] = hop
        elif not keys or manager.next_hops.number(keys[0]) is not None:
            strays.append(hop)
        else:
            manager.next_hops.adopt(keys[0], hop.next_hop, hop)
    return l2_rows, next_hops, unsettled, strays


def _adopt(
    manager: OffloadManager,
    group: list[CtEntry],
    l2_rows: Mapping[int, L2PairEntry],
    next_hops: Mapping[int, NextHopEntry],
    unsettled: dict[int, NextHopEntry],
    before: Mapping[tuple[int, int], Record],
    now: float,
) -> Record | str:
    """The record of these entries, entered into the manager; or why they may not stay."""
    if len(group) != 2:
        return "half a record"
    by_direction = {entry.action.direction: entry for entry in group}
    if set(by_direction) != {0, 1} or group[0].action.generation != group[1].action.generation:
        return "entries that do not belong together"
    if any(isinstance(entry.action, CtDrain) for entry in group):
        return "removal was under way"
    pair = (by_direction[0], by_direction[1])
    metadata = decode(pair[0].metadata)
    if metadata is None or metadata != decode(pair[1].metadata):
        return "metadata of another controller"
    if group[0].action.conn_index >= manager.pool.capacity:
        return "beyond the configured capacity"
    rows = [(l2_rows.get(e.key.l2_id), _next_hop(e, next_hops)) for e in pair]
    if any(l2 is None or hop is None for l2, hop in rows):
        return "a row that its entries need is missing"
    members = [_restore(manager, member, now) for member in metadata.members]
    if any(member is None for member in members) or not members:
        return "the connection table is full, or its tuple taken"
    known = [member for member in members if member is not None]
    if any(must_leave(member.connection) for member in known):
        return "its connection is not open"
    halves = _halves(manager, pair, l2_rows, known, now)
    if isinstance(halves, str):
        return halves
    for half, (_, hop) in zip(halves, rows, strict=True):
        if hop is None or not _leads_there(manager, half.next_hop, hop, unsettled):
            return "it is sent elsewhere now"
    for half, entry in zip(halves, pair, strict=True):
        if isinstance(entry.action, CtForward) and entry.action.nat != half.nat:
            return "it is translated otherwise now"
    return _enter(manager, pair, halves, metadata, before, now)


def _leads_there(
    manager: OffloadManager,
    key: NextHopKey,
    hop: NextHopEntry,
    unsettled: dict[int, NextHopEntry],
) -> bool:
    """Is this the row of that key? One that was not settled is from then on."""
    number = manager.next_hops.number(key)
    if number is None and hop.next_hop in unsettled and key in keys_of(manager.pipeline.ports, hop):
        manager.next_hops.adopt(key, hop.next_hop, unsettled.pop(hop.next_hop))
        return True
    return number == hop.next_hop


def _next_hop(entry: CtEntry, next_hops: Mapping[int, NextHopEntry]) -> NextHopEntry | None:
    action = entry.action
    return next_hops.get(action.next_hop) if isinstance(action, CtForward) else None


def _restore(manager: OffloadManager, member: MemberMetadata, now: float) -> Member | None:
    """The connection, from the tracker if it knows it, else rebuilt from the metadata."""
    found = manager.tracker.find(member.original, member.zone)
    if found is not None:
        return Member(found[0], member.flipped)
    try:
        connection = manager.tracker.restore(
            member.zone,
            member.original,
            member.reply,
            _state(member),
            member.mark,
            int.from_bytes(member.label, "big"),
            now,
            member.timeout_policy,
        )
    except (ConntrackFull, TupleTaken):
        return None
    connection.set_software(member.packets, member.bytes)
    manager.tally.explain((connection,), reasons.RESTORED)
    return Member(connection, member.flipped)


def _state(member: MemberMetadata) -> TcpState | FlowState | None:
    """The state that the connection had; None (the protocol's usual one) if we do not know it."""
    states = TcpState if member.original.proto == TCP else FlowState
    return states.__members__.get(member.state)


def _halves(
    manager: OffloadManager,
    pair: tuple[CtEntry, CtEntry],
    l2_rows: Mapping[int, L2PairEntry],
    members: list[Member],
    now: float,
) -> tuple[Half, Half] | str:
    """Decide both directions again with the policy of now."""
    pipeline = manager.pipeline
    sketches = [_sketch(entry, l2_rows[entry.key.l2_id], members) for entry in pair]
    for sketch in sketches:
        if sketch.l2.vport not in pipeline.ports.by_id:
            return "its vport is no longer configured"
        # The stations of a live connection are where its entries say; NORMAL needs to know.
        pipeline.macs.learn(0, sketch.l2.eth_src, sketch.l2.vport, now)
    decided: list[Half] = []
    for sketch in sketches:
        again = decide_again(sketch, pipeline, manager.tracker, now)
        if not isinstance(again, Half):
            return f"no longer allowed: {again or 'not established'}"
        decided.append(again)
    return decided[0], decided[1]


def _sketch(entry: CtEntry, row: L2PairEntry, members: list[Member]) -> Half:
    """As much of a half as the entry tells: enough to synthesise its packet."""
    key = entry.key
    return Half(
        l2=L2Key(row.vport, row.eth_src, row.eth_dst),
        version=key.version,
        src=key.src,
        dst=key.dst,
        proto=key.proto,
        sport=key.sport,
        dport=key.dport,
        out_vport=0,
        next_hop=NextHopKey(0),
        nat=None,
        flows=(),
        fdb=frozenset(),
        visits=tuple(
            (m.connection, Direction(m.direction(entry.action.direction))) for m in members
        ),
        marks=(),
        policy_version=0,
    )


def _enter(
    manager: OffloadManager,
    pair: tuple[CtEntry, CtEntry],
    halves: tuple[Half, Half],
    metadata: EntryMetadata,
    before: Mapping[tuple[int, int], Record],
    now: float,
) -> Record | str:
    paths = [manager.paths.acquire(half.flows) for half in halves]
    first, second = paths
    if first is None or second is None:
        return "all path ids are in use"
    action = pair[0].action
    members = tuple(Member(c, d == Direction.REPLY) for c, d in halves[0].visits)
    record = Record(action.conn_index, action.generation, halves, members, metadata.timeout)
    record.keys = (pair[0].key, pair[1].key)
    record.paths = (first, second)
    for half in halves:
        manager.l2_rows.use(half.l2)
        manager.next_hops.use(half.next_hop)
    numbers = [manager.next_hops.number(half.next_hop) or 0 for half in halves]
    record.next_hop_ids = (numbers[0], numbers[1])
    record.activated(now)
    old = before.get((record.index, record.generation))
    if old is not None:
        record.last = list(old.last)
        if old.installed_at:  # sessions that come and go must not keep an idle record
            record.read_at, record.seen_after = old.read_at, old.seen_after
            record.last_seen = old.last_seen
    manager.pool.adopt(record.index, record.generation)
    manager.adopt(record)
    for member in members:
        manager.tracker.hold(member.connection, record)
    return record


async def _write_back(manager: OffloadManager, port: EswitchPort, adopted: list[Record]) -> None:
    """The flows have new path ids: write them into the entries that stay."""
    ops: list[Op] = []
    for record in adopted:
        metadata = encode(record)
        ops += [Modify(record.entry(d, metadata)) for d in (0, 1)]
    for error in await port.write(ops) if ops else []:
        if error is not None:
            manager.drift[error.code] += 1


async def _remove(
    manager: OffloadManager,
    port: EswitchPort,
    groups: list[list[CtEntry]],
    flows: list[FlowEntry],
    strays: list[L2PairEntry | NextHopEntry],
    before: Mapping[tuple[int, int], Record],
    clock: Callable[[], float],
) -> None:
    """Drain, read and delete entries that may not stay, and rows that nobody uses."""
    entries = [entry for group in groups for entry in group]
    # An index beyond the capacity is not ours, and the switch may have no cells for it.
    capacity = manager.pool.capacity
    indices = sorted({i for e in entries if (i := e.action.conn_index) < capacity})
    if entries:
        await port.write([Modify(_drained(entry)) for entry in entries])
        cells = await port.read_connection_counters(indices)
        for group in groups:
            action = group[0].action
            old = before.get((action.conn_index, action.generation))
            if old is not None and action.conn_index in cells:
                manager.credit(old, cells[action.conn_index], clock())
    ops: list[Op] = [Delete(entry.key) for entry in entries]
    ops += [Delete(flow.key) for flow in flows]
    ops += [Delete(row) for row in strays]
    ops += manager.l2_rows.drop_unused()
    ops += manager.next_hops.drop_unused()
    results = await port.write(ops) if ops else []
    for error in results:
        if error is not None:
            manager.drift[error.code] += 1
    refuse_to_forget(results)
    if entries:
        await port.zero_connection_counters(indices)
        for index in indices:
            manager.pool.give_back(index)


def _drained(entry: CtEntry) -> CtEntry:
    action = entry.action
    return CtEntry(entry.key, CtDrain(action.conn_index, action.generation, action.direction))

# SPDX-License-Identifier: Apache-2.0
"""Entries that were found in the switch, from the first look to a record that is in use again.

`claim` knows to whom a pair of entries belongs and restores the connections; nothing is decided.
From then on a record stands for them as for any others: a packet that ends one of its connections
waits until the entries are gone.  `adopt` decides them by the policy of now.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from p4ct.conntrack import ConntrackFull, Direction, FlowState, TcpState, TupleTaken
from p4ct.eswitch.entries import CtDrain, CtEntry, CtForward, L2PairEntry, NextHopEntry
from p4ct.offload import reasons
from p4ct.offload.decide import TCP, must_leave
from p4ct.offload.found_rows import FoundRows
from p4ct.offload.manager import OffloadManager
from p4ct.offload.metadata import EntryMetadata, MemberMetadata, decode
from p4ct.offload.next_hops import NextHopKey
from p4ct.offload.options import OnPolicyChange
from p4ct.offload.recheck import decide_again
from p4ct.offload.record import Half, L2Key, Member, Record, RecordState

__all__ = ["Claim", "adopt", "claim", "give_up"]

NO_LONGER_ALLOWED = "no longer allowed"


@dataclass(slots=True)
class Claim:
    """Two entries, original and reply, and the record that stands for them.

    Until it is adopted the record is found by its connections only, and its halves say no more than
    the entries do.
    """

    pair: tuple[CtEntry, CtEntry]
    hops: tuple[NextHopEntry, NextHopEntry]
    record: Record


def claim(
    manager: OffloadManager,
    group: Sequence[CtEntry],
    rows: FoundRows,
    old: Record | None,
    now: float,
) -> Claim | str:
    """Whose entries these are; or why they may not stay.

    `old`: the record of this index and generation until now; it is forgotten already.
    """
    if len(group) != 2:
        return "half a record"
    by_direction = {entry.action.direction: entry for entry in group}
    if set(by_direction) != {0, 1} or group[0].action.generation != group[1].action.generation:
        return "entries that do not belong together"
    if any(isinstance(entry.action, CtDrain) for entry in group):
        return "removal was under way"
    pair = (by_direction[0], by_direction[1])
    metadata = decode(pair[0].metadata)
    if metadata is None or (
        pair[0].metadata != pair[1].metadata and metadata != decode(pair[1].metadata)
    ):
        return "metadata of another controller"
    if group[0].action.conn_index >= manager.pool.capacity:
        return "beyond the configured capacity"
    pairs = [rows.l2.get(entry.key.l2_id) for entry in pair]
    hops = [_next_hop(entry, rows) for entry in pair]
    first, second = pairs
    first_hop, second_hop = hops
    if first is None or second is None or first_hop is None or second_hop is None:
        return "a row that its entries need is missing"
    if old is not None and not all(member.connection.alive for member in old.members):
        return "its connection has ended"
    members = [_restore(manager, member, now) for member in metadata.members]
    known = tuple(member for member in members if member is not None)
    if not members or len(known) != len(members):
        return "the connection table is full, or its tuple taken"
    if any(must_leave(member.connection) for member in known):
        return "its connection is not open"
    halves = (_sketch(pair[0], first, known), _sketch(pair[1], second, known))
    record = _record(pair, halves, known, metadata, old, now)
    for member in known:
        manager.of_connection[member.connection.id] = record
    manager.claimed[record.index] = record
    return Claim(pair, (first_hop, second_hop), record)


def _next_hop(entry: CtEntry, rows: FoundRows) -> NextHopEntry | None:
    action = entry.action
    return rows.next_hops.get(action.next_hop) if isinstance(action, CtForward) else None


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


def _sketch(entry: CtEntry, row: L2PairEntry, members: Sequence[Member]) -> Half:
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


def _record(
    pair: tuple[CtEntry, CtEntry],
    halves: tuple[Half, Half],
    members: tuple[Member, ...],
    metadata: EntryMetadata,
    old: Record | None,
    now: float,
) -> Record:
    action = pair[0].action
    record = Record(action.conn_index, action.generation, halves, members, metadata.timeout)
    record.keys = (pair[0].key, pair[1].key)
    record.activated(now)
    if old is not None:
        record.last = list(old.last)
        if old.installed_at:  # sessions that come and go must not keep an idle record
            record.read_at, record.seen_after = old.read_at, old.seen_after
            record.last_seen = old.last_seen
    return record


def adopt(manager: OffloadManager, found: Claim, rows: FoundRows, now: float) -> str:
    """Decide both directions by the policy of now; why the entries may not stay, or empty.

    What may stay is a record of the manager from then on, what may not is left `LEAVING`.
    """
    record = found.record
    why = record.cause if record.state is RecordState.LEAVING else _take(manager, found, rows, now)
    if why:
        manager.remove(record, why)
        return why
    manager.pool.adopt(record.index, record.generation)
    del manager.claimed[record.index]
    manager.adopt(record)
    for member in record.members:
        manager.tracker.hold(member.connection, record)
    return ""


def _take(manager: OffloadManager, found: Claim, rows: FoundRows, now: float) -> str:
    """Give the record what it needs; why that cannot be, or empty."""
    record = found.record
    halves = _decide(manager, record, now)
    if isinstance(halves, str):
        return halves
    for half, hop in zip(halves, found.hops, strict=True):
        if not rows.leads_there(half.next_hop, hop):
            return "it is sent elsewhere now"
    for half, entry in zip(halves, found.pair, strict=True):
        if isinstance(entry.action, CtForward) and entry.action.nat != half.nat:
            return "it is translated otherwise now"
    paths = [manager.paths.acquire(half.flows) for half in halves]
    first, second = paths
    if first is None or second is None:
        return "all path ids are in use"
    record.paths = (first, second)
    record.halves = halves
    record.members = tuple(Member(c, d == Direction.REPLY) for c, d in halves[0].visits)
    record.policy_version = min(half.policy_version for half in halves)
    for half in halves:
        manager.l2_rows.use(half.l2)
        manager.next_hops.use(half.next_hop)
    numbers = [manager.next_hops.number(half.next_hop) or 0 for half in halves]
    record.next_hop_ids = (numbers[0], numbers[1])
    return ""


def _decide(manager: OffloadManager, record: Record, now: float) -> tuple[Half, Half] | str:
    pipeline = manager.pipeline
    for sketch in record.halves:
        vport, mac = sketch.l2.vport, sketch.l2.eth_src
        if vport not in pipeline.ports.by_id:
            return "its vport is no longer configured"
        # The stations of a live connection are where its entries say, unless they have moved
        # meanwhile; NORMAL needs to know.
        if pipeline.macs.lookup(0, mac, now) in (None, vport):
            pipeline.macs.learn(0, mac, vport, now)
    decided: list[Half] = []
    for sketch in record.halves:
        again = decide_again(sketch, pipeline, manager.tracker, now)
        if not isinstance(again, Half):
            denied = isinstance(again, str) and again.startswith(reasons.POLICY_DROPS)
            record.cut = denied and manager.options.policy_change is OnPolicyChange.CUT
            return f"{NO_LONGER_ALLOWED}: {again or 'not established'}"
        decided.append(again)
    return decided[0], decided[1]


def give_up(manager: OffloadManager, record: Record, now: float) -> None:
    """The entries of a record that was not adopted are gone, or another one stands for them."""
    record.state = RecordState.GONE
    del manager.claimed[record.index]
    for member in record.members:
        if manager.of_connection.get(member.connection.id) is record:
            del manager.of_connection[member.connection.id]
        if record.cut:
            manager.tracker.remove(member.connection, now)
    manager.waiting += record.take_waiting()

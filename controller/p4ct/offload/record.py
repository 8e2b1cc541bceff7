# SPDX-License-Identifier: Apache-2.0
"""An offload record: two entries of the eswitch that stand for one or more connections."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from typing import NamedTuple, Protocol

from p4ct.conntrack import Connection, Direction
from p4ct.eswitch.entries import CtDrain, CtEntry, CtForward, CtKey, Nat
from p4ct.offload.next_hops import NextHopKey
from p4ct.offload.paths import Path
from p4ct.pipeline.flow import Flow

__all__ = ["Half", "L2Key", "Leaving", "Member", "Record", "RecordState"]


class L2Key(NamedTuple):
    """A row of `l2_pair`: the MAC pair (6 bytes each) that an entry was decided for."""

    vport: int
    eth_src: bytes
    eth_dst: bytes


class Half(NamedTuple):
    """One direction of a record, decided from a real packet of that direction."""

    l2: L2Key
    version: int
    src: bytes
    dst: bytes
    proto: int
    sport: int
    dport: int
    out_vport: int
    next_hop: NextHopKey
    #: What its packets leave with, None if as they came.
    nat: Nat | None
    flows: tuple[Flow, ...]
    fdb: frozenset[tuple[int, bytes]]
    #: (connection, its own direction) for each zone that the packet passed.
    visits: tuple[tuple[Connection, Direction], ...]
    #: Mark and label of each of them when this was decided.
    marks: tuple[tuple[int, int], ...]
    policy_version: int


class Member(NamedTuple):
    """A connection that a record stands for; `flipped`: its reply is the record's original."""

    connection: Connection
    flipped: bool

    def direction(self, record_direction: int) -> int:
        return record_direction ^ self.flipped


class Leaving(Protocol):
    """What somebody may wait for to be gone from the switch."""

    @property
    def state(self) -> RecordState:
        """GONE once it is."""
        ...

    @property
    def on_gone(self) -> list[Callable[[], None]]:
        """Called once it is."""
        ...


class RecordState(Enum):
    """The life of a record; `value` is what `p4ct offload list` shows."""

    QUEUED = "queued"  # has an index, nothing written
    INSTALLING = "installing"  # a write with both entries is in flight
    ACTIVE = "active"  # both entries forward
    LEAVING = "leaving"  # to be drained, read and deleted, or that is in flight
    GONE = "gone"


class Record:
    """Two entries, original and reply, under one connection index."""

    __slots__ = (
        "cause",
        "checks_window",
        "cut",
        "generation",
        "halves",
        "idle_marks",
        "index",
        "installed",
        "installed_at",
        "kept",
        "keys",
        "last",
        "last_seen",
        "members",
        "next_hop_ids",
        "on_gone",
        "on_settled",
        "one_way",
        "paths",
        "policy_version",
        "read_at",
        "reports_idle",
        "retime",
        "seen_after",
        "state",
        "timeout",
        "unproven",
    )

    def __init__(
        self,
        index: int,
        generation: int,
        halves: tuple[Half, Half],
        members: tuple[Member, ...],
        timeout: float,
    ) -> None:
        self.index = index
        self.generation = generation
        self.halves = halves
        self.members = members
        #: Seconds without a packet after which both entries are idle.
        self.timeout = timeout
        #: Entries have that timeout in the switch, and the target says when it has ended.
        self.reports_idle = True
        self.state = RecordState.QUEUED
        #: Which entries are in the switch, by direction.
        self.installed = [False, False]
        self.keys: tuple[CtKey, CtKey] | None = None
        self.paths: tuple[Path, Path] | None = None
        self.next_hop_ids: tuple[int, int] = (0, 0)
        #: (packets, bytes) of the two cells when they were last read.
        self.last: list[tuple[int, int]] = [(0, 0), (0, 0)]
        #: What each cell held when its entry was last reported idle; None if it never was.
        self.idle_marks: list[tuple[int, int] | None] = [None, None]
        self.installed_at = 0.0
        #: When the cells were last read.
        self.read_at = 0.0
        #: The last packet came after `seen_after` and not after `last_seen`.
        self.seen_after = 0.0
        self.last_seen = 0.0
        self.policy_version = min(half.policy_version for half in halves)
        #: The policy of that version would forward its packets otherwise, and the entries stay.
        self.kept = False
        #: Policy denies it: once it is gone, its connections are to go as well.
        self.cut = False
        #: Why it is being removed; empty while it is not.
        self.cause = ""
        #: The entries' idle timeout is to be written again.
        self.retime = False
        #: The entries forward only what is inside the window registers.
        self.checks_window = False
        self.on_gone: list[Callable[[], None]] = []
        #: Called once when its entries forward, or when it is gone without that.
        self.on_settled: list[Callable[[], None]] = []
        #: It is not known that both sides take part (`offload.assume`).
        self.unproven = False
        #: Nobody has answered: the entry of the reply direction punts.
        self.one_way = False

    def settled(self) -> None:
        """Its entries forward now."""
        waiting, self.on_settled = self.on_settled, []
        for callback in waiting:
            callback()

    def take_waiting(self) -> list[Callable[[], None]]:
        """It is gone: whom to tell."""
        waiting = self.on_gone + self.on_settled
        self.on_gone, self.on_settled = [], []
        return waiting

    def entry(self, direction: int, metadata: bytes) -> CtEntry:
        """The entry of one direction while the record is in use."""
        assert self.keys is not None
        assert self.paths is not None
        idle_timeout_ns = int(self.timeout * 1e9) if self.reports_idle else 0
        if self.one_way and direction:
            return replace(
                self.drain_entry(direction), idle_timeout_ns=idle_timeout_ns, metadata=metadata
            )
        return CtEntry(
            key=self.keys[direction],
            action=CtForward(
                conn_index=self.index,
                generation=self.generation,
                direction=direction,
                path=self.paths[direction].id,
                next_hop=self.next_hop_ids[direction],
                check_window=self.checks_window,
                nat=self.halves[direction].nat,
            ),
            idle_timeout_ns=idle_timeout_ns,
            metadata=metadata,
        )

    def drain_entry(self, direction: int) -> CtEntry:
        """The same entry while it is being removed: it punts and does not count."""
        assert self.keys is not None
        return CtEntry(
            key=self.keys[direction],
            action=CtDrain(self.index, self.generation, direction),
        )

    def activated(self, now: float) -> None:
        """Both entries forward. A real packet of each direction has come until `now`."""
        self.installed_at = now
        self.used(now)

    def used(self, now: float) -> None:
        """A packet has come just now, whoever has counted it."""
        self.read_at = self.seen_after = self.last_seen = now

    def credit(
        self, cells: tuple[tuple[int, int], tuple[int, int]], now: float
    ) -> list[tuple[int, int]]:
        """Add what the cells gained since the last reading to every connection of the record.

        A gain means that the record was in use until `now` at the latest.  The answer is the gain
        of each direction, (packets, bytes).
        """
        gains: list[tuple[int, int]] = []
        for direction in (0, 1):
            packets = cells[direction][0] - self.last[direction][0]
            octets = cells[direction][1] - self.last[direction][1]
            gains.append((packets, octets))
            if packets:
                self.last_seen, self.seen_after = now, self.read_at
            for member in self.members:
                member.connection.add_hardware(member.direction(direction), packets, octets)
            self.last[direction] = cells[direction]
        self.read_at = now
        return gains

    def __repr__(self) -> str:
        return f"Record({self.index}/{self.generation}, {self.state.value})"

# SPDX-License-Identifier: Apache-2.0
"""Which decisions a change of the policy can have touched.

Deciding a record again costs two passages through the pipeline.  Most changes touch few records,
and that is cheaper to see: a decision stands if every flow that the packet hit is still there, and
no flow that was added could win one of its lookups.  That is asked once for each list of flows that
records have in common; an added flow that could win a lookup of such a list is compared with each
record's own addresses and ports.

The argument holds because entries stand for packets that differ only where no lookup looked: what
holds for one of them holds for all.  Whatever is not certain counts as touched.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from typing import NamedTuple

from p4ct.conntrack import CtState
from p4ct.offload.record import Half, Record
from p4ct.pipeline.actions import Ct, CtClear, GotoTable, InPort, Normal, Output, Resubmit
from p4ct.pipeline.execute import FlowChange
from p4ct.pipeline.fields import Field
from p4ct.pipeline.flow import Flow
from p4ct.pipeline.match import Match

__all__ = ["MAX_COMPARED", "PolicyHistory"]

REMEMBERED = 16
"""Changes back to which a decision can be judged by what was changed since."""
MAX_COMPARED = 32
"""Added flows that are compared with each record; with more, deciding again is cheaper."""

Path = tuple[Flow, ...]
#: What no packet of an established connection is.
_NEVER = int(CtState.NEW | CtState.INV)


class PolicyHistory:
    """The last changes of a policy, and what they can have touched."""

    def __init__(self) -> None:
        #: The version that each change led to, in order and without a gap.
        self._changes: deque[tuple[int, FlowChange]] = deque(maxlen=REMEMBERED)
        #: Version of a decision -> what has changed since, None if nobody knows any more.
        self._since: dict[int, _Since | None] = {}
        #: (path, version of the decision) -> see `_suspects`.
        self._known: dict[tuple[Path, int], tuple[Flow, ...] | None] = {}
        #: Added flows that were compared with a path or with an entry: the work that was done.
        self.compared = 0

    def add(self, version: int, change: FlowChange) -> None:
        """The policy has changed, to this version."""
        if self._changes and self._changes[-1][0] != version - 1:
            self._changes.clear()
        self._changes.append((version, change))
        self._since.clear()
        self._known.clear()

    def touched(self, record: Record, version: int) -> bool:
        """Could the policy of `version` decide a record otherwise than its own did?"""
        if not self._changes or self._changes[-1][0] != version:
            return True
        if not all(member.connection.seen_reply for member in record.members):
            return True  # its packets may be +new
        for half in record.halves:
            key = half.flows, record.policy_version
            if key not in self._known:
                self._known[key] = self._suspects(*key)
            suspects = self._known[key]
            if suspects is None:
                return True
            for flow in suspects:
                self.compared += 1
                if _may_match(flow.match, half):
                    return True
        return False

    def _suspects(self, path: Path, since: int) -> tuple[Flow, ...] | None:
        """Flows added since that could win a lookup of this path; None: it is touched anyway."""
        if since not in self._since:
            self._since[since] = self._changed(since)
        changed = self._since[since]
        if changed is None or not changed.removed.isdisjoint(path):
            return None
        walk = _walk(path)
        suspects: list[Flow] = []
        for table in walk.found:
            for flow in changed.added.get(table, ()):
                self.compared += 1
                if _may_win(flow, path, walk):
                    suspects.append(flow)
                    if walk.rewrites or len(suspects) > MAX_COMPARED:
                        return None
        return tuple(suspects)

    def _changed(self, since: int) -> _Since | None:
        if self._changes[0][0] > since + 1:
            return None
        changes = [change for version, change in self._changes if version > since]
        added: dict[int, list[Flow]] = defaultdict(list)
        for change in changes:
            for flow in change.added:
                added[flow.table].append(flow)
        return _Since({flow for change in changes for flow in change.removed}, added)


class _Since(NamedTuple):
    """What all changes since a decision have removed, and what they have added to each table."""

    removed: set[Flow]
    added: dict[int, list[Flow]]


class _Walk(NamedTuple):
    """What the actions of a path's flows say of its lookups."""

    found: dict[int, bool]
    """Each table that was looked up: every lookup there hit a flow."""
    rewrites: bool
    """A lookup may have seen another packet than the one that came in."""


def _walk(path: Path) -> _Walk:
    lookups, rewrites = Counter({0: 1}), False
    for flow in path:
        for action in flow.actions:
            match action:
                case Resubmit(port, table, original_tuple):
                    lookups[flow.table if table is None else table] += 1
                    rewrites |= port is not None or original_tuple
                case GotoTable(table):
                    lookups[table] += 1
                case Ct():
                    if action.table is not None:
                        lookups[action.table] += 1
                    rewrites |= action.nat
                case Output() | InPort() | Normal() | CtClear():
                    pass
                case _:
                    rewrites = True
    hits = Counter(flow.table for flow in path)
    return _Walk({table: hits[table] == number for table, number in lookups.items()}, rewrites)


def _may_win(added: Flow, path: Path, walk: _Walk) -> bool:
    """Could this flow win a lookup of its table, which the path has looked up?"""
    state = added.match.get(Field.CT_STATE)
    if state is not None and state.value & _NEVER:
        return False
    return not walk.found[added.table] or any(
        # Of the same priority it may be looked at, and ask for a field that entries do not match.
        flow.table == added.table
        and added.priority >= flow.priority
        and not _disjoint(added.match, flow.match)
        for flow in path
    )


def _disjoint(one: Match, other: Match) -> bool:
    """No packet matches both."""
    for term in one.terms:
        theirs = other.get(term.field)
        if theirs is not None and (term.value ^ theirs.value) & term.mask & theirs.mask:
            return True
    return False


def _may_match(match: Match, half: Half) -> bool:
    """False if what the half's entry matches is not what `match` asks for."""
    for term in match.terms:
        value = _value(half, term.field)
        if value is not None and value & term.mask != term.value:
            return False
    return True


def _value(half: Half, field: Field) -> int | None:
    """What all packets of an entry have there, if it is known."""
    match field:
        case Field.IN_PORT:
            return half.l2.vport
        case Field.DL_SRC:
            return int.from_bytes(half.l2.eth_src, "big")
        case Field.DL_DST:
            return int.from_bytes(half.l2.eth_dst, "big")
        case Field.DL_TYPE:
            return 0x0800 if half.version == 4 else 0x86DD
        case Field.NW_PROTO:
            return half.proto
        case Field.NW_SRC | Field.IPV6_SRC:
            return int.from_bytes(half.src, "big")
        case Field.NW_DST | Field.IPV6_DST:
            return int.from_bytes(half.dst, "big")
        case Field.TP_SRC | Field.TP_DST if half.proto in (6, 17):
            return half.sport if field is Field.TP_SRC else half.dport
        case _:
            return None

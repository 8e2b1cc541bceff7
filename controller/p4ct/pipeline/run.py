# SPDX-License-Identifier: Apache-2.0
"""One packet's way through the flow tables.

The semantics are those of OVS (ofproto-dpif-xlate.c and the datapath's `ct` and `recirc`):

- `resubmit` looks up with another ingress vport but its flow's actions see the true one;
- `ct` tracks the packet once per change of zone; a second `ct` in the zone where the packet was
  tracked last uses the first one's answer, as the kernel does with a cached entry;
- with `table`, a copy resumes there with the ct fields set, and when it is done the original goes
  on with its list; without `table`, nobody gets to see the ct fields. Either way the fields of the
  original are cleared;
- an invalid packet is not committed, and a full connection table drops the packet;
- `ct` keeps a fragment until its packet is whole; the whole packet takes the place of the fragment
  that completed it, and goes on where that one was (`handle_fragments` of the datapath).

Limits: a packet that exceeds one is dropped whole. Resubmits and recirculations are counted over
all copies of the packet, where OVS starts anew for each copy, so that work is bounded for certain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from p4ct.conntrack import ConntrackFull, ConntrackInvalid, FragmentDropped, Reassembler
from p4ct.pipeline.access import ConntrackAccess
from p4ct.pipeline.actions import (
    Action,
    Ct,
    CtClear,
    GotoTable,
    InPort,
    Normal,
    Output,
    Resubmit,
)
from p4ct.pipeline.classifier import Classifier
from p4ct.pipeline.fields import Field, Key, build_key
from p4ct.pipeline.flow import Flow
from p4ct.pipeline.normal import LearningSwitch
from p4ct.pipeline.result import CtVisit, Result
from p4ct.pipeline.trace import Trace

if TYPE_CHECKING:
    from p4ct.packet.parse import Packet

__all__ = ["MAX_DEPTH", "MAX_RECIRCULATIONS", "MAX_RESUBMITS", "Run"]

MAX_DEPTH = 64
"""Nested lookups that do not lead to a later table (OVS MAX_DEPTH)."""
MAX_RESUBMITS = 4096
"""Lookups in all (OVS MAX_RESUBMITS)."""
MAX_RECIRCULATIONS = 8
"""Nested passages through `ct(table=…)` (MAX_RECIRC_DEPTH of the OVS userspace datapath)."""

_CT_STATE, _CT_ZONE, _CT_MARK = int(Field.CT_STATE), int(Field.CT_ZONE), int(Field.CT_MARK)
_IN_PORT = int(Field.IN_PORT)
_IN_PORT_BIT = 1 << _IN_PORT
_INVALID, _RELATED = 0x10, 0x04


class _Abort(Exception):
    """The packet is dropped here and now; the argument is the reason."""


class _Held(Exception):
    """The packet is a fragment that waits for the others."""


class _Frame:
    """The actions of one flow that are still to be done."""

    __slots__ = ("actions", "depth", "fork", "forks", "next", "table", "tracked")

    def __init__(
        self, flow: Flow, depth: int, forks: int, *, fork: bool, tracked: CtVisit | None
    ) -> None:
        self.actions: tuple[Action, ...] = flow.actions
        self.next = 0
        self.table = flow.table
        self.depth = depth
        self.forks = forks
        self.fork = fork
        """This is the copy that `ct` made; its end clears the ct fields of the original."""
        self.tracked = tracked
        """What the original's last `ct` answered, for when the copy is done."""


class Run:
    """Processes one packet; used once."""

    __slots__ = (
        "_count",
        "_ct",
        "_effects",
        "_fragments",
        "_frames",
        "_in_port",
        "_key",
        "_lookups",
        "_now",
        "_path",
        "_pkt",
        "_reason",
        "_switch",
        "_tables",
        "_trace",
        "_tracked",
        "result",
    )

    def __init__(
        self,
        tables: dict[int, Classifier],
        switch: LearningSwitch,
        ct: ConntrackAccess,
        fragments: Reassembler,
        result: Result,
        in_port: int,
        now: float,
        *,
        effects: bool,
        trace: Trace | None,
    ) -> None:
        self._tables = tables
        self._switch = switch
        self._ct = ct
        self._fragments = fragments
        self._count = 1  # frames that the packet came in
        self._pkt: Packet = result.pkt
        self._in_port = in_port
        self._now = now
        self._effects = effects
        self._trace = trace
        self._key: Key = build_key(result.pkt, in_port)
        self._path: list[Flow] = []
        self._frames: list[_Frame] = []
        self._lookups = 0
        self._reason = ""
        self._tracked: CtVisit | None = None
        self.result = result

    def process(self) -> None:
        """Fills in the result."""
        result = self.result
        if self._trace is not None:
            self._trace.start(self._key)
        try:
            self._enter(0, 0, 0)
            self._work()
        except _Abort as abort:
            self._reason = str(abort)
            result.outputs.clear()
        except _Held:
            result.held = True
        result.path = tuple(self._path)
        if not result.outputs and not result.held:
            result.drop_reason = self._reason or "no output action"

    def _work(self) -> None:
        """Does the actions of the innermost frame until there are none left."""
        frames = self._frames
        while frames:
            frame = frames[-1]
            index = frame.next
            if index == len(frame.actions):
                frames.pop()
                if frame.fork:
                    self._clear_ct_fields()
                    self._tracked = frame.tracked
                continue
            frame.next = index + 1
            action = frame.actions[index]
            if self._trace is not None:
                self._trace.action(action)
            if isinstance(action, Ct):
                self._do_ct(action, frame)
            elif isinstance(action, Output):
                self._output(action.port)
            elif isinstance(action, Normal):
                self._normal()
            elif isinstance(action, Resubmit):
                table = frame.table if action.table is None else action.table
                self._resubmit(table, action.port, frame)
            elif isinstance(action, GotoTable):
                self._resubmit(action.table, None, frame)
            elif isinstance(action, InPort):
                self.result.looked_bits |= _IN_PORT_BIT
                self.result.outputs.append(self._in_port)
            else:
                self._clear(action)

    def _enter(
        self,
        table: int,
        depth: int,
        forks: int,
        *,
        fork: bool = False,
        tracked: CtVisit | None = None,
    ) -> bool:
        """Looks up in a table and begins the actions of the flow that is hit."""
        self._lookups += 1
        classifier = self._tables.get(table)
        flow = None
        if classifier is not None:
            flow, looked = classifier.lookup(self._key)
            self.result.looked_bits |= looked
        if self._trace is not None:
            self._trace.lookup(table, flow)
        if flow is None:
            self._reason = f"no flow in table {table}"
            return False
        if self._effects:
            flow.n_packets += self._count
            flow.n_bytes += self._pkt.wire_len
        self._path.append(flow)
        if not flow.actions:
            self._reason = "action drop"
            if not fork:
                return True
        self._frames.append(_Frame(flow, depth, forks, fork=fork, tracked=tracked))
        return True

    def _resubmit(self, table: int, port: int | None, frame: _Frame) -> None:
        if frame.depth >= MAX_DEPTH:
            raise _Abort(f"over {MAX_DEPTH} levels of resubmit")
        if self._lookups > MAX_RESUBMITS:
            raise _Abort(f"over {MAX_RESUBMITS} resubmits")
        depth = frame.depth + (table <= frame.table)
        if port is None:
            self._enter(table, depth, frame.forks)
            return
        # A match on in_port then says nothing about the packet's own vport.
        looked = self.result.looked_bits & _IN_PORT_BIT
        self._key[_IN_PORT] = port
        self._enter(table, depth, frame.forks)
        self._key[_IN_PORT] = self._in_port
        self.result.looked_bits = self.result.looked_bits & ~_IN_PORT_BIT | looked

    def _output(self, port: int) -> None:
        self.result.looked_bits |= _IN_PORT_BIT
        if port == self._in_port:
            self._reason = "output to the ingress vport is skipped"
            if self._trace is not None:
                self._trace.note("skipped: this is the ingress vport")
            return
        self.result.outputs.append(port)

    def _normal(self) -> None:
        reason = self._switch.forward(
            self._pkt, self._in_port, self._now, self._effects, self.result
        )
        if reason:
            self._reason = reason
        if self._trace is not None:
            self._trace.normal(self.result, reason)

    def _do_ct(self, action: Ct, frame: _Frame) -> None:
        visit = self._tracked
        if visit is None or visit.zone != action.zone:
            if self._pkt.frag and self._effects and not self._pkt.error:
                self._reassemble(action)
            found = self._ct.track(self._pkt, action.zone, self._now)
            visit = self._tracked = CtVisit(action.zone, found)
            self.result.ct.append(visit)
            self._count_fragments(visit)
        if action.commit and not visit.committed and not int(visit.result.state) & _INVALID:
            self._commit(visit)
        if self._trace is not None:
            self._trace.tracked(visit, action)
        if action.table is None:
            self._clear_ct_fields()
            return
        if frame.forks >= MAX_RECIRCULATIONS:
            raise _Abort(f"over {MAX_RECIRCULATIONS} recirculations")
        if self._lookups > MAX_RESUBMITS:
            raise _Abort(f"over {MAX_RESUBMITS} resubmits")
        key = self._key
        key[_CT_STATE] = int(visit.result.state)
        key[_CT_ZONE] = action.zone
        key[_CT_MARK] = 0 if visit.connection is None else visit.connection.mark
        if not self._enter(action.table, 0, frame.forks + 1, fork=True, tracked=visit):
            self._clear_ct_fields()

    def _reassemble(self, action: Ct) -> None:
        """Go on with the whole packet, if this was the fragment that it lacked."""
        if self.result.outputs:
            # What goes out before ct() would be fragments, and what comes after it the packet.
            raise _Abort("fragment: an output before ct()")
        try:
            table = -1 if action.table is None else action.table
            whole = self._fragments.take(self._pkt, action.zone, table, self._in_port, self._now)
        except FragmentDropped as dropped:
            raise _Abort(str(dropped)) from None
        if whole is None:
            raise _Held
        self._pkt = self.result.pkt = whole.packet
        self.result.cuts = whole.cuts
        self._count = len(whole.cuts.sizes)
        self._key = build_key(whole.packet, self._in_port)

    def _count_fragments(self, visit: CtVisit) -> None:
        """Conntrack has counted one packet; what came, and will leave, are fragments."""
        if self._count > 1 and visit.connection and not int(visit.result.state) & _RELATED:
            visit.connection.add_software(visit.result.direction, self._count - 1, 0)

    def _commit(self, visit: CtVisit) -> None:
        new = visit.connection is None
        try:
            visit.connection = self._ct.commit(visit.result, self._pkt, self._now)
        except ConntrackFull:
            raise _Abort("ct(commit): connection table full") from None
        except ConntrackInvalid:
            # Tracked as +new, but nothing that could begin a connection.
            raise _Abort("ct(commit): the packet begins no connection") from None
        visit.committed = True
        if new:
            self._count_fragments(visit)

    def _clear_ct_fields(self) -> None:
        key = self._key
        key[_CT_STATE] = key[_CT_ZONE] = key[_CT_MARK] = 0

    def _clear(self, _action: CtClear) -> None:
        self._clear_ct_fields()
        self._tracked = None

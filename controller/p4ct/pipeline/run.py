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

from p4ct.conntrack import FragmentDropped, Reassembler
from p4ct.pipeline.access import ConntrackAccess
from p4ct.pipeline.actions import (
    Ct,
    DecTtl,
    GotoTable,
    InPort,
    Move,
    Normal,
    Output,
    OutputField,
    PopVlan,
    PushVlan,
    Resubmit,
    SetField,
    SetTag,
)
from p4ct.pipeline.classifier import Classifier
from p4ct.pipeline.ct_pass import (
    CtDrop,
    CtPass,
    clear_ct_fields,
    read_subfield,
    set_ct_fields,
)
from p4ct.pipeline.fields import REGISTERS, Field, Key, build_key
from p4ct.pipeline.flow import Flow
from p4ct.pipeline.frame import Before, Frame
from p4ct.pipeline.normal import LearningSwitch
from p4ct.pipeline.original_tuple import swapped, swapped_looks
from p4ct.pipeline.result import CtVisit, Result
from p4ct.pipeline.subfield import Subfield
from p4ct.pipeline.trace import Trace
from p4ct.pipeline.write import TUPLE_FIELDS, Unwritable, push_tag, write, write_tag

if TYPE_CHECKING:
    from p4ct.packet.parse import Packet

__all__ = ["MAX_DEPTH", "MAX_RECIRCULATIONS", "MAX_RESUBMITS", "Run"]

MAX_DEPTH = 64
"""Nested lookups that do not lead to a later table (OVS MAX_DEPTH)."""
MAX_RESUBMITS = 4096
"""Lookups in all (OVS MAX_RESUBMITS)."""
MAX_RECIRCULATIONS = 8
"""Nested passages through `ct(table=…)` (MAX_RECIRC_DEPTH of the OVS userspace datapath)."""

OFPP_IN_PORT, OFPP_NORMAL = 0xFFF8, 0xFFFA
"""Port numbers of OpenFlow that stand for an action; `output` to a field knows these two."""
_HERE = Resubmit()
_HAS_TUPLE = 0x0B
"""new, est or rpl: as in OVS, every packet of a connection has one of these."""
_IN_PORT = int(Field.IN_PORT)
_IN_PORT_BIT = 1 << _IN_PORT
#: Whether a write makes, changes or removes a tag depends on the tag that is there.
_TAG_FIELDS = frozenset({Field.VLAN_VID, Field.VLAN_PCP})
_TAG_BIT = 1 << Field.VLAN_VID
#: No entry matches these, so a result that depends on what they become holds for this packet only.
_NOT_IN_ENTRIES = frozenset({Field.NW_TOS, Field.NW_ECN, Field.NW_TTL})


class _Abort(Exception):
    """The packet is dropped here and now; the argument is the reason."""


class _Held(Exception):
    """The packet is a fragment that waits for the others."""


class Run:
    """Processes one packet; used once."""

    __slots__ = (
        "_count",
        "_ct_pass",
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
        self._ct_pass = CtPass(ct, result, now, effects=effects)
        self._fragments = fragments
        self._count = 1  # frames that the packet came in
        self._pkt: Packet = result.pkt
        self._in_port = in_port
        self._now = now
        self._effects = effects
        self._trace = trace
        self._key: Key = build_key(result.pkt, in_port)
        self._path: list[Flow] = []
        self._frames: list[Frame] = []
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
        except (_Abort, CtDrop, Unwritable) as abort:
            self._reason = str(abort)
            result.outputs.clear()
            result.packets.clear()
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
                if frame.before is not None:
                    self._pkt, self._key, self._tracked = frame.before
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
                self._resubmit(table, action, frame)
            elif isinstance(action, GotoTable):
                self._resubmit(action.table, _HERE, frame)
            elif isinstance(action, InPort):
                self.result.looked_bits |= _IN_PORT_BIT
                self._send(self._in_port)
            elif isinstance(action, SetField):
                self._write(action.field, action.value, action.mask)
            elif isinstance(action, Move):
                target = action.target
                value = read_subfield(action.source, self._key, self.result) << target.start
                self._write(target.field, value, target.mask)
            elif isinstance(action, DecTtl):
                self._dec_ttl()
            elif isinstance(action, OutputField):
                self._output_field(read_subfield(action.source, self._key, self.result))
            elif isinstance(action, SetTag):
                self._write_tag(action.value, action.mask)
            elif isinstance(action, PopVlan):
                self._write_tag(0, 0xFFFF)
            elif isinstance(action, PushVlan):
                self.result.looked_bits |= _TAG_BIT
                self._pkt = push_tag(self._pkt, self._key)
            else:
                clear_ct_fields(self._key)
                self._tracked = None

    def _enter(
        self,
        table: int,
        depth: int,
        forks: int,
        before: Before | None = None,
        *,
        original_tuple: bool = False,
    ) -> bool:
        """Looks up in a table and begins the actions of the flow that is hit."""
        self._lookups += 1
        classifier = self._tables.get(table)
        flow = None
        if classifier is not None:
            if original_tuple:
                flow, looked = classifier.lookup(swapped(self._key))
                looked = swapped_looks(looked)
            else:
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
            if before is None:
                return True
        self._frames.append(Frame(flow, depth, forks, before))
        return True

    def _resubmit(self, table: int, action: Resubmit, frame: Frame) -> None:
        if frame.depth >= MAX_DEPTH:
            raise _Abort(f"over {MAX_DEPTH} levels of resubmit")
        if self._lookups > MAX_RESUBMITS:
            raise _Abort(f"over {MAX_RESUBMITS} resubmits")
        depth = frame.depth + (table <= frame.table)
        port, original_tuple = action.port, action.original_tuple
        if original_tuple:
            self.result.looked_bits |= 1 << Field.CT_STATE
            if not self._key[Field.CT_STATE] & _HAS_TUPLE:
                self._reason = "resubmit(…,ct) of a packet that has no connection"
                if self._trace is not None:
                    self._trace.note("skipped: the packet has no connection")
                return
        if port is None:
            self._enter(table, depth, frame.forks, original_tuple=original_tuple)
            return
        # A match on in_port then says nothing about the packet's own vport.
        looked = self.result.looked_bits & _IN_PORT_BIT
        self._key[_IN_PORT] = port
        self._enter(table, depth, frame.forks, original_tuple=original_tuple)
        self._key[_IN_PORT] = self._in_port
        self.result.looked_bits = self.result.looked_bits & ~_IN_PORT_BIT | looked

    def _output(self, port: int) -> None:
        self.result.looked_bits |= _IN_PORT_BIT
        if port == self._in_port:
            self._reason = "output to the ingress vport is skipped"
            if self._trace is not None:
                self._trace.note("skipped: this is the ingress vport")
            return
        self._send(port)

    def _output_field(self, port: int) -> None:
        if port == OFPP_IN_PORT:
            self.result.looked_bits |= _IN_PORT_BIT
            self._send(self._in_port)
        elif port == OFPP_NORMAL:
            self._normal()
        elif port in self._switch:
            self._output(port)
        else:
            self._reason = "output to the port in a field: there is no such vport"
            if self._trace is not None:
                self._trace.note(f"skipped: there is no vport {port}")

    def _send(self, port: int) -> None:
        self.result.outputs.append(port)
        self.result.packets.append(self._pkt)

    def _normal(self) -> None:
        result = self.result
        reason = self._switch.forward(self._pkt, self._in_port, self._now, self._effects, result)
        result.packets += [self._pkt] * (len(result.outputs) - len(result.packets))
        if reason:
            self._reason = reason
        if self._trace is not None:
            self._trace.normal(self.result, reason)

    def _write(self, field: Field, value: int, mask: int) -> None:
        if field in _NOT_IN_ENTRIES:
            self.result.looked_bits |= 1 << field
        elif field in _TAG_FIELDS:
            self.result.looked_bits |= _TAG_BIT
        self._pkt = write(self._pkt, self._key, field, value, mask)
        if field in TUPLE_FIELDS:
            self._tracked = None

    def _write_tag(self, value: int, mask: int) -> None:
        self.result.looked_bits |= _TAG_BIT
        self._pkt = write_tag(self._pkt, self._key, value, mask)

    def _dec_ttl(self) -> None:
        ttl = self._key[Field.NW_TTL]
        if ttl > 1:
            self._pkt = write(self._pkt, self._key, Field.NW_TTL, ttl - 1, 0xFF)
            return
        self._reason = "dec_ttl: TTL exceeded"
        if self._trace is not None:
            self._trace.note("TTL exceeded: no further action")
        while self._frames:
            frame = self._frames.pop()
            if frame.before is not None:  # the copy ends here, the original goes on
                self._pkt, self._key, self._tracked = frame.before
                return

    def _do_ct(self, action: Ct, frame: Frame) -> None:
        zone = action.zone
        if isinstance(zone, Subfield):
            zone = read_subfield(zone, self._key, self.result)
        visit = self._tracked
        if visit is None or visit.zone != zone:
            visit = None
            if self._pkt.frag and self._effects and not self._pkt.error:
                self._reassemble(action, zone)
        visit, self._pkt = self._ct_pass.run(action, zone, self._pkt, self._key, visit)
        self._tracked = visit
        if self._trace is not None:
            self._trace.tracked(visit, action, self._pkt)
        clear_ct_fields(self._key)
        if action.table is None:
            return
        if frame.forks >= MAX_RECIRCULATIONS:
            raise _Abort(f"over {MAX_RECIRCULATIONS} recirculations")
        if self._lookups > MAX_RESUBMITS:
            raise _Abort(f"over {MAX_RESUBMITS} resubmits")
        before = Before(self._pkt, self._key, visit)
        self._key = self._key.copy()
        set_ct_fields(self._key, visit, self._pkt)
        if not self._enter(action.table, 0, frame.forks + 1, before):
            self._key = before.key

    def _reassemble(self, action: Ct, zone: int) -> None:
        """Go on with the whole packet, if this was the fragment that it lacked."""
        try:
            table = -1 if action.table is None else action.table
            whole = self._fragments.take(self._pkt, zone, table, self._in_port, self._now)
        except FragmentDropped as dropped:
            raise _Abort(str(dropped)) from None
        if whole is None:
            raise _Held
        self._pkt = self.result.pkt = whole.packet
        self.result.cuts = whole.cuts
        self._count = self._ct_pass.count = len(whole.cuts.sizes)
        self._key = self._key_of(whole.packet, self._key)
        for frame in self._frames:
            if frame.before is not None:
                key = self._key_of(whole.packet, frame.before.key)
                frame.before = Before(whole.packet, key, frame.before.tracked)

    def _key_of(self, pkt: Packet, old: Key) -> Key:
        """The key of a packet that takes another's place: what flows have noted stays."""
        key = build_key(pkt, self._in_port)
        for register in REGISTERS:
            key[register] = old[register]
        return key

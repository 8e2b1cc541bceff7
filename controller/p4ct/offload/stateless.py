# SPDX-License-Identifier: Apache-2.0
"""Stateless flows: entries of the `flow` table for traffic that passes no ct().

A flow is written when a few packets alike have come up, so that a single ARP or a scan writes
nothing, and within its vport's share of the table.  It goes when nobody used it for a while, when
policy changes, and when a station that it depends on moves or is forgotten.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable

from p4ct.eswitch.entries import FlowEntry, FlowKey, Masked
from p4ct.offload.dependents import Dependents, FdbKey
from p4ct.offload.next_hops import NextHopKey
from p4ct.offload.paths import Path
from p4ct.offload.record import RecordState
from p4ct.packet.parse import Packet
from p4ct.pipeline.execute import Pipeline
from p4ct.pipeline.fields import ICMP, ICMPV6, TCP, UDP, Field
from p4ct.pipeline.flow import Flow
from p4ct.pipeline.result import Result
from p4ct.pipeline.stateless import why_no_flow_entry

__all__ = ["PROVEN", "StatelessFlow", "StatelessFlows", "flow_key"]

PROVEN = 4
"""Packets alike that software sees before it writes an entry for the next."""
MAX_SEEN = 4096
"""Candidates that are remembered; the least recently seen is forgotten."""
PRIORITY = 1
"""Of every entry: where two match a packet they agree, so it does not matter which is hit."""
#: Fields of which only the protocol says whether a packet has them.
_NEED_PROTO = (
    Field.NW_PROTO,
    Field.TP_SRC,
    Field.TP_DST,
    Field.ICMP_TYPE,
    Field.ICMP_CODE,
    Field.ND_TARGET,
    Field.TCP_FLAGS,
)


class StatelessFlow:
    """One entry of the `flow` table; its states are those of a record."""

    __slots__ = (
        "cause",
        "counts",
        "fdb",
        "flows",
        "key",
        "next_hop",
        "number",
        "on_gone",
        "path",
        "source",
        "state",
        "version",
    )

    def __init__(
        self, key: FlowKey, next_hop: NextHopKey, result: Result, source: bytes | None
    ) -> None:
        self.key = key
        self.next_hop = next_hop
        self.flows: tuple[Flow, ...] = result.path
        #: (vlan, MAC address) -> the vport where NORMAL knew it, for all that it depends on.
        self.fdb: dict[FdbKey, int] = {}
        #: The station that sends, where NORMAL learned it (6 bytes), else None.
        self.source = source
        self.version = result.version
        self.state = RecordState.QUEUED
        self.path: Path | None = None
        self.number = 0
        #: (packets, bytes) of the entry's own counter when it was last read.
        self.counts: tuple[int, int] = (0, 0)
        self.cause = ""
        self.on_gone: list[Callable[[], None]] = []

    def entry(self, timeout: float) -> FlowEntry:
        """The entry; idle after `timeout` seconds."""
        assert self.path is not None
        return FlowEntry(self.key, self.path.id, self.number, int(timeout * 1e9))


def flow_key(pkt: Packet, vport: int, result: Result) -> FlowKey:
    """The match that holds for this packet and for all that differ only where nobody looked."""
    looked = result.looked_at

    def exact(value: int, bits: int, *fields: Field) -> Masked | None:
        return (value, (1 << bits) - 1) if any(f in looked for f in fields) else None

    number = int.from_bytes
    ports = (Field.TP_SRC, Field.TP_DST) if pkt.proto in (TCP, UDP) else ()
    kinds = (Field.ICMP_TYPE, Field.ICMP_CODE) if pkt.proto in (ICMP, ICMPV6) else ()
    addresses: dict[str, Masked | None] = {}
    if pkt.version:
        own = (Field.NW_SRC, Field.NW_DST) if pkt.version == 4 else (Field.IPV6_SRC, Field.IPV6_DST)
        addresses = {
            "src": exact(number(pkt.src, "big"), 128, own[0]),
            "dst": exact(number(pkt.dst, "big"), 128, own[1]),
            "proto": exact(pkt.proto, 8, *_NEED_PROTO),
        }
    return FlowKey(
        vport,
        PRIORITY,
        eth_src=exact(number(pkt.eth_src, "big"), 48, Field.DL_SRC),
        eth_dst=exact(number(pkt.eth_dst, "big"), 48, Field.DL_DST),
        ether_type=(pkt.eth_type, 0xFFFF),
        **addresses,
        sport=exact(pkt.sport, 16, *ports[:1]),
        dport=exact(pkt.dport, 16, *ports[1:], *kinds),
    )


class StatelessFlows:
    """All stateless flows of one eswitch. `capacity` 0: there are none."""

    def __init__(
        self,
        pipeline: Pipeline,
        capacity: int,
        timeout: float,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self.pipeline = pipeline
        self.capacity = capacity
        self.timeout = timeout
        self.entries: dict[FlowKey, StatelessFlow] = {}
        self.to_install: deque[StatelessFlow] = deque()
        self.to_remove: deque[StatelessFlow] = deque()
        self._seen: OrderedDict[FlowKey, int] = OrderedDict()
        self._seen_version = -1
        self._stations: Dependents[StatelessFlow] = Dependents()
        self._by_vport: Counter[int] = Counter()
        self.installed_total = 0
        self.removed: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.wake = wake

    @property
    def share(self) -> int:
        """Entries that one vport may have: nobody fills the table for the others."""
        return max(self.capacity // max(len(self.pipeline.ports.by_id), 1), 1)

    @property
    def has_work(self) -> bool:
        return bool(self.to_install or self.to_remove)

    def consider(self, pkt: Packet, vport: int, result: Result, now: float) -> None:
        """A packet that software has resolved without ct()."""
        if not self.capacity or not result.outputs or why_no_flow_entry(pkt, result):
            return
        key = flow_key(pkt, vport, result)
        if key in self.entries:
            return  # under way, or trapped for another reason
        if self._seen_version != self.pipeline.version:
            self._seen.clear()
            self._seen_version = self.pipeline.version
        count = self._seen.pop(key, 0) + 1
        if count < PROVEN:
            self._seen[key] = count
            if len(self._seen) > MAX_SEEN:
                self._seen.popitem(last=False)
            return
        if self._by_vport[vport] >= self.share:
            self.failed["the vport's share of the flow table is used up"] += 1
            return
        self._start(pkt, vport, key, result, now)

    def _start(self, pkt: Packet, vport: int, key: FlowKey, result: Result, now: float) -> None:
        learned = bool(result.fdb_dependencies)
        flow = StatelessFlow(
            key, NextHopKey(result.outputs[0]), result, pkt.eth_src if learned else None
        )
        for vlan, mac in result.fdb_dependencies:
            where = self.pipeline.macs.lookup(vlan, mac, now)
            if where is None:
                return
            flow.fdb[vlan, mac] = where
        if learned:
            flow.fdb[0, pkt.eth_src] = vport
        self.entries[key] = flow
        self._by_vport[vport] += 1
        self._stations.add(flow, flow.fdb)
        self.to_install.append(flow)
        self.wake()

    # -- removal ---------------------------------------------------------------------------

    def remove(self, flow: StatelessFlow, cause: str) -> None:
        """Begin to remove a flow."""
        if flow.state in (RecordState.LEAVING, RecordState.GONE):
            return
        flow.cause = cause
        if flow.state is not RecordState.INSTALLING:
            self.to_remove.append(flow)
        flow.state = RecordState.LEAVING
        self.wake()

    def policy_changed(self, cause: str) -> list[StatelessFlow]:
        """Every flow has to go; what the new policy still forwards comes back by itself."""
        for flow in self.entries.values():
            self.remove(flow, cause)
        return list(self.entries.values())

    def mac_moved(self, vlan: int, mac: bytes, cause: str) -> None:
        """NORMAL has learned an address elsewhere."""
        for flow in self._stations.of((vlan, mac)):
            self.remove(flow, cause)

    def idle(self, key: FlowKey, cause: str) -> None:
        """The switch says that nobody used this entry."""
        flow = self.entries.get(key)
        if flow is not None and flow.state is RecordState.ACTIVE:
            self.remove(flow, cause)

    def leave(self, flow: StatelessFlow) -> None:
        """Forget a flow that is gone from the switch."""
        flow.state = RecordState.GONE
        del self.entries[flow.key]
        vport = flow.key.vport
        self._by_vport[vport] -= 1
        if not self._by_vport[vport]:
            del self._by_vport[vport]
        self._stations.discard(flow, flow.fdb)
        self.removed[flow.cause] += 1

    def forget_everything(self, cause: str) -> list[Callable[[], None]]:
        """Nobody knows what the switch holds; the callbacks of those that waited for a removal."""
        waiting: list[Callable[[], None]] = []
        for flow in list(self.entries.values()):
            flow.cause = flow.cause or cause
            self.leave(flow)
            waiting += flow.on_gone
            flow.on_gone.clear()
        self.to_install.clear()
        self.to_remove.clear()
        return waiting

    # -- what hardware tells ---------------------------------------------------------------

    def active(self) -> Iterable[StatelessFlow]:
        return (flow for flow in self.entries.values() if flow.state is RecordState.ACTIVE)

    def credit(self, flow: StatelessFlow, counts: tuple[int, int], now: float, cause: str) -> None:
        """The entry's own counter: its sender is alive, if it moved.

        NORMAL does not see these packets, so what it knows is kept alive; if it has forgotten the
        destination all the same, the next packet is to be flooded.
        """
        if counts[0] > flow.counts[0] and flow.source is not None:
            self.pipeline.macs.refresh(0, flow.source, flow.key.vport, now)
        flow.counts = counts
        for (vlan, mac), where in flow.fdb.items():
            if self.pipeline.macs.lookup(vlan, mac, now) != where:
                self.remove(flow, cause)
                return

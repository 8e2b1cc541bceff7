# SPDX-License-Identifier: Apache-2.0
"""A model of the eswitch, and the whole slow path around it, without a network and without time.

`ModelSwitch` has the tables of eswitch.p4 and their rules (trap, drain, counters, row limits) and
can be told to fail.  `World` joins it with pipeline, conntrack, offload manager and slow path, and
a clock that moves only when a test says so.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from random import Random
from typing import Any, TypeVar

from p4ct.conntrack import Connection, Event, Timeouts, Tracker
from p4ct.conntrack.tcp_window import before
from p4ct.daemon.slow_path import SlowPath
from p4ct.eswitch.entries import (
    Counts,
    CtDrain,
    CtEntry,
    CtForward,
    CtKey,
    Delete,
    EntryError,
    EswitchError,
    FlowEntry,
    FlowKey,
    Insert,
    L2PairEntry,
    Modify,
    Nat,
    NextHopEntry,
    Op,
    PuntInfo,
    VportEntry,
    WindowPair,
    WindowSide,
)
from p4ct.eswitch.enums import CtHit, PuntClass, PuntReason, Step, VlanOp, WindowVerdict
from p4ct.offload.flow_rounds import run_rounds
from p4ct.offload.manager import OffloadManager, OffloadOptions
from p4ct.offload.policy_change import PolicyChange
from p4ct.offload.readings import refresh
from p4ct.offload.reconcile import Drift, reconcile
from p4ct.offload.record import Leaving
from p4ct.packet import build
from p4ct.packet.checksum import checksum, l4_checksum
from p4ct.packet.parse import Packet, parse
from p4ct.packet.too_big import ip_length
from p4ct.packet.vxlan import encapsulate
from p4ct.pipeline.execute import Pipeline
from p4ct.pipeline.parser import parse_flows
from p4ct.pipeline.ports import PortTable, Vport

T = TypeVar("T")

POLICY = """
table=0,priority=100,arp,actions=NORMAL
table=0,priority=50,ip,actions=ct(zone=1,table=1)
table=0,priority=50,ipv6,actions=ct(zone=1,table=1)
table=1,priority=90,ct_state=+trk+est,actions=goto_table:2
table=1,priority=80,in_port=vm1,ct_state=+trk+new,ip,actions=ct(commit,zone=1,table=2)
table=1,priority=80,in_port=vm1,ct_state=+trk+new,ipv6,actions=ct(commit,zone=1,table=2)
table=1,priority=0,actions=drop
table=2,priority=0,actions=NORMAL
"""
DENY_ALL = "table=0,priority=0,actions=drop\n"

MAC = {name: bytes([2, 0, 0, 0, 0, number]) for number, name in enumerate(("vm1", "ext"), 1)}
IP = {"vm1": "10.0.0.1", "ext": "10.0.0.3"}
IP6 = {"vm1": "fd00::1", "ext": "fd00::3"}
SYN, ACK, FIN, RST = 2, 16, 1, 4
WORD = 0xFFFFFFFF


def finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never really waits."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    raise AssertionError("the offload manager waited for something")


def leaving(pkt: Packet, nat: Nat | None, hop: NextHopEntry) -> bytes:
    """What step 7 makes of a packet; its checksums were right and are computed anew."""
    frame, at, l4 = bytearray(pkt.frame), pkt.l3_offset, pkt.l4_offset
    if nat is not None:
        place = at + (12 if pkt.version == 4 else 8)
        frame[place : place + 2 * len(nat.src)] = nat.src + nat.dst
        if pkt.proto in (6, 17):
            frame[l4 : l4 + 4] = nat.sport.to_bytes(2, "big") + nat.dport.to_bytes(2, "big")
            check = l4 + (16 if pkt.proto == 6 else 6)
        else:
            frame[l4 + 4 : l4 + 6] = nat.sport.to_bytes(2, "big")
            check = l4 + 2
        frame[check : check + 2] = bytes(2)
        end = l4 + pkt.l4_len
        if pkt.version == 4 and pkt.proto == 1:
            total = checksum(bytes(frame[l4:end]))
        else:
            total = l4_checksum(nat.src, nat.dst, pkt.proto, bytes(frame[l4:end]))
        if pkt.proto == 17:
            total = total or 0xFFFF
        frame[check : check + 2] = total.to_bytes(2, "big")
    if hop.eth_src:
        frame[0:12] = hop.eth_dst + hop.eth_src
        frame[at + (8 if pkt.version == 4 else 7)] -= 1
    if pkt.version == 4:
        frame[at + 10 : at + 12] = bytes(2)
        frame[at + 10 : at + 12] = checksum(bytes(frame[at:l4])).to_bytes(2, "big")
    return bytes(frame)


def tag_of(frame: bytes, vport: Vport) -> tuple[bytes, int | None]:
    """A frame from the wire without the tag that is its vport's or has a priority only; its TCI."""
    if frame[12:14] != b"\x81\x00":
        assert vport.vlan is None, "not a frame of this vport"
        return frame, None
    tci = int.from_bytes(frame[14:16], "big")
    if tci & 0xFFF != (vport.vlan or 0):
        assert vport.vlan is None, "not a frame of this vport"
        return frame, None
    return frame[:12] + frame[16:], tci


def tagged(frame: bytes, tci: int | None, hop: NextHopEntry) -> bytes:
    """What the tag operation of step 7 makes of a frame that came with this TCI."""
    if hop.vlan_op is VlanOp.KEEP:
        left = tci
    elif hop.vlan_op is VlanOp.POP:
        left = None
    else:
        left = (tci or 0) & 0xF000 | hop.vlan_id
    if left is None:
        return frame
    return frame[:12] + b"\x81\x00" + left.to_bytes(2, "big") + frame[12:]


class ModelSwitch:
    """The eswitch behind `EswitchPort`. `refuse` maps a table row to the code it fails with."""

    def __init__(self) -> None:
        self.ct: dict[CtKey, CtEntry] = {}
        self.l2: dict[tuple[int, bytes, bytes], L2PairEntry] = {}
        self.hops: dict[int, NextHopEntry] = {}
        self.flows: dict[FlowKey, FlowEntry] = {}
        self.flow_counts: dict[FlowKey, list[int]] = {}
        self.flow_hit_at: dict[FlowKey, float] = {}
        self.cells: dict[int, list[int]] = {}
        self.path_cells: dict[int, list[int]] = {}
        self.hit_at: dict[CtKey, float] = {}
        #: Registers by cell: index and direction.
        self.windows: dict[int, WindowSide] = {}
        #: Indices whose window packet-outs are lost.
        self.deaf: set[int] = set()
        self.now = 0.0
        self.refuse: dict[str, str] = {}
        self.refuse_direction: int | None = None
        self.dead = False
        #: (index, direction) of the connection entries after each write.
        self.history: list[set[tuple[int, int]]] = []
        #: Called between the operations of a write with what was written last.
        self.between: Any = None

    # -- packets -----------------------------------------------------------------------------

    def receive(
        self, pkt: Packet, vport: int, tci: int | None = None
    ) -> tuple[int, bytes] | PuntInfo:
        """The egress port and the frame on the wire there, or the packet-in header.

        pkt: without the tag of its vport, whose TCI is `tci`. Behind a second one nothing is seen.
        """
        row = self.l2.get((vport, pkt.eth_src, pkt.eth_dst))
        entry = None
        if row is not None and pkt.vlan_id is None:
            key = CtKey(pkt.version, row.l2_id, pkt.src, pkt.dst, pkt.proto, pkt.sport, pkt.dport)
            entry = self.ct.get(key)
            if entry is not None:
                self.hit_at[key] = self.now
        hit = CtHit.MISS
        if entry is not None:
            hit = CtHit.FORWARD if isinstance(entry.action, CtForward) else CtHit.DRAIN
        reason = PuntReason.FRAGMENT if pkt.frag else PuntReason.MISS
        verdict = WindowVerdict.NOT_CHECKED
        if pkt.proto == 6 and (pkt.flags & (SYN | FIN | RST) or not pkt.flags & ACK):
            reason = PuntReason.TCP_SYN if pkt.flags & SYN else PuntReason.TCP_FIN
        elif pkt.frag:
            pass
        elif hit is CtHit.DRAIN:
            reason = PuntReason.DRAIN
        elif (
            entry is not None
            and isinstance(entry.action, CtForward)
            and entry.action.check_window
            and pkt.proto == 6
            and (verdict := self._check(entry.action, pkt)) is not WindowVerdict.INSIDE
        ):
            reason = PuntReason.WINDOW
        elif pkt.error or pkt.frag or pkt.options:
            reason = PuntReason.MALFORMED
        elif entry is None and (flow := self._flow(pkt, vport)) is not None:
            hop = self.hops[flow.next_hop]
            if not hop.mtu or ip_length(pkt) <= hop.mtu:
                cells = self.flow_counts.setdefault(flow.key, [0, 0])
                for counter in (cells, self.path_cells.setdefault(flow.path, [0, 0])):
                    counter[0] += 1
                    counter[1] += pkt.wire_len
                self.flow_hit_at[flow.key] = self.now
                frame = tagged(pkt.frame, tci, hop)
                return hop.port, encapsulate(frame, hop.tunnel) if hop.tunnel else frame
            reason = PuntReason.MTU_EXCEEDED
        elif entry is not None and isinstance(entry.action, CtForward):
            hop = self.hops.get(entry.action.next_hop)
            if hop is None:
                reason = PuntReason.NO_NEXT_HOP
            elif hop.mtu and ip_length(pkt) > hop.mtu:
                reason = PuntReason.MTU_EXCEEDED
            else:
                cell = self.cells.setdefault(
                    2 * entry.action.conn_index + entry.action.direction, [0, 0]
                )
                path = self.path_cells.setdefault(entry.action.path, [0, 0])
                for counter in (cell, path):
                    counter[0] += 1
                    counter[1] += pkt.wire_len
                frame = tagged(leaving(pkt, entry.action.nat, hop), tci, hop)
                return hop.port, encapsulate(frame, hop.tunnel) if hop.tunnel else frame
        action = entry.action if entry is not None else CtDrain(0, 0, 0)
        pair = self._window(action.conn_index) if entry is not None else WindowPair()
        original, reply = (
            int.from_bytes(b"".join(word.to_bytes(4, "big") for word in side[:4])) for side in pair
        )
        return PuntInfo(
            ingress_port=vport,
            vport=vport,
            reason=reason,
            step=Step.TRAP,
            ct_hit=hit,
            direction=action.direction,
            conn_index=action.conn_index,
            generation=action.generation,
            tunnel_id=0,
            outer_src=0,
            frame_length=pkt.wire_len,
            window_original=original,
            window_reply=reply,
            window_scales=pair.original.scale << 8 | pair.reply.scale,
            window_verdict=verdict,
        )

    def _flow(self, pkt: Packet, vport: int) -> FlowEntry | None:
        """p4src/stages/flow.p4, all of whose entries have the same priority here."""
        values = {
            "eth_src": int.from_bytes(pkt.eth_src, "big"),
            "eth_dst": int.from_bytes(pkt.eth_dst, "big"),
            "ether_type": pkt.eth_type if pkt.vlan_id is None else 0x8100,
            "src": int.from_bytes(pkt.src, "big"),
            "dst": int.from_bytes(pkt.dst, "big"),
            "proto": max(pkt.proto, 0),
            "sport": pkt.sport,
            "dport": pkt.dport,
        }
        for key, flow in self.flows.items():
            wanted = {name: getattr(key, name) for name in values}
            if key.vport == vport and all(
                masked is None or values[name] & masked[1] == masked[0]
                for name, masked in wanted.items()
            ):
                return flow
        return None

    def _window(self, index: int) -> WindowPair:
        none = WindowSide()
        return WindowPair(self.windows.get(2 * index, none), self.windows.get(2 * index + 1, none))

    def _check(self, action: CtForward, pkt: Packet) -> WindowVerdict:
        """p4src/stages/window.p4."""
        own = 2 * action.conn_index + action.direction
        sender, receiver = self.windows[own], self.windows[own ^ 1]
        end = (pkt.seq + pkt.payload_len) & WORD
        if before(sender.max_end, pkt.seq):
            return WindowVerdict.SEQ_ABOVE
        if before(end, sender.end - receiver.max_win):
            return WindowVerdict.SEQ_BELOW
        if before(receiver.end, pkt.ack):
            return WindowVerdict.ACK_ABOVE
        if before(pkt.ack, receiver.end - max(66000, sender.max_win)):
            return WindowVerdict.ACK_BELOW
        win = pkt.window << sender.scale
        if before(sender.max_end, end):
            grown = receiver.max_win + (end - sender.max_end & WORD)
            receiver = receiver._replace(max_win=grown)
        edge = (pkt.ack + win) & WORD
        if not before(edge, receiver.max_end):
            receiver = receiver._replace(max_end=edge if win else edge + 1)
        self.windows[own] = sender._replace(
            max_win=max(win, sender.max_win),
            end=end if before(sender.end, end) else sender.end,
            max_ack=pkt.ack if before(sender.max_ack, pkt.ack) else sender.max_ack,
        )
        self.windows[own ^ 1] = receiver
        return WindowVerdict.INSIDE

    # -- EswitchPort -------------------------------------------------------------------------

    async def write(self, ops: Sequence[Op]) -> list[EntryError | None]:
        answers: list[EntryError | None] = []
        for op in ops:
            if self.dead:
                answers.append(EntryError(op, "UNAVAILABLE", "gone", unknown_outcome=True))
                continue
            code = self._carry_out(op)
            answers.append(EntryError(op, code, "by the model") if code else None)
            if self.between is not None:
                self.between(op)
        self.history.append({(e.action.conn_index, e.action.direction) for e in self.ct.values()})
        return answers

    def _carry_out(self, op: Op) -> str:
        entry: Any = op.entry
        table, key = self._place(entry)
        if isinstance(op, Insert):
            if (code := self.refuse.get(type(entry).__name__)) and (
                self.refuse_direction is None
                or getattr(getattr(entry, "action", None), "direction", None)
                == self.refuse_direction
            ):
                return code
            if key in table:
                return "ALREADY_EXISTS"
            table[key] = entry
            if isinstance(entry, CtEntry):
                self.hit_at[entry.key] = self.now
            elif isinstance(entry, FlowEntry):
                self.flow_hit_at[entry.key] = self.now
        elif key not in table:
            return "NOT_FOUND"
        elif isinstance(op, Modify):
            table[key] = entry
        else:
            assert isinstance(op, Delete)
            del table[key]
            self.flow_counts.pop(key, None)
        return ""

    def _place(self, entry: Any) -> tuple[dict[Any, Any], Any]:
        if isinstance(entry, CtEntry):
            return self.ct, entry.key
        if isinstance(entry, CtKey):
            return self.ct, entry
        if isinstance(entry, FlowEntry):
            return self.flows, entry.key
        if isinstance(entry, FlowKey):
            return self.flows, entry
        if isinstance(entry, L2PairEntry):
            return self.l2, (entry.vport, entry.eth_src, entry.eth_dst)
        assert isinstance(entry, NextHopEntry)
        return self.hops, entry.next_hop

    def _alive(self) -> None:
        if self.dead:
            raise EswitchError("UNAVAILABLE", "gone")

    async def read_connection_counters(
        self, indices: Sequence[int]
    ) -> dict[int, tuple[Counts, Counts]]:
        self._alive()
        return {i: (self._cell(2 * i), self._cell(2 * i + 1)) for i in indices}

    def _cell(self, number: int) -> Counts:
        packets, octets = self.cells.get(number, [0, 0])
        return packets, octets

    async def zero_connection_counters(self, indices: Sequence[int]) -> None:
        self._alive()
        for index in indices:
            self.cells.pop(2 * index, None)
            self.cells.pop(2 * index + 1, None)

    async def read_path_counters(self, ids: Sequence[int]) -> dict[int, Counts]:
        self._alive()
        return {
            i: (self.path_cells.get(i, [0, 0])[0], self.path_cells.get(i, [0, 0])[1]) for i in ids
        }

    async def zero_path_counters(self, ids: Sequence[int]) -> None:
        self._alive()
        for path in ids:
            self.path_cells.pop(path, None)

    async def write_windows(self, windows: Mapping[int, WindowPair]) -> set[int]:
        assert not any(e.action.conn_index in windows for e in self.ct.values())
        heard = {i: pair for i, pair in windows.items() if i not in self.deaf}
        for index, pair in heard.items():
            self.windows[2 * index], self.windows[2 * index + 1] = pair
        return set(heard)

    def merge_windows(self, index: int, pair: WindowPair) -> bool:
        if index in self.deaf:
            return False
        for cell, more in zip((2 * index, 2 * index + 1), pair, strict=True):
            own = self.windows[cell]
            self.windows[cell] = own._replace(
                end=more.end if before(own.end, more.end) else own.end,
                max_end=more.max_end if before(own.max_end, more.max_end) else own.max_end,
                max_win=max(own.max_win, more.max_win),
                max_ack=more.max_ack if before(own.max_ack, more.max_ack) else own.max_ack,
            )
        return True

    async def read_windows(self, indices: Sequence[int]) -> dict[int, WindowPair]:
        return {index: self._window(index) for index in indices if index not in self.deaf}

    async def read_vports(self) -> list[VportEntry]:
        return []

    async def read_l2_pairs(self) -> list[L2PairEntry]:
        self._alive()
        return list(self.l2.values())

    async def read_ct_entries(self) -> list[CtEntry]:
        self._alive()
        return list(self.ct.values())

    async def read_flows(self) -> list[FlowEntry]:
        return list(self.flows.values())

    async def read_next_hops(self) -> list[NextHopEntry]:
        self._alive()
        return list(self.hops.values())

    async def read_flow_counters(self) -> dict[FlowKey, Counts]:
        return {key: (counts[0], counts[1]) for key, counts in self.flow_counts.items()}

    async def read_punt_counters(self) -> dict[str, Counts]:
        return {}

    async def read_drop_counters(self) -> dict[str, Counts]:
        return {}

    async def read_trap_counters(self) -> dict[str, Counts]:
        return {}

    async def set_punt_meter(
        self, vport: int, punt_class: PuntClass, rate: int | None, burst: int = 0
    ) -> None:
        """The model has no policer."""

    @property
    def empty(self) -> bool:
        return not (self.ct or self.flows or self.l2 or self.hops or self.cells or self.path_cells)


class World:
    """One eswitch and its controller. `delivered` has (port, frame) of everything that left."""

    def __init__(
        self,
        *,
        policy: str = POLICY,
        options: OffloadOptions | None = None,
        switch: ModelSwitch | None = None,
        timeouts: Timeouts | None = None,
        max_connections: int = 1000,
        liberal: bool = False,
        ports: PortTable | None = None,
        router: dict[int, bytes] | None = None,
    ) -> None:
        self.now = 1000.0 if switch is None else switch.now
        self.ports = ports or PortTable([Vport(1, "vm1", 1), Vport(3, "ext", 3, kind="uplink")])
        self.switch = ModelSwitch() if switch is None else switch
        self.switch.now = self.now
        self.tracker = Tracker(
            timeouts,
            max_connections=max_connections,
            tcp_be_liberal=liberal,
            random=Random(1),
        )
        self.pipeline = Pipeline(self.ports, self.tracker)
        self.pipeline.replace(self.flows(policy), self.now)
        self.manager = OffloadManager(self.pipeline, self.tracker, options or OffloadOptions())
        self.manager.merge_windows = self.switch.merge_windows
        self.tracker.on_event = self._event
        self.delivered: list[tuple[int, bytes]] = []
        self.slow_path = SlowPath(self.pipeline, self.manager, self._send, router)
        self.by_hardware = 0
        self.auto_round = True

    def flows(self, text: str) -> Any:
        return parse_flows(
            text,
            source="policy",
            ports=self.ports.numbers,
            timeouts=self.tracker.timeouts.policies,
        )

    def _event(self, event: Event, connection: Connection, now: float) -> None:
        if event is Event.DESTROY:
            self.manager.connection_gone(connection)
        elif event is Event.MARK:
            self.manager.mark_changed(connection)

    def _send(self, port: int, frame: bytes) -> bool:
        self.delivered.append((port, frame))
        return True

    def clock(self) -> float:
        return self.now

    def packet(self, frame: bytes, vport: int) -> str:
        """One packet from the wire through switch and slow path; "hardware" or "software"."""
        inside, tci = tag_of(frame, self.ports.by_id[vport])
        pkt = parse(inside, len(frame))
        self.switch.now = self.now
        outcome = self.switch.receive(pkt, vport, tci)
        if isinstance(outcome, tuple) and not isinstance(outcome, PuntInfo):
            self.delivered.append(outcome)
            self.by_hardware += 1
            return "hardware"
        self.slow_path.punt(frame, outcome, self.now)
        if self.auto_round:
            self.rounds()
        return "software"

    def rounds(self) -> None:
        """Until nothing waits; a round that makes no progress fails the test."""
        for _ in range(50):
            if not self.manager.has_work:
                return
            self.switch.now = self.now
            finish(run_rounds(self.manager, self.switch, self.clock))
        raise AssertionError("the rounds never end")

    def change_policy(self, policy: str) -> list[Leaving]:
        """Replace the policy and judge every record, with nothing in between."""
        change = self.pipeline.replace(self.flows(policy), self.now)
        return self.carry_out(PolicyChange(self.manager, change))

    def carry_out(self, change: PolicyChange) -> list[Leaving]:
        """All steps of a change; what has to leave."""
        leaving: list[Leaving] = []
        while not change.done:
            leaving += change.step(self.now)
        return leaving

    def refresh(self) -> None:
        finish(refresh(self.manager, self.switch, self.clock))

    def reconcile(self) -> Drift:
        return finish(reconcile(self.manager, self.switch, self.clock))

    def later(self, seconds: float) -> None:
        """Let time pass, and conntrack's timers with it."""
        self.now += seconds
        self.switch.now = self.now
        while self.tracker.expire(self.now, 100):
            pass
        self.manager.take_ended()
        self.rounds()

    def report_idle(self) -> None:
        """What a target does when entries were not hit for their timeout."""
        for key, entry in list(self.switch.ct.items()):
            age = self.now - self.switch.hit_at[key]
            if entry.idle_timeout_ns and age * 1e9 >= entry.idle_timeout_ns:
                self.manager.idle(key, self.now)
        for key, flow in list(self.switch.flows.items()):
            if (self.now - self.switch.flow_hit_at[key]) * 1e9 >= flow.idle_timeout_ns:
                self.manager.idle(key, self.now)
        self.rounds()

    def connections(self) -> list[Connection]:
        return list(self.tracker.select())


class Tcp:
    """A TCP connection from vm1 to ext, packet by packet; sequence numbers are kept right."""

    def __init__(
        self, world: World, sport: int = 40000, dport: int = 80, *, v6: bool = False
    ) -> None:
        self.world = world
        self.ip = IP6 if v6 else IP
        self.port = {"vm1": sport, "ext": dport}
        self.seq = {"vm1": 1000, "ext": 5000}
        self.sent = {"vm1": [0, 0], "ext": [0, 0]}

    def send(self, source: str, flags: int = ACK, payload: bytes = b"", mac: bytes = b"") -> str:
        target = "ext" if source == "vm1" else "vm1"
        frame = build.tcp_frame(
            eth_src=mac or MAC[source],
            eth_dst=MAC[target],
            src=self.ip[source],
            dst=self.ip[target],
            sport=self.port[source],
            dport=self.port[target],
            seq=self.seq[source],
            ack=self.seq[target] if flags & ACK else 0,
            flags=flags,
            payload=payload,
        )
        self.seq[source] += len(payload) + bool(flags & SYN) + bool(flags & FIN)
        self.sent[source][0] += 1
        self.sent[source][1] += len(frame)
        return self.world.packet(frame, 1 if source == "vm1" else 3)

    def open(self) -> Tcp:
        self.send("vm1", SYN)
        self.send("ext", SYN | ACK)
        self.send("vm1", ACK)
        return self

    def offload(self) -> Tcp:
        """Open, and one packet each way, after which the entries are in use."""
        self.open()
        self.send("vm1", ACK, b"question")
        self.send("ext", ACK, b"answer")
        return self

    def close(self) -> None:
        self.send("vm1", FIN | ACK)
        self.send("ext", FIN | ACK)
        self.send("vm1", ACK)


def learn(world: World) -> None:
    """Let NORMAL know both stations, as ARP does before anything else."""
    for name, other, vport in (("vm1", "ext", 1), ("ext", "vm1", 3)):
        world.packet(
            build.arp_frame(
                op=1,
                sha=MAC[name],
                spa=IP[name],
                tha=bytes(6),
                tpa=IP[other],
            ),
            vport,
        )
    world.delivered.clear()

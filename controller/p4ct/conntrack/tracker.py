# SPDX-License-Identifier: Apache-2.0
"""The connection tracker: what ct() and ct(commit) of the pipeline do.

Only a commit stores anything, as in Open vSwitch; states, windows and timeouts are those of Linux.
Pure: time comes as an argument (seconds of any clock that does not run backwards), and nothing here
reads or writes anything but its own tables.

Differences from Linux, all on purpose: a packet that is let through without being believed
("ignored") is counted too, so that counters are exact; fragments are +inv until they are
reassembled. docs/conntrack-differences.md has the whole list.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from struct import Struct

from p4ct.conntrack.connection import Connection, Direction, Tuple, is_icmp, tuple_from_key
from p4ct.conntrack.helping import acknowledge
from p4ct.conntrack.icmp import is_error, quoted_tuple
from p4ct.conntrack.lifecycle import Lifecycle
from p4ct.conntrack.limits import Limits
from p4ct.conntrack.nat import NatRange, allocate, nat_bits
from p4ct.conntrack.numbers import WORKING_SET, Numbers
from p4ct.conntrack.protocols import begin_tracking, other_packet, why_not_first
from p4ct.conntrack.result import ConntrackInvalid, CtResult, NatExhausted, TupleTaken
from p4ct.conntrack.state import CtState, FlowState
from p4ct.conntrack.table import table_id
from p4ct.conntrack.tcp import TcpPolicy, tcp_packet
from p4ct.conntrack.timeouts import Timeouts
from p4ct.conntrack.verdict import INVALID_REASON, Verdict
from p4ct.packet.l4_check import l4_checksum_error
from p4ct.packet.parse import Packet

_PORTS = Struct("!HH").pack
_ORIGINAL = Direction.ORIGINAL
_REPLY = Direction.REPLY
_ACCEPT = Verdict.ACCEPT
_INVALID = Verdict.INVALID_FLAGS  # the first of the invalid ones

# Composing IntFlags is slow; these are all that a packet can be.
_NEW = CtState.TRK | CtState.NEW
_EST = CtState.TRK | CtState.EST
_EST_REPLY = _EST | CtState.RPL
_RELATED = CtState.TRK | CtState.REL
_RELATED_REPLY = _RELATED | CtState.RPL
_NEW_RELATED = _NEW | CtState.REL
_INV = CtState.TRK | CtState.INV
_STATES = tuple(CtState(number) for number in range(256))


class Tracker(Lifecycle):
    """Connections of all zones.

    max_connections: at the limit the oldest unreplied connection makes room for a new one, or else
        the oldest unassured; if all are assured (or offloaded), commit raises ConntrackFull.
    max_unreplied: connections without an answer, None for any number; the oldest makes room.
    limits: of zones and sources; like timeouts they may be replaced while connections live.
    working_set: how many connections are held ready, which takes a kilobyte each; packets of others
        take half as long again.
    tcp_*: the sysctls nf_conntrack_tcp_*.   timeouts may be replaced while connections live.
    checksum: a packet with a wrong L4 checksum is +inv (the sysctl nf_conntrack_checksum).
    on_event: called after every change with (Event, Connection, now); it must not call the tracker.
    stats: how often: "invalid", "early_drop", "full", "full_zone", "full_source", "nat_exhausted",
        "tuple_taken".
    random: where NAT takes its random numbers from.
    """

    def __init__(
        self,
        timeouts: Timeouts | None = None,
        *,
        max_connections: int = 262144,
        tcp_loose: bool = True,
        tcp_be_liberal: bool = False,
        tcp_max_retrans: int = 3,
        tcp_ignore_invalid_rst: bool = False,
        checksum: bool = True,
        max_unreplied: int | None = None,
        limits: Limits | None = None,
        working_set: int = WORKING_SET,
        random: Random | None = None,
        max_expectations: int = 4096,
    ) -> None:
        super().__init__(
            timeouts or Timeouts(),
            max_connections,
            max_unreplied,
            limits,
            working_set,
            max_expectations,
        )
        self.tcp_policy = TcpPolicy(
            tcp_loose, tcp_be_liberal, tcp_max_retrans, tcp_ignore_invalid_rst
        )
        self._liberal = replace(self.tcp_policy, be_liberal=True)
        self.checksum = checksum
        #: The windows of a watched connection are those of the moment of the next packet. False:
        #: it came without them, and what they alone would refuse is let through.
        self.windows_current = True
        self._tables = self._connections.tables
        self._random = random or Random()
        self._salt = self._random.getrandbits(32)

    def track(self, pkt: Packet, zone: int, now: float) -> CtResult:
        """Take one packet through ct(zone=): look up, check, update state, timer and counters.

        Call it once per packet and zone (a second ct() in the same zone must reuse the result, as
        the kernel does). Never raises for any packet. A packet of an unknown connection is +new if
        it may begin one, and leaves no trace unless `commit` follows; the reply that makes a
        connection established is itself +est+rpl; until then every original packet is +new.

        While a connection is held (offloaded) packets go by unseen, so windows are unknown: those
        that do come, trapped or late, are accepted whatever their numbers, while the state machine
        applies in full (nf_flow_table does the same).
        """
        if pkt.error or pkt.frag or not pkt.version:
            self.stats["invalid"] += 1
            return _untrackable(pkt, zone)
        if not pkt.checked and self.checksum and (wrong := l4_checksum_error(pkt)):
            self.stats["invalid"] += 1
            return CtResult(_INV, None, _ORIGINAL, zone, wrong)
        proto = pkt.proto
        number = zone << 9 | proto if pkt.version == 4 else zone << 9 | 0x100 | proto
        key = pkt.src + pkt.dst + _PORTS(pkt.sport, pkt.dport)
        table = self._tables.get(number)
        conn = None if table is None else table.shards[hash(key) & table.mask].get(key)
        if conn is None or (conn.expires <= now and conn.offload is None):
            if conn is not None:
                self._destroy(conn, conn.state_name, now)
            return self._count_invalid(self._unknown(pkt, zone, number, key, now))

        direction = _ORIGINAL if key == conn.key else _REPLY
        received = pkt
        extra = conn.extra
        if extra is not None and extra.adjust is not None:
            pkt = acknowledge(pkt, extra.adjust[1 - direction])
        old = conn.protocol_state
        assured = conn.assured
        numbers = conn.numbers
        if not isinstance(numbers, Numbers):
            numbers = self._working.unpack(conn)
        verdict = self._run(conn, numbers, pkt, direction, now)
        if verdict is _ACCEPT:
            conn.expires = expires = now + conn.timeout
            if expires < conn.chunk.second:
                self._rearm(conn)
        elif verdict >= _INVALID:
            if conn.expires < conn.chunk.second:
                self._rearm(conn)
            self.stats["invalid"] += 1
            return CtResult(_INV, None, _ORIGINAL, zone, INVALID_REASON[verdict])
        elif verdict is Verdict.REOPEN:
            self._destroy(conn, conn.state_name, now)
            return self._count_invalid(self._unknown(pkt, zone, number, key, now))

        if direction is _REPLY:
            numbers.reply_packets += 1
            numbers.reply_bytes += pkt.wire_len
            state = _EST_REPLY
            replied = not conn.seen_reply
            conn.seen_reply = True
        else:
            numbers.original_packets += 1
            numbers.original_bytes += pkt.wire_len
            state = _EST if conn.seen_reply else _NEW
            replied = False
        if verdict is Verdict.KILL:
            self._destroy(conn, old.name, now)
        elif replied or conn.protocol_state is not old or conn.assured is not assured:
            self._changed(conn, old, assured, now)
        if conn.nat:
            state = _STATES[int(state) | conn.nat]
        result = CtResult(state, conn, direction, zone)
        if extra is not None:
            self.helpers.packet(result, conn, extra, pkt, now)
            if pkt is not received and result.packet is None:
                result.packet = pkt
        return result

    def peek(self, pkt: Packet, zone: int, now: float) -> CtResult:
        """What `track` would answer, without changing anything."""
        if pkt.error or pkt.frag or not pkt.version:
            return _untrackable(pkt, zone)
        if self.checksum and (wrong := l4_checksum_error(pkt)):
            return CtResult(_INV, None, _ORIGINAL, zone, wrong)
        number = table_id(zone, pkt.version, pkt.proto)
        key = pkt.src + pkt.dst + _PORTS(pkt.sport, pkt.dport)
        table = self._tables.get(number)
        conn = None if table is None else table.get(key)
        if conn is None or (conn.expires <= now and conn.offload is None):
            return self._unknown(pkt, zone, number, key, now)
        direction = _ORIGINAL if key == conn.key else _REPLY
        twin = conn.twin()
        numbers = self._working.unpack(twin)
        if numbers.tcp is not None and numbers.tcp.watched:
            # Who asks about an offloaded connection has no numbers of its own.
            numbers.tcp.forget_windows()
        verdict = self._run(twin, numbers, pkt, direction, now)
        if verdict >= _INVALID:
            return CtResult(_INV, None, _ORIGINAL, zone, INVALID_REASON[verdict])
        if verdict is Verdict.REOPEN:
            return self._unknown(pkt, zone, number, key, now)
        state = _EST if conn.seen_reply else _NEW
        if direction is _REPLY:
            state = _EST_REPLY
        if conn.nat:
            state = _STATES[int(state) | conn.nat]
        return CtResult(self.helpers.state(conn, state), conn, direction, zone)

    def commit(
        self,
        result: CtResult,
        pkt: Packet,
        now: float,
        *,
        nat: NatRange | None = None,
        force: bool = False,
        alg: str = "",
        timeout: str = "",
    ) -> Connection:
        """ct(commit): store the connection that `result`, from track of this packet, calls +new.

        The packet that creates a connection is counted in it. A result that has a connection is
        left alone; but with `force` one that was begun by the other side makes way, and the packet
        begins a new one, without mark and label. `nat`: what a new connection's packets become;
        `alg`: its helper; `timeout`: the timeout policy that it has for good.
        Sets `connection` and the state of `result`. Raises ConntrackFull, NatExhausted and
        TupleTaken (the packet must be dropped), and ConntrackInvalid for +inv.
        """
        conn = self._committed(result, pkt, now, force)
        if conn is not None:
            return conn
        original = tuple_from_key(pkt.version, pkt.proto, result.key)
        try:
            target = self._translation(result, original, nat, self._random, now)
        except (NatExhausted, TupleTaken) as problem:
            exhausted = isinstance(problem, NatExhausted)
            self.stats["nat_exhausted" if exhausted else "tuple_taken"] += 1
            if result.expectation is not None:
                self.helpers.expectations.take(result.expectation)  # its connection has come
            raise
        reply = target.reversed()
        bits = 0 if target is original else nat_bits(original, reply)
        unreplied = FlowState.UNREPLIED
        conn = self._new_connection(result.zone, original, reply, unreplied, now, bits, timeout)
        numbers = self._working.unpack(conn)
        begin_tracking(conn, pkt)
        verdict = self._run(conn, numbers, pkt, _ORIGINAL, now)
        if verdict is not _ACCEPT:
            reason = INVALID_REASON.get(verdict, verdict.name)
            raise ConntrackInvalid(f"the packet begins no connection: {reason}")
        numbers.original_packets = 1
        numbers.original_bytes = pkt.wire_len
        conn.expires = now + conn.timeout
        if bits:
            result.state = _STATES[int(result.state) | bits]
        expired = self._connections.find(reply, result.zone)
        if expired is not None:
            self._destroy(expired[0], expired[0].state_name, now)
        expected = result.expectation
        if expected is not None:
            self.helpers.inherit(conn, expected)
        self._insert(conn, now)
        if alg or expected is not None:
            self.helpers.begin(result, conn, pkt, alg, now)
        result.connection = conn
        return conn

    def preview(
        self,
        result: CtResult,
        pkt: Packet,
        now: float,
        *,
        nat: NatRange | None = None,
        force: bool = False,
    ) -> Connection | None:
        """What `commit` would do to `result`, without storing anything; None for a new connection.

        Sets `result.target`. Raises what `commit` would, but for ConntrackFull.
        """
        old = result.connection
        conn = self._committed(result, pkt, now, force, peek=True)
        if conn is not None:
            return conn
        if result.key:
            original = tuple_from_key(pkt.version, pkt.proto, result.key)
            target = self._translation(result, original, nat, Random(self._salt), now, old)
            if target is not original:
                result.target = target
                bits = nat_bits(original, target.reversed())
                result.state = _STATES[int(result.state) | bits]
        return None

    def _committed(
        self, result: CtResult, pkt: Packet, now: float, force: bool, *, peek: bool = False
    ) -> Connection | None:
        """The connection that is committed already; with `force` not one of the other side."""
        conn = result.connection
        if conn is None:
            if result.state & CtState.INV:
                raise ConntrackInvalid(f"an invalid packet cannot be committed: {result.reason}")
            table = self._tables.get(result.table)
            conn = result.connection = None if table is None else table.get(result.key)
            return conn
        if not force or result.direction is _ORIGINAL or result.state & CtState.REL:
            return conn
        if conn.alive and not peek:
            self._destroy(conn, conn.state_name, now)
        number = table_id(result.zone, pkt.version, pkt.proto)
        key = pkt.src + pkt.dst + _PORTS(pkt.sport, pkt.dport)
        fresh = self._unknown(pkt, result.zone, number, key, now)
        result.state, result.connection, result.direction = fresh.state, None, _ORIGINAL
        result.reason, result.key, result.table = fresh.reason, fresh.key, fresh.table
        if fresh.state & CtState.INV:
            raise ConntrackInvalid(f"the packet begins no connection: {fresh.reason}")
        return None

    def _translation(
        self,
        result: CtResult,
        original: Tuple,
        nat: NatRange | None,
        random: Random,
        now: float,
        leaving: Connection | None = None,
    ) -> Tuple:
        """What the packets of a new connection become: `original` itself if nothing changes.

        `leaving`: a connection that will have made way. Raises NatExhausted, or TupleTaken where no
        other tuple may be taken.
        """

        def taken(reply: Tuple) -> bool:
            found = self._connections.find(reply, result.zone)
            if found is None or found[0] is leaving:
                return False
            return found[0].expires > now or found[0].offload is not None

        expected = result.expectation
        if expected is not None and expected.target is not None:
            # As its parent, whatever the flow says; only the source may have to give way to others
            # (nf_nat_follow_master).
            where = NatRange(True, expected.source, expected.source)
            start = allocate(original, where, taken, random, self._salt)
            if start is None:
                raise NatExhausted(f"no free tuple for {original}")
            address, port = expected.target
            target = start._replace(dst=address, dport=port)
            if target != start and taken(target.reversed()):
                raise TupleTaken(f"{target.reversed()} belongs to another connection")
            return original if target == original else target
        if nat is None:
            if taken(original.reversed()):
                raise TupleTaken(f"{original.reversed()} belongs to another connection")
            return original
        target = allocate(original, nat, taken, random, self._salt)
        if target is None:
            raise NatExhausted(f"no free tuple for {original}")
        return original if target == original else target

    def _run(
        self, conn: Connection, numbers: Numbers, pkt: Packet, direction: Direction, now: float
    ) -> Verdict:
        """The protocol's part: sets protocol_state, timeout and assured of the connection."""
        timeouts = self.timeouts
        if timeouts.special:
            timeouts = timeouts.of(conn.table.zone, conn.timeout_policy)
        tcp = numbers.tcp
        if tcp is not None:
            policy = self.tcp_policy
            if conn.offload is not None:
                if not tcp.watched:
                    tcp.forget_windows()
                elif not self.windows_current:
                    policy = self._liberal
            return tcp_packet(conn, tcp, pkt, direction, now, timeouts, policy)
        return other_packet(conn, numbers.start, pkt, direction, now, timeouts)

    def _unknown(self, pkt: Packet, zone: int, number: int, key: bytes, now: float) -> CtResult:
        """A packet of no connection: +new, +rel to another one, or +inv. Changes nothing."""
        if is_icmp(pkt.version, pkt.proto) and is_error(pkt):
            return self._related(pkt, zone, now)
        reason = why_not_first(pkt, self.tcp_policy)
        if reason:
            return CtResult(_INV, None, _ORIGINAL, zone, reason)
        result = CtResult(_NEW, None, _ORIGINAL, zone, "", key, number)
        if len(self.helpers.expectations):
            first = tuple_from_key(pkt.version, pkt.proto, key)
            result.expectation = self.helpers.find(zone, first, now)
            if result.expectation is not None:
                result.state = _NEW_RELATED
        return result

    def _related(self, pkt: Packet, zone: int, now: float) -> CtResult:
        """An ICMP error belongs to the connection that it quotes (`nf_conntrack_inet_error`).

        It must go to where the quoted packet came from, and neither renews nor creates anything.
        """
        quoted = quoted_tuple(pkt)
        if quoted is None:
            return CtResult(_INV, None, _ORIGINAL, zone, "ICMP error without a readable packet")
        found = self._connections.find(quoted.reversed(), zone)
        if found is not None:
            conn, direction = found
            alive = conn.expires > now or conn.offload is not None
            if alive and pkt.dst == (conn.reply if direction is _REPLY else conn.original).dst:
                state = _RELATED_REPLY if direction is _REPLY else _RELATED
                if conn.nat:
                    state = _STATES[int(state) | conn.nat]
                return CtResult(state, conn, direction, zone)
        return CtResult(_INV, None, _ORIGINAL, zone, "ICMP error about no known connection")

    def _count_invalid(self, result: CtResult) -> CtResult:
        if result.reason:
            self.stats["invalid"] += 1
        return result


def _untrackable(pkt: Packet, zone: int) -> CtResult:
    """+inv for what is not a whole, sound IP packet."""
    reason = pkt.error or ("fragment, not reassembled" if pkt.frag else "not an IP packet")
    return CtResult(_INV, None, _ORIGINAL, zone, reason)

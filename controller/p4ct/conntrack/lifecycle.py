# SPDX-License-Identifier: Apache-2.0
"""The life of connections: their table, their timers, room for new ones, offload, events.

`Tracker` adds the packets. Time is an argument: seconds of any clock that does not run backwards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain

from p4ct.conntrack.connection import Connection, Direction, Tuple, connection_class
from p4ct.conntrack.helping import Helpers
from p4ct.conntrack.limits import Limits, SourceCounts
from p4ct.conntrack.nat import nat_bits
from p4ct.conntrack.numbers import WORKING_SET, Numbers, WorkingSet
from p4ct.conntrack.result import ConntrackFull, TupleTaken
from p4ct.conntrack.room import in_the_way
from p4ct.conntrack.saved import Saved
from p4ct.conntrack.sctp_track import SctpTrack
from p4ct.conntrack.state import CLOSING, Event, FlowState, ProtocolState, SctpState, TcpState
from p4ct.conntrack.table import ConnectionTable
from p4ct.conntrack.tcp_window import BE_LIBERAL, CLOSE_INIT, SACK_PERM, TcpTrack
from p4ct.conntrack.timeouts import Timeouts
from p4ct.conntrack.timers import TimerWheel
from p4ct.packet.parse import PROTO_TCP, PROTO_UDP

_ORIGINAL = Direction.ORIGINAL
_REPLY = Direction.REPLY

EventHandler = Callable[[Event, Connection, float], None]


class Lifecycle:
    """All connections of all zones, without the packets. See `Tracker` for the arguments."""

    def __init__(
        self,
        timeouts: Timeouts,
        max_connections: int,
        max_unreplied: int | None = None,
        limits: Limits | None = None,
        working_set: int = WORKING_SET,
        max_expectations: int = 4096,
    ) -> None:
        for name, value in (("connections", max_connections), ("unreplied", max_unreplied)):
            if value is not None and value < 1:
                raise ValueError(f"max_{name} must be at least 1, not {value}")
        self.timeouts = timeouts
        self.max_connections = max_connections
        self.max_unreplied = max_unreplied
        self.limits = limits or Limits()
        self.on_event: EventHandler | None = None
        self.stats: Counter[str] = Counter()
        self._working = WorkingSet(working_set)
        self._connections = ConnectionTable(self._working)
        self._wheel = TimerWheel()
        self._last_id = 0
        self.helpers = Helpers(max_expectations, self.stats)

    # --- lookup ----------------------------------------------------------------------------

    def __len__(self) -> int:
        return self._connections.count

    @property
    def by_zone(self) -> dict[int, int]:
        """Connections per zone; zones without any are not in it."""
        return {number: zone.count for number, zone in self._connections.zones.items()}

    @property
    def by_protocol(self) -> dict[int, int]:
        """Connections per IP protocol number."""
        return dict(self._connections.by_protocol())

    @property
    def by_state(self) -> dict[str, int]:
        """Connections per state name (`Connection.state_name`)."""
        return dict(self._connections.by_state())

    @property
    def by_protocol_and_state(self) -> dict[int, dict[str, int]]:
        """Connections per IP protocol number and state name."""
        return {
            proto: dict(self._connections.by_state(proto))
            for proto in self._connections.by_protocol()
        }

    @property
    def by_tcp_state(self) -> dict[str, int]:
        """TCP connections per state name."""
        return dict(self._connections.by_state(PROTO_TCP))

    def find(self, key: Tuple, zone: int) -> tuple[Connection, Direction] | None:
        """The connection of this tuple, and which of its directions the tuple is."""
        return self._connections.find(key, zone)

    def select(
        self,
        zone: int | None = None,
        version: int | None = None,
        proto: int | None = None,
        src: bytes | None = None,
        dst: bytes | None = None,
        sport: int | None = None,
        dport: int | None = None,
        mark: int | None = None,
        state: str | None = None,
        direction: Direction | None = None,
    ) -> Iterator[Connection]:
        """Connections that fit everything given; they may be removed while this runs.

        src, dst, sport, dport must fit one tuple: that of `direction`, or either when None.
        state: a `Connection.state_name`.
        """
        wanted = (src, dst, sport, dport)
        for conn in chain.from_iterable(self.portions(zone, version, proto)):
            if mark is not None and conn.mark != mark:
                continue
            if state is not None and conn.state_name != state:
                continue
            if wanted == (None, None, None, None) or any(
                _fits(wanted, conn.original if way is _ORIGINAL else conn.reply)
                for way in ((direction,) if direction is not None else (_ORIGINAL, _REPLY))
            ):
                yield conn

    def portions(
        self, zone: int | None = None, version: int | None = None, proto: int | None = None
    ) -> Iterator[list[Connection]]:
        """Connections in short lists, for who gives others their turn in between.

        They may be removed meanwhile, in the list too (`Connection.alive`).
        """
        return self._connections.portions(zone, version, proto)

    # --- time ------------------------------------------------------------------------------

    def expire(self, now: float, budget: int = 1000) -> list[Connection]:
        """Destroy what has expired, soonest first, and return it. Looks at `budget` connections.

        Call again at once when `next_deadline()` is not in the future. Held connections stay.
        Flushed ones are destroyed here too, in their turn; they are not in the answer.
        """
        expired = self._wheel.expired(now, budget)
        for conn in expired:
            self._destroy(conn, conn.state_name, now)
        self.helpers.expire(now)
        if self._connections.flushing:
            for _ in range(budget - len(expired)):
                conn = self._connections.take_flushed()
                if conn is None:
                    break
                self._end(conn, now)
        return expired

    def next_deadline(self) -> float | None:
        """When `expire` has something to look at; None when there are no timers."""
        if self._connections.flushing:
            return 0.0
        expected = self.helpers.expectations.next_deadline()
        first = self._wheel.next()
        if first is None or expected is None:
            return expected if first is None else first
        return min(first, expected)

    def remove(self, conn: Connection, now: float) -> None:
        """Flush one connection, held or not; one that is gone already is left alone."""
        if conn.alive:
            self._destroy(conn, conn.state_name, now)

    def flush(self, zone: int | None = None) -> int:
        """Forget all connections of a zone, or of all zones; returns how many.

        None of them is known any more when this returns. They are destroyed, each with its event,
        by the next calls of `expire`, within the budget of each.
        """
        self.helpers.expectations.flush(zone)
        return self._connections.flush(zone)

    @property
    def flushing(self) -> bool:
        """Are there flushed connections that were not destroyed yet?"""
        return self._connections.flushing

    def set_mark(self, conn: Connection, mark: int, label: int, now: float) -> None:
        """Give a connection another mark (32 bits) and label (128 bits)."""
        if (mark, label) == (conn.mark, conn.label):
            return
        conn.mark, conn.label = mark, label
        if self.on_event is not None:
            self.on_event(Event.MARK, conn, now)

    # --- offload ---------------------------------------------------------------------------

    def hold(self, conn: Connection, handle: object) -> None:
        """Offload begins: from now on the timer does not destroy it, nor is it evicted if answered.

        Both sides of a TCP connection turn liberal, and their windows are unknown until `release`;
        but not while they are watched (`TcpTrack.watched`).
        Raises ValueError for a connection that is gone.
        """
        if not conn.alive:
            raise ValueError(f"connection {conn.id} is gone; it cannot be offloaded")
        conn.offload = handle
        self._wheel.cancel(conn)
        if conn.queue is not None and conn.seen_reply:
            conn.queue.remove(conn)
        tcp = conn.tcp
        if tcp is not None and not tcp.watched:
            tcp.forget_windows()

    def release(self, conn: Connection, now: float, last_seen: float) -> None:
        """Offload ends. The connection lives until its timeout after the last packet anywhere.

        last_seen: when hardware last forwarded a packet of it; a later packet seen in software
        counts too. If the timeout after it is past, the next `expire` takes the connection. TCP
        sides whose windows were not watched stay liberal and learn them again
        (`flow_offload_fixup_tcp`); whether a SYN reopens it is as if it had never been away, for
        conntrack has seen each RST. Replied UDP gets the stream timeout (`flow_offload_fixup_ct`).
        """
        conn.offload = None
        if not conn.alive:
            return
        timeout = self._state_timeout(conn)
        if conn.proto == PROTO_UDP and conn.seen_reply:
            timeout = self.timeouts.of(conn.zone, conn.timeout_policy).udp_stream
        conn.timeout = timeout
        conn.expires = max(conn.expires, last_seen + timeout)
        self._wheel.cancel(conn)
        self._wheel.arm(conn)
        if conn.queue is None:
            conn.table.in_zone.enqueue(conn)
        tcp = conn.tcp
        if tcp is not None:
            if tcp.watched:
                tcp.watched = False
            else:
                tcp.forget_windows()

    def confirm(self, conn: Connection, now: float) -> None:
        """Packets of the original direction went by unseen since the SYN was answered.

        They carry the ACK of the handshake: a TCP connection in SYN_RECV is established, and any is
        assured. One that is gone stays as it ended: its DESTROY event is the last.
        """
        if not conn.alive:
            return
        old, assured = conn.protocol_state, conn.assured
        if conn.tcp is None or not conn.seen_reply or (assured and old is not TcpState.SYN_RECV):
            return
        if old is TcpState.SYN_RECV:
            conn.protocol_state = TcpState.ESTABLISHED
            conn.timeout = self._state_timeout(conn)
        conn.assured = True
        self._changed(conn, old, assured, now)

    def restore(
        self,
        zone: int,
        original: Tuple,
        reply: Tuple,
        state: TcpState | FlowState | None,
        mark: int,
        label: int,
        now: float,
        timeout_policy: str = "",
    ) -> Connection:
        """Bring back a connection that was offloaded before a restart: replied, assured, liberal.

        In SYN_RECV it is not assured. state None means ESTABLISHED for TCP, STREAM for UDP, REPLIED
        otherwise. A connection that is known already is returned as it is. Raises ConntrackFull,
        and TupleTaken if its answers belong to another connection.
        """
        known = self._connections.find(original, zone)
        if known is not None:
            return known[0]
        tcp = original.proto == PROTO_TCP
        if state is None:
            stream = FlowState.STREAM if original.proto == PROTO_UDP else FlowState.REPLIED
            state = TcpState.ESTABLISHED if tcp else stream
        if isinstance(state, TcpState) is not tcp:
            raise ValueError(f"{state!r} is no state of IP protocol {original.proto}")
        if self._connections.find(reply, zone) is not None:
            raise TupleTaken(f"a connection with {reply} is there already")
        nat = nat_bits(original, reply)
        conn = self._new_connection(zone, original, reply, state, now, nat, timeout_policy)
        conn.mark = mark
        conn.label = label
        conn.seen_reply, conn.assured = True, state is not TcpState.SYN_RECV
        if tcp:
            closing = CLOSE_INIT if state in CLOSING else 0
            conn.tcp = TcpTrack(SACK_PERM | BE_LIBERAL | closing)
        conn.timeout = self._state_timeout(conn)
        conn.expires = now + conn.timeout
        self._insert(conn, now)
        return conn

    def load(self, saved: Saved, now: float) -> bool:
        """Take in a connection of another table, with its state, timer and counters.

        TCP windows are unknown: both sides are liberal, and learned again; so are SCTP tags. False,
        and nothing is changed, if one of its tuples belongs to a connection that is known. Raises
        ConntrackFull.
        """
        zone = saved.zone
        if any(self._connections.find(own, zone) for own in (saved.original, saved.reply)):
            return False
        original, reply = saved.original, saved.reply
        nat = nat_bits(original, reply)
        conn = self._new_connection(
            zone, original, reply, saved.state, now, nat, saved.timeout_policy
        )
        conn.mark = saved.mark
        conn.label = saved.label
        conn.seen_reply, conn.assured = saved.seen_reply, saved.assured
        if isinstance(saved.state, TcpState):
            closing = CLOSE_INIT if saved.state in CLOSING else 0
            conn.tcp = TcpTrack(SACK_PERM | BE_LIBERAL | closing)
        elif isinstance(saved.state, SctpState):
            conn.sctp = SctpTrack()
            conn.sctp.learn = [True, True]
        conn.timeout = self._state_timeout(conn)
        conn.expires = now + saved.left
        self._working.unpack(conn).start = now - saved.age
        conn.set_software(saved.packets, saved.octets)
        self._insert(conn, now)
        return True

    # --- inside ----------------------------------------------------------------------------

    def _new_connection(
        self,
        zone: int,
        original: Tuple,
        reply: Tuple,
        state: ProtocolState,
        now: float,
        nat: int = 0,
        timeout_policy: str = "",
    ) -> Connection:
        self._last_id += 1
        table = self._connections.table(zone, original.version, original.proto)
        make = connection_class(nat, timeout_policy)
        return make(self._last_id, table, original.key(), reply.key(), state, now)

    def _insert(self, conn: Connection, now: float) -> None:
        """Make a connection known and start its timer; raises ConntrackFull."""
        limits = self.limits.for_zone(conn.zone)
        try:
            for oldest in in_the_way(
                self._connections, conn, limits, self.max_connections, self.max_unreplied
            ):
                self.stats["early_drop"] += 1
                self._destroy(oldest, oldest.state_name, now)
        except ConntrackFull as full:
            self.stats[full.counted_as] += 1
            raise
        self._connections.insert(conn)
        zone = conn.table.in_zone
        zone.enqueue(conn)
        if zone.sources is None and limits.per_source is not None:
            zone.sources = SourceCounts(since=conn.id)
        if zone.sources is not None:
            zone.sources.add(conn.source)
        self._wheel.arm(conn)
        if isinstance(conn.numbers, Numbers):
            self._working.enter(conn, conn.numbers)
        if self.on_event is not None:
            self.on_event(Event.NEW, conn, now)

    def _destroy(self, conn: Connection, counted_as: str, now: float) -> None:
        """Forget a connection; counted_as: the state it was last counted under."""
        self._connections.remove(conn, counted_as)
        self._end(conn, now)

    def _end(self, conn: Connection, now: float) -> None:
        """A connection is in no table any more."""
        self._wheel.cancel(conn)
        if conn.queue is not None:
            conn.queue.remove(conn)
        sources = conn.table.in_zone.sources
        if sources is not None and conn.id >= sources.since:
            sources.remove(conn.source)
        self._working.leave(conn)
        self.helpers.ended(conn)
        conn.position = -1
        if self.on_event is not None:
            self.on_event(Event.DESTROY, conn, now)

    def _changed(self, conn: Connection, old: ProtocolState, was_assured: bool, now: float) -> None:
        """A packet changed the state, brought the first reply, or made the connection assured."""
        if conn.protocol_state is not old:
            conn.table.change_state(old.name, conn.state_name)
        zone, queue = conn.table.in_zone, conn.queue
        if queue is not None and (conn.assured or (queue is zone.unreplied and conn.seen_reply)):
            queue.remove(conn)
            if conn.offload is None:
                zone.enqueue(conn)
        if self.on_event is not None:
            self.on_event(Event.UPDATE, conn, now)
            if conn.assured and not was_assured:
                self.on_event(Event.ASSURED, conn, now)

    def _rearm(self, conn: Connection) -> None:
        """The connection now expires before the wheel would look at it."""
        self._wheel.cancel(conn)
        self._wheel.arm(conn)

    def _state_timeout(self, conn: Connection) -> float:
        """Seconds that the state of the connection gives it."""
        timeouts = self.timeouts.of(conn.zone, conn.timeout_policy)
        state = conn.protocol_state
        if isinstance(state, TcpState):
            return timeouts.tcp[state]
        if isinstance(state, SctpState):
            return timeouts.sctp[state]
        if state is FlowState.STREAM:
            return timeouts.udp_stream if conn.proto == PROTO_UDP else timeouts.gre_stream
        return timeouts.of_protocol(conn.version, conn.proto)


_Wanted = tuple[bytes | None, bytes | None, int | None, int | None]


def _fits(wanted: _Wanted, actual: Tuple) -> bool:
    src, dst, sport, dport = wanted
    return (
        (src is None or src == actual.src)
        and (dst is None or dst == actual.dst)
        and (sport is None or sport == actual.sport)
        and (dport is None or dport == actual.dport)
    )

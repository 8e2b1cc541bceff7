# SPDX-License-Identifier: Apache-2.0
"""The connection tracker alone, one core: packets, connections, memory, and its longest pauses.

Packets are made before the clock starts, or from one template, so that neither parsing nor building
frames is in any figure, nor are L4 checksums, which a NIC has checked.  Imports p4ct, because no
process shows from outside what conntrack costs.
"""

from __future__ import annotations

import copy
import gc
import random
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from p4ct.conntrack import Connection, Event, Tracker
from p4ct.daemon.collector import Collector
from p4ct.packet.build import tcp_frame
from p4ct.packet.parse import Packet, parse

from bench.measure import BenchFailed, Measured, Run, Setting

TITLE = "conntrack alone, one core"
FIN, SYN, ACK, PSH = 1, 2, 16, 8
DATA = 100
DPORT = 443
SERVER = bytes([192, 0, 2, 1])
ZONE = 1
#: The zone that is flushed while others live has this share of the connections: 1 in so many.
FLUSHED_ZONE, SHARE = 2, 4
#: Connections of one client address, and its first port.
PER_CLIENT, FIRST_PORT = 16, 1024
#: Numbers of connections that come and go start here.
PASSING = 1 << 24
#: Seconds between two connections while the table is filled: each has times of its own.
GAP = 1e-4
#: Budget of a tick; that of the daemon.
BUDGET = 500

PAUSE = "longest pause"
T = TypeVar("T")


class Traffic:
    """Packets of TCP connections that are told apart by a number."""

    def __init__(self) -> None:
        self._templates: dict[tuple[bool, int, int], Packet] = {}

    def packet(
        self, number: int, to_server: bool, flags: int, sent: int, got: int, data: int = 0
    ) -> Packet:
        """A segment; `sent` and `got`: what its sender has sent and seen of the other, in bytes.

        The same object is used again for the next packet of this kind.
        """
        kind = (to_server, flags, data)
        pkt = self._templates.get(kind)
        if pkt is None:
            frame = tcp_frame(
                src="192.0.2.1",
                dst="192.0.2.1",
                sport=DPORT,
                dport=DPORT,
                flags=flags,
                window=60000,
                payload=bytes(data),
            )
            pkt = self._templates[kind] = parse(frame)
            pkt.checked = True  # by the NIC; and only the fields change, not the frame
        client = (0x0A000000 + number // PER_CLIENT).to_bytes(4, "big")
        port = FIRST_PORT + number % PER_CLIENT
        numbers = number * 2654435761, number * 2246822519  # of the two sides, spread out
        if to_server:
            pkt.src, pkt.dst, pkt.sport, pkt.dport = client, SERVER, port, DPORT
        else:
            pkt.src, pkt.dst, pkt.sport, pkt.dport = SERVER, client, DPORT, port
        own, other = numbers if to_server else (numbers[1], numbers[0])
        pkt.seq = own + sent & 0xFFFFFFFF
        pkt.ack = other + got & 0xFFFFFFFF if flags & ACK else 0
        return pkt

    def opening(self, number: int) -> Iterator[Packet]:
        """The handshake, and data both ways, acknowledged."""
        yield self.packet(number, True, SYN, 0, 0)
        yield self.packet(number, False, SYN | ACK, 0, 1)
        yield self.packet(number, True, ACK, 1, 1)
        yield from self.data(number)
        yield self.packet(number, True, ACK, 1 + DATA, 1 + DATA)

    def data(self, number: int) -> Iterator[Packet]:
        """A segment each way; they may come any number of times."""
        yield self.packet(number, True, PSH | ACK, 1, 1, DATA)
        yield self.packet(number, False, PSH | ACK, 1, 1 + DATA, DATA)

    def life(self, number: int) -> Iterator[Packet]:
        """Handshake and close, without data: seven packets."""
        yield self.packet(number, True, SYN, 0, 0)
        yield self.packet(number, False, SYN | ACK, 0, 1)
        yield self.packet(number, True, ACK, 1, 1)
        yield self.packet(number, True, FIN | ACK, 1, 1)
        yield self.packet(number, False, ACK, 1, 2)
        yield self.packet(number, False, FIN | ACK, 1, 2)
        yield self.packet(number, True, ACK, 2, 2)


class Pauses:
    """The longest that each kind of operation has taken, in CPU time."""

    def __init__(self) -> None:
        self.longest: dict[str, float] = {}

    def take(self, name: str, seconds: float) -> None:
        """Note one operation."""
        if seconds > self.longest.get(name, 0.0):
            self.longest[name] = seconds

    def timed(self, name: str, work: Callable[[], T]) -> T:
        """Carry out and note one operation."""
        start = time.thread_time()
        result = work()
        self.take(name, time.thread_time() - start)
        return result


class Bench:
    """A tracker with its garbage collector, as in the controller."""

    def __init__(self, room: int) -> None:
        self.tracker = Tracker(max_connections=room)
        self._collector = Collector(lambda: len(self.tracker))
        self._collector.start()
        self.tracker.on_event = self._event
        self.traffic = Traffic()
        self.now = 1000.0

    def _event(self, event: Event, connection: Connection, now: float) -> None:
        if event is Event.NEW:
            self._collector.connection_made()

    def end(self) -> None:
        """The next one begins with nothing frozen."""
        self._collector.stop()
        gc.unfreeze()

    def punt(self, pkt: Packet, zone: int = ZONE) -> None:
        """ct(commit)."""
        result = self.tracker.track(pkt, zone, self.now)
        if result.connection is None:
            self.tracker.commit(result, pkt, self.now)

    def expect(self, live: int) -> None:
        """Every packet was valid, and so many connections live."""
        invalid = self.tracker.stats["invalid"]
        if invalid or len(self.tracker) != live:
            raise BenchFailed(
                f"{len(self.tracker)} connections live instead of {live}, {invalid} packets invalid"
            )

    def fill(self, live: int, pauses: Pauses) -> None:
        """Open connections, one in SHARE of them in the zone that is flushed later."""
        for number in range(live):
            self.now += GAP
            self._take(self.traffic.opening(number), number, pauses, "packet")

    def use(self, number: int, pauses: Pauses) -> None:
        """Data on a connection that is open."""
        self._take(self.traffic.data(number), number, pauses, "established packet")

    def _take(self, packets: Iterator[Packet], number: int, pauses: Pauses, name: str) -> None:
        zone = ZONE if number % SHARE else FLUSHED_ZONE
        for pkt in packets:
            start = time.thread_time()
            self.punt(pkt, zone)
            pauses.take(name, time.thread_time() - start)


def resident() -> int:
    """Bytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def packets_and_connections(run: Run, measured: Measured) -> None:
    """Rates, with a table of moderate size."""
    live, passing, rounds = run.pick(100_000, 5_000), run.pick(5_000, 500), run.pick(7, 3)
    run.progress(f"making {live} connections")
    bench = Bench(2 * (live + passing))
    bench.fill(live, Pauses())
    numbers = [number for number in range(live) if number % SHARE]
    packets = [copy.copy(pkt) for number in numbers for pkt in bench.traffic.data(number)]
    # Packets of one connection are far apart, as they are when many send at a time.
    random.Random(1).shuffle(packets)
    lives = [copy.copy(p) for n in range(passing) for p in bench.traffic.life(PASSING + n)]
    for number in range(1, rounds + 1):
        run.progress(f"round {number} of {rounds}")
        track, now = bench.tracker.track, bench.now
        start = time.process_time()
        for pkt in packets:
            track(pkt, ZONE, now)
        seconds = time.process_time() - start
        measured.add("packets", "established TCP", "packets/s", len(packets) / seconds)
        start = time.process_time()
        for pkt in lives:
            bench.punt(pkt)
        seconds = time.process_time() - start
        measured.add(
            "connections", "opened and closed, seven packets", "connections/s", passing / seconds
        )
        bench.expect(live + passing)
        bench.now += 121.0  # longer than TIME_WAIT
        while len(bench.tracker) > live:
            bench.tracker.expire(bench.now, BUDGET)
    bench.end()


def tick(bench: Bench, pauses: Pauses, name: str) -> float:
    """CPU seconds of one tick in which nothing expires."""
    start = time.thread_time()
    expired = bench.tracker.expire(bench.now, BUDGET)
    seconds = time.thread_time() - start
    pauses.take(name, seconds)
    if expired:
        raise BenchFailed(f"{len(expired)} connections expired that should live")
    return seconds


def memory_and_pauses(run: Run, measured: Measured) -> None:
    """A table of a million, filled, used, listed, counted, left alone and flushed."""
    live, pauses = run.pick(1_000_000, 20_000), Pauses()
    run.progress(f"making {live} connections")
    before = resident()
    bench = Bench(2 * live)
    bench.fill(live, pauses)
    bench.expect(live)
    measured.add("memory", "one connection", "bytes", (resident() - before) / live)
    tracker = bench.tracker

    run.progress("packets of connections in random order")
    order = random.Random(1)
    for _ in range(run.pick(300_000, 5_000)):
        bench.use(order.randrange(live), pauses)

    run.progress("ticks")
    for _ in range(1000):
        bench.now += 1.0
        while (deadline := tracker.next_deadline()) is not None and deadline <= bench.now:
            tick(bench, pauses, "tick that moves timers")
        measured.add("nothing expires", "timer tick", "us", tick(bench, pauses, "tick") * 1e6)
    bench.expect(live)

    run.progress("listing, counting, flushing")
    found = 0
    portions = tracker.portions()
    while (portion := pauses.timed("portion of a list", lambda: next(portions, None))) is not None:
        found += len(portion)
    if found != live:
        raise BenchFailed(f"{found} connections were listed of {live}")
    pauses.timed("counts", lambda: (tracker.by_zone, tracker.by_protocol, tracker.by_state))
    flushed = pauses.timed("flush of a zone", lambda: tracker.flush(FLUSHED_ZONE))
    flushed += pauses.timed("flush of a zone", lambda: tracker.flush(ZONE))
    if flushed != live or len(tracker):
        raise BenchFailed(f"{flushed} connections were flushed, {len(tracker)} are left of {live}")
    while tracker.flushing:
        pauses.timed("tick that destroys", lambda: tracker.expire(bench.now, BUDGET))
    for name, seconds in pauses.longest.items():
        measured.add(PAUSE, name, "ms", seconds * 1e3)
    bench.end()


def measure(run: Run) -> Measured:
    """The large table first, so that all its memory is new; then rates."""
    settings: dict[str, Setting] = {
        "live_connections": run.pick(100_000, 5_000),
        "large_table": run.pick(1_000_000, 20_000),
        "budget_of_a_tick": BUDGET,
        "clock": "CPU time",
    }
    measured = Measured(settings, bases=())
    for part in (memory_and_pauses, packets_and_connections):
        part(run, measured)
        gc.collect()
    return measured

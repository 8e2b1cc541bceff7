# SPDX-License-Identifier: Apache-2.0
"""Wire: two hosts talking through a tracker, with a clock that only the test moves."""

from __future__ import annotations

import pytest
from p4ct.conntrack import (
    Connection,
    CtResult,
    CtState,
    Direction,
    Event,
    Timeouts,
    Tracker,
)
from p4ct.packet import Packet, parse
from p4ct.packet.build import icmp_echo_frame, ip_frame, sctp_frame, tcp_frame, udp_frame

FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16, "U": 32, "E": 64, "C": 128}
ORIG, REPLY = Direction.ORIGINAL, Direction.REPLY


class Wire:
    """Sends packets between a client (ORIG) and a server (REPLY) through `tracker`.

    TCP sequence numbers follow by themselves: `next[d]` is what direction d sends next; `seq` and
    `ack` override. isn: 1000 and 5000. Time is `now`, moved only by tests. +new is committed unless
    `commit` is turned off.
    """

    def __init__(self, tracker: Tracker, v6: bool = False, zone: int = 0) -> None:
        self.tracker = tracker
        self.hosts = ("fd00::1", "fd00::2") if v6 else ("10.0.0.1", "10.0.0.2")
        self.ports = (40000, 80)
        self.zone = zone
        self.now = 1000.0
        self.isn = [1000, 5000]
        self.next = [1000, 5000]
        self.commit = True
        self.events: list[tuple[Event, Connection]] = []
        tracker.on_event = lambda event, conn, _: self.events.append((event, conn))

    def ends(self, direction: int) -> dict[str, str]:
        return {"src": self.hosts[direction], "dst": self.hosts[1 - direction]}

    def tcp_packet(
        self,
        direction: int,
        flags: str,
        *,
        seq: int | None = None,
        ack: int | None = None,
        win: int = 8192,
        data: int = 0,
        options: bytes = b"",
    ) -> Packet:
        if seq is None:
            seq = self.isn[direction] if "S" in flags else self.next[direction]
        if ack is None:
            ack = self.next[1 - direction] if "A" in flags else 0
        length = data + ("S" in flags) + ("F" in flags)
        if (seq + length - self.next[direction]) & 0xFFFFFFFF < 0x80000000:
            self.next[direction] = (seq + length) & 0xFFFFFFFF
        frame = tcp_frame(
            **self.ends(direction),
            sport=self.ports[direction],
            dport=self.ports[1 - direction],
            seq=seq,
            ack=ack,
            flags=sum(FLAGS[flag] for flag in flags),
            window=win,
            options=options,
            payload=bytes(data),
        )
        return parse(frame)

    def pass_packet(self, pkt: Packet) -> CtResult:
        assert pkt.error == ""
        result = self.tracker.track(pkt, self.zone, self.now)
        if self.commit and result.state & CtState.NEW and result.connection is None:
            self.tracker.commit(result, pkt, self.now)
        return result

    def tcp(self, direction: int, flags: str, **fields: int | bytes | None) -> CtResult:
        return self.pass_packet(self.tcp_packet(direction, flags, **fields))  # type: ignore[arg-type]

    def udp(self, direction: int, data: int = 4) -> CtResult:
        frame = udp_frame(
            **self.ends(direction),
            sport=self.ports[direction],
            dport=self.ports[1 - direction],
            payload=bytes(data),
        )
        return self.pass_packet(parse(frame))

    def ping(self, direction: int, *, reply: bool = False, identifier: int = 7) -> CtResult:
        frame = icmp_echo_frame(**self.ends(direction), identifier=identifier, reply=reply)
        return self.pass_packet(parse(frame))

    def sctp(self, direction: int, vtag: int, *chunks: bytes) -> CtResult:
        """chunks: ready ones, see `chunk`."""
        frame = sctp_frame(
            **self.ends(direction),
            sport=self.ports[direction],
            dport=self.ports[1 - direction],
            vtag=vtag,
            chunks=b"".join(chunks),
        )
        return self.pass_packet(parse(frame))

    def ip(self, direction: int, proto: int, payload: bytes = bytes(8)) -> CtResult:
        frame = ip_frame(**self.ends(direction), proto=proto, payload=payload)
        return self.pass_packet(parse(frame))

    def handshake(self) -> Connection:
        """A real three-way handshake; the connection is ESTABLISHED and assured after it."""
        for direction, flags in ((ORIG, "S"), (REPLY, "SA"), (ORIG, "A")):
            self.tcp(direction, flags)
        return self.conn

    @property
    def conn(self) -> Connection:
        """The only connection there is."""
        (conn,) = self.tracker.select()
        return conn

    def event_names(self) -> list[str]:
        return [event.name for event, _ in self.events]

    def drain(self) -> None:
        """Let all timers run out."""
        while (deadline := self.tracker.next_deadline()) is not None:
            self.now = max(self.now, deadline)
            self.tracker.expire(self.now)


@pytest.fixture(params=[False, True], ids=["v4", "v6"])
def wire(request: pytest.FixtureRequest) -> Wire:
    return Wire(Tracker(Timeouts(), max_connections=1000), v6=request.param)


@pytest.fixture
def make_wire() -> type[Wire]:
    """To make one with another tracker."""
    return Wire

# SPDX-License-Identifier: Apache-2.0
"""FTP and TFTP: what is expected, who comes of it, and when nothing does."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from p4ct.conntrack import (
    Connection,
    ConntrackFull,
    CtResult,
    CtState,
    Direction,
    Timeouts,
    Tracker,
)
from p4ct.packet import Packet, parse
from p4ct.packet.build import tcp_frame, udp_frame

ORIG, REPLY = Direction.ORIGINAL, Direction.REPLY
TRK, NEW, EST, REL, RPL = CtState.TRK, CtState.NEW, CtState.EST, CtState.REL, CtState.RPL
ADDRESSES = {4: ("10.0.0.1", "10.0.0.3", "10.0.0.9"), 6: ("fd00::1", "fd00::3", "fd00::9")}
SYN, ACK, FIN, RST = 2, 16, 1, 4


@dataclass
class Control:
    """An FTP control connection between client (0) and server (1), through a tracker."""

    tracker: Tracker
    version: int = 4
    zone: int = 3
    now: float = 1000.0
    alg: str = "ftp"
    sport: int = 40000

    def __post_init__(self) -> None:
        self.next = [100, 900]
        self.ports = (self.sport, 21)
        self.send(0, SYN)
        self.send(1, SYN | ACK)
        self.send(0, ACK)
        self.say(1, b"220 ready\r\n")
        self.say(0, b"USER x\r\n")
        self.say(1, b"230 welcome\r\n")

    def pass_packet(self, pkt: Packet, *, commit: bool = True, alg: str = "") -> CtResult:
        assert pkt.error == ""
        result = self.tracker.track(pkt, self.zone, self.now)
        if commit and result.state & NEW and result.connection is None:
            self.tracker.commit(result, pkt, self.now, alg=alg)
        return result

    def segment(self, side: int, flags: int, payload: bytes = b"") -> Packet:
        addresses = ADDRESSES[self.version]
        frame = tcp_frame(
            src=addresses[side], dst=addresses[1 - side], sport=self.ports[side],
            dport=self.ports[1 - side], seq=self.next[side],
            ack=self.next[1 - side] if flags & ACK else 0, flags=flags, payload=payload,
        )  # fmt: skip
        return parse(frame)

    def send(self, side: int, flags: int, payload: bytes = b"") -> CtResult:
        pkt = self.segment(side, flags, payload)
        used = len(payload) + bool(flags & SYN) + bool(flags & FIN)
        self.next[side] = (self.next[side] + used) & 0xFFFFFFFF
        return self.pass_packet(pkt, alg=self.alg)

    def say(self, side: int, line: bytes) -> None:
        self.send(side, ACK, line)
        self.send(1 - side, ACK)

    def data(
        self, source: int, target: int, sport: int, dport: int, flags: int = SYN, *,
        commit: bool = True, zone: int | None = None,
    ) -> CtResult:  # fmt: skip
        addresses = ADDRESSES[self.version]
        pkt = parse(
            tcp_frame(
                src=addresses[source], dst=addresses[target], sport=sport, dport=dport,
                seq=7, ack=0 if flags == SYN else 8, flags=flags,
            )
        )  # fmt: skip
        keep, self.zone = self.zone, self.zone if zone is None else zone
        try:
            return self.pass_packet(pkt, commit=commit)
        finally:
            self.zone = keep

    @property
    def connection(self) -> Connection:
        (found,) = [c for c in self.tracker.select() if c.original.sport == self.sport]
        return found

    @property
    def expected(self) -> list[tuple[object, ...]]:
        return [tuple(e.tuple) for e in self.tracker.helpers.expectations.list()]


def line_of(kind: str, version: int, port: int, who: int) -> bytes:
    address = ADDRESSES[version][who]
    if kind in ("PORT", "227"):
        numbers = ",".join((*address.split("."), str(port >> 8), str(port & 255)))
        text = f"PORT {numbers}\r\n" if kind == "PORT" else f"227 Passive ({numbers}).\r\n"
        return text.encode()
    if kind == "EPRT":
        return f"EPRT |{1 if version == 4 else 2}|{address}|{port}|\r\n".encode()
    return f"229 Extended passive (|||{port}|)\r\n".encode()


KINDS = [("PORT", 4), ("EPRT", 4), ("EPRT", 6), ("227", 4), ("229", 4), ("229", 6)]


@pytest.mark.parametrize(("kind", "version"), KINDS)
def test_the_data_connection_is_related(kind: str, version: int) -> None:
    control = Control(Tracker(), version)
    active = kind in ("PORT", "EPRT")
    server, client = (1, 0) if active else (0, 1)  # of the data connection, who calls whom
    control.connection.mark, control.connection.label = 0x77, 1 << 100
    assert control.data(server, client, 20, 30000, commit=False).state == TRK | NEW
    control.say(0 if active else 1, line_of(kind, version, 30000, 0 if active else 1))
    assert len(control.expected) == 1
    # Nobody else, no other port, no other zone; and a question changes nothing.
    assert control.data(2, client, 20, 30000, commit=False).state == TRK | NEW
    assert control.data(server, client, 20, 30001, commit=False).state == TRK | NEW
    assert control.data(server, client, 20, 30000, commit=False, zone=4).state == TRK | NEW
    for _ in range(2):
        assert control.data(server, client, 20, 30000, commit=False).state == TRK | NEW | REL
    first = control.data(server, client, 20, 30000)
    assert first.state == TRK | NEW | REL
    assert first.connection is not None
    assert (first.connection.mark, first.connection.label) == (0x77, 1 << 100)
    assert first.connection.helper == ""
    assert control.expected == []
    # It stays related, and one of its kind only was expected.
    again = control.data(client, server, 30000, 20, SYN | ACK)
    assert again.state == TRK | EST | RPL | REL
    assert control.data(server, client, 20, 30000, ACK).state == TRK | EST | REL
    assert control.data(server, client, 21, 30000, commit=False).state == TRK | NEW
    pkt = parse(
        tcp_frame(
            src=ADDRESSES[version][server], dst=ADDRESSES[version][client], sport=20, dport=30000,
            seq=8, ack=8, flags=ACK,
        )
    )  # fmt: skip
    assert control.tracker.peek(pkt, control.zone, control.now).state == TRK | EST | REL
    assert control.tracker.stats["expected"] == 1


def test_without_a_helper_nothing_is_read() -> None:
    control = Control(Tracker(), alg="")
    control.say(0, line_of("PORT", 4, 30000, 0))
    assert control.expected == []
    assert control.connection.helper == ""


@pytest.mark.parametrize("alg", ["tftp"])
def test_a_helper_of_another_protocol_does_nothing(alg: str) -> None:
    control = Control(Tracker(), alg=alg)
    control.say(0, line_of("PORT", 4, 30000, 0))
    assert control.expected == []
    assert control.connection.helper == ""


def test_a_third_host_is_not_let_in() -> None:
    control = Control(Tracker())
    control.say(0, line_of("PORT", 4, 30000, 2))
    control.say(1, line_of("227", 4, 30000, 2))
    assert control.expected == []
    assert control.tracker.stats["helper_foreign_address"] == 2


def test_only_beginnings_of_lines_are_read() -> None:
    control = Control(Tracker())
    control.say(0, b"STOR file named ")
    control.say(0, line_of("PORT", 4, 30000, 0))
    assert control.expected == []
    control.say(0, line_of("PORT", 4, 30000, 0))
    assert len(control.expected) == 1


def test_a_new_announcement_takes_the_place_of_the_former() -> None:
    control = Control(Tracker())
    for port in (30000, 30001):
        control.say(1, line_of("229", 4, port, 1))
    assert [wanted[-1] for wanted in control.expected] == [30001]
    # The same one again is waited for anew.
    control.now += 200
    control.say(1, line_of("229", 4, 30001, 1))
    control.now += 200
    assert control.data(0, 1, 5, 30001, commit=False).state & REL


def test_an_expectation_has_its_time() -> None:
    control = Control(Tracker())
    control.say(1, line_of("229", 4, 30000, 1))
    assert control.tracker.next_deadline() is not None
    control.now += 300
    assert control.data(0, 1, 5, 30000, commit=False).state == TRK | NEW
    control.tracker.expire(control.now)
    assert control.expected == []
    assert control.tracker.stats["expectation_expired"] == 1


@pytest.mark.parametrize("end", ["flushed", "reset", "expired"])
def test_it_ends_with_its_parent(end: str) -> None:
    tracker = Tracker(Timeouts(tcp_close=10, tcp_established=50))
    control = Control(tracker)
    control.say(1, line_of("229", 4, 30000, 1))
    if end == "flushed":
        tracker.remove(control.connection, control.now)
    elif end == "reset":
        control.send(0, RST | ACK)
        tracker.expire(control.now + 11)
    else:
        tracker.expire(control.now + 51)
    assert control.expected == []
    assert len(tracker) == 0
    assert tracker.next_deadline() is None


@pytest.mark.parametrize("zone", [None, 3, 4])
def test_a_flushed_zone_expects_nothing_any_more(zone: int | None) -> None:
    control = Control(Tracker())
    control.say(1, line_of("229", 4, 30000, 1))
    control.tracker.flush(zone)
    assert len(control.expected) == (zone == 4)


def test_a_data_connection_outlives_its_control_connection() -> None:
    control = Control(Tracker())
    control.say(1, line_of("229", 4, 30000, 1))
    control.data(0, 1, 5, 30000)
    control.tracker.remove(control.connection, control.now)
    assert control.data(1, 0, 30000, 5, SYN | ACK).state == TRK | EST | RPL | REL


def test_another_parent_does_not_take_an_expectation_away() -> None:
    tracker = Tracker()
    Control(tracker).say(1, line_of("229", 4, 30000, 1))
    second = Control(tracker, sport=40001)
    second.say(1, line_of("229", 4, 30000, 1))
    assert len(second.expected) == 1
    assert tracker.stats["expectation_refused"] == 1
    second.say(1, line_of("229", 4, 30001, 1))
    assert len(second.expected) == 2


def test_the_number_of_expectations_is_limited() -> None:
    tracker = Tracker(max_expectations=3)
    for number in range(5):
        Control(tracker, sport=40000 + number).say(1, line_of("229", 4, 30000 + number, 1))
    assert len(tracker.helpers.expectations) == 3
    assert tracker.stats["expectation_refused"] == 2


def test_a_full_table_leaves_the_expectation() -> None:
    tracker = Tracker(max_connections=1)
    control = Control(tracker)
    control.say(1, line_of("229", 4, 30000, 1))
    with pytest.raises(ConntrackFull):
        control.data(0, 1, 5, 30000)
    assert len(control.expected) == 1


def tftp(tracker: Tracker, source: int, target: int, sport: int, dport: int, data: bytes,
         now: float = 1.0) -> CtResult:  # fmt: skip
    addresses = ADDRESSES[4]
    pkt = parse(
        udp_frame(
            src=addresses[source], dst=addresses[target], sport=sport, dport=dport, payload=data
        )
    )
    result = tracker.track(pkt, 0, now)
    if result.state & NEW and result.connection is None:
        tracker.commit(result, pkt, now, alg="tftp" if dport == 69 else "")
    return result


def test_tftp_answers_from_another_port() -> None:
    tracker = Tracker()
    request = tftp(tracker, 0, 1, 5000, 69, b"\0\1file\0octet\0")
    assert request.connection is not None
    assert request.connection.helper == "tftp"
    request.connection.mark = 9
    answer = tftp(tracker, 1, 0, 33333, 5000, b"\0\3\0\1data")
    assert answer.state == TRK | NEW | REL
    assert answer.connection is not None
    assert answer.connection.mark == 9
    assert tftp(tracker, 0, 1, 5000, 33333, b"\0\4\0\1").state == TRK | EST | RPL | REL
    assert tftp(tracker, 1, 0, 33334, 5000, b"\0\3\0\1").state == TRK | NEW
    # The same client asks for another file.
    tftp(tracker, 0, 1, 5000, 69, b"\0\2file\0octet\0")
    assert tftp(tracker, 1, 0, 33335, 5000, b"\0\4\0\0").state == TRK | NEW | REL


def test_tftp_reads_requests_only() -> None:
    tracker = Tracker()
    tftp(tracker, 0, 1, 5000, 69, b"\0\3\0\1data")
    tftp(tracker, 0, 1, 5000, 69, b"")
    assert len(tracker.helpers.expectations) == 0

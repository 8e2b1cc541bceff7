# SPDX-License-Identifier: Apache-2.0
"""What the offload manager relies on: hold, release, restore, and packets that come meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
from p4ct.conntrack import (
    ConntrackFull,
    CtState,
    Direction,
    Event,
    FlowState,
    TcpState,
    Timeouts,
    Tracker,
    Tuple,
    conntrack_line,
)

ORIG, REPLY = Direction.ORIGINAL, Direction.REPLY
EST = CtState.TRK | CtState.EST
HANDLE = object()


def test_held_is_never_expired(wire: Any) -> None:
    conn = wire.handshake()
    wire.tracker.hold(conn, HANDLE)
    assert conn.offload is HANDLE
    assert wire.tracker.next_deadline() is None
    assert wire.tracker.expire(wire.now + 1e7) == []
    wire.now += 1e7
    assert wire.tcp(ORIG, "A").state == EST
    assert wire.conn is conn


def test_held_and_closing_is_not_expired_either(wire: Any) -> None:
    conn = wire.handshake()
    wire.tracker.hold(conn, HANDLE)
    wire.tcp(ORIG, "FA")
    assert (conn.state_name, conn.timeout, conn.expires) == ("FIN_WAIT", 120, wire.now + 120)
    assert wire.tracker.expire(wire.now + 1000) == []
    wire.now += 1000
    wire.tcp(REPLY, "FA")
    assert conn.state_name == "LAST_ACK"


def test_release_continues_from_the_last_packet_in_hardware(wire: Any) -> None:
    conn = wire.handshake()
    wire.tracker.hold(conn, HANDLE)
    wire.now += 5000
    wire.tracker.release(conn, wire.now, last_seen=wire.now - 100)
    assert conn.offload is None
    assert conn.expires == wire.now - 100 + 432000
    assert wire.tracker.expire(conn.expires - 1) == []
    assert wire.tracker.expire(conn.expires) == [conn]


def test_release_of_what_is_long_idle_expires_next(wire: Any) -> None:
    wire.udp(ORIG)
    wire.udp(REPLY)
    conn = wire.conn
    wire.tracker.hold(conn, HANDLE)
    seen = wire.now + 10
    wire.now += 1000
    wire.tracker.release(conn, wire.now, last_seen=seen)
    assert conn.expires == seen + 120  # replied UDP: the stream timeout
    assert wire.tracker.expire(wire.now) == [conn]


def test_release_counts_packets_seen_in_software_too(wire: Any) -> None:
    conn = wire.handshake()
    wire.tracker.hold(conn, HANDLE)
    wire.now += 50
    wire.tcp(ORIG, "FA")
    wire.tracker.release(conn, wire.now, last_seen=wire.now - 40)
    assert conn.expires == wire.now + 120


def test_windows_are_learned_again_after_release(wire: Any) -> None:
    conn = wire.handshake()
    wire.tracker.hold(conn, HANDLE)
    wire.tracker.release(conn, wire.now, wire.now)
    # a gigabyte went through hardware
    wire.next = [1001 + (1 << 30), 5001 + (1 << 30)]
    assert wire.tcp(ORIG, "A", data=100).state == EST
    assert wire.tcp(REPLY, "A").state == EST | CtState.RPL
    assert conn.tcp.sides[0].end == 1101 + (1 << 30)
    assert conn.expires == wire.now + 432000


@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("advance", [0, 1 << 30, 3 << 30])
def test_rst_is_believed_when_windows_are_unknown(wire: Any, released: bool, advance: int) -> None:
    conn = wire.handshake()
    wire.tcp(ORIG, "A", data=100)
    wire.tcp(REPLY, "A")
    wire.tracker.hold(conn, HANDLE)
    wire.tcp(REPLY, "A", seq=5001)  # a straggler teaches nothing while held
    if released:
        wire.tracker.release(conn, wire.now, wire.now)
    wire.next[0] = (1101 + advance) & 0xFFFFFFFF
    assert wire.tcp(ORIG, "R").state == EST
    assert conn.state_name == "CLOSE"


def test_any_numbers_pass_while_held_but_states_apply(wire: Any) -> None:
    conn = wire.handshake()
    wire.tracker.hold(conn, HANDLE)
    assert wire.tcp(ORIG, "A", seq=2_000_000_000).state == EST
    assert wire.tcp(REPLY, "A", seq=7, ack=9).state == EST | CtState.RPL
    assert wire.tcp(REPLY, "S").state == CtState.TRK | CtState.INV
    assert wire.tcp(ORIG, "SF").state == CtState.TRK | CtState.INV
    assert conn.state_name == "ESTABLISHED"


def test_syn_on_a_held_connection_reopens_only_after_close(wire: Any) -> None:
    conn = wire.handshake()
    wire.tracker.hold(conn, HANDLE)
    assert wire.tcp(ORIG, "S", seq=99).state == EST
    assert wire.conn is conn
    for direction, flags in ((ORIG, "FA"), (REPLY, "FA"), (ORIG, "A")):
        wire.tcp(direction, flags)
    assert conn.state_name == "TIME_WAIT"
    wire.events.clear()
    assert wire.tcp(ORIG, "S", seq=99).state == CtState.TRK | CtState.NEW
    assert wire.events[0] == (Event.DESTROY, conn)
    assert conn.offload is HANDLE  # the manager finds its record by it


def test_ignored_syn_and_its_answer_resync_while_held(wire: Any) -> None:
    conn = wire.handshake()
    wire.tracker.hold(conn, HANDLE)
    wire.isn = [70_000, 90_000]
    wire.next = [70_000, 90_000]
    wire.tcp(ORIG, "S")
    wire.tcp(REPLY, "SA")
    assert conn.state_name == "SYN_RECV"
    wire.tcp(ORIG, "A")
    assert conn.state_name == "ESTABLISHED"


@pytest.mark.parametrize("offloaded", [False, True])
@pytest.mark.parametrize(("closer", "state"), [(REPLY, CtState.EST), (ORIG, CtState.NEW)])
def test_closed_by_rst_a_syn_is_judged_as_without_offload(
    wire: Any, offloaded: bool, closer: Direction, state: CtState
) -> None:
    """Only the side that sent the RST may begin anew; of the other its SYN is let through."""
    conn = wire.handshake()
    if offloaded:
        wire.tracker.hold(conn, HANDLE)
    wire.tcp(closer, "R")
    if offloaded:
        wire.tracker.release(conn, wire.now, wire.now)
    assert wire.tcp(ORIG, "S", seq=99).state == CtState.TRK | state


def test_removing_a_held_connection(wire: Any) -> None:
    conn = wire.handshake()
    wire.tracker.hold(conn, HANDLE)
    wire.tracker.remove(conn, wire.now)
    assert len(wire.tracker) == 0
    wire.tracker.release(conn, wire.now, wire.now)  # late: changes nothing
    assert wire.tracker.next_deadline() is None
    with pytest.raises(ValueError, match="is gone"):
        wire.tracker.hold(conn, HANDLE)


def test_udp_becomes_a_stream_by_stragglers_while_held(wire: Any) -> None:
    wire.udp(ORIG)
    wire.udp(REPLY)
    conn = wire.conn
    wire.tracker.hold(conn, HANDLE)
    wire.now += 3
    wire.udp(ORIG)
    assert conn.assured
    assert wire.tracker.expire(wire.now + 1e6) == []


ORIGINAL = Tuple(4, 6, b"\x0a\0\0\x01", b"\x0a\0\0\x02", 40000, 80)


def test_restore(make_wire: Any) -> None:
    tracker = Tracker(Timeouts(), max_connections=10)
    wire = make_wire(tracker, zone=3)
    conn = tracker.restore(3, ORIGINAL, ORIGINAL.reversed(), None, 7, 1 << 100, wire.now)
    assert (conn.state_name, conn.assured, conn.seen_reply) == ("ESTABLISHED", True, True)
    assert (conn.mark, conn.label, conn.expires) == (7, 1 << 100, wire.now + 432000)
    assert wire.event_names() == ["NEW"]
    again = tracker.restore(3, ORIGINAL, ORIGINAL.reversed(), None, 9, 0, wire.now)
    assert again is conn
    assert conn.mark == 7
    assert wire.tcp(REPLY, "A", seq=3_000_000_000, ack=5).state == EST | CtState.RPL
    assert wire.tcp(ORIG, "A", seq=1_000_000_000, ack=77).state == EST
    tracker.hold(conn, HANDLE)
    assert tracker.expire(1e9) == []


def test_restore_states() -> None:
    tracker = Tracker(Timeouts(), max_connections=10)
    fin = tracker.restore(0, ORIGINAL, ORIGINAL.reversed(), TcpState.FIN_WAIT, 0, 0, 1.0)
    assert (fin.state_name, fin.timeout) == ("FIN_WAIT", 120)
    udp = ORIGINAL._replace(proto=17)
    assert tracker.restore(0, udp, udp.reversed(), None, 0, 0, 1.0).timeout == 120
    other = ORIGINAL._replace(proto=112, sport=0, dport=0)
    state = tracker.restore(0, other, other.reversed(), None, 0, 0, 1.0).protocol_state
    assert state is FlowState.REPLIED
    ping = ORIGINAL._replace(proto=1, dport=8 << 8)
    with pytest.raises(ValueError, match="no state of IP protocol 1"):
        tracker.restore(0, ping, ping.reversed(), TcpState.ESTABLISHED, 0, 0, 1.0)
    with pytest.raises(ValueError, match="no state of IP protocol 6"):
        tracker.restore(1, ORIGINAL, ORIGINAL.reversed(), FlowState.REPLIED, 0, 0, 1.0)
    assert len(tracker) == 3


def test_restore_into_a_full_table() -> None:
    tracker = Tracker(Timeouts(), max_connections=1)
    tracker.restore(0, ORIGINAL, ORIGINAL.reversed(), None, 0, 0, 1.0)
    with pytest.raises(ConntrackFull):
        tracker.restore(1, ORIGINAL, ORIGINAL.reversed(), None, 0, 0, 1.0)


def test_restored_fin_wait_reopens(make_wire: Any) -> None:
    tracker = Tracker(Timeouts(), max_connections=9)
    wire = make_wire(tracker)
    tracker.restore(0, ORIGINAL, ORIGINAL.reversed(), TcpState.FIN_WAIT, 0, 0, wire.now)
    wire.tcp(REPLY, "FA")
    wire.tcp(ORIG, "A")
    assert wire.conn.state_name == "TIME_WAIT"
    assert wire.tcp(ORIG, "S", seq=5).state == CtState.TRK | CtState.NEW


# --- the line of `conntrack list` ----------------------------------------------------------------


def test_line_of_an_offloaded_connection_hides_nothing(make_wire: Any) -> None:
    wire = make_wire(Tracker(Timeouts(), max_connections=9))
    conn = wire.handshake()
    wire.tracker.hold(conn, HANDLE)
    conn.add_hardware(1, 10, 1000)
    assert conntrack_line(conn, wire.now + 9.5) == (
        "tcp      6 431990 ESTABLISHED "
        "src=10.0.0.1 dst=10.0.0.2 sport=40000 dport=80 packets=2 bytes=108 "
        "src=10.0.0.2 dst=10.0.0.1 sport=80 dport=40000 packets=11 bytes=1054 "
        "[ASSURED] [OFFLOAD] mark=0 use=1"
    )
    assert conntrack_line(conn, wire.now + 1e9).startswith("tcp      6 0 ESTABLISHED ")


def test_line_of_an_unreplied_ping_in_a_zone(make_wire: Any) -> None:
    wire = make_wire(Tracker(Timeouts(), max_connections=9), zone=5)
    wire.ping(ORIG, identifier=77)
    wire.conn.mark = 170
    wire.conn.label = 0xAA
    assert conntrack_line(wire.conn, wire.now) == (
        "icmp     1 30 src=10.0.0.1 dst=10.0.0.2 type=8 code=0 id=77 packets=1 bytes=42 "
        "[UNREPLIED] src=10.0.0.2 dst=10.0.0.1 type=0 code=0 id=77 packets=0 bytes=0 "
        "mark=170 labels=0xaa zone=5 use=1"
    )


def test_line_of_an_unknown_protocol(make_wire: Any) -> None:
    wire = make_wire(Tracker(Timeouts(), max_connections=9), v6=True)
    wire.ip(ORIG, 112)
    assert conntrack_line(wire.conn, wire.now).startswith(
        "unknown  112 600 src=fd00::1 dst=fd00::2 packets=1 bytes=62 [UNREPLIED] "
    )

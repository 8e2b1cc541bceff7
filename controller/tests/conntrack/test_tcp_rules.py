# SPDX-License-Identifier: Apache-2.0
"""The rules on top of the TCP table (reference: nf_conntrack_tcp_packet and its selftests)."""

from __future__ import annotations

from typing import Any

import pytest
from p4ct.conntrack import CtState, Direction, Timeouts, Tracker
from p4ct.conntrack.tcp_window import BE_LIBERAL

ORIG, REPLY = Direction.ORIGINAL, Direction.REPLY
INV = CtState.TRK | CtState.INV


def left(wire: Any) -> float:
    return wire.conn.expires - wire.now


def test_handshake_states_and_assured(wire: Any) -> None:
    assert wire.tcp(ORIG, "S").state == CtState.TRK | CtState.NEW
    assert (wire.conn.state_name, left(wire), wire.conn.seen_reply) == ("SYN_SENT", 120, False)
    assert wire.tcp(REPLY, "SA").state == CtState.TRK | CtState.EST | CtState.RPL
    assert (wire.conn.state_name, left(wire), wire.conn.assured) == ("SYN_RECV", 60, False)
    assert wire.tcp(ORIG, "A").state == CtState.TRK | CtState.EST
    assert (wire.conn.state_name, left(wire), wire.conn.assured) == ("ESTABLISHED", 432000, True)
    assert wire.event_names() == ["NEW", "UPDATE", "UPDATE", "ASSURED"]


def test_close_timeouts(wire: Any) -> None:
    wire.handshake()
    seen = []
    for direction, flags in ((ORIG, "FA"), (REPLY, "A"), (REPLY, "FA"), (ORIG, "A")):
        wire.tcp(direction, flags)
        seen.append((wire.conn.state_name, left(wire)))
    assert seen == [("FIN_WAIT", 120), ("CLOSE_WAIT", 60), ("LAST_ACK", 30), ("TIME_WAIT", 120)]


def test_syn_retransmission_does_not_renew(wire: Any) -> None:
    wire.tcp(ORIG, "S")
    expires = wire.conn.expires
    wire.now += 50
    assert wire.tcp(ORIG, "S").state == CtState.TRK | CtState.NEW
    assert (wire.conn.expires, wire.conn.packets) == (expires, (2, 0))


def test_syn_with_a_new_sequence_restarts_an_unanswered_connection(wire: Any) -> None:
    wire.tcp(ORIG, "S")
    wire.isn[0] = 900_000
    wire.tcp(ORIG, "S")
    assert wire.tcp(REPLY, "SA").state & CtState.EST
    wire.tcp(ORIG, "A")
    assert wire.conn.assured


def test_ignored_syn_then_matching_synack_resyncs(wire: Any) -> None:
    """The server lost the connection and accepts a new one on the same tuple."""
    wire.handshake()
    wire.isn = [700_000_000, 900_000_000]
    wire.next = [700_000_000, 900_000_000]
    assert wire.tcp(ORIG, "S").state == CtState.TRK | CtState.EST
    assert wire.conn.state_name == "ESTABLISHED"
    wire.tcp(REPLY, "SA")
    assert wire.conn.state_name == "SYN_RECV"
    wire.tcp(ORIG, "A")
    assert wire.conn.state_name == "ESTABLISHED"
    assert not wire.tcp(REPLY, "A", data=1000).state & CtState.INV
    assert wire.tcp(ORIG, "A", seq=1_500_000_000).state == INV
    assert wire.tcp(REPLY, "A", ack=1001).state & CtState.EST  # old numbers: late, ignored


def test_ignored_syn_then_other_synack_does_not_resync(wire: Any) -> None:
    wire.handshake()
    wire.tcp(ORIG, "S", seq=700_000_000)
    wire.tcp(REPLY, "SA", ack=1001)
    assert wire.conn.state_name == "ESTABLISHED"


def test_rst_answering_an_ignored_syn_closes(wire: Any) -> None:
    wire.handshake()
    wire.tcp(ORIG, "S", seq=700_000_000)
    wire.tcp(REPLY, "RA", seq=0, ack=700_000_001)
    assert (wire.conn.state_name, left(wire)) == ("CLOSE", 10)


def test_rst_after_ones_own_ignored_syn_answers_nothing(wire: Any) -> None:
    """Only the other side can answer it: from the same side the window decides."""
    wire.handshake()
    wire.tcp(ORIG, "S", seq=700_000_000)
    result = wire.tcp(ORIG, "RA", seq=0, ack=700_000_001)
    assert result.state & CtState.INV
    assert wire.conn.state_name == "ESTABLISHED"


@pytest.mark.parametrize("direction", [ORIG, REPLY])
def test_syn_after_fin_reopens(wire: Any, direction: Direction) -> None:
    old = wire.handshake()
    for way, flags in ((ORIG, "FA"), (REPLY, "FA"), (ORIG, "A")):
        wire.tcp(way, flags)
    result = wire.tcp(direction, "S", seq=123)
    assert result.state == CtState.TRK | CtState.NEW
    assert not old.alive
    assert wire.conn is not old
    assert wire.conn.original.src == (old.original if direction is ORIG else old.reply).src


def test_reopen_without_commit_leaves_nothing(wire: Any) -> None:
    wire.handshake()
    for way, flags in ((ORIG, "FA"), (REPLY, "FA"), (ORIG, "A")):
        wire.tcp(way, flags)
    wire.commit = False
    assert wire.tcp(ORIG, "S").connection is None
    assert len(wire.tracker) == 0


def test_syn_after_the_peers_rst_is_ignored(wire: Any) -> None:
    """Closed without a FIN and the last packet was not this side's RST: do not believe the SYN."""
    old = wire.handshake()
    wire.tcp(REPLY, "RA")
    assert old.state_name == "CLOSE"
    wire.tcp(ORIG, "S", seq=123)
    assert wire.conn is old
    assert old.state_name == "CLOSE"


def test_challenge_ack_in_last_ack(wire: Any) -> None:
    wire.handshake()
    for way, flags in ((ORIG, "FA"), (REPLY, "FA")):
        wire.tcp(way, flags)
    wire.tcp(ORIG, "S", seq=800_000_000)
    assert not wire.tcp(REPLY, "A", ack=1002).state & CtState.INV
    assert wire.conn.state_name == "LAST_ACK"  # the challenge ACK is not the last ACK
    wire.tcp(REPLY, "A", ack=1002)
    assert wire.conn.state_name == "TIME_WAIT"


def test_challenge_ack_in_syn_sent_then_rst_ends_it(wire: Any) -> None:
    """selftest conntrack_syn_challenge_ack: the server still holds an old connection."""
    wire.tcp(ORIG, "S")
    wire.tcp(REPLY, "A", seq=77_000, ack=66_000)
    assert wire.conn.state_name == "SYN_SENT"
    wire.tcp(ORIG, "R", seq=66_000)
    assert (wire.conn.state_name, left(wire)) == ("CLOSE", 10)


def test_rst_with_another_seq_after_the_challenge_ack_is_out_of_window(wire: Any) -> None:
    wire.tcp(ORIG, "S")
    wire.tcp(REPLY, "A", seq=77_000, ack=66_000)
    assert wire.tcp(ORIG, "R", seq=800_000_000).state == INV
    assert wire.conn.state_name == "SYN_SENT"


def test_simultaneous_open(wire: Any) -> None:
    for direction, flags in ((ORIG, "S"), (REPLY, "S"), (ORIG, "SA")):
        wire.tcp(direction, flags)
    assert wire.conn.state_name == "SYN_RECV"
    wire.tcp(REPLY, "A")
    assert (wire.conn.state_name, wire.conn.assured) == ("ESTABLISHED", True)


def test_reply_ack_in_an_ordinary_syn_recv_does_not_establish(wire: Any) -> None:
    wire.tcp(ORIG, "S")
    wire.tcp(REPLY, "SA")
    wire.tcp(REPLY, "A")
    assert wire.conn.state_name == "SYN_RECV"


def test_rst_to_an_unreplied_connection_deletes_it(wire: Any) -> None:
    wire.tcp(ORIG, "S")
    conn = wire.conn
    result = wire.tcp(REPLY, "RA", seq=0, ack=1001)
    assert result.state == CtState.TRK | CtState.EST | CtState.RPL
    assert result.connection is conn
    assert conn.packets == (1, 1)
    assert not conn.alive
    assert wire.event_names() == ["NEW", "DESTROY"]
    assert wire.tracker.by_state == {}


def test_rst_below_the_peers_ack_is_invalid(wire: Any) -> None:
    wire.handshake()
    wire.tcp(ORIG, "A", data=100)
    wire.tcp(REPLY, "A")
    assert wire.tcp(ORIG, "R", seq=1050).state == INV
    assert wire.conn.state_name == "ESTABLISHED"


def test_ignore_invalid_rst_accepts_it_as_inexact(make_wire: Any) -> None:
    wire = make_wire(Tracker(Timeouts(), max_connections=9, tcp_ignore_invalid_rst=True))
    wire.handshake()
    wire.tcp(ORIG, "A", data=100)
    wire.tcp(REPLY, "A")
    assert not wire.tcp(ORIG, "R", seq=1050).state & CtState.INV
    assert wire.conn.state_name == "ESTABLISHED"


def test_inexact_rst_keeps_the_state_but_shortens_the_timer(wire: Any) -> None:
    """selftest conntrack_inexact_rst: in the window, but not where the peer expects it."""
    wire.handshake()
    wire.tcp(ORIG, "R", seq=1101)
    assert (wire.conn.state_name, left(wire)) == ("ESTABLISHED", 10)
    wire.tcp(ORIG, "A", data=10)
    wire.tcp(REPLY, "A")
    assert (wire.conn.state_name, left(wire)) == ("ESTABLISHED", 432000)


def test_rst_behind_the_segment_just_sent_is_exact(wire: Any) -> None:
    wire.handshake()
    wire.tcp(ORIG, "A", data=100)
    wire.tcp(ORIG, "R")
    assert wire.conn.state_name == "CLOSE"


def test_rst_in_a_closing_state_is_not_checked(wire: Any) -> None:
    wire.handshake()
    wire.tcp(ORIG, "FA")
    wire.tcp(ORIG, "R", seq=3_000_000_000)
    assert wire.conn.state_name == "CLOSE"


def test_midstream_pickup(wire: Any) -> None:
    result = wire.tcp(ORIG, "A", data=10)
    conn = wire.conn
    assert result.state == CtState.TRK | CtState.NEW
    assert (conn.state_name, conn.seen_reply, conn.assured) == ("ESTABLISHED", False, False)
    assert left(wire) == 300  # unreplied: not five days
    assert all(side.flags & BE_LIBERAL for side in conn.tcp.sides)
    assert wire.tcp(ORIG, "A", data=10).state == CtState.TRK | CtState.NEW
    assert wire.tcp(REPLY, "A", seq=3_000_000_000).state == CtState.TRK | CtState.EST | CtState.RPL
    assert not conn.assured
    wire.tcp(ORIG, "A", seq=1, ack=1)
    assert conn.assured


def test_no_pickup_when_not_loose(make_wire: Any) -> None:
    wire = make_wire(Tracker(Timeouts(), max_connections=9, tcp_loose=False))
    result = wire.tcp(ORIG, "A")
    assert result.state == INV
    assert "tcp_loose" in result.reason
    assert len(wire.tracker) == 0


def test_three_retransmissions_shorten_the_timer(wire: Any) -> None:
    wire.handshake()
    wire.tcp(ORIG, "A", data=10)
    wire.tcp(REPLY, "A")
    seen = []
    for _ in range(4):
        wire.tcp(REPLY, "A")
        seen.append(left(wire))
    assert seen == [432000, 432000, 300, 300]
    wire.tcp(ORIG, "A", data=1)
    wire.tcp(REPLY, "A")
    assert left(wire) == 432000


def test_zero_window_shortens_the_timer(wire: Any) -> None:
    wire.handshake()
    wire.tcp(REPLY, "A", win=0)
    assert left(wire) == 300
    wire.tcp(REPLY, "A", win=8192)
    assert left(wire) == 432000


def test_unacknowledged_data_shortens_the_timer(wire: Any) -> None:
    wire.handshake()
    wire.tcp(ORIG, "A", data=10)
    assert left(wire) == 300
    wire.tcp(REPLY, "A")
    assert left(wire) == 432000


def test_unacknowledged_never_lengthens(make_wire: Any) -> None:
    wire = make_wire(Tracker(Timeouts(tcp_established=100), max_connections=9))
    wire.handshake()
    wire.tcp(ORIG, "A", data=10)
    assert left(wire) == 100


def test_invalid_fin_from_both_sides_shortens_a_long_timer(wire: Any) -> None:
    conn = wire.handshake()
    assert wire.tcp(ORIG, "FA", seq=2_000_000_000).state == INV
    assert left(wire) == 432000
    assert wire.tcp(REPLY, "FA", seq=3_000_000_000).state == INV
    assert (conn.state_name, left(wire)) == ("ESTABLISHED", 300)
    wire.now += 300
    assert wire.tracker.expire(wire.now) == [conn]


def test_invalid_fin_twice_from_one_side_shortens_nothing(wire: Any) -> None:
    wire.handshake()
    for _ in range(2):
        assert wire.tcp(ORIG, "FA", seq=2_000_000_000).state == INV
    assert left(wire) == 432000

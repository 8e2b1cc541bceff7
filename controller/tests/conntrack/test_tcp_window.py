# SPDX-License-Identifier: Apache-2.0
"""Window tracking: what is in the window, late, ahead, scaled, selectively acknowledged."""

from __future__ import annotations

from typing import Any

import pytest
from p4ct.conntrack import CtState, Direction, Timeouts, Tracker
from p4ct.conntrack.tcp_window import DATA_UNACKNOWLEDGED, export_windows, merge_windows

ORIG, REPLY = Direction.ORIGINAL, Direction.REPLY
INV = CtState.TRK | CtState.INV
EST = CtState.TRK | CtState.EST

SCALE_7 = b"\x03\x03\x07"
SCALE_15 = b"\x03\x03\x0f"
SACK_OK = b"\x04\x02"


def sack(left: int, right: int) -> bytes:
    return b"\x01\x01\x05\x0a" + left.to_bytes(4, "big") + right.to_bytes(4, "big")


def refused(result: Any, reason: str) -> bool:
    return result.state == INV and reason in result.reason


def test_data_inside_the_offered_window(wire: Any) -> None:
    wire.handshake()
    assert wire.tcp(ORIG, "A", data=1000).state == EST
    assert wire.conn.tcp.sides[0].end == 2001


def test_seq_over_the_window_is_invalid(wire: Any) -> None:
    wire.handshake()  # both offer 8192: data may begin up to 1001 + 8192
    maxend = wire.conn.tcp.sides[0].maxend
    assert maxend == 1001 + 8192
    assert refused(wire.tcp(ORIG, "A", seq=maxend + 40_000, data=1), "over the window")
    assert wire.conn.tcp.sides[0].end == 1001


def test_slightly_too_much_data_is_ignored_but_remembered(wire: Any) -> None:
    """More than was offered, but less than another window: the peer may well acknowledge it."""
    conn = wire.handshake()
    side = conn.tcp.sides[0]
    expires = conn.expires
    wire.now += 5
    seq = side.maxend + 10
    assert wire.tcp(ORIG, "A", seq=seq, data=20).state == EST
    assert side.end == seq + 20
    assert conn.expires == expires  # ignored: the timer runs on
    assert wire.tcp(REPLY, "A", ack=seq + 20).state & CtState.EST


def test_too_much_data_beyond_another_window_is_invalid(wire: Any) -> None:
    conn = wire.handshake()
    seq = conn.tcp.sides[0].maxend + 8193
    assert refused(wire.tcp(ORIG, "A", seq=seq), "over the window")


def test_ack_of_unseen_data_is_invalid(wire: Any) -> None:
    wire.handshake()
    assert refused(wire.tcp(REPLY, "A", ack=1002), "ACK of data not seen")
    assert wire.tcp(REPLY, "A", ack=1001).state & CtState.EST


def test_old_data_is_ignored(wire: Any) -> None:
    conn = wire.handshake()
    for _ in range(4):
        wire.tcp(ORIG, "A", data=4000)
        wire.tcp(REPLY, "A")
    expires = conn.expires
    wire.now += 5
    assert wire.tcp(ORIG, "A", seq=1001, data=10).state == EST
    assert conn.expires == expires


def test_very_old_ack_is_ignored(wire: Any) -> None:
    conn = wire.handshake()
    for _ in range(20):
        wire.tcp(ORIG, "A", data=4000)
        wire.tcp(REPLY, "A")
    assert conn.tcp.sides[0].end == 81001
    expires = conn.expires
    wire.now += 5
    assert wire.tcp(REPLY, "A", ack=81001 - 66001).state & CtState.EST
    assert conn.expires == expires
    assert wire.tcp(REPLY, "A", ack=81001 - 66000).state & CtState.EST
    assert conn.expires == wire.now + 432000


def test_serial_numbers_wrap(wire: Any) -> None:
    wire.isn = [0xFFFFFFF0, 0xFFFFFF00]
    wire.next = list(wire.isn)
    wire.handshake()
    assert wire.tcp(ORIG, "A", data=1000).state == EST
    assert wire.tcp(REPLY, "A", data=3000).state & CtState.EST
    assert wire.tcp(ORIG, "A").state == EST
    assert wire.conn.tcp.sides[0].end == (0xFFFFFFF1 + 1000) & 0xFFFFFFFF


def open_scaled(wire: Any, first: bytes, second: bytes) -> None:
    wire.tcp(ORIG, "S", options=first)
    wire.tcp(REPLY, "SA", options=second)
    wire.tcp(ORIG, "A", win=1000)


def test_scaling_when_both_ask_for_it(wire: Any) -> None:
    open_scaled(wire, SCALE_7, SCALE_7)
    assert wire.conn.tcp.sides[1].maxend == 5001 + (1000 << 7)
    assert wire.tcp(REPLY, "A", seq=5001 + 100_000, data=10).state & CtState.EST


def test_no_scaling_when_only_one_asks(wire: Any) -> None:
    open_scaled(wire, SCALE_7, b"")
    assert [side.scale for side in wire.conn.tcp.sides] == [0, 0]
    assert refused(wire.tcp(REPLY, "A", seq=5001 + 100_000, data=10), "over the window")


def test_scale_is_capped_at_14(wire: Any) -> None:
    open_scaled(wire, SCALE_15, SCALE_15)
    assert [side.scale for side in wire.conn.tcp.sides] == [14, 14]


def test_the_window_of_a_syn_is_not_scaled(wire: Any) -> None:
    wire.tcp(ORIG, "S", options=SCALE_7, win=500)
    wire.tcp(REPLY, "SA", options=SCALE_7, win=600)
    sides = wire.conn.tcp.sides
    assert (sides[0].maxwin, sides[1].maxwin) == (500, 600)


def test_sack_edge_counts_as_acknowledged(wire: Any) -> None:
    """Condition III looks at the highest SACK edge when the data's sender permitted SACK."""
    open_scaled(wire, SACK_OK, SACK_OK)
    wire.tcp(ORIG, "A", data=100)
    block = sack(1051, 1101)
    assert wire.tcp(REPLY, "A", ack=1001, options=block).state & CtState.EST
    beyond = sack(1051, 1102)
    assert refused(wire.tcp(REPLY, "A", ack=1001, options=beyond), "ACK of data not seen")


def test_sack_without_permission_is_not_looked_at(wire: Any) -> None:
    open_scaled(wire, b"", b"")
    assert wire.tcp(REPLY, "A", ack=1001, options=sack(1051, 9_999_999)).state & CtState.EST


def test_sack_widens_the_offered_window(wire: Any) -> None:
    open_scaled(wire, SACK_OK, SACK_OK)
    wire.tcp(ORIG, "A", data=100)
    wire.tcp(REPLY, "A", ack=1001, win=100, options=sack(1051, 1101))
    assert wire.conn.tcp.sides[1].maxwin == 8192
    wire.tcp(REPLY, "A", ack=1001, win=8192, options=sack(1051, 1101))
    assert wire.conn.tcp.sides[1].maxwin == 8192 + 100


@pytest.mark.parametrize("liberal", [True, False])
def test_liberal_accepts_all_but_moves_no_window(make_wire: Any, liberal: bool) -> None:
    wire = make_wire(Tracker(Timeouts(), max_connections=9, tcp_be_liberal=liberal))
    wire.handshake()
    end = wire.conn.tcp.sides[0].end
    result = wire.tcp(ORIG, "A", seq=2_000_000_000, data=10)
    assert (result.state == EST) is liberal
    assert wire.conn.tcp.sides[0].end == end


def test_liberal_still_refuses_a_bad_rst(make_wire: Any) -> None:
    wire = make_wire(Tracker(Timeouts(), max_connections=9, tcp_be_liberal=True))
    wire.handshake()
    wire.tcp(ORIG, "A", data=100)
    wire.tcp(REPLY, "A")
    assert refused(wire.tcp(ORIG, "R", seq=1000), "RST")


def test_rst_ack_with_ack_zero_is_taken_as_acknowledging_all(wire: Any) -> None:
    wire.handshake()
    wire.tcp(ORIG, "RA", ack=0)
    assert wire.conn.state_name == "CLOSE"


def test_synack_that_acknowledges_too_much_is_invalid(wire: Any) -> None:
    wire.tcp(ORIG, "S")
    assert refused(wire.tcp(REPLY, "SA", ack=1002), "ACK of data not seen")
    assert wire.conn.state_name == "SYN_SENT"


def test_keepalive_answer_in_a_picked_up_connection(wire: Any) -> None:
    """The other side's first packet acknowledges one byte more: a keep-alive was before it."""
    wire.tcp(ORIG, "A", seq=1000)
    wire.tcp(REPLY, "A", ack=1001)
    assert wire.conn.tcp.sides[0].end == 1001


def test_windows_are_exported_once_both_are_known(wire: Any) -> None:
    conn = wire.handshake()
    tcp = conn.tcp
    values = export_windows(tcp)
    assert values is not None
    for side, value in zip(tcp.sides, values, strict=True):
        assert value == (side.end, side.maxend, side.maxwin, side.maxack, side.scale)
    tcp.forget_windows()
    assert export_windows(tcp) is None


@pytest.mark.parametrize("base", [0, 0xFFFFFF00])
def test_a_merge_takes_the_larger_in_serial_arithmetic(wire: Any, base: int) -> None:
    tcp = wire.handshake().tcp
    one, two = tcp.sides
    one.end, one.maxend, one.maxwin, one.maxack = base, base, 100, base
    two.end, two.maxend, two.maxwin, two.maxack = base, base, 100, base
    tcp.retrans = 2
    later, earlier = (base + 0x200) & 0xFFFFFFFF, (base - 1) & 0xFFFFFFFF
    merge_windows(tcp, ((earlier, earlier, 99, earlier, 0), (base, base, 100, base, 0)))
    assert (one.end, one.maxend, one.maxwin, one.maxack) == (base, base, 100, base)
    assert tcp.retrans == 2  # nothing was learned
    merge_windows(tcp, ((later, earlier, 200, later, 0), (later, later, 99, base, 0)))
    assert (one.end, one.maxend, one.maxwin, one.maxack) == (later, base, 200, later)
    assert (two.end, two.maxend, two.maxwin, two.maxack) == (later, later, 100, base)
    assert tcp.retrans == 0
    # What the reply sent was acknowledged, what the original sent was not.
    assert one.flags & DATA_UNACKNOWLEDGED
    assert not two.flags & DATA_UNACKNOWLEDGED

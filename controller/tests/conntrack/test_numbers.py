# SPDX-License-Identifier: Apache-2.0
"""The numbers of a connection survive being packed, whoever else is, and nobody gets another's."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from p4ct.conntrack import Timeouts, Tracker
from p4ct.conntrack.numbers import Numbers, WorkingSet, unpack
from p4ct.conntrack.tcp_table import Segment
from p4ct.conntrack.tcp_window import TcpSide, TcpTrack
from p4ct.packet import parse
from p4ct.packet.build import tcp_frame, udp_frame

U8, U16, U32 = ((1 << bits) - 1 for bits in (8, 16, 32))
#: The largest value of each field that is narrower than 32 bits.
NARROW = {
    "scale": 14,
    "flags": U8,
    "last_win": U16,
    "last_wscale": 14,
    "last_flags": U8,
    "retrans": U8,
    "last_dir": 1,
}


@st.composite
def tracks(draw: st.DrawFn) -> TcpTrack:
    tcp = TcpTrack()
    for part, names in (
        (tcp, [name for name in TcpTrack.__slots__ if name != "sides"]),
        *((side, TcpSide.__slots__) for side in tcp.sides),
    ):
        for name in names:
            setattr(part, name, draw(st.integers(0, NARROW.get(name, U32))))
    tcp.last_segment = draw(st.sampled_from(Segment))
    tcp.watched = draw(st.booleans())
    return tcp


def fields(tcp: TcpTrack | None) -> Any:
    if tcp is None:
        return None
    own = [getattr(tcp, name) for name in TcpTrack.__slots__ if name != "sides"]
    return own, [[getattr(side, name) for name in TcpSide.__slots__] for side in tcp.sides]


@settings(deadline=None)
@given(tracks() | st.none(), st.floats(0, 1e12), st.lists(st.integers(0, 2**64 - 1), min_size=4))
def test_packing_keeps_everything(tcp: TcpTrack | None, start: float, counts: list[int]) -> None:
    numbers = Numbers(start)
    numbers.tcp = tcp
    numbers.original_packets, numbers.original_bytes = counts[:2]
    numbers.reply_packets, numbers.reply_bytes = counts[2:4]
    packed = numbers.pack()
    again = unpack(packed)
    assert fields(again.tcp) == fields(tcp)
    assert type(again.tcp.last_segment) is Segment if again.tcp else tcp is None
    assert again.pack() == packed
    for name in Numbers.__slots__:
        if name != "tcp":
            assert getattr(again, name) == getattr(numbers, name)


def udp(port: int) -> Any:
    return parse(udp_frame(src="10.0.0.1", dst="10.0.0.2", sport=port, dport=53, payload=b"x"))


@settings(deadline=None, max_examples=100)
@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.integers(1, 8), st.sampled_from(["packet", "packet", "remove"]))),
)
def test_the_working_set_is_bounded_and_forgets(size: int, steps: list[tuple[int, str]]) -> None:
    tracker = Tracker(Timeouts(), working_set=size)
    sent: dict[int, int] = {}
    ended: list[tuple[Any, int]] = []
    for port, step in steps:
        pkt = udp(port)
        if step == "packet":
            result = tracker.track(pkt, 0, 1.0)
            conn = tracker.commit(result, pkt, 1.0)
            sent[port] = sent.get(port, 0) + 1
        else:
            for conn in tracker.select(sport=port):
                tracker.remove(conn, 1.0)
                ended.append((conn, sent.pop(port)))
        unpacked = [conn for conn in tracker.select() if isinstance(conn.numbers, Numbers)]
        assert len(unpacked) == len(tracker._working) <= min(size, len(tracker))
        for conn in tracker.select():
            assert conn.packets == (sent[conn.original.sport], 0)
        for conn, packets in ended:
            assert conn.packets == (packets, 0)  # whoever holds it still sees its last numbers


def test_windows_written_to_a_packed_connection_stay() -> None:
    tracker = Tracker(Timeouts(), working_set=1)
    conns: list[Any] = []
    for port in (1, 2, 3):
        frame = tcp_frame(src="10.0.0.1", dst="10.0.0.2", sport=port, dport=80, seq=port, flags=2)
        pkt = parse(frame)
        conns.append(tracker.commit(tracker.track(pkt, 0, 1.0), pkt, 1.0))
    for number, conn in enumerate(conns):
        conn.tcp.sides[1].maxack = number
        conn.tcp.watched = number == 1
    assert [conn.tcp.sides[1].maxack for conn in conns] == [0, 1, 2]
    assert [conn.tcp.watched for conn in conns] == [False, True, False]
    assert [conn.tcp.sides[0].end for conn in conns] == [2, 3, 4]


def test_a_working_set_needs_room() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        WorkingSet(0)

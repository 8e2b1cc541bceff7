# SPDX-License-Identifier: Apache-2.0
"""Fragments that wait: order, overlap, repetition, gaps, time and floods. Each ends once."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from p4ct.conntrack import FragmentDropped, FragmentLimits, Reassembler
from p4ct.conntrack.fragments import Whole
from p4ct.packet.build import ip_frame
from p4ct.packet.parse import Packet, parse

MF = 0x2000
DATA = random.Random(4).randbytes(70000)


def piece(
    offset: int, size: int, more: bool, *, number: int = 1, v6: bool = False, src: int = 1
) -> Packet:
    """One fragment of a packet whose payload is DATA; offset and size in bytes."""
    payload = DATA[offset : offset + size]
    if v6:
        header = bytes([17, 0]) + (offset | more).to_bytes(2, "big") + number.to_bytes(4, "big")
        frame = ip_frame(src=f"fd00::{src}", dst="fd00::f", proto=44, payload=header + payload)
    else:
        field = offset // 8 | (MF if more else 0)
        frame = ip_frame(
            src=f"10.0.0.{src}", dst="10.0.0.15", proto=17, payload=payload,
            identification=number, fragment=field,
        )  # fmt: skip
    return parse(frame)


def pieces(*, number: int = 1, v6: bool = False, src: int = 1) -> list[Packet]:
    """A packet of 4000 bytes of payload in three."""
    cuts = ((0, 1400, True), (1400, 1400, True), (2800, 1200, False))
    return [piece(*where, number=number, v6=v6, src=src) for where in cuts]


class Queue:
    """A Reassembler that keeps count of what became of every fragment."""

    def __init__(self, **limits: float) -> None:
        self.drops: Counter[str] = Counter()
        self.queue = Reassembler(FragmentLimits(**limits), self.drops)  # type: ignore[arg-type]
        self.now = 100.0
        self.taken = 0
        self.out = 0

    def take(
        self, pkt: Packet, vport: int = 1, zone: int = 1, table: int = 1
    ) -> Whole | str | None:
        """What `Reassembler.take` says; a text for a drop, counted as the pipeline does."""
        self.taken += 1
        try:
            whole = self.queue.take(pkt, zone, table, vport, self.now)
        except FragmentDropped as dropped:
            self.drops[str(dropped)] += 1
            return str(dropped)
        if whole is not None:
            self.out += len(whole.cuts.sizes)
        return whole

    def last(self, packets: list[Packet], **where: int) -> Whole | str | None:
        return [self.take(pkt, **where) for pkt in packets][-1]

    def end(self) -> None:
        """After the timeout nothing is left, and every fragment is in a whole packet or a drop."""
        self.now += self.queue.limits.timeout
        self.queue.expire(self.now)
        assert len(self.queue) == 0
        assert self.queue.next_deadline() is None
        assert self.out + self.drops.total() == self.taken


def payload_of(answer: Whole | str | None) -> bytes:
    assert isinstance(answer, Whole)
    pkt = answer.packet
    return pkt.frame[pkt.l4_offset : pkt.l4_offset + pkt.l4_len]


@pytest.mark.parametrize("v6", [False, True])
@given(order=st.permutations(range(3)))
def test_any_order(v6: bool, order: list[int]) -> None:
    queue = Queue()
    parts = pieces(v6=v6)
    answers = [queue.take(parts[n]) for n in order]
    assert answers[:2] == [None, None]
    assert payload_of(answers[2]) == DATA[:4000]
    assert isinstance(answers[2], Whole)
    assert answers[2].cuts.sizes == (1400, 1400, 1200)
    assert queue.queue.packets == 1
    queue.end()


@given(
    sizes=st.lists(st.integers(150, 500), min_size=1, max_size=12),
    data=st.data(),
)
def test_what_is_whole_is_what_was_sent(sizes: list[int], data: st.DataObject) -> None:
    """Random cuts in a random order with random repetitions and losses."""
    queue = Queue()
    parts: list[Packet] = []
    offset = 0
    for number, words in enumerate([*sizes, 1]):
        last = number == len(sizes)
        parts.append(piece(offset, words * 8, not last))
        offset += words * 8
    lost = data.draw(st.sets(st.integers(0, len(parts) - 1), max_size=1))
    sent = [parts[n] for n in data.draw(st.permutations(range(len(parts)))) if n not in lost]
    again = data.draw(st.lists(st.sampled_from(sent[:-1]), max_size=3)) if sent[1:] else []
    answers = [queue.take(pkt) for pkt in sent[:-1] + again + sent[-1:]]
    wholes = [answer for answer in answers if isinstance(answer, Whole)]
    assert len(wholes) == (not lost)
    for whole in wholes:
        assert payload_of(whole) == DATA[:offset]
    queue.end()


@pytest.mark.parametrize("v6", [False, True])
@pytest.mark.parametrize(
    "wrong",
    [(1392, 1400, True), (1408, 1400, True), (0, 1408, True), (8, 1400, True), (1400, 1408, True)],
)
@pytest.mark.parametrize("place", [1, 2])
def test_an_overlap_ends_the_packet(v6: bool, wrong: tuple[int, int, bool], place: int) -> None:
    queue = Queue()
    first, second, third = pieces(v6=v6)
    queue.take(first)
    queue.take(second if place == 2 else third)
    overlapping = piece(*wrong, v6=v6)
    if place == 1 and wrong[0] >= 1400:
        assert queue.take(overlapping) in (None, "fragment: overlap")
        queue.take(second)
    else:
        assert queue.take(overlapping) == "fragment: overlap"
    # What comes later of this packet goes the same way, also if it would have fitted.
    assert queue.take(second) == "fragment: overlap"
    assert queue.take(third) == "fragment: overlap"
    assert queue.queue.packets == 0
    # The next packet is not affected.
    assert isinstance(queue.last(pieces(number=2, v6=v6)), Whole)
    queue.end()
    assert set(queue.drops) == {"fragment: overlap"}


def test_a_repetition_harms_nothing() -> None:
    queue = Queue()
    first, second, third = pieces()
    assert queue.take(first) is None
    assert queue.take(first) == "fragment: repetition"
    assert queue.take(third) is None
    assert queue.take(third) == "fragment: repetition"
    assert payload_of(queue.take(second)) == DATA[:4000]
    queue.end()


@pytest.mark.parametrize(
    "later",
    [
        piece(2800, 1000, False),
        piece(4000, 8, False),
        piece(4000, 1400, True),
        piece(1400, 1400, False),
    ],
    ids=["another end", "a second last one", "data behind the end", "an end in the middle"],
)
def test_lengths_that_contradict_each_other(later: Packet) -> None:
    queue = Queue()
    first, _, third = pieces()
    queue.take(first)
    queue.take(third)
    said = queue.take(later)
    assert said in ("fragment: lengths that contradict each other", "fragment: overlap")
    queue.end()
    assert queue.queue.packets == 0


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (piece(0, 1401, True), "data not a multiple of 8 bytes"),
        (piece(1400, 0, False), "no data"),
        (piece(0, 1176, True), "below 1200 bytes and not the last"),
        (piece(0, 1232, True, v6=True), "below 1280 bytes and not the last"),
        (piece(65528, 8, False), "longer than an IP packet can be"),
        (piece(65528, 8, False, v6=True), "longer than an IP packet can be"),
    ],
)
def test_what_is_refused_at_once(wrong: Packet, reason: str) -> None:
    queue = Queue()
    assert queue.take(wrong) == f"fragment: {reason}"
    assert len(queue.queue) == 0
    queue.end()


def test_sizes_at_the_limit_and_a_short_last_one() -> None:
    queue = Queue()
    assert queue.take(piece(0, 1184, True)) is None
    assert payload_of(queue.take(piece(1184, 8, False))) == DATA[:1192]
    assert queue.take(piece(0, 1240, True, v6=True)) is None
    assert payload_of(queue.take(piece(1240, 1, False, v6=True))) == DATA[:1241]
    assert Queue(min_size_v4=400).take(piece(0, 384, True)) is None
    queue.end()


def test_a_gap_ends_by_time() -> None:
    queue = Queue()
    first, second, third = pieces()
    queue.take(first)
    queue.now += 14.9
    assert queue.take(third) is None
    queue.now += 0.1
    # The time runs from the first fragment, and what comes too late begins anew.
    assert queue.take(second) is None
    assert queue.drops == {"fragment: not complete within 15 s": 2}
    queue.end()


def test_zones_vports_tables_and_packets_are_apart() -> None:
    queue = Queue()
    first, second, third = pieces()
    assert queue.take(first) is None
    assert queue.take(second) is None
    assert queue.take(third, zone=2) is None
    assert queue.take(third, vport=2) is None
    assert queue.take(third, table=2) is None
    assert queue.take(pieces(number=2)[2]) is None
    assert queue.take(pieces(src=2)[2]) is None
    assert len(queue.queue) == 7
    assert isinstance(queue.take(third), Whole)
    queue.queue.clear("policy changed")
    assert queue.drops == {"fragment: policy changed": 5}
    queue.end()


def test_ipv6_packets_are_told_apart_without_the_protocol() -> None:
    """RFC 8200: the Next Header of the first fragment counts, others may differ."""
    queue = Queue()
    first, second, third = pieces(v6=True)
    other = bytearray(third.frame)
    other[54] = 6
    queue.take(first)
    queue.take(second)
    whole = queue.take(parse(bytes(other)))
    assert isinstance(whole, Whole)
    assert whole.packet.proto == 17
    queue.end()


def test_a_flood_is_bounded_and_its_vport_pays() -> None:
    queue = Queue(max_fragments=100)
    victim = pieces(number=1, src=9)
    assert queue.take(victim[0], vport=2) is None
    for number in range(500):
        queue.take(pieces(number=number)[0], vport=1)
    assert len(queue.queue) == 100
    assert queue.drops == {"fragment: 100 fragments are waiting": 401}
    # Another vport's packet is completed all the same, and new ones begin.
    assert queue.take(victim[1], vport=2) is None
    assert isinstance(queue.take(victim[2], vport=2), Whole)
    for number in range(20):
        assert isinstance(queue.last(pieces(number=number, src=9), vport=2), Whole)
    assert queue.drops["fragment: gave way to fragments of another vport"] > 0
    queue.end()


def test_refused_packets_are_bounded_too() -> None:
    queue = Queue(max_fragments=10)
    for number in range(50):
        queue.take(piece(0, 1400, True, number=number))
        queue.take(piece(8, 1400, True, number=number))
    assert len(queue.queue) <= 10
    queue.end()


@given(st.lists(st.tuples(
    st.integers(0, 3), st.integers(0, 6), st.integers(1, 4), st.booleans(), st.integers(1, 3),
    st.floats(0, 4),
), max_size=60))  # fmt: skip
def test_whatever_comes_everything_is_counted_once(
    steps: list[tuple[int, int, int, bool, int, float]],
) -> None:
    queue = Queue(max_fragments=8)
    for number, offset, size, more, vport, pause in steps:
        queue.now += pause
        queue.take(piece(offset * 1400, size * 1400, more, number=number), vport=vport)
        assert len(queue.queue) <= 8
    queue.end()

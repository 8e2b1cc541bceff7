# SPDX-License-Identifier: Apache-2.0
"""What FTP's lines and TFTP's packets say, and sequence numbers after a change of length."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from p4ct.conntrack.helpers.ftp import LineStarts, Unreadable, announcement, written
from p4ct.conntrack.helpers.seq_adjust import SeqAdjust
from p4ct.conntrack.helpers.tftp import is_request
from p4ct.packet.text import parse_ip

A4, A6 = parse_ip("10.0.0.1"), parse_ip("fd00::1")


@pytest.mark.parametrize(
    ("line", "original", "version", "expected"),
    [
        (b"PORT 10,0,0,1,78,52\r\n", True, 4, ("PORT", A4, 20020)),
        (b"port 10,0,0,1,0,21\r\n", True, 4, ("PORT", A4, 21)),
        (b"PORTAL 10,0,0,1,0,21\r\n", True, 4, ("PORT", A4, 21)),
        (b"PORT 10,,0,1,,21\r\n", True, 4, ("PORT", A4, 21)),
        (b"EPRT |1|10.0.0.1|6275|\r\n", True, 4, ("EPRT", A4, 6275)),
        (b"eprt |2|fd00::1|6275|\r\n", True, 6, ("EPRT", A6, 6275)),
        (b"EPRT !2!fd00::1!6275!\r\n", True, 6, ("EPRT", A6, 6275)),
        (b"227 Entering Passive Mode (10,0,0,1,78,52).\r\n", False, 4, ("227", A4, 20020)),
        (b"227 =10,0,0,1,78,52\r\n", False, 4, ("227", A4, 20020)),
        (b"229 Entering Extended Passive Mode (|||6446|)\r\n", False, 4, ("229", None, 6446)),
        (b"229 ok (|||65535|)\r\n", False, 6, ("229", None, 65535)),
    ],
)
def test_announcements(
    line: bytes, original: bool, version: int, expected: tuple[str, bytes | None, int]
) -> None:
    found = announcement(line, original, version)
    assert found is not None
    assert found[:3] == expected
    # The other side does not say such things.
    assert announcement(line, not original, version) is None
    kind, address, _ = expected
    longer = parse_ip("192.168.100.100") if version == 4 else parse_ip("fd00:1:2:3:4:5:6:7")
    changed = line[: found.start] + written(kind, longer, 60000) + line[found.end :]
    again = announcement(changed, original, version)
    assert again is not None
    assert again[:3] == (kind, None if address is None else longer, 60000)


@pytest.mark.parametrize(
    ("line", "original"),
    [
        (b"", True),
        (b"NOOP\r\nPORT 10,0,0,1,78,52\r\n", True),
        (b"XPORT 10,0,0,1,78,52\r\n", True),
        (b"227-\r\n10,0,0,1,78,52)\r\n", False),
        (b"2270 (10,0,0,1,78,52)\r\n", False),
        (b"220 (|||6446|)\r\n", False),
    ],
)
def test_what_announces_nothing(line: bytes, original: bool) -> None:
    for version in (4, 6):
        assert announcement(line, original, version) is None


@pytest.mark.parametrize(
    ("line", "original", "version"),
    [
        (b"P", True, 4),  # the word may go on in the next segment
        (b"EPRT", True, 6),
        (b"22", False, 4),
        (b"PORT\r\n", True, 4),
        (b"PORT 10,0,0,1,78\r\n", True, 4),
        (b"PORT 10,0,0,1,78,52", True, 4),  # a number may go on
        (b"PORT 10,0,0,1,78,52\n", True, 4),
        (b"PORT 10,0,0,1,78,52,1\r\n", True, 4),
        (b"PORT 10,0,0,1,0,0\r\n", True, 4),
        (b"EPRT |2|fd00::1|6275|\r\n", True, 4),
        (b"EPRT |1|10.0.0.1|6275|\r\n", True, 6),
        (b"EPRT |1|10.0.1|6275|\r\n", True, 4),
        (b"EPRT |1|10.0.a.1|6275|\r\n", True, 4),
        (b"EPRT |2|fd00:::1|6275|\r\n", True, 6),
        (b"EPRT |1|10.0.0.1|65536|\r\n", True, 4),
        (b"EPRT |1|10.0.0.1|0|\r\n", True, 4),
        (b"EPRT |1|10.0.0.1|\r\n", True, 4),
        (b"EPRT |1!10.0.0.1!6275!\r\n", True, 4),
        (b"EPRT .1.10.0.0.1.6275.\r\n", True, 4),
        (b"EPRT 111110.0.0.1162751\r\n", True, 4),
        (b"227 Entering Passive Mode (10,0,0,1,78,52", False, 4),
        (b"227 Entering Passive Mode\r\n", False, 4),
        (b"229 (|||0|)\r\n", False, 4),
        (b"229 (|||65536|)\r\n", False, 4),
        (b"229 (|1|10.0.0.1|6446|)\r\n", False, 4),
        (b"229 |||6446|\r\n", False, 4),
    ],
)
def test_what_begins_like_an_announcement_and_is_none(
    line: bytes, original: bool, version: int
) -> None:
    with pytest.raises(Unreadable):
        announcement(line, original, version)


@pytest.mark.parametrize(
    ("kind", "address", "text"),
    [
        ("PORT", A4, b"10,0,0,1,78,52"),
        ("227", A4, b"10,0,0,1,78,52"),
        ("EPRT", A4, b"|1|10.0.0.1|20020|"),
        ("EPRT", A6, b"|2|fd00:0000:0000:0000:0000:0000:0000:0001|20020|"),
        ("229", A6, b"|||20020|"),
    ],
)
def test_what_is_written_instead(kind: str, address: bytes, text: bytes) -> None:
    assert written(kind, address, 20020) == text


@pytest.mark.parametrize(("line", "original"), [(b"PORT ", True), (b"227 ", False)])
def test_six_numbers_are_no_ipv6_address(line: bytes, original: bool) -> None:
    """Linux reads them there as well, and lets them pass: they are not the sender's address."""
    found = announcement(line + b"10,0,0,1,78,52\r\n", original, 6)
    assert found is not None
    assert found.address == A4


@pytest.mark.parametrize("text", [b"10,0,0,256,78,52", b"1" + 5000 * b"0" + b"10,0,0,1,78,52"])
def test_numbers_are_added_up_as_linux_does(text: bytes) -> None:
    """What is larger than a byte makes another address, which is not the sender's, or its own."""
    found = announcement(b"PORT " + text + b"\r\n", True, 4)
    assert found is not None
    assert found.address == (parse_ip("10.0.1.0") if b"256" in text else A4)


@given(st.binary(max_size=80), st.booleans(), st.sampled_from([4, 6]))
def test_any_bytes_are_taken(tail: bytes, original: bool, version: int) -> None:
    for head in (b"", b"PORT ", b"EPRT |", b"227 (", b"229 (|||"):
        try:
            found = announcement(head + tail, original, version)
        except Unreadable:
            continue
        assert found is None or 0 < found.port < 65536


def test_only_what_begins_a_line_is_read() -> None:
    starts = LineStarts()

    def read(direction: int, seq: int, payload: bytes) -> bool:
        begins = starts.begins_line(direction, seq)
        starts.ended(direction, seq, payload)
        return begins

    # Of the first segment it is not known, nor of one behind a gap or an unfinished line.
    assert not read(0, 100, b"USER x\r\n")
    assert read(0, 108, b"PA")
    assert not read(0, 110, b"SS y\r\n")
    assert read(0, 116, b"NOOP\r\n")
    assert read(0, 116, b"NOOP\r\n")  # sent again
    assert read(0, 122, b"NOOP\r\n")
    assert not read(0, 500, b"NOOP\r\n")
    assert not read(1, 122, b"200 ok\r\n")
    assert read(1, 130, b"200 ok\r\n")


def test_the_latest_line_starts_are_remembered() -> None:
    starts = LineStarts()
    for seq in (100, 200, 50, 300):  # 50 is older than both that are known
        starts.ended(0, seq, b"\n")
    assert [seq for seq in range(400) if starts.begins_line(0, seq)] == [201, 301]
    wrapping = LineStarts()
    for seq in (0xFFFFFFF0, 0xFFFFFFFE, 1):
        wrapping.ended(0, seq, b"a\n")
    assert [seq for seq in (0xFFFFFFF2, 0, 3) if wrapping.begins_line(0, seq)] == [0, 3]


@pytest.mark.parametrize("opcode", range(8))
def test_tftp(opcode: int) -> None:
    assert is_request(bytes([0, opcode]) + b"file\0octet\0") == (opcode in (1, 2))
    assert not is_request(bytes([opcode]))


@given(
    start=st.integers(0, 0xFFFFFFFF),
    sizes=st.lists(st.tuples(st.integers(1, 500), st.integers(-30, 30)), min_size=1, max_size=1),
    after=st.lists(st.integers(1, 500), max_size=5),
)
def test_numbers_follow_the_bytes(
    start: int, sizes: list[tuple[int, int]], after: list[int]
) -> None:
    """A stream of which one segment changes its length: numbers are those of the changed stream."""
    adjust = SeqAdjust()
    seq = out = start
    for size, more in [*sizes, *((size, 0) for size in after)]:
        more = max(more, 1 - size)
        if more:
            adjust.shift(seq, more)
            adjust.shift(seq, more)  # sent again
        assert adjust.outgoing(seq) == out
        seq, out = (seq + size) & 0xFFFFFFFF, (out + size + more) & 0xFFFFFFFF
        assert adjust.acknowledged(out) == seq


def test_several_changes_add_up() -> None:
    adjust = SeqAdjust()
    adjust.shift(1000, 4)
    assert [adjust.outgoing(n) for n in (900, 1000, 1020)] == [900, 1000, 1024]
    adjust.shift(2000, -2)
    assert [adjust.outgoing(n) for n in (2000, 2020)] == [2004, 2022]
    assert [adjust.acknowledged(n) for n in (2004, 2022)] == [2000, 2020]

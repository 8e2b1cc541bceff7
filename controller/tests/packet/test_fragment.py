# SPDX-License-Identifier: Apache-2.0
"""Fragments put together and cut again, as scapy cuts them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from p4ct.packet.build import push_vlan
from p4ct.packet.fragment import Fragment, cut, join, read_fragment
from p4ct.packet.parse import parse
from scapy.layers.inet import IP, UDP, IPOption, fragment
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    fragment6,
)
from scapy.layers.l2 import Ether

PAYLOAD = bytes(range(256)) * 20
ETHER = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}


def ipv4(size: int, at: int = 1480, **fields: object) -> tuple[bytes, list[bytes]]:
    """A whole frame and its fragments."""
    ip = IP(src="10.0.0.1", dst="10.0.0.2", id=77, **fields)
    whole = Ether(**ETHER) / ip / UDP(sport=1000, dport=53) / PAYLOAD[:size]
    return bytes(whole), [bytes(piece) for piece in fragment(Ether(bytes(whole)), at)]


def ipv6(size: int, *before: object, room: int = 1500) -> tuple[bytes, list[bytes]]:
    """The same with the extension headers `before` that every fragment carries."""
    udp = UDP(sport=1000, dport=53) / PAYLOAD[:size]
    plain = IPv6(src="fd00::1", dst="fd00::2", fl=5)
    split = IPv6(src="fd00::1", dst="fd00::2", fl=5)
    for header in before:
        plain, split = plain / header, split / header
    whole = Ether(**ETHER) / plain / udp
    pieces = fragment6(split / IPv6ExtHdrFragment(id=99) / udp, room)
    return bytes(whole), [bytes(Ether(**ETHER) / piece) for piece in pieces]


def read(frames: list[bytes]) -> list[Fragment]:
    pieces: list[Fragment] = []
    for frame in frames:
        pkt = parse(frame)
        assert pkt.frag
        assert pkt.error == ""
        pieces.append(read_fragment(pkt))
    return pieces


def there_and_back(whole: bytes, frames: list[bytes]) -> None:
    joined = join(read(frames))
    assert not isinstance(joined, str)
    pkt, cuts = joined
    assert pkt.frame == whole
    assert pkt.error == ""
    assert pkt.frag == 0
    assert (pkt.sport, pkt.dport) == (1000, 53)
    assert pkt.wire_len == sum(map(len, frames))
    assert cut(pkt, cuts) == frames


@given(size=st.integers(2000, 5000), at=st.integers(100, 1480))
def test_ipv4(size: int, at: int) -> None:
    # scapy leaves the checksum of the whole packet as it was before the id was known
    whole, frames = ipv4(size, at & ~7)
    there_and_back(whole, frames)


@given(size=st.integers(2000, 5000), room=st.integers(1280, 1500))
def test_ipv6(size: int, room: int) -> None:
    there_and_back(*ipv6(size, room=room))


def test_headers_before_the_fragment_header_are_in_every_fragment() -> None:
    there_and_back(*ipv6(4000, IPv6ExtHdrHopByHop(), IPv6ExtHdrDestOpt()))


def test_ipv4_options_of_the_first_fragment_only() -> None:
    record = IPOption(b"\x07\x07\x04\x00\x00\x00\x00\x00")  # not copied (RFC 791)
    _, frames = ipv4(3000, options=[record])
    joined = join(read(frames))
    assert not isinstance(joined, str)
    again = cut(*joined)
    assert Ether(again[0])[IP].ihl == 7
    assert Ether(again[1])[IP].ihl == 5
    assert b"".join(f[14 + Ether(f)[IP].ihl * 4 :] for f in again) == joined[0].frame[14 + 28 :]


def test_a_tag_and_df_stay() -> None:
    _, frames = ipv4(3000, flags="DF")
    frames = [push_vlan(bytes(_with_df(frame)), 7, 3) for frame in frames]
    joined = join(read(frames))
    assert not isinstance(joined, str)
    assert joined[0].vlan_id == 7
    assert cut(*joined) == frames


def _with_df(frame: bytes) -> Ether:
    packet = Ether(frame)
    packet[IP].flags |= 2
    packet[IP].chksum = None
    return packet


def test_padding_is_no_data() -> None:
    _, frames = ipv4(1473)
    assert len(frames[-1]) < 60
    joined = join(read([frames[0], frames[1] + bytes(60 - len(frames[1]))]))
    assert not isinstance(joined, str)
    assert joined[0].payload_len == 1473


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        ((0, 0), 0),
        ((2, 2), 2),
        ((2, 3), 3),
        ((3, 1), 3),
        ((3, 3), 3),
        ((0, 3), None),
        ((1, 0), None),
    ],
)
def test_ecn(version: int, marks: tuple[int, int], expected: int | None) -> None:
    _, frames = ipv4(2000) if version == 4 else ipv6(2000)
    marked: list[bytes] = []
    for frame, mark in zip(frames, marks, strict=True):
        packet = Ether(frame)
        if version == 4:
            packet[IP].tos = mark
            packet[IP].chksum = None
        else:
            packet[IPv6].tc = mark
        marked.append(bytes(packet))
    joined = join(read(marked))
    if expected is None:
        assert joined == "ECN fields that do not go together"
    else:
        assert not isinstance(joined, str)
        assert joined[0].tos == expected
        assert joined[0].error == ""
        assert [parse(frame).tos for frame in cut(*joined)] == [expected, expected]

# SPDX-License-Identifier: Apache-2.0
"""Fragments and answers, as scapy and the standards see them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from p4ct.packet import build
from p4ct.packet.parse import parse
from p4ct.packet.too_big import fragments, ip_length, may_be_fragmented, too_big_answer
from scapy.layers.inet import ICMP, IP, UDP, IPOption
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6
from scapy.layers.l2 import Ether

ROUTER = bytes([10, 0, 0, 254])
PAYLOAD = bytes(range(256)) * 12


def udp(**fields: object) -> bytes:
    ether = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    ip = IP(src="10.0.0.1", dst="10.0.0.2", id=77, **fields)
    return bytes(ether / ip / UDP(sport=1, dport=2) / PAYLOAD)


def joined(frames: list[bytes], mtu: int) -> bytes:
    """The payload of all fragments; each is sound, and they follow each other without a gap."""
    result = b""
    for number, frame in enumerate(frames):
        ip = Ether(frame)[IP]
        assert ip.len <= mtu
        assert parse(frame).error == ""  # the header checksum too
        assert ip.id == 77
        assert ip.frag * 8 == len(result)
        assert ("MF" in ip.flags) == (number < len(frames) - 1)
        result += bytes(ip)[ip.ihl * 4 : ip.len]
    return result


@given(mtu=st.integers(68, 3200), size=st.integers(0, 3000))
def test_fragments_are_the_packet(mtu: int, size: int) -> None:
    ether = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    segment = bytes(UDP(sport=1, dport=2, len=8 + size, chksum=0)) + PAYLOAD[:size]
    frame = bytes(ether / IP(src="10.0.0.1", dst="10.0.0.2", id=77, proto=17) / segment)
    pkt = parse(frame + b"padding")
    assert may_be_fragmented(pkt)
    assert joined(fragments(pkt, mtu), mtu) == segment


def test_a_fragment_of_a_fragment() -> None:
    first, *_, last = fragments(parse(udp()), 1500)
    again = fragments(parse(first), 576)
    assert all(Ether(piece)[IP].flags == "MF" for piece in again)
    again = fragments(parse(last), 68)
    offsets = [Ether(piece)[IP].frag for piece in again]
    assert offsets[0] == Ether(last)[IP].frag
    assert [Ether(piece)[IP].flags for piece in again][-1] == 0


def test_options_that_fragments_copy() -> None:
    route = IPOption(b"\x83\x07\x04\x0a\x00\x00\x09")  # loose source route: copied
    record = IPOption(b"\x07\x07\x04\x00\x00\x00\x00")  # record route: not copied
    frames = fragments(parse(udp(options=[record, route])), 1000)
    assert joined(frames, 1000)[8:] == PAYLOAD
    assert Ether(frames[0])[IP].ihl == 9
    for frame in frames[1:]:
        ip = Ether(frame)[IP]
        assert ip.ihl == 7
        assert bytes(ip)[20:28] == b"\x83\x07\x04\x0a\x00\x00\x09\x00"


def test_what_may_be_fragmented() -> None:
    assert not may_be_fragmented(parse(udp(flags="DF")))
    assert not may_be_fragmented(parse(build.udp_frame(src="fd00::1", dst="::2", sport=1, dport=2)))
    assert ip_length(parse(udp())) == 20 + 8 + len(PAYLOAD)
    six = build.udp_frame(src="fd00::1", dst="fd00::2", sport=1, dport=2, payload=b"abc")
    assert ip_length(parse(six)) == 40 + 8 + 3
    arp = build.arp_frame(op=1, sha=bytes(6), spa=ROUTER, tpa=ROUTER)
    assert ip_length(parse(arp)) == 0


@pytest.mark.parametrize("source", [None, ROUTER])
def test_the_answer_of_ipv4(source: bytes | None) -> None:
    frame = udp(flags="DF")
    raw = too_big_answer(parse(frame), 1400, source)
    answer = Ether(raw)
    assert (answer.src, answer.dst) == ("02:00:00:00:00:02", "02:00:00:00:00:01")
    assert answer[IP].src == ("10.0.0.2" if source is None else "10.0.0.254")
    assert answer[IP].dst == "10.0.0.1"
    assert raw is not None
    assert parse(raw).error == ""
    icmp = answer[ICMP]
    assert (icmp.type, icmp.code, icmp.nexthopmtu) == (3, 4, 1400)
    assert build.checksum(raw[34:]) == 0
    assert raw[42:] == frame[14 : 14 + 548]
    assert answer[IP].len == 576


def test_the_answer_of_ipv6() -> None:
    frame = build.udp_frame(src="fd00::1", dst="fd00::2", sport=1, dport=2, payload=PAYLOAD)
    answer = Ether(too_big_answer(parse(frame), 1400, None))
    ip = answer[IPv6]
    assert (ip.src, ip.dst, ip.plen) == ("fd00::2", "fd00::1", 1240)
    assert answer[ICMPv6PacketTooBig].mtu == 1400
    given = answer[ICMPv6PacketTooBig].cksum
    fresh = IPv6(bytes(ip))
    del fresh[ICMPv6PacketTooBig].cksum
    assert IPv6(bytes(fresh))[ICMPv6PacketTooBig].cksum == given
    assert bytes(answer[ICMPv6PacketTooBig])[8:] == frame[14 : 14 + 1232]


MULTICAST = "01:00:5e:00:00:01"


@pytest.mark.parametrize("frame", [
    build.icmp_frame(src="10.0.0.1", dst="10.0.0.2", icmp_type=3, body=bytes(600)),
    build.icmp_frame(src="fd00::1", dst="fd00::2", icmp_type=1, body=bytes(600)),
    build.udp_frame(src="10.0.0.1", dst="224.0.0.1", sport=1, dport=2),
    build.udp_frame(src="10.0.0.1", dst="255.255.255.255", sport=1, dport=2),
    build.udp_frame(src="0.0.0.0", dst="10.0.0.2", sport=1, dport=2),
    build.udp_frame(src="fd00::1", dst="ff02::1", sport=1, dport=2),
    build.udp_frame(src="::", dst="fd00::1", sport=1, dport=2),
    build.udp_frame(src="10.0.0.1", dst="10.0.0.2", sport=1, dport=2, eth_dst=MULTICAST),
    build.ip_frame(src="10.0.0.1", dst="10.0.0.2", proto=17, payload=bytes(99), fragment=5),
    build.ip_frame(src="10.0.0.1", dst="10.0.0.2", proto=17, payload=bytes(4)),
], ids=range(10))  # fmt: skip
def test_what_nobody_answers(frame: bytes) -> None:
    assert too_big_answer(parse(frame), 576, None) is None


def test_an_echo_is_answered() -> None:
    frame = build.icmp_echo_frame(src="10.0.0.1", dst="10.0.0.2", identifier=1, payload=PAYLOAD)
    assert too_big_answer(parse(frame), 576, None) is not None
    frame = build.icmp_echo_frame(src="fd00::1", dst="fd00::2", identifier=1, payload=PAYLOAD)
    assert too_big_answer(parse(frame), 1280, None) is not None

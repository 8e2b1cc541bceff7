# SPDX-License-Identifier: Apache-2.0
"""Rewritten packets are those that would have been built with the new fields."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from p4ct.packet import Packet, build, parse
from p4ct.packet.checksum import checksum, crc32c, l4_checksum
from p4ct.packet.quoted import translate_error
from p4ct.packet.rewrite import set_arp, set_link, set_tos, set_ttl, translate

V4 = st.integers(1, (1 << 32) - 1).map(lambda n: n.to_bytes(4, "big"))
V6 = st.integers(1, (1 << 128) - 1).map(lambda n: n.to_bytes(16, "big"))
PORT = st.integers(0, 0xFFFF)
BODY = st.binary(max_size=9)
KINDS = ("tcp", "udp", "icmp")


def frame_of(kind: str, ends: tuple[bytes, bytes, int, int], body: bytes, **more: Any) -> bytes:
    src, dst, sport, dport = ends
    if kind == "icmp":
        return build.icmp_echo_frame(src=src, dst=dst, identifier=sport, payload=body, **more)
    make = build.tcp_frame if kind == "tcp" else build.udp_frame
    return make(src=src, dst=dst, sport=sport, dport=dport, payload=body, **more)


def fields(pkt: Packet) -> dict[str, Any]:
    return {name: getattr(pkt, name) for name in Packet.__slots__ if name != "frame"}


def same(one: bytes, two: bytes, kind: str, version: int) -> bool:
    """Equal, where 0 and 0xFFFF are the same checksum."""
    at = 14 + (20 if version == 4 else 40) + {"tcp": 16, "udp": 6, "icmp": 2}[kind]
    masked = [
        frame[:at] + (b"\xff\xff" if frame[at : at + 2] == b"\0\0" else frame[at : at + 2])
        + frame[at + 2 :]
        for frame in (one, two)
    ]  # fmt: skip
    return masked[0] == masked[1]


@given(data=st.data(), kind=st.sampled_from(KINDS), v6=st.booleans(), body=BODY)
def test_translate(data: st.DataObject, kind: str, v6: bool, body: bytes) -> None:
    address = V6 if v6 else V4
    old, new = (data.draw(st.tuples(address, address, PORT, PORT)) for _ in range(2))
    came = parse(frame_of(kind, old, body, vlan_id=data.draw(st.sampled_from([None, 5]))))
    assert not came.error
    expected = parse(frame_of(kind, new, body, vlan_id=came.vlan_id))
    made = translate(came, new)
    untagged = [build.pop_vlan(pkt.frame) for pkt in (made, expected)]
    assert same(*untagged, kind, 6 if v6 else 4)
    assert fields(made) == fields(parse(made.frame)) == fields(expected)
    # the packet that came is as it was
    assert fields(came) == fields(parse(came.frame))


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_checksum_stays_wrong(kind: str) -> None:
    old = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), 1000, 80
    new = bytes([192, 0, 2, 9]), bytes([10, 0, 0, 2]), 2000, 80
    frame = bytearray(frame_of(kind, old, b"body"))
    frame[-1] ^= 0x20
    made = translate(parse(bytes(frame)), new)
    good = frame_of(kind, new, b"body")
    assert made.frame != good
    assert made.frame[:-1] == good[:-1]
    frame[24] ^= 0xFF  # the checksum of the IPv4 header
    again = parse(translate(parse(bytes(frame)), new).frame)
    assert again.error == "bad IPv4 checksum"


def test_no_udp_checksum_stays_none_and_zero_is_sent_as_ffff() -> None:
    ends = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), 1000, 80
    frame = bytearray(frame_of("udp", ends, b"body"))
    frame[40:42] = bytes(2)
    other = bytes([10, 0, 0, 9]), ends[1], 7, 80
    assert translate(parse(bytes(frame)), other).frame[40:42] == bytes(2)
    # a source port with which the sum is 0xFFFF, and so the checksum 0
    plain = parse(frame_of("udp", (*ends[:2], 0, 80), b"body"))
    port = int.from_bytes(plain.frame[40:42], "big")
    made = translate(plain, (*ends[:2], port, 80))
    assert made.frame[40:42] == b"\xff\xff"
    assert made.frame == frame_of("udp", (*ends[:2], port, 80), b"body")


def test_a_later_fragment_changes_its_addresses_only() -> None:
    frame = build.ip_frame(
        src="10.0.0.1", dst="10.0.0.2", proto=17, payload=bytes(range(16)), fragment=3
    )
    made = translate(parse(frame), (bytes([1, 2, 3, 4]), bytes([5, 6, 7, 8]), 9, 9))
    assert made.frame == build.ip_frame(
        src="1.2.3.4", dst="5.6.7.8", proto=17, payload=bytes(range(16)), fragment=3
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("v6", [False, True])
@pytest.mark.parametrize("whole", [False, True], ids=["8 bytes quoted", "all quoted"])
def test_the_packet_that_an_error_quotes(kind: str, v6: bool, whole: bool) -> None:
    """Inside out: what the sender gets quotes what the sender sent, and all checksums hold."""
    router, inside, outside, server = (
        (b"\xfd" + bytes(14) + bytes([n])) if v6 else bytes([10, 0, 0, n]) for n in (1, 2, 3, 4)
    )
    size = 40 if v6 else 20

    def error(source: bytes, target: bytes, ends: tuple[bytes, bytes, int, int]) -> bytes:
        quote = frame_of(kind, ends, b"0123456789a")[14:]
        return build.icmp_frame(
            src=source,
            dst=target,
            icmp_type=1 if v6 else 3,
            icmp_code=1,
            body=bytes(4) + (quote if whole else quote[: size + 8]),
        )

    came = parse(error(router, outside, (outside, server, 2000, 80)))
    wanted = inside, server, 1000, 80
    made = translate_error(came, router, inside, wanted)
    assert made is not None
    assert made.frame == error(router, inside, wanted)
    assert fields(made) == fields(parse(made.frame))


def sctp_frame(ends: tuple[bytes, bytes, int, int], damage: int = 0) -> bytes:
    src, dst, sport, dport = ends
    bare = sport.to_bytes(2, "big") + dport.to_bytes(2, "big") + b"\0\0\0\7" + bytes(4) + b"chunk"
    crc = (crc32c(bare) ^ damage).to_bytes(4, "little")
    return build.ip_frame(src=src, dst=dst, proto=132, payload=bare[:8] + crc + bare[12:])


def test_sctp_and_its_crc() -> None:
    old = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), 1000, 80
    new = bytes([192, 0, 2, 9]), bytes([10, 0, 0, 2]), 2000, 81
    made = translate(parse(sctp_frame(old)), new)
    assert made.frame == sctp_frame(new)
    assert (made.sport, made.dport) == (2000, 81)
    wrong = translate(parse(sctp_frame(old, damage=1)), new)
    assert wrong.frame[:42] == sctp_frame(new)[:42]
    assert wrong.frame[42:46] == sctp_frame(old, damage=1)[42:46]


def test_every_icmp_query_has_an_identifier() -> None:
    def stamp(src: str, identifier: int) -> bytes:
        body = identifier.to_bytes(2, "big") + bytes(14)
        return build.icmp_frame(src=src, dst="10.0.0.2", icmp_type=13, body=body)

    new = bytes([192, 0, 2, 9]), bytes([10, 0, 0, 2]), 501, 0
    assert translate(parse(stamp("10.0.0.1", 500)), new).frame == stamp("192.0.2.9", 501)


def test_a_quote_with_extension_headers_and_one_that_is_too_short() -> None:
    router, inside, outside, server = (b"\xfd" + bytes(14) + bytes([n]) for n in (1, 2, 3, 4))

    def error(target: bytes, ends: tuple[bytes, bytes, int, int], keep: int = 1000) -> bytes:
        plain = frame_of("udp", ends, b"0123456789")[14:]
        hop = bytes([17, 0, 1, 4, 0, 0, 0, 0])
        length = (len(plain) - 40 + 8).to_bytes(2, "big")
        quote = plain[:4] + length + bytes([0]) + plain[7:40] + hop + plain[40:]
        return build.icmp_frame(src=router, dst=target, icmp_type=1, body=bytes(4) + quote[:keep])

    wanted = inside, server, 1000, 80
    came = parse(error(outside, (outside, server, 2000, 80)))
    made = translate_error(came, router, inside, wanted)
    assert made is not None
    assert made.frame == error(inside, wanted)
    short = parse(error(outside, (outside, server, 2000, 80), keep=40 + 8 + 7))
    assert translate_error(short, router, inside, wanted) is None


@given(ttl=st.integers(0, 255), tos=st.integers(0, 255), v6=st.booleans())
def test_ttl_and_tos(ttl: int, tos: int, v6: bool) -> None:
    ends = {"src": "fd00::1", "dst": "fd00::2"} if v6 else {"src": "10.0.0.1", "dst": "10.0.0.2"}
    came = parse(build.udp_frame(**ends, sport=1, dport=2, ttl=9, tos=0x45))
    expected = build.udp_frame(**ends, sport=1, dport=2, ttl=ttl, tos=tos)
    made = set_tos(set_ttl(came, ttl), tos)
    assert made.frame == expected
    assert fields(made) == fields(parse(expected))


def test_link_and_arp() -> None:
    frame = build.arp_frame(op=1, sha="2:0:0:0:0:1", spa="10.0.0.1", tpa="10.0.0.2")
    mac, other = bytes([2, 0, 0, 0, 0, 9]), bytes([2, 0, 0, 0, 0, 1])
    made = set_arp(
        set_link(parse(frame), mac, other), 2, mac, bytes([10, 0, 0, 2]), other,
        bytes([10, 0, 0, 1]),
    )  # fmt: skip
    expected = build.arp_frame(
        op=2, sha=mac, spa="10.0.0.2", tha=other, tpa="10.0.0.1", eth_dst=other
    )
    assert made.frame == expected
    assert fields(made) == fields(parse(expected))


def test_the_checksums_of_this_test_are_right() -> None:
    pkt = parse(frame_of("tcp", (bytes([1, 2, 3, 4]), bytes([5, 6, 7, 8]), 1, 2), b"x"))
    assert checksum(pkt.frame[14:34]) == 0
    assert l4_checksum(pkt.src, pkt.dst, 6, pkt.frame[34:]) == 0

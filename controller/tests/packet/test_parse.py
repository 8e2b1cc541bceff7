# SPDX-License-Identifier: Apache-2.0
"""parse(): what it reads from sound frames, and what it says about faulty ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from p4ct.packet.build import arp_frame, icmp_echo_frame, icmp_frame, ip_frame, push_vlan
from p4ct.packet.build import tcp_frame as build_tcp
from p4ct.packet.build import udp_frame as build_udp
from p4ct.packet.checksum import checksum
from p4ct.packet.parse import Packet, parse

V4 = {"src": "10.0.0.1", "dst": "10.0.0.2"}
V6 = {"src": "fd00::1", "dst": "fd00::2"}
PORTS = {"sport": 1234, "dport": 80}


def with_bytes(frame: bytes, offset: int, value: bytes) -> bytes:
    return frame[:offset] + value + frame[offset + len(value) :]


def fix_ipv4_checksum(frame: bytes, header: int = 20) -> bytes:
    zeroed = with_bytes(frame, 24, b"\0\0")
    return with_bytes(zeroed, 24, checksum(zeroed[14 : 14 + header]).to_bytes(2, "big"))


def test_tcp_fields() -> None:
    pkt = parse(
        build_tcp(
            **V4,
            **PORTS,
            seq=0x01020304,
            ack=0x05060708,
            flags=0x18,
            window=4096,
            options=b"\x01\x01\x08\x0a" + bytes(8),
            payload=b"hello",
            eth_src="02:00:00:00:00:0a",
            eth_dst="02:00:00:00:00:0b",
            ttl=7,
            tos=0x28,
        )
    )
    assert pkt.error == ""
    assert (pkt.eth_src[-1], pkt.eth_dst[-1], pkt.eth_type) == (0x0A, 0x0B, 0x0800)
    assert (pkt.version, pkt.proto, pkt.ttl, pkt.tos) == (4, 6, 7, 0x28)
    assert (pkt.src, pkt.dst) == (bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]))
    assert (pkt.sport, pkt.dport, pkt.seq, pkt.ack) == (1234, 80, 0x01020304, 0x05060708)
    assert (pkt.flags, pkt.window, pkt.doff, pkt.payload_len) == (0x18, 4096, 8, 5)
    assert (pkt.l3_offset, pkt.l4_offset, pkt.l4_len) == (14, 34, 37)
    assert (pkt.frag, pkt.options, pkt.vlan_id) == (0, False, None)


def test_ethernet_padding_is_not_payload() -> None:
    frame = build_tcp(**V4, **PORTS) + bytes(6)
    pkt = parse(frame)
    assert (pkt.error, pkt.payload_len, pkt.wire_len) == ("", 0, 60)


def test_wire_len_can_be_told() -> None:
    assert parse(build_udp(**V4, **PORTS), wire_len=999).wire_len == 999


def test_vlan_tag_moves_everything_by_four() -> None:
    plain = parse(build_udp(**V6, **PORTS, payload=b"x"))
    tagged = parse(push_vlan(plain.frame, 77, 5))
    assert (tagged.vlan_id, tagged.vlan_pcp, tagged.eth_type) == (77, 5, 0x86DD)
    assert (tagged.l3_offset, tagged.l4_offset) == (plain.l3_offset + 4, plain.l4_offset + 4)
    assert (tagged.src, tagged.dport, tagged.payload_len) == (plain.src, 80, 1)


def test_second_vlan_tag_is_the_ethertype() -> None:
    pkt = parse(push_vlan(push_vlan(build_udp(**V4, **PORTS), 1), 2))
    assert (pkt.vlan_id, pkt.eth_type, pkt.version, pkt.error) == (2, 0x8100, 0, "")


def test_priority_tag_is_vlan_zero_not_untagged() -> None:
    assert parse(push_vlan(build_udp(**V4, **PORTS), 0, 3)).vlan_id == 0


@pytest.mark.parametrize(("addresses", "request_type"), [(V4, 8), (V6, 128)])
def test_echo_id_and_type(addresses: dict[str, str], request_type: int) -> None:
    request = parse(icmp_echo_frame(**addresses, identifier=0x1234))
    reply = parse(icmp_echo_frame(**addresses, identifier=0x1234, reply=True))
    assert (request.sport, request.dport) == (0x1234, request_type << 8)
    assert reply.sport == 0x1234
    assert reply.icmp_type == {8: 0, 128: 129}[request_type]


def test_other_icmp_has_no_id() -> None:
    pkt = parse(icmp_frame(**V4, icmp_type=3, icmp_code=1, body=b"\x12\x34\x56\x78"))
    assert (pkt.sport, pkt.dport, pkt.icmp_type, pkt.icmp_code) == (0, 0x0301, 3, 1)


def test_neighbour_target() -> None:
    target = bytes(range(16))
    pkt = parse(icmp_frame(**V6, icmp_type=135, body=bytes(4) + target))
    assert (pkt.nd_target, pkt.error) == (target, "")
    assert parse(icmp_frame(**V6, icmp_type=133, body=bytes(4) + target)).nd_target == b""


def test_arp_fields() -> None:
    pkt = parse(arp_frame(op=2, sha="02:00:00:00:00:01", spa="10.0.0.1", tpa="10.0.0.2"))
    assert (pkt.arp_op, pkt.arp_spa, pkt.arp_tpa) == (2, b"\x0a\0\0\x01", b"\x0a\0\0\x02")
    assert (pkt.arp_sha, pkt.arp_tha) == (b"\x02\0\0\0\0\x01", bytes(6))
    assert (pkt.version, pkt.proto) == (0, -1)


def test_arp_of_another_hardware_is_opaque() -> None:
    frame = arp_frame(op=1, sha="02:00:00:00:00:01", spa="10.0.0.1", tpa="10.0.0.2")
    pkt = parse(with_bytes(frame, 14, b"\0\x06"))
    assert (pkt.arp_op, pkt.error) == (0, "")


def test_ipv4_options_are_skipped() -> None:
    frame = ip_frame(**V4, proto=17, payload=bytes(4) + b"\x00\x07\x00\x09\x00\x08\x00\x00")
    frame = fix_ipv4_checksum(with_bytes(frame, 14, b"\x46"), 24)
    pkt = parse(frame)
    assert (pkt.error, pkt.options, pkt.sport, pkt.dport) == ("", True, 7, 9)


@pytest.mark.parametrize(
    ("fragment", "frag", "ports"),
    [(0x4000, 0, (7, 9)), (0x2000, 1, (7, 9)), (0x2001, 2, (0, 0)), (0x0001, 2, (0, 0))],
)
def test_ipv4_fragments(fragment: int, frag: int, ports: tuple[int, int]) -> None:
    # the UDP length is that of the whole datagram, so a first fragment is shorter than it
    payload = b"\x00\x07\x00\x09\x00\x40\x00\x00" + bytes(8 if frag else 56)
    pkt = parse(ip_frame(**V4, proto=17, payload=payload, fragment=fragment))
    assert (pkt.error, pkt.frag, (pkt.sport, pkt.dport)) == ("", frag, ports)
    assert pkt.proto == 17


UDP = b"\x00\x07\x00\x09\x00\x08\x00\x00"


@pytest.mark.parametrize(
    ("first", "headers", "frag"),
    [
        (0, b"\x11\x00" + bytes(6), 0),
        (43, b"\x11\x01" + bytes(14), 0),
        (60, b"\x00\x00" + bytes(6) + b"\x11\x00" + bytes(6), 0),
        (51, b"\x11\x04" + bytes(22), 0),
        (44, b"\x11\x00\x00\x00" + bytes(4), 0),
        (44, b"\x11\x00\x00\x01" + bytes(4), 1),
        (44, b"\x11\x00\x00\x08" + bytes(4), 2),
    ],
    ids=["hop-by-hop", "routing", "two", "AH", "atomic fragment", "first", "later"],
)
def test_ipv6_extension_headers(first: int, headers: bytes, frag: int) -> None:
    pkt = parse(ip_frame(**V6, proto=first, payload=headers + UDP))
    assert (pkt.error, pkt.options, pkt.proto, pkt.frag) == ("", True, 17, frag)
    assert (pkt.l4_offset, pkt.l4_len) == (54 + len(headers), 8)
    assert (pkt.sport, pkt.dport) == ((0, 0) if frag == 2 else (7, 9))


def test_ipv6_no_next_header_and_esp_end_the_walk() -> None:
    assert parse(ip_frame(**V6, proto=59)).proto == 59
    assert parse(ip_frame(**V6, proto=50, payload=bytes(20))).proto == 50


TCP_V4 = build_tcp(**V4, **PORTS)
TCP_V6 = build_tcp(**V6, **PORTS)
UDP_V4 = build_udp(**V4, **PORTS, payload=b"abcd")


@pytest.mark.parametrize(
    ("frame", "error", "version"),
    [
        (b"\0" * 13, "truncated Ethernet header", 0),
        (TCP_V4[:12] + b"\x81\x00\x00", "truncated VLAN tag", 0),
        (TCP_V4[:33], "truncated IPv4 header", 0),
        (fix_ipv4_checksum(with_bytes(TCP_V4, 14, b"\x65")), "IPv4 version is not 4", 0),
        (with_bytes(TCP_V4, 14, b"\x44"), "IPv4 header length below 20", 0),
        (with_bytes(ip_frame(**V4, proto=6), 14, b"\x4f"), "truncated IPv4 options", 0),
        (
            with_bytes(TCP_V4, 16, b"\x00\x13"),
            "IPv4 total length below the header length",
            0,
        ),
        (with_bytes(TCP_V4, 16, b"\x00\x29"), "IPv4 total length beyond the frame", 0),
        (with_bytes(TCP_V4, 24, b"\x00\x01"), "bad IPv4 checksum", 4),
        (with_bytes(TCP_V4, 22, b"\x05"), "bad IPv4 checksum", 4),
        (TCP_V6[:53], "truncated IPv6 header", 0),
        (with_bytes(TCP_V6, 14, b"\x45"), "IPv6 version is not 6", 0),
        (with_bytes(TCP_V6, 18, b"\x00\x15"), "IPv6 payload length beyond the frame", 0),
        (
            ip_frame(**V6, proto=0, payload=b"\x11\x00\x00"),
            "truncated IPv6 extension header",
            6,
        ),
        (
            ip_frame(**V6, proto=60, payload=b"\x11\x01" + bytes(6)),
            "truncated IPv6 extension header",
            6,
        ),
        (ip_frame(**V4, proto=6, payload=bytes(19)), "truncated TCP header", 4),
        (with_bytes(TCP_V4, 46, b"\x40"), "TCP data offset below 5", 4),
        (with_bytes(TCP_V4, 46, b"\x60"), "TCP data offset beyond the segment", 4),
        (ip_frame(**V4, proto=17, payload=bytes(7)), "truncated UDP header", 4),
        (with_bytes(UDP_V4, 38, b"\x00\x07"), "UDP length below 8", 4),
        (with_bytes(UDP_V4, 38, b"\x00\x0d"), "UDP length beyond the IP payload", 4),
        (ip_frame(**V4, proto=1, payload=bytes(7)), "truncated ICMP header", 4),
        (
            icmp_frame(**V6, icmp_type=135, body=bytes(19)),
            "truncated neighbour discovery target",
            6,
        ),
        (TCP_V4[:12] + b"\x08\x06" + bytes(27), "truncated ARP packet", 0),
    ],
)
def test_faults(frame: bytes, error: str, version: int) -> None:
    pkt = parse(frame)
    assert (pkt.error, pkt.version) == (error, version)
    if version == 0:
        assert (pkt.src, pkt.dst, pkt.proto, pkt.sport) == (b"", b"", -1, 0)


def test_fields_survive_a_bad_checksum() -> None:
    pkt = parse(with_bytes(TCP_V4, 24, b"\x00\x01"))
    assert (pkt.src, pkt.sport, pkt.dport) == (bytes([10, 0, 0, 1]), 1234, 80)


def test_udp_length_may_be_shorter_than_ip_says() -> None:
    pkt = parse(with_bytes(UDP_V4, 38, b"\x00\x0a"))
    assert (pkt.error, pkt.payload_len) == ("", 2)


@pytest.mark.parametrize(
    "make",
    [
        lambda: build_tcp(**V4, **PORTS, options=b"\x02\x04\x05\xb4", payload=b"abc"),
        lambda: push_vlan(build_tcp(**V6, **PORTS, payload=b"abc"), 9),
        lambda: build_udp(**V4, **PORTS, payload=b"abc"),
        lambda: icmp_frame(**V6, icmp_type=136, body=bytes(20)),
        lambda: arp_frame(op=1, sha="02:00:00:00:00:01", spa="1.1.1.1", tpa="1.1.1.2"),
        lambda: ip_frame(**V6, proto=0, payload=b"\x3c\x00" + bytes(6) + b"\x11\x00" + bytes(14)),
    ],
)
def test_every_truncation_is_an_error(make: Callable[[], bytes]) -> None:
    frame = make()
    whole = parse(frame)
    for size in range(len(frame)):
        pkt = parse(frame[:size])
        assert isinstance(pkt, Packet)
        assert pkt.error.startswith(("truncated", "IPv4 total length", "IPv6 payload length")), size
    assert "beyond" not in whole.error

# SPDX-License-Identifier: Apache-2.0
"""Builders make sound frames (scapy recomputes the same checksums); text goes both ways."""

from __future__ import annotations

from typing import Any

import pytest
from p4ct.packet.build import (
    arp_frame,
    icmp_echo_frame,
    pop_vlan,
    push_vlan,
    tcp_frame,
    udp_frame,
)
from p4ct.packet.checksum import checksum, l4_checksum
from p4ct.packet.parse import parse
from p4ct.packet.tcp_options import NO_OPTIONS, tcp_options
from p4ct.packet.text import format_ip, format_mac, parse_ip, parse_mac
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import ARP, Ether

V4 = {"src": "192.0.2.1", "dst": "198.51.100.7"}
V6 = {"src": "2001:db8::1", "dst": "2001:db8:ffff::7"}


def recomputed(frame: bytes, layers: list[Any]) -> bytes:
    packet = Ether(frame)
    for layer in layers:
        packet[layer].delfieldval("cksum" if layer is ICMPv6EchoRequest else "chksum")
    return bytes(packet)


@pytest.mark.parametrize("addresses", [V4, V6])
@pytest.mark.parametrize("data", [b"", b"x", b"odd", b"\xff" * 8])
def test_checksums_are_those_of_scapy(addresses: dict[str, str], data: bytes) -> None:
    ip = [IP] if addresses is V4 else []
    segment = tcp_frame(**addresses, sport=1, dport=2, seq=3, ack=4, payload=data)
    assert recomputed(segment, [*ip, TCP]) == segment
    datagram = udp_frame(**addresses, sport=1, dport=2, payload=data)
    assert recomputed(datagram, [*ip, UDP]) == datagram
    echo = icmp_echo_frame(**addresses, identifier=5, sequence=6, payload=data)
    assert recomputed(echo, [*ip, ICMP if ip else ICMPv6EchoRequest]) == echo


def test_ipv6_layers() -> None:
    packet = Ether(udp_frame(**V6, sport=1, dport=2, tos=0x2E, ttl=9, vlan_id=5))
    assert (packet[IPv6].tc, packet[IPv6].hlim, packet.vlan) == (0x2E, 9, 5)


def test_arp_is_what_scapy_reads() -> None:
    packet = Ether(arp_frame(op=1, sha="02:00:00:00:00:01", spa="10.0.0.1", tpa="10.0.0.2"))
    assert (packet.dst, packet[ARP].psrc, packet[ARP].pdst) == (
        "ff:ff:ff:ff:ff:ff",
        "10.0.0.1",
        "10.0.0.2",
    )


def test_checksum_verifies_itself() -> None:
    header = tcp_frame(**V4, sport=1, dport=2)[14:34]
    assert checksum(header) == 0
    assert checksum(b"") == 0xFFFF
    assert checksum(b"\xff\xff") == 0
    assert checksum(b"\x01") == checksum(b"\x01\x00")


def test_udp_checksum_zero_is_sent_as_all_ones() -> None:
    # choose the payload so that the sum is 0xFFFF: append the checksum of everything else
    frame = udp_frame(**V4, sport=1, dport=2, payload=b"\0\0")
    rest = int.from_bytes(frame[40:42], "big")
    frame = udp_frame(**V4, sport=1, dport=2, payload=rest.to_bytes(2, "big"))
    assert frame[40:42] == b"\xff\xff"
    assert l4_checksum(parse_ip(V4["src"]), parse_ip(V4["dst"]), 17, frame[34:]) == 0


def test_vlan_push_and_pop() -> None:
    frame = udp_frame(**V4, sport=1, dport=2)
    tagged = push_vlan(frame, 100, 3)
    assert len(tagged) == len(frame) + 4
    assert pop_vlan(tagged) == frame
    assert pop_vlan(frame) == frame
    with pytest.raises(ValueError, match="4096"):
        push_vlan(frame, 4096)


def test_mixed_families_and_long_options_are_refused() -> None:
    with pytest.raises(ValueError, match="different IP versions"):
        udp_frame(src="10.0.0.1", dst="fd00::1", sport=1, dport=2)
    with pytest.raises(ValueError, match="at most 40 bytes"):
        tcp_frame(**V4, sport=1, dport=2, options=bytes(41))


def options_of(raw: bytes) -> Any:
    return tcp_options(parse(tcp_frame(**V4, sport=1, dport=2, options=raw)))


def test_tcp_options_stop_at_what_is_malformed() -> None:
    assert options_of(b"\x03\x03\x07\x04\x02") == (7, True, (), None)
    assert options_of(b"\x03\x03\x07\x08\x01\x04\x02\x00") == (7, False, (), None)
    assert options_of(b"\x03\x03\x07\x08\x20\x04\x02\x00") == (7, False, (), None)
    assert options_of(b"\x00\x03\x03\x07") == NO_OPTIONS
    assert options_of(b"\x05\x0a" + bytes(range(1, 9))).sack == ((0x01020304, 0x05060708),)
    assert options_of(b"\x02\x03\x05\x00") == NO_OPTIONS
    assert tcp_options(parse(udp_frame(**V4, sport=1, dport=2))) == NO_OPTIONS


@pytest.mark.parametrize("text", ["0.0.0.0", "255.1.2.3", "::", "fe80::1", "2001:db8::1:0:0:1"])
def test_ip_text_goes_both_ways(text: str) -> None:
    assert format_ip(parse_ip(text)) == text


def test_mac_text_goes_both_ways() -> None:
    assert format_mac(parse_mac("02:0A:b:00:00:ff")) == "02:0a:0b:00:00:ff"


@pytest.mark.parametrize("text", ["", "1.2.3", "1.2.3.256", "fe80::1%eth0", "10.0.0.0/8"])
def test_bad_ip_text_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="IP"):
        parse_ip(text)


@pytest.mark.parametrize("text", ["", "02:00:00:00:00", "02-00-00-00-00-01", "02:00:00:00:00:1ff"])
def test_bad_mac_text_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="MAC"):
        parse_mac(text)


def test_bad_length_is_named() -> None:
    with pytest.raises(ValueError, match="not 5"):
        format_ip(bytes(5))

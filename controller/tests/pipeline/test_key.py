# SPDX-License-Identifier: Apache-2.0
"""The lookup key: each field of each kind of packet ends where the registry says."""

from __future__ import annotations

from p4ct.packet import parse
from p4ct.packet.build import (
    arp_frame,
    icmp_echo_frame,
    icmp_frame,
    ip_frame,
    tcp_frame,
    udp_frame,
)
from p4ct.pipeline import Field
from p4ct.pipeline.fields import build_key

F = Field
SRC, DST = "02:00:00:00:00:01", "02:00:00:00:00:02"
MACS = {F.DL_SRC: 0x020000000001, F.DL_DST: 0x020000000002}


def key_of(frame: bytes) -> dict[Field, int]:
    """The fields of the key that are not 0."""
    key = build_key(parse(frame), 4)
    assert len(key) == len(Field)
    return {field: key[field] for field in Field if key[field]}


def test_tcp_with_tag() -> None:
    frame = tcp_frame(
        src="10.0.0.1",
        dst="10.0.0.2",
        sport=1,
        dport=2,
        flags=0x52,
        tos=0xB9,
        ttl=7,
        vlan_id=5,
        vlan_pcp=3,
        eth_src=SRC,
        eth_dst=DST,
    )
    assert key_of(frame) == MACS | {
        F.IN_PORT: 4,
        F.DL_TYPE: 0x800,
        F.VLAN_VID: 0x1005,
        F.VLAN_PCP: 3,
        F.NW_PROTO: 6,
        F.NW_SRC: 0x0A000001,
        F.NW_DST: 0x0A000002,
        F.NW_TOS: 0xB8,
        F.NW_ECN: 1,
        F.NW_TTL: 7,
        F.TP_SRC: 1,
        F.TP_DST: 2,
        F.TCP_FLAGS: 0x52,
    }


def test_tcp_flags_have_twelve_bits() -> None:
    frame = bytearray(tcp_frame(src="10.0.0.1", dst="10.0.0.2", sport=1, dport=2, flags=0x02))
    frame[14 + 20 + 12] |= 0x0D
    assert key_of(bytes(frame))[F.TCP_FLAGS] == 0xD02


def test_udp_over_ipv6() -> None:
    frame = udp_frame(src="fd00::1", dst="fd00::2", sport=3, dport=4, eth_src=SRC, eth_dst=DST)
    assert key_of(frame) == MACS | {
        F.IN_PORT: 4,
        F.DL_TYPE: 0x86DD,
        F.NW_PROTO: 17,
        F.IPV6_SRC: 0xFD << 120 | 1,
        F.IPV6_DST: 0xFD << 120 | 2,
        F.NW_TTL: 64,
        F.TP_SRC: 3,
        F.TP_DST: 4,
    }


def test_icmp_has_type_and_code_and_no_ports() -> None:
    key = key_of(icmp_echo_frame(src="10.0.0.1", dst="10.0.0.2", identifier=77))
    assert key[F.ICMP_TYPE] == 8
    assert F.TP_SRC not in key
    assert F.TP_DST not in key
    key = key_of(icmp_frame(src="10.0.0.1", dst="10.0.0.2", icmp_type=3, icmp_code=1))
    assert (key[F.ICMP_TYPE], key[F.ICMP_CODE]) == (3, 1)


def test_neighbour_solicitation() -> None:
    target = bytes(15) + b"\x09"
    frame = icmp_frame(src="fd00::1", dst="fd00::2", icmp_type=135, body=bytes(4) + target)
    key = key_of(frame)
    assert (key[F.ICMP_TYPE], key[F.ND_TARGET]) == (135, 9)


def test_arp() -> None:
    frame = arp_frame(op=2, sha=SRC, spa="10.0.0.1", tha=DST, tpa="10.0.0.2", eth_dst=DST)
    assert key_of(frame) == MACS | {
        F.IN_PORT: 4,
        F.DL_TYPE: 0x806,
        F.ARP_OP: 2,
        F.ARP_SPA: 0x0A000001,
        F.ARP_TPA: 0x0A000002,
        F.ARP_SHA: 0x020000000001,
        F.ARP_THA: 0x020000000002,
    }


def test_fragments() -> None:
    common = {"src": "10.0.0.1", "dst": "10.0.0.2", "proto": 6, "payload": b"\xff" * 40}
    assert F.NW_FRAG not in key_of(ip_frame(**common))
    assert key_of(ip_frame(**common, fragment=0x2000))[F.NW_FRAG] == 1
    later = key_of(ip_frame(**common, fragment=0x0005))
    assert later[F.NW_FRAG] == 3
    assert F.TP_SRC not in later
    assert F.TCP_FLAGS not in later


def test_broken_ip_has_no_ip_fields() -> None:
    frame = bytearray(tcp_frame(src="10.0.0.1", dst="10.0.0.2", sport=1, dport=2))
    frame[14] = 0x65
    key = key_of(bytes(frame))
    assert key[F.DL_TYPE] == 0x800
    assert F.NW_SRC not in key
    assert F.NW_PROTO not in key

# SPDX-License-Identifier: Apache-2.0
"""VXLAN frames against scapy, and what is none."""

import pytest
from p4ct.packet import build
from p4ct.packet.vxlan import Tunnel, crc16, decapsulate, encapsulate
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.layers.vxlan import VXLAN

MAC1, MAC2 = bytes([2, 0, 0, 0, 0, 1]), bytes([2, 0, 0, 0, 0, 2])
V4 = Tunnel(0x123456, bytes([192, 0, 2, 1]), bytes([192, 0, 2, 2]), MAC1, MAC2, 46, 9)
V6 = Tunnel(7, b"\xfd" + bytes(14) + b"\1", b"\xfd" + bytes(14) + b"\2", MAC1, MAC2)


def inner(sport: int = 1000, tos: int = 0) -> bytes:
    return build.udp_frame(
        src="10.0.0.1", dst="10.0.0.2", sport=sport, dport=53, tos=tos, payload=b"question"
    )


def test_the_crc_is_arc() -> None:
    """The check value of the catalogues of CRCs."""
    assert crc16(b"123456789") == 0xBB3D


def test_over_ipv4_as_scapy_reads_it() -> None:
    frame = inner(tos=2)
    outer = Ether(encapsulate(frame, V4))
    assert (outer.src, outer.dst) == (MAC1.hex(":"), MAC2.hex(":"))
    ip = outer[IP]
    assert (ip.src, ip.dst, ip.ttl, ip.flags, ip.id) == ("192.0.2.1", "192.0.2.2", 9, "DF", 0)
    assert ip.tos == 46 << 2 | 2  # the inner ECN is seen outside
    checked = IP(bytes(ip))
    del checked.chksum
    assert IP(bytes(checked)).chksum == ip.chksum
    assert (outer[UDP].dport, outer[UDP].chksum) == (4789, 0)
    assert outer[UDP].sport >= 0xC000
    assert outer[UDP].len == len(frame) + 16
    assert ip.len == len(frame) + 36
    assert (outer[VXLAN].flags, outer[VXLAN].vni) == (8, 0x123456)
    assert bytes(outer[VXLAN].payload) == frame


def test_over_ipv6_as_scapy_reads_it() -> None:
    frame = inner()
    outer = Ether(encapsulate(frame, V6))
    ip = outer[IPv6]
    assert (ip.src, ip.dst, ip.hlim, ip.tc) == ("fd00::1", "fd00::2", 64, 0)
    assert ip.plen == len(frame) + 16
    assert (outer[UDP].chksum, outer[VXLAN].vni) == (0, 7)
    assert bytes(outer[VXLAN].payload) == frame


def test_the_source_port_tells_flows_apart() -> None:
    ports = {Ether(encapsulate(inner(sport), V4))[UDP].sport for sport in range(1000, 1100)}
    assert len(ports) > 90
    assert encapsulate(inner(), V4) == encapsulate(inner(), V4)


@pytest.mark.parametrize("tunnel", [V4, V6], ids=["IPv4", "IPv6"])
def test_in_and_out_again(tunnel: Tunnel) -> None:
    frame = inner()
    outer = encapsulate(frame, tunnel)
    assert decapsulate(outer) == (tunnel.dst, tunnel.vni, frame)
    assert decapsulate(build.push_vlan(outer, 9) + b"padding") == (tunnel.dst, tunnel.vni, frame)


def test_what_is_no_vxlan_frame() -> None:
    outer = encapsulate(inner(), V4)
    for size in range(len(outer)):
        assert decapsulate(outer[:size]) is None
    assert decapsulate(inner()) is None
    header = 14 + 20 + 8
    assert decapsulate(outer[:header] + b"\0" + outer[header + 1 :]) is None  # no VNI
    broken = bytearray(outer)
    broken[24] ^= 1  # the IPv4 header checksum
    assert decapsulate(bytes(broken)) is None
    empty = build.udp_frame(src="192.0.2.1", dst="192.0.2.2", sport=1, dport=4789, payload=b"\x08")
    assert decapsulate(empty) is None

# SPDX-License-Identifier: Apache-2.0
"""Our parser and scapy read the same from the same bytes, and ours never raises."""

from __future__ import annotations

import logging
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

logging.getLogger("scapy.runtime").setLevel(logging.ERROR)

from p4ct.packet.parse import parse  # noqa: E402
from p4ct.packet.tcp_options import tcp_options  # noqa: E402
from p4ct.packet.text import format_ip, format_mac  # noqa: E402
from scapy.layers.inet import ICMP, IP, TCP, UDP  # noqa: E402
from scapy.layers.inet6 import (  # noqa: E402
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrHopByHop,
)
from scapy.layers.l2 import Dot1Q, Ether  # noqa: E402
from scapy.packet import Raw  # noqa: E402

octet = st.integers(0, 255)
u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFFFFFF)
v4 = st.binary(min_size=4, max_size=4).map(format_ip)
v6 = st.binary(min_size=16, max_size=16).map(format_ip)
mac = st.binary(min_size=6, max_size=6).map(format_mac)
payload = st.binary(max_size=40).map(Raw)

tcp_option = st.one_of(
    st.tuples(st.just("MSS"), u16),
    st.tuples(st.just("WScale"), octet),
    st.just(("SAckOK", b"")),
    st.just(("NOP", None)),
    st.tuples(st.just("SAck"), st.tuples(u32, u32)),
    st.tuples(st.just("Timestamp"), st.tuples(u32, u32)),
)
tcp = st.builds(
    TCP,
    sport=u16,
    dport=u16,
    seq=u32,
    ack=u32,
    flags=octet,
    window=u16,
    options=st.lists(tcp_option, max_size=3),
)
udp = st.builds(UDP, sport=u16, dport=u16)
icmp4 = st.builds(ICMP, type=st.sampled_from([0, 8]), code=octet, id=u16, seq=u16)
icmp6 = st.sampled_from([ICMPv6EchoRequest, ICMPv6EchoReply]).flatmap(
    lambda kind: st.builds(kind, code=octet, id=u16, seq=u16)
)
ipv4 = st.builds(IP, src=v4, dst=v4, tos=octet, ttl=octet, id=u16)
ipv6 = st.builds(IPv6, src=v6, dst=v6, tc=octet, fl=st.integers(0, 0xFFFFF), hlim=octet)
extensions = st.lists(st.sampled_from([IPv6ExtHdrHopByHop, IPv6ExtHdrDestOpt]), max_size=2)


@st.composite
def frames(draw: st.DrawFn) -> Any:
    frame = Ether(src=draw(mac), dst=draw(mac))
    if draw(st.booleans()):
        frame /= Dot1Q(vlan=draw(st.integers(0, 4095)), prio=draw(st.integers(0, 7)))
    if draw(st.booleans()):
        frame = frame / draw(ipv4) / draw(st.one_of(tcp, udp, icmp4))
    else:
        frame /= draw(ipv6)
        for extension in draw(extensions):
            frame /= extension()
        frame /= draw(st.one_of(tcp, udp, icmp6))
    return frame / draw(payload)


@settings(max_examples=150, deadline=None)
@given(frames())
def test_same_fields_as_scapy(made: Any) -> None:
    data = bytes(made)
    theirs = Ether(data)
    ours = parse(data)
    assert ours.error == ""
    assert format_mac(ours.eth_src) == theirs.src
    assert format_mac(ours.eth_dst) == theirs.dst
    if Dot1Q in theirs:
        assert (ours.vlan_id, ours.vlan_pcp) == (theirs[Dot1Q].vlan, theirs[Dot1Q].prio)
    else:
        assert ours.vlan_id is None
    if IP in theirs:
        network = theirs[IP]
        assert (ours.version, ours.tos, ours.ttl) == (4, network.tos, network.ttl)
    else:
        network = theirs[IPv6]
        assert (ours.version, ours.tos, ours.ttl) == (6, network.tc, network.hlim)
        assert ours.options == (IPv6ExtHdrHopByHop in theirs or IPv6ExtHdrDestOpt in theirs)
    assert format_ip(ours.src) == network.src
    assert format_ip(ours.dst) == network.dst
    if TCP in theirs:
        their = theirs[TCP]
        assert ours.proto == 6
        assert (ours.sport, ours.dport, ours.seq, ours.ack) == (
            their.sport,
            their.dport,
            their.seq,
            their.ack,
        )
        assert (ours.flags, ours.window, ours.doff) == (
            int(their.flags) & 0xFF,
            their.window,
            their.dataofs,
        )
        assert ours.payload_len == len(made[Raw].load)
        options = tcp_options(ours)
        expected = dict(their.options)
        assert options.wscale == expected.get("WScale")
        assert options.mss == expected.get("MSS")
        assert options.sack_ok == ("SAckOK" in expected)
        assert [edge for block in options.sack for edge in block] == [
            edge for name, edges in their.options if name == "SAck" for edge in edges
        ]
    elif UDP in theirs:
        their = theirs[UDP]
        assert (ours.proto, ours.sport, ours.dport) == (17, their.sport, their.dport)
        assert ours.payload_len == their.len - 8
    else:
        kinds = (ICMP, ICMPv6EchoRequest, ICMPv6EchoReply)
        their = next(theirs[kind] for kind in kinds if kind in theirs)
        assert (ours.sport, ours.dport) == (their.id, their.type << 8 | their.code)
        assert (ours.icmp_type, ours.icmp_code) == (their.type, their.code)


@settings(max_examples=60, deadline=None)
@given(frames(), st.data())
def test_never_raises_on_a_changed_or_cut_frame(made: Any, data: st.DataObject) -> None:
    frame = bytearray(bytes(made))
    for _ in range(data.draw(st.integers(0, 4))):
        frame[data.draw(st.integers(12, len(frame) - 1))] = data.draw(octet)
    pkt = parse(bytes(frame[: data.draw(st.integers(0, len(frame)))]))
    tcp_options(pkt)
    assert pkt.l4_offset + pkt.l4_len <= len(pkt.frame)
    assert pkt.version in (0, 4, 6)
    assert len(pkt.src) == {0: 0, 4: 4, 6: 16}[pkt.version]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([b"", b"\x08\x00", b"\x86\xdd", b"\x08\x06", b"\x81\x00"]), st.binary())
def test_never_raises_on_anything(eth_type: bytes, data: bytes) -> None:
    pkt = parse(bytes(12) + eth_type + data)
    tcp_options(pkt)
    assert isinstance(pkt.error, str)

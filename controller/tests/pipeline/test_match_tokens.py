# SPDX-License-Identifier: Apache-2.0
"""Every match token: the fields, values and masks that it stands for."""

from __future__ import annotations

import pytest
from p4ct.pipeline import parse_flows
from p4ct.pipeline.fields import FIELDS, Field
from p4ct.pipeline.vocabulary import MATCH_FIELDS, PROTOCOLS

PORTS = {"vm1": 1, "vm2": 2, "ext": 3}
F = Field


def match_of(text: str) -> dict[Field, tuple[int, int]]:
    """The terms of a flow, by field."""
    (flow,) = parse_flows(f"{text},actions=drop", ports=PORTS)
    return {term.field: (term.value, term.mask) for term in flow.match.terms}


def exact(field: Field, value: int) -> tuple[Field, tuple[int, int]]:
    return field, (value, FIELDS[field].mask)


# context that the token needs, token, what it adds
CASES = [
    ("", "in_port=2", [exact(F.IN_PORT, 2)]),
    ("", "in_port=ext", [exact(F.IN_PORT, 3)]),
    ("", "dl_src=00:11:22:aa:BB:cc", [exact(F.DL_SRC, 0x001122AABBCC)]),
    ("", "eth_src=0:1:2:3:4:5", [exact(F.DL_SRC, 0x000102030405)]),
    (
        "",
        "dl_dst=01:00:00:00:00:00/01:00:00:00:00:00",
        [(F.DL_DST, (0x010000000000, 0x010000000000))],
    ),
    ("", "eth_dst=ff:ff:ff:ff:ff:ff", [exact(F.DL_DST, 0xFFFFFFFFFFFF)]),
    ("", "dl_type=0x88cc", [exact(F.DL_TYPE, 0x88CC)]),
    ("", "eth_type=2048", [exact(F.DL_TYPE, 0x0800)]),
    ("", "dl_vlan=5", [(F.VLAN_VID, (0x1005, 0x1FFF))]),
    ("", "dl_vlan=0", [(F.VLAN_VID, (0x1000, 0x1FFF))]),
    ("", "dl_vlan=0xffff", [(F.VLAN_VID, (0, 0x1FFF))]),
    ("", "vlan_vid=0", [(F.VLAN_VID, (0, 0x1FFF))]),
    ("", "vlan_vid=0x1000/0x1000", [(F.VLAN_VID, (0x1000, 0x1000))]),
    ("", "vlan_vid=0x1009", [(F.VLAN_VID, (0x1009, 0x1FFF))]),
    ("", "dl_vlan_pcp=3", [(F.VLAN_VID, (0x1000, 0x1000)), (F.VLAN_PCP, (3, 7))]),
    ("dl_vlan=5,", "vlan_pcp=3", [(F.VLAN_VID, (0x1005, 0x1FFF)), (F.VLAN_PCP, (3, 7))]),
    ("dl_vlan_pcp=3,", "dl_vlan=5", [(F.VLAN_VID, (0x1005, 0x1FFF)), (F.VLAN_PCP, (3, 7))]),
    ("", "vlan_tci=0", [(F.VLAN_VID, (0, 0x1FFF)), (F.VLAN_PCP, (0, 7))]),
    ("", "vlan_tci=0xf123", [(F.VLAN_VID, (0x1123, 0x1FFF)), (F.VLAN_PCP, (7, 7))]),
    ("", "vlan_tci=0x1000/0x1000", [(F.VLAN_VID, (0x1000, 0x1000))]),
    ("", "vlan_tci=0x5000/0xf000", [(F.VLAN_VID, (0x1000, 0x1000)), (F.VLAN_PCP, (2, 7))]),
    ("ip,", "nw_src=10.1.2.3", [exact(F.NW_SRC, 0x0A010203)]),
    ("ip,", "ip_src=10.1.2.3/8", [(F.NW_SRC, (0x0A000000, 0xFF000000))]),
    ("ip,", "nw_dst=10.1.2.3/255.0.255.0", [(F.NW_DST, (0x0A000200, 0xFF00FF00))]),
    ("ip,", "ip_dst=0.0.0.0/0", []),
    ("ipv6,", "ipv6_src=2001:db8::1", [exact(F.IPV6_SRC, 0x20010DB8 << 96 | 1)]),
    ("ipv6,", "ipv6_dst=2001:db8::1/32", [(F.IPV6_DST, (0x20010DB8 << 96, 0xFFFFFFFF << 96))]),
    ("ipv6,", "ipv6_dst=::1/::ffff", [(F.IPV6_DST, (1, 0xFFFF))]),
    ("ip,", "nw_proto=47", [exact(F.NW_PROTO, 47)]),
    ("ipv6,", "ip_proto=47", [exact(F.NW_PROTO, 47)]),
    ("ip,", "nw_tos=0xb8", [(F.NW_TOS, (0xB8, 0xFC))]),
    ("ipv6,", "ip_dscp=46", [(F.NW_TOS, (0xB8, 0xFC))]),
    ("ip,", "nw_ecn=3", [exact(F.NW_ECN, 3)]),
    ("ip,", "ip_ecn=1", [exact(F.NW_ECN, 1)]),
    ("ip,", "nw_ttl=1", [exact(F.NW_TTL, 1)]),
    ("ip,", "nw_frag=no", [(F.NW_FRAG, (0, 3))]),
    ("ip,", "nw_frag=yes", [(F.NW_FRAG, (1, 1))]),
    ("ip,", "ip_frag=first", [(F.NW_FRAG, (1, 3))]),
    ("ipv6,", "nw_frag=later", [(F.NW_FRAG, (3, 3))]),
    ("ip,", "nw_frag=not_later", [(F.NW_FRAG, (0, 2))]),
    ("tcp,", "tp_src=80", [exact(F.TP_SRC, 80)]),
    ("udp6,", "tp_dst=0x50/0xfff0", [(F.TP_DST, (0x50, 0xFFF0))]),
    ("tcp6,", "tcp_src=1", [exact(F.TP_SRC, 1)]),
    ("ip,nw_proto=6,", "tcp_dst=443", [exact(F.TP_DST, 443)]),
    ("udp,", "udp_src=1", [exact(F.TP_SRC, 1)]),
    ("udp,", "udp_dst=53", [exact(F.TP_DST, 53)]),
    ("tcp,", "tcp_flags=+syn-ack", [(F.TCP_FLAGS, (0x02, 0x12))]),
    ("tcp,", "tcp_flags=0x2/0x12", [(F.TCP_FLAGS, (0x02, 0x12))]),
    ("tcp,", "tcp_flags=syn|ack", [(F.TCP_FLAGS, (0x12, 0xFFF))]),
    ("tcp,", "tcp_flags=18", [(F.TCP_FLAGS, (0x12, 0xFFF))]),
    ("icmp,", "icmp_type=8", [exact(F.ICMP_TYPE, 8)]),
    ("icmp,", "icmp_code=0", [exact(F.ICMP_CODE, 0)]),
    ("icmp6,", "icmpv6_type=135", [exact(F.ICMP_TYPE, 135)]),
    ("icmp6,", "icmpv6_code=0", [exact(F.ICMP_CODE, 0)]),
    ("icmp6,icmpv6_type=135,icmpv6_code=0,", "nd_target=::1", [exact(F.ND_TARGET, 1)]),
    ("arp,", "arp_op=1", [exact(F.ARP_OP, 1)]),
    ("arp,", "arp_spa=10.0.0.0/8", [(F.ARP_SPA, (0x0A000000, 0xFF000000))]),
    ("arp,", "arp_tpa=10.0.0.1", [exact(F.ARP_TPA, 0x0A000001)]),
    ("arp,", "arp_sha=0:0:0:0:0:1", [exact(F.ARP_SHA, 1)]),
    ("arp,", "arp_tha=0:0:0:0:0:2", [exact(F.ARP_THA, 2)]),
    ("", "ct_state=+trk-new", [(F.CT_STATE, (0x20, 0x21))]),
    ("", "ct_state=-trk", [(F.CT_STATE, (0, 0x20))]),
    ("", "ct_state=0x22/0x23", [(F.CT_STATE, (0x22, 0x23))]),
    ("", "ct_state=est|trk", [(F.CT_STATE, (0x22, 0xFF))]),
    ("", "ct_state=+trk+est+rpl+rel-inv+snat+dnat", [(F.CT_STATE, (0xEE, 0xFE))]),
    ("", "ct_zone=7", [exact(F.CT_ZONE, 7)]),
    ("", "ct_mark=0x10/0xf0", [(F.CT_MARK, (0x10, 0xF0))]),
    ("", f"ct_label={1 << 64:#x}/{0xFF << 64:#x}", [(F.CT_LABEL, (1 << 64, 0xFF << 64))]),
    ("ip,ct_state=+trk,", "ct_nw_proto=6", [exact(F.CT_NW_PROTO, 6)]),
    ("ip,ct_state=+trk,", "ct_nw_src=10.0.0.0/8", [(F.CT_NW_SRC, (10 << 24, 0xFF << 24))]),
    ("ip,ct_state=+trk,", "ct_nw_dst=1.2.3.4", [exact(F.CT_NW_DST, 0x01020304)]),
    ("ipv6,ct_state=+trk,", "ct_ipv6_src=::5", [exact(F.CT_IPV6_SRC, 5)]),
    ("ipv6,ct_state=+trk,", "ct_ipv6_dst=::/1", [(F.CT_IPV6_DST, (0, 1 << 127))]),
    ("tcp,ct_state=+trk,", "ct_tp_src=80", [exact(F.CT_TP_SRC, 80)]),
    ("tcp6,ct_state=+trk,", "ct_tp_dst=0x50/0xf0", [(F.CT_TP_DST, (0x50, 0xF0))]),
    *(("", f"reg{n}=5/7", [(F(F.REG0 + n), (5, 7))]) for n in range(16)),
]


@pytest.mark.parametrize(("context", "token", "expected"), CASES)
def test_token(context: str, token: str, expected: list[tuple[Field, tuple[int, int]]]) -> None:
    assert match_of(context + token).items() >= dict(expected).items()
    alone = match_of(context.rstrip(",") or "table=0")
    added = {field for field, _ in expected}
    assert match_of(context + token).keys() == alone.keys() | added


def test_every_field_token_is_tested() -> None:
    tested = {token.partition("=")[0] for _, token, _ in CASES}
    assert tested >= MATCH_FIELDS.keys() | {"in_port", "vlan_tci"}


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_protocol_word(name: str) -> None:
    dl_type, proto = PROTOCOLS[name]
    expected = dict([exact(F.DL_TYPE, dl_type)])
    if proto is not None:
        expected |= dict([exact(F.NW_PROTO, proto)])
    assert match_of(name) == expected


def test_protocol_numbers() -> None:
    assert match_of("tcp6") == dict([exact(F.DL_TYPE, 0x86DD), exact(F.NW_PROTO, 6)])
    assert match_of("icmp6") == dict([exact(F.DL_TYPE, 0x86DD), exact(F.NW_PROTO, 58)])
    assert match_of("sctp") == dict([exact(F.DL_TYPE, 0x0800), exact(F.NW_PROTO, 132)])
    assert match_of("arp") == dict([exact(F.DL_TYPE, 0x0806)])


def test_same_term_twice_is_no_contradiction() -> None:
    assert match_of("tcp,ip,tp_dst=80,tcp_dst=0x50") == match_of("tcp,tp_dst=80")


def test_order_does_not_matter() -> None:
    assert match_of("tp_dst=80,tcp") == match_of("tcp,tp_dst=80")


def test_explicit_wildcard() -> None:
    assert match_of("tcp,tp_dst=*") == match_of("tcp")


def test_line_syntax() -> None:
    text = """
    # a comment, then a blank line

    add table=1 priority=7,cookie=0xab tcp actions=drop   # why
    cookie=0x0, duration=1.2s, table=2, n_packets=5, n_bytes=6, idle_age=7, arp action=vm1
    """
    first, second = parse_flows(text, source="x", ports=PORTS)
    assert (first.table, first.priority, first.cookie) == (1, 7, 0xAB)
    assert (first.source, first.line) == ("x", 4)
    assert (second.table, second.priority, second.n_packets) == (2, 0x8000, 0)
    assert second.id > first.id

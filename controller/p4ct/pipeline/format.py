# SPDX-License-Identifier: Apache-2.0
"""Flows and matches as text, in the form of `ovs-ofctl dump-flows`; `parse_flows` reads it back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv6Address

from p4ct.pipeline.actions import format_actions
from p4ct.pipeline.field_text import HEX, IPV4, IPV6, MACS, format_mac
from p4ct.pipeline.fields import (
    CT_FIELDS,
    ETH_ARP,
    ETH_IP,
    ETH_IPV6,
    ETH_RARP,
    FIELDS,
    ICMP,
    ICMPV6,
    REGISTERS,
    SCTP,
    TCP,
    UDP,
    VLAN_PRESENT,
    Field,
    Key,
)
from p4ct.pipeline.flow import DEFAULT_PRIORITY, Flow
from p4ct.pipeline.match import FieldMatch, Match
from p4ct.pipeline.values import CT_STATE_NAMES, FRAG_NAMES, TCP_FLAG_NAMES

__all__ = ["flow_line", "format_flags", "format_key", "format_match"]

PortName = Callable[[int], str]

_LINK_WORDS = {ETH_IP: "ip", ETH_IPV6: "ipv6", ETH_ARP: "arp", ETH_RARP: "rarp"}
_PROTO_WORDS = {
    (ETH_IP, ICMP): "icmp",
    (ETH_IP, TCP): "tcp",
    (ETH_IP, UDP): "udp",
    (ETH_IP, SCTP): "sctp",
    (ETH_IPV6, ICMPV6): "icmp6",
    (ETH_IPV6, TCP): "tcp6",
    (ETH_IPV6, UDP): "udp6",
    (ETH_IPV6, SCTP): "sctp6",
}
_VLAN = frozenset({Field.VLAN_VID, Field.VLAN_PCP})


def flow_line(flow: Flow, now: float, port_name: PortName = str) -> str:
    """One line of `ovs-ofctl dump-flows`; the counters are the sums of software and hardware.

    `now` is of the clock that the pipeline was given; `port_name` gives the text for a vport.
    """
    duration = 0.0 if flow.created is None else now - flow.created
    parts = [
        f"cookie={flow.cookie:#x}",
        f"duration={duration:.3f}s",
        f"table={flow.table}",
        f"n_packets={flow.n_packets + flow.hw_packets}",
        f"n_bytes={flow.n_bytes + flow.hw_bytes}",
    ]
    terms = format_match(flow.match, port_name)
    if flow.priority != DEFAULT_PRIORITY:
        terms = f"priority={flow.priority},{terms}".rstrip(",")
    actions = f"actions={format_actions(flow.actions, port_name)}"
    return f" {', '.join(parts)}, {f'{terms} ' if terms else ''}{actions}"


def format_match(match: Match, port_name: PortName = str) -> str:
    """The match in flow syntax; empty if it matches everything."""
    dl_type, proto = match.exact(Field.DL_TYPE), match.exact(Field.NW_PROTO)
    words: list[str] = []
    vlan_done = False
    for term in sorted(match.terms, key=_place):
        field = term.field
        if field == Field.DL_TYPE:
            words.append(_protocol_word(dl_type, proto) or f"dl_type=0x{term.value:04x}")
        elif field == Field.NW_PROTO:
            if (dl_type, proto) not in _PROTO_WORDS:
                words.append(f"nw_proto={term.value}")
        elif field in _VLAN:
            if not vlan_done:
                words += _vlan_words(match)
            vlan_done = True
        else:
            words.append(_term(term, dl_type, port_name))
    return ",".join(words)


#: Printed first, in the order of `match_format` of OVS; registers stand before in_port.
_FIRST = (*CT_FIELDS, Field.DL_TYPE, Field.NW_PROTO, *REGISTERS)
_PLACES = {field: place for place, field in enumerate(_FIRST)}


def _place(term: FieldMatch) -> int:
    return _PLACES.get(term.field, len(_PLACES) + term.field)


def _protocol_word(dl_type: int | None, proto: int | None) -> str:
    if dl_type is None:
        return ""
    if proto is not None and (dl_type, proto) in _PROTO_WORDS:
        return _PROTO_WORDS[dl_type, proto]
    return _LINK_WORDS.get(dl_type, "")


def _vlan_words(match: Match) -> list[str]:
    """dl_vlan and dl_vlan_pcp if they say it all, else vlan_tci."""
    vid, pcp = match.get(Field.VLAN_VID), match.get(Field.VLAN_PCP)
    plain_vid = vid is not None and vid.exact and vid.value & VLAN_PRESENT
    tag_only = vid is not None and vid.value == vid.mask == VLAN_PRESENT
    if vid is not None and plain_vid and (pcp is None or pcp.exact):
        words = [f"dl_vlan={vid.value & 0xFFF}"]
        return words if pcp is None else [*words, f"dl_vlan_pcp={pcp.value}"]
    if tag_only and pcp is not None and pcp.exact:
        return [f"dl_vlan_pcp={pcp.value}"]
    value = (vid.value if vid else 0) | (pcp.value << 13 if pcp else 0)
    mask = (vid.mask if vid else 0) | (pcp.mask << 13 if pcp else 0)
    return [f"vlan_tci=0x{value:04x}" + ("" if mask == 0xFFFF else f"/0x{mask:04x}")]


def _term(term: FieldMatch, dl_type: int | None, port_name: PortName) -> str:
    field, value, mask = term
    name = _name(field, dl_type)
    if field == Field.IN_PORT:
        return f"{name}={port_name(value)}"
    if field == Field.CT_STATE:
        return f"{name}={format_flags(value, mask, CT_STATE_NAMES)}"
    if field == Field.TCP_FLAGS:
        return f"{name}={format_flags(value, mask, TCP_FLAG_NAMES)}"
    if field == Field.NW_FRAG:
        return f"{name}={next(word for word, vm in FRAG_NAMES.items() if vm == (value, mask))}"
    if field in MACS:
        return f"{name}={format_mac(value)}" + ("" if term.exact else f"/{format_mac(mask)}")
    if field in IPV4:
        return f"{name}={IPv4Address(value)}{_ip_mask(mask, 32)}"
    if field in IPV6:
        return f"{name}={IPv6Address(value)}{_ip_mask(mask, 128)}"
    if field == Field.NW_TOS or term.exact:
        return f"{name}={value:#x}" if field in HEX else f"{name}={value}"
    return f"{name}={value:#x}/{mask:#x}"


def _name(field: Field, dl_type: int | None) -> str:
    name = FIELDS[field].name
    if field in (Field.ICMP_TYPE, Field.ICMP_CODE) and dl_type == ETH_IPV6:
        return name.replace("icmp_", "icmpv6_")
    return name


def format_flags(value: int, mask: int, names: Mapping[str, int]) -> str:
    """Flags that are set as `+name`, flags that are not as `-name`."""
    return "".join(
        ("+" if value & bit else "-") + name for name, bit in names.items() if mask & bit
    )


def _ip_mask(mask: int, bits: int) -> str:
    full = (1 << bits) - 1
    if mask == full:
        return ""
    host = full ^ mask
    if host & (host + 1) == 0:
        return f"/{bits - host.bit_length()}"
    return f"/{IPv4Address(mask) if bits == 32 else IPv6Address(mask)}"


def format_key(key: Key, port_name: PortName = str) -> str:
    """A packet's lookup key like the `Flow:` line of `ofproto/trace`."""
    dl_type, proto = key[Field.DL_TYPE], key[Field.NW_PROTO]
    fields = [Field.IN_PORT, Field.DL_SRC, Field.DL_DST]
    if key[Field.CT_STATE]:
        rest = (field for field in CT_FIELDS[3:] if key[field])
        fields = [Field.CT_STATE, Field.CT_ZONE, Field.CT_MARK, *rest, *fields]
    if dl_type in (ETH_IP, ETH_IPV6):
        addresses = (
            [Field.NW_SRC, Field.NW_DST] if dl_type == ETH_IP else [Field.IPV6_SRC, Field.IPV6_DST]
        )
        fields += [*addresses, Field.NW_TOS, Field.NW_ECN, Field.NW_TTL]
        if (dl_type, proto) not in _PROTO_WORDS:
            fields.append(Field.NW_PROTO)
        if key[Field.NW_FRAG]:
            fields.append(Field.NW_FRAG)
        if proto in (TCP, UDP):
            fields += [Field.TP_SRC, Field.TP_DST]
        if proto == TCP:
            fields.append(Field.TCP_FLAGS)
        if (dl_type, proto) in ((ETH_IP, ICMP), (ETH_IPV6, ICMPV6)):
            fields += [Field.ICMP_TYPE, Field.ICMP_CODE]
    elif dl_type in (ETH_ARP, ETH_RARP):
        fields += [Field.ARP_SPA, Field.ARP_TPA, Field.ARP_OP, Field.ARP_SHA, Field.ARP_THA]
    words = [_protocol_word(dl_type, proto) or f"dl_type=0x{dl_type:04x}"]
    tci = key[Field.VLAN_VID] | key[Field.VLAN_PCP] << 13
    words.append(f"vlan_tci=0x{tci:04x}")
    for field in fields:
        value = key[field]
        if field in (Field.CT_STATE, Field.TCP_FLAGS):
            names = CT_STATE_NAMES if field == Field.CT_STATE else TCP_FLAG_NAMES
            text = "|".join(name for name, bit in names.items() if value & bit) or "0"
            words.append(f"{FIELDS[field].name}={text}")
        else:
            words.append(_term(FieldMatch(field, value, FIELDS[field].mask), dl_type, port_name))
    return ",".join(words)

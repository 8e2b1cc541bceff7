# SPDX-License-Identifier: Apache-2.0
"""Reads the match half of a flow, checks it as a whole and reports every error with its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from p4ct.pipeline import vocabulary as words
from p4ct.pipeline.errors import LineErrors, ValueProblem, nearest
from p4ct.pipeline.fields import (
    ETH_ARP,
    ETH_IP,
    ETH_IPV6,
    ICMP,
    ICMPV6,
    SCTP,
    TCP,
    UDP,
    VLAN_PRESENT,
    Field,
)
from p4ct.pipeline.lexer import Token
from p4ct.pipeline.match import FieldMatch, Match
from p4ct.pipeline.values import parse_masked, parse_uint

__all__ = ["MatchParser", "parse_port"]

_PREREQUISITE_HINTS = {
    "ip": "add ip (or tcp, udp, icmp)",
    "ipv6": "add ipv6 (or tcp6, udp6, icmp6)",
    "ip or ipv6": "add ip or ipv6",
    "tcp": "add tcp (IPv4) or tcp6 (IPv6)",
    "udp": "add udp (IPv4) or udp6 (IPv6)",
    "tcp or udp": "add tcp, udp, tcp6 or udp6",
    "icmp": "add icmp",
    "icmp6": "add icmp6",
    "arp": "add arp",
    "vlan": "add dl_vlan or vlan_vid with a tag",
    "tracked": "add ip or ipv6, and ct_state=+trk",
    "tracked ip": "add ip and ct_state=+trk",
    "tracked ipv6": "add ipv6 and ct_state=+trk",
    "neighbour discovery": "add icmp6,icmpv6_type=135,icmpv6_code=0 (or type 136)",
}


class _Term(NamedTuple):
    value: int
    mask: int
    token: Token


def parse_port(text: str, ports: Mapping[str, int]) -> int:
    """A vport by name or number. Raises ValueProblem with the list of names."""
    if text in ports:
        return ports[text]
    known = ", ".join(f"{name} ({number})" for name, number in ports.items()) or "none"
    hint = f"known vports: {known}"
    if text.isdecimal():
        number = parse_uint(text, 0, 65535, what="port")
        if number in ports.values():
            return number
        raise ValueProblem(f"there is no vport {text}", hint, length=len(text))
    raise ValueProblem(f"there is no vport named {text!r}", hint, length=len(text))


class MatchParser:
    """Takes the match tokens of one flow, one by one, and then gives the match."""

    def __init__(self, ports: Mapping[str, int], errors: LineErrors) -> None:
        self._ports = ports
        self._errors = errors
        self._terms: dict[Field, _Term] = {}
        self._needs: list[tuple[str, Token]] = []

    def known(self, name: str) -> bool:
        """True if `name` is a match token (supported or not)."""
        return (
            name in words.MATCH_FIELDS
            or name in words.PROTOCOLS
            or name in ("in_port", "vlan_tci")
            or _unsupported(name)
        )

    def take(self, token: Token) -> None:
        """Reads one token; errors go to the error list."""
        name = token.name
        if name in words.PROTOCOLS:
            self._protocol(token)
        elif _unsupported(name):
            self._errors.add(
                token.column,
                name,
                f"matching {name!r} is not supported yet",
                "leave it out; it is a valid OVS match, but not one of this version",
            )
        elif not token.value:
            self._errors.add(token.column, token.text, f"{name} needs a value", f"write {name}=…")
        elif token.value == "*":
            return  # as in ovs-ofctl: an explicit wildcard
        else:
            self._field(token, token.value)

    def _protocol(self, token: Token) -> None:
        if token.value is not None:
            self._errors.add(
                token.column, token.text, f"{token.name} takes no value", f"write {token.name}"
            )
            return
        dl_type, nw_proto = words.PROTOCOLS[token.name]
        self._set(Field.DL_TYPE, dl_type, 0xFFFF, token)
        if nw_proto is not None:
            self._set(Field.NW_PROTO, nw_proto, 0xFF, token)

    def _field(self, token: Token, text: str) -> None:
        try:
            if token.name == "in_port":
                self._set(Field.IN_PORT, parse_port(text, self._ports), 0xFFFF, token)
            elif token.name == "vlan_tci":
                value, mask = parse_masked(text, 16, what="vlan_tci")
                self._set(Field.VLAN_VID, value & 0x1FFF, mask & 0x1FFF, token)
                self._set(Field.VLAN_PCP, value >> 13, mask >> 13, token)
            else:
                entry = words.MATCH_FIELDS[token.name]
                value, mask = entry.parse(text)
                self._set(entry.field, value, mask, token)
                if token.name == "dl_vlan_pcp":
                    self._set(Field.VLAN_VID, VLAN_PRESENT, VLAN_PRESENT, token)
                if entry.needs:
                    self._needs.append((entry.needs, token))
        except ValueProblem as problem:
            start = token.value_start + problem.offset
            length = problem.length or len(text) - problem.offset
            self._errors.add(
                start + 1,
                text[problem.offset : problem.offset + length],
                problem.message,
                problem.hint,
            )

    def _set(self, field: Field, value: int, mask: int, token: Token) -> None:
        """Adds a term. A second one for the same bits must agree; VLAN terms may add up."""
        old = self._terms.get(field)
        if old is not None and old.mask:
            common = old.mask & mask
            joins = field == Field.VLAN_VID and VLAN_PRESENT in (mask, old.mask)
            if (old.value ^ value) & common or not (joins or mask == old.mask):
                self._errors.add(
                    token.column,
                    token.text,
                    f"{token.text!r} contradicts {old.token.text!r} at column {old.token.column}",
                    "leave one of them out",
                )
                return
            value, mask, token = old.value | value, old.mask | mask, old.token
        self._terms[field] = _Term(value, mask, token)

    def finish(self) -> Match:
        """The match; reports what lacks its prerequisites."""
        for needs, token in self._needs:
            self.require(needs, token)
        return Match(FieldMatch(field, t.value, t.mask) for field, t in self._terms.items())

    def require(self, needs: str, token: Token) -> None:
        """Reports that the match is not as specific as this token wants it."""
        if not self.satisfied(needs):
            self._errors.add(
                token.column,
                token.text,
                f"{token.name} needs a match on {needs}",
                self._hint(needs, token),
            )

    def value_of(self, field: Field) -> int | None:
        """The value so far (0 in the bits left open); None if the field is not matched."""
        term = self._terms.get(field)
        return term.value if term is not None and term.mask else None

    def requires_ip(self) -> bool:
        """True if the match admits IPv4 or IPv6 packets only."""
        return self.satisfied("ip or ipv6")

    def requires_invalid(self) -> bool:
        """True if the match admits only packets that conntrack found invalid."""
        return bool((self.value_of(Field.CT_STATE) or 0) & 0x10)

    def requires_connection(self) -> bool:
        """True if the match admits only IP packets that conntrack knows the tuple of, as
        `is_ct_valid` of OVS has it."""
        term = self._terms.get(Field.CT_STATE)
        if term is None or not self.requires_ip():
            return False
        value, mask, _ = term
        return bool(value & ~0x30) or bool(value & 0x20 and mask & 0x10 and not value & 0x10)

    def satisfied(self, needs: str) -> bool:
        """True if the match admits only packets that have what is needed."""
        dl_type, proto = self.value_of(Field.DL_TYPE), self.value_of(Field.NW_PROTO)
        any_ip = dl_type in (ETH_IP, ETH_IPV6)
        match needs:
            case "ip":
                return dl_type == ETH_IP
            case "ipv6":
                return dl_type == ETH_IPV6
            case "ip or ipv6":
                return any_ip
            case "tcp":
                return any_ip and proto == TCP
            case "udp":
                return any_ip and proto == UDP
            case "tcp or udp":
                return any_ip and proto in (TCP, UDP)
            case "tracked" | "tracked ip" | "tracked ipv6":
                tracked = bool((self.value_of(Field.CT_STATE) or 0) & 0x20)
                return tracked and self.satisfied(needs[8:] or "ip or ipv6")
            case "icmp":
                return dl_type == ETH_IP and proto == ICMP
            case "icmp6":
                return dl_type == ETH_IPV6 and proto == ICMPV6
            case "arp":
                return dl_type == ETH_ARP
            case "vlan":
                return bool((self.value_of(Field.VLAN_VID) or 0) & VLAN_PRESENT)
            case _:
                kind, code = self.value_of(Field.ICMP_TYPE), self.value_of(Field.ICMP_CODE)
                return self.satisfied("icmp6") and kind in (135, 136) and code == 0

    def _hint(self, needs: str, token: Token) -> str:
        dl_type, proto = self.value_of(Field.DL_TYPE), self.value_of(Field.NW_PROTO)
        if needs == "ip" and dl_type == ETH_IPV6:
            return f"in IPv6 flows the name is ipv6_{token.name[-3:]}"
        if needs == "ipv6" and dl_type == ETH_IP:
            return f"in IPv4 flows the name is nw_{token.name[-3:]}"
        if needs == "ip" and dl_type == ETH_ARP:
            return f"in ARP flows the name is arp_{'spa' if 'src' in token.name else 'tpa'}"
        if needs == "icmp" and dl_type == ETH_IPV6:
            return f"in IPv6 flows the name is icmpv6_{token.name[-4:]}"
        if needs == "icmp6" and dl_type == ETH_IP:
            return f"in IPv4 flows the name is icmp_{token.name[-4:]}"
        if needs == "tcp or udp" and proto == SCTP:
            return "ports of SCTP are not supported yet"
        return _PREREQUISITE_HINTS[needs]


def _unsupported(name: str) -> bool:
    return name in words.UNSUPPORTED_MATCHES or (
        name not in words.MATCH_FIELDS and name.startswith(words.UNSUPPORTED_MATCH_PREFIXES)
    )


def unknown_match(name: str) -> str:
    """The hint for a word that is no match token."""
    return nearest(name, words.MATCH_NAMES)

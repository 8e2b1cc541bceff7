# SPDX-License-Identifier: Apache-2.0
"""Connections and tuples as operators write them: `tcp src=10.0.0.1 dst=10.0.0.3 dport=80`."""

from __future__ import annotations

import difflib
from typing import Any, NamedTuple

from p4ct.conntrack import FlowState, TcpState
from p4ct.packet.text import parse_ip, parse_mac
from p4ct.pipeline.ports import PortTable

__all__ = ["Question", "TupleError", "parse_filter", "parse_tuple"]

PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "gre": 47, "icmpv6": 58, "icmp6": 58, "sctp": 132}


class TupleError(ValueError):
    """A word that is not understood; the text says which, and what would be."""


class Question(NamedTuple):
    """A packet to ask about. `in_port` 0 and empty MAC addresses: to be found out."""

    version: int
    proto: int
    src: bytes
    dst: bytes
    sport: int
    dport: int
    in_port: int
    eth_src: bytes
    eth_dst: bytes
    zone: int | None


FILTER_WORDS = ("src", "dst", "sport", "dport", "zone", "mark", "state", "family", "PROTOCOL")


def parse_filter(words: list[str]) -> dict[str, Any]:
    """Keyword arguments of `Tracker.select` from filter words. Raises TupleError."""
    chosen: dict[str, Any] = {}
    for word in _split(words):
        name, sign, value = word.partition("=")
        if not sign and name.lower() in PROTOCOLS:
            chosen["proto"] = PROTOCOLS[name.lower()]
        elif not sign and name.upper() in _STATES:
            chosen["state"] = name.upper()
        elif name in ("src", "dst"):
            chosen[name] = _address(word, value)
        elif name in ("sport", "dport"):
            chosen[name] = _number(word, value, 65535)
        elif name == "zone":
            chosen["zone"] = _number(word, value, 65535)
        elif name == "mark":
            chosen["mark"] = _number(word, value, 0xFFFFFFFF)
        elif name == "state":
            chosen["state"] = value.upper()
        elif name == "family" and value in ("ipv4", "ipv6"):
            chosen["version"] = int(value[3])
        elif name == "proto":
            chosen["proto"] = PROTOCOLS.get(value) or _number(word, value, 255)
        else:
            raise _unknown(word, (*FILTER_WORDS[:-1], *PROTOCOLS))
    return chosen


_STATES = frozenset(state.name for state in (*TcpState, *FlowState))


def parse_tuple(text: str, ports: PortTable) -> Question:
    """A packet from `PROTO src=A dst=B [sport=N dport=N | id=N] [in_port=P] [zone=N]`."""
    values: dict[str, Any] = {
        "sport": 0, "dport": 0, "in_port": 0, "eth_src": b"", "eth_dst": b"", "zone": None
    }  # fmt: skip
    proto: int | None = None
    for word in _split([text]):
        name, sign, value = word.partition("=")
        if not sign and name.lower() in PROTOCOLS:
            proto = PROTOCOLS[name.lower()]
        elif name in ("src", "dst"):
            values[name] = _address(word, value)
        elif name in ("sport", "dport"):
            values[name] = _number(word, value, 65535)
        elif name == "id":
            values["sport"] = _number(word, value, 65535)
        elif name == "zone":
            values["zone"] = _number(word, value, 65535)
        elif name in ("eth_src", "eth_dst", "dl_src", "dl_dst"):
            values["eth_" + name[-3:]] = _mac(word, value)
        elif name == "in_port":
            values["in_port"] = _port(value, ports)
        else:
            raise _unknown(word, ("src", "dst", "sport", "dport", "id", "in_port", *PROTOCOLS))
    missing = [name for name in ("src", "dst") if name not in values]
    if proto is None:
        missing.insert(0, "a protocol")
    if missing:
        raise TupleError(
            f"missing: {', '.join(missing)}; for example: "
            "tcp src=10.0.0.1 dst=10.0.0.3 sport=40000 dport=80"
        )
    assert proto is not None
    src, dst = values.pop("src"), values.pop("dst")
    if len(src) != len(dst):
        raise TupleError("src and dst are of different families")
    version = 4 if len(src) == 4 else 6
    if proto in (1, 58):
        proto = 1 if version == 4 else 58
        values["dport"] = values["dport"] or (8 << 8 if version == 4 else 128 << 8)
    return Question(version, proto, src, dst, **values)


def _split(words: list[str]) -> list[str]:
    return [part for word in words for part in word.replace(",", " ").split()]


def _unknown(word: str, valid: tuple[str, ...]) -> TupleError:
    name = word.partition("=")[0]
    near = difflib.get_close_matches(name, valid, 1)
    hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(valid)}"
    return TupleError(f"'{word}' is not understood; {hint}")


def _address(word: str, value: str) -> bytes:
    try:
        return parse_ip(value)
    except ValueError:
        raise TupleError(f"'{word}': '{value}' is no IPv4 or IPv6 address") from None


def _mac(word: str, value: str) -> bytes:
    try:
        return parse_mac(value)
    except ValueError:
        raise TupleError(f"'{word}': '{value}' is no MAC address") from None


def _number(word: str, value: str, limit: int) -> int:
    try:
        number = int(value, 0)
    except ValueError:
        number = -1
    if not 0 <= number <= limit:
        raise TupleError(f"'{word}': '{value}' is not a number from 0 to {limit}")
    return number


def _port(value: str, ports: PortTable) -> int:
    if value in ports.by_name:
        return ports.by_name[value].id
    if value.isdigit() and int(value) in ports.by_id:
        return int(value)
    raise TupleError(f"there is no vport '{value}'; known: {', '.join(ports.by_name)}")

# SPDX-License-Identifier: Apache-2.0
"""Connections and tuples as operators write them: `tcp src=10.0.0.1 dst=10.0.0.3 dport=80`."""

from __future__ import annotations

import difflib
import ipaddress
from typing import Any, NamedTuple

from p4ct.conntrack import FlowState, SctpState, TcpState
from p4ct.packet.text import parse_ip, parse_mac
from p4ct.pipeline.ports import PortTable

__all__ = ["Network", "Question", "TupleError", "parse_filter", "parse_tuple"]

PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "gre": 47, "icmpv6": 58, "icmp6": 58, "sctp": 132}


ASKABLE = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp"}
"""Protocols whose packets `explain` can make up."""


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


class Network(NamedTuple):
    """Addresses of one family with a common prefix."""

    size: int
    """Bytes of an address: 4 or 16."""
    value: int
    mask: int

    def holds(self, address: bytes) -> bool:
        """Whether an address of this family lies in it."""
        return len(address) == self.size and int.from_bytes(address) & self.mask == self.value


_TUPLE_PARTS = ("src", "dst", "sport", "dport", "type", "code", "id")
FILTER_WORDS = (
    *_TUPLE_PARTS, *(f"{side}-{part}" for side in ("orig", "reply") for part in _TUPLE_PARTS),
    "zone", "mark", "label", "state", "family", "proto",
)  # fmt: skip
FLAGS = ("assured", "offloaded", "unreplied")
TUPLE_WORDS = (
    "src", "dst", "sport", "dport", "id", "type", "code", "proto", "zone", "in_port", "eth_src",
    "eth_dst",
)  # fmt: skip
_STATES = tuple(state.name for state in (*TcpState, *SctpState, *FlowState))
#: Of a line of `conntrack list`: what is no part of a tuple.
_REST_OF_LINE = ("packets", "bytes", "mark", "labels", "secctx", "use", "timeout", "delta-time",
                 "helper")  # fmt: skip
_ENDS = ("src", "dst", "sport", "dport", "id", "type", "code")
#: Words that other tools have for one of two of ours.
_EITHER = {"port": ("sport", "dport"), "ip": ("src", "dst"), "addr": ("src", "dst"),
           "host": ("src", "dst")}  # fmt: skip


def parse_filter(words: list[str]) -> dict[str, Any]:
    """What filter words ask for, by name. Raises TupleError.

    zone, version, proto, mark, state: as in `Tracker.select`.   mark_bits, label_bits: (value,
    mask).   assured, offloaded, unreplied: True.   Parts of one tuple: src, dst (bytes), src_net,
    dst_net (Network), sport, dport, type, code, id; with orig- or reply- in front, of that tuple.
    """
    chosen: dict[str, Any] = {}

    def put(key: str, value: Any, word: str) -> None:
        if chosen.setdefault(key, value) != value:
            raise TupleError(f"'{word}' contradicts what stands before it")

    for word in _split(words):
        name, sign, value = word.partition("=")
        if not sign and name.lower() in PROTOCOLS:
            put("proto", PROTOCOLS[name.lower()], word)
        elif not sign and name.lower() in FLAGS:
            put(name.lower(), True, word)
        elif not sign and name.upper() in _STATES:
            put("state", name.upper(), word)
        elif (part := name.removeprefix("orig-").removeprefix("reply-")) in _TUPLE_PARTS:
            network = part in ("src", "dst") and "/" in value
            put(f"{name}_net" if network else name, _tuple_part(word, part, value), word)
        elif name == "zone":
            put(name, _number(word, value, 65535), word)
        elif name == "mark" and "/" not in value:
            put(name, _number(word, value, 0xFFFFFFFF), word)
        elif name in ("mark", "label"):
            put(f"{name}_bits", _masked(word, value, 32 if name == "mark" else 128), word)
        elif name == "state":
            put(name, _one_of(word, value.upper(), _STATES), word)
        elif name == "family":
            put("version", int(_one_of(word, value, ("ipv4", "ipv6"))[3]), word)
        elif name == "proto":
            put(name, _protocol(word, value), word)
        else:
            raise _unknown(word, (*FILTER_WORDS, *FLAGS, *PROTOCOLS), () if sign else _STATES)
    return chosen


def parse_tuple(text: str, ports: PortTable) -> Question:
    """A packet from `PROTO src=A dst=B [sport=N dport=N | type=N id=N] [in_port=P] [zone=N]`.

    A line of `conntrack list` will do as well: its first tuple counts. Raises TupleError.
    """
    values: dict[str, Any] = {}
    for word in _first_tuple(_split([text])):
        name, sign, value = word.partition("=")
        if not sign and name.lower() in PROTOCOLS:
            name, found = "proto", PROTOCOLS[name.lower()]
        elif name in ("src", "dst"):
            found = _address(word, value)
        elif name in ("sport", "dport", "id", "zone"):
            found = _number(word, value, 65535)
        elif name in ("type", "code"):
            found = _number(word, value, 255)
        elif name == "proto":
            found = _protocol(word, value)
        elif name in ("eth_src", "eth_dst", "dl_src", "dl_dst"):
            name, found = "eth_" + name[-3:], _mac(word, value)
        elif name == "in_port":
            found = _port(value, ports)
        else:
            raise _unknown(word, (*TUPLE_WORDS, *PROTOCOLS))
        if values.setdefault(name, found) != found:
            raise TupleError(f"'{word}' contradicts what stands before it")
    missing = [name for name in ("src", "dst") if name not in values]
    if "proto" not in values:
        missing.insert(0, "a protocol")
    if missing:
        raise TupleError(
            f"missing: {', '.join(missing)}; for example: "
            "tcp src=10.0.0.1 dst=10.0.0.3 sport=40000 dport=80"
        )
    return _question(values)


def _question(values: dict[str, Any]) -> Question:
    proto, src, dst = values["proto"], values["src"], values["dst"]
    if len(src) != len(dst):
        raise TupleError("src and dst are of different families")
    version = 4 if len(src) == 4 else 6
    if proto == 1 and version == 6:
        proto = 58  # whoever writes "icmp" means that of the addresses
    if proto not in ASKABLE:
        known = ", ".join(sorted(set(ASKABLE.values())))
        raise TupleError(f"packets of protocol {proto} cannot be explained; only {known}")
    if proto == 58 and version == 4:
        raise TupleError("ICMPv6 with IPv4 addresses; write icmp")
    if proto in (1, 58):
        request, reply = (8, 0) if version == 4 else (128, 129)
        wrong = [name for name in ("sport", "dport") if name in values]
        if wrong:
            raise TupleError(f"ICMP has no {' and no '.join(wrong)}; write type=, code= and id=")
        kind, code = values.get("type", request), values.get("code", 0)
        if (kind, code) not in ((request, 0), (reply, 0)):
            raise TupleError(
                f"only echo can be explained: type={request} (request) or type={reply} (reply), "
                "code=0"
            )
        sport, dport = values.get("id", 0), kind << 8 | code
    else:
        wrong = [name for name in ("type", "code", "id") if name in values]
        if wrong:
            raise TupleError(f"only ICMP has {', '.join(wrong)}; write sport= and dport=")
        sport, dport = values.get("sport", 0), values.get("dport", 0)
    return Question(
        version,
        proto,
        src,
        dst,
        sport,
        dport,
        values.get("in_port", 0),
        values.get("eth_src", b""),
        values.get("eth_dst", b""),
        values.get("zone"),
    )


def _split(words: list[str]) -> list[str]:
    return [part for word in words for part in word.replace(",", " ").split()]


def _first_tuple(words: list[str]) -> list[str]:
    """The words of a line of `conntrack list` without its second tuple and what is in no tuple."""
    kept: list[str] = []
    seen: set[str] = set()
    second = False
    for position, word in enumerate(words):
        name, sign, _ = word.partition("=")
        if name == "src" and {"src", "dst"} <= seen:
            # A lone second src is a mistake, and found as one.
            second = second or any(later.startswith("dst=") for later in words[position:])
        if sign:
            ignored = name in _REST_OF_LINE or (second and name in _ENDS)
        else:
            ignored = (
                name.isdecimal()
                or name.startswith("[")
                or name in ("ipv4", "ipv6")
                or name.upper() in _STATES
            )
        if not ignored:
            kept.append(word)
            seen.add(name)
    return kept


def _unknown(word: str, valid: tuple[str, ...], states: tuple[str, ...] = ()) -> TupleError:
    name = word.partition("=")[0]
    near = difflib.get_close_matches(name, valid, 1)
    near = near or difflib.get_close_matches(name.upper(), states, 1)
    if name in _EITHER:
        hint = "did you mean '{}' or '{}'?".format(*_EITHER[name])
    elif near:
        hint = f"did you mean '{near[0]}'?"
    else:
        hint = f"known: {', '.join(valid)}"
        hint += f"; states: {', '.join(states)}" if states else ""
    return TupleError(f"'{word}' is not understood; {hint}")


def _one_of(word: str, value: str, valid: tuple[str, ...]) -> str:
    if value in valid:
        return value
    near = difflib.get_close_matches(value, valid, 1)
    hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(valid)}"
    raise TupleError(f"'{word}' is not understood; {hint}")


def _protocol(word: str, value: str) -> int:
    known = PROTOCOLS.get(value.lower())
    return _number(word, value, 255) if known is None else known


def _address(word: str, value: str) -> bytes:
    try:
        return parse_ip(value)
    except ValueError:
        raise TupleError(f"'{word}': '{value}' is no IPv4 or IPv6 address") from None


def _network(word: str, value: str) -> Network:
    try:
        found = ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise TupleError(
            f"'{word}': '{value}' is no network; for example 10.0.0.0/24 or fd00::/64"
        ) from None
    return Network(len(found.netmask.packed), int(found.network_address), int(found.netmask))


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


def _tuple_part(word: str, part: str, value: str) -> bytes | Network | int:
    if part in ("src", "dst"):
        return _network(word, value) if "/" in value else _address(word, value)
    return _number(word, value, 255 if part in ("type", "code") else 65535)


def _masked(word: str, value: str, bits: int) -> tuple[int, int]:
    """VALUE or VALUE/MASK."""
    text, sign, mask = value.partition("/")
    full = (1 << bits) - 1
    wanted = _number(word, text, full)
    return wanted, _number(word, mask, full) if sign else full


def _port(value: str, ports: PortTable) -> int:
    if value in ports.by_name:
        return ports.by_name[value].id
    if value.isdigit() and int(value) in ports.by_id:
        return int(value)
    raise TupleError(f"there is no vport '{value}'; known: {', '.join(ports.by_name)}")

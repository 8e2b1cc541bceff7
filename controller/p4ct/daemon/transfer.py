# SPDX-License-Identifier: Apache-2.0
"""The connection table as JSON: what `p4ct conntrack export` writes and `import` reads.

`{"format": "p4ct-conntrack", "version": 1, "exported": SECONDS, "connections": [...]}`. A table is
checked as a whole, with every mistake told, before a connection of it is taken in.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import msgspec

from p4ct.conntrack import Connection, Tuple
from p4ct.conntrack.connection import is_icmp
from p4ct.conntrack.saved import Saved, save, state_named
from p4ct.packet.text import format_ip, parse_ip

__all__ = ["FORMAT", "MAX_PROBLEMS", "VERSION", "Table", "TransferError", "check", "export", "read"]

FORMAT = "p4ct-conntrack"
VERSION = 1
MAX_PROBLEMS = 20
"""Mistakes that are told; more are counted."""


class TransferError(Exception):
    """What is wrong with a table, one line each."""

    def __init__(self, problems: list[str]) -> None:
        shown = problems[:MAX_PROBLEMS]
        if len(problems) > MAX_PROBLEMS:
            shown.append(f"and {len(problems) - MAX_PROBLEMS} more")
        super().__init__("\n".join(shown))


class Side(msgspec.Struct, forbid_unknown_fields=True):
    """One tuple and its counters; ICMP has type, code and id, others may have ports."""

    src: str
    dst: str
    packets: int
    bytes: int
    sport: int = 0
    dport: int = 0
    type: int = 0
    code: int = 0
    id: int = 0


class Entry(msgspec.Struct, forbid_unknown_fields=True):
    """One connection. timeout and age: seconds; label: a number as text, for it has 128 bits;
    timeout_policy: one that is not configured here is none."""

    zone: int
    proto: int
    state: str
    timeout: float
    age: float
    assured: bool
    seen_reply: bool
    mark: int
    label: str
    original: Side
    reply: Side
    timeout_policy: str = ""


class Table(msgspec.Struct, forbid_unknown_fields=True):
    """A whole file."""

    format: str
    version: int
    exported: float
    connections: list[Any]


def export(conn: Connection, now: float) -> dict[str, Any]:
    """One connection for the file."""
    saved = save(conn, now)
    return {
        "zone": saved.zone,
        "proto": saved.original.proto,
        "state": saved.state.name,
        "timeout": round(saved.left, 3),
        "age": round(saved.age, 3),
        "assured": saved.assured,
        "seen_reply": saved.seen_reply,
        "mark": saved.mark,
        "label": f"{saved.label:#x}",
        "original": _side(saved, 0),
        "reply": _side(saved, 1),
        "timeout_policy": saved.timeout_policy,
    }


def _side(saved: Saved, direction: int) -> dict[str, Any]:
    own = saved.reply if direction else saved.original
    side: dict[str, Any] = {"src": format_ip(own.src), "dst": format_ip(own.dst)}
    if is_icmp(own.version, own.proto):
        side |= {"type": own.dport >> 8, "code": own.dport & 0xFF, "id": own.sport}
    else:
        side |= {"sport": own.sport, "dport": own.dport}
    return side | {"packets": saved.packets[direction], "bytes": saved.octets[direction]}


def read(text: bytes) -> Table:
    """A file's content; the connections are not looked at yet. Raises TransferError."""
    try:
        table = msgspec.json.decode(text, type=Table)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise TransferError([f"not a connection table: {error}"]) from None
    if table.format != FORMAT:
        raise TransferError([f"format is '{table.format}', not '{FORMAT}'"])
    if table.version != VERSION:
        raise TransferError([f"version {table.version} is not known; this p4ct reads {VERSION}"])
    return table


def check(connections: list[Any]) -> list[Saved]:
    """The connections, understood. Raises TransferError with every mistake; they count from 1."""
    problems: list[str] = []
    result: list[Saved] = []
    seen: dict[tuple[int, Tuple], int] = {}
    for number, given in enumerate(connections, 1):
        try:
            saved = _saved(msgspec.convert(given, Entry))
        except (msgspec.ValidationError, ValueError) as error:
            problems.append(f"connection {number}: {error}")
            continue
        for own in {saved.original, saved.reply}:
            other = seen.setdefault((saved.zone, own), number)
            if other != number:
                problems.append(
                    f"connection {number}: {own} in zone {saved.zone} is connection {other}'s"
                )
        result.append(saved)
    if problems:
        raise TransferError(problems)
    return result


def _saved(entry: Entry) -> Saved:
    """Raises ValueError with the place and the mistake."""
    for name, value, most in (
        ("zone", entry.zone, 0xFFFF),
        ("proto", entry.proto, 0xFF),
        ("mark", entry.mark, 0xFFFFFFFF),
        *_numbers("original", entry.original),
        *_numbers("reply", entry.reply),
    ):
        if not 0 <= value <= most:
            raise ValueError(f"{name}: {value} is not a number from 0 to {most}")
    for name in ("timeout", "age"):
        value = getattr(entry, name)
        if not 0 <= value < math.inf:
            raise ValueError(f"{name}: must be 0 or more seconds and finite, not {value}")
    original = _tuple("original", entry.original, entry.proto)
    reply = _tuple("reply", entry.reply, entry.proto)
    if original.version != reply.version:
        raise ValueError("original and reply are of different families")
    if is_icmp(original.version, original.proto) and reply.dport != original.reversed().dport:
        raise ValueError(f"reply.type: {entry.reply.type} does not answer {entry.original.type}")
    state = state_named(entry.proto, entry.state)
    if state is None:
        raise ValueError(f"state: '{entry.state}' is no state of IP protocol {entry.proto}")
    if entry.assured and not entry.seen_reply:
        raise ValueError("assured: a connection without a reply is not assured")
    sides = (entry.original, entry.reply)
    return Saved(
        entry.zone,
        original,
        reply,
        state,
        entry.timeout,
        entry.age,
        entry.mark,
        _label(entry.label),
        entry.assured,
        entry.seen_reply,
        (sides[0].packets, sides[1].packets),
        (sides[0].bytes, sides[1].bytes),
        entry.timeout_policy,
    )


def _numbers(place: str, side: Side) -> Iterator[tuple[str, int, int]]:
    for name in ("sport", "dport", "id"):
        yield f"{place}.{name}", getattr(side, name), 0xFFFF
    for name in ("type", "code"):
        yield f"{place}.{name}", getattr(side, name), 0xFF
    for name in ("packets", "bytes"):
        yield f"{place}.{name}", getattr(side, name), (1 << 63) - 1


def _tuple(place: str, side: Side, proto: int) -> Tuple:
    addresses: list[bytes] = []
    for name in ("src", "dst"):
        text = getattr(side, name)
        try:
            addresses.append(parse_ip(text))
        except ValueError:
            raise ValueError(f"{place}.{name}: '{text}' is no IPv4 or IPv6 address") from None
    src, dst = addresses
    if len(src) != len(dst):
        raise ValueError(f"{place}: src and dst are of different families")
    version = 4 if len(src) == 4 else 6
    if is_icmp(version, proto):
        return Tuple(version, proto, src, dst, side.id, side.type << 8 | side.code)
    return Tuple(version, proto, src, dst, side.sport, side.dport)


def _label(text: str) -> int:
    try:
        label = int(text, 0)
    except ValueError:
        label = -1
    if not 0 <= label < 1 << 128:
        raise ValueError(f"label: '{text}' is not a number of 128 bits")
    return label

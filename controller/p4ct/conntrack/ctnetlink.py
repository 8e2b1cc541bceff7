# SPDX-License-Identifier: Apache-2.0
"""Messages of the kernel's connection table (`nfnetlink_conntrack.h`), as values. Pure.

Header fields and attribute headers are in host order, values in network order.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct, error
from typing import NamedTuple

from p4ct.conntrack.connection import Tuple, is_icmp
from p4ct.conntrack.saved import Saved
from p4ct.conntrack.state import FlowState, ProtocolState, SctpState, TcpState
from p4ct.packet.parse import PROTO_SCTP, PROTO_TCP

__all__ = ["Change", "changes", "dump_request"]

_HEADER = Struct("=LHHLL")
_ATTRIBUTE = Struct("=HH")
_FAMILY_HEADER = 4
_NEW, _GET, _DELETE = 0x100, 0x101, 0x102
_ERROR, _DONE = 2, 3
_REQUEST, _DUMP = 1, 0x300

_ORIGINAL, _REPLY, _STATUS, _PROTOINFO, _TIMEOUT, _MARK = 1, 2, 3, 4, 7, 8
_COUNTERS, _ZONE, _TIMESTAMP, _LABELS = (9, 10), 18, 20, 22
_TUPLE_IP, _TUPLE_PROTO = 1, 2
_SEEN_REPLY, _ASSURED = 2, 4

NO_TIMEOUT = 3600.0
"""Seconds for what the kernel does not tell: a flow that its own flowtable has offloaded."""


class Change(NamedTuple):
    """One message. kind: "new" (created, changed or listed), "gone", "done" (the end of a list),
    "error".   saved: of new and gone.   code: errno of an error."""

    kind: str
    saved: Saved | None = None
    code: int = 0


def dump_request(sequence: int) -> bytes:
    """Asks for the whole table."""
    return _HEADER.pack(20, _GET, _REQUEST | _DUMP, sequence, 0) + bytes(_FAMILY_HEADER)


def changes(data: bytes, wall: float) -> Iterator[Change]:
    """What one datagram says; what cannot be a connection here is passed over.

    wall: seconds since 1970, for the age of connections where the kernel stamps them.
    """
    at = 0
    while at + _HEADER.size <= len(data):
        size, kind, _, _, _ = _HEADER.unpack_from(data, at)
        if size < _HEADER.size or at + size > len(data):
            return
        body = data[at + _HEADER.size : at + size]
        at += (size + 3) & ~3
        if kind == _DONE:
            yield Change("done")
        elif kind == _ERROR:
            yield Change("error", code=-int.from_bytes(body[:4], "little", signed=True))
        elif kind in (_NEW, _DELETE):
            try:
                saved = _saved(dict(_attributes(body[_FAMILY_HEADER:])), wall)
            except (KeyError, IndexError, ValueError, error):
                continue
            yield Change("new" if kind == _NEW else "gone", saved)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, at)
        if size < 4 or at + size > len(data):
            return
        yield kind & 0x3FFF, data[at + 4 : at + size]
        at += (size + 3) & ~3


def _number(data: bytes | None) -> int:
    return int.from_bytes(data or b"", "big")


def _saved(fields: dict[int, bytes], wall: float) -> Saved:
    """Raises KeyError, IndexError or ValueError for what is no connection of ours."""
    original, reply = _tuple(fields[_ORIGINAL]), _tuple(fields[_REPLY])
    status = _number(fields.get(_STATUS))
    replied, assured = bool(status & _SEEN_REPLY), bool(status & _ASSURED)
    counters = [dict(_attributes(fields.get(kind, b""))) for kind in _COUNTERS]
    start = _number(dict(_attributes(fields.get(_TIMESTAMP, b""))).get(1)) / 1e9
    return Saved(
        _number(fields.get(_ZONE)),
        original,
        reply,
        _state(original.proto, fields.get(_PROTOINFO), replied, assured),
        float(_number(fields[_TIMEOUT])) if _TIMEOUT in fields else NO_TIMEOUT,
        max(0.0, wall - start) if start else 0.0,
        _number(fields.get(_MARK)),
        int.from_bytes(fields.get(_LABELS, b""), "little"),
        assured and replied,
        replied,
        (_number(counters[0].get(1)), _number(counters[1].get(1))),
        (_number(counters[0].get(2)), _number(counters[1].get(2))),
    )


def _state(proto: int, info: bytes | None, replied: bool, assured: bool) -> ProtocolState:
    if proto in (PROTO_TCP, PROTO_SCTP):
        states = TcpState if proto == PROTO_TCP else SctpState
        number = 0
        for _, inside in _attributes(info or b""):
            number = dict(_attributes(inside))[1][0]
        if not number:  # not told: the kernel's flowtable has it
            return states["ESTABLISHED"]
        return states(number)
    if not replied:
        return FlowState.UNREPLIED
    return FlowState.STREAM if assured else FlowState.REPLIED


def _tuple(data: bytes) -> Tuple:
    outer = dict(_attributes(data))
    addresses = dict(_attributes(outer[_TUPLE_IP]))
    proto = {kind: _number(value) for kind, value in _attributes(outer[_TUPLE_PROTO])}
    version = 4 if 1 in addresses else 6
    src, dst = (addresses[1], addresses[2]) if version == 4 else (addresses[3], addresses[4])
    number = proto[1]
    if is_icmp(version, number):
        at = 4 if version == 4 else 7
        return Tuple(version, number, src, dst, proto[at], proto[at + 1] << 8 | proto[at + 2])
    return Tuple(version, number, src, dst, proto.get(2, 0), proto.get(3, 0))

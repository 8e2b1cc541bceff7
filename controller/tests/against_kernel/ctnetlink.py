# SPDX-License-Identifier: Apache-2.0
"""What the kernel holds of one connection, asked over netlink (`nfnetlink_conntrack.h`)."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct

from p4ct.conntrack.connection import Tuple, is_icmp

_NETLINK_NETFILTER = 12
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_REQUEST, _ACK = 1, 4
# subsystem ctnetlink (1) and its messages
_CT_NEW, _CT_GET, _CT_DELETE = 0x100, 0x101, 0x102
_NESTED = 0x8000

_TUPLE_ORIG, _TUPLE_REPLY, _STATUS, _PROTOINFO = 1, 2, 3, 4
_TIMEOUT, _COUNTERS_ORIG, _COUNTERS_REPLY = 7, 9, 10
_TUPLE_IP, _TUPLE_PROTO = 1, 2

_HEADER = Struct("=LHHLL")
_FAMILY = Struct("!BBH").pack
_ATTRIBUTE = Struct("=HH")
_U32 = Struct("!L").unpack
_U64 = Struct("!Q").unpack

_STATUS_SEEN_REPLY, _STATUS_ASSURED = 2, 4


@dataclass(frozen=True)
class Held:
    """One connection as the kernel has it.

    original, reply: the raw tuple attributes' values.   timeout: whole seconds left.
    state: number of the protocol's own state, None where it has none.
    sides: TCP: (flags, window scale) of both senders; SCTP: both verification tags; else ().
    packets: (original, reply), None unless the kernel counts.
    """

    replied: bool
    assured: bool
    timeout: int
    state: int | None
    sides: tuple[tuple[int, int], ...] | tuple[int, ...]
    packets: tuple[int, int] | None
    original: tuple[bytes, bytes, int, int]
    reply: tuple[bytes, bytes, int, int]


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, at)
        if size < 4:
            return
        yield kind & 0x3FFF, data[at + 4 : at + size]
        at += (size + 3) & ~3


def _tuple_attributes(key: Tuple) -> bytes:
    first = 1 if key.version == 4 else 3
    addresses = _attribute(first, key.src) + _attribute(first + 1, key.dst)
    proto = _attribute(1, bytes([key.proto]))
    if is_icmp(key.version, key.proto):
        at = 4 if key.version == 4 else 7
        proto += _attribute(at, key.sport.to_bytes(2, "big"))
        proto += _attribute(at + 1, bytes([key.dport >> 8]))
        proto += _attribute(at + 2, bytes([key.dport & 0xFF]))
    else:
        proto += _attribute(2, key.sport.to_bytes(2, "big"))
        proto += _attribute(3, key.dport.to_bytes(2, "big"))
    inside = _attribute(_TUPLE_IP | _NESTED, addresses) + _attribute(_TUPLE_PROTO | _NESTED, proto)
    return _attribute(_TUPLE_ORIG | _NESTED, inside)


class Conntrack:
    """The conntrack table of the namespace that this is made in. OSError for what it refuses."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        self._socket.bind((0, 0))
        self._socket.settimeout(5)
        self._sequence = 0

    def find(self, key: Tuple) -> Held | None:
        """The connection that has `key` as one of its two tuples."""
        answer = self._ask(_CT_GET, _REQUEST, key.version, _tuple_attributes(key))
        return None if answer is None else _held(answer)

    def delete(self, key: Tuple) -> None:
        """Remove the connection if there is one."""
        self._ask(_CT_DELETE, _REQUEST | _ACK, key.version, _tuple_attributes(key))

    def flush(self) -> None:
        """Remove all connections."""
        self._ask(_CT_DELETE, _REQUEST | _ACK, 0, b"")

    def close(self) -> None:
        self._socket.close()

    def _ask(self, kind: int, flags: int, version: int, attributes: bytes) -> bytes | None:
        """The answer's attributes; None if there is, or can be, no such connection."""
        self._sequence += 1
        family = {0: 0, 4: socket.AF_INET, 6: socket.AF_INET6}[version]
        body = _FAMILY(family, 0, 0) + attributes
        size = _HEADER.size + len(body)
        self._socket.send(_HEADER.pack(size, kind, flags, self._sequence, 0) + body)
        while True:
            data = self._socket.recv(65536)
            size, kind, _, sequence, _ = _HEADER.unpack_from(data)
            if sequence != self._sequence:
                continue
            if kind == _NLMSG_ERROR:
                code = -int.from_bytes(data[16:20], "little", signed=True)
                if code == 0:
                    return b""
                if code in (errno.ENOENT, errno.EINVAL):  # the latter: an ICMP type without answer
                    return None
                raise OSError(code, os.strerror(code))
            return data[_HEADER.size + 4 : size]


def _held(data: bytes) -> Held:
    fields = dict(_attributes(data))
    status = _U32(fields[_STATUS])[0]
    state: int | None = None
    sides: tuple[tuple[int, int], ...] | tuple[int, ...] = ()
    for kind, value in _attributes(fields.get(_PROTOINFO, b"")):
        inside = dict(_attributes(value))
        state = inside[1][0]
        if kind == 1:  # TCP: state, scales, flags
            sides = ((inside[4][0], inside[2][0]), (inside[5][0], inside[3][0]))
        elif kind == 3:  # SCTP: state, verification tags
            sides = (_U32(inside[2])[0], _U32(inside[3])[0])
    return Held(
        bool(status & _STATUS_SEEN_REPLY),
        bool(status & _STATUS_ASSURED),
        _U32(fields.get(_TIMEOUT, bytes(4)))[0],
        state,
        sides,
        _packets(fields),
        _endpoints(fields[_TUPLE_ORIG]),
        _endpoints(fields[_TUPLE_REPLY]),
    )


def _packets(fields: dict[int, bytes]) -> tuple[int, int] | None:
    if _COUNTERS_ORIG not in fields:
        return None
    original, reply = (
        _U64(dict(_attributes(fields[kind]))[1])[0] for kind in (_COUNTERS_ORIG, _COUNTERS_REPLY)
    )
    return original, reply


def _endpoints(data: bytes) -> tuple[bytes, bytes, int, int]:
    """src, dst, sport, dport in the terms of `p4ct.conntrack.Tuple`."""
    outer = dict(_attributes(data))
    addresses = dict(_attributes(outer[_TUPLE_IP]))
    proto = {kind: int.from_bytes(value, "big") for kind, value in _attributes(outer[_TUPLE_PROTO])}
    src, dst = (addresses[1], addresses[2]) if 1 in addresses else (addresses[3], addresses[4])
    for at in (4, 7):
        if at in proto:
            return src, dst, proto[at], proto[at + 1] << 8 | proto[at + 2]
    return src, dst, proto.get(2, 0), proto.get(3, 0)

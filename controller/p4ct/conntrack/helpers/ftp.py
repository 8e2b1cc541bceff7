# SPDX-License-Identifier: Apache-2.0
"""What FTP's control connection says about the data connection to come.

PORT and EPRT of the client (active), 227 and 229 of the server (passive). Only the first line of a
segment is read, and only if the segment is known to begin a line, as in `nf_conntrack_ftp.c`: what
somebody else could write into the middle of a line is not believed. Sources: RFC 959, RFC 1123
section 4.1.2.6 (227 without parentheses), RFC 2428 (EPRT, EPSV).
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import NamedTuple

from p4ct.packet.text import format_ip

__all__ = ["Announcement", "LineStarts", "announcement", "written"]

_NUMBERS = rb"(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3})"
_PORT = re.compile(rb"PORT +(" + _NUMBERS + rb")\r?\n", re.IGNORECASE)
#: The delimiter is any printable character that is no digit, mostly |.
_EPRT = re.compile(rb"EPRT +(([!-/:-~])([12])\2([0-9A-Fa-f.:]{2,45})\2(\d{1,5})\2)\r?\n", re.I)
_PASV = re.compile(rb"227 [^\d\r\n]*(" + _NUMBERS + rb")\D")
_EPSV = re.compile(rb"229 [^(\r\n]*\((([!-/:-~])\2\2(\d{1,5})\2)\)")

REMEMBERED = 2
"""Places where a line begins that are remembered for each direction (`NUM_SEQ_TO_REMEMBER`)."""


class Announcement(NamedTuple):
    """address: 4 or 16 bytes; None where the line names none (EPSV).   port: 1 to 65535.

    start, end: of what names them, in the payload.   kind: PORT, EPRT, 227 or 229.
    """

    kind: str
    address: bytes | None
    port: int
    start: int
    end: int


def announcement(payload: bytes, original: bool, version: int) -> Announcement | None:
    """What the first line announces; None if nothing, or nothing that can be meant.

    original: the client sent it.   version: of the connection; EPRT of another one is ignored.
    """
    if original:
        return _six_numbers("PORT", _PORT.match(payload), version) or _eprt(payload, version)
    return _six_numbers("227", _PASV.match(payload), version) or _epsv(payload)


def written(kind: str, address: bytes, port: int) -> bytes:
    """The text that stands for another address and port in a line of this kind."""
    if kind in ("PORT", "227"):
        return b",".join(b"%d" % number for number in (*address, port >> 8, port & 255))
    if kind == "EPRT":
        family = 1 if len(address) == 4 else 2
        return f"|{family}|{format_ip(address)}|{port}|".encode()
    return b"|||%d|" % port


def _six_numbers(kind: str, match: re.Match[bytes] | None, version: int) -> Announcement | None:
    if match is None or version != 4:
        return None
    numbers = [int(match[n]) for n in range(2, 8)]
    port = numbers[4] << 8 | numbers[5]
    if max(numbers) > 255 or not port:
        return None
    return Announcement(kind, bytes(numbers[:4]), port, *match.span(1))


def _eprt(payload: bytes, version: int) -> Announcement | None:
    match = _EPRT.match(payload)
    if match is None or {b"1": 4, b"2": 6}[match[3]] != version:
        return None
    port = int(match[5])
    try:
        address = _address(match[4].decode(), version)
    except ValueError:
        return None
    return Announcement("EPRT", address, port, *match.span(1)) if 0 < port < 65536 else None


def _address(text: str, version: int) -> bytes:
    if version == 6:
        return IPv6Address(text).packed
    numbers = [int(part) for part in text.split(".")]
    if len(numbers) != 4:
        raise ValueError(text)
    return bytes(numbers)


def _epsv(payload: bytes) -> Announcement | None:
    match = _EPSV.match(payload)
    if match is None or not 0 < int(match[3]) < 65536:
        return None
    return Announcement("229", None, int(match[3]), *match.span(1))


class LineStarts:
    """Sequence numbers at which a line begins, the latest of each direction."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: tuple[list[int], list[int]] = ([], [])

    def begins_line(self, direction: int, seq: int, payload: bytes) -> bool:
        """Whether a segment begins a line, as far as is known; its own end is remembered."""
        known = self._known[direction]
        begins = seq in known
        if payload.endswith(b"\n"):
            after = (seq + len(payload)) & 0xFFFFFFFF
            if after not in known:
                known.append(after)
                del known[:-REMEMBERED]
        return begins

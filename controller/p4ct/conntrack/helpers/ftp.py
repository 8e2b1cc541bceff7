# SPDX-License-Identifier: Apache-2.0
"""What FTP's control connection says about the data connection to come.

PORT and EPRT of the client (active), 227 and 229 of the server (passive). Only the first line of a
segment is read, and only if the segment is known to begin a line, as in `nf_conntrack_ftp.c`: what
somebody else could write into the middle of a line is not believed. A line that begins like an
announcement and cannot be read to its end must not pass: the rest of it may be in the next segment,
and nobody would have seen the whole. Sources: RFC 959, RFC 1123 section 4.1.2.6 (227 without
parentheses), RFC 2428 (EPRT, EPSV).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv6Address
from typing import NamedTuple

from p4ct.packet.text import format_ip

__all__ = ["Announcement", "LineStarts", "Unreadable", "announcement", "written"]

#: What these lines begin with: of the client, and of the server.
_KINDS = {True: (b"PORT", b"EPRT"), False: (b"227 ", b"229 ")}

_NUMBERS = rb"(\d*),(\d*),(\d*),(\d*),(\d*),(\d*)"
_PORT = re.compile(rb"PORT[^ ]* (" + _NUMBERS + rb")\r", re.I)
#: The delimiter is any printable character that is no digit (nor a dot), mostly |.
_EPRT = re.compile(rb"EPRT[^ ]* (([!-\-/:-~])([12])\2([0-9A-Fa-f.:]*)\2(\d+)\2)", re.I)
_PASV = re.compile(rb"227 \D*(?=\d)(" + _NUMBERS + rb")[^\d,]")
_EPSV = re.compile(rb"229 [^(]*\((([!-/:-~])\2\2(\d+)\2)")

_WORD = 0xFFFFFFFF
REMEMBERED = 2
"""Places where a line begins that are remembered for each direction (`NUM_SEQ_TO_REMEMBER`)."""


class Announcement(NamedTuple):
    """address: 4 or 16 bytes; None where the line names none (EPSV).   port: 1 to 65535.
    PORT and 227 have an IPv4 address, whatever the connection has.

    start, end: of what names them, in the payload.   kind: PORT, EPRT, 227 or 229.
    """

    kind: str
    address: bytes | None
    port: int
    start: int
    end: int


class Unreadable(Exception):
    """A line that begins like an announcement, without an address and port that can be meant."""


def announcement(payload: bytes, original: bool, version: int) -> Announcement | None:
    """What the first line announces, None if nothing. Raises Unreadable.

    original: the client sent it.   version: of the connection; EPRT has to name an address of it.
    """
    for kind in _KINDS[original]:
        beginning = payload[: len(kind)].upper()
        if beginning and kind.startswith(beginning):
            name = kind.decode().strip()
            found = _read(name, payload, version) if beginning == kind else None
            if found is None:
                raise Unreadable(f"ftp: cannot read an address and port after {name}")
            return found
    return None


def written(kind: str, address: bytes, port: int) -> bytes:
    """The text that stands for another address and port in a line of this kind."""
    if kind in ("PORT", "227"):
        return b",".join(b"%d" % number for number in (*address, port >> 8, port & 255))
    if kind == "EPRT":
        if len(address) == 4:
            return f"|1|{format_ip(address)}|{port}|".encode()
        return f"|2|{IPv6Address(address).exploded}|{port}|".encode()  # as nf_nat_ftp writes it
    return b"|||%d|" % port


def _read(kind: str, payload: bytes, version: int) -> Announcement | None:
    if kind == "EPRT":
        return _eprt(payload, version)
    if kind == "229":
        match = _EPSV.match(payload)
        return match and _announced("229", None, match[3], match.span(1))
    match = (_PORT if kind == "PORT" else _PASV).match(payload)
    if match is None:
        return None
    # As nf_conntrack_ftp adds them up; an address of larger numbers is hardly the sender's.
    address, high, low = _four(match.group(2, 3, 4, 5)), _number(match[6]), _number(match[7])
    return _announced(kind, address, b"%d" % (high << 8 | low), match.span(1))


def _eprt(payload: bytes, version: int) -> Announcement | None:
    match = _EPRT.match(payload)
    if match is None or {b"1": 4, b"2": 6}[match[3]] != version:
        return None
    if version == 4:
        numbers = match[4].split(b".")
        if len(numbers) != 4 or not all(number.isdigit() or not number for number in numbers):
            return None
        return _announced("EPRT", _four(numbers), match[5], match.span(1))
    try:
        address = IPv6Address(match[4].decode()).packed
    except ValueError:
        return None
    return _announced("EPRT", address, match[5], match.span(1))


def _announced(
    kind: str, address: bytes | None, digits: bytes, span: tuple[int, int]
) -> Announcement | None:
    port = _number(digits) & 0xFFFF
    return Announcement(kind, address, port, *span) if port else None


def _four(numbers: Sequence[bytes]) -> bytes:
    whole = 0
    for digits, shift in zip(numbers, (24, 16, 8, 0), strict=True):
        whole |= _number(digits) << shift
    return (whole & _WORD).to_bytes(4, "big")


def _number(digits: bytes) -> int:
    """The number modulo 2**32, of which 10**32 is a multiple; digits may be none, or many."""
    return int(digits[-32:] or b"0") & _WORD


class LineStarts:
    """Sequence numbers at which a line begins, the latest of each direction (`update_nl_seq`)."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: tuple[list[int], list[int]] = ([], [])

    def begins_line(self, direction: int, seq: int) -> bool:
        """Whether a segment that begins at `seq` begins a line, as far as is known."""
        return seq in self._known[direction]

    def ended(self, direction: int, seq: int, payload: bytes) -> None:
        """A segment was let through; what follows it may begin a line."""
        if not payload.endswith(b"\n"):
            return
        known = self._known[direction]
        after = (seq + len(payload)) & _WORD
        if after in known:
            return
        if len(known) < REMEMBERED:
            known.append(after)
            return
        oldest = 0 if _before(known[0], known[1]) else 1
        if _before(known[oldest], after):
            known[oldest] = after


def _before(one: int, other: int) -> bool:
    return bool((one - other) & 0x80000000)

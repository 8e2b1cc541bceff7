# SPDX-License-Identifier: Apache-2.0
"""One fragment, a whole packet made of fragments, and the fragments made of it again.

Sources: RFC 791 section 3.2 (IPv4), RFC 8200 section 4.5 (IPv6), RFC 3168 section 5.3 (ECN).
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import NamedTuple

from p4ct.packet.parse import EXTENSION_FRAGMENT, Packet, extension_length, parse
from p4ct.packet.too_big import later_header, sized_header

__all__ = ["Cuts", "Fragment", "cut", "join", "read_fragment"]

_U16 = Struct("!H")
_U32 = Struct("!L")
_FRAGMENT_HEADER = Struct("!BxHL")
_DONT_FRAGMENT, _MORE_FRAGMENTS, _OFFSET = 0x4000, 0x2000, 0x1FFF
_MORE_V6 = 1
_NEXT_HEADER_V6 = 6
"""Offset of Next Header in an IPv6 header."""
_NOT_ECT, _CE = 0, 3


class Fragment(NamedTuple):
    """What one fragment carries.

    identification: 16 bits (IPv4) or 32 (IPv6).   proto: what the whole packet begins with.
    offset: bytes, a multiple of 8.   more: not the last one.
    head: the IPv4 header, or the IPv6 header and the extension headers before the fragment header.
    next_at: where in an IPv6 `head` stands that the fragment header follows; 0 for IPv4.
    """

    packet: Packet
    identification: int
    proto: int
    offset: int
    more: bool
    head: bytes
    next_at: int
    data: bytes

    @property
    def end(self) -> int:
        """Bytes of the whole packet up to the end of this fragment."""
        return self.offset + len(self.data)

    @property
    def ip_length(self) -> int:
        """Bytes of IP header and data, without the fragment header of IPv6."""
        return len(self.head) + len(self.data)


class Cuts(NamedTuple):
    """How a whole packet came: the payload bytes of each fragment, in order, and their common id.

    head: bytes of IP header (IPv6: before the fragment header); next_at: as in `Fragment`.
    """

    sizes: tuple[int, ...]
    identification: int
    head: int
    next_at: int


def read_fragment(pkt: Packet) -> Fragment:
    """What the fragment `pkt` (`pkt.frag` is not 0, no error) carries."""
    frame, start = pkt.frame, pkt.l3_offset
    if pkt.version == 4:
        field = _U16.unpack_from(frame, start + 6)[0]
        return Fragment(
            pkt,
            _U16.unpack_from(frame, start + 4)[0],
            pkt.proto,
            (field & _OFFSET) * 8,
            bool(field & _MORE_FRAGMENTS),
            frame[start : pkt.l4_offset],
            0,
            frame[pkt.l4_offset : pkt.l4_offset + pkt.l4_len],
        )
    next_at = start + _NEXT_HEADER_V6
    header = start + 40
    # Only parse() calls a frame a fragment, so every header up to this one is there.
    while frame[next_at] != EXTENSION_FRAGMENT:
        length = extension_length(frame[next_at], frame[header + 1])
        next_at, header = header, header + length
    proto, field, identification = _FRAGMENT_HEADER.unpack_from(frame, header)
    end = start + 40 + _U16.unpack_from(frame, start + 4)[0]
    return Fragment(
        pkt,
        identification,
        proto,
        field & 0xFFF8,
        bool(field & _MORE_V6),
        frame[start:header],
        next_at - start,
        frame[header + 8 : end],
    )


def join(pieces: Sequence[Fragment]) -> tuple[Packet, Cuts] | str:
    """The whole packet of pieces that follow each other from 0 to the last one, and its cuts.

    Its headers are those of the first piece, its wire length is that of all pieces. Congestion
    experienced by one piece is experienced by the whole. A text says why there can be none.
    """
    first = pieces[0]
    length = sum(len(piece.data) for piece in pieces)
    if len(first.head) + length - (40 if first.packet.version == 6 else 0) > 0xFFFF:
        return "longer than an IP packet can be"
    codes = {piece.packet.tos & 3 for piece in pieces}
    if _NOT_ECT in codes and len(codes) > 1:
        return "ECN fields that do not go together"
    head = bytearray(first.head)
    if _CE in codes:
        _set_ce(head, first.packet.version)
    if first.packet.version == 4:
        field = _U16.unpack_from(head, 6)[0] & _DONT_FRAGMENT
        header = sized_header(bytes(head), length, field)
    else:
        head[first.next_at] = first.proto
        _U16.pack_into(head, 4, len(head) - 40 + length)
        header = bytes(head)
    link = first.packet.frame[: first.packet.l3_offset]
    frame = b"".join((link, header, *(piece.data for piece in pieces)))
    cuts = Cuts(
        tuple(len(piece.data) for piece in pieces),
        first.identification,
        len(first.head),
        first.next_at,
    )
    return parse(frame, sum(piece.packet.wire_len for piece in pieces)), cuts


def cut(pkt: Packet, cuts: Cuts) -> list[bytes]:
    """The frames of a whole packet, cut where it had been cut before; the last takes the rest."""
    frame, start = pkt.frame, pkt.l3_offset
    header = start + cuts.head
    link, head = frame[:start], frame[start:header]
    data = frame[header : pkt.l4_offset + pkt.l4_len]
    result: list[bytes] = []
    position = 0
    for number, size in enumerate(cuts.sizes):
        last = number == len(cuts.sizes) - 1 or position + size >= len(data)
        piece = data[position:] if last else data[position : position + size]
        if pkt.version == 4:
            flags = _U16.unpack_from(head, 6)[0] & _DONT_FRAGMENT
            field = flags | (0 if last else _MORE_FRAGMENTS) | position // 8
            own = sized_header(head if position == 0 else later_header(head), len(piece), field)
        else:
            own = _header_v6(head, cuts, len(piece), position | (not last))
        result.append(link + own + piece)
        position += size
        if last:
            break
    return result


def _header_v6(head: bytes, cuts: Cuts, payload: int, field: int) -> bytes:
    fresh = bytearray(head)
    proto, fresh[cuts.next_at] = fresh[cuts.next_at], EXTENSION_FRAGMENT
    _U16.pack_into(fresh, 4, len(head) - 40 + 8 + payload)
    return bytes(fresh) + _FRAGMENT_HEADER.pack(proto, field, cuts.identification)


def _set_ce(head: bytearray, version: int) -> None:
    if version == 4:
        head[1] |= _CE
    else:
        _U32.pack_into(head, 0, _U32.unpack_from(head)[0] | _CE << 20)

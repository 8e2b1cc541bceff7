# SPDX-License-Identifier: Apache-2.0
"""TCP and UDP packets with another payload or other sequence numbers; the old packet stays.

Checksums are updated by the difference, so that a wrong one stays wrong (see packet/rewrite.py).
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct

from p4ct.packet.parse import PROTO_TCP, PROTO_UDP, Packet
from p4ct.packet.rewrite import apply_difference, differences, remade

__all__ = ["payload_of", "renumber", "replace_payload"]

_U16 = Struct("!H")
_U32 = Struct("!L")
_SEQ, _ACK = 4, 8
_CHECKSUM = {PROTO_TCP: 16, PROTO_UDP: 6}
_END, _NO_OPERATION, _SACK = 0, 1, 5

Renumber = Callable[[int], int]


def payload_of(pkt: Packet) -> bytes:
    """The payload of a TCP segment or UDP datagram."""
    start = pkt.l4_offset + (pkt.doff * 4 if pkt.proto == PROTO_TCP else 8)
    return pkt.frame[start : start + pkt.payload_len]


def replace_payload(pkt: Packet, start: int, end: int, text: bytes) -> Packet:
    """A TCP segment with `text` in place of the bytes from start to end of its payload.

    wire_len stays: it is what came in. Padding behind the packet is left out.
    """
    first = pkt.l4_offset + pkt.doff * 4
    l3, l4 = pkt.l3_offset, pkt.l4_offset
    behind = l4 + pkt.l4_len
    frame = bytearray(pkt.frame[: first + start] + text + pkt.frame[first + end : behind])
    more = len(text) - (end - start)
    at = l3 + (2 if pkt.version == 4 else 4)
    old = _U16.unpack_from(frame, at)[0]
    _U16.pack_into(frame, at, old + more)
    if pkt.version == 4:
        apply_difference(frame, l3 + 10, more)
    # What follows may be at an odd place now: the sum of the whole segment is what counts.
    before, after = pkt.frame[l4:behind], bytes(frame[l4:])
    sums = differences(before + b"\0" * (len(before) % 2), after + b"\0" * (len(after) % 2))
    apply_difference(frame, l4 + _CHECKSUM[PROTO_TCP], sums + more)
    return remade(pkt, frame)


def renumber(pkt: Packet, seq: Renumber | None, ack: Renumber | None) -> Packet:
    """A TCP segment with other sequence numbers: `seq` of its own, `ack` of the other side's.

    Acknowledgements are the ACK field and the edges of SACK blocks (RFC 2018).
    """
    frame = bytearray(pkt.frame)
    l4 = pkt.l4_offset
    if seq is not None:
        _U32.pack_into(frame, l4 + _SEQ, seq(pkt.seq))
    if ack is not None and pkt.flags & 16:
        _U32.pack_into(frame, l4 + _ACK, ack(pkt.ack))
        _renumber_sack(frame, l4 + 20, l4 + pkt.doff * 4, ack)
    end = l4 + pkt.doff * 4
    difference = differences(pkt.frame[l4:end], bytes(frame[l4:end]))
    apply_difference(frame, l4 + _CHECKSUM[PROTO_TCP], difference)
    return remade(pkt, frame)


def _renumber_sack(frame: bytearray, position: int, end: int, ack: Renumber) -> None:
    while position < end and frame[position] != _END:
        if frame[position] == _NO_OPERATION:
            position += 1
            continue
        length = frame[position + 1] if position + 1 < end else 0
        if length < 2 or position + length > end:
            return  # unreadable from here on
        if frame[position] == _SACK:
            for edge in range(position + 2, position + length - 3, 4):
                _U32.pack_into(frame, edge, ack(_U32.unpack_from(frame, edge)[0]))
        position += length

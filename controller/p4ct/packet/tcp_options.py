# SPDX-License-Identifier: Apache-2.0
"""TCP options (RFC 9293, 7323, 2018), parsed only on demand: most segments need none of them."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from p4ct.packet.parse import PROTO_TCP, Packet

_END, _NOP, _MSS, _WSCALE, _SACK_PERMITTED, _SACK = 0, 1, 2, 3, 4, 5
_U16 = Struct("!H").unpack_from
_BLOCK = Struct("!LL").unpack_from
# two NOPs, timestamp, length 10: what nearly every established segment carries
_TIMESTAMP_ONLY = b"\x01\x01\x08\x0a"


class TcpOptions(NamedTuple):
    """wscale: 0..255 as sent, None when absent; sack: (left, right) edges; mss: bytes or None."""

    wscale: int | None = None
    sack_ok: bool = False
    sack: tuple[tuple[int, int], ...] = ()
    mss: int | None = None


NO_OPTIONS = TcpOptions()


def tcp_options(pkt: Packet) -> TcpOptions:
    """Options of a TCP segment; NO_OPTIONS for anything else or a segment without a whole header.

    Reading stops at the first malformed option, and keeps what came before it, as Linux does
    (`tcp_options` in nf_conntrack_proto_tcp.c).
    """
    if pkt.proto != PROTO_TCP or pkt.doff <= 5 or pkt.doff * 4 > pkt.l4_len:
        return NO_OPTIONS
    start = pkt.l4_offset + 20
    data = pkt.frame[start : start + pkt.doff * 4 - 20]
    if len(data) == 12 and data[:4] == _TIMESTAMP_ONLY:
        return NO_OPTIONS
    wscale: int | None = None
    mss: int | None = None
    sack_ok = False
    sack: list[tuple[int, int]] = []
    i = 0
    while i < len(data):
        kind = data[i]
        if kind == _END:
            break
        if kind == _NOP:
            i += 1
            continue
        if i + 1 >= len(data):
            break
        size = data[i + 1]
        if size < 2 or i + size > len(data):
            break
        if kind == _WSCALE and size == 3:
            wscale = data[i + 2]
        elif kind == _SACK_PERMITTED and size == 2:
            sack_ok = True
        elif kind == _MSS and size == 4:
            mss = _U16(data, i + 2)[0]
        elif kind == _SACK and size >= 10 and (size - 2) % 8 == 0:
            sack += [_BLOCK(data, j) for j in range(i + 2, i + size, 8)]
        i += size
    return TcpOptions(wscale, sack_ok, tuple(sack), mss)

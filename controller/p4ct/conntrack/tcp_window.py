# SPDX-License-Identifier: Apache-2.0
"""TCP window tracking as Linux does it: `tcp_in_window` and `tcp_init_sender` (after van Rooij).

What each side may send is learned from what the other side acknowledged and offered. All numbers
are 32-bit serial numbers (RFC 1982): comparisons look at the sign of the difference.
"""

from __future__ import annotations

from struct import Struct

from p4ct.conntrack.state import TcpState
from p4ct.conntrack.tcp_table import Segment
from p4ct.conntrack.verdict import Verdict
from p4ct.packet.parse import TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, Packet
from p4ct.packet.tcp_options import tcp_options

WINDOW_SCALE = 0x01
SACK_PERM = 0x02
CLOSE_INIT = 0x04
BE_LIBERAL = 0x08
DATA_UNACKNOWLEDGED = 0x10
MAXACK_SET = 0x20
CHALLENGE_ACK = 0x40
SIMULTANEOUS_OPEN = 0x80

MAX_SCALE = 14
MAX_ACK_WINDOW = 66000

# end, maxend, maxwin, maxack, scale, flags of a side
_SIDE = "4I2B"
# both sides; last_seq, _ack, _end, _win; retrans, last_wscale, _flags, _segment; last_dir, watched
_TRACK = Struct(f"<{_SIDE}{_SIDE}3IH5B")
_SEGMENTS: tuple[Segment, ...] = tuple(Segment)
_M = 0xFFFFFFFF
_NEGATIVE = 0x80000000
_SYN_SENT = TcpState.SYN_SENT
_SYN_RECV = TcpState.SYN_RECV
_ACK_SEGMENT = Segment.ACK

_ACCEPT = Verdict.ACCEPT
_KEEP = Verdict.KEEP


def before(a: int, b: int) -> bool:
    """Is serial number a before b?"""
    return (a - b) & _NEGATIVE != 0


class TcpSide:
    """One sender, `struct ip_ct_tcp_state`.

    end: highest seq + length sent; maxend: highest ACK + window the peer offered; maxwin: largest
    window it offered itself, 0 while unknown; maxack: highest ACK it sent; scale: 0..14.
    """

    __slots__ = ("end", "flags", "maxack", "maxend", "maxwin", "scale")

    def __init__(self, flags: int = 0) -> None:
        self.end = self.maxend = self.maxwin = self.maxack = self.scale = 0
        self.flags = flags

    def reset(self) -> None:
        """Forget everything but liberality (`nf_ct_tcp_state_reset`)."""
        self.end = self.maxend = self.maxwin = self.maxack = self.scale = 0
        self.flags &= BE_LIBERAL

    def read_options(self, pkt: Packet) -> None:
        """Scale and SACK permission of a SYN; without options nothing changes (`tcp_options`)."""
        if pkt.doff <= 5:
            return
        options = tcp_options(pkt)
        self.scale = 0
        self.flags &= BE_LIBERAL
        if options.sack_ok:
            self.flags |= SACK_PERM
        if options.wscale is not None:
            self.scale = min(options.wscale, MAX_SCALE)
            self.flags |= WINDOW_SCALE


class TcpTrack:
    """Both sides and the last segment seen, `struct ip_ct_tcp`.

    last_*: the last segment that was believed, or remembered though it was not ("ignored").
    last_flags also carries CHALLENGE_ACK and SIMULTANEOUS_OPEN; retrans counts equal segments.
    watched: hardware forwards segments but keeps account of the windows, and whoever set this
        brings them here with `merge_windows`: they stay known while the connection is offloaded.
    """

    __slots__ = (
        "last_ack",
        "last_dir",
        "last_end",
        "last_flags",
        "last_segment",
        "last_seq",
        "last_win",
        "last_wscale",
        "retrans",
        "sides",
        "watched",
    )

    def __init__(self, flags: int = 0) -> None:
        self.sides = (TcpSide(flags), TcpSide(flags))
        self.last_segment: Segment = Segment.NONE
        self.last_dir = self.last_seq = self.last_ack = self.last_end = self.last_win = 0
        self.last_wscale = self.last_flags = self.retrans = 0
        self.watched = False

    def pack(self) -> bytes:
        """Everything, as 55 bytes: with the counters and an object's header exactly 128."""
        one, two = self.sides
        return _TRACK.pack(
            one.end,
            one.maxend,
            one.maxwin,
            one.maxack,
            one.scale,
            one.flags,
            two.end,
            two.maxend,
            two.maxwin,
            two.maxack,
            two.scale,
            two.flags,
            self.last_seq,
            self.last_ack,
            self.last_end,
            self.last_win,
            self.retrans,
            self.last_wscale,
            self.last_flags,
            self.last_segment,
            self.last_dir | self.watched << 1,
        )

    def load(self, packed: bytes, offset: int = 0) -> None:
        """Become what `pack` packed into the bytes at `offset`; the objects stay."""
        one, two = self.sides
        (
            one.end,
            one.maxend,
            one.maxwin,
            one.maxack,
            one.scale,
            one.flags,
            two.end,
            two.maxend,
            two.maxwin,
            two.maxack,
            two.scale,
            two.flags,
            self.last_seq,
            self.last_ack,
            self.last_end,
            self.last_win,
            self.retrans,
            self.last_wscale,
            self.last_flags,
            segment,
            bits,
        ) = _TRACK.unpack_from(packed, offset)
        self.last_segment = _SEGMENTS[segment]
        self.last_dir = bits & 1
        self.watched = bits > 1

    def forget_windows(self) -> None:
        """Segments went by unseen: learn both windows anew, and believe until then.

        Both sides turn liberal; maxwin 0 makes the next segment of a side set its window, and a
        forgotten maxack lets an RST through (`flow_offload_fixup_tcp` in nf_flow_table_core.c).
        Unlike Linux the pending-data marks and the retransmission count go too: what they were
        about has been answered out of our sight.
        """
        for side in self.sides:
            side.maxwin = 0
            side.flags = side.flags & ~(MAXACK_SET | DATA_UNACKNOWLEDGED) | BE_LIBERAL
        self.retrans = 0


WindowValues = tuple[int, int, int, int, int]
"""Of one sender: end, maxend, maxwin, maxack, scale."""


def export_windows(tcp: TcpTrack) -> tuple[WindowValues, WindowValues] | None:
    """What both sides may send, original and reply; None if that is not known of both."""
    for side in tcp.sides:
        if side.flags & BE_LIBERAL or not side.flags & MAXACK_SET or not side.maxwin:
            return None
    one, two = tcp.sides
    return (
        (one.end, one.maxend, one.maxwin, one.maxack, one.scale),
        (two.end, two.maxend, two.maxwin, two.maxack, two.scale),
    )


def merge_windows(tcp: TcpTrack, seen: tuple[WindowValues, WindowValues]) -> None:
    """Learn what went by unseen, from who saw it; `seen` may be older than what is known.

    All values but the scale only grow, sequence numbers in serial arithmetic, so the larger one
    holds.
    """
    moved = False
    for side, (end, maxend, maxwin, maxack, _) in zip(tcp.sides, seen, strict=True):
        if before(side.end, end):
            side.end, moved = end, True
        if before(side.maxend, maxend):
            side.maxend, moved = maxend, True
        if side.maxwin < maxwin:
            side.maxwin, moved = maxwin, True
        if before(side.maxack, maxack):
            side.maxack, moved = maxack, True
    if not moved:
        return
    tcp.retrans = 0
    for side, peer in (tcp.sides, tcp.sides[::-1]):
        if before(peer.maxack, side.end):
            side.flags |= DATA_UNACKNOWLEDGED
        else:
            side.flags &= ~DATA_UNACKNOWLEDGED


def segment_end(pkt: Packet) -> int:
    """Sequence number after the segment; SYN and FIN count one each (`segment_seq_plus_len`)."""
    flags = pkt.flags
    return (pkt.seq + pkt.payload_len + (flags >> 1 & 1) + (flags & TCP_FIN)) & _M


def _init_sender(sender: TcpSide, receiver: TcpSide, pkt: Packet, direction: int, end: int) -> None:
    """A SYN or SYN/ACK (re)starts its sender (`tcp_init_sender`, RFC 7323 for the scale)."""
    sender.end = sender.maxend = end
    sender.maxwin = pkt.window or 1
    sender.read_options(pkt)
    if direction == 1 and not sender.flags & receiver.flags & WINDOW_SCALE:
        sender.scale = receiver.scale = 0


def in_window(
    tcp: TcpTrack,
    state: TcpState,
    direction: int,
    segment: Segment,
    pkt: Packet,
    be_liberal: bool,
) -> Verdict:
    """Is the segment possible, given the windows? Updates them if so (`tcp_in_window`).

    state: of the connection before this segment. ACCEPT; KEEP for what is merely late (old data,
    old ACK, slightly too much data); INVALID_SEQ or INVALID_ACK. A liberal sender's segment is
    accepted in all cases, but windows move only for what fits.
    """
    sender = tcp.sides[direction]
    receiver = tcp.sides[1 - direction]
    flags = pkt.flags
    seq = pkt.seq
    ack = sack = pkt.ack
    win = pkt.window
    end = segment_end(pkt)

    if pkt.doff > 5 and receiver.flags & SACK_PERM:
        for _, right in tcp_options(pkt).sack:
            if before(sack, right):
                sack = right

    if sender.maxwin == 0:
        if flags & TCP_SYN:
            _init_sender(sender, receiver, pkt, direction, end)
            if not flags & TCP_ACK:
                return _ACCEPT  # simultaneous open
        else:
            # In the middle of a connection: take what the segment says.
            sender.end = end
            sender.maxwin = (win << sender.scale) or 1
            sender.maxend = (end + sender.maxwin) & _M
            if receiver.maxwin == 0:
                # Nothing known of the other side: make its checks (III, IV) pass until it speaks.
                receiver.end = receiver.maxend = sack
            elif sack == (receiver.end + 1) & _M:
                receiver.end = sack  # probably the answer to a keep-alive
    elif flags & TCP_SYN and before(sender.end, end) and state in (_SYN_SENT, _SYN_RECV):
        # A peer that starts again only has to use higher numbers than before (RFC 9293 3.4.3).
        _init_sender(sender, receiver, pkt, direction, end)
        if direction == 1 and not flags & TCP_ACK:
            return _ACCEPT

    if not flags & TCP_ACK or (flags & TCP_RST and ack == 0):
        ack = sack = receiver.end  # as if it acknowledged everything
    if flags & TCP_RST and seq == 0 and state == _SYN_SENT:
        seq = end = sender.end  # an RST that answers a SYN

    max_ack_window = sender.maxwin if sender.maxwin > MAX_ACK_WINDOW else MAX_ACK_WINDOW
    ack_recent = (receiver.end - max_ack_window - 1 - sack) & _NEGATIVE
    ack_known = (sack - receiver.end - 1) & _NEGATIVE
    data_new = (sender.end - receiver.maxwin - 1 - end) & _NEGATIVE

    liberal = be_liberal or sender.flags & BE_LIBERAL
    if not (seq - sender.maxend - 1) & _NEGATIVE:  # I
        overshot = (end - sender.maxend + 1) & _M
        if (
            receiver.maxwin
            and data_new
            and ack_recent
            and ack_known
            and overshot <= receiver.maxwin
        ):
            # The receiver may take it and acknowledge it; that ACK must not surprise us.
            sender.end = end
            sender.flags |= DATA_UNACKNOWLEDGED
            return _ACCEPT if liberal else _KEEP
        return _ACCEPT if liberal else Verdict.INVALID_SEQ
    if not ack_known:  # III
        return _ACCEPT if liberal else Verdict.INVALID_ACK
    if (receiver.maxwin and not data_new) or not ack_recent:  # II, IV
        return _ACCEPT if liberal else _KEEP

    if not flags & TCP_SYN:
        win <<= sender.scale
    window = (win + (sack - ack)) & _M
    if sender.maxwin < window:
        sender.maxwin = window
    if (sender.end - end) & _NEGATIVE:
        sender.end = end
        sender.flags |= DATA_UNACKNOWLEDGED
    if flags & TCP_ACK:
        if not sender.flags & MAXACK_SET:
            sender.maxack = ack
            sender.flags |= MAXACK_SET
        elif (sender.maxack - ack) & _NEGATIVE:
            sender.maxack = ack
    if receiver.maxwin and (sender.maxend - end) & _NEGATIVE:
        receiver.maxwin = (receiver.maxwin + end - sender.maxend) & _M
    offered = (sack + win) & _M
    if (receiver.maxend - 1 - offered) & _NEGATIVE:
        receiver.maxend = offered if win else (offered + 1) & _M
    if ack == receiver.end:
        receiver.flags &= ~DATA_UNACKNOWLEDGED

    if segment is _ACK_SEGMENT:
        raw = pkt.window
        if (
            tcp.last_seq == seq
            and tcp.last_ack == ack
            and tcp.last_end == end
            and tcp.last_win == raw
            and tcp.last_dir == direction
        ):
            tcp.retrans = (tcp.retrans + 1) & 0xFF  # as wide as in Linux
        else:
            tcp.last_dir = direction
            tcp.last_seq = seq
            tcp.last_ack = ack
            tcp.last_end = end
            tcp.last_win = raw
            tcp.retrans = 0
    return _ACCEPT

# SPDX-License-Identifier: Apache-2.0
"""The TCP state machine: the table plus the rules on top (`nf_conntrack_tcp_packet` of Linux)."""

from __future__ import annotations

from dataclasses import dataclass

from p4ct.conntrack.connection import Connection
from p4ct.conntrack.state import CLOSING, TcpState
from p4ct.conntrack.tcp_table import SEGMENT, TABLE, Cell, Segment
from p4ct.conntrack.tcp_window import (
    BE_LIBERAL,
    CHALLENGE_ACK,
    CLOSE_INIT,
    DATA_UNACKNOWLEDGED,
    MAX_SCALE,
    MAXACK_SET,
    SACK_PERM,
    SIMULTANEOUS_OPEN,
    WINDOW_SCALE,
    TcpTrack,
    before,
    in_window,
    segment_end,
)
from p4ct.conntrack.timeouts import Timeouts
from p4ct.conntrack.verdict import Verdict
from p4ct.packet.parse import Packet
from p4ct.packet.tcp_options import tcp_options

_NONE = TcpState.NONE
_SYN_SENT = TcpState.SYN_SENT
_SYN_RECV = TcpState.SYN_RECV
_ESTABLISHED = TcpState.ESTABLISHED
_CLOSE = TcpState.CLOSE
_ACK = Segment.ACK
_ACCEPT = Verdict.ACCEPT
# An invalid FIN or RST shortens no timer that has less than this left (seconds).
_SHORTEN_ABOVE = 120


@dataclass(frozen=True, slots=True)
class TcpPolicy:
    """The TCP sysctls: nf_conntrack_tcp_loose, _be_liberal, _max_retrans, _ignore_invalid_rst."""

    loose: bool = True
    be_liberal: bool = False
    max_retrans: int = 3
    ignore_invalid_rst: bool = False


def first_verdict(pkt: Packet, policy: TcpPolicy) -> Verdict:
    """May this segment begin a connection (`tcp_new`)? A SYN may, and with `loose` a bare ACK."""
    segment = SEGMENT[pkt.flags]
    if segment is None:
        return Verdict.INVALID_FLAGS
    cell = TABLE[0][segment][_NONE]
    if cell is Cell.INVALID:
        return Verdict.INVALID_STATE
    if cell is not _SYN_SENT and not policy.loose:
        return Verdict.INVALID_PICKUP
    return _ACCEPT


def begin(conn: Connection, pkt: Packet) -> None:
    """Set up the tracking of a new connection from its first segment (`tcp_new`).

    A connection picked up midstream has an unknown window scale: SACK is assumed and both sides
    are liberal. `tcp_packet` must follow with the same segment.
    """
    syn = SEGMENT[pkt.flags] is Segment.SYN
    tcp = TcpTrack(0 if syn else SACK_PERM | BE_LIBERAL)
    side = tcp.sides[0]
    side.end = segment_end(pkt)
    side.maxwin = pkt.window or 1
    if syn:
        side.maxend = side.end
        side.read_options(pkt)
    else:
        side.maxend = (side.end + side.maxwin) & 0xFFFFFFFF
    conn.tcp = tcp
    conn.protocol_state = _NONE


def tcp_packet(
    conn: Connection,
    tcp: TcpTrack,
    pkt: Packet,
    direction: int,
    now: float,
    timeouts: Timeouts,
    policy: TcpPolicy,
) -> Verdict:
    """Run one segment through the state machine.

    On ACCEPT the connection's protocol_state, timeout and assured are up to date. An invalid FIN or
    RST may shorten `expires` (`nf_tcp_handle_invalid`). Does not touch counters or seen_reply.
    """
    segment = SEGMENT[pkt.flags]
    if segment is None:
        return Verdict.INVALID_FLAGS
    old = state = conn.protocol_state
    assert isinstance(state, TcpState)
    cell = TABLE[direction][segment][state]
    check_window = True
    if cell is _ESTABLISHED and segment is _ACK:
        new = _ESTABLISHED
    elif cell is Cell.INVALID:
        return Verdict.INVALID_STATE
    elif cell is Cell.IGNORE or (cell is _SYN_SENT and old >= TcpState.TIME_WAIT):
        if cell is _SYN_SENT and _may_reopen(tcp, direction):
            return Verdict.REOPEN
        if not _answers_ignored_syn(tcp, pkt, direction, segment):
            _remember(tcp, pkt, direction, segment, state)
            return Verdict.KEEP
        _resync(tcp, direction)
        old, new = _SYN_SENT, _SYN_RECV
    else:
        assert isinstance(cell, TcpState)
        new = cell
        if new is _CLOSE and segment is Segment.RST:
            verdict, new, check_window = _check_rst(conn, tcp, pkt, direction, state, policy)
            if verdict is not _ACCEPT:
                return verdict
        elif new is TcpState.TIME_WAIT:
            if _is_challenge_ack(tcp, direction, segment, state):
                tcp.last_flags &= ~CHALLENGE_ACK
                return Verdict.KEEP
        elif new is TcpState.SYN_SENT2:
            tcp.last_flags |= SIMULTANEOUS_OPEN
        elif (
            new is _SYN_RECV
            and direction == 1
            and segment is _ACK
            and tcp.last_flags & SIMULTANEOUS_OPEN
        ):
            new = _ESTABLISHED

    if check_window:
        verdict = in_window(tcp, state, direction, segment, pkt, policy.be_liberal)
        if verdict is not _ACCEPT:
            if verdict is not Verdict.KEEP:
                _invalid_close(conn, tcp, direction, segment, now, timeouts)
            return verdict
    tcp.last_segment = segment
    tcp.last_dir = direction
    conn.protocol_state = new
    if new is TcpState.FIN_WAIT and old is not new:
        tcp.sides[direction].flags |= CLOSE_INIT

    timeout = _timeout(tcp, segment, new, timeouts, policy)
    if not conn.seen_reply:
        if segment is Segment.RST:
            return Verdict.KILL
        if segment is Segment.SYN and old is _SYN_SENT:
            # Or a client that reuses its port could keep an unanswered entry for ever.
            return Verdict.KEEP
        if new is _ESTABLISHED and timeout > timeouts.tcp_unacknowledged:
            timeout = timeouts.tcp_unacknowledged
    elif not conn.assured and new is _ESTABLISHED and old in (_SYN_RECV, _ESTABLISHED):
        conn.assured = True
    conn.timeout = timeout
    return _ACCEPT


def _timeout(
    tcp: TcpTrack, segment: Segment, new: TcpState, timeouts: Timeouts, policy: TcpPolicy
) -> float:
    timeout = timeouts.tcp[new]
    if tcp.retrans >= policy.max_retrans and timeout > timeouts.tcp_max_retrans:
        return timeouts.tcp_max_retrans
    if segment is Segment.RST:
        return timeouts.tcp_close
    one, other = tcp.sides
    if (one.flags | other.flags) & DATA_UNACKNOWLEDGED and timeout > timeouts.tcp_unacknowledged:
        return timeouts.tcp_unacknowledged
    if tcp.last_win == 0 and timeout > timeouts.tcp_max_retrans:
        return timeouts.tcp_max_retrans
    return timeout


def _may_reopen(tcp: TcpTrack, direction: int) -> bool:
    """A SYN on a closed connection starts a new one if it was closed by what we saw (RFC 1122)."""
    closing = (tcp.sides[0].flags | tcp.sides[1].flags) & CLOSE_INIT
    reset = tcp.last_dir == direction and tcp.last_segment is Segment.RST
    return bool(closing) or reset


def _answers_ignored_syn(tcp: TcpTrack, pkt: Packet, direction: int, segment: Segment) -> bool:
    """A SYN/ACK that acknowledges exactly the SYN we ignored: the peers agree, we do not."""
    return (
        segment is Segment.SYNACK
        and tcp.last_segment is Segment.SYN
        and tcp.last_dir != direction
        and pkt.ack == tcp.last_end
    )


def _resync(tcp: TcpTrack, direction: int) -> None:
    """Believe the SYN that was ignored: its sender is as it said, the answering side unknown."""
    tcp.last_flags &= ~CHALLENGE_ACK
    sender = tcp.sides[tcp.last_dir]
    sender.end = sender.maxend = tcp.last_end
    sender.maxwin = tcp.last_win or 1
    sender.scale = tcp.last_wscale
    sender.flags = tcp.last_flags
    tcp.sides[direction].reset()


def _remember(
    tcp: TcpTrack, pkt: Packet, direction: int, segment: Segment, state: TcpState
) -> None:
    """Annotate an ignored segment: if it was real, the answer will say so."""
    tcp.last_segment = segment
    tcp.last_dir = direction
    tcp.last_seq = pkt.seq
    tcp.last_end = segment_end(pkt)
    tcp.last_win = pkt.window
    if segment is Segment.SYN and direction == 0:
        tcp.last_flags = tcp.last_wscale = 0
        options = tcp_options(pkt)
        if options.wscale is not None:
            tcp.last_flags |= WINDOW_SCALE
            tcp.last_wscale = min(options.wscale, MAX_SCALE)
        if options.sack_ok:
            tcp.last_flags |= SACK_PERM
        if state is TcpState.LAST_ACK:
            tcp.last_flags |= CHALLENGE_ACK
    if state is _SYN_SENT and segment is _ACK and direction == 1:
        tcp.last_ack = pkt.ack


def _is_challenge_ack(tcp: TcpTrack, direction: int, segment: Segment, state: TcpState) -> bool:
    """An ACK that answers an ignored SYN in LAST_ACK is no ACK of the last FIN (RFC 5961 4.2)."""
    return (
        state is TcpState.LAST_ACK
        and segment is _ACK
        and tcp.last_dir != direction
        and tcp.last_segment is Segment.SYN
        and tcp.last_flags & CHALLENGE_ACK != 0
    )


def _check_rst(
    conn: Connection,
    tcp: TcpTrack,
    pkt: Packet,
    direction: int,
    state: TcpState,
    policy: TcpPolicy,
) -> tuple[Verdict, TcpState, bool]:
    """The RST rules: verdict, next state, is the window to be checked (RFC 5961 3.2)."""
    if state in CLOSING:
        return _ACCEPT, _CLOSE, False  # what we know is old: the tuple may be in use again
    new: TcpState = _CLOSE
    peer = tcp.sides[1 - direction]
    if peer.flags & MAXACK_SET and tcp.last_segment is not Segment.SYN:
        established = state is _ESTABLISHED and conn.assured
        if pkt.seq == 0 and not established:
            return _ACCEPT, new, True
        if before(pkt.seq, peer.maxack) and not policy.ignore_invalid_rst:
            return Verdict.INVALID_RST, new, False
        if not established or pkt.seq == peer.maxack:
            return _ACCEPT, new, True
        if tcp.last_segment is _ACK and tcp.last_dir == direction and pkt.seq == tcp.last_end:
            return _ACCEPT, new, True  # follows the segment just sent
        new = state  # not exact: the receiver may answer with a challenge ACK and live on
    if tcp.last_segment is Segment.SYN:
        answers = conn.seen_reply and tcp.last_dir != direction  # a SYN that we let through
    else:
        answers = not conn.assured and tcp.last_segment is _ACK
    if answers and pkt.ack == tcp.last_end:
        return _ACCEPT, new, False
    if (
        state is _SYN_SENT
        and tcp.last_segment is _ACK
        and tcp.last_dir == 1
        and pkt.seq == tcp.last_ack
    ):
        return _ACCEPT, new, False  # the answer to a challenge ACK that we let through
    return _ACCEPT, new, True


def _invalid_close(
    conn: Connection,
    tcp: TcpTrack,
    direction: int,
    segment: Segment,
    now: float,
    timeouts: Timeouts,
) -> None:
    """Invalid FIN or RST from one side, then from the other: they are closing, we lost them."""
    if not conn.assured or segment not in (Segment.FIN, Segment.RST):
        return
    if tcp.last_dir != direction and tcp.last_segment in (Segment.FIN, Segment.RST):
        left = conn.expires - now
        if left >= _SHORTEN_ABOVE and left > timeouts.tcp_unacknowledged:
            conn.expires = now + timeouts.tcp_unacknowledged
    else:
        tcp.last_segment = segment
        tcp.last_dir = direction

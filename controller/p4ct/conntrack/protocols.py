# SPDX-License-Identifier: Apache-2.0
"""What each IP protocol does with a packet; TCP and SCTP have state machines in files of their own.

UDP, ICMP, GRE and all others know only whether there was an answer: `nf_conntrack_proto_udp.c`,
`_icmp.c`, `_gre.c` and `_generic.c` of Linux.
"""

from __future__ import annotations

from p4ct.conntrack.connection import Connection, is_icmp
from p4ct.conntrack.icmp import is_query
from p4ct.conntrack.sctp import sctp_first_verdict, sctp_packet
from p4ct.conntrack.sctp_track import SctpTrack
from p4ct.conntrack.state import FlowState, SctpState
from p4ct.conntrack.tcp import TcpPolicy, begin, first_verdict
from p4ct.conntrack.timeouts import Timeouts
from p4ct.conntrack.verdict import INVALID_REASON, Verdict
from p4ct.packet.parse import PROTO_GRE, PROTO_SCTP, PROTO_TCP, PROTO_UDP, Packet

_STREAMS = (PROTO_UDP, PROTO_GRE)
# A UDP connection that is active this long after its start is a stream (nf_conntrack_proto_udp.c).
UDP_STREAM_AFTER = 2.0


def why_not_first(pkt: Packet, policy: TcpPolicy) -> str:
    """Why this packet, which is no ICMP error, begins no connection; "" if it may."""
    proto = pkt.proto
    if proto == PROTO_TCP:
        verdict = first_verdict(pkt, policy)
    elif proto == PROTO_SCTP:
        verdict = sctp_first_verdict(pkt)
    elif is_icmp(pkt.version, proto) and not is_query(pkt):
        return f"ICMP type {pkt.icmp_type} begins no connection and answers none"
    else:
        return ""
    return "" if verdict is Verdict.ACCEPT else INVALID_REASON[verdict]


def begin_tracking(conn: Connection, pkt: Packet) -> None:
    """Set up a new connection from its first packet; that packet's own turn comes afterwards."""
    if pkt.proto == PROTO_TCP:
        begin(conn, pkt)
    elif pkt.proto == PROTO_SCTP:
        conn.sctp = SctpTrack()
        conn.protocol_state = SctpState.NONE


def other_packet(
    conn: Connection, start: float, pkt: Packet, direction: int, now: float, timeouts: Timeouts
) -> Verdict:
    """A packet of anything but TCP: sets protocol_state, timeout and assured of the connection."""
    proto = pkt.proto
    if proto == PROTO_SCTP:
        assert conn.sctp is not None
        return sctp_packet(conn, conn.sctp, pkt, direction, timeouts)
    seen_reply = conn.seen_reply
    if proto in _STREAMS and seen_reply:
        if proto == PROTO_GRE or now > start + UDP_STREAM_AFTER:
            conn.timeout = timeouts.gre_stream if proto == PROTO_GRE else timeouts.udp_stream
            conn.protocol_state = FlowState.STREAM
            conn.assured = True
            return Verdict.ACCEPT
        conn.timeout = timeouts.udp
    else:
        conn.timeout = timeouts.of_protocol(conn.version, proto)
    if direction and not seen_reply:
        conn.protocol_state = FlowState.REPLIED
    return Verdict.ACCEPT

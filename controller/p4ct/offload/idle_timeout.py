# SPDX-License-Identifier: Apache-2.0
"""How long the entries of a record may go without a packet."""

from __future__ import annotations

from collections.abc import Iterable

from p4ct.conntrack import TcpState, Tracker
from p4ct.offload.decide import TCP, UDP, is_assumed
from p4ct.offload.options import OffloadOptions
from p4ct.offload.record import Member

__all__ = ["idle_timeout"]


def idle_timeout(members: Iterable[Member], options: OffloadOptions, tracker: Tracker) -> float:
    """Seconds; never longer than conntrack would keep any of the connections."""
    result = float("inf")
    for member in members:
        connection = member.connection
        proto = connection.proto
        if proto == TCP:
            # Not what it has at this moment: unacknowledged data shortens that for a while.
            timeouts = tracker.timeouts.of(connection.zone, connection.timeout_policy)
            state = TcpState.SYN_RECV if is_assumed(connection) else TcpState.ESTABLISHED
            limit = min(options.tcp_timeout, timeouts.tcp[state])
        elif proto == UDP:
            # Replied and going on: conntrack would make it a stream, had it seen the packets.
            timeouts = tracker.timeouts.of(connection.zone, connection.timeout_policy)
            own = timeouts.udp_stream if connection.seen_reply else timeouts.udp
            limit = min(options.udp_timeout, own)
        else:
            limit = min(options.icmp_timeout, connection.timeout)
        result = min(result, limit)
    return result

# SPDX-License-Identifier: Apache-2.0
"""A connection as a line of `conntrack -L` (libnetfilter_conntrack's plain format)."""

from __future__ import annotations

from p4ct.conntrack.connection import Connection
from p4ct.conntrack.state import FlowState

_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 47: "gre", 58: "icmpv6", 132: "sctp"}


def protocol_name(proto: int) -> str:
    """Name that conntrack prints for an IP protocol number; "unknown" for most."""
    return _PROTOCOLS.get(proto, "unknown")


def conntrack_line(conn: Connection, now: float) -> str:
    """One line: protocol, seconds left, state of TCP or SCTP, tuples, counters, flags, mark, zone.

    Unlike `conntrack -L`, an offloaded connection keeps its timeout and state: `[OFFLOAD]` is added
    to the line and replaces nothing. Counters are software plus hardware. Seconds are rounded down,
    and 0 when past.
    """
    left = max(0, int(conn.expires - now))
    parts = [f"{protocol_name(conn.proto):<8} {conn.proto} {left}"]
    if not isinstance(conn.protocol_state, FlowState):
        parts.append(conn.state_name)
    parts += [str(conn.original), _counters(conn, 0)]
    if not conn.seen_reply:
        parts.append("[UNREPLIED]")
    parts += [str(conn.reply), _counters(conn, 1)]
    if conn.assured:
        parts.append("[ASSURED]")
    if conn.offload is not None:
        parts.append("[OFFLOAD]")
    parts.append(f"mark={conn.mark}")
    if conn.label:
        parts.append(f"labels={conn.label:#x}")
    if conn.zone:
        parts.append(f"zone={conn.zone}")
    parts.append("use=1")
    if conn.helper:
        parts.append(f"helper={conn.helper}")
    return " ".join(parts)


def _counters(conn: Connection, direction: int) -> str:
    packets = conn.packets[direction] + conn.hw_packets[direction]
    octets = conn.bytes[direction] + conn.hw_bytes[direction]
    return f"packets={packets} bytes={octets}"

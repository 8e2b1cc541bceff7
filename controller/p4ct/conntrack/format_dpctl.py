# SPDX-License-Identifier: Apache-2.0
"""A connection as a line of `ovs-appctl dpctl/dump-conntrack` (lib/ct-dpif.c)."""

from __future__ import annotations

from p4ct.conntrack.connection import Connection, Tuple, is_icmp
from p4ct.conntrack.format import protocol_name
from p4ct.conntrack.state import TcpState
from p4ct.packet.parse import PROTO_TCP
from p4ct.packet.text import format_ip

__all__ = ["dpctl_line", "dpctl_tuple"]

_WITH_PORTS = (6, 17, 132)


def dpctl_line(conn: Connection, now: float, *, statistics: bool = False) -> str:
    """One line, in the order of `ct_dpif_format_entry`; zone, mark and label 0 are left out.

    statistics: with counters in the tuples (software plus hardware), `timeout` in seconds, rounded
    down, and the status flags, as with `dump-conntrack -s -m`. State and protocol are always shown,
    offloaded or not.
    """
    name = protocol_name(conn.proto)
    parts = [name if name != "unknown" else str(conn.proto)]
    for direction, title in enumerate(("orig", "reply")):
        own = conn.original if direction == 0 else conn.reply
        counters = _counters(conn, direction) if statistics else ""
        parts.append(f"{title}=({dpctl_tuple(own)}{counters})")
    if conn.zone:
        parts.append(f"zone={conn.zone}")
    if statistics:
        parts.append(f"status={_status(conn)}")
        parts.append(f"timeout={max(0, int(conn.expires - now))}")
    if conn.mark:
        parts.append(f"mark={conn.mark}")
    if conn.label:
        parts.append(f"labels={conn.label:#x}")
    if conn.proto == PROTO_TCP and isinstance(conn.protocol_state, TcpState):
        parts.append(f"protoinfo=(state={conn.state_name})")
    if conn.helper:
        parts.append(f"helper={conn.helper}")
    return ",".join(parts)


def dpctl_tuple(own: Tuple) -> str:
    """A tuple as it stands in the parentheses."""
    text = f"src={format_ip(own.src)},dst={format_ip(own.dst)}"
    if is_icmp(own.version, own.proto):
        return f"{text},id={own.sport},type={own.dport >> 8},code={own.dport & 0xFF}"
    if own.proto in _WITH_PORTS:
        return f"{text},sport={own.sport},dport={own.dport}"
    return text


def _counters(conn: Connection, direction: int) -> str:
    packets = conn.packets[direction] + conn.hw_packets[direction]
    octets = conn.bytes[direction] + conn.hw_bytes[direction]
    return f",packets={packets},bytes={octets}"


def _status(conn: Connection) -> str:
    """Flags of `ct_dpif_status_flags`; OFFLOADED is the kernel's IPS_OFFLOAD."""
    flags = ["SEEN_REPLY"] if conn.seen_reply else []
    flags += ["ASSURED"] if conn.assured else []
    flags.append("CONFIRMED")
    flags += ["OFFLOADED"] if conn.offload is not None else []
    return "|".join(flags)

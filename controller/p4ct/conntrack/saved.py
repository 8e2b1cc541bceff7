# SPDX-License-Identifier: Apache-2.0
"""A connection as a value: to be kept, or taken over by another table."""

from __future__ import annotations

from typing import NamedTuple

from p4ct.conntrack.connection import Connection, Tuple
from p4ct.conntrack.state import FlowState, ProtocolState, SctpState, TcpState
from p4ct.packet.parse import PROTO_SCTP, PROTO_TCP

__all__ = ["Saved", "save", "state_named"]


class Saved(NamedTuple):
    """left, age: seconds to live and since the start, at the moment of saving.

    packets, octets: (original, reply), software and hardware together.
    """

    zone: int
    original: Tuple
    reply: Tuple
    state: ProtocolState
    left: float
    age: float
    mark: int
    label: int
    assured: bool
    seen_reply: bool
    packets: tuple[int, int]
    octets: tuple[int, int]
    timeout_policy: str = ""


def save(conn: Connection, now: float) -> Saved:
    """The connection as it is now."""
    packets, octets = conn.packets, conn.bytes
    hw_packets, hw_octets = conn.hw_packets, conn.hw_bytes
    return Saved(
        conn.zone,
        conn.original,
        conn.reply,
        conn.protocol_state,
        max(0.0, conn.expires - now),
        max(0.0, now - conn.start),
        conn.mark,
        conn.label,
        conn.assured,
        conn.seen_reply,
        (packets[0] + hw_packets[0], packets[1] + hw_packets[1]),
        (octets[0] + hw_octets[0], octets[1] + hw_octets[1]),
        conn.timeout_policy,
    )


def state_named(proto: int, name: str) -> ProtocolState | None:
    """The state that a connection of this IP protocol can have by this name."""
    states: dict[int, type[TcpState] | type[SctpState]] = {
        PROTO_TCP: TcpState,
        PROTO_SCTP: SctpState,
    }
    if name == "NONE":  # that of a connection before its first packet
        return None
    return states.get(proto, FlowState).__members__.get(name)

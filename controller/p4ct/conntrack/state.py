# SPDX-License-Identifier: Apache-2.0
"""Names of states, packet states and events. Numbers are those of Linux and Open vSwitch."""

from __future__ import annotations

from enum import Enum, IntEnum, IntFlag


class CtState(IntFlag):
    """What a packet is to the tracker: the bits of OVS's `ct_state` (ovs-fields(7)).

    TRK is set on everything that went through ct(). INV comes with TRK only; NEW excludes EST and
    RPL; REL combines with RPL.
    """

    NEW = 0x01
    EST = 0x02
    REL = 0x04
    RPL = 0x08
    INV = 0x10
    TRK = 0x20
    SNAT = 0x40
    DNAT = 0x80


class TcpState(IntEnum):
    """`enum tcp_conntrack` of Linux; SYN_SENT2 is a simultaneous open."""

    NONE = 0
    SYN_SENT = 1
    SYN_RECV = 2
    ESTABLISHED = 3
    FIN_WAIT = 4
    CLOSE_WAIT = 5
    LAST_ACK = 6
    TIME_WAIT = 7
    CLOSE = 8
    SYN_SENT2 = 9


CLOSING = frozenset(
    (
        TcpState.FIN_WAIT,
        TcpState.CLOSE_WAIT,
        TcpState.LAST_ACK,
        TcpState.TIME_WAIT,
        TcpState.CLOSE,
    )
)
"""The states after a FIN or RST (`tcp_can_early_drop`)."""


class SctpState(IntEnum):
    """`enum sctp_conntrack` of Linux."""

    NONE = 0
    CLOSED = 1
    COOKIE_WAIT = 2
    COOKIE_ECHOED = 3
    ESTABLISHED = 4
    SHUTDOWN_SENT = 5
    SHUTDOWN_RECD = 6
    SHUTDOWN_ACK_SENT = 7
    HEARTBEAT_SENT = 8


class FlowState(IntEnum):
    """State of a connection whose protocol has none of its own: UDP, ICMP, GRE, generic.

    STREAM is UDP that was still active two seconds after its start, and GRE after its first reply:
    it is ASSURED (`nf_conntrack_udp_packet`, `nf_conntrack_gre_packet`).
    """

    UNREPLIED = 0
    REPLIED = 1
    STREAM = 2


class Event(Enum):
    """What `Tracker.on_event` is told, as ctnetlink does: UPDATE is a change of state, MARK one of
    mark or label."""

    NEW = "new"
    UPDATE = "update"
    ASSURED = "assured"
    MARK = "mark"
    DESTROY = "destroy"


ProtocolState = TcpState | SctpState | FlowState
"""The state of a connection, whatever its protocol."""

# SPDX-License-Identifier: Apache-2.0
"""What a protocol's state machine decides about a packet of a known connection."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum


class Verdict(IntEnum):
    """Values from INVALID_FLAGS on are all +inv, each with its reason."""

    ACCEPT = 0  # belongs to the connection; its timer is renewed with `Connection.timeout`
    KEEP = 1  # belongs to the connection, but the timer runs on ("ignored" in Linux)
    KILL = 2  # belongs to the connection and ends it
    REOPEN = 3  # the connection is over; look the packet up again as a new one
    INVALID_FLAGS = 8
    INVALID_STATE = 9
    INVALID_RST = 10
    INVALID_SEQ = 11
    INVALID_ACK = 12
    INVALID_PICKUP = 13
    INVALID_CHUNKS = 14
    INVALID_TAG = 15


INVALID_REASON: Mapping[Verdict, str] = {
    Verdict.INVALID_FLAGS: "invalid TCP flag combination",
    Verdict.INVALID_STATE: "not valid in this state of the connection",
    Verdict.INVALID_RST: "RST sequence number below the highest ACK of the peer",
    Verdict.INVALID_SEQ: "SEQ is over the window of the receiver",
    Verdict.INVALID_ACK: "ACK of data not seen yet",
    Verdict.INVALID_PICKUP: "not a SYN, and picking up running connections is off (tcp_loose)",
    Verdict.INVALID_CHUNKS: "SCTP chunks that cannot be in one packet, or none",
    Verdict.INVALID_TAG: "SCTP verification tag is not the one of this association",
}

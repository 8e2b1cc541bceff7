# SPDX-License-Identifier: Apache-2.0
"""The enumerations of the eswitch program (p4src/include/reasons.p4), as the controller knows them.

`contract` compares each of them with the serializable enums of P4Info, so a program whose numbers
differ is refused.  Members only ever get added; values are never reused.
"""

from enum import IntEnum


class PuntReason(IntEnum):
    """Why a packet came up; the index of `punt_counter`."""

    NONE = 0
    UNKNOWN_VPORT = 1
    MISS = 2
    DRAIN = 3
    TCP_SYN = 4
    TCP_FIN = 5
    TCP_RST = 6
    TCP_FLAGS = 7
    FRAGMENT = 8
    IP_OPTIONS = 9
    TTL = 10
    BAD_CHECKSUM = 11
    MALFORMED = 12
    NO_NEXT_HOP = 13
    MTU_EXCEEDED = 14
    SAME_ADDRESS = 15
    WINDOW = 16
    WINDOW_READ = 17


class Step(IntEnum):
    """The last step that a punted packet reached."""

    TUNNEL = 1
    VPORT = 2
    L2_PAIR = 3
    CT = 4
    TRAP = 5
    FLOW = 6
    NEXT_HOP = 7
    WINDOW = 8


class CtHit(IntEnum):
    """What the connection tables said."""

    MISS = 0
    FORWARD = 1
    DRAIN = 2


class PuntClass(IntEnum):
    """The policer's classes: each vport has one meter cell for each."""

    MISS = 0
    CONTROL = 1
    EXCEPTION = 2
    DRAIN = 3
    SYN = 4


class DropReason(IntEnum):
    """Why the eswitch dropped a packet; the index of `drop_counter`."""

    POLICER_MISS = 0
    POLICER_CONTROL = 1
    POLICER_EXCEPTION = 2
    POLICER_DRAIN = 3
    NEXT_HOP = 4
    BAD_PACKET_OUT = 5
    POLICER_SYN = 6


class PacketOutOp(IntEnum):
    """What a packet-out asks for."""

    SEND = 1
    NEXT_HOP = 2
    PIPELINE = 3
    WINDOW_WRITE = 4
    WINDOW_READ = 5
    WINDOW_MERGE = 6


class WindowVerdict(IntEnum):
    """Where a TCP segment lies, by the conditions of Linux's `tcp_in_window`."""

    NOT_CHECKED = 0
    INSIDE = 1
    SEQ_ABOVE = 2
    SEQ_BELOW = 3
    ACK_ABOVE = 4
    ACK_BELOW = 5


class VlanOp(IntEnum):
    """What a next hop does to the VLAN tag."""

    KEEP = 0
    PUSH = 1
    POP = 2
    SET = 3

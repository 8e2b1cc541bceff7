# SPDX-License-Identifier: Apache-2.0
"""Why a connection is not offloaded: the fixed part of each reason, in one place.

`p4ct conntrack list` and `p4ct offload why` show these texts; details follow after a colon.
"""

from __future__ import annotations

__all__ = [
    "ANSWERED",
    "ASK_COUNTERS",
    "CLOSING",
    "DIRECTIONS_DIFFER",
    "DISABLED",
    "FULL",
    "GAVE_WAY",
    "HELPER",
    "IDLE",
    "INSTALLING",
    "INSTALL_FAILED",
    "LOST",
    "MAC_MOVED",
    "MARK_CHANGED",
    "NOT_ASSURED",
    "NOT_ESTABLISHED",
    "ONE_DIRECTION",
    "POLICY_CHANGED",
    "POLICY_DROPS",
    "PROTOCOL",
    "RESTORED",
    "SHARED",
    "UNPROVEN_FULL",
    "UNSETTLED",
]

DISABLED = "offload is switched off in the configuration"
NOT_ESTABLISHED = "not established yet"
NOT_ASSURED = "established but not assured yet"
ONE_DIRECTION = "no established packet seen yet in the other direction"
CLOSING = "closing"
PROTOCOL = "the eswitch has no entries for this protocol"
POLICY_DROPS = "policy drops it"
DIRECTIONS_DIFFER = "its two directions pass different zones"
FULL = "pending, the eswitch is full"
INSTALLING = "being installed"
INSTALL_FAILED = "the switch refused the entries"
HELPER = "a helper reads its packets"
IDLE = "no packet for the offload timeout, back in software"
POLICY_CHANGED = "policy changed, to be decided again"
MAC_MOVED = "the MAC address moved to another port"
MARK_CHANGED = "its mark or label changed, to be decided again"
LOST = "the switch lost its entries"
RESTORED = "restored after a restart"
SHARED = "its connection in another zone is part of other entries"
UNPROVEN_FULL = "not established yet, and no room for more of these in the eswitch"
GAVE_WAY = "the eswitch is full, made room for an established connection"
ASK_COUNTERS = "a SYN/ACK of its initiator: the counters say whether it is established"
UNSETTLED = "the switch is being read, to be decided after that"
ANSWERED = "answered for the first time, to be decided again"

# SPDX-License-Identifier: Apache-2.0
"""What the tracker says about one packet, and what can go wrong when it is committed."""

from __future__ import annotations

from p4ct.conntrack.connection import Connection, Direction, Tuple
from p4ct.conntrack.expectations import Expectation
from p4ct.conntrack.state import CtState
from p4ct.packet.parse import Packet


class ConntrackFull(Exception):
    """commit() found no room and nothing to evict; the packet should be dropped.

    what: which room, a short text that is one of few; counted_as: its name in `Tracker.stats`.
    """

    def __init__(
        self, message: str = "", what: str = "connection table full", counted_as: str = "full"
    ) -> None:
        super().__init__(message)
        self.what = what
        self.counted_as = counted_as


class ConntrackInvalid(ValueError):
    """commit() of a packet that is +inv: there is no connection that it could create."""


class NatExhausted(Exception):
    """commit() found no free tuple in the range of nat(); the packet must be dropped."""


class TupleTaken(Exception):
    """commit() without nat(): the answers would belong to another connection. Drop the packet.

    Linux finds this when it confirms a connection (`__nf_conntrack_confirm`) and drops, too.
    """


class CtResult:
    """The answer for one packet.

    state: the packet's ct_state bits.
    connection: None for +inv and for +new that is not committed; the connection an ICMP error is
        about when +rel.
    direction: of the packet in that connection (ORIGINAL for +new).
    zone: the zone asked.   reason: why it is +inv, else "".
    expectation: whose helper has expected this +new connection, else None.
    packet: what a helper has made of the packet, None if nothing.   refused: why a helper does not
        let it pass, else "".
    key, table: where commit() stores it; of no use elsewhere.
    target: what the packet will become if its connection is committed; set by `preview` only.
    """

    __slots__ = (
        "connection",
        "direction",
        "expectation",
        "key",
        "packet",
        "reason",
        "refused",
        "state",
        "table",
        "target",
        "zone",
    )

    def __init__(
        self,
        state: CtState,
        connection: Connection | None,
        direction: Direction,
        zone: int,
        reason: str = "",
        key: bytes = b"",
        table: int = -1,
    ) -> None:
        self.state = state
        self.connection = connection
        self.direction = direction
        self.zone = zone
        self.reason = reason
        self.key = key
        self.table = table
        self.target: Tuple | None = None
        self.expectation: Expectation | None = None
        self.packet: Packet | None = None
        self.refused = ""

    def __repr__(self) -> str:
        reason = f" ({self.reason})" if self.reason else ""
        return f"<CtResult {self.state!r} {self.direction.name} {self.connection}{reason}>"

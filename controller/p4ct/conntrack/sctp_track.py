# SPDX-License-Identifier: Apache-2.0
"""What is remembered of an SCTP association beside its state (`struct ip_ct_sctp`)."""

from __future__ import annotations


class SctpTrack:
    """tags: the verification tags that packets of each direction carry, 0 while unknown.

    init: which sides have sent an INIT.   unknown_heartbeat: the direction in which a heartbeat
    with another tag went by, None if there was none.   learn: the directions whose tag is that of
    the next packet, whatever it is; for an association that was not tracked from its beginning.
    """

    __slots__ = ("init", "learn", "tags", "unknown_heartbeat")

    def __init__(self) -> None:
        self.tags = [0, 0]
        self.init = [False, False]
        self.learn = [False, False]
        self.unknown_heartbeat: int | None = None

    def copy(self) -> SctpTrack:
        """An independent copy, to try a packet on."""
        twin = SctpTrack()
        twin.tags = self.tags.copy()
        twin.init = self.init.copy()
        twin.learn = self.learn.copy()
        twin.unknown_heartbeat = self.unknown_heartbeat
        return twin

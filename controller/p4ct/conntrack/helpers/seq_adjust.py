# SPDX-License-Identifier: Apache-2.0
"""Sequence numbers after a helper has changed the length of what was sent.

One direction's bytes are shifted from a position on; its own numbers go up by that, and what the
other side acknowledges of it goes down (`nf_conntrack_seqadj.c`).
"""

from __future__ import annotations

__all__ = ["SeqAdjust"]

_WORD = 0xFFFFFFFF
_HALF = 0x80000000


def _after(left: int, right: int) -> bool:
    """left > right in the arithmetic of sequence numbers."""
    return 0 < (left - right) & _WORD < _HALF


class SeqAdjust:
    """The shift of one direction: `before` up to and including `position`, `after` behind it.

    position is a number of the sender, not of what was made of it.
    """

    __slots__ = ("after", "before", "position")

    def __init__(self) -> None:
        self.position: int = 0
        self.before: int = 0
        self.after: int = 0

    def shift(self, seq: int, bytes_more: int) -> None:
        """The segment that begins at `seq` has grown (or shrunk) by this much.

        A segment that is sent again changes nothing.
        """
        if self.before == self.after or _after(seq, self.position):
            self.position = seq
            self.before = self.after
            self.after += bytes_more

    def outgoing(self, seq: int) -> int:
        """A number of the sender as the receiver gets it."""
        return (seq + (self.after if _after(seq, self.position) else self.before)) & _WORD

    def acknowledged(self, ack: int) -> int:
        """A number that the receiver acknowledges, as the sender knows it."""
        behind = _after((ack - self.before) & _WORD, self.position)
        return (ack - (self.after if behind else self.before)) & _WORD

# SPDX-License-Identifier: Apache-2.0
"""Where a packet is on its way through the flows: the actions that are still to be done."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from p4ct.pipeline.actions import Action
from p4ct.pipeline.fields import Key
from p4ct.pipeline.flow import Flow
from p4ct.pipeline.result import CtVisit

if TYPE_CHECKING:
    from p4ct.packet.parse import Packet

__all__ = ["Before", "Frame"]


class Before(NamedTuple):
    """What the original has while the copy that `ct` made goes on."""

    pkt: Packet
    key: Key
    tracked: CtVisit


class Frame:
    """The actions of one flow that are still to be done."""

    __slots__ = ("actions", "before", "depth", "forks", "next", "table")

    def __init__(self, flow: Flow, depth: int, forks: int, before: Before | None) -> None:
        self.actions: tuple[Action, ...] = flow.actions
        self.next = 0
        self.table = flow.table
        self.depth = depth
        self.forks = forks
        self.before = before
        """Not None if this is the copy that `ct` made: what the original is when it is done."""

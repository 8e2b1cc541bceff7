# SPDX-License-Identifier: Apache-2.0
"""A flow: one policy rule of the pipeline, with its counters."""

from __future__ import annotations

from itertools import count
from typing import NamedTuple

from p4ct.pipeline.actions import Action
from p4ct.pipeline.match import Match

__all__ = ["DEFAULT_PRIORITY", "MAX_TABLE", "Flow", "Rule"]

DEFAULT_PRIORITY = 0x8000
"""The priority of a flow that names none (OFP_DEFAULT_PRIORITY)."""

MAX_TABLE = 254
"""The highest table number; 255 means "all tables" in OpenFlow."""

_ids = count(1)


class Rule(NamedTuple):
    """Everything that a flow is apart from its identity and counters; comparable and hashable."""

    table: int
    priority: int
    match: Match
    actions: tuple[Action, ...]
    cookie: int


class Flow:
    """A rule installed in the pipeline. Two flows are equal only if they are the same object."""

    __slots__ = (
        "actions",
        "cookie",
        "created",
        "hw_bytes",
        "hw_packets",
        "id",
        "line",
        "match",
        "n_bytes",
        "n_packets",
        "priority",
        "source",
        "table",
    )

    def __init__(
        self,
        match: Match,
        actions: tuple[Action, ...],
        *,
        table: int = 0,
        priority: int = DEFAULT_PRIORITY,
        cookie: int = 0,
        source: str = "",
        line: int = 0,
    ) -> None:
        self.id = next(_ids)
        """Unique within the process and never reused."""
        self.table = table
        self.priority = priority
        self.match = match
        self.actions = actions
        """An empty tuple drops the packet."""
        self.cookie = cookie
        self.source = source
        self.line = line
        """Where the flow was written: name of the text and line, counted from 1 (0: nowhere)."""
        self.created: float | None = None
        """When the flow entered the pipeline, in seconds of the caller's clock."""
        self.n_packets = 0
        self.n_bytes = 0
        """What software forwarded by this flow; bytes are frame bytes at ingress."""
        self.hw_packets = 0
        self.hw_bytes = 0
        """What the eswitch forwarded by this flow; maintained by the offload manager."""

    @property
    def rule(self) -> Rule:
        """The flow as a value."""
        return Rule(self.table, self.priority, self.match, self.actions, self.cookie)

    @property
    def slot(self) -> tuple[int, int, Match]:
        """Table, priority and match: a table holds at most one flow for each."""
        return self.table, self.priority, self.match

    def __repr__(self) -> str:
        return f"Flow(id={self.id}, table={self.table}, priority={self.priority}, {self.match!r})"

# SPDX-License-Identifier: Apache-2.0
"""What both targets are given: entries, and batches of frames and packet-outs, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4
from ptf_base import frames
from ptf_base.entities import Match, table_entry
from ptf_base.p4info import P4Names, Value

# BMv2 queues 64 frames for each port it sends to; the rest is for sentinels.
BATCH = 48


@dataclass(frozen=True)
class Entry:
    """One row of a table, by names."""

    table: str
    match: Match
    action: str
    params: Mapping[str, Value]
    priority: int = 0

    def entity(self, names: P4Names) -> p4.Entity:
        return table_entry(
            names, self.table, self.match, self.action, self.params, priority=self.priority
        )

    def __str__(self) -> str:
        match = " ".join(f"{k}={_value(v)}" for k, v in self.match.items())
        params = ", ".join(f"{k}={_value(v)}" for k, v in self.params.items())
        priority = f" priority {self.priority}" if self.priority else ""
        return f"{self.table} {{{match}}}{priority} -> {self.action}({params})"


class Way(Enum):
    """How the packets of a batch enter; within one way, a target keeps their order."""

    WIRE = "wire"
    DIRECT = "packet-out"
    PIPELINE = "pipeline packet-out"
    WRITE = "write"
    """No packets, but changes of entries while nothing is under way."""


class Stimulus(NamedTuple):
    """One frame into a port, or one packet-out with its header fields."""

    frame: bytes
    fields: Mapping[str, Value] = {}

    def describe(self, way: Way, port: int) -> str:
        """How it entered, what scapy makes of it, and its bytes."""
        fields = " ".join(f"{k}={v}" for k, v in self.fields.items())
        how = f"frame into port {port}" if way is Way.WIRE else f"{way.value} {fields}"
        return f"{how}: {frames.summary(self.frame)}\n    {self.frame.hex()}"


class Change(NamedTuple):
    """One update: `kind` is INSERT, MODIFY or DELETE. It may be one that must fail."""

    kind: str
    entry: Entry

    def describe(self, way: Way, port: int) -> str:
        return f"{way.value} {self.kind} {self.entry}"


@dataclass(frozen=True)
class Batch:
    """Packets that enter one way, one behind the other: through `port` if it is a wire, as if
    received there if they go through the pipeline. Or one write, in the order of its changes."""

    way: Way
    port: int
    stimuli: tuple[Stimulus | Change, ...]


@dataclass(frozen=True)
class Case:
    """Starts on an empty switch with counters at zero."""

    entries: tuple[Entry, ...]
    batches: tuple[Batch, ...] = field(repr=False)

    @property
    def packets(self) -> int:
        return sum(len(batch.stimuli) for batch in self.batches if batch.way is not Way.WRITE)


def _value(value: Value | tuple[Value, Value]) -> str:
    if isinstance(value, tuple):
        return f"{_value(value[0])}/{_value(value[1])}"
    return hex(value) if isinstance(value, int) and value > 9 else str(value)

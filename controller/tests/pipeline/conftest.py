# SPDX-License-Identifier: Apache-2.0
"""A switch with three vports, a conntrack that answers what it is told, and packets."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from p4ct.conntrack import (
    Connection,
    ConntrackFull,
    ConntrackInvalid,
    CtResult,
    CtState,
    Direction,
    Tracker,
    Tuple,
)
from p4ct.packet import Packet, parse
from p4ct.packet.build import tcp_frame
from p4ct.pipeline import Pipeline, PortTable, Vport, parse_flows

VM1 = "02:00:00:00:00:01"
VM2 = "02:00:00:00:00:02"
EXT = "02:00:00:00:00:03"


class ScriptedConntrack:
    """Answers with the state scripted for a zone and records every call."""

    def __init__(self) -> None:
        self.states: dict[int, CtState] = {}
        self.marks: dict[int, int] = {}
        self.full = False
        self.unfit = False
        self.calls: list[tuple[str, int]] = []

    def _connection(self, zone: int) -> Connection:
        forward = Tuple(4, 6, bytes(4), bytes(4), 1, 2)
        mark = self.marks.get(zone, 0)
        return Tracker().restore(zone, forward, forward.reversed(), None, mark, 0, now=0.0)

    def track(self, pkt: Packet, zone: int, now: float) -> CtResult:
        self.calls.append(("track", zone))
        return self.answer(zone)

    def peek(self, pkt: Packet, zone: int, now: float) -> CtResult:
        self.calls.append(("peek", zone))
        return self.answer(zone)

    def answer(self, zone: int) -> CtResult:
        state = self.states.get(zone, CtState.TRK | CtState.NEW)
        known = state & CtState.EST
        return CtResult(
            state,
            self._connection(zone) if known else None,
            Direction.REPLY if state & CtState.RPL else Direction.ORIGINAL,
            zone,
            "scripted" if state & CtState.INV else "",
        )

    def preview(self, result: CtResult, pkt: Packet, now: float, **_: object) -> Connection | None:
        return result.connection

    def set_mark(self, conn: Connection, mark: int, label: int, now: float) -> None:
        conn.mark, conn.label = mark, label

    def commit(self, result: CtResult, pkt: Packet, now: float, **_: object) -> Connection:
        self.calls.append(("commit", result.zone))
        if self.full:
            raise ConntrackFull
        if self.unfit:
            raise ConntrackInvalid
        return result.connection or self._connection(result.zone)


class Switch:
    """A pipeline with its ports and conntrack."""

    def __init__(self) -> None:
        self.ports = PortTable(
            [
                Vport(1, "vm1", 11),
                Vport(2, "vm2", 12),
                Vport(3, "ext", 13, kind="uplink"),
            ]
        )
        self.ct = ScriptedConntrack()
        self.pipeline = Pipeline(self.ports, self.ct)

    def flows(self, text: str) -> None:
        self.pipeline.replace(parse_flows(text, ports=self.ports.numbers))

    def send(self, pkt: Packet, in_port: int = 1, now: float = 0.0):
        return self.pipeline.process(pkt, in_port, now)


@pytest.fixture
def switch() -> Switch:
    return Switch()


@pytest.fixture
def make_tcp() -> Callable[..., Packet]:
    """Makes a TCP packet; every argument of tcp_frame may be overridden."""

    def make(**changes: object) -> Packet:
        fields: dict[str, object] = {
            "src": "10.0.0.1",
            "dst": "10.0.0.3",
            "sport": 1000,
            "dport": 80,
            "eth_src": VM1,
            "eth_dst": EXT,
            "flags": 0x10,
        }
        return parse(tcp_frame(**{**fields, **changes}))  # type: ignore[arg-type]

    return make

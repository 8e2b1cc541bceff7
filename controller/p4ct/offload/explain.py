# SPDX-License-Identifier: Apache-2.0
"""`p4ct explain`: everything that is known about one tuple, for a reader."""

from __future__ import annotations

from typing import Any, Protocol

from p4ct.conntrack import Connection, Direction, Tracker, Tuple
from p4ct.conntrack.format import conntrack_line, protocol_name
from p4ct.offload.decide import half_of
from p4ct.offload.manager import OffloadManager
from p4ct.offload.recheck import sample_packet
from p4ct.offload.record import Half, L2Key, NextHopKey
from p4ct.packet.text import format_mac
from p4ct.pipeline.access import PeekConntrack
from p4ct.pipeline.execute import Pipeline

__all__ = ["Asked", "explain"]

SYN = 0x02


class Asked(Protocol):
    """A packet to explain; `in_port` 0 and empty MAC addresses are filled in from what is known."""

    @property
    def version(self) -> int: ...
    @property
    def proto(self) -> int: ...
    @property
    def src(self) -> bytes: ...
    @property
    def dst(self) -> bytes: ...
    @property
    def sport(self) -> int: ...
    @property
    def dport(self) -> int: ...
    @property
    def in_port(self) -> int: ...
    @property
    def eth_src(self) -> bytes: ...
    @property
    def eth_dst(self) -> bytes: ...
    @property
    def zone(self) -> int | None: ...


def explain(
    asked: Asked, pipeline: Pipeline, tracker: Tracker, manager: OffloadManager, now: float
) -> dict[str, Any]:
    """Connections of the tuple, their entries, and the way of such a packet through the policy."""
    own = Tuple(asked.version, asked.proto, asked.src, asked.dst, asked.sport, asked.dport)
    zones = tracker.by_zone if asked.zone is None else {asked.zone: 1}
    found: list[tuple[Connection, Direction]] = []
    for zone in zones:
        match = tracker.find(own, zone)
        if match is not None:
            found.append(match)
    connections = [_connection(c, d, manager, now) for c, d in found]
    in_port, eth_src, eth_dst = _link(asked, found, manager)
    answer: dict[str, Any] = {
        "tuple": f"{protocol_name(own.proto)} {own}",
        "connections": connections,
        "trace": [],
    }
    if not in_port:
        names = ", ".join(pipeline.ports.by_name)
        answer["verdict"] = f"unknown ingress; add in_port=… (one of {names}) for the way it takes"
        return answer
    half = Half(
        l2=L2Key(in_port, eth_src, eth_dst),
        version=own.version,
        src=own.src,
        dst=own.dst,
        proto=own.proto,
        sport=own.sport,
        dport=own.dport,
        out_vport=0,
        next_hop=NextHopKey(0, 0, 0, 0),
        flows=(),
        fdb=frozenset(),
        visits=(),
        policy_version=0,
    )
    # Without a connection, the question is whether one may begin.
    pkt = sample_packet(half) if found else sample_packet(half, SYN)
    trace: list[str] = []
    result = pipeline.process(pkt, in_port, now, ct=PeekConntrack(tracker), trace=trace)
    outputs = ", ".join(pipeline.ports.name(port) for port in result.outputs)
    answer["trace"] = trace
    answer["verdict"] = f"forward to {outputs}" if outputs else f"drop: {result.drop_reason}"
    decided = half_of(pkt, in_port, result, pipeline.ports)
    if isinstance(decided, Half):
        answer["eswitch"] = "an entry can hold this direction"
    else:
        answer["eswitch"] = f"no entry: {decided or 'no established connection'}"
    return answer


def _connection(
    connection: Connection, direction: Direction, manager: OffloadManager, now: float
) -> dict[str, Any]:
    record = manager.of_connection.get(connection.id)
    answer: dict[str, Any] = {
        "line": conntrack_line(connection, now),
        "direction": direction.name.lower(),
        "offloaded": connection.offload is not None,
        "reason": connection.offload_reason,
    }
    if record is not None:
        answer["record"] = {
            "index": record.index,
            "generation": record.generation,
            "state": record.state.value,
            "idle_timeout": record.timeout,
            "cells": [list(cell) for cell in record.last],
            "macs": [
                f"{format_mac(half.l2.eth_src)} > {format_mac(half.l2.eth_dst)}"
                for half in record.halves
            ],
        }
    return answer


def _link(
    asked: Asked, found: list[tuple[Connection, Direction]], manager: OffloadManager
) -> tuple[int, bytes, bytes]:
    """Ingress and MAC addresses: as asked, else those of the connection's entry."""
    in_port, eth_src, eth_dst = asked.in_port, asked.eth_src, asked.eth_dst
    for connection, direction in found:
        record = manager.of_connection.get(connection.id)
        if record is None:
            continue
        for member in record.members:
            if member.connection is connection:
                l2 = record.halves[member.direction(direction)].l2
                in_port = in_port or l2.vport
                eth_src, eth_dst = eth_src or l2.eth_src, eth_dst or l2.eth_dst
    return in_port, eth_src or bytes(6), eth_dst or bytes(6)

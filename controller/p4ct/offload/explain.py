# SPDX-License-Identifier: Apache-2.0
"""`p4ct explain`: everything that is known about one tuple, for a reader."""

from __future__ import annotations

from typing import Any, Protocol

from p4ct.conntrack import Connection, Direction, Tracker, Tuple
from p4ct.conntrack.format import conntrack_line, protocol_name
from p4ct.offload.decide import Mode, half_of
from p4ct.offload.manager import OffloadManager
from p4ct.offload.next_hops import NextHopKey
from p4ct.offload.recheck import ACK, sample_packet
from p4ct.offload.record import Half, L2Key
from p4ct.offload.stations import Stations
from p4ct.packet.text import format_mac
from p4ct.pipeline.access import PeekConntrack
from p4ct.pipeline.execute import Pipeline
from p4ct.pipeline.stateless import why_no_flow_entry

__all__ = ["Asked", "explain"]

SYN = 0x02
#: Two unicast addresses that no station has, and that are not the same.
PLACEHOLDERS = (bytes.fromhex("02fffffffff1"), bytes.fromhex("02fffffffff2"))


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
    asked: Asked,
    pipeline: Pipeline,
    tracker: Tracker,
    manager: OffloadManager,
    stations: Stations,
    now: float,
) -> dict[str, Any]:
    """Connections of the tuple, their entries, and the way of such a packet through the policy."""
    own = Tuple(asked.version, asked.proto, asked.src, asked.dst, asked.sport, asked.dport)
    zones = tracker.by_zone if asked.zone is None else {asked.zone: 1}
    found: list[tuple[Connection, Direction]] = []
    for zone in zones:
        match = tracker.find(own, zone)
        if match is not None:
            found.append(match)
    answer: dict[str, Any] = {
        "tuple": f"{protocol_name(own.proto)} {own}",
        "connections": [_connection(c, d, manager, now) for c, d in found],
        "trace": [],
    }
    link = _link(asked, found, manager, stations)
    if not link.vport:
        names = ", ".join(pipeline.ports.by_name)
        answer["verdict"] = f"unknown ingress; add in_port=… (one of {names}) for the way it takes"
        return answer
    guessed = [
        name
        for name, mac in (("eth_src", link.eth_src), ("eth_dst", link.eth_dst))
        if mac in PLACEHOLDERS
    ]
    if guessed:
        answer["assumed"] = (
            f"{' and '.join(guessed)} not known; add {' '.join(f'{n}=…' for n in guessed)} if the "
            "policy or the learning switch depends on it"
        )
    # Without a connection, the question is whether one may begin.
    pkt = sample_packet(_half(own, link), ACK if found else SYN)
    trace: list[str] = []
    result = pipeline.process(pkt, link.vport, now, ct=PeekConntrack(tracker), trace=trace)
    outputs = ", ".join(pipeline.ports.name(port) for port in result.outputs)
    answer["trace"] = trace
    answer["verdict"] = f"forward to {outputs}" if outputs else f"drop: {result.drop_reason}"
    held = [item for item in answer["connections"] if item["offloaded"]]
    unanswered = manager.options.mode is Mode.ASSUME
    decided = half_of(pkt, link.vport, result, pipeline.ports, unanswered=unanswered)
    if held:
        record = held[0]["record"]
        entry = f"index {record['index']}/{record['generation']}"
        answer["eswitch"] = f"an entry holds it: {entry}"
        if record["one_way"] and held[0]["direction"] == "reply":
            answer["eswitch"] = f"an entry sends it up, as the first answer: {entry}"
    elif isinstance(decided, Half):
        answer["eswitch"] = "an entry can hold this direction"
    elif not result.ct:
        why = why_no_flow_entry(pkt, result)
        answer["eswitch"] = f"no entry: {why}" if why else "a stateless flow can hold it"
    else:
        answer["eswitch"] = f"no entry: {decided or 'no established connection'}"
    return answer


def _half(own: Tuple, link: L2Key) -> Half:
    """As much of a half as a packet needs to be synthesised."""
    return Half(
        l2=link,
        version=own.version,
        src=own.src,
        dst=own.dst,
        proto=own.proto,
        sport=own.sport,
        dport=own.dport,
        out_vport=0,
        next_hop=NextHopKey(0),
        nat=None,
        flows=(),
        fdb=frozenset(),
        visits=(),
        marks=(),
        policy_version=0,
    )


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
            "one_way": record.one_way,
            "cells": [list(cell) for cell in record.last],
            "macs": [
                f"{format_mac(half.l2.eth_src)} > {format_mac(half.l2.eth_dst)}"
                for half in record.halves
            ],
        }
    return answer


def _link(
    asked: Asked,
    found: list[tuple[Connection, Direction]],
    manager: OffloadManager,
    stations: Stations,
) -> L2Key:
    """Ingress and MAC addresses: as asked, else of the connection's entry, else as last seen."""
    known: list[L2Key] = []
    for connection, direction in found:
        record = manager.of_connection.get(connection.id)
        for member in record.members if record is not None else ():
            if record is not None and member.connection is connection:
                known.append(record.halves[member.direction(direction)].l2)
    source, target = stations.find(asked.src), stations.find(asked.dst)
    if source is not None and target is not None:
        known.append(L2Key(source.vport, source.mac, target.mac))
    elif source is not None:
        known.append(L2Key(source.vport, source.mac, b""))
    elif target is not None:
        known.append(L2Key(0, b"", target.mac))
    return L2Key(
        asked.in_port or next((link.vport for link in known if link.vport), 0),
        asked.eth_src or next((link.eth_src for link in known if link.eth_src), PLACEHOLDERS[0]),
        asked.eth_dst or next((link.eth_dst for link in known if link.eth_dst), PLACEHOLDERS[1]),
    )

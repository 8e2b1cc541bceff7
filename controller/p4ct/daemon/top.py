# SPDX-License-Identifier: Apache-2.0
"""`p4ct top`: what happened in an interval, from two looks at the totals and at the records."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from p4ct.conntrack.format import protocol_name
from p4ct.daemon import views
from p4ct.offload.record import Record
from p4ct.packet.text import format_ip
from p4ct.pipeline.ports import PortTable

if TYPE_CHECKING:
    from p4ct.daemon.controller import Controller

__all__ = ["watch"]

Json = dict[str, Any]

PORTION = 2000
"""Records that are looked at before packets get their turn again."""
POLICER = "POLICER_"


@dataclass(slots=True)
class _Look:
    """When (seconds of the controller's clock), the totals, and the records that there were."""

    time: float
    status: Json
    records: list[Record]


@dataclass(slots=True)
class _Counts:
    """What each record had forwarded, by `_key`: plain numbers, no work for the collector."""

    packets: dict[int, int] = field(default_factory=dict[int, int])
    octets: dict[int, int] = field(default_factory=dict[int, int])


@dataclass(slots=True)
class _Moved:
    """What records forwarded between two looks: (packets, bytes), of the busiest and by zone."""

    busiest: list[tuple[int, int, Record]] = field(default_factory=list[Any])
    packets: Counter[int] = field(default_factory=Counter[int])
    octets: Counter[int] = field(default_factory=Counter[int])


async def watch(
    controller: Controller,
    seconds: float,
    most: int,
    wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Json:
    """Look, wait, look again; the answer is what changed, with the `most` busiest of each list."""
    before = await _look(controller)
    counts = await _count(before.records)
    await wait(seconds)
    after = await _look(controller)
    moved = await _moved(counts, after.records, most)
    answer = _compare(before, after, moved, controller.config.ports, most)
    return {"time": round(time.time(), 3), **answer}


async def _look(controller: Controller) -> _Look:
    """The totals of now; reads the switch."""
    fresh = await controller.refresh()
    now = controller.clock()
    status = await views.status(controller, fresh)
    return _Look(now, status, list(controller.manager.records.values()))


def _key(record: Record) -> int:
    return record.index << 32 | record.generation


async def _count(records: list[Record]) -> _Counts:
    """What they have forwarded so far. Packets get their turn in between."""
    counts = _Counts()
    for number, record in enumerate(records, 1):
        key = _key(record)
        counts.packets[key] = record.last[0][0] + record.last[1][0]
        counts.octets[key] = record.last[0][1] + record.last[1][1]
        if number % PORTION == 0:
            await asyncio.sleep(0)
    return counts


async def _moved(counts: _Counts, records: list[Record], most: int) -> _Moved:
    """What these records have forwarded since. Packets get their turn in between."""
    moved = _Moved()
    for number, record in enumerate(records, 1):
        key = _key(record)
        packets = record.last[0][0] + record.last[1][0] - counts.packets.get(key, 0)
        if packets > 0:
            octets = record.last[0][1] + record.last[1][1] - counts.octets.get(key, 0)
            moved.busiest.append((packets, octets, record))
            for zone in {member.connection.zone for member in record.members}:
                moved.packets[zone] += packets
                moved.octets[zone] += octets
        if number % PORTION == 0:
            moved.busiest = heapq.nlargest(most, moved.busiest, key=itemgetter(0, 1))
            await asyncio.sleep(0)
    moved.busiest = heapq.nlargest(most, moved.busiest, key=itemgetter(0, 1))
    return moved


def _compare(before: _Look, after: _Look, moved: _Moved, ports: PortTable, most: int) -> Json:
    """Rates a second between two looks, and what there is at the second."""
    seconds = max(after.time - before.time, 1e-9)
    old, new = before.status, after.status

    def rate(section: str, key: str) -> float:
        return _rate(new[section][key] - old[section][key], seconds)

    def rate_of_all(section: str, key: str) -> float:
        gain = sum(new[section][key].values()) - sum(old[section][key].values())
        return _rate(gain, seconds)

    hardware, software = rate("packets", "fast_path"), rate("packets", "punted")
    forwarded = hardware + software
    return {
        "seconds": round(seconds, 6),
        "target": new["target"],
        "rates": {
            "punts": software,
            "slow_path_bytes": rate("packets", "punted_bytes"),
            "slow_path_sent": rate("packets", "sent"),
            "hardware_packets": hardware,
            "hardware_bytes": rate("packets", "fast_path_bytes"),
            "connections": rate("connections", "seen"),
            "installs": rate("connections", "offloaded_total"),
            "removals": rate_of_all("offload", "removed"),
            "failures": rate_of_all("offload", "failed"),
            **_drops(old["drops"], new["drops"], seconds),
        },
        "hardware_share": round(hardware / forwarded, 6) if forwarded else None,
        "records": {
            "active": new["connections"]["offloaded"],
            "capacity": new["offload"]["capacity"],
            "pending": new["pending"],
            "in_flight": new["offload"]["in_flight"],
        },
        "connections": {
            "total": new["connections"]["active"],
            "limit": new["connections"]["limit"],
        },
        "busiest": _busiest(moved, ports, seconds),
        "zones": _zones(new["connections"]["by_zone"], moved, seconds, most),
        "vports": _vports(old["punts_by_vport"], new["punts_by_vport"], seconds, most),
        "reasons": _reasons(new["offload"]["not_offloaded"], most),
    }


def _rate(gain: float, seconds: float) -> float:
    """A switch that was restarted counts from 0 again: what is not known is no negative rate."""
    return round(max(0.0, gain) / seconds, 3)


def _drops(old: Json, new: Json, seconds: float) -> Json:
    """`policer_drops` of the switch, and `drops` of all else; what is not known of it counts 0."""
    policer = others = 0
    for place in old.keys() & new.keys():
        for reason, number in new[place].items():
            gain = number - old[place].get(reason, 0)
            if reason.startswith(POLICER):
                policer += gain
            else:
                others += gain
    return {"drops": _rate(others, seconds), "policer_drops": _rate(policer, seconds)}


def _busiest(moved: _Moved, ports: PortTable, seconds: float) -> list[Json]:
    result: list[Json] = []
    for packets, octets, record in moved.busiest:
        half = record.halves[0]
        result.append(
            {
                "proto": protocol_name(half.proto),
                "src": format_ip(half.src),
                "dst": format_ip(half.dst),
                "sport": half.sport,
                "dport": half.dport,
                "in_port": ports.name(half.l2.vport),
                "output": ports.name(half.out_vport),
                "zones": [member.connection.zone for member in record.members],
                "packets": _rate(packets, seconds),
                "bytes": _rate(octets, seconds),
            }
        )
    return result


def _zones(by_zone: dict[str, int], moved: _Moved, seconds: float, most: int) -> list[Json]:
    """By rate of hardware, then by connections; a packet counts in each zone that it passed."""
    zones = heapq.nlargest(
        most, by_zone, key=lambda zone: (moved.packets[int(zone)], by_zone[zone], -int(zone))
    )
    return [
        {
            "zone": int(zone),
            "connections": by_zone[zone],
            "packets": _rate(moved.packets[int(zone)], seconds),
            "bytes": _rate(moved.octets[int(zone)], seconds),
        }
        for zone in zones
    ]


def _vports(old: Json, new: Json, seconds: float, most: int) -> list[Json]:
    """Vports by what came up of them, with the reason of most of it."""
    result: list[Json] = []
    for name, reasons in new.items():
        before = old.get(name, {})
        gains = Counter({why: number - before.get(why, 0) for why, number in reasons.items()})
        (reason, _), *_ = gains.most_common(1)
        if total := sum(gains.values()):
            result.append({"vport": name, "punts": _rate(total, seconds), "reason": reason})
    return heapq.nlargest(most, result, key=lambda item: item["punts"])


def _reasons(by_reason: dict[str, int], most: int) -> list[Json]:
    """Why most of the connections that are not offloaded are not."""
    found = heapq.nlargest(most, by_reason.items(), key=lambda item: item[1])
    return [{"reason": reason, "connections": number} for reason, number in found]

# SPDX-License-Identifier: Apache-2.0
"""Connections, records, flows and totals as plain JSON values: what `--json` prints."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from p4ct.conntrack import Connection, Limits, Tuple
from p4ct.conntrack.expectations import Expectation
from p4ct.conntrack.format import conntrack_line, protocol_name
from p4ct.conntrack.format_dpctl import dpctl_tuple
from p4ct.conntrack.limits import LIMITS
from p4ct.conntrack.tcp_window import export_windows
from p4ct.daemon.sources import Source
from p4ct.eswitch.entries import EswitchError, Masked
from p4ct.offload.allocate import SharedRows
from p4ct.offload.next_hops import NextHopKey
from p4ct.offload.record import Record, RecordState
from p4ct.offload.stateless import StatelessFlow
from p4ct.p4runtime.client import P4RuntimeClient
from p4ct.packet.parse import ETH_IPV6
from p4ct.packet.text import format_ip, format_mac
from p4ct.pipeline.execute import FlowChange
from p4ct.pipeline.flow import Flow
from p4ct.pipeline.ports import PortTable, Vport

if TYPE_CHECKING:
    from p4ct.daemon.controller import Controller

__all__ = [
    "change",
    "connection",
    "expectation",
    "flow",
    "record",
    "stateless_flow",
    "status",
    "vport",
]

Json = dict[str, Any]

COUNTERS_TIMEOUT = 2.0
"""Seconds to read what the eswitch punted and dropped."""


def connection(conn: Connection, now: float) -> Json:
    """One connection; counters of a tuple are software plus hardware, `hw` is hardware's share."""
    return {
        "id": conn.id,
        "zone": conn.zone,
        "proto": protocol_name(conn.proto),
        "state": conn.state_name,
        "timeout": max(0.0, round(conn.expires - now, 3)),
        "assured": conn.assured,
        "seen_reply": conn.seen_reply,
        "mark": conn.mark,
        "label": f"{conn.label:#x}",
        "helper": conn.helper,
        "timeout_policy": conn.timeout_policy,
        "original": _tuple(conn, conn.original, 0),
        "reply": _tuple(conn, conn.reply, 1),
        "hw": {
            name: {"packets": conn.hw_packets[d], "bytes": conn.hw_bytes[d]}
            for d, name in enumerate(("original", "reply"))
        },
        "window": _window(conn),
        "offloaded": conn.offload is not None,
        "offload_reason": conn.offload_reason,
        "line": conntrack_line(conn, now),
    }


def _protocol(proto: int) -> str:
    name = protocol_name(proto)
    return name if name != "unknown" else str(proto)


def _window(conn: Connection) -> Json | None:
    """TCP windows by sender as last known; None if they are not known of both."""
    known = None if conn.tcp is None else export_windows(conn.tcp)
    if known is None:
        return None
    names = ("end", "max_end", "max_win", "max_ack", "scale")
    return {
        side: dict(zip(names, values, strict=True))
        for side, values in zip(("original", "reply"), known, strict=True)
    }


def _tuple(conn: Connection, own: Tuple, direction: int) -> Json:
    return {
        "src": format_ip(own.src),
        "dst": format_ip(own.dst),
        "sport": own.sport,
        "dport": own.dport,
        "packets": conn.packets[direction] + conn.hw_packets[direction],
        "bytes": conn.bytes[direction] + conn.hw_bytes[direction],
    }


def record(rec: Record, ports: PortTable, now: float) -> Json:
    """One offload record: two entries, in the vocabulary of `dpctl/dump-flows`."""
    directions: list[Json] = []
    for direction, half in enumerate(rec.halves):
        packets, octets = rec.last[direction]
        comes_up = rec.one_way and direction == 1
        directions.append(
            {
                "direction": ("original", "reply")[direction],
                "in_port": ports.name(half.l2.vport),
                "eth_src": format_mac(half.l2.eth_src),
                "eth_dst": format_mac(half.l2.eth_dst),
                "src": format_ip(half.src),
                "dst": format_ip(half.dst),
                "sport": half.sport,
                "dport": half.dport,
                "output": "controller" if comes_up else ports.name(half.out_vport),
                "push_vlan": None if comes_up else half.next_hop.vlan,
                "path": rec.paths[direction].id if rec.paths is not None else 0,
                "flows": [flow.id for flow in half.flows],
                "packets": packets,
                "bytes": octets,
            }
        )
    half = rec.halves[0]
    return {
        "index": rec.index,
        "generation": rec.generation,
        "state": rec.state.value,
        "proto": protocol_name(half.proto),
        "version": half.version,
        "zones": [member.connection.zone for member in rec.members],
        "connections": [member.connection.id for member in rec.members],
        "age": round(now - rec.installed_at, 3) if rec.installed_at else 0.0,
        "used": round(now - rec.last_seen, 3) if rec.last_seen else 0.0,
        "idle_timeout": rec.timeout,
        "checks_window": rec.checks_window,
        "cause": rec.cause,
        "entries": directions,
    }


def stateless_flow(item: StatelessFlow, ports: PortTable) -> Json:
    """One entry of the `flow` table; fields that it does not match are null."""
    key = item.key
    v6 = key.ether_type is not None and key.ether_type[0] == ETH_IPV6

    def address(masked: Masked | None) -> str | None:
        return None if masked is None else format_ip(masked[0].to_bytes(16 if v6 else 4, "big"))

    def mac(masked: Masked | None) -> str | None:
        return None if masked is None else format_mac(masked[0].to_bytes(6, "big"))

    def number(masked: Masked | None) -> int | None:
        return None if masked is None else masked[0]

    return {
        "in_port": ports.name(key.vport),
        "eth_src": mac(key.eth_src),
        "eth_dst": mac(key.eth_dst),
        "eth_type": number(key.ether_type),
        "src": address(key.src),
        "dst": address(key.dst),
        "proto": number(key.proto),
        "sport": number(key.sport),
        "dport": number(key.dport),
        "output": ports.name(item.next_hop.vport),
        "state": item.state.value,
        "packets": item.counts[0],
        "bytes": item.counts[1],
    }


def vport(item: Vport, ports: PortTable, rows: SharedRows[NextHopKey]) -> Json:
    """One vport: where it is, and its next hop (0: no entry sends there) with the entries of it."""
    key = NextHopKey(item.id)
    return {
        "id": item.id,
        "name": item.name,
        "kind": item.kind,
        "port": item.port,
        "vlan": item.vlan,
        "mtu": item.mtu,
        "vxlan": None if item.vxlan is None else msgspec.to_builtins(item.vxlan),
        "tunnel_vport": ports.tunnel_number(item.id),
        "next_hop": rows.number(key) or 0,
        "entries": rows.users(key),
    }


def flow(item: Flow) -> Json:
    """One flow; n_packets and n_bytes are software plus hardware, hw_* hardware's share."""
    return {
        "id": item.id,
        "table": item.table,
        "priority": item.priority,
        "cookie": item.cookie,
        "n_packets": item.n_packets + item.hw_packets,
        "n_bytes": item.n_bytes + item.hw_bytes,
        "hw_packets": item.hw_packets,
        "hw_bytes": item.hw_bytes,
    }


def change(done: FlowChange) -> Json:
    """What a change of the policy did."""
    return {"added": len(done.added), "removed": len(done.removed)}


def expectation(expected: Expectation, now: float) -> Json:
    """One expected connection; its source port is open."""
    wanted, parent = expected.tuple, expected.parent
    name = _protocol(wanted.proto)
    first = Tuple(wanted.version, wanted.proto, wanted.src, wanted.dst, 0, wanted.dport)
    return {
        "zone": wanted.zone,
        "proto": name,
        "src": format_ip(wanted.src),
        "dst": format_ip(wanted.dst),
        "dport": wanted.dport,
        "timeout": max(0.0, round(expected.deadline - now, 3)),
        "helper": parent.helper,
        "parent": parent.id,
        "line": f"{name},orig=({dpctl_tuple(first)}),parent=({dpctl_tuple(parent.original)})",
    }


def source(item: Source) -> Json:
    """Who opened connections, and how many."""
    return {
        "address": format_ip(item.address),
        "zone": item.zone,
        "connections": item.connections,
        "unreplied": item.unreplied,
    }


def _limits(limits: Limits) -> Json:
    return {name: getattr(limits, name) for name in LIMITS}


def conntrack_stats(controller: Controller) -> Json:
    """How many connections there are, by what they are; `counters`: events since the start."""
    tracker = controller.tracker
    fragments = controller.pipeline.fragments
    return {
        "total": len(tracker),
        "limit": tracker.max_connections,
        "limits": {
            "unreplied": tracker.max_unreplied,
            "zone": _limits(tracker.limits),
            "zones": {str(zone): _limits(own) for zone, own in tracker.limits.zones.items()},
        },
        "by_protocol": {_protocol(n): count for n, count in tracker.by_protocol.items()},
        "by_tcp_state": dict(sorted(tracker.by_tcp_state.items())),
        "by_protocol_and_state": {
            _protocol(proto): dict(sorted(states.items()))
            for proto, states in sorted(tracker.by_protocol_and_state.items())
        },
        "by_state": dict(sorted(tracker.by_state.items())),
        "by_zone": {str(zone): count for zone, count in sorted(tracker.by_zone.items())},
        "counters": {
            "seen": controller.connections_seen,
            **tracker.stats,
            "events_lost": controller.events.lost,
        },
        "kernel_sync": dict(controller.kernel_sync.stats) if controller.kernel_sync else {},
        "expectations": len(tracker.helpers.expectations),
        "fragments": {"waiting": len(fragments), "reassembled": fragments.packets},
    }


def ageing(controller: Controller) -> Json:
    """How idle connections are found; `latest`: seconds that the latest so far was late at most."""
    found: Json = {"by": controller.manager.options.ageing.value}
    sampler = controller.sampler
    if sampler is not None:
        sampling = sampler.sampling
        found["sampling"] = {
            "interval": sampling.interval,
            "exponent": sampling.exponent,
            "late_at_most": sampling.late_at_most,
            "latest": round(sampler.latest, 3),
            "looks": sampler.looks,
            "text": str(sampling),
        }
    return found


async def status(controller: Controller, fresh: bool) -> Json:
    """Totals since the controller started; `drops` of eswitch, pipeline and slow path by reason.

    `fresh`: the counters were read from the switch just now.
    """
    manager, slow, tracker = controller.manager, controller.slow_path, controller.tracker
    drops: dict[str, Json] = {"pipeline": dict(controller.pipeline.drops)}
    drops["slow_path"] = dict(slow.drops)
    eswitch_punts: Json = {}
    if fresh:
        eswitch = controller.switch.eswitch
        try:
            async with asyncio.timeout(COUNTERS_TIMEOUT):
                eswitch_drops = await eswitch.read_drop_counters()
                punts = await eswitch.read_punt_counters()
            drops["eswitch"] = {name: packets for name, (packets, _) in eswitch_drops.items()}
            eswitch_punts = {name: packets for name, (packets, _) in punts.items()}
        except (EswitchError, TimeoutError):
            fresh = False
    active = manager.tally.active_records
    flows = [item.state for item in manager.stateless.entries.values()]
    return {
        "target": {
            "address": controller.switch.name,
            "connected": controller.switch.ready,
            "standby": controller.switch.standby,
            "in_step": controller.in_step,
            "fresh": fresh,
            "sessions": controller.switch.sessions,
            "program_version": controller.switch.program.index.version,
        },
        "connections": {
            "active": len(tracker),
            "limit": tracker.max_connections,
            "seen": controller.connections_seen,
            "offloaded": active,
            "offloaded_total": manager.installed_total,
            "removed_total": sum(manager.removed.values()),
            "by_state": tracker.by_state,
            "by_zone": {str(zone): number for zone, number in tracker.by_zone.items()},
        },
        "packets": {
            "punted": slow.punted[0],
            "punted_bytes": slow.punted[1],
            "fast_path": manager.forwarded[0],
            "fast_path_bytes": manager.forwarded[1],
            "sent": slow.sent,
            "decapsulated": slow.wire.decapsulated,
            "too_big": dict(slow.wire.too_big),
            "fragments": {
                "waiting": len(controller.pipeline.fragments),
                "reassembled": controller.pipeline.fragments.packets,
            },
        },
        "punts": dict(slow.punts),
        "punts_by_vport": slow.punts_by_vport,
        "eswitch_punts": eswitch_punts,
        "drops": drops,
        "conntrack": dict(tracker.stats),
        "offload": {
            "capacity": manager.pool.capacity,
            "ageing": ageing(controller),
            "removed": dict(manager.removed),
            "withdrawn": dict(manager.withdrawn),
            "failed": dict(manager.failed),
            "not_offloaded": dict(manager.tally.by_reason),
            "drift": dict(manager.drift),
            "in_flight": len(manager.records)
            - active
            + len(flows)
            - flows.count(RecordState.ACTIVE),
            "held_packets": slow.held,
        },
        "entries": manager.tally.entries,
        "shared_rows": len(manager.l2_rows) + len(manager.next_hops),
        "stateless": {
            "flows": len(flows),
            "capacity": manager.stateless.capacity,
            "installed_total": manager.stateless.installed_total,
            "removed": dict(manager.stateless.removed),
            "failed": dict(manager.stateless.failed),
        },
        "pending": len(manager.pending),
        "policy_version": controller.pipeline.version,
        "flows": len(controller.pipeline.flows),
        "p4runtime": _p4runtime(controller.switch.client),
    }


def _p4runtime(client: P4RuntimeClient) -> Json:
    """Messages to and from the target; `latency`: [seconds, Writes that took so long at most]."""
    writes, stream = client.writes, client.stats
    return {
        "writes": writes.batches,
        "updates": writes.updates,
        "updates_failed": writes.failed,
        "write_seconds": round(writes.seconds, 6),
        "latency": writes.at_most(),
        "packet_ins": stream.packet_ins,
        "packet_ins_malformed": stream.packet_ins_malformed,
        "packet_outs": stream.packet_outs,
        "packet_outs_dropped": stream.packet_outs_dropped,
        "idle_notifications": stream.idle_notifications,
    }

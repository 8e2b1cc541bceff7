# SPDX-License-Identifier: Apache-2.0
"""The totals of `p4ct status` and `p4ct conntrack stats` as metrics of Prometheus.

The numbers are those of `p4ct.daemon.views`; here they only get names and units, by the rules of
Prometheus, and labels.  Labels have few values (vports, protocols, states, zones, the fixed parts
of reasons), never a connection.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric

from p4ct.offload.tally import in_short

__all__ = ["MOST_VALUES", "MOST_ZONES", "OTHER", "families"]

Json = Mapping[str, Any]
Counts = Mapping[str, int]

MOST_VALUES = 100
"""Values of a label that names a reason; those that come later are counted under OTHER."""
MOST_ZONES = 500
"""Zones that are told apart, those with most connections; the others together are OTHER."""
OTHER = "other"
POLICER = "POLICER_"
"""How the eswitch's drop reasons begin that are the policer's; then follows its class."""


def families(status: Json, stats: Json, version: str) -> Iterator[Metric]:
    """All metrics of a moment.

    `status`, `stats`: answers of `p4ct status --json` and `p4ct conntrack stats --json`; `version`
    of this package. What the switch counts by itself is left out if it could not be read.
    """
    target = status["target"]
    yield InfoMetricFamily(
        "p4ct_build",
        "Versions of the controller and of the program in the switch",
        value={"version": version, "program_version": str(target["program_version"])},
    )
    yield from _target(target, status["p4runtime"])
    yield from _packets(status)
    yield from _connections(status, stats)
    yield from _offload(status)
    yield from _stateless(status["stateless"])
    yield _gauge("p4ct_policy_version", "Changes of the policy", status["policy_version"])
    yield _gauge("p4ct_policy_flows", "Flows of the policy", status["flows"])


def _target(target: Json, p4runtime: Json) -> Iterator[Metric]:
    yield _gauge(
        "p4ct_target_connected",
        "Whether the session with the switch is up, and this controller primary",
        target["connected"],
    )
    yield _gauge("p4ct_target_standby", "Whether another controller is primary", target["standby"])
    yield _gauge(
        "p4ct_target_in_step",
        "Whether the controller knows what the switch holds",
        target["in_step"],
    )
    yield _counter("p4ct_target_sessions", "Sessions with the switch so far", target["sessions"])
    latency = HistogramMetricFamily(
        "p4ct_p4runtime_write_duration_seconds", "Time until the switch answered a Write"
    )
    buckets = [(str(bound), count) for bound, count in p4runtime["latency"]]
    buckets.append(("+Inf", p4runtime["writes"]))
    latency.add_metric((), buckets, p4runtime["write_seconds"])
    yield latency
    for key, name, what in (
        ("updates", "p4runtime_updates", "Inserts, modifies and deletes asked of the switch"),
        ("updates_failed", "p4runtime_updates_failed", "Updates that the switch did not carry out"),
        ("packet_ins", "packet_ins", "Packet-ins, barriers and answers of registers included"),
        ("packet_ins_malformed", "packet_ins_malformed", "Packet-ins with an unknown header"),
        ("packet_outs", "packet_outs", "Packet-outs given to the stream"),
        ("packet_outs_dropped", "packet_outs_dropped", "Packet-outs the stream had no room for"),
        ("idle_notifications", "idle_notifications", "Idle timeouts that the switch announced"),
    ):
        yield _counter(f"p4ct_{name}", what, p4runtime[key])


def _packets(status: Json) -> Iterator[Metric]:
    packets = status["packets"]
    ways = (("hardware", "fast_path"), ("software", "punted"))
    for unit, suffix in (("packets", ""), ("bytes", "_bytes")):
        total = CounterMetricFamily(
            f"p4ct_{unit}",
            f"{unit.capitalize()} by what handled them: entries of the switch, as far as read, or "
            "the controller",
            labels=("path",),
        )
        for path, key in ways:
            total.add_metric((path,), packets[f"{key}{suffix}"])
        yield total
    punts = CounterMetricFamily(
        "p4ct_punts", "Packets that came up, by vport and reason", labels=("vport", "reason")
    )
    for vport, reasons in status["punts_by_vport"].items():
        for reason, number in reasons.items():
            punts.add_metric((vport, reason), number)
    yield punts
    yield _counter("p4ct_software_sent_packets", "Frames sent by the controller", packets["sent"])
    yield _counter(
        "p4ct_decapsulated_packets", "Packets taken out of a tunnel in software",
        packets["decapsulated"],
    )  # fmt: skip
    yield _labelled(
        CounterMetricFamily,
        "p4ct_too_big_packets",
        "Packets longer than the MTU of their output, by what became of them",
        "outcome",
        packets["too_big"],
    )
    yield _gauge(
        "p4ct_held_packets",
        "Packets that wait until entries are gone",
        status["offload"]["held_packets"],
    )
    yield _gauge(
        "p4ct_fragments_waiting",
        "Fragments that wait for others of their packet",
        packets["fragments"]["waiting"],
    )
    yield _counter(
        "p4ct_reassembled_packets",
        "Packets put together from fragments",
        packets["fragments"]["reassembled"],
    )
    yield from _drops(status["drops"])
    if status["target"]["fresh"]:
        yield _labelled(
            CounterMetricFamily,
            "p4ct_eswitch_punts",
            "Packets that the switch sent up, by its own count",
            "reason",
            status["eswitch_punts"],
        )


def _drops(by_place: Mapping[str, Counts]) -> Iterator[Metric]:
    drops = CounterMetricFamily(
        "p4ct_dropped_packets",
        "Packets dropped on purpose, by where and why; without the policer's",
        labels=("where", "reason"),
    )
    policer = CounterMetricFamily(
        "p4ct_policer_dropped_packets",
        "Packets that were to come up, beyond what the policer allows, by its class",
        labels=("class",),
    )
    for place, counts in by_place.items():
        others = {why: number for why, number in counts.items() if not why.startswith(POLICER)}
        for why, number in _bounded(others).items():
            drops.add_metric((place, why), number)
        for why, number in counts.items():
            if why.startswith(POLICER):
                policer.add_metric((why.removeprefix(POLICER).lower(),), number)
    yield drops
    if policer.samples:
        yield policer


def _connections(status: Json, stats: Json) -> Iterator[Metric]:
    connections = GaugeMetricFamily(
        "p4ct_connections", "Connections by protocol and state", labels=("protocol", "state")
    )
    for protocol, states in stats["by_protocol_and_state"].items():
        for state, number in states.items():
            connections.add_metric((protocol, state), number)
    yield connections
    by_zone = sorted(stats["by_zone"].items(), key=lambda item: (-item[1], int(item[0])))
    zones = dict(by_zone[:MOST_ZONES])
    if len(by_zone) > MOST_ZONES:
        zones[OTHER] = sum(number for _, number in by_zone[MOST_ZONES:])
    yield _labelled(
        GaugeMetricFamily, "p4ct_zone_connections", "Connections by zone", "zone", zones
    )
    yield _counter("p4ct_connections_seen", "Connections made so far", stats["counters"]["seen"])
    yield _gauge("p4ct_connections_limit", "Connections that there may be", stats["limit"])
    limits = stats["limits"]
    if limits["unreplied"] is not None:
        yield _gauge(
            "p4ct_unreplied_connections_limit",
            "Connections without an answer that there may be",
            limits["unreplied"],
        )
    zone_limits = GaugeMetricFamily(
        "p4ct_zone_limit",
        "Connections that a zone may have, and that one source may open in it",
        labels=("zone", "limit"),
    )
    for zone, own in [("default", limits["zone"]), *list(limits["zones"].items())[:MOST_ZONES]]:
        for name, value in own.items():
            if value is not None:
                zone_limits.add_metric((zone, name), value)
    yield zone_limits
    events = {name: n for name, n in stats["counters"].items() if name != "seen"}
    yield _labelled(
        CounterMetricFamily,
        "p4ct_conntrack_events",
        "Invalid packets, connections that made way or were refused, and the like",
        "event",
        events,
    )
    yield _gauge("p4ct_expectations", "Connections that helpers wait for", stats["expectations"])
    yield _labelled(
        GaugeMetricFamily,
        "p4ct_not_offloaded_connections",
        "Connections that the switch does not forward by itself, by reason",
        "reason",
        status["offload"]["not_offloaded"],
    )


def _offload(status: Json) -> Iterator[Metric]:
    offload, connections = status["offload"], status["connections"]
    yield _gauge("p4ct_offload_records", "Records whose entries forward", connections["offloaded"])
    yield _gauge(
        "p4ct_offload_records_in_flight",
        "Records and stateless flows that are being installed or removed",
        offload["in_flight"],
    )
    yield _gauge("p4ct_offload_capacity", "Records that there may be", offload["capacity"])
    yield _gauge("p4ct_offload_entries", "Entries of connections in the switch", status["entries"])
    yield _gauge(
        "p4ct_offload_pending", "Connections that wait for a free record", status["pending"]
    )
    yield _counter("p4ct_offload_installs", "Records installed", connections["offloaded_total"])
    sampling = offload["ageing"].get("sampling")
    if sampling is not None:
        yield from _sampling(sampling)
    for key, name, what in (
        ("removed", "removals", "Records that forwarded and were removed"),
        ("withdrawn", "withdrawals", "Records taken back before they forwarded"),
        ("failed", "failures", "Records that the switch refused, by its code"),
        ("drift", "drift", "What was found in the switch that should not have been, or missed"),
    ):
        label = "code" if key == "failed" else "cause"
        yield _labelled(CounterMetricFamily, f"p4ct_offload_{name}", what, label, offload[key])


def _sampling(sampling: Json) -> Iterator[Metric]:
    yield _counter("p4ct_sampling_readings", "Records read to see their age", sampling["looks"])
    yield _gauge(
        "p4ct_sampling_lateness_seconds",
        "From the end of a record's timeout until that was noticed, at most, the longest so far",
        sampling["latest"],
    )
    yield _gauge(
        "p4ct_sampling_lateness_limit_seconds",
        "What that may be, besides the time that switch and controller take",
        sampling["late_at_most"],
    )


def _stateless(stateless: Json) -> Iterator[Metric]:
    yield _gauge("p4ct_stateless_flows", "Entries for traffic without ct()", stateless["flows"])
    yield _gauge(
        "p4ct_stateless_capacity", "Stateless flows that there may be", stateless["capacity"]
    )
    yield _counter(
        "p4ct_stateless_installs", "Stateless flows installed", stateless["installed_total"]
    )
    for key, name, what in (
        ("removed", "removals", "Stateless flows removed"),
        ("failed", "failures", "Stateless flows that were not installed"),
    ):
        yield _labelled(
            CounterMetricFamily, f"p4ct_stateless_{name}", what, "cause", stateless[key]
        )


def _gauge(name: str, what: str, value: float) -> Metric:
    return GaugeMetricFamily(name, what, value=float(value))


def _counter(name: str, what: str, value: float) -> Metric:
    return CounterMetricFamily(name, what, value=float(value))


def _labelled(
    kind: type[GaugeMetricFamily | CounterMetricFamily],
    name: str,
    what: str,
    label: str,
    counts: Counts,
) -> Metric:
    family = kind(name, what, labels=(label,))
    if label != "zone":
        counts = _bounded(_in_short(counts))
    for value, number in counts.items():
        family.add_metric((value,), number)
    return family


def _in_short(counts: Counts) -> Counts:
    """Counts by the fixed part of their reasons."""
    result: Counter[str] = Counter()
    for reason, number in counts.items():
        result[in_short(reason)] += number
    return result


def _bounded(counts: Counts) -> Counts:
    """At most MOST_VALUES counts, those that came first, and the rest in one.

    So what is counted by itself stays so, and no sum ever becomes smaller.
    """
    first = dict(islice(counts.items(), MOST_VALUES))
    if len(counts) > MOST_VALUES:
        first[OTHER] = sum(counts.values()) - sum(first.values())
    return first

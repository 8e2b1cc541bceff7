# SPDX-License-Identifier: Apache-2.0
"""Totals as metrics: names, units, labels, and how many values a label may have."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from p4ct.conntrack.table import ConnectionTable
from p4ct.daemon import metrics, views
from p4ct.daemon.metrics import MOST_VALUES, MOST_ZONES, OTHER, families
from p4ct.eswitch.enums import PuntReason
from p4ct.p4runtime.write_stats import BOUNDS, WriteStats
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from .bench import ROOT, controller_of, write_config

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


class Found(Collector):
    def __init__(self, found: Iterable[Metric]) -> None:
        self.found = list(found)

    def collect(self) -> list[Metric]:
        return self.found


def scraped(found: Iterable[Metric]) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Samples by name and labels, through the text format and its parser."""
    registry = CollectorRegistry()
    registry.register(Found(found))
    samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in samples, f"twice: {key}"
            samples[key] = sample.value
    return samples


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


def has(samples: Samples, name: str) -> bool:
    return any(found == name for found, _ in samples)


def totals(tmp_path: Path, more: str = "") -> tuple[Any, Any]:
    """Totals of a controller without a target, after `punts` and drops were put in by hand."""

    async def main() -> tuple[Any, Any]:
        controller = controller_of(write_config(tmp_path, more=more))
        slow = controller.slow_path
        slow.punt_counts.update({(1, int(PuntReason.MISS)): 3, (3, int(PuntReason.MISS)): 2})
        slow.punt_counts.update({(0, int(PuntReason.UNKNOWN_VPORT)): 4, (7, 200): 1})
        slow.punted = (10, 1000)
        controller.manager.forwarded = (90, 9000)
        controller.pipeline.drops["action drop"] = 6
        slow.drops["packet-out queue full"] = 7
        controller.manager.removed.update({"TCP LAST_ACK": 2, "flushed": 1})
        controller.manager.failed["RESOURCE_EXHAUSTED"] = 5
        controller.switch.client.writes.add(0.003, updates=10, failed=1)
        controller.switch.client.writes.add(99.0, updates=1, failed=1)
        return await views.status(controller, False), views.conntrack_stats(controller)

    return asyncio.run(main())


def test_numbers_of_the_status_are_those_of_the_metrics(tmp_path: Path) -> None:
    limits = "[conntrack.limits]\nper_source = 9\n[conntrack.zone.5]\nconnections = 50\n"
    status, stats = totals(tmp_path, limits)
    seen = scraped(families(status, stats, "1.2.3"))
    assert value(seen, "p4ct_punts_total", vport="vm1", reason="MISS") == 3
    assert value(seen, "p4ct_punts_total", vport="ext", reason="MISS") == 2
    assert value(seen, "p4ct_punts_total", vport="unknown", reason="UNKNOWN_VPORT") == 4
    assert value(seen, "p4ct_punts_total", vport="unknown", reason="REASON_200") == 1
    assert status["punts"] == {"MISS": 5, "UNKNOWN_VPORT": 4, "REASON_200": 1}
    assert value(seen, "p4ct_packets_total", path="hardware") == 90
    assert value(seen, "p4ct_bytes_total", path="hardware") == 9000
    assert value(seen, "p4ct_packets_total", path="software") == 10
    assert value(seen, "p4ct_bytes_total", path="software") == 1000
    dropped = "p4ct_dropped_packets_total"
    assert value(seen, dropped, where="pipeline", reason="action drop") == 6
    assert value(seen, dropped, where="slow_path", reason="packet-out queue full") == 7
    assert value(seen, "p4ct_offload_removals_total", cause="TCP LAST_ACK") == 2
    assert value(seen, "p4ct_offload_failures_total", code="RESOURCE_EXHAUSTED") == 5
    assert value(seen, "p4ct_target_connected") == 0
    assert value(seen, "p4ct_offload_capacity") == status["offload"]["capacity"] > 0
    assert value(seen, "p4ct_connections_limit") == 262144
    assert value(seen, "p4ct_unreplied_connections_limit") == 131072
    assert value(seen, "p4ct_zone_limit", zone="default", limit="per_source") == 9
    assert value(seen, "p4ct_zone_limit", zone="5", limit="connections") == 50
    assert value(seen, "p4ct_p4runtime_write_duration_seconds_count") == 2
    assert value(seen, "p4ct_p4runtime_write_duration_seconds_sum") == 99.003
    assert value(seen, "p4ct_p4runtime_write_duration_seconds_bucket", le="0.0025") == 0
    assert value(seen, "p4ct_p4runtime_write_duration_seconds_bucket", le="0.005") == 1
    assert value(seen, "p4ct_p4runtime_write_duration_seconds_bucket", le="10.0") == 1
    assert value(seen, "p4ct_p4runtime_write_duration_seconds_bucket", le="+Inf") == 2
    assert value(seen, "p4ct_p4runtime_updates_failed_total") == 2
    version = status["target"]["program_version"]
    assert value(seen, "p4ct_build_info", version="1.2.3", program_version=version) == 1


def test_sampling_has_metrics_where_it_is_done(tmp_path: Path) -> None:
    assert not has(scraped(families(*totals(tmp_path), "")), "p4ct_sampling_readings_total")
    how = '[offload]\nageing = "sampling"\nsample_interval = 2\nsample_exponent = 3\n'
    status, stats = totals(tmp_path, how)
    status["offload"]["ageing"]["sampling"].update(looks=7, latest=3.5)
    seen = scraped(families(status, stats, ""))
    assert value(seen, "p4ct_sampling_readings_total") == 7
    assert value(seen, "p4ct_sampling_lateness_seconds") == 3.5
    assert value(seen, "p4ct_sampling_lateness_limit_seconds") == 18


def test_what_only_the_switch_knows_is_left_out_while_it_is_away(tmp_path: Path) -> None:
    status, stats = totals(tmp_path)
    away = scraped(families(status, stats, ""))
    assert not has(away, "p4ct_eswitch_punts_total")
    assert not has(away, "p4ct_policer_dropped_packets_total")
    status["target"]["fresh"] = True
    status["eswitch_punts"] = {"MISS": 8}
    status["drops"]["eswitch"] = {"POLICER_SYN": 11, "POLICER_MISS": 0, "NEXT_HOP": 1}
    there = scraped(families(status, stats, ""))
    assert value(there, "p4ct_eswitch_punts_total", reason="MISS") == 8
    assert value(there, "p4ct_policer_dropped_packets_total", **{"class": "syn"}) == 11
    assert value(there, "p4ct_policer_dropped_packets_total", **{"class": "miss"}) == 0
    assert value(there, "p4ct_dropped_packets_total", where="eswitch", reason="NEXT_HOP") == 1
    names = {labels for name, labels in there if name == "p4ct_dropped_packets_total"}
    assert not any("POLICER" in str(labels) for labels in names), "counted once"


def test_labels_have_few_values(tmp_path: Path) -> None:
    status, stats = totals(tmp_path)
    zones = range(MOST_ZONES + 300)
    stats["by_zone"] = {str(zone): 1 + (zone == 777) for zone in zones}
    status["drops"]["pipeline"] = {f"no flow in table {n}": 1 for n in range(MOST_VALUES + 5)}
    status["offload"]["removed"] = {f"{n}": 1 for n in range(MOST_VALUES + 7)}
    status["offload"]["not_offloaded"] = {"closing": 2}
    status["offload"]["drift"] = {f"no longer allowed: {n}": 1 for n in range(1000)}
    seen = scraped(families(status, stats, ""))

    def with_name(name: str) -> dict[frozenset[tuple[str, str]], float]:
        return {labels: number for (found, labels), number in seen.items() if found == name}

    by_zone = with_name("p4ct_zone_connections")
    assert len(by_zone) == MOST_ZONES + 1
    assert sum(by_zone.values()) == len(zones) + 1
    assert value(seen, "p4ct_zone_connections", zone="777") == 2
    assert value(seen, "p4ct_zone_connections", zone=OTHER) == 300
    assert value(seen, "p4ct_dropped_packets_total", where="pipeline", reason=OTHER) == 5
    assert value(seen, "p4ct_offload_removals_total", cause=OTHER) == 7
    assert with_name("p4ct_offload_drift_total") == {
        frozenset({("cause", "no longer allowed")}): 1000
    }
    assert value(seen, "p4ct_not_offloaded_connections", reason="closing") == 2


def test_a_sum_never_becomes_smaller_when_a_reason_is_new() -> None:
    counts = {f"{n}": n for n in range(MOST_VALUES)}
    before = dict(metrics._bounded(counts))
    counts["new"] = 10**6
    after = metrics._bounded(counts)
    assert {name: after[name] for name in before} == before
    assert after[OTHER] == 10**6


UNITS = ("_total", "_seconds", "_bytes", "_info")


def test_names_follow_the_conventions_and_each_is_in_the_docs(tmp_path: Path) -> None:
    status, stats = totals(tmp_path, '[offload]\nageing = "sampling"\n')
    status["target"]["fresh"] = True
    status["drops"]["eswitch"] = {"POLICER_SYN": 1}
    page = (ROOT / "docs/metrics.md").read_text()
    listed = set(re.findall(r"^\| `(p4ct_\w+)", page, re.MULTILINE))
    names: set[str] = set()
    for family in families(status, stats, ""):
        assert re.fullmatch(r"p4ct_[a-z0-9]+(_[a-z0-9]+)*", family.name)
        assert family.documentation
        assert family.type in ("counter", "gauge", "histogram", "info")
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        names.add(family.name + suffix)
    assert listed == names


@pytest.mark.parametrize(("seconds", "bound"), [(0.0, 0), (0.0005, 0), (0.0006, 1), (11.0, 14)])
def test_latency_classes(seconds: float, bound: int) -> None:
    stats = WriteStats()
    stats.add(seconds, 1, 0)
    expected = [0] * bound + [1] * (len(BOUNDS) - bound)
    assert [count for _, count in stats.at_most()] == expected
    assert stats.batches == 1


def test_a_scrape_walks_neither_connections_nor_records(tmp_path: Path, monkeypatch) -> None:
    class NotWalked(dict[int, Any]):
        def __iter__(self) -> Any:
            raise AssertionError("walked")

        values = items = keys = __iter__

    monkeypatch.setattr(ConnectionTable, "portions", NotWalked.__iter__)

    async def main() -> None:
        controller = controller_of(write_config(tmp_path))
        controller.manager.records = NotWalked()
        controller.manager.of_connection = NotWalked()
        status, stats = await views.status(controller, False), views.conntrack_stats(controller)
        assert scraped(families(status, stats, ""))

    asyncio.run(main())

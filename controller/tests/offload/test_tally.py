# SPDX-License-Identifier: Apache-2.0
"""What is counted along the way equals what is found by looking at everything."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from p4ct.offload import reasons
from p4ct.offload.record import RecordState
from p4ct.offload.tally import in_short

from .model import DENY_ALL, POLICY, World
from .test_properties import STEPS, Driver, new_world


def check(world: World) -> None:
    manager = world.manager
    found = Counter(in_short(c.offload_reason) for c in world.connections() if c.offload_reason)
    assert manager.tally.by_reason == found
    assert all(manager.tally.by_reason.values()), "no count of 0 stays"
    records = manager.records.values()
    assert manager.tally.active_records == sum(r.state is RecordState.ACTIVE for r in records)
    assert manager.tally.entries == sum(sum(record.installed) for record in records)
    assert manager.tally.entries == len(world.switch.ct)


@settings(deadline=None, max_examples=60)
@given(STEPS, st.integers(1, 3), st.sampled_from(["policy", "reconcile", "lost", "refuse", "none"]))
def test_counts_are_right_after_every_step(
    steps: list[tuple[object, ...]], capacity: int, event: str
) -> None:
    world = new_world(capacity=capacity)
    driver = Driver(world)
    for number, step in enumerate(steps):
        driver.step(step)
        check(world)
        if number != len(steps) // 2:
            continue
        if event == "policy":
            world.change_policy(DENY_ALL)
            world.rounds()
            world.pipeline.replace(world.flows(POLICY), world.now)
        elif event == "reconcile":
            world.reconcile()
        elif event == "lost":
            world.switch.ct.clear()
            world.reconcile()
        elif event == "refuse":
            world.switch.refuse = {"CtEntry": "RESOURCE_EXHAUSTED"}
            world.switch.refuse_direction = number % 2
        check(world)


@pytest.mark.parametrize(
    ("reason", "short"),
    [
        (reasons.FULL + " (5 of 5 records)", reasons.FULL),
        (f"{reasons.INSTALL_FAILED}: RESOURCE_EXHAUSTED ct_v4 is full", reasons.INSTALL_FAILED),
        ("more than one output: vm1, ext", "more than one output"),
        ("invalid in zone 65535: a SYN", "invalid"),
        ("ICMP error related to a connection of zone 7", "ICMP error related to a connection"),
        ("looks at nw_tos", "looks at nw_tos"),
        (reasons.SHARED, reasons.SHARED),
    ],
)
def test_details_are_left_out(reason: str, short: str) -> None:
    assert in_short(reason) == short

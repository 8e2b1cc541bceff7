# SPDX-License-Identifier: Apache-2.0
"""Idle timeouts, on a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable

from softswitch.api import Entry
from softswitch.dataplane import Dataplane
from softswitch.program import Program

from .builder import Builder
from .conftest import Runner

SECOND = 1_000_000_000
KEY = ((5, 255),)


def idle_program(run: Runner) -> Dataplane:
    builder = Builder({"h": [("a", 8)]})
    act = builder.action("act", [])
    builder.table("t", [("h", "a", "exact")], [act], support_timeout=True, max_size=9000)
    return run(builder)


def at(plane: Dataplane, seconds: float) -> list[tuple[str, tuple[tuple[int, int], ...], float]]:
    now = int(seconds * SECOND)
    plane.set_clock_ns(now)
    return [
        (table, entry.key, entry.time_since_last_hit_ns / SECOND)
        for table, entry in plane.idle_entries()
    ]


def test_notified_once_each_timeout_while_idle(run: Runner) -> None:
    plane = idle_program(run)
    plane.insert("t", Entry(KEY, "act", idle_timeout_ns=3 * SECOND))
    plane.insert("t", Entry(((6, 255),), "act"))  # no timeout: never
    assert at(plane, 3.9) == []
    assert at(plane, 4.0) == [("t", KEY, 3.0)]
    assert at(plane, 5.0) == []
    assert at(plane, 6.9) == []
    assert at(plane, 7.0) == [("t", KEY, 6.0)]


def test_a_hit_starts_the_timeout_again(run: Runner) -> None:
    plane = idle_program(run)
    plane.insert("t", Entry(KEY, "act", idle_timeout_ns=3 * SECOND))
    plane.set_clock_ns(3 * SECOND)
    plane.inject(0, b"\x05")
    assert at(plane, 5.9) == []
    assert at(plane, 6.0) == [("t", KEY, 3.0)]
    plane.inject(0, b"\x05")
    assert at(plane, 8.9) == []
    assert at(plane, 9.0) == [("t", KEY, 3.0)]


def test_modify_starts_the_new_timeout_and_keeps_the_last_hit(run: Runner) -> None:
    plane = idle_program(run)
    plane.insert("t", Entry(KEY, "act", idle_timeout_ns=3 * SECOND))
    plane.set_clock_ns(2 * SECOND)
    plane.modify("t", Entry(KEY, "act", idle_timeout_ns=5 * SECOND))
    assert at(plane, 6.9) == []
    assert at(plane, 7.0) == [("t", KEY, 6.0)]
    plane.delete("t", KEY)
    assert at(plane, 60.0) == []


def test_a_sweep_goes_over_the_whole_table(run: Runner) -> None:
    builder = Builder({"h": [("a", 16)]})
    act = builder.action("act", [])
    builder.table("t", [("h", "a", "exact")], [act], support_timeout=True, max_size=9000)
    plane = run(builder)
    for i in range(9000):
        plane.insert("t", Entry(((i, 0xFFFF),), "act", idle_timeout_ns=SECOND))
    assert len(at(plane, 3)) == 9000


def test_waiting_ends_when_the_data_plane_stops(run: Runner) -> None:
    plane = idle_program(run)
    plane.stop()
    assert plane.wait_idle(60) == []
    assert plane.wait_packet_ins(60) == []


def test_a_program_that_is_replaced_during_a_sweep_has_no_idle_entries(
    run: Runner, load: Callable[[Builder | bytes], Program]
) -> None:
    plane = idle_program(run)
    plane.insert("t", Entry(KEY, "act", idle_timeout_ns=3 * SECOND))
    former = plane._loaded  # pyright: ignore[reportPrivateUsage]
    plane.load(load(Builder({"h": [("a", 8)]})))
    plane._loaded = former  # pyright: ignore[reportPrivateUsage]
    assert at(plane, 10.0) == []

# SPDX-License-Identifier: Apache-2.0
"""Python's collector does not visit connections that are there to stay."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from p4ct.daemon.collector import Collector


@pytest.fixture(autouse=True)
def thaw() -> Iterator[None]:
    gc.unfreeze()
    yield
    gc.unfreeze()


def visited(items: list[list[int]]) -> int:
    known = {id(item) for item in gc.get_objects()}
    return sum(id(item) in known for item in items)


def test_what_a_full_collection_leaves_is_not_visited_again() -> None:
    live: list[list[int]] = []
    collector = Collector(lambda: len(live), few=100)
    collector.start()
    try:
        live += [[0] for _ in range(99)]
        gc.collect()
        assert visited(live) == 99  # few: they may still be garbage some day
        live.append([0])
        gc.collect(1)
        assert visited(live) == 100
        gc.collect()
        assert visited(live) == 0
        live += [[0] for _ in range(50)]
        assert visited(live) == 50
        for _ in range(100):
            collector.connection_made()
        assert visited(live) == 0
    finally:
        collector.stop()
    live += [[0]]
    gc.collect()
    assert visited(live) == 1

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


def test_every_step_the_old_are_frozen() -> None:
    live: list[list[int]] = []
    collector = Collector(lambda: len(live), step=100)
    for _ in range(250):
        live.append([0])
        collector.connection_made()
    visited = {id(item) for item in gc.get_objects()}
    assert [id(item) in visited for item in live] == [False] * 200 + [True] * 50
    assert gc.get_freeze_count() > 200


def test_nothing_is_frozen_while_there_are_few() -> None:
    collector = Collector(lambda: 99, step=100)
    for _ in range(1000):
        collector.connection_made()
    assert gc.get_freeze_count() == 0

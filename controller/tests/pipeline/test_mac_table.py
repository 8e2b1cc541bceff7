# SPDX-License-Identifier: Apache-2.0
"""MAC learning: ageing, moves, bounds."""

from __future__ import annotations

import pytest
from p4ct.pipeline import MacTable


def mac(number: int) -> bytes:
    return number.to_bytes(6, "big")


def test_learn_lookup_and_vlans() -> None:
    table = MacTable()
    assert table.learn(0, mac(1), 5, 0.0) == (True, None)
    assert table.learn(0, mac(1), 5, 1.0) == (False, None)
    assert table.lookup(0, mac(1), 2.0) == 5
    assert table.lookup(7, mac(1), 2.0) is None
    assert table.learn(7, mac(1), 6, 2.0) == (True, None)
    assert table.lookup(0, mac(1), 2.0) == 5


def test_move() -> None:
    table = MacTable()
    table.learn(0, mac(1), 5, 0.0)
    assert table.learn(0, mac(1), 6, 1.0) == (True, 5)
    assert table.lookup(0, mac(1), 1.0) == 6
    assert table.counts == {"learned": 1, "moved": 1}
    # also at the very instant of the last sighting
    assert table.learn(0, mac(1), 7, 1.0) == (True, 6)
    assert table.lookup(0, mac(1), 1.0) == 7


def test_ageing() -> None:
    table = MacTable(max_age=300.0)
    table.learn(0, mac(1), 5, 0.0)
    table.learn(0, mac(2), 5, 100.0)
    table.learn(0, mac(1), 5, 200.0)
    assert table.lookup(0, mac(2), 399.9) == 5
    assert table.lookup(0, mac(2), 400.0) is None
    assert table.expire(400.0) == [(0, mac(2))]
    assert len(table) == 1
    assert table.expire(499.0) == []
    assert table.expire(500.0) == [(0, mac(1))]
    assert table.counts["expired"] == 2
    assert table.expire(501.0) == []


def test_an_aged_entry_that_returns_elsewhere_is_learned_not_moved() -> None:
    table = MacTable(max_age=300.0)
    table.learn(0, mac(1), 5, 0.0)
    assert table.learn(0, mac(1), 6, 300.0) == (True, None)
    assert table.counts == {"learned": 2, "expired": 1}


def test_refresh_by_hardware() -> None:
    table = MacTable(max_age=300.0)
    table.learn(0, mac(1), 5, 0.0)
    assert table.refresh(0, mac(1), 5, 299.0)
    assert table.lookup(0, mac(1), 500.0) == 5
    assert not table.refresh(0, mac(1), 6, 500.0)
    assert table.lookup(0, mac(1), 500.0) == 5
    assert not table.refresh(0, mac(1), 5, 599.0)


def test_full_table_evicts_the_oldest_of_the_largest_port() -> None:
    table = MacTable(capacity=4)
    table.learn(0, mac(1), 1, 0.0)
    for number in (2, 3, 4):
        table.learn(0, mac(number), 2, float(number))
    table.learn(0, mac(2), 2, 5.0)
    assert table.learn(0, mac(9), 2, 6.0) == (True, None)
    assert [entry.mac for entry in table.entries(6.0)] == [mac(1), mac(2), mac(4), mac(9)]
    assert table.counts["evicted"] == 1
    assert len(table) == 4


def test_bounded_under_a_flood_of_sources() -> None:
    table = MacTable(capacity=10)
    table.learn(0, mac(0xFFFF), 1, 0.0)
    for number in range(1000):
        table.learn(0, mac(number), 2, number / 100)
    assert len(table) == 10
    assert table.lookup(0, mac(0xFFFF), 10.0) == 1
    assert table.counts["evicted"] == 991


def test_entries_and_flush() -> None:
    table = MacTable()
    table.learn(3, mac(1), 5, 10.0)
    (entry,) = table.entries(12.0)
    assert (entry.vlan, entry.mac, entry.port, entry.age) == (3, mac(1), 5, 2.0)
    assert table.flush() == [(3, mac(1))]
    assert len(table) == 0
    assert list(table.entries(12.0)) == []


def test_capacity_must_hold_something() -> None:
    with pytest.raises(ValueError, match="room for at least one"):
        MacTable(capacity=0)

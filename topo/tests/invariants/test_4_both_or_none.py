# SPDX-License-Identifier: Apache-2.0
"""Invariant 4: outside one write batch a record has two entries or none.

The controller is stopped (SIGSTOP) at arbitrary moments while hundreds of connections open and
close.  What it has sent by then the switch carries out; what it has not sent stays unsent.  So an
entry that is alone, and stays alone, was left so by the controller between two batches.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable

import pytest

from topo.tests.invariants.hosts import ACK, EXT, PSH, TAG, A, B
from topo.tests.invariants.peers import CLIENT, SERVER, Tcp
from topo.tests.invariants.policies import POLICY
from topo.tests.invariants.rig import ELECTION_ID, Rig, until
from topo.tests.invariants.switch import CtRow

#: Seconds within which a switch surely carries out a batch that it was sent.
BATCH = 1.0
FREEZES = 60


@pytest.fixture(scope="module")
def rig(new_rig: Callable[..., Rig]) -> Rig:
    return new_rig(POLICY)


def alone(rows: list[CtRow]) -> list[tuple[int, int]]:
    """(index, generation) of what has not exactly one entry for each direction."""
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row in rows:
        groups[row.index, row.generation].append(row.direction)
    return [identity for identity, directions in groups.items() if sorted(directions) != [0, 1]]


def read_between_batches(rig: Rig) -> list[CtRow]:
    """The entries when every batch that was sent has been carried out and none is being made."""
    rig.controller.freeze()
    try:
        deadline = time.monotonic() + BATCH
        rows = rig.switch.entries()
        while alone(rows) and time.monotonic() < deadline:
            rows = rig.switch.entries()  # a batch was under way
        return rows
    finally:
        rig.controller.thaw()


class Churn:
    """Opens and closes connections, without waiting for what becomes of their entries."""

    def __init__(self, rig: Rig, lane: int) -> None:
        self._rig = rig
        self._lane = lane
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.count = 0
        self.error: Exception | None = None
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        self._thread.join()
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        client, server = [(A, B), (B, EXT), (TAG, A)][self._lane]
        try:
            for port in itertools.count(20000):
                if self._end.is_set():
                    return
                version = 4 + 2 * (port % 2)
                connection = Tcp(self._rig, client, server, port, 80, version=version)
                connection.open()
                connection.data(CLIENT)
                connection.data(SERVER)
                if port % 3:
                    connection.close(port % 2)
                else:
                    connection.reset(port % 2)
                self.count += 1
        except Exception as error:
            self.error = error


def test_between_any_two_batches(rig: Rig) -> None:
    chance = random.Random(4)
    lanes = [Churn(rig, lane) for lane in range(3)]
    seen: set[tuple[int, int]] = set()
    try:
        for _ in range(FREEZES):
            time.sleep(chance.random() * 0.03)  # any moment will do
            rows = read_between_batches(rig)
            seen |= {(row.index, row.generation) for row in rows}
            assert not alone(rows), [row for row in rows if (row[3], row[4]) in alone(rows)]
    finally:
        for lane in lanes:
            lane.stop()
    rig.settle()
    assert sum(lane.count for lane in lanes) >= 30
    assert len(seen) >= FREEZES // 2, "hardly any entries were there when it was looked"
    assert rig.switch.entries() == []


@pytest.mark.parametrize("taken", [CLIENT, SERVER])
@pytest.mark.parametrize("version", [4, 6])
def test_one_of_two_is_refused(rig: Rig, taken: int, version: int) -> None:
    """Somebody else's entry has the key of one direction: the other one does not stay either."""
    table = f"ct_v{version}"
    first = Tcp(rig, A, B, 21000, 80, version=version)
    first.establish()
    (pattern,) = [row for row in rig.switch.entries() if row.direction == taken]
    port = 21001 + taken
    key = {name: port if value == 21000 else value for name, value in pattern.key.items()}
    rig.switch.insert_drain(table, key, ELECTION_ID)
    refused = Tcp(rig, A, B, port, 80, version=version)
    refused.open()
    sides = itertools.cycle([CLIENT, SERVER])

    def reason() -> str | None:
        # After a failure both directions have to be seen again.
        refused.step(next(sides), PSH | ACK, b"data")
        rig.settle()
        (found,) = rig.ask("offload-why", filter=refused.words)["connections"]
        assert not found["offloaded"]
        return found["offload_reason"] if "refused" in found["offload_reason"] else None

    why = until(reason, "the refusal is reported")
    assert "ALREADY_EXISTS" in why, why
    rig.settle()
    ours = [row for row in rig.switch.entries() if port in row.key.values()]
    assert [row.key for row in ours] == [key], "the other entry was not taken back"
    assert ours[0].action == "ct_drain", "somebody else's entry was changed"
    # It works in software meanwhile, and is offloaded when the obstacle has gone.
    rig.switch.delete(table, key, ELECTION_ID)

    def offloaded() -> bool:
        refused.step(next(sides), PSH | ACK, b"data")
        rig.settle()
        return refused.offloaded()

    until(offloaded, "it is offloaded")
    assert not alone(rig.switch.entries())
    refused.close()
    first.close()
    rig.settle()
    assert rig.switch.entries() == []

# SPDX-License-Identifier: Apache-2.0
"""What the generator sends comes through each subject; how fast is not asked."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from bench import packet_rate
from bench.links import Trial, check_path, links, lossless, send
from bench.measure import BenchFailed, Measured, Run
from bench.switches import Bare, Bridge, P4Target, Subject
from bench.targets import SOFTSWITCH

FLOWS = 100


@pytest.fixture(scope="module", autouse=True)
def quiet_links() -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.fail("needs root to make interfaces; run it as: tools/private.py -- pytest …")
    with links():
        yield


SUBJECTS = [
    Bare("bare"),
    Bridge("bridge"),
    *(P4Target(SOFTSWITCH, p) for p in ("one_table", "eswitch")),
]


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda s: s.name)
def test_all_flows_come_through(subject: Subject) -> None:
    with subject.running():
        subject.fill(FLOWS)
        check_path(64, FLOWS, subject.to_router)
        check_path(1400, FLOWS, subject.to_router)


def test_a_subject_that_does_not_know_the_flows_is_noticed() -> None:
    subject = P4Target(SOFTSWITCH, "one_table")
    with subject.running():
        subject.fill(FLOWS // 2)
        with pytest.raises(BenchFailed, match="came through"):
            check_path(64, FLOWS)


def test_a_round_is_repeated_if_the_subject_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = P4Target(SOFTSWITCH, "one_table")
    rounds = 0

    def end(*_: object) -> tuple[Trial, float]:
        nonlocal rounds
        rounds += 1
        if rounds == 2:
            assert subject.process is not None
            subject.process.stop()
            raise BenchFailed("nothing came through")
        return Trial(100, 100, 1.0, 0.5), 100.0

    monkeypatch.setattr(packet_rate, "lossless", end)
    monkeypatch.setattr(packet_rate, "plan_of", lambda *_: {1: [64], 7: [64]})
    measured = Measured({}, ())
    packet_rate.with_another_try(subject, Run(True, lambda _: None), measured, "round 1")
    assert rounds == 4
    assert measured.samples["lossless, 64 bytes, 1 entries", subject.name] == [100.0]
    assert [note.startswith(f"{subject.name} ended in round 1") for note in measured.notes] == [
        True
    ]


def test_the_generator_keeps_its_rate_and_counts_what_it_sent() -> None:
    trial = send(1000, 0.5, 64, 7)
    assert 0.9 * 500 <= trial.sent <= 500
    assert trial.received == 0  # nothing stands between the links
    assert trial.loss == 1


@pytest.mark.parametrize("capacity", [50_000, 333_000])
def test_the_search_finds_the_capacity(monkeypatch: pytest.MonkeyPatch, capacity: int) -> None:
    """With a subject that drops everything above its capacity, and a generator of 500 000/s."""

    def pretend(rate: float, seconds: float, *_: object) -> Trial:
        sent = int((rate or 500_000) * seconds)
        return Trial(sent, min(sent, int(capacity * seconds)), seconds, 0.0)

    monkeypatch.setattr("bench.links.send", pretend)
    best, flood = lossless(1.0, 64, 1, 0.001, 10)
    assert flood == capacity
    assert 0.98 * capacity <= best.rate <= 1.002 * capacity

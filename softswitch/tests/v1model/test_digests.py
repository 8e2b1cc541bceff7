# SPDX-License-Identifier: Apache-2.0
"""Digests: the fields that a packet reported, a bounded queue, and a change of program."""

from __future__ import annotations

import pytest
from softswitch.api import Digest
from softswitch.dataplane import Dataplane

from .conftest import Runner, through

MAC, WIDE = 0x0A0B0C0D0E0F, 0x1234 << 112 | 0x5678


@pytest.fixture
def plane(run: Runner) -> Dataplane:
    return run("digest")


def frame(what: int, vlan: int = 0xFFE) -> bytes:
    head = bytes([what]) + MAC.to_bytes(6, "big") + (0xA000 | vlan).to_bytes(2, "big")
    return head + WIDE.to_bytes(16, "big")


def test_digests_carry_the_values_of_the_call(plane: Dataplane) -> None:
    program = plane.program
    assert program is not None
    widths = {n: [w for _, w in d.fields] for n, d in program.digests.items()}
    assert widths == {"learn_t": [48, 12, 9], "wide_t": [128, 4]}
    for what in (0, 1, 2, 3):
        assert through(plane, frame(what), port=6) == [(1, frame(what, 0xFFF))]
    assert plane.wait_digests(1) == [
        Digest("learn_t", (MAC, 0xFFE, 6), 1_000_000_000),
        Digest("wide_t", (WIDE, 0xA), 1_000_000_000),
        Digest("wide_t", (WIDE, 0xA), 1_000_000_000),
    ]
    assert plane.wait_digests(0) == []


def test_the_queue_is_bounded_and_losses_are_counted(plane: Dataplane) -> None:
    for _ in range(40000):
        plane.inject(0, frame(1))
    assert plane.stats().digest_dropped > 0
    got = 0
    while digests := plane.wait_digests(0):
        got += len(digests)
    assert got + plane.stats().digest_dropped == 40000
    assert got > 10000


def test_digests_of_an_earlier_program_are_forgotten(plane: Dataplane) -> None:
    plane.inject(0, frame(1))
    program = plane.program
    assert program is not None
    plane.load(program)
    plane.inject(0, frame(2))
    assert [d.name for d in plane.wait_digests(1)] == ["wide_t"]

# SPDX-License-Identifier: Apache-2.0
"""Packets per second without loss between two veth pairs, for everything that can stand there.

All subjects take turns on the same links in each round, with the same generator.  With
`one_table.p4` softswitch is compared with a bare forwarder; with `eswitch.p4` with what tracks
connections, and with BMv2.
"""

from __future__ import annotations

from bench.links import check_path, links, lossless
from bench.measure import BenchFailed, Measured, Run, SubjectEnded
from bench.switches import BARE, BRIDGE, OVS, ROUTER, Subject, all_subjects
from bench.targets import BMV2, SOFTSWITCH

TITLE = "lossless packets per second between two veth pairs"
TOLERANCE = 0.001
ATTEMPTS = 3
ONE_TABLE, ESWITCH = f"{SOFTSWITCH}, one_table", f"{SOFTSWITCH}, eswitch"
MANY, FEW = 1_000_000, 1_000
SMALL, LARGE = 64, 1400


def plan_of(subject: Subject, run: Run) -> dict[int, list[int]]:
    """Numbers of entries -> sizes of frames, for one subject."""
    if not subject.entries_matter:
        return {1: [SMALL, LARGE]}
    plan = {1: [SMALL, LARGE], FEW: [SMALL], 100_000: [SMALL, LARGE]}
    if run.quick:
        plan = {1: [SMALL, LARGE], FEW: [SMALL]}
    if subject.name in (BARE, ONE_TABLE):
        plan[10_000] = [SMALL]
        plan.setdefault(MANY, [SMALL])
    return dict(sorted(plan.items()))


def one_subject(subject: Subject, run: Run, where: str) -> Measured:
    """One round of one subject."""
    measured = Measured({}, ())
    seconds, steps = run.pick(8, 4) / 10, run.pick(7, 5)
    rates: dict[int, float] = {}
    with subject.running():
        for flows, sizes in plan_of(subject, run).items():
            run.progress(f"{where}: {subject.name}, {flows:,} entries")
            subject.fill(flows)
            for size in sizes:
                check_path(size, flows, subject.to_router)
                best, flood = lossless(seconds, size, flows, TOLERANCE, steps, subject.to_router)
                what = f"{size} bytes, {flows:,} entries"
                measured.add(f"lossless, {what}", subject.name, "packets/s", best.rate)
                if size == SMALL:
                    rates[flows] = best.rate
                    measured.add(f"flooded, {what}", subject.name, "packets/s", flood)
                    cost = 1e6 * best.busy_s / best.received
                    measured.add(f"CPU of the machine, {what}", subject.name, "µs/packet", cost)
    if MANY in rates:
        share = rates[MANY] / rates[FEW]
        measured.add(f"lossless, {MANY:,} against {FEW:,} entries", subject.name, "x", share)
    return measured


def with_another_try(subject: Subject, run: Run, measured: Measured, where: str) -> None:
    """One round; all of it again if the subject ends in it, which is noted (BMv2 does that)."""
    for left in range(ATTEMPTS - 1, -1, -1):
        try:
            measured.add_all(one_subject(subject, run, where))
            return
        except SubjectEnded as error:
            if not left:
                raise
            measured.notes.append(f"{subject.name} ended in {where}, which was repeated: {error}")


def measure(run: Run) -> Measured:
    """All subjects in turn, several times. Raises BenchFailed."""
    subjects: list[Subject] = []
    rounds = run.pick(3, 1)
    measured = Measured(
        {
            "rounds": rounds,
            "tolerated_loss": TOLERANCE,
            "seconds_a_trial": run.pick(8, 4) / 10,
            "generator": "one core of its own, TX ring, UDP",
        },
        bases=(BARE, f"{BMV2}, eswitch", OVS, ROUTER, BRIDGE),
    )
    for subject in all_subjects():
        if not run.wanted(subject.name):
            continue
        why = subject.missing()
        if why:
            measured.notes.append(f"{subject.name} was left out: {why}")
        else:
            subjects.append(subject)
    with links():
        for number in range(1, rounds + 1):
            for subject in subjects:
                try:
                    with_another_try(subject, run, measured, f"round {number} of {rounds}")
                except BenchFailed as error:
                    raise BenchFailed(f"{subject.name}: {error}") from error
    return measured

# SPDX-License-Identifier: Apache-2.0
"""A bounded run, softswitch against BMv2; and that what differs is found and shrunk."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest
from ptf_base import target
from ptf_base.p4info import P4Names

from differential.case import Batch, Case, Change, Entry, Stimulus, Way
from differential.compare import Pair
from differential.generate import generate
from differential.rig import Program, Rig
from differential.run import run
from differential.shrink import Shrinker

PACKETS = 1000
SEEDS = (1, 2)
Tamper = Callable[[Sequence[Entry]], Sequence[Entry]]


@pytest.fixture(scope="module")
def program(request: pytest.FixtureRequest) -> Program:
    return Program.load(request.config.getoption("--program"))


@pytest.fixture
def pairs() -> Iterator[list[Pair]]:
    """Pairs that end with the test."""
    opened: list[Pair] = []
    yield opened
    for pair in opened:
        pair.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_softswitch_and_bmv2_cannot_be_told_apart(
    program: Program, pairs: list[Pair], seed: int
) -> None:
    if target.find("bmv2") is None:
        pytest.skip(target.not_found("bmv2"))
    pair = Pair(lambda: Rig("softswitch", program), lambda: Rig("bmv2", program))
    pairs.append(pair)
    said: list[str] = []
    result = run(pair, program.names, seed, PACKETS, said.append)
    assert result.differences == 0, "\n".join(said)
    assert result.packets == PACKETS
    assert pair.seen["forwarded"] > PACKETS // 20
    assert len(pair.seen) > 8, "few of the punt reasons were reached"


# A parameter that the second target gets with one bit changed -> where that shows.
PLANTED = {"port": "frames", "generation": "packet-ins", "path": "counters"}


@pytest.mark.parametrize("parameter", PLANTED)
def test_a_planted_difference_is_found_and_shrunk(
    program: Program, pairs: list[Pair], parameter: str
) -> None:
    """Two softswitches, one of which gets every entry with that parameter changed."""

    def tamper(entries: Sequence[Entry]) -> Sequence[Entry]:
        return [
            replace(e, params={**e.params, parameter: int(e.params[parameter]) ^ 1})
            if parameter in e.params and e.action != "ct_drain"
            else e
            for e in entries
        ]

    pair = Pair(
        lambda: Rig("softswitch", program), lambda: Rig("softswitch", program, tamper=tamper)
    )
    pairs.append(pair)
    said: list[str] = []
    result = run(pair, program.names, 1, 200, said.append)
    text = "\n".join(said)
    assert result.differences == 1, text
    assert f"a difference in {PLANTED[parameter]}" in text
    (size,) = [line for line in said if line.startswith("the smallest case")]
    entries, packets = (int(word) for word in size.replace(",", "").split() if word.isdigit())
    assert packets == 1, text
    assert 1 <= entries <= 6, text
    assert parameter in text


def test_a_target_that_ends_is_reported(program: Program, pairs: list[Pair]) -> None:
    rigs: list[Rig] = []

    def start() -> Rig:
        rigs.append(Rig("softswitch", program))
        return rigs[-1]

    pair = Pair(start, start)
    pairs.append(pair)
    case = generate("1", program.names, 100)
    assert pair.run(case) is None
    process = rigs[1].target._process
    assert process is not None
    process.kill()
    process.wait()
    found = pair.run(case)
    assert found is not None
    assert found.kind == "stuck"
    assert any("exit code" in line for line in found.lines)
    assert pair.run(case) is None, "both are started anew"


def test_a_case_comes_from_its_seed_alone(program: Program) -> None:
    case = generate("3:0", program.names, 500)
    assert case == generate("3:0", program.names, 500)
    assert case != generate("4:0", program.names, 500)
    assert case.packets == 500


def test_a_case_has_every_table_and_action_of_the_program(program: Program) -> None:
    names = program.names
    case = generate("1:0", names, 10_000)
    written = {(e.table, e.action) for e in case.entries}
    for table in names.info.tables:
        if table.is_const_table:
            continue
        for ref in table.action_refs:
            action = names.action_name(ref.id)
            if action != "miss":
                assert (table.preamble.alias, action) in written
    for entry in case.entries:
        entry.entity(names)  # every value fits
    ops = {s.fields.get("op") for b in case.batches for s in b.stimuli if isinstance(s, Stimulus)}
    assert set(names.enum("PacketOutOp").values()) <= ops
    assert len(ops - set(names.enum("PacketOutOp").values())) > 1, "and invalid ones"


def test_frames_of_a_case_have_every_length_that_matters(program: Program) -> None:
    case = generate("1:0", program.names, 10_000)
    on_wire, out = set(), set()
    for batch, stimulus in ((b, s) for b in case.batches for s in b.stimuli):
        if isinstance(stimulus, Stimulus):
            (on_wire if batch.way is Way.WIRE else out).add(len(stimulus.frame))
    assert min(on_wire) == 14, "a veth takes no less"
    assert max(on_wire) == 1514
    assert set(range(14, 120)) <= on_wire
    assert set(range(14)) <= out, "a packet-out may be shorter than any frame"


def test_a_case_does_not_touch_what_sentinels_need(program: Program) -> None:
    from differential import sentinels

    reserved = {(e.table, tuple(e.match.items())) for e in sentinels.entries(program.names, (0,))}
    case = generate("1:0", program.names, 2000)
    changes = [c.entry for b in case.batches for c in b.stimuli if isinstance(c, Change)]
    for entry in (*case.entries, *changes):
        assert (entry.table, tuple(entry.match.items())) not in reserved
        assert entry.match.get("vport") != sentinels.VPORT


def test_the_shrinker_leaves_what_matters_and_nothing_else() -> None:
    entries = tuple(Entry("t", {"k": i}, "a", {}) for i in range(100))
    batches = tuple(
        Batch(Way.WIRE, 0, tuple(Stimulus(bytes([b, s]) * 100) for s in range(10)))
        for b in range(10)
    )

    def fails(case: Case) -> bool:
        keys = {e.match["k"] for e in case.entries}
        sent = [s.frame for b in case.batches for s in b.stimuli if isinstance(s, Stimulus)]
        return {17, 80} <= keys and any(f[20:22] == b"\x04\x07" for f in sent)

    case = Shrinker(fails).shrink(Case(entries, batches), batch=4)
    assert [e.match["k"] for e in case.entries] == [17, 80]
    assert [s.frame for b in case.batches for s in b.stimuli] == [bytes(20) + b"\x04\x07"]


def test_the_shrinker_keeps_packets_together_that_matter_together() -> None:
    batch = Batch(Way.DIRECT, 0, tuple(Stimulus(bytes([i])) for i in range(20)))

    def fails(case: Case) -> bool:
        return any(
            a.frame == b"\x03" and b.frame[0] > 10
            for batch in case.batches
            for a, b in itertools.combinations(batch.stimuli, 2)
        )

    case = Shrinker(fails).shrink(Case((), (batch,)), batch=0)
    (left,) = case.batches
    assert len(left.stimuli) == 2


def test_a_table_that_is_new_needs_no_change_here(program: Program) -> None:
    """It is filled by its P4Info alone."""
    info = type(program.names.info)()
    info.CopyFrom(program.names.info)
    table = info.tables.add()
    (known,) = [t for t in info.tables if t.preamble.alias == "next_hop"]
    table.CopyFrom(known)
    table.preamble.id += 1000
    table.preamble.alias = "of_tomorrow"
    case = generate("1:0", P4Names(info), 5000)
    assert sum(e.table == "of_tomorrow" for e in case.entries) > 10

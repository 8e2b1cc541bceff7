# SPDX-License-Identifier: Apache-2.0
"""Tables of every kind against a model that looks at every entry."""

from __future__ import annotations

import random

import pytest
from softswitch.api import Entry, Key
from softswitch.dataplane import Dataplane
from softswitch.errors import (
    BadEntry,
    ConstObject,
    EntryExists,
    EntryNotFound,
    TableFull,
    UnknownObject,
)

from .builder import Builder, assign, call, const, field, header, param, std
from .conftest import Runner, sent

KEYS = {
    "exact": [("a", 16, "exact"), ("b", 70, "exact")],
    "lpm": [("a", 16, "exact"), ("c", 33, "lpm")],
    "ternary": [("a", 16, "ternary"), ("c", 33, "exact"), ("d", 5, "ternary")],
    "optional": [("a", 16, "optional"), ("d", 5, "optional")],
    "mixed": [("c", 33, "lpm"), ("d", 5, "ternary")],
    "range": [("a", 16, "range"), ("d", 5, "ternary"), ("e", 64, "range")],
}
FIELDS = [("a", 16), ("b", 70), ("c", 33), ("d", 5), ("e", 64), ("pad", 4)]


def table_program(key: list[tuple[str, int, str]], **options: object) -> Builder:
    """Looks the first header up in table t; the action's parameter comes out in `r`."""
    builder = Builder({"k": FIELDS, "r": [("value", 32)]}, parse=["k"])
    builder.statements(
        call("add_header", header("r")),
        assign(std("egress_spec"), const(1)),
    )
    hit = builder.action("hit", [assign(field("r", "value"), param(0))], [("v", 32)])
    miss = builder.action("miss", [assign(field("r", "value"), const(0xFFFFFFFF))])
    keys = [("k", name, kind) for name, _, kind in key]
    builder.table("t", keys, [hit, miss], default=(miss, []), **options)
    return builder


def packet(values: dict[str, int]) -> bytes:
    packed = 0
    for name, width in FIELDS:
        packed = packed << width | values.get(name, 0)
    return packed.to_bytes(sum(w for _, w in FIELDS) // 8, "big")


def look_up(plane: Dataplane, values: dict[str, int]) -> int | None:
    plane.inject(0, packet(values))
    (got,) = sent(plane, 1)
    value = int.from_bytes(got[-4:], "big")
    return None if value == 0xFFFFFFFF else value


def random_field(rng: random.Random, width: int, kind: str) -> tuple[int, int]:
    full = (1 << width) - 1
    small = rng.getrandbits(2) << max(width - 4, 0) | rng.getrandbits(1)
    if kind == "exact":
        return small & full, full
    if kind == "range":
        low, high = sorted((rng.getrandbits(width), rng.getrandbits(width)))
        return low, high
    if kind == "optional":
        return (small & full, full) if rng.random() < 0.5 else (0, 0)
    mask = full
    if kind == "lpm":
        mask = full ^ ((1 << (width - rng.randrange(width + 1))) - 1)
    elif kind == "ternary":
        mask = rng.choice([0, full, 1, full ^ 1, 0b11 << (width - 2)])
    return small & mask & full, mask


def matches(key: Key, kinds: list[tuple[str, int, str]], values: dict[str, int]) -> bool:
    for (first, second), (name, _, kind) in zip(key, kinds, strict=True):
        value = values[name]
        if kind == "range":
            if not first <= value <= second:
                return False
        elif value & second != first:
            return False
    return True


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("live", [20, 150])
def test_against_a_model(run: Runner, kind: str, live: int) -> None:
    rng = random.Random(f"{kind}{live}")
    kinds = KEYS[kind]
    plane = run(table_program(kinds, max_size=live))
    ranked = kind not in ("exact", "lpm")
    model: dict[tuple[Key, int], Entry] = {}
    for serial in range(1, 1001):
        key = tuple(random_field(rng, width, how) for _, width, how in kinds)
        priority = rng.randrange(1, 2**31 - 1) if ranked else 0
        roll = rng.random()
        if model and roll < 0.5:
            key, priority = rng.choice(list(model))
        entry = Entry(key, "hit", (serial,), priority, metadata=b"m" * (serial % 5))
        if roll < 0.3:
            if (key, priority) in model:
                plane.delete("t", key, priority)
                del model[(key, priority)]
        elif (key, priority) in model:
            with pytest.raises(EntryExists):
                plane.insert("t", entry)
            plane.modify("t", entry)
            model[(key, priority)] = entry
        elif len(model) == live:
            with pytest.raises(TableFull):
                plane.insert("t", entry)
        else:
            with pytest.raises(EntryNotFound):
                plane.modify("t", entry)
            plane.insert("t", entry)
            model[(key, priority)] = entry
        values = {name: random_field(rng, width, "exact")[0] for name, width, _ in kinds}
        if model and rng.random() < 0.5:
            some = rng.choice(list(model))[0]
            values = {name: some[i][0] for i, (name, _, _) in enumerate(kinds)}
        found = [e for e in model.values() if matches(e.key, kinds, values)]
        want = None
        if found:
            best = max(found, key=lambda e: _rank(e, kinds))
            want = best.params[0]
        assert look_up(plane, values) == want, (serial, values)
    assert plane.entry_count("t") == len(model)
    listed = {(e.key, e.priority): (e.params, e.metadata) for e in plane.entries("t")}
    assert listed == {k: (e.params, e.metadata) for k, e in model.items()}


def _rank(entry: Entry, kinds: list[tuple[str, int, str]]) -> int:
    if entry.priority:
        return entry.priority
    for (_, mask), (_, _, kind) in zip(entry.key, kinds, strict=True):
        if kind == "lpm":
            return mask.bit_count()
    return 0


def test_equal_priority_takes_the_earliest_free_row(run: Runner) -> None:
    kinds = [("a", 16, "ternary")]
    plane = run(table_program(kinds))
    first = Entry(((0x1200, 0xFF00),), "hit", (1,), 5)
    second = Entry(((0x0034, 0x00FF),), "hit", (2,), 5)
    plane.insert("t", first)
    plane.insert("t", second)
    assert look_up(plane, {"a": 0x1234}) == 1
    plane.delete("t", first.key, 5)
    assert look_up(plane, {"a": 0x1234}) == 2
    plane.insert("t", first)
    assert look_up(plane, {"a": 0x1234}) == 1


def test_a_large_exact_table(run: Runner) -> None:
    plane = run(table_program(KEYS["exact"], max_size=20000))
    keys = [((i & 0xFFFF, 0xFFFF), (i * 7919, (1 << 70) - 1)) for i in range(20000)]
    for i, key in enumerate(keys):
        plane.insert("t", Entry(key, "hit", (i,)))
    for i in range(0, 20000, 2):
        plane.delete("t", keys[i])
    assert plane.entry_count("t") == 10000
    assert [e.params[0] for e in plane.entries("t")] == list(range(1, 20000, 2))
    for i in (0, 1, 9998, 9999, 19998, 19999):
        want = i if i % 2 else None
        assert look_up(plane, {"a": i & 0xFFFF, "b": i * 7919}) == want


def test_an_entry_is_read_back_whole(run: Runner) -> None:
    plane = run(table_program(KEYS["range"], support_timeout=True, with_counters=True))
    key = ((5, 9), (1, 1), (0, 2**64 - 1))
    entry = Entry(key, "hit", (77,), 3, 10**9, b"x" * 5000, 2**64 - 1)
    plane.insert("t", entry)
    plane.set_clock_ns(1_500_000_000)
    look_up(plane, {"a": 7, "d": 3})
    plane.set_clock_ns(1_700_000_000)
    got = plane.get("t", key, 3)
    size = len(packet({}))
    assert got == Entry(
        key, "hit", (77,), 3, 10**9, b"x" * 5000, 2**64 - 1, False, 1, size, 200_000_000
    )
    assert list(plane.entries("t")) == [got]
    assert plane.get("t", key, 4) is None
    plane.direct_counter_write("t", key, 3, 10, 20)
    got = plane.get("t", key, 3)
    assert got is not None
    assert (got.packets, got.bytes) == (10, 20)


def test_counters_of_an_entry_survive_modify_and_count_hits_only(run: Runner) -> None:
    plane = run(table_program([("a", 16, "exact")], with_counters=True))
    key = ((5, 0xFFFF),)
    plane.insert("t", Entry(key, "hit", (1,)))
    look_up(plane, {"a": 5})
    plane.modify("t", Entry(key, "miss"))
    look_up(plane, {"a": 5})
    look_up(plane, {"a": 6})
    got = plane.get("t", key)
    assert got is not None
    assert (got.action, got.packets, got.bytes) == ("miss", 2, 2 * len(packet({})))
    plane.delete("t", key)
    plane.insert("t", Entry(key, "hit", (1,)))
    got = plane.get("t", key)
    assert got is not None
    assert got.packets == 0


def test_default_action(run: Runner) -> None:
    plane = run(table_program([("a", 16, "exact")]))
    plane.set_default("t", "hit", (9,))
    assert look_up(plane, {}) == 9
    default = plane.get_default("t")
    assert default is not None
    assert (default.action, default.params) == ("hit", (9,))
    plane.set_default("t", None)
    assert look_up(plane, {}) is None
    with pytest.raises(ConstObject, match="const"):
        plane.set_default("tbl_ingress_0", None)


@pytest.mark.parametrize(
    ("kind", "entry", "message"),
    [
        ("exact", Entry(((1, 0xFFFF),), "hit", (1,)), "2 key fields, not 1"),
        ("exact", Entry(((1, 0xFF), (0, (1 << 70) - 1)), "hit", (1,)), "whole field"),
        ("exact", Entry(((1 << 16, 0xFFFF), (0, (1 << 70) - 1)), "hit", (1,)), "16 bits"),
        ("exact", Entry(((1, 0xFFFF), (0, (1 << 70) - 1)), "hit", (1,), 3), "no priority"),
        ("exact", Entry(((1, 0xFFFF), (0, (1 << 70) - 1)), "nope"), "no action 'nope'"),
        ("exact", Entry(((1, 0xFFFF), (0, (1 << 70) - 1)), "hit"), "takes 1 parameters"),
        ("exact", Entry(((1, 0xFFFF), (0, (1 << 70) - 1)), "hit", (1 << 32,)), "32 bits"),
        ("exact", Entry(((1, 0xFFFF), (0, (1 << 70) - 1)), "hit", (1,), 0, 5), "idle timeouts"),
        ("lpm", Entry(((1, 0xFFFF), (0, 5)), "hit", (1,)), "not a prefix"),
        ("ternary", Entry(((3, 1), (0, (1 << 33) - 1), (0, 0)), "hit", (1,), 1), "outside"),
        ("ternary", Entry(((1, 1), (0, (1 << 33) - 1), (0, 0)), "hit", (1,)), "priority above 0"),
        ("range", Entry(((9, 5), (0, 0), (0, 0)), "hit", (1,), 1), "empty"),
    ],
)
def test_bad_entries_are_refused(run: Runner, kind: str, entry: Entry, message: str) -> None:
    plane = run(table_program(KEYS[kind]))
    with pytest.raises(BadEntry, match=message):
        plane.insert("t", entry)
    assert plane.entry_count("t") == 0


def test_unknown_table(run: Runner) -> None:
    plane = run(table_program(KEYS["exact"]))
    with pytest.raises(UnknownObject, match="no table 'u'"):
        plane.entry_count("u")
    with pytest.raises(BadEntry, match="no key"):
        plane.insert("tbl_ingress_0", Entry((), "hit"))


def test_const_entries(run: Runner) -> None:
    entries = [
        {
            "match_key": [{"match_type": "ternary", "key": hex(value), "mask": hex(mask)}],
            "action_entry": {"action_id": 1, "action_data": [hex(result)]},
            "priority": priority,
        }
        for value, mask, result, priority in [(0x12, 0xFF, 1, 1), (0x2, 0xF, 2, 2), (0, 0, 3, 3)]
    ]
    plane = run(table_program([("a", 16, "ternary")], entries=entries, max_size=1))
    assert [look_up(plane, {"a": a}) for a in (0x12, 0x32, 0x33)] == [1, 2, 3]
    assert [(e.priority, e.is_const) for e in plane.entries("t")] == [
        (3, True),
        (2, True),
        (1, True),
    ]
    with pytest.raises(ConstObject):
        plane.insert("t", Entry(((0, 1),), "hit", (1,), 1))
    with pytest.raises(ConstObject):
        plane.delete("t", ((0x12, 0xFF),), 3)


def test_loading_again_clears_everything(run: Runner) -> None:
    builder = table_program([("a", 16, "exact")], with_counters=True)
    plane = run(builder)
    plane.insert("t", Entry(((1, 0xFFFF),), "hit", (1,)))
    iterator = plane.entries("t")
    program = plane.program
    assert program is not None
    plane.load(program)
    assert plane.entry_count("t") == 0
    assert look_up(plane, {"a": 1}) is None
    with pytest.raises(Exception, match="replaced meanwhile"):
        next(iterator)

# SPDX-License-Identifier: Apache-2.0
"""Counters, meters, registers, hashes, checksums, logs."""

from __future__ import annotations

import random
import zlib

import pytest
from softswitch.api import Entry, MeterConfig
from softswitch.dataplane import Dataplane
from softswitch.errors import BadEntry, UnknownObject

from .builder import Builder, Json, assign, call, const, field, header, named, op, std, whole
from .conftest import Runner, sent

SECOND = 1_000_000_000


def simple(*primitives: Json, **extra: object) -> Builder:
    """One header h of a byte index, a 16-bit value and a 32-bit result."""
    builder = Builder({"h": [("index", 8), ("value", 16), ("result", 32)]})
    builder.statements(*primitives, assign(std("egress_spec"), const(1)))
    builder.extra = dict(extra)
    return builder


def send(plane: Dataplane, index: int, value: int = 0, rest: bytes = b"") -> int:
    """The result field of what comes out."""
    plane.inject(0, bytes([index]) + value.to_bytes(2, "big") + bytes(4) + rest)
    (got,) = sent(plane, 1)
    return int.from_bytes(got[3:7], "big")


INDEX, VALUE, RESULT = field("h", "index"), field("h", "value"), field("h", "result")


def test_indirect_counter(run: Runner) -> None:
    builder = simple(
        call("count", named("counter_array", "c"), INDEX),
        counter_arrays=[{"name": "c", "id": 0, "is_direct": False, "size": 4}],
    )
    plane = run(builder)
    send(plane, 3)
    send(plane, 3, rest=bytes(93))
    send(plane, 4)  # out of range: nothing happens
    assert plane.counter_read_all("c") == [(0, 0), (0, 0), (0, 0), (2, 107)]
    plane.counter_write("c", 3, 2**64 - 1, 5)
    send(plane, 3)
    assert plane.counter_read("c", 3) == (0, 12)
    with pytest.raises(UnknownObject, match="index 4 is not below 4"):
        plane.counter_read("c", 4)
    with pytest.raises(UnknownObject, match="no indirect counter 'd'"):
        plane.counter_read("d", 0)


def meter(kind: str, **more: object) -> Json:
    return {
        "name": "m",
        "id": 0,
        "is_direct": False,
        "size": 4,
        "rate_count": 2,
        "type": kind,
        **more,
    }


def test_meter_colours_and_refill(run: Runner) -> None:
    builder = simple(
        call("execute_meter", named("meter_array", "m"), INDEX, RESULT),
        meter_arrays=[meter("packets")],
    )
    plane = run(builder)
    assert [send(plane, 1) for _ in range(9)] == [0] * 9  # unconfigured: green
    config = MeterConfig(cir=2, cburst=3, pir=10, pburst=5)
    plane.meter_set("m", 1, config)
    assert plane.meter_get("m", 1) == config
    assert plane.meter_get("m", 2) is None
    assert [send(plane, 1) for _ in range(7)] == [0, 0, 0, 1, 1, 2, 2]
    plane.set_clock_ns(1 * SECOND + SECOND // 2)  # half a second: 1 and 5 tokens
    assert [send(plane, 1) for _ in range(7)] == [0, 1, 1, 1, 1, 2, 2]
    plane.set_clock_ns(1000 * SECOND)  # buckets are full again, and no fuller
    assert [send(plane, 1) for _ in range(6)] == [0, 0, 0, 1, 1, 2]
    assert send(plane, 2) == 0
    assert send(plane, 4, 7) == 0  # out of range: the target keeps its value
    plane.meter_set("m", 1, None)
    assert send(plane, 1) == 0
    with pytest.raises(BadEntry):
        plane.meter_set("m", 1, MeterConfig(-1, 0, 0, 0))


def test_meter_refill_is_exact_over_many_small_steps(run: Runner) -> None:
    builder = simple(
        call("execute_meter", named("meter_array", "m"), INDEX, RESULT),
        meter_arrays=[meter("packets")],
    )
    plane = run(builder)
    plane.meter_set("m", 0, MeterConfig(cir=7, cburst=1, pir=1000, pburst=1000))
    greens = 0
    for step in range(1, 1001):  # 10 s in steps of 10 ms
        plane.set_clock_ns(SECOND + step * SECOND // 100)
        greens += send(plane, 0) == 0
    assert greens in (70, 71)


def test_meter_in_bytes(run: Runner) -> None:
    builder = simple(
        call("execute_meter", named("meter_array", "m"), INDEX, RESULT),
        meter_arrays=[meter("bytes")],
    )
    plane = run(builder)
    plane.meter_set("m", 0, MeterConfig(cir=1, cburst=100, pir=1, pburst=200))
    assert [send(plane, 0, rest=bytes(93)) for _ in range(3)] == [0, 1, 2]


def test_direct_meter_writes_its_result_before_the_action(run: Runner) -> None:
    builder = Builder({"h": [("index", 8), ("result", 8)]}, [("colour", 2)])
    act = builder.action("act", [assign(field("h", "result"), field("meta", "colour"))])
    builder.table("t", [("h", "index", "exact")], [act], direct_meters="m", max_size=8)
    builder.statements(assign(std("egress_spec"), const(1)))
    builder.extra["meter_arrays"] = [
        meter("packets", is_direct=True, binding="t", result_target=["meta", "colour"])
    ]
    plane = run(builder)
    key = ((5, 255),)
    plane.insert("t", Entry(key, "act"))
    plane.direct_meter_set("t", key, 0, MeterConfig(1, 1, 1, 2))
    assert plane.direct_meter_get("t", key, 0) == MeterConfig(1, 1, 1, 2)
    results: list[int] = []
    for _ in range(4):
        plane.inject(0, b"\x05\xff")
        results.append(sent(plane, 1)[0][1])
    assert results == [0, 1, 2, 2]


def test_registers(run: Runner) -> None:
    builder = simple(
        call("register_read", RESULT, named("register_array", "r"), INDEX),
        call(
            "register_write",
            named("register_array", "r"),
            INDEX,
            whole(op("+", RESULT, VALUE)),
        ),
        register_arrays=[
            {"name": "r", "id": 0, "size": 3, "bitwidth": 20},
            {"name": "wide", "id": 1, "size": 2, "bitwidth": 128},
        ],
    )
    plane = run(builder)
    assert [send(plane, 1, 0xFFFF) for _ in range(3)] == [0, 0xFFFF, 0x1FFFE]
    plane.register_write("r", 1, 0xFFFFF)
    assert send(plane, 1, 3) == 0xFFFFF
    assert plane.register_read("r", 1) == 2  # 20 bits
    assert send(plane, 3, 3) == 0  # out of range
    plane.register_write("wide", 1, 2**127 + 1)
    assert plane.register_read("wide", 1) == 2**127 + 1
    with pytest.raises(BadEntry, match="20 bits"):
        plane.register_write("r", 1, 1 << 20)
    with pytest.raises(UnknownObject):
        plane.register_read("r", 3)


def calculation(algorithm: str, *inputs: Json) -> Json:
    return {"name": "calc", "id": 0, "algo": algorithm, "input": list(inputs)}


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        ("crc16", 0xBB3D),
        ("crc32", zlib.crc32(b"123456789")),
        ("crcCCITT", 0x29B1),
        ("csum16", 0xFFFF - sum([0x3132, 0x3334, 0x3536, 0x3738, 0x3900])),
        ("xor16", 0x3132 ^ 0x3334 ^ 0x3536 ^ 0x3738 ^ 0x3900),
        ("identity", int.from_bytes(b"23456789", "big")),
    ],
)
def test_hash_algorithms_on_the_check_string(run: Runner, algorithm: str, expected: int) -> None:
    builder = Builder({"h": [("text", 72)], "r": [("v", 64)]}, parse=["h"])
    builder.statements(
        call("add_header", header("r")),
        call(
            "modify_field_with_hash_based_offset",
            field("r", "v"),
            const(0),
            named("calculation", "calc"),
            const(2**64 - 1),
        ),
        assign(std("egress_spec"), const(1)),
    )
    builder.extra["calculations"] = [calculation(algorithm, field("h", "text"))]
    plane = run(builder)
    plane.inject(0, b"123456789")
    if algorithm == "csum16":
        expected %= 0xFFFF  # carries
    assert int.from_bytes(sent(plane, 1)[0][9:], "big") == expected


def test_hash_base_and_max(run: Runner) -> None:
    builder = simple(
        call(
            "modify_field_with_hash_based_offset",
            RESULT,
            const(100),
            named("calculation", "calc"),
            INDEX,
        ),
        calculations=[calculation("crc16", VALUE)],
    )
    plane = run(builder)
    assert send(plane, 1, 0x1234) == 100
    assert send(plane, 0, 0x1234) == 100  # a maximum of 0 counts as 1
    assert {send(plane, 8, 37 * v) for v in range(400)} == set(range(100, 108))


def ones_complement(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total = sum(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))
    while total >> 16:
        total = (total >> 16) + (total & 0xFFFF)
    return total ^ 0xFFFF


@pytest.mark.parametrize("first", [("a", 13), ("a", 16)])
def test_checksum_over_fields_and_payload(run: Runner, first: tuple[str, int]) -> None:
    """13 bits: nothing is aligned, and the input is put together bit by bit."""
    rest = 64 - first[1]
    builder = Builder(
        {"h": [first, ("b", rest), ("c", 100), ("d", 60), ("sum", 16)], "r": [("bad", 8)]},
        parse=["h"],
    )
    inputs = [field("h", n) for n in ("a", "b", "c", "d")]
    builder.statements(
        call("add_header", header("r")),
        assign(field("r", "bad"), std("checksum_error")),
        assign(std("egress_spec"), const(1)),
    )
    builder.extra["calculations"] = [
        calculation("csum16", *inputs, {"type": "payload", "value": None})
    ]
    builder.extra["checksums"] = [
        {
            "name": "cksum",
            "id": 0,
            "target": ["h", "sum"],
            "type": "generic",
            "calculation": "calc",
            "verify": True,
            "update": True,
            "if_cond": None,
        }
    ]
    plane = run(builder)
    rng = random.Random(1)
    for size in (0, 1, 2, 3, 63, 1400):
        head, payload = rng.randbytes(28), rng.randbytes(size)
        good = ones_complement(head + payload)
        for value in (good, good ^ 1):
            plane.inject(0, head + value.to_bytes(2, "big") + payload)
            (got,) = sent(plane, 1)
            assert got[30] == (value != good)
            assert got[:30] == head + good.to_bytes(2, "big")
            assert got[31:] == payload


def test_checksum_condition(run: Runner) -> None:
    builder = simple()
    builder.extra["calculations"] = [calculation("csum16", INDEX, INDEX)]
    builder.extra["checksums"] = [
        {
            "name": "cksum",
            "id": 0,
            "target": ["h", "value"],
            "type": "generic",
            "calculation": "calc",
            "verify": False,
            "if_cond": op("==", INDEX, const(7)),
        }
    ]
    plane = run(builder)
    plane.inject(0, b"\x07" + bytes(6))
    assert sent(plane, 1) == [b"\x07" + (0xFFFF ^ 0x0707).to_bytes(2, "big") + bytes(4)]
    plane.inject(0, b"\x08" + bytes(6))
    assert sent(plane, 1) == [b"\x08" + bytes(6)]


def test_log_messages_and_assertions(run: Runner) -> None:
    text = 'value {} at 100% "quoted" {}\n%s'
    builder = simple(
        call(
            "log_msg",
            {"type": "string", "value": text},
            {"type": "parameters_vector", "value": [VALUE, INDEX]},
        ),
        call("assert", whole(op("==", VALUE, const(5))), line=42),
    )
    plane = run(builder)
    send(plane, 9, 5)
    send(plane, 9, 6)
    assert plane.read_log(0) == [
        'value 5 at 100% "quoted" 9\n%s',
        'value 6 at 100% "quoted" 9\n%s',
        "assert failed at test.p4:42",
    ]


def test_random_stays_in_its_range(run: Runner) -> None:
    plane = run(simple(call("modify_field_rng_uniform", RESULT, const(10), VALUE)))
    assert {send(plane, 0, 12) for _ in range(200)} == {10, 11, 12}
    assert send(plane, 0, 9) == 0  # empty range: the field keeps its value

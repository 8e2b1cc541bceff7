# SPDX-License-Identifier: Apache-2.0
"""Counters, meters and registers, direct and indirect."""

from __future__ import annotations

import grpc
import pytest
from p4rt_stubs.p4.v1 import p4data_pb2 as p4data
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt
from softswitch.api import MeterConfig

from .client import action, codes, match, update
from .conftest import World
from .program import (
    COUNTER,
    COUNTER_PACKETS,
    DIRECT_COUNTER,
    DIRECT_METER,
    DROP,
    EXACT,
    LPM,
    METER,
    REGISTER,
    TERNARY,
)

INVALID, NOT_FOUND, OUT_OF_RANGE, UNIMPLEMENTED = 3, 5, 11, 12
CONFIG = p4rt.MeterConfig(cir=1, cburst=2, pir=3, pburst=4)
KEY = [match(1, exact=b"\1"), match(2, exact=b"\2")]
TERNARY_KEY = [match(4, exact=b"\1")]


def code_of(world: World, kind: str = "MODIFY", **entity: object) -> int:
    try:
        world.client.write(update(kind, **entity))
    except grpc.RpcError as error:
        return codes(error)[0]
    return 0


def refused(world: World, **entity: object) -> str:
    with pytest.raises(grpc.RpcError) as error:
        world.client.read(**entity)
    return error.value.code().name


def at(index: int) -> p4rt.Index:
    return p4rt.Index(index=index)


def counter(world: World, **fields: object) -> list[tuple[int, int, int, int]]:
    entities = world.client.read(counter_entry=p4rt.CounterEntry(**fields))
    return [
        (c.counter_id, c.index.index, c.data.packet_count, c.data.byte_count)
        for c in (entity.counter_entry for entity in entities)
    ]


def write_counter(world: World, kind: str = "MODIFY", **fields: object) -> int:
    data = p4rt.CounterData(packet_count=5, byte_count=600)
    entry = p4rt.CounterEntry(**{"counter_id": COUNTER, "data": data, **fields})
    return code_of(world, kind, counter_entry=entry)


def test_counter_cell(world: World) -> None:
    assert write_counter(world, index=at(2)) == 0
    assert counter(world, counter_id=COUNTER, index=at(2)) == [(COUNTER, 2, 5, 600)]
    assert counter(world, counter_id=COUNTER) == [
        (COUNTER, 0, 0, 0),
        (COUNTER, 1, 0, 0),
        (COUNTER, 2, 5, 600),
        (COUNTER, 3, 0, 0),
    ]


def test_counter_id_0_is_all_counters(world: World) -> None:
    cells = counter(world)
    assert [c[0] for c in cells] == [COUNTER] * 4 + [COUNTER_PACKETS] * 1200


def test_counter_write_without_index_is_every_cell(world: World) -> None:
    assert write_counter(world) == 0
    assert [cell[2:] for cell in counter(world, counter_id=COUNTER)] == [(5, 600)] * 4


def test_counter_write_sets_the_declared_unit_only(world: World) -> None:
    world.dataplane.counter_write("In.packets", 0, 1, 100)
    assert write_counter(world, counter_id=COUNTER_PACKETS, index=at(0)) == 0
    assert world.dataplane.counter_read("In.packets", 0) == (5, 100)


@pytest.mark.parametrize(
    ("kind", "fields", "code"),
    [
        ("INSERT", {}, INVALID),
        ("DELETE", {}, INVALID),
        ("MODIFY", {"index": at(-1)}, INVALID),
        ("MODIFY", {"index": at(4)}, OUT_OF_RANGE),
        ("MODIFY", {"counter_id": 0}, INVALID),
        ("MODIFY", {"counter_id": DIRECT_COUNTER}, INVALID),
        ("MODIFY", {"data": p4rt.CounterData(packet_count=-1)}, INVALID),
    ],
)
def test_counter_refusals(world: World, kind: str, fields: dict, code: int) -> None:
    assert write_counter(world, kind, **fields) == code


def test_counter_read_refusals(world: World) -> None:
    def entry(**fields: object) -> p4rt.CounterEntry:
        return p4rt.CounterEntry(**fields)

    assert refused(world, counter_entry=entry(counter_id=99)) == "INVALID_ARGUMENT"
    assert refused(world, counter_entry=entry(counter_id=DIRECT_COUNTER)) == "INVALID_ARGUMENT"
    bad = entry(counter_id=COUNTER, index=at(-1))
    assert refused(world, counter_entry=bad) == "INVALID_ARGUMENT"
    bad = entry(counter_id=COUNTER, index=at(4))
    assert refused(world, counter_entry=bad) == "OUT_OF_RANGE"


def meter(world: World, **fields: object) -> list[p4rt.MeterEntry]:
    entities = world.client.read(meter_entry=p4rt.MeterEntry(**fields))
    return [entity.meter_entry for entity in entities]


def write_meter(world: World, kind: str = "MODIFY", **fields: object) -> int:
    entry = p4rt.MeterEntry(**{"meter_id": METER, "index": at(1), "config": CONFIG, **fields})
    return code_of(world, kind, meter_entry=entry)


def test_meter_cell_and_its_default(world: World) -> None:
    assert write_meter(world) == 0
    assert world.dataplane.meter_get("In.meter", 1) == MeterConfig(1, 2, 3, 4)
    cells = meter(world, meter_id=METER)
    assert [cell.index.index for cell in cells] == [0, 1, 2, 3]
    assert [cell.HasField("config") for cell in cells] == [False, True, False, False]
    assert cells[1].config == CONFIG
    assert write_meter(world, config=None) == 0
    assert not meter(world, meter_id=METER, index=at(1))[0].HasField("config")


def test_meter_minus_one_is_the_default(world: World) -> None:
    assert write_meter(world) == 0
    default = p4rt.MeterConfig(cir=-1, cburst=-1, pir=-1, pburst=-1)
    assert write_meter(world, config=default) == 0
    assert world.dataplane.meter_get("In.meter", 1) is None


def test_meter_write_without_index_is_every_cell(world: World) -> None:
    assert write_meter(world, index=None) == 0
    assert all(cell.config == CONFIG for cell in meter(world))


@pytest.mark.parametrize(
    ("kind", "fields", "code"),
    [
        ("INSERT", {}, INVALID),
        ("DELETE", {}, INVALID),
        ("MODIFY", {"index": at(-1)}, INVALID),
        ("MODIFY", {"index": at(4)}, OUT_OF_RANGE),
        ("MODIFY", {"meter_id": 0}, INVALID),
        ("MODIFY", {"meter_id": DIRECT_METER}, INVALID),
        ("MODIFY", {"config": p4rt.MeterConfig(cir=2, pir=1)}, INVALID),
        ("MODIFY", {"config": p4rt.MeterConfig(cir=-1, pir=1)}, INVALID),
        ("MODIFY", {"config": p4rt.MeterConfig(cburst=1 << 32)}, UNIMPLEMENTED),
        ("MODIFY", {"config": p4rt.MeterConfig(eburst=1)}, UNIMPLEMENTED),
        ("MODIFY", {"counter_data": p4rt.MeterCounterData()}, UNIMPLEMENTED),
    ],
)
def test_meter_refusals(world: World, kind: str, fields: dict, code: int) -> None:
    assert write_meter(world, kind, **fields) == code


def bits(value: bytes) -> p4data.P4Data:
    return p4data.P4Data(bitstring=value)


def write_register(world: World, kind: str = "MODIFY", **fields: object) -> int:
    values = {"register_id": REGISTER, "index": at(1), "data": bits(b"\x0a\xbc"), **fields}
    return code_of(world, kind, register_entry=p4rt.RegisterEntry(**values))


def test_register_cell(world: World) -> None:
    assert write_register(world) == 0
    assert world.dataplane.register_read("In.register", 1) == 0xABC
    entities = world.client.read(register_entry=p4rt.RegisterEntry(register_id=REGISTER))
    cells = [(e.register_entry.index.index, e.register_entry.data.bitstring) for e in entities]
    assert cells == [(0, b"\0"), (1, b"\x0a\xbc"), (2, b"\0"), (3, b"\0")]
    assert len(world.client.read(register_entry=p4rt.RegisterEntry())) == 4


def test_register_write_without_index_is_every_cell(world: World) -> None:
    assert write_register(world, index=None, data=bits(b"\0\x07")) == 0
    assert world.dataplane.registers["In.register"] == [7] * 4


@pytest.mark.parametrize(
    ("kind", "fields", "code"),
    [
        ("INSERT", {}, INVALID),
        ("DELETE", {}, INVALID),
        ("MODIFY", {"index": at(-1)}, INVALID),
        ("MODIFY", {"index": at(4)}, OUT_OF_RANGE),
        ("MODIFY", {"register_id": 99}, INVALID),
        ("MODIFY", {"data": bits(b"\x10\x00")}, INVALID),
        ("MODIFY", {"data": bits(b"")}, INVALID),
        ("MODIFY", {"data": p4data.P4Data(bool=True)}, INVALID),
        ("MODIFY", {"data": None}, INVALID),
    ],
)
def test_register_refusals(world: World, kind: str, fields: dict, code: int) -> None:
    assert write_register(world, kind, **fields) == code


def direct_counter(kind: str, **fields: object) -> p4rt.DirectCounterEntry:
    return p4rt.DirectCounterEntry(
        table_entry=p4rt.TableEntry(**{"table_id": EXACT, "match": KEY, **fields}),
        data=p4rt.CounterData(packet_count=5, byte_count=600),
    )


def test_direct_counter(world: World) -> None:
    for number in (1, 2):
        fields = [match(1, exact=bytes([number])), KEY[1]]
        world.client.insert(table_id=EXACT, match=fields, action=action(DROP))
    assert code_of(world, direct_counter_entry=direct_counter("MODIFY")) == 0
    wanted = p4rt.DirectCounterEntry(table_entry=p4rt.TableEntry(table_id=EXACT, match=KEY))
    (entity,) = world.client.read(direct_counter_entry=wanted)
    assert entity.direct_counter_entry == direct_counter("MODIFY")
    for table_id in (EXACT, 0):
        every = p4rt.DirectCounterEntry(table_entry=p4rt.TableEntry(table_id=table_id))
        entities = world.client.read(direct_counter_entry=every)
        assert [e.direct_counter_entry.data.packet_count for e in entities] == [5, 0]
    assert code_of(world, direct_counter_entry=direct_counter("MODIFY", match=[])) == 0
    assert [entry.packets for entry in world.dataplane.entries("In.exact")] == [5, 5]


@pytest.mark.parametrize(
    ("kind", "fields", "code"),
    [
        ("INSERT", {}, INVALID),
        ("DELETE", {}, INVALID),
        ("MODIFY", {}, NOT_FOUND),
        ("MODIFY", {"table_id": 0}, INVALID),
        ("MODIFY", {"table_id": LPM, "match": []}, INVALID),
        ("MODIFY", {"match": [], "is_default_action": True}, UNIMPLEMENTED),
    ],
)
def test_direct_counter_refusals(world: World, kind: str, fields: dict, code: int) -> None:
    assert code_of(world, kind, direct_counter_entry=direct_counter(kind, **fields)) == code


def test_direct_counter_of_a_table_without_one_cannot_be_read(world: World) -> None:
    entry = p4rt.DirectCounterEntry(table_entry=p4rt.TableEntry(table_id=LPM))
    assert refused(world, direct_counter_entry=entry) == "INVALID_ARGUMENT"


def direct_meter(**fields: object) -> p4rt.DirectMeterEntry:
    entry = {"table_id": TERNARY, "match": TERNARY_KEY, "priority": 1, **fields}
    return p4rt.DirectMeterEntry(table_entry=p4rt.TableEntry(**entry), config=CONFIG)


def test_direct_meter(world: World) -> None:
    assert code_of(world, direct_meter_entry=direct_meter()) == NOT_FOUND
    world.client.insert(table_id=TERNARY, match=TERNARY_KEY, priority=1, action=action(DROP))
    assert code_of(world, direct_meter_entry=direct_meter()) == 0
    every = p4rt.DirectMeterEntry(table_entry=p4rt.TableEntry(table_id=TERNARY))
    (entity,) = world.client.read(direct_meter_entry=every)
    assert entity.direct_meter_entry == direct_meter()
    unset = direct_meter()
    unset.ClearField("config")
    assert code_of(world, direct_meter_entry=unset) == 0
    (entity,) = world.client.read(direct_meter_entry=every)
    assert not entity.direct_meter_entry.HasField("config")
    other = p4rt.DirectMeterEntry(table_entry=p4rt.TableEntry(table_id=EXACT))
    assert code_of(world, direct_meter_entry=other) == INVALID

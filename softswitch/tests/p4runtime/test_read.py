# SPDX-License-Identifier: Apache-2.0
"""Read: wildcards, filters, what appears in an answer, chunks and errors."""

from __future__ import annotations

import dataclasses

import grpc
import pytest
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt
from softswitch.p4runtime.read import CHUNK

from .client import DEVICE, action, codes, first, match, update
from .conftest import World
from .program import CONST, CONST_DEFAULT, DROP, EXACT, FWD, KEYLESS, LPM, NOP, TERNARY

FWD_1 = action(FWD, (1, b"\x05"), (2, b"\x07"))
FWD_2 = action(FWD, (1, b"\x06"), (2, b"\x07"))


def exact(number: int) -> list[p4rt.FieldMatch]:
    return [match(1, exact=bytes([number])), match(2, exact=b"\x01")]


@pytest.fixture
def filled(world: World) -> World:
    """Three exact entries, three ternary ones."""
    insert = world.client.insert
    insert(table_id=EXACT, match=exact(1), action=FWD_1, metadata=b"m", controller_metadata=1)
    insert(table_id=EXACT, match=exact(2), action=FWD_2, metadata=b"n", idle_timeout_ns=1000)
    insert(table_id=EXACT, match=exact(3), action=action(DROP))
    d = match(4, exact=b"\1")
    a = match(1, ternary=(b"\x10", b"\xf0"))
    insert(table_id=TERNARY, match=[d], action=action(DROP), priority=1)
    insert(table_id=TERNARY, match=[a, d], action=action(DROP), priority=1)
    insert(table_id=TERNARY, match=[a, d], action=FWD_1, priority=2)
    return world


def refused(world: World, **entity: object) -> str:
    with pytest.raises(grpc.RpcError) as error:
        world.client.read(**entity)
    return error.value.code().name


def test_needs_a_pipeline_and_the_device(bare: World) -> None:
    with pytest.raises(grpc.RpcError) as error:
        bare.client.responses()
    assert error.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    with pytest.raises(grpc.RpcError) as error:
        bare.client.responses(device_id=DEVICE + 1)
    assert error.value.code() == grpc.StatusCode.NOT_FOUND


def test_nothing_asked_nothing_answered(world: World) -> None:
    assert world.client.responses() == []


def test_all_entries_of_all_tables_without_defaults(filled: World) -> None:
    entries = filled.client.table(table_id=0)
    assert sorted(entry.table_id for entry in entries) == [EXACT] * 3 + [TERNARY] * 3 + [CONST]
    assert not any(entry.is_default_action for entry in entries)


def test_read_returns_what_was_written(filled: World) -> None:
    assert filled.client.table(table_id=EXACT) == [
        p4rt.TableEntry(
            table_id=EXACT, match=exact(1), action=FWD_1, metadata=b"m", controller_metadata=1
        ),
        p4rt.TableEntry(
            table_id=EXACT, match=exact(2), action=FWD_2, metadata=b"n", idle_timeout_ns=1000
        ),
        p4rt.TableEntry(table_id=EXACT, match=exact(3), action=action(DROP)),
    ]


def test_dont_care_fields_are_left_out(filled: World) -> None:
    entries = filled.client.table(table_id=TERNARY)
    assert [[field.field_id for field in entry.match] for entry in entries] == [[4], [1, 4], [1, 4]]


def test_every_kind_of_match_comes_back(world: World) -> None:
    fields = [
        match(1, ternary=(b"\x10", b"\xf0")),
        match(2, optional=b"\0"),
        match(3, range=(b"\0", b"\x0f")),
        match(4, exact=b"\x01\xff"),
    ]
    world.client.insert(table_id=TERNARY, match=fields, action=action(DROP), priority=1)
    assert list(first(world.client.table(table_id=TERNARY)).match) == fields


def test_one_entry_by_its_key(filled: World) -> None:
    entry = first(filled.client.table(table_id=EXACT, match=exact(2)))
    assert entry.metadata == b"n"
    assert filled.client.table(table_id=EXACT, match=exact(9)) == []


def test_match_with_and_without_priority(filled: World) -> None:
    fields = [match(1, ternary=(b"\x10", b"\xf0")), match(4, exact=b"\1")]
    both = filled.client.table(table_id=TERNARY, match=fields)
    assert [entry.priority for entry in both] == [1, 2]
    one = filled.client.table(table_id=TERNARY, match=fields, priority=2)
    assert [entry.priority for entry in one] == [2]
    assert filled.client.table(table_id=TERNARY, match=fields, priority=3) == []


@pytest.mark.parametrize(
    ("request_fields", "found"),
    [
        ({"table_id": TERNARY, "priority": 1}, 2),
        ({"table_id": EXACT, "metadata": b"m"}, 1),
        ({"table_id": EXACT, "metadata": b"x"}, 0),
        ({"table_id": EXACT, "controller_metadata": 1}, 1),
        ({"table_id": EXACT, "action": action(FWD)}, 2),
        ({"table_id": EXACT, "action": FWD_2}, 1),
        ({"table_id": EXACT, "action": action(DROP)}, 1),
        ({"table_id": EXACT, "action": action(DROP), "metadata": b"m"}, 0),
        ({"table_id": 0, "metadata": b"m"}, 1),
        ({"table_id": 0, "priority": 1}, 2),
    ],
)
def test_filters(filled: World, request_fields: dict, found: int) -> None:
    assert len(filled.client.table(**request_fields)) == found


def test_counters_and_times_only_when_asked(filled: World) -> None:
    rows = filled.dataplane.tables["In.exact"]
    for key, entry in rows.items():
        rows[key] = dataclasses.replace(entry, packets=2, bytes=300, time_since_last_hit_ns=77)
    entry = filled.client.table(table_id=EXACT)[1]
    assert not entry.HasField("counter_data")
    assert not entry.HasField("time_since_last_hit")
    entry = filled.client.table(table_id=EXACT, counter_data={}, time_since_last_hit={})[1]
    assert entry.counter_data == p4rt.CounterData(packet_count=2, byte_count=300)
    assert entry.time_since_last_hit.elapsed_ns == 77


def test_direct_meter_stays_unset_at_its_default(filled: World) -> None:
    entries = filled.client.table(table_id=TERNARY, meter_config={})
    assert not any(entry.HasField("meter_config") for entry in entries)


def test_all_tables_answer_each_what_they_have(filled: World) -> None:
    entries = filled.client.table(table_id=0, counter_data={}, time_since_last_hit={})
    with_counter = [entry.table_id for entry in entries if entry.HasField("counter_data")]
    assert with_counter == [EXACT] * 3


def test_const_entries_are_readable(world: World) -> None:
    entry = first(world.client.table(table_id=CONST))
    assert entry.is_const
    assert entry.match[0].exact.value == b"\x07"


def test_default_entries(world: World) -> None:
    entry = first(world.client.table(table_id=EXACT, is_default_action=True))
    assert entry == p4rt.TableEntry(table_id=EXACT, is_default_action=True, action=action(NOP))
    everything = world.client.table(table_id=0, is_default_action=True)
    assert [e.table_id for e in everything] == [EXACT, TERNARY, LPM, CONST, KEYLESS, CONST_DEFAULT]


@pytest.mark.parametrize(
    "request_fields",
    [
        {"table_id": 99},
        {"table_id": FWD},
        {"table_id": 0, "match": exact(1)},
        {"table_id": 0, "action": FWD_1},
        {"table_id": EXACT, "match": exact(1)[:1]},
        {"table_id": EXACT, "action": action(99)},
        {"table_id": LPM, "counter_data": p4rt.CounterData()},
        {"table_id": EXACT, "is_default_action": True, "match": exact(1)},
    ],
)
def test_bad_requests_get_their_bare_code(world: World, request_fields: dict) -> None:
    entry = p4rt.TableEntry(**request_fields)
    assert refused(world, table_entry=entry) == "INVALID_ARGUMENT"


def test_entity_without_type_and_without_support(world: World) -> None:
    assert refused(world) == "INVALID_ARGUMENT"
    assert refused(world, value_set_entry=p4rt.ValueSetEntry()) == "UNIMPLEMENTED"
    assert refused(world, extern_entry=p4rt.ExternEntry()) == "UNIMPLEMENTED"


def test_one_bad_entity_among_good_ones(filled: World) -> None:
    good = p4rt.Entity(table_entry=p4rt.TableEntry(table_id=EXACT))
    bad = p4rt.Entity(table_entry=p4rt.TableEntry(table_id=99))
    request = p4rt.ReadRequest(device_id=DEVICE, entities=[bad, good])
    answers = filled.client.stub.Read(request)
    assert len(next(answers).entities) == 3
    with pytest.raises(grpc.RpcError) as error:
        next(answers)
    assert codes(error.value) == [3, 0]


def test_large_answers_come_in_chunks(world: World) -> None:
    def entry(number: int) -> p4rt.TableEntry:
        return p4rt.TableEntry(
            table_id=TERNARY,
            match=[match(1, ternary=(number.to_bytes(2, "big"), b"\xff\xff")),
                   match(4, exact=b"\1")],
            action=action(DROP),
            priority=1,
        )  # fmt: skip

    total = 2 * CHUNK + 1
    world.client.write(*[update("INSERT", table_entry=entry(i)) for i in range(total)])
    request = p4rt.Entity(table_entry=p4rt.TableEntry(table_id=TERNARY))
    responses = world.client.responses(request)
    assert [len(response.entities) for response in responses] == [CHUNK, CHUNK, 1]
    seen = {e.table_entry.match[0].ternary.value for r in responses for e in r.entities}
    assert len(seen) == total


def test_read_that_outlives_its_pipeline_is_aborted(world: World) -> None:
    reading = world.service.read(
        p4rt.ReadRequest(
            device_id=DEVICE,
            entities=[p4rt.Entity(counter_entry=p4rt.CounterEntry(counter_id=22))],
        )
    )
    next(reading)
    world.client.push(world.config())
    with pytest.raises(Exception, match="replaced"):
        next(reading)

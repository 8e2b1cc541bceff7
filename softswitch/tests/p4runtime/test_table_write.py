# SPDX-License-Identifier: Apache-2.0
"""Writing table entries: every check of the specification, and that the entry arrives."""

from __future__ import annotations

import grpc
import pytest
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt
from softswitch.api import DefaultAction, Entry, MeterConfig

from .client import action, batch_errors, codes, first, match, update
from .conftest import World
from .program import (
    CONST,
    CONST_DEFAULT,
    DROP,
    EXACT,
    FWD,
    KEYLESS,
    LPM,
    NOP,
    ONLY_TABLE,
    OTHER,
    TERNARY,
)

INVALID, NOT_FOUND, EXISTS, DENIED, EXHAUSTED, UNIMPLEMENTED = 3, 5, 6, 7, 8, 12
KEY = (match(1, exact=b"\x01\x02"), match(2, exact=b"\x0a\x00\x00\x01"))
FWD_1 = action(FWD, (1, b"\x05"), (2, b"\x0f\xff"))


def code_of(world: World, kind: str, **entry: object) -> int:
    """The canonical code of a single update."""
    try:
        world.client.write(update(kind, table_entry=p4rt.TableEntry(**entry)))
    except grpc.RpcError as error:
        (code,) = codes(error)
        return code
    return 0


def insert_exact(world: World, **more: object) -> int:
    return code_of(world, "INSERT", **{"table_id": EXACT, "match": KEY, "action": FWD_1, **more})


def insert_ternary(world: World, *fields: p4rt.FieldMatch, **more: object) -> int:
    entry = {
        "table_id": TERNARY,
        "match": [*fields, match(4, exact=b"\1")],
        "priority": 10,
        "action": action(DROP),
    }
    return code_of(world, "INSERT", **{**entry, **more})


def test_insert_reaches_the_data_plane_with_everything(world: World) -> None:
    assert insert_exact(world, idle_timeout_ns=7, metadata=b"m", controller_metadata=9) == 0
    key = ((0x102, 0x1FF), (0x0A000001, 0xFFFFFFFF))
    assert world.dataplane.get("In.exact", key) == Entry(
        key=key,
        action="In.fwd",
        params=(5, 0xFFF),
        priority=0,
        idle_timeout_ns=7,
        metadata=b"m",
        controller_metadata=9,
    )


def test_insert_existing_modify_and_delete_missing(world: World) -> None:
    assert code_of(world, "MODIFY", table_id=EXACT, match=KEY, action=FWD_1) == NOT_FOUND
    assert code_of(world, "DELETE", table_id=EXACT, match=KEY) == NOT_FOUND
    assert insert_exact(world) == 0
    assert insert_exact(world) == EXISTS
    assert code_of(world, "DELETE", table_id=EXACT, match=KEY) == 0
    assert code_of(world, "DELETE", table_id=EXACT, match=KEY) == NOT_FOUND


def test_order_of_fields_does_not_matter(world: World) -> None:
    assert insert_exact(world) == 0
    assert insert_exact(world, match=list(reversed(KEY))) == EXISTS


def test_same_match_with_another_priority_is_another_entry(world: World) -> None:
    assert insert_ternary(world, priority=1) == 0
    assert insert_ternary(world, priority=2) == 0
    assert insert_ternary(world, priority=2) == EXISTS


def test_full_table(world: World) -> None:
    for number in range(4):
        fields = (match(1, exact=bytes([number])), KEY[1])
        assert insert_exact(world, match=fields) == 0
    assert insert_exact(world) == EXHAUSTED


@pytest.mark.parametrize("table_id", [0, 99, FWD])
def test_unknown_table(world: World, table_id: int) -> None:
    assert insert_exact(world, table_id=table_id) == INVALID


@pytest.mark.parametrize(
    ("chosen", "code"),
    [
        (action(99), INVALID),
        (action(0), INVALID),
        (action(OTHER), INVALID),
        (action(NOP), DENIED),
        (action(ONLY_TABLE), 0),
        (p4rt.TableAction(), INVALID),
        (p4rt.TableAction(action_profile_member_id=1), INVALID),
        (action(FWD, (1, b"\1")), INVALID),
        (action(FWD, (1, b"\1"), (1, b"\1")), INVALID),
        (action(FWD, (1, b"\1"), (2, b"\1"), (2, b"\1")), INVALID),
        (action(FWD, (1, b"\1"), (3, b"\1")), INVALID),
        (action(FWD, (1, b"\2\0"), (2, b"\1")), INVALID),
        (action(FWD, (1, b""), (2, b"\1")), INVALID),
        (action(FWD, (2, b"\1"), (1, b"\1")), 0),
        (action(FWD, (1, b"\0\0\0\1"), (2, b"\1")), 0),
    ],
)
def test_actions(world: World, chosen: p4rt.TableAction, code: int) -> None:
    assert insert_exact(world, action=chosen) == code


def test_insert_without_action(world: World) -> None:
    assert code_of(world, "INSERT", table_id=EXACT, match=KEY) == INVALID


@pytest.mark.parametrize(
    "fields",
    [
        (),
        KEY[:1],
        (*KEY, match(3, exact=b"\1")),
        (*KEY, KEY[0]),
        (match(1, ternary=(b"\1", b"\1")), KEY[1]),
        (match(1, exact=b""), KEY[1]),
        (match(1, exact=b"\x02\x00"), KEY[1]),
        (p4rt.FieldMatch(field_id=1), KEY[1]),
    ],
)
def test_bad_exact_match(world: World, fields: tuple[p4rt.FieldMatch, ...]) -> None:
    assert insert_exact(world, match=fields) == INVALID


def test_leading_zeros_are_accepted(world: World) -> None:
    fields = (match(1, exact=b"\0\0\0\x01\x02"), match(2, exact=b"\0" * 20 + b"\1"))
    assert insert_exact(world, match=fields) == 0
    assert [f.exact.value for f in first(world.client.table(table_id=EXACT)).match] == [
        b"\x01\x02",
        b"\x01",
    ]


@pytest.mark.parametrize(
    ("field", "code"),
    [
        (match(1, ternary=(b"\x10", b"\xf0")), 0),
        (match(1, ternary=(b"\x11", b"\xf0")), INVALID),
        (match(1, ternary=(b"\0", b"\0")), INVALID),
        (match(1, ternary=(b"\1\0\0", b"\1\0\0")), INVALID),
        (match(1, ternary=(b"", b"\1")), INVALID),
        (match(1, exact=b"\1"), INVALID),
        (match(2, optional=b"\x07"), 0),
        (match(2, optional=b"\x01\x00"), INVALID),
        (match(2, ternary=(b"\1", b"\xff")), INVALID),
        (match(3, range=(b"\1", b"\2")), 0),
        (match(3, range=(b"\2", b"\2")), 0),
        (match(3, range=(b"\2", b"\1")), INVALID),
        (match(3, range=(b"\0", b"\x0f\xff\xff")), INVALID),
        (match(3, range=(b"\0", b"\x1f\xff\xff")), INVALID),
        (match(3, lpm=(b"\1", 3)), INVALID),
    ],
)
def test_ternary_optional_range(world: World, field: p4rt.FieldMatch, code: int) -> None:
    assert insert_ternary(world, field) == code


@pytest.mark.parametrize(
    ("value", "length", "code"),
    [
        (b"\x0f\xff\xf0", 16, 0),
        (b"\x0f\xff\xff", 20, 0),
        (b"\x08\0\0", 1, 0),
        (b"\0", 3, 0),
        (b"\x0f\xff\xf8", 16, INVALID),
        (b"\0", 0, INVALID),
        (b"\x0f\xff\xff", 21, INVALID),
        (b"\x0f\xff\xff", -1, INVALID),
        (b"\x1f\xff\xff", 20, INVALID),
    ],
)
def test_lpm_uses_the_real_width(world: World, value: bytes, length: int, code: int) -> None:
    fields = [match(1, lpm=(value, length))]
    assert code_of(world, "INSERT", table_id=LPM, match=fields, action=action(DROP)) == code
    if code == 0:
        assert list(first(world.client.table(table_id=LPM)).match) == fields


@pytest.mark.parametrize("priority", [0, -1])
def test_ternary_needs_a_priority(world: World, priority: int) -> None:
    assert insert_ternary(world, priority=priority) == INVALID


@pytest.mark.parametrize("priority", [1, -1])
def test_exact_and_lpm_take_no_priority(world: World, priority: int) -> None:
    assert insert_exact(world, priority=priority) == INVALID
    fields = [match(1, lpm=(b"\x08\0\0", 1))]
    entry = {"table_id": LPM, "match": fields, "action": action(DROP)}
    assert code_of(world, "INSERT", **entry, priority=priority) == INVALID


@pytest.mark.parametrize(
    ("table_id", "timeout", "code"),
    [(EXACT, 1, 0), (EXACT, -1, INVALID), (LPM, 1, INVALID), (LPM, 0, 0)],
)
def test_idle_timeout(world: World, table_id: int, timeout: int, code: int) -> None:
    fields = KEY if table_id == EXACT else [match(1, lpm=(b"\x08\0\0", 1))]
    assert insert_exact(world, table_id=table_id, match=fields, idle_timeout_ns=timeout) == code


def test_what_a_write_may_not_set(world: World) -> None:
    elapsed = p4rt.TableEntry.IdleTimeout(elapsed_ns=1)
    assert insert_exact(world, time_since_last_hit=elapsed) == INVALID
    assert insert_exact(world, is_const=True) == INVALID


def test_delete_looks_at_the_key_only(world: World) -> None:
    assert insert_exact(world) == 0
    assert code_of(world, "DELETE", table_id=EXACT, match=KEY, action=action(99)) == 0


def test_modify_overwrites_action_and_metadata(world: World) -> None:
    assert insert_exact(world, metadata=b"old", controller_metadata=1, idle_timeout_ns=5) == 0
    assert code_of(world, "MODIFY", table_id=EXACT, match=KEY, action=action(DROP)) == 0
    entry = first(world.client.table(table_id=EXACT))
    assert entry == p4rt.TableEntry(table_id=EXACT, match=KEY, action=action(DROP))


def test_modify_without_action_keeps_the_action(world: World) -> None:
    assert code_of(world, "MODIFY", table_id=EXACT, match=KEY) == NOT_FOUND
    assert insert_exact(world) == 0
    data = p4rt.CounterData(packet_count=3, byte_count=4)
    assert code_of(world, "MODIFY", table_id=EXACT, match=KEY, counter_data=data) == 0
    entry = first(world.client.table(table_id=EXACT, counter_data=p4rt.CounterData()))
    assert entry.action == FWD_1
    assert entry.counter_data == data


def test_keyless_table_takes_no_entry(world: World) -> None:
    assert code_of(world, "INSERT", table_id=KEYLESS, action=FWD_1) == INVALID


@pytest.mark.parametrize("kind", ["INSERT", "MODIFY", "DELETE"])
def test_const_table(world: World, kind: str) -> None:
    entry = {"table_id": CONST, "match": [match(1, exact=b"\x07")], "action": action(DROP)}
    assert code_of(world, kind, **entry) == DENIED


def test_default_entry_of_a_const_table_can_change(world: World) -> None:
    entry = {"table_id": CONST, "is_default_action": True, "action": action(DROP)}
    assert code_of(world, "MODIFY", **entry) == 0


def test_default_entry_set_and_reset(world: World) -> None:
    entry = {"table_id": EXACT, "is_default_action": True}
    assert code_of(world, "MODIFY", **entry, action=action(DROP), metadata=b"d",
                   controller_metadata=4) == 0  # fmt: skip
    assert world.dataplane.get_default("In.exact") == DefaultAction("In.drop")
    read = first(world.client.table(**entry))
    assert read == p4rt.TableEntry(
        **entry, action=action(DROP), metadata=b"d", controller_metadata=4
    )
    assert code_of(world, "MODIFY", **entry) == 0
    assert first(world.client.table(**entry)) == p4rt.TableEntry(**entry, action=action(NOP))


@pytest.mark.parametrize(
    ("kind", "fields", "code"),
    [
        ("INSERT", {}, INVALID),
        ("DELETE", {}, INVALID),
        ("MODIFY", {"match": KEY}, INVALID),
        ("MODIFY", {"priority": 1}, INVALID),
        ("MODIFY", {"idle_timeout_ns": 1}, INVALID),
        ("MODIFY", {"time_since_last_hit": p4rt.TableEntry.IdleTimeout()}, INVALID),
        ("MODIFY", {"is_const": True}, INVALID),
        ("MODIFY", {"action": action(ONLY_TABLE)}, DENIED),
        ("MODIFY", {"action": action(OTHER)}, INVALID),
        ("MODIFY", {"counter_data": p4rt.CounterData()}, UNIMPLEMENTED),
        ("MODIFY", {"table_id": CONST_DEFAULT}, DENIED),
        ("MODIFY", {"table_id": LPM, "counter_data": p4rt.CounterData()}, INVALID),
    ],
)
def test_default_entry_refusals(world: World, kind: str, fields: dict, code: int) -> None:
    entry = {"table_id": EXACT, "is_default_action": True, "action": action(DROP), **fields}
    assert code_of(world, kind, **entry) == code


def test_direct_resources_with_the_entry(world: World) -> None:
    data = p4rt.CounterData(packet_count=3, byte_count=400)
    assert insert_exact(world, counter_data=data) == 0
    assert first(world.client.table(table_id=EXACT, counter_data={})).counter_data == data
    meter = p4rt.MeterConfig(cir=1, cburst=2, pir=3, pburst=4)
    assert insert_ternary(world, meter_config=meter) == 0
    assert list(world.dataplane.meters.values()) == [MeterConfig(1, 2, 3, 4)]
    assert first(world.client.table(table_id=TERNARY, meter_config={})).meter_config == meter
    key = {"table_id": TERNARY, "match": [match(4, exact=b"\1")], "priority": 10}
    assert code_of(world, "MODIFY", **key, action=action(DROP)) == 0
    assert world.dataplane.meters == {}


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"meter_config": p4rt.MeterConfig()}, INVALID),
        ({"counter_data": p4rt.CounterData(packet_count=-1)}, INVALID),
        ({"meter_counter_data": p4rt.MeterCounterData()}, UNIMPLEMENTED),
    ],
)
def test_direct_resources_refused_before_the_entry_exists(
    world: World, fields: dict, code: int
) -> None:
    assert insert_exact(world, **fields) == code
    assert world.client.table(table_id=EXACT) == []


def test_table_without_the_resource(world: World) -> None:
    assert insert_ternary(world, counter_data=p4rt.CounterData()) == INVALID
    bad = p4rt.MeterConfig(cir=2, cburst=1, pir=1, pburst=1)
    assert insert_ternary(world, meter_config=bad) == INVALID
    assert world.client.table(table_id=TERNARY) == []


def test_batch_attempts_every_update_and_reports_each(world: World) -> None:
    def entry(number: int) -> p4rt.TableEntry:
        fields = (match(1, exact=bytes([number])), KEY[1])
        return p4rt.TableEntry(table_id=EXACT, match=fields, action=FWD_1)

    with pytest.raises(grpc.RpcError) as error:
        world.client.write(
            update("INSERT", table_entry=entry(1)),
            update("INSERT", table_entry=entry(1)),
            update("DELETE", table_entry=entry(2)),
            update("UNSPECIFIED", table_entry=entry(3)),
            p4rt.Update(type=p4rt.Update.INSERT),
            update("INSERT", extern_entry=p4rt.ExternEntry()),
            update("INSERT", table_entry=entry(4)),
        )
    assert error.value.details() == ""
    assert codes(error.value) == [0, EXISTS, NOT_FOUND, INVALID, INVALID, UNIMPLEMENTED, 0]
    errors = batch_errors(error.value)
    assert errors[0] == p4rt.Error()
    assert errors[1].space == "ALL-sswitch-p4org"
    assert "In.exact" in errors[1].message
    assert len(world.client.table(table_id=EXACT)) == 2


def test_details_of_a_large_failing_batch_stay_small(world: World) -> None:
    """gRPC clients reject answers with more than 8 KiB of metadata."""
    entry = p4rt.TableEntry(table_id=EXACT, match=KEY, action=action(99))
    with pytest.raises(grpc.RpcError) as error:
        world.client.write(*[update("INSERT", table_entry=entry)] * 90)
    assert codes(error.value) == [INVALID] * 90


@pytest.mark.parametrize("atomicity", ["ROLLBACK_ON_ERROR", "DATAPLANE_ATOMIC"])
def test_other_atomicities(world: World, atomicity: str) -> None:
    with pytest.raises(grpc.RpcError) as error:
        world.client.write(atomicity=atomicity)
    assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    "entity",
    [
        {"value_set_entry": p4rt.ValueSetEntry()},
        {"extern_entry": p4rt.ExternEntry()},
    ],
)
def test_entities_without_support_are_named(world: World, entity: dict) -> None:
    with pytest.raises(grpc.RpcError) as error:
        world.client.write(update("INSERT", **entity))
    (item,) = batch_errors(error.value)
    assert item.canonical_code == UNIMPLEMENTED
    assert next(iter(entity)) in item.message

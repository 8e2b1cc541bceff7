# SPDX-License-Identifier: Apache-2.0
"""SetForwardingPipelineConfig and GetForwardingPipelineConfig."""

from __future__ import annotations

import threading

import grpc
import pytest
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt
from softswitch.p4runtime.pipeline import PipelineManager

from .client import DEVICE, action, match
from .conftest import GOOD_JSON, World, load_program
from .fake_dataplane import FakeDataplane
from .program import DROP, EXACT, FakeProgram, p4info_message

Set = p4rt.SetForwardingPipelineConfigRequest
Get = p4rt.GetForwardingPipelineConfigRequest


def get(world: World, kind: int = Get.ALL) -> p4rt.ForwardingPipelineConfig:
    return world.client.stub.GetForwardingPipelineConfig(
        Get(device_id=DEVICE, response_type=kind)
    ).config


def refused(world: World, code: str, config: p4rt.ForwardingPipelineConfig | None = None, **more):
    with pytest.raises(grpc.RpcError) as error:
        world.client.push(config, **more)
    assert error.value.code().name == code, error.value
    return error.value.details()


def test_get_without_pipeline_is_failed_precondition(bare: World) -> None:
    with pytest.raises(grpc.RpcError) as error:
        get(bare)
    assert error.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert "No forwarding pipeline config set for this device" in error.value.details()


def test_get_in_its_four_forms(bare: World) -> None:
    config = bare.config()
    config.cookie.cookie = 0xC00C1E
    bare.client.push(config)
    assert get(bare) == config
    assert get(bare, Get.COOKIE_ONLY) == p4rt.ForwardingPipelineConfig(cookie=config.cookie)
    assert get(bare, Get.P4INFO_AND_COOKIE) == p4rt.ForwardingPipelineConfig(
        p4info=config.p4info, cookie=config.cookie
    )
    assert get(bare, Get.DEVICE_CONFIG_AND_COOKIE) == p4rt.ForwardingPipelineConfig(
        p4_device_config=config.p4_device_config, cookie=config.cookie
    )


def test_cookie_is_returned_only_if_set(world: World) -> None:
    assert not get(world).HasField("cookie")


def test_verify_changes_nothing(bare: World) -> None:
    bare.client.push(bare.config(), action=Set.VERIFY)
    assert bare.dataplane.loads == 0
    assert bare.pipelines.current is None


def test_save_then_commit(bare: World) -> None:
    bare.client.push(bare.config(), action=Set.VERIFY_AND_SAVE)
    assert bare.dataplane.loads == 0
    bare.client.push(None, action=Set.COMMIT)
    assert bare.dataplane.loads == 1
    assert get(bare) == bare.config()
    refused(bare, "NOT_FOUND", action=Set.COMMIT)


def test_commit_with_config_is_invalid(bare: World) -> None:
    refused(bare, "INVALID_ARGUMENT", bare.config(), action=Set.COMMIT)


def test_actions_that_are_refused(bare: World) -> None:
    refused(bare, "INVALID_ARGUMENT", bare.config(), action=Set.UNSPECIFIED)
    refused(bare, "UNIMPLEMENTED", bare.config(), action=Set.RECONCILE_AND_COMMIT)


def test_missing_parts_are_named(bare: World) -> None:
    assert "config is missing" in refused(bare, "INVALID_ARGUMENT")
    no_p4info = p4rt.ForwardingPipelineConfig(p4_device_config=GOOD_JSON)
    assert "p4info" in refused(bare, "INVALID_ARGUMENT", no_p4info)
    assert "p4_device_config is empty" in refused(bare, "INVALID_ARGUMENT", bare.config(b""))


def test_bad_config_names_construct_and_keeps_the_old_pipeline(world: World) -> None:
    world.client.insert(
        table_id=EXACT,
        match=[match(1, exact=b"\1"), match(2, exact=b"\2")],
        action=action(DROP),
    )
    details = refused(world, "INVALID_ARGUMENT", world.config(b'{"bad": 1}'))
    assert "frobnicate" in details
    assert "main.p4:42" in details
    assert get(world) == world.config()
    assert len(world.client.table(table_id=EXACT)) == 1
    world.client.push(world.config())  # the next good push works


@pytest.mark.parametrize(
    ("config", "code", "said"),
    [
        (b'{"no": "compiler"}', "FAILED_PRECONDITION", "install gcc"),
        (b'{"bad": "code"}', "INTERNAL", "log"),
        (b'{"bad": "shape"}', "INVALID_ARGUMENT", "'pipelines' is missing"),
    ],
)
def test_program_that_cannot_be_loaded(bare: World, config: bytes, code: str, said: str) -> None:
    assert said in refused(bare, code, bare.config(config))


def test_push_clears_state(world: World) -> None:
    world.client.insert(
        table_id=EXACT,
        match=[match(1, exact=b"\1"), match(2, exact=b"\2")],
        action=action(DROP),
    )
    world.client.modify(
        table_id=EXACT, is_default_action=True, action=action(DROP), metadata=b"mine"
    )
    world.client.push(world.config())
    assert world.client.table(table_id=EXACT) == []
    default = world.client.table(table_id=EXACT, is_default_action=True)[0]
    assert default.metadata == b""


@pytest.mark.parametrize(
    "wrapped",
    [
        b"\x08\x01\x1a" + bytes([len(GOOD_JSON)]) + GOOD_JSON,
        b"\x1a" + bytes([len(GOOD_JSON)]) + GOOD_JSON,
        b"\x08\x01\x12\x06\x0a\x04\x0a\x02ab\x1a" + bytes([len(GOOD_JSON)]) + GOOD_JSON,
    ],
)
def test_legacy_wrapper_is_accepted_and_returned_as_pushed(bare: World, wrapped: bytes) -> None:
    bare.client.push(bare.config(wrapped))
    assert get(bare).p4_device_config == wrapped


@pytest.mark.parametrize(
    "broken", [b"\x1a\x7f{}", b"\x1a", b"\xff" * 12, b"not json", b"\x08\x01", b"\x09\x00"]
)
def test_neither_json_nor_wrapper_is_invalid(bare: World, broken: bytes) -> None:
    refused(bare, "INVALID_ARGUMENT", bare.config(broken))


def _rename_table(c):
    c.p4info.tables[0].preamble.name = "In.gone"


def _widen_field(c):
    c.p4info.tables[0].match_fields[0].bitwidth = 10


def _other_kind(c):
    c.p4info.tables[0].match_fields[0].match_type = 3


def _drop_field(c):
    del c.p4info.tables[0].match_fields[1]


def _foreign_action(c):
    c.p4info.tables[0].action_refs.add(id=15)


def _unknown_action(c):
    c.p4info.tables[0].action_refs.add(id=99)


def _widen_param(c):
    c.p4info.actions[0].params[0].bitwidth = 8


def _same_id(c):
    c.p4info.tables[1].preamble.id = 1


def _no_id(c):
    c.p4info.counters[0].preamble.id = 0


def _counter_size(c):
    c.p4info.counters[0].size = 5


def _no_register(c):
    c.p4info.registers[0].preamble.name = "In.elsewhere"


def _profile(c):
    c.p4info.action_profiles.add().preamble.name = "In.selector"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_rename_table, "In.gone"),
        (_widen_field, "'port' has 10 bits here, 9 in the device config"),
        (_other_kind, "'port' is lpm here, exact in the device config"),
        (_drop_field, "match fields ['port'] here"),
        (_foreign_action, "'In.other' is not in the device config"),
        (_unknown_action, "0x63 is not in P4Info"),
        (_widen_param, "bit<8> port"),
        (_same_id, "'In.ternary': id 0x1 is that of table 'In.exact'"),
        (_no_id, "id other than 0"),
        (_counter_size, "size 5 here, 4 in the device config"),
        (_no_register, "In.elsewhere"),
        (_profile, "In.selector"),
    ],
)
def test_p4info_and_json_must_agree(bare: World, spoil, said: str) -> None:
    config = bare.config()
    spoil(config)
    assert said in refused(bare, "INVALID_ARGUMENT", config)


def test_large_config_fits(bare: World) -> None:
    config = bare.config(b"[" + b" " * (8 << 20))
    assert "frobnicate" in refused(bare, "INVALID_ARGUMENT", config)


def test_empty_device_config_means_the_program_of_the_command_line() -> None:
    dataplane, program = FakeDataplane(), FakeProgram()
    pipelines = PipelineManager(dataplane, load_program, preloaded=program)
    config = p4rt.ForwardingPipelineConfig(p4info=p4info_message())
    request = Set(action=Set.VERIFY_AND_COMMIT, config=config)
    pipelines.set(request, threading.RLock(), lambda: None)
    assert dataplane.program is program
    assert pipelines.get(Get()).config == config

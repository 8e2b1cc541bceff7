# SPDX-License-Identifier: Apache-2.0
"""The contract accepts the program of this repository and names what is wrong with any other."""

from pathlib import Path

import pytest
from p4ct.eswitch.contract import ContractError, check
from p4ct.p4runtime.p4info import P4InfoIndex, load_p4info
from p4rt_stubs.p4.config.v1 import p4info_pb2

P4INFO = Path(__file__).parents[3] / "p4src/compiled/eswitch.p4info.txtpb"


@pytest.fixture
def message() -> p4info_pb2.P4Info:
    return load_p4info(P4INFO)


def problems(message: p4info_pb2.P4Info) -> list[str]:
    with pytest.raises(ContractError) as error:
        check(P4InfoIndex(message))
    return error.value.problems


def named(items, name: str):
    return next(item for item in items if item.preamble.name == name)


def field(items, name: str):
    return next(item for item in items if item.name == name)


def test_the_compiled_program_fits(message):
    contract = check(P4InfoIndex(message))
    assert contract.program == f"eswitch {message.pkg_info.version}"
    capabilities = contract.capabilities
    assert capabilities.max_connections == named(message.counters, "ct_counter").size // 2
    assert capabilities.ct_v4_size == named(message.tables, "ct_v4").size
    assert capabilities.connection_idle_timeout
    assert capabilities.flow_counters
    assert capabilities.trap_counters
    assert capabilities.punt_meter
    assert capabilities.window_registers
    assert capabilities.tunnel_term_size == 1024
    assert contract.enum_names["PuntReason"][4] == "TCP_SYN"
    assert contract.enum_names["DropReason"][5] == "BAD_PACKET_OUT"


def test_everything_that_is_wrong_is_said_at_once(message):
    message.pkg_info.version = "3.0.0"
    message.tables.remove(named(message.tables, "ct_v6"))
    message.counters.remove(named(message.counters, "path_counter"))
    with pytest.raises(ContractError) as error:
        check(P4InfoIndex(message))
    text = str(error.value)
    assert text.startswith("the program eswitch 3.0.0 is not what this controller needs:\n")
    assert "  - its version is 3.0.0; known is 2.x\n" in text
    assert "  - no table ct_v6; did you mean ct_v4?\n" in text
    assert "  - no counter path_counter" in text
    assert "make p4" in text


def test_another_program(message):
    message.pkg_info.name = "fabric"
    assert problems(message) == ["its name is fabric, not eswitch"]


def test_key_of_another_width(message):
    field(named(message.tables, "vport").match_fields, "vlan_id").bitwidth = 16
    assert problems(message) == ["table vport: key vlan_id is exact bit<16>, not exact bit<12>"]


def test_key_of_another_kind(message):
    keys = named(message.tables, "ct_v4").match_fields
    field(keys, "src").match_type = p4info_pb2.MatchField.LPM
    assert problems(message) == ["table ct_v4: key src is lpm bit<32>, not exact bit<32>"]


def test_missing_key_and_unknown_exact_key(message):
    field(named(message.tables, "l2_pair").match_fields, "eth_src").name = "smac"
    assert problems(message) == [
        "table l2_pair has no key eth_src",
        "table l2_pair has an unknown exact key smac",
    ]


def test_a_key_that_may_be_left_out_is_welcome(message):
    named(message.tables, "flow").match_fields.add(
        id=30, name="dscp", bitwidth=6, match_type=p4info_pb2.MatchField.TERNARY
    )
    check(P4InfoIndex(message))


def test_action_parameters(message):
    params = named(message.actions, "ct_forward").params
    field(params, "next_hop").bitwidth = 16
    field(params, "path").name = "policy"
    assert problems(message) == [
        "action ct_forward has no parameter path",
        "action ct_forward: parameter next_hop is bit<16>, not bit<24>",
        "action ct_forward has an unknown parameter policy",
    ]


def test_table_without_its_action(message):
    table = named(message.tables, "ct_v4")
    drain = named(message.actions, "ct_drain").preamble.id
    table.action_refs.remove(next(ref for ref in table.action_refs if ref.id == drain))
    assert problems(message) == ["table ct_v4 does not offer the action ct_drain"]


def test_missing_action(message):
    message.actions.remove(named(message.actions, "nh_route"))
    assert problems(message)[0].startswith("no action nh_route; did you mean")


def test_headers(message):
    fields = named(message.controller_packet_metadata, "packet_in").metadata
    field(fields, "generation").bitwidth = 16
    field(fields, "frame_length").name = "length"
    assert problems(message) == [
        "header packet_in: field generation is bit<16>, not bit<8>",
        "header packet_in has no field frame_length",
    ]


def test_missing_header(message):
    headers = message.controller_packet_metadata
    headers.remove(named(headers, "packet_out"))
    assert problems(message) == ["no controller header packet_out; did you mean packet_in?"]


def test_enums(message):
    members = message.type_info.serializable_enums["PuntReason"].members
    field(members, "TCP_SYN").value = b"\x20"
    field(members, "DRAIN").name = "DRAINING"
    del message.type_info.serializable_enums["VlanOp"]
    assert problems(message) == [
        "enum PuntReason has no member DRAIN",
        "enum PuntReason: TCP_SYN is 32, not 4",
        "no serializable enum VlanOp",
    ]


def test_an_added_reason_gets_its_name(message):
    members = message.type_info.serializable_enums["PuntReason"].members
    members.add(name="TUNNEL_UNKNOWN", value=b"\x1e")
    assert check(P4InfoIndex(message)).enum_names["PuntReason"][30] == "TUNNEL_UNKNOWN"


def test_counter_of_packets_only(message):
    named(message.counters, "ct_counter").spec.unit = 2
    assert problems(message) == ["counter ct_counter counts packets, not packets and bytes"]


def test_capabilities_that_a_target_may_lack(message):
    for table in message.tables:
        table.idle_timeout_behavior = p4info_pb2.Table.NO_TIMEOUT
        del table.direct_resource_ids[:]
    del message.meters[:]
    message.registers.remove(named(message.registers, "window_scale"))
    capabilities = check(P4InfoIndex(message)).capabilities
    assert not capabilities.connection_idle_timeout
    assert not capabilities.flow_idle_timeout
    assert not capabilities.flow_counters
    assert not capabilities.trap_counters
    assert not capabilities.punt_meter
    assert not capabilities.window_registers

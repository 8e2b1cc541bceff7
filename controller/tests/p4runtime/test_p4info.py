# SPDX-License-Identifier: Apache-2.0
"""Loading P4Info, finding things in it, and its listing."""

import logging
from pathlib import Path

import pytest
from google.protobuf import text_format
from p4ct.p4runtime.bytestring import canonical, canonical_bytes, fits
from p4ct.p4runtime.p4info import (
    P4InfoError,
    P4InfoIndex,
    P4InfoLookupError,
    describe,
    load_p4info,
)
from p4rt_stubs.p4.config.v1 import p4info_pb2

ESWITCH = Path(__file__).parents[3] / "p4src/compiled/eswitch.p4info.txtpb"

SMALL = """
pkg_info { name: "demo" version: "2.1.0" arch: "v1model" }
tables {
  preamble { id: 1 name: "ingress.acl.drop_list" alias: "drop_list" }
  match_fields { id: 1 name: "mac" bitwidth: 48 match_type: TERNARY annotations: "@format(MAC_ADDRESS)" }
  match_fields { id: 2 name: "dst" bitwidth: 32 match_type: LPM annotations: "@format(IPV4_ADDRESS)" }
  action_refs { id: 7 }
  action_refs { id: 8 scope: DEFAULT_ONLY }
  direct_resource_ids: 30
  size: 64
  idle_timeout_behavior: NOTIFY_CONTROL
}
tables { preamble { id: 2 name: "egress.acl.allow" alias: "allow" } size: 4 is_const_table: true }
tables { preamble { id: 3 name: "ingress.acl.allow" } size: 4 }
actions { preamble { id: 7 name: "ingress.set_port" alias: "set_port" } params { id: 1 name: "port" bitwidth: 9 } }
actions { preamble { id: 8 name: "NoAction" alias: "NoAction" } }
counters { preamble { id: 20 name: "ingress.hits" alias: "hits" } spec { unit: BOTH } size: 16 }
direct_counters { preamble { id: 30 name: "ingress.acl.drops" alias: "drops" } spec { unit: PACKETS } direct_table_id: 1 }
meters { preamble { id: 40 name: "ingress.limit" alias: "limit" } spec { unit: PACKETS } size: 8 }
controller_packet_metadata { preamble { id: 50 name: "packet_in" alias: "packet_in" }
  metadata { id: 1 name: "port" bitwidth: 9 } }
type_info { serializable_enums { key: "Why" value { underlying_type { bitwidth: 8 }
  members { name: "NONE" value: "\\000" } members { name: "FULL" value: "\\001" } } } }
"""  # noqa: E501


@pytest.fixture
def small() -> P4InfoIndex:
    return P4InfoIndex(text_format.Parse(SMALL, p4info_pb2.P4Info()))


@pytest.mark.parametrize("name", ["ingress.acl.drop_list", "drop_list", "acl.drop_list"])
def test_table_by_name_alias_and_suffix(small, name):
    table = small.tables.get(name)
    assert table.id == 1
    assert small.tables.by_id(1) is table
    assert [(k.name, k.kind, k.width, k.format) for k in table.keys] == [
        ("mac", "ternary", 48, "mac"),
        ("dst", "lpm", 32, "ipv4"),
    ]
    assert [a.name for a in table.actions] == ["ingress.set_port", "NoAction"]
    assert table.default_only == {8}
    assert (table.counter, table.idle_timeout, table.is_const) == ("ingress.acl.drops", True, False)


def test_alias_wins_over_an_ambiguous_suffix(small):
    assert small.tables.get("allow").id == 2
    assert small.tables.get("ingress.acl.allow").id == 3


def test_ambiguous_suffix(small):
    with pytest.raises(P4InfoLookupError) as error:
        small.tables.get("acl.allow")
    assert "ambiguous: write egress.acl.allow or ingress.acl.allow" in str(error.value)
    assert small.tables.find("acl.allow") is None


def test_did_you_mean(small):
    with pytest.raises(P4InfoLookupError) as error:
        small.tables.get("drop_lst")
    assert str(error.value).startswith("no table 'drop_lst' in P4Info; did you mean drop_list")
    with pytest.raises(P4InfoLookupError) as error:
        small.tables.get("zzzzzz")
    assert str(error.value) == "no table 'zzzzzz' in P4Info"


def test_version_and_enums(small):
    assert (small.name, small.version, small.arch) == ("demo", "2.1.0", "v1model")
    assert small.enums["Why"].members == {"NONE": 0, "FULL": 1}
    assert small.meters.get("limit").size == 8
    assert small.counters.get("hits").unit == "both"


def test_listing(small):
    assert describe(small) == (
        "demo 2.1.0 (v1model)\n"
        "\n"
        "table ingress.acl.drop_list  0x00000001  size 64, idle timeout, "
        "counter ingress.acl.drops\n"
        "  mac              ternary bit<48> (mac)\n"
        "  dst              lpm bit<32> (ipv4)\n"
        "  -> ingress.set_port(bit<9> port)\n"
        "  -> NoAction()  (default only)\n"
        "\n"
        "table egress.acl.allow  0x00000002  size 4, const\n"
        "\n"
        "table ingress.acl.allow  0x00000003  size 4\n"
        "\n"
        "counter ingress.hits  0x00000014  size 16, both\n"
        "\n"
        "meter ingress.limit  0x00000028  size 8, packets\n"
        "\n"
        "header packet_in\n"
        "  port             bit<9>\n"
        "\n"
        "enum bit<8> Why\n"
        "  NONE             0\n"
        "  FULL             1\n"
    )


def test_text_and_binary_files_load_alike(tmp_path):
    text = load_p4info(ESWITCH)
    binary = tmp_path / "eswitch.p4info.binpb"
    binary.write_bytes(text.SerializeToString())
    assert load_p4info(binary) == text


def test_unknown_field_is_ignored_with_a_warning(tmp_path, caplog):
    path = tmp_path / "newer.txtpb"
    path.write_text(SMALL + "quantum_tables { id: 1 }\n")
    with caplog.at_level(logging.WARNING):
        assert len(load_p4info(path).tables) == 3
    assert "quantum_tables" in caplog.text


@pytest.mark.parametrize(("content", "reason"), [
    (b"{ not p4info", "is not P4Info"),
    (b"\x00\xff\xfe", "is not P4Info"),
    (b"", "has no table"),
])  # fmt: skip
def test_bad_files(tmp_path, content, reason):
    path = tmp_path / "bad"
    path.write_bytes(content)
    with pytest.raises(P4InfoError) as error:
        load_p4info(path)
    assert str(path) in str(error.value)
    assert reason in str(error.value)


def test_missing_file(tmp_path):
    with pytest.raises(P4InfoError, match=r"No such file or directory; compile the program"):
        load_p4info(tmp_path / "nowhere.txtpb")


def test_canonical_bytestrings():
    assert [canonical(v) for v in (0, 1, 255, 256, 1 << 127)] == [
        b"\0",
        b"\1",
        b"\xff",
        b"\1\0",
        b"\x80" + bytes(15),
    ]
    assert canonical_bytes(bytes([0, 0, 10, 0])) == b"\x0a\0"
    assert canonical_bytes(bytes(4)) == b"\0"
    assert fits(511, 9)
    assert not fits(512, 9)
    assert not fits(-1, 9)

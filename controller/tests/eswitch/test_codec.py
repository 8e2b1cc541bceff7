# SPDX-License-Identifier: Apache-2.0
"""Entries to messages and back, and the bytes in between."""

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from p4ct.eswitch.codec import Codec
from p4ct.eswitch.entries import (
    CtEntry,
    CtForward,
    CtKey,
    Delete,
    FlowEntry,
    Insert,
    L2PairEntry,
    Modify,
    Nat,
    NextHopEntry,
    TunnelTermEntry,
    VportEntry,
)
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt

from .samples import CT_V4, DRAIN, ENTRIES, P4INFO, TUNNEL_V4, TUNNEL_V6, V4

CODEC = Codec(P4INFO)


def decode(entry: p4rt.TableEntry):
    name = P4INFO.tables.by_id(entry.table_id).name
    return {
        "tunnel_term_v4": CODEC.tunnel_entry,
        "tunnel_term_v6": CODEC.tunnel_entry,
        "vport": CODEC.vport_entry,
        "l2_pair": CODEC.l2_pair_entry,
        "ct_v4": CODEC.ct_entry,
        "ct_v6": CODEC.ct_entry,
        "flow": CODEC.flow_entry,
        "next_hop": CODEC.next_hop_entry,
    }[name](entry)


def bytestrings(entry: p4rt.TableEntry):
    for match in entry.match:
        if match.HasField("ternary"):
            yield from (match.ternary.value, match.ternary.mask)
        else:
            yield match.exact.value
    yield from (param.value for param in entry.action.action.params)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: type(entry).__name__)
def test_round_trip_in_canonical_bytes(entry):
    update = CODEC.update(Insert(entry))
    assert update.type == p4rt.Update.INSERT
    table_entry = update.entity.table_entry
    assert decode(table_entry) == entry
    for value in bytestrings(table_entry):
        assert value == b"\0" or (value and value[0] != 0), value


def test_a_connection_entry_on_the_wire():
    wanted = text_format.Parse(
        r"""
        type: MODIFY
        entity { table_entry {
          table_id: 0x02000005
          match { field_id: 1 exact { value: "\001\000\001" } }
          match { field_id: 2 exact { value: "\n\000\000\001" } }
          match { field_id: 3 exact { value: "\t" } }
          match { field_id: 4 exact { value: "\006" } }
          match { field_id: 5 exact { value: "\234@" } }
          match { field_id: 6 exact { value: "P" } }
          action { action {
            action_id: 0x01000004
            params { param_id: 1 value: "\377\377" }
            params { param_id: 2 value: "\377" }
            params { param_id: 3 value: "\001" }
          } }
        } }
        """,
        p4rt.Update(),
    )
    assert CODEC.update(Modify(DRAIN)) == wanted


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: type(entry).__name__)
def test_delete_carries_the_key_alone(entry):
    inserted = CODEC.update(Insert(entry)).entity.table_entry
    deleted = CODEC.update(Delete(entry)).entity.table_entry
    assert list(deleted.match) == list(inserted.match)
    assert deleted.priority == inserted.priority
    assert not deleted.HasField("action")
    assert deleted.idle_timeout_ns == 0
    assert deleted.metadata == b""
    if isinstance(entry, CtEntry | FlowEntry):
        assert CODEC.update(Delete(entry.key)).entity.table_entry == deleted


def test_flow_leaves_out_what_it_does_not_match():
    for entry in ENTRIES:
        if isinstance(entry, FlowEntry):
            count = 1 + sum(masked is not None for masked in entry.key[2:])
            assert len(CODEC.update(Insert(entry)).entity.table_entry.match) == count


def test_untagged_is_not_vlan_0():
    untagged = CODEC.update(Insert(VportEntry(3, None, 1))).entity.table_entry
    priority_tagged = CODEC.update(Insert(VportEntry(3, 0, 1))).entity.table_entry
    assert list(untagged.match) != list(priority_tagged.match)


@pytest.mark.parametrize("entry", [
    CtEntry(V4._replace(src=b"\1\2\3"), CT_V4.action),
    CtEntry(V4._replace(version=6), CT_V4.action),
    CtEntry(V4._replace(l2_id=-1), CT_V4.action),
    L2PairEntry(1, b"", b"\1\2\3\4\5\6", 1),
    NextHopEntry(1, "route", 1, 0),
    NextHopEntry(1, "vxlan", 1, 0),
    NextHopEntry(1, "vxlan", 1, 0, tunnel=TUNNEL_V4._replace(dst=TUNNEL_V6.dst)),
    TunnelTermEntry(6, bytes(4), 1, 1),
    CtEntry(V4, CtForward(1, 1, 0, 1, 1, nat=Nat(bytes(16), bytes(16), 1, 1))),
])  # fmt: skip
def test_values_that_fit_no_entry(entry):
    with pytest.raises((ValueError, OverflowError)):
        CODEC.update(Insert(entry))


def test_a_row_with_another_action_is_not_misread():
    entry = CODEC.update(Insert(DRAIN)).entity.table_entry
    entry.action.action.action_id = P4INFO.actions.get("set_vport").id
    with pytest.raises(ValueError, match="unknown action"):
        CODEC.ct_entry(entry)


@given(
    version=st.sampled_from([4, 6]),
    l2_id=st.integers(0, (1 << 32) - 1),
    address=st.binary(min_size=32, max_size=32),
    proto=st.integers(0, 255),
    ports=st.tuples(st.integers(0, 65535), st.integers(0, 65535)),
)
def test_any_connection_key_survives(version, l2_id, address, proto, ports):
    size = 4 if version == 4 else 16
    key = CtKey(version, l2_id, address[:size], address[16 : 16 + size], proto, *ports)
    entry = CtEntry(key, CtForward(1, 2, 0, 3, 4))
    assert CODEC.ct_entry(CODEC.update(Insert(entry)).entity.table_entry) == entry

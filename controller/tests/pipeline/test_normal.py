# SPDX-License-Identifier: Apache-2.0
"""NORMAL as seen through the pipeline."""

from __future__ import annotations

import pytest
from p4ct.packet import parse
from p4ct.packet.build import arp_frame
from p4ct.pipeline import MacMove, PeekConntrack, Pipeline, PortTable, Vport

A = bytes.fromhex("020000000001")
B = bytes.fromhex("020000000002")
BROADCAST = b"\xff" * 6


def frame(src: bytes, dst: bytes, *, vlan: int | None = None, eth_type: int = 0x88B5):
    tag = b"" if vlan is None else b"\x81\x00" + vlan.to_bytes(2, "big")
    return parse(dst + src + tag + eth_type.to_bytes(2, "big") + bytes(46))


@pytest.fixture
def normal(switch):
    switch.flows("actions=NORMAL")
    return switch


def test_unknown_destination_floods_to_all_others(normal) -> None:
    result = normal.send(frame(A, B), 1)
    assert result.outputs == [2, 3]
    assert result.flood == "destination MAC not learned"
    assert result.fdb_dependencies == {(0, B)}
    assert result.learned == [MacMove(0, A, None, 1)]
    assert "flood: destination MAC not learned" in result.blockers
    assert set(result.looked_at.names()) == {"in_port", "dl_src", "dl_dst", "dl_vlan"}


def test_learned_destination(normal) -> None:
    normal.send(frame(B, A), 2)
    result = normal.send(frame(A, B), 1)
    assert (result.outputs, result.flood) == ([2], "")
    assert result.fdb_dependencies == {(0, B)}
    assert normal.send(frame(A, B), 1).learned == []


def test_entry_ages(normal) -> None:
    normal.send(frame(B, A), 2, now=0.0)
    assert normal.send(frame(A, B), 1, now=299.0).outputs == [2]
    assert normal.send(frame(A, B), 1, now=300.0).outputs == [2, 3]


def test_move(normal) -> None:
    normal.send(frame(B, A), 2)
    assert normal.send(frame(B, A), 3).learned == [MacMove(0, B, 2, 3)]
    assert normal.send(frame(A, B), 1).outputs == [3]


def test_broadcast_and_multicast_flood_and_are_no_dependency(normal) -> None:
    for destination in (BROADCAST, bytes.fromhex("333300000001")):
        result = normal.send(frame(A, destination), 3)
        assert result.outputs == [1, 2]
        assert result.flood == "multicast or broadcast destination"
        assert result.fdb_dependencies == set()


def test_multicast_source_is_not_learned(normal) -> None:
    result = normal.send(frame(BROADCAST, A), 1)
    assert result.learned == []
    assert len(normal.pipeline.macs) == 0


def test_destination_behind_the_ingress_vport(normal) -> None:
    normal.send(frame(B, A), 1)
    result = normal.send(frame(A, B), 1)
    assert result.drop_reason == "NORMAL: destination is behind the ingress vport"
    assert normal.pipeline.drops == {result.drop_reason: 1}


def test_vlans_are_learned_apart(normal) -> None:
    normal.send(frame(B, A, vlan=7), 2)
    assert normal.send(frame(A, B, vlan=7), 1).outputs == [2]
    result = normal.send(frame(A, B), 1)
    assert result.outputs == [2, 3]
    assert normal.send(frame(A, B, vlan=7), 1).fdb_dependencies == {(7, B)}


@pytest.mark.parametrize("last", [0, 2, 15])
def test_reserved_multicast_is_not_forwarded(normal, last: int) -> None:
    result = normal.send(frame(A, bytes.fromhex("0180c20000") + bytes([last])))
    assert result.drop_reason == "NORMAL: reserved multicast address"
    assert normal.send(frame(A, bytes.fromhex("0180c2000010"))).outputs == [2, 3]


def test_truncated_tag(normal) -> None:
    result = normal.send(parse(B + A + b"\x81\x00\x00"))
    assert result.drop_reason == "NORMAL: truncated VLAN tag"


def test_no_other_port(switch) -> None:
    from p4ct.pipeline import parse_flows

    pipeline = Pipeline(PortTable([Vport(1, "only", 1)]), switch.ct)
    pipeline.replace(parse_flows("actions=NORMAL", ports={"only": 1}))
    result = pipeline.process(frame(A, B), 1, 0.0)
    assert result.drop_reason == "NORMAL: no other port"


def test_peek_learns_nothing_and_answers_the_same(normal) -> None:
    normal.send(frame(B, A), 2)
    peek = PeekConntrack(normal.ct)
    result = normal.pipeline.process(frame(A, B), 1, 0.0, ct=peek)
    assert (result.outputs, result.learned) == ([2], [])
    assert [entry.mac for entry in normal.pipeline.macs.entries(0.0)] == [B]
    own = frame(A, A)
    peeked = normal.pipeline.process(own, 1, 0.0, ct=peek)
    assert peeked.drop_reason == normal.send(own, 1).drop_reason != ""


def test_arp_passes(normal) -> None:
    normal.send(frame(B, A), 2)
    request = arp_frame(
        op=1, sha=A, spa="10.0.0.1", tha=bytes(6), tpa="10.0.0.2", eth_dst=BROADCAST
    )
    assert normal.send(parse(request), 1).outputs == [2, 3]
    reply = arp_frame(op=2, sha=B, spa="10.0.0.2", tha=A, tpa="10.0.0.1", eth_dst=A)
    assert normal.send(parse(reply), 2).outputs == [1]

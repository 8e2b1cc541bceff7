# SPDX-License-Identifier: Apache-2.0
"""What comes up in a tunnel all the same, and what an output that is full means."""

from __future__ import annotations

import pytest
from p4ct.daemon.wire import Wire
from p4ct.eswitch.entries import PuntInfo
from p4ct.eswitch.enums import PuntReason, Step
from p4ct.packet import build
from p4ct.packet.build import push_vlan
from p4ct.packet.parse import parse
from p4ct.packet.vxlan import Tunnel, decapsulate, encapsulate
from p4ct.pipeline.ports import PortTable, Vport, Vxlan
from p4ct.pipeline.result import Result

VXLAN = Vxlan(7, "192.0.2.1", "192.0.2.2", "02:00:00:00:01:01", "02:00:00:00:01:02")
PORTS = PortTable([
    Vport(1, "vm1", 1),
    Vport(2, "flat", 3),
    Vport(3, "plain", 3, vxlan=VXLAN),
    Vport(4, "tagged", 3, vlan=5, vxlan=VXLAN),
])  # fmt: skip
MINE = PORTS.tunnels[3]
#: The other end of the tunnel.
PEER = MINE._replace(src=MINE.dst, dst=MINE.src)
INNER = build.udp_frame(src="10.0.0.3", dst="10.0.0.1", sport=1, dport=2, payload=b"inside")


def info(vport: int, port: int = 3, tunnel_id: int = 0) -> PuntInfo:
    return PuntInfo(port, vport, PuntReason.MISS, Step.FLOW, 0, 0, 0, 0, tunnel_id, 0, 60)


def result_of(frame: bytes, outputs: list[int]) -> Result:
    """Flows have sent the frame as it is to these vports."""
    result = Result(parse(frame), PORTS, 0)
    result.outputs = outputs
    result.packets = [result.pkt] * len(outputs)
    return result


def wire_of(sent: list[tuple[int, bytes]] | None = None) -> Wire:
    def send(port: int, frame: bytes) -> bool:
        if sent is None:
            return False
        sent.append((port, frame))
        return True

    return Wire(PORTS, send, {})


def test_what_the_eswitch_took_out_of_its_tunnel() -> None:
    wire = wire_of()
    assert wire.receive(INNER, info(3, tunnel_id=7)) == (PORTS.by_id[3], INNER, 0)
    # A tunnel inside the tunnel is a packet like any other.
    nested = encapsulate(INNER, PEER)
    assert wire.receive(nested, info(3, tunnel_id=7)) == (PORTS.by_id[3], nested, 0)
    tagged = build.push_vlan(INNER, 5)
    assert wire.receive(tagged, info(4, tunnel_id=7)) == (PORTS.by_id[4], INNER, 0)
    assert wire.decapsulated == 0


@pytest.mark.parametrize("vport", [2, 0], ids=["the uplink's own vport", "no vport"])
def test_what_it_left_inside(vport: int) -> None:
    wire = wire_of()
    assert wire.receive(encapsulate(INNER, PEER), info(vport)) == (PORTS.by_id[3], INNER, 0)
    tagged = encapsulate(build.push_vlan(INNER, 5), PEER)
    assert wire.receive(tagged, info(vport)) == (PORTS.by_id[4], INNER, 0)
    assert wire.decapsulated == 2


@pytest.mark.parametrize(
    ("tunnel", "port"),
    [(PEER._replace(vni=8), 3), (PEER._replace(dst=MINE.dst), 3), (PEER, 1)],
    ids=["another VNI", "another destination", "a port that is no uplink"],
)
def test_a_tunnel_that_does_not_end_here(tunnel: Tunnel, port: int) -> None:
    wire = wire_of()
    frame = encapsulate(INNER, tunnel)
    assert wire.receive(frame, info(2, port)) == (PORTS.by_id[2], frame, 0)
    assert wire.receive(frame, info(0, port)) is None
    assert wire.decapsulated == 0


def priority_tagged(frame: bytes, priority: int = 5) -> bytes:
    return build.push_vlan(frame, 0, priority)


def test_a_tag_that_has_only_a_priority() -> None:
    """The frame is of the untagged vport, and keeps its priority where it leaves with a tag."""
    sent: list[tuple[int, bytes]] = []
    wire = wire_of(sent)
    received = wire.receive(priority_tagged(INNER), info(2))
    assert received == (PORTS.by_id[2], INNER, 10)
    inside = encapsulate(priority_tagged(INNER), PEER)
    assert wire.receive(inside, info(0)) == (PORTS.by_id[3], INNER, 10)
    wire.deliver(result_of(INNER, [2, 4]), 2, 10)
    assert sent[0] == (PORTS.by_id[2].port, INNER)
    found = decapsulate(sent[1][1])
    assert found is not None
    assert found.frame == build.push_vlan(INNER, 5, 5)


def test_behind_a_priority_tag_there_is_no_way_into_a_vlan() -> None:
    wire = wire_of()
    assert wire.receive(priority_tagged(build.push_vlan(INNER, 5)), info(2)) is None
    assert dict(wire.drops) == {"a second tag behind a priority tag": 1}
    # What is no whole tag is left as it is.
    stub = priority_tagged(INNER)[:17]
    assert wire.receive(stub, info(2)) == (PORTS.by_id[2], stub, 0)


def test_an_unknown_inner_tag_belongs_to_no_vport_of_the_tunnel() -> None:
    frame = encapsulate(build.push_vlan(INNER, 6), PEER)
    assert wire_of().receive(frame, info(0)) is None


def test_tag_and_tunnel_on_the_way_out() -> None:
    sent: list[tuple[int, bytes]] = []
    wire = wire_of(sent)
    wire.deliver(result_of(INNER, [2, 3, 4]), 1)
    assert sent[0] == (3, INNER)
    assert sent[1] == (3, encapsulate(INNER, MINE))
    inside = decapsulate(sent[2][1])
    assert inside is not None
    assert inside.frame == build.push_vlan(INNER, 5)
    assert wire.sent == 3


def test_a_full_queue_is_counted() -> None:
    wire = wire_of()
    wire.deliver(result_of(INNER, [3]), 1)
    assert (wire.sent, dict(wire.drops)) == (0, {"packet-out queue full": 1})


def test_a_flooded_packet_is_answered_once() -> None:
    ports = PortTable([Vport(1, "a", 1), Vport(2, "b", 2, mtu=576), Vport(3, "c", 3, mtu=500)])
    sent: list[tuple[int, bytes]] = []
    wire = Wire(ports, lambda port, frame: not sent.append((port, frame)), {})
    frame = build.udp_frame(src="fd00::1", dst="fd00::2", sport=1, dport=2, payload=bytes(600))
    wire.deliver(result_of(frame, [2, 3]), 1)
    assert [port for port, _ in sent] == [1]
    assert dict(wire.too_big) == {"not sent": 2, "answered": 1}


def test_a_tag_keeps_its_priority() -> None:
    sent: list[tuple[int, bytes]] = []
    ports = PortTable([Vport(1, "a", 1, vlan=10), Vport(2, "b", 2, vlan=20), Vport(3, "c", 3)])

    def send(port: int, frame: bytes) -> bool:
        sent.append((port, frame))
        return True

    wire = Wire(ports, send, {})
    tagged = push_vlan(INNER, 10, pcp=6, dei=True)
    received = wire.receive(tagged, info(1))
    assert received is not None
    vport, frame, priority = received
    assert frame == INNER
    wire.deliver(result_of(frame, [2, 3]), vport.id, priority)
    assert sent == [(2, push_vlan(INNER, 20, pcp=6, dei=True)), (3, INNER)]

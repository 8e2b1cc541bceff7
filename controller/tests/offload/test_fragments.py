# SPDX-License-Identifier: Apache-2.0
"""Fragments through the whole slow path: tracked whole, sent on as they came, counted as frames."""

from __future__ import annotations

import pytest
from p4ct.eswitch.enums import PuntReason
from p4ct.packet import build
from p4ct.packet.parse import Packet, parse
from p4ct.packet.too_big import fragments
from p4ct.pipeline.ports import PortTable, Vport

from .model import DENY_ALL, IP, IP6, MAC, POLICY, World, learn

PAYLOAD = bytes(range(250)) * 16


class Talk:
    """UDP between vm1 and ext; `sent` counts frames and bytes by sender."""

    def __init__(self, world: World, *, v6: bool = False) -> None:
        self.world = world
        self.v6 = v6
        self.ip = IP6 if v6 else IP
        self.sent = {"vm1": [0, 0], "ext": [0, 0]}
        self.number = 0

    def datagram(self, source: str, payload: bytes) -> bytes:
        target = "ext" if source == "vm1" else "vm1"
        ports = (4000, 53) if source == "vm1" else (53, 4000)
        return build.udp_frame(
            eth_src=MAC[source], eth_dst=MAC[target], src=self.ip[source], dst=self.ip[target],
            sport=ports[0], dport=ports[1], payload=payload,
        )  # fmt: skip

    def pieces(self, source: str, payload: bytes = PAYLOAD) -> list[bytes]:
        self.number += 1
        whole = self.datagram(source, payload)
        if not self.v6:
            whole = bytearray(whole)
            whole[18:20] = self.number.to_bytes(2, "big")
            return fragments(parse(bytes(whole)), 1500)
        found: list[bytes] = []
        for start in range(54, len(whole), 1448):
            data = whole[start : start + 1448]
            more = start + 1448 < len(whole)
            header = bytes([17, 0]) + (start - 54 | more).to_bytes(2, "big")
            header += self.number.to_bytes(4, "big")
            length = (8 + len(data)).to_bytes(2, "big")
            found.append(whole[:18] + length + b"\x2c" + whole[21:54] + header + data)
        return found

    def send(self, source: str, frames: list[bytes]) -> list[str]:
        self.sent[source][0] += len(frames)
        self.sent[source][1] += sum(map(len, frames))
        vport = 1 if source == "vm1" else 3
        return [self.world.packet(frame, vport) for frame in frames]

    def whole(self, source: str) -> str:
        return self.send(source, [self.datagram(source, b"short")])[0]

    def delivered(self) -> list[bytes]:
        frames = [frame for _, frame in self.world.delivered]
        self.world.delivered.clear()
        return frames


@pytest.fixture(params=[False, True], ids=["v4", "v6"])
def talk(request: pytest.FixtureRequest) -> Talk:
    world = World()
    learn(world)
    return Talk(world, v6=request.param)


def test_a_connection_begins_and_is_answered_in_fragments(talk: Talk) -> None:
    question, answer = talk.pieces("vm1"), talk.pieces("ext")
    assert len(question) == 3
    talk.send("vm1", question)
    assert talk.delivered() == question
    talk.send("ext", list(reversed(answer)))
    assert talk.delivered() == answer
    (connection,) = talk.world.connections()
    assert connection.seen_reply
    assert list(connection.packets) == [3, 3]
    assert list(connection.bytes) == [talk.sent["vm1"][1], talk.sent["ext"][1]]
    # A reassembled packet is no basis for an entry: its fragments pass table 0 one by one.
    assert not talk.world.switch.ct
    assert connection.offload_reason == "no established packet seen yet in the other direction"


def test_an_offloaded_connection_goes_on_with_exact_counts(talk: Talk) -> None:
    for source in ("vm1", "ext", "vm1", "ext"):
        talk.whole(source)
    assert talk.whole("vm1") == "hardware"
    talk.delivered()
    for source in ("vm1", "ext"):
        frames = talk.pieces(source)
        assert talk.send(source, frames) == ["software"] * 3
        assert talk.delivered() == frames
    assert talk.whole("ext") == "hardware"
    assert talk.world.slow_path.punts[PuntReason.FRAGMENT.name] == 6
    talk.world.refresh()
    (connection,) = talk.world.connections()
    assert connection.offload is not None
    for direction, source in enumerate(("vm1", "ext")):
        assert talk.sent[source] == [
            connection.packets[direction] + connection.hw_packets[direction],
            connection.bytes[direction] + connection.hw_bytes[direction],
        ]


def test_flows_count_frames(talk: Talk) -> None:
    frames = talk.pieces("vm1")
    talk.send("vm1", frames)
    used = [flow for flow in talk.world.pipeline.flows if flow.n_packets]
    used = [flow for flow in used if flow.priority != 100]  # ARP
    assert len(used) == 3
    for flow in used:
        assert (flow.n_packets, flow.n_bytes) == (3, sum(map(len, frames)))


def test_nothing_of_an_incomplete_or_overlapping_packet_leaves(talk: Talk) -> None:
    drops = talk.world.pipeline.drops
    first, _, third = talk.pieces("vm1")
    talk.send("vm1", [first, third])
    assert drops.total() == 0
    assert talk.world.connections() == []
    talk.world.now += 15
    frames = talk.pieces("vm1")
    talk.send("vm1", [frames[0], frames[1], _moved(frames[1]), frames[2]])
    assert talk.delivered() == []
    assert drops == {"fragment: not complete within 15 s": 2, "fragment: overlap": 4}
    assert talk.world.connections() == []


def _moved(frame: bytes) -> bytes:
    """The fragment 8 bytes earlier."""
    pkt: Packet = parse(frame)
    changed = bytearray(frame)
    if pkt.version == 4:
        field = int.from_bytes(frame[20:22], "big") - 1
        changed[20:22] = field.to_bytes(2, "big")
        changed[24:26] = bytes(2)
        changed[24:26] = build.checksum(bytes(changed[14:34])).to_bytes(2, "big")
    else:
        field = int.from_bytes(frame[56:58], "big") - 8
        changed[56:58] = field.to_bytes(2, "big")
    return bytes(changed)


def test_policy_sees_the_whole_packet(talk: Talk) -> None:
    talk.world.pipeline.add(talk.world.flows(
        "table=1,priority=99,udp,tp_dst=53,actions=drop\n"
        "table=1,priority=99,udp6,tp_dst=53,actions=drop\n"
    ))  # fmt: skip
    talk.send("vm1", talk.pieces("vm1"))
    assert talk.delivered() == []
    assert talk.world.pipeline.drops == {"action drop": 1}


def test_what_waits_is_dropped_when_policy_changes(talk: Talk) -> None:
    frames = talk.pieces("vm1")
    talk.send("vm1", frames[:2])
    talk.world.pipeline.replace(talk.world.flows(DENY_ALL))
    talk.world.pipeline.replace(talk.world.flows(POLICY))
    talk.send("vm1", frames[2:])
    assert talk.delivered() == []
    assert talk.world.pipeline.drops == {"fragment: policy changed": 2}


def test_two_zones_reassemble_once(talk: Talk) -> None:
    talk.world.pipeline.replace(talk.world.flows(
        "table=0,ip,actions=ct(commit,zone=1,table=1)\n"
        "table=0,ipv6,actions=ct(commit,zone=1,table=1)\n"
        "table=1,ip,actions=ct(commit,zone=2,table=2)\n"
        "table=1,ipv6,actions=ct(commit,zone=2,table=2)\n"
        "table=2,actions=NORMAL\n"
    ))  # fmt: skip
    frames = talk.pieces("vm1")
    talk.send("vm1", frames)
    assert talk.delivered() == frames
    for connection in talk.world.connections():
        assert connection.packets[0] == 3
        assert connection.bytes[0] == sum(map(len, frames))
    assert len(talk.world.connections()) == 2


def test_an_output_before_ct_sends_the_fragments_themselves() -> None:
    ports = PortTable([Vport(1, "vm1", 1), Vport(2, "tap", 2), Vport(3, "ext", 3)])
    policy = "table=0,ip,actions=output:tap,ct(commit,table=1)\ntable=1,actions=output:ext"
    talk = Talk(World(policy=policy, ports=ports))
    frames = talk.pieces("vm1")
    shuffled = [frames[2], frames[0], frames[1]]
    talk.send("vm1", shuffled)
    assert [frame for port, frame in talk.world.delivered if port == 2] == shuffled
    assert [frame for port, frame in talk.world.delivered if port == 3] == frames
    assert talk.world.pipeline.drops.total() == 0
    # What never becomes whole was seen by the tap all the same.
    talk.delivered()
    talk.send("vm1", talk.pieces("vm1")[:1])
    assert len(talk.delivered()) == 1
    talk.world.pipeline.fragments.expire(talk.world.now + 15)
    assert talk.world.pipeline.drops == {"fragment: not complete within 15 s": 1}


def test_a_fragment_that_no_ct_wants_passes_as_it_is() -> None:
    talk = Talk(World(policy="table=0,actions=output:ext"))
    frames = talk.pieces("vm1")
    talk.send("vm1", frames[1:])
    assert talk.delivered() == frames[1:]


def test_fragments_longer_than_the_mtu_of_their_output() -> None:
    ports = PortTable([Vport(1, "vm1", 1), Vport(3, "ext", 3, kind="uplink", mtu=1300)])
    world = World(ports=ports)
    learn(world)
    talk = Talk(world)
    talk.send("vm1", talk.pieces("vm1"))
    delivered = [parse(frame) for frame in talk.delivered()]
    assert [pkt.l4_len for pkt in delivered] == [1280, 200, 1280, 200, 1048]
    assert b"".join(p.frame[34:] for p in delivered)[8:] == PAYLOAD


@pytest.mark.parametrize("how", ["looked up", "explained"])
def test_questions_take_no_fragments(how: str) -> None:
    talk = Talk(World())
    first = parse(talk.pieces("vm1")[0])
    from p4ct.pipeline.access import PeekConntrack

    result = talk.world.pipeline.process(first, 1, 0.0, ct=PeekConntrack(talk.world.tracker))
    assert result.verdict == "drop"
    assert len(talk.world.pipeline.fragments) == 0

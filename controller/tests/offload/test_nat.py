# SPDX-License-Identifier: Apache-2.0
"""Translated connections in the eswitch: entries carry the rewrite, both ways, and survive."""

from __future__ import annotations

from dataclasses import replace

import pytest
from p4ct.eswitch.entries import CtForward, Nat
from p4ct.packet import build, parse
from p4ct.packet.text import format_ip, parse_ip
from p4ct.packet.too_big import fragments

from .model import ACK, FIN, MAC, SYN, ModelSwitch, World, learn
from .translated import CLIENT, FRONT, NAT, SERVER, V6, Ends, new_world, policy


def nat_of(world: World) -> dict[int, Nat | None]:
    found: dict[int, Nat | None] = {}
    for entry in world.switch.ct.values():
        assert isinstance(entry.action, CtForward)
        found[entry.action.direction] = entry.action.nat
    return found


@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
@pytest.mark.parametrize("proto", ["tcp", "udp", "icmp"])
def test_source(proto: str, v6: bool) -> None:
    world = new_world()
    ends = Ends(world, proto, v6=v6).open()
    client, server, nat = (V6[n] if v6 else n for n in (CLIENT, SERVER, NAT))
    echo = (8 if not v6 else 128) << 8, 0 if not v6 else 129 << 8
    last = {"tcp": 80, "udp": 80, "icmp": echo[0]}[proto]
    assert ends.send(0, payload=b"to the server") == "hardware"
    assert ends.arrived == (nat, server, 40000, last)
    assert ends.send(1, payload=b"to the client") == "hardware"
    back = (server, client, 40000, echo[1]) if proto == "icmp" else (server, client, 80, 40000)
    assert ends.arrived == back
    addresses = {d: (nat.src, nat.dst) for d, nat in nat_of(world).items() if nat}
    assert addresses == {
        0: (parse_ip(nat), parse_ip(server)),
        1: (parse_ip(server), parse_ip(client)),
    }


@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
def test_destination_and_port(v6: bool) -> None:
    world = new_world()
    ends = Ends(world, inside=False, v6=v6, dport=8080).open()
    client, server, front = (V6[n] if v6 else n for n in (CLIENT, SERVER, FRONT))
    assert ends.send(0, payload=b"in") == "hardware"
    assert ends.arrived == (server, client, 40000, 80)
    assert ends.send(1, payload=b"out") == "hardware"
    assert ends.arrived == (front, server, 8080, 40000)


def test_both_ends_by_two_zones() -> None:
    text = policy().replace(
        f"ct(commit,zone=1,nat(dst={CLIENT}:80),table=2)",
        f"ct(commit,zone=1,nat(dst={CLIENT}:80),table=3)",
    )
    text = text.replace("table=1,priority=90,ip,ct_state=+trk+est,actions=goto_table:2",
        "table=1,priority=91,ip,in_port=ext,ct_state=+trk+est,actions=ct(zone=2,nat,table=2)\n"
        "table=1,priority=90,ip,in_port=vm1,ct_state=+trk+est,actions=goto_table:2")  # fmt: skip
    text = text.replace("table=0,priority=50,ip,actions=ct(zone=1,nat,table=1)",
        "table=0,priority=50,ip,in_port=ext,actions=ct(zone=1,nat,table=1)\n"
        "table=0,priority=50,ip,in_port=vm1,actions=ct(zone=2,nat,table=4)\n"
        "table=4,priority=1,ip,actions=ct(zone=1,nat,table=1)\n"
        f"table=3,ip,actions=ct(commit,zone=2,nat(src={NAT}),table=2)")  # fmt: skip
    world = new_world(text)
    ends = Ends(world, inside=False, dport=8080).open()
    assert ends.send(0, payload=b"in") == "hardware"
    assert ends.arrived == (NAT, CLIENT, 40000, 80)
    assert ends.send(1, payload=b"out") == "hardware"
    assert ends.arrived == (FRONT, SERVER, 8080, 40000)
    (record,) = world.manager.active()
    assert len(record.members) == 2


def test_hairpin() -> None:
    """A client reaches a server beside it by the server's outside address."""
    text = (
        "table=0,ip,actions=ct(zone=1,nat,table=1)\n"
        "table=1,priority=2,ip,ct_state=+trk+new,actions=ct(commit,zone=1,nat(dst=10.0.0.1:80),"
        "table=3)\ntable=3,ip,actions=ct(commit,zone=2,nat(src=10.0.0.100),table=2)\n"
        "table=1,priority=1,ip,ct_state=+trk+est-rpl,actions=ct(zone=2,nat,table=2)\n"
        "table=0,priority=40000,ip,nw_dst=10.0.0.100,actions=ct(zone=2,nat,table=5)\n"
        "table=5,ip,actions=ct(zone=1,nat,table=2)\n"
        "table=2,ip,nw_dst=10.0.0.1,actions=in_port\n"
    )
    world = World(policy=text)
    own = build.tcp_frame(eth_src=MAC["vm1"], eth_dst=MAC["ext"], src=CLIENT, dst=FRONT,
                          sport=5000, dport=8080, flags=SYN)  # fmt: skip
    world.packet(own, 1)
    ((port, frame),) = world.delivered
    there = parse(frame)
    assert (port, format_ip(there.src), format_ip(there.dst)) == (1, NAT, CLIENT)
    answer = build.tcp_frame(eth_src=MAC["vm1"], eth_dst=MAC["ext"], src=CLIENT, dst=NAT,
                             sport=80, dport=there.sport, flags=SYN | ACK, ack=1)  # fmt: skip
    world.packet(answer, 1)
    back = parse(world.delivered[-1][1])
    assert len(world.delivered) == 2
    assert (format_ip(back.src), back.sport) == (FRONT, 8080)
    assert (format_ip(back.dst), back.dport) == (CLIENT, 5000)


def test_exhaustion_drops_and_is_counted() -> None:
    world = new_world(policy(":5000"))
    Ends(world, sport=40000).open()
    other = Ends(world, sport=40001)
    before = len(world.delivered)
    assert other.send(0, SYN) == "software"
    assert len(world.delivered) == before
    assert world.pipeline.drops == {"ct(commit,nat): no free address and port": 1}
    assert len(world.connections()) == 1


def test_an_error_about_an_offloaded_connection_is_translated() -> None:
    world = new_world()
    ends = Ends(world, "udp").open()
    seen = next(pkt for pkt in ends.seen if pkt.src == parse_ip(NAT))
    error = build.icmp_frame(eth_src=MAC["ext"], eth_dst=MAC["vm1"], src="10.0.0.3", dst=NAT,
                             icmp_type=3, icmp_code=3, body=bytes(4) + seen.frame[14:])  # fmt: skip
    world.packet(error, 3)
    sent = build.udp_frame(eth_src=MAC["vm1"], eth_dst=MAC["ext"], src=CLIENT, dst=SERVER,
                           sport=40000, dport=80, payload=b"hello")  # fmt: skip
    expected = build.icmp_frame(eth_src=MAC["ext"], eth_dst=MAC["vm1"], src="10.0.0.3", dst=CLIENT,
                                icmp_type=3, icmp_code=3, body=bytes(4) + sent[14:])  # fmt: skip
    assert world.delivered[-1] == (1, expected)


def test_a_packet_that_is_too_long_is_answered_as_it_was_sent() -> None:
    from p4ct.pipeline.ports import PortTable, Vport

    ports = PortTable([Vport(1, "vm1", 1), Vport(3, "ext", 3, kind="uplink", mtu=600)])
    world = World(policy=policy(), ports=ports)
    learn(world)
    frame = build.udp_frame(eth_src=MAC["vm1"], eth_dst=MAC["ext"], src=V6[CLIENT], dst=V6[SERVER],
                            sport=1, dport=2, payload=bytes(700))  # fmt: skip
    world.packet(frame, 1)
    ((port, answer),) = world.delivered
    assert port == 1
    quoted = parse(answer).frame[14 + 40 + 8 :]
    assert quoted[:48] == frame[14:62]


def test_fragments_are_translated_whole_and_leave_as_they_came() -> None:
    world = new_world()
    frame = build.udp_frame(eth_src=MAC["vm1"], eth_dst=MAC["ext"], src=CLIENT, dst=SERVER,
                            sport=40000, dport=80, payload=bytes(range(256)) * 12)  # fmt: skip
    pieces = fragments(parse(frame), 1500)
    assert len(pieces) == 3
    for piece in reversed(pieces):
        world.packet(piece, 1)
    there = build.udp_frame(eth_src=MAC["vm1"], eth_dst=MAC["ext"], src=NAT, dst=SERVER,
                            sport=40000, dport=80, payload=bytes(range(256)) * 12)  # fmt: skip
    assert [frame for _, frame in world.delivered] == fragments(parse(there), 1500)


@pytest.mark.parametrize("proto", ["tcp", "udp", "icmp"])
def test_a_restart_keeps_the_translation(proto: str) -> None:
    first = new_world()
    ends = Ends(first, proto).open()
    world = World(policy=policy(), switch=first.switch)
    assert world.reconcile().kept == 1
    (connection,) = world.connections()
    assert connection.reply.dst == parse_ip(NAT)
    ends.world = world
    assert ends.send(0, payload=b"still") == "hardware"
    assert ends.arrived[0] == NAT
    assert ends.send(1, payload=b"here") == "hardware"
    assert ends.arrived[1] == CLIENT
    # and with a policy that no longer translates what it let through, the entries go
    third = World(policy=policy().replace(",nat,", ","), switch=world.switch)
    assert third.reconcile().kept == 0
    assert not world.switch.ct


def test_entries_with_another_translation_are_not_kept() -> None:
    first = new_world()
    Ends(first).open()
    switch: ModelSwitch = first.switch
    for key, entry in list(switch.ct.items()):
        action = entry.action
        assert isinstance(action, CtForward)
        if action.direction == 0 and action.nat is not None:
            other = replace(action, nat=replace(action.nat, src=parse_ip("10.0.0.99")))
            switch.ct[key] = replace(entry, action=other)
    world = World(policy=policy(), switch=switch)
    drift = world.reconcile()
    assert (drift.kept, dict(drift.removed)) == (0, {"it is translated otherwise now": 1})
    assert not switch.ct


def test_after_the_end_nothing_is_left() -> None:
    world = new_world()
    ends = Ends(world).open()
    ends.send(0, FIN | ACK)
    ends.send(1, FIN | ACK)
    ends.send(0, ACK)
    assert world.switch.empty
    world.later(1000.0)
    assert not world.connections()

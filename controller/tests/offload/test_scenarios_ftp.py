# SPDX-License-Identifier: Apache-2.0
"""Conntrack scenarios as of Open vSwitch: FTP and TFTP, with and without translation.

Each is played with offload and without; docs/ovs-scenarios.md has the list.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from p4ct.offload.manager import OffloadOptions
from p4ct.packet import build

from .ftp import OUTSIDE, VPORT, End, Pair, control, line_of, policy, translated_line
from .model import IP, MAC, SYN, World, learn

Line = Callable[[str, str, int], bytes]

#: No translation; what is not announced does not come in.
PLAIN = """
table=0,priority=100,arp,actions=NORMAL
table=0,ip,actions=ct(zone=1,table=1)
table=1,priority=9,ip,in_port=vm1,ct_state=+trk+new-rel,actions=ct(commit,HELPERzone=1,table=2)
table=1,priority=9,ip,ct_state=+trk+new+rel,actions=ct(commit,zone=1,table=2)
table=1,priority=8,ip,ct_state=+trk+est,actions=goto_table:2
table=1,priority=0,actions=drop
table=2,actions=NORMAL
"""
HELPED = PLAIN.replace("ip,in_port=vm1", "tcp,in_port=vm1").replace("HELPER", "alg=ftp,")
#: Two firewalls in a row, each with a helper, in zones 1 and 2.
TWO = """
table=0,priority=100,arp,actions=NORMAL
table=0,ip,actions=ct(zone=1,table=1)
table=1,priority=9,tcp,in_port=vm1,tp_dst=21,ct_state=+trk+new-rel,actions=ct(commit,alg=ftp,zone=1),ct(zone=2,table=2)
table=1,priority=9,ip,ct_state=+trk+new+rel,actions=ct(commit,zone=1),ct(zone=2,table=2)
table=1,priority=8,ip,ct_state=+trk+est,actions=ct(zone=2,table=2)
table=2,priority=9,tcp,in_port=vm1,tp_dst=21,ct_state=+trk+new-rel,actions=ct(commit,alg=ftp,zone=2,table=3)
table=2,priority=9,ip,ct_state=+trk+new+rel,actions=ct(commit,zone=2,table=3)
table=2,priority=8,ip,ct_state=+trk+est,actions=goto_table:3
table=3,actions=NORMAL
"""
#: By the way that a translated packet takes: where it is translated, or what is asked of it.
BEFORE = "table=0,priority=50,{family},actions=ct(zone=1,nat,table=1)"
EST = "table=1,priority=90,ct_state=+trk+est,actions=goto_table:2"


def postrecirc(text: str, family: str) -> str:
    """Translated in the second pass only, as what is established."""
    text = text.replace(
        BEFORE.format(family=family), f"table=0,{family},actions=ct(zone=1,table=1)"
    )
    return text.replace(EST, f"table=1,{family},ct_state=+trk+est,actions=ct(zone=1,nat,table=2)")


def original_tuple(text: str, family: str) -> str:
    """Established is only what has the client in its first packet, or was announced."""
    tcp, field, client = (
        ("tcp", "ct_nw_src", "10.0.0.1") if family == "ip" else ("tcp6", "ct_ipv6_src", "fd00::1")
    )
    asked = f"ct_state=+trk+est-rel,{field}={client},ct_nw_proto=6,ct_tp_dst=21"
    return text.replace(
        EST,
        f"table=1,priority=90,{tcp},{asked},actions=goto_table:2\n"
        f"table=1,priority=90,{tcp},ct_state=+trk+est+rel,actions=goto_table:2",
    )


def access_list(text: str, family: str) -> str:
    """A list written for the client's packets, which every packet passes as if it were its
    connection's first: whatever its direction, and before translation."""
    tcp, field, client = (
        ("tcp", "nw_src", "10.0.0.1") if family == "ip" else ("tcp6", "ipv6_src", "fd00::1")
    )
    return text.replace(
        EST,
        f"table=1,priority=90,{family},ct_state=+trk+est,actions=resubmit(,3,ct),resubmit(,4)\n"
        f"table=3,{tcp},{field}={client},tp_dst=21,actions=load:1->reg2[]\n"
        f"table=3,{tcp},ct_state=+rel,actions=load:1->reg2[]\n"
        f"table=4,reg2=1,actions=resubmit(,2)",
    )


def transfer(pair: Pair, command: str, arrives: Line, port: int = 30000) -> list[bytes]:
    """Announce a data connection and use it; all that arrived anywhere. `arrives`: as the line."""
    active = command in ("PORT", "EPRT")
    announcer = pair.client if active else pair.server
    caller, world = pair.other(announcer), pair.world
    read = pair.say(announcer, line_of(command, announcer.own, port))
    assert read == arrives(command, caller.peer, port)
    pair.chat()
    near = End(world, caller.name, caller.own, caller.peer, (20, port))
    far = End(world, announcer.name, announcer.own, announcer.peer, (port, 20))
    near.send_next, far.send_next = 99, 77
    data = Pair(world, near, far).open()
    for _ in range(3):
        data.say(near, b"data")
        data.say(far, b"data")
    pair.chat()
    return [frame for end in (near, far, pair.client, pair.server) for frame in end.arrived]


def both(kind: str, version: int, outside: str, flows: str, command: str, port: int = 21) -> Pair:
    """With offload and without the same frames arrive, and data goes by entries if it may."""
    off, on = (
        control(kind, version, outside, flows=flows, enabled=enabled, port=port)
        for enabled in (False, True)
    )
    arrives = line_of if kind == "plain" else translated_line
    assert transfer(off, command, arrives) == transfer(on, command, arrives)
    assert off.world.by_hardware == 0
    assert on.world.by_hardware >= 8
    return on


COMMANDS = [(4, "PORT"), (4, "EPRT"), (4, "227"), (4, "229"), (6, "EPRT"), (6, "229")]


@pytest.mark.parametrize(("version", "command"), COMMANDS)
def test_active_and_passive(version: int, command: str) -> None:
    text = HELPED
    if version == 6:
        text = text.replace(",ip,", ",ipv6,").replace(",tcp,", ",tcp6,")
    pair = both("plain", version, "", text, command)
    helpers = sorted(connection.helper for connection in pair.world.connections())
    assert helpers == ["", "ftp"]


@pytest.mark.parametrize("enabled", [False, True])
def test_without_a_helper_nothing_is_related(enabled: bool) -> None:
    pair = control("plain", 4, "", flows=PLAIN.replace("HELPER", ""), enabled=enabled)
    pair.say(pair.client, line_of("PORT", pair.client.own, 30000))
    caller = End(pair.world, "ext", pair.server.own, pair.server.peer, (20, 30000))
    pair.world.delivered.clear()
    pair.world.packet(caller.frame(SYN), 3)
    assert pair.world.delivered == []
    assert (pair.world.by_hardware > 0) == enabled


def test_another_port() -> None:
    """The flow says which connections have a helper."""
    flows = HELPED.replace("tcp,in_port=vm1", "tcp,in_port=vm1,tp_dst=2121")
    both("plain", 4, "", flows, "PORT", port=2121)


@pytest.mark.parametrize("command", ["PORT", "227"])
def test_two_firewalls(command: str) -> None:
    """Both expect what was announced, and both let it in."""
    pair = both("plain", 4, "", TWO, command)
    found = sorted((c.zone, c.helper) for c in pair.world.connections())
    assert found == [(1, ""), (1, "ftp"), (2, ""), (2, "ftp")]


WAYS = [lambda text, _: text, postrecirc, original_tuple, access_list]


@pytest.mark.parametrize("n", [0, 1], ids=["shorter", "longer"])
@pytest.mark.parametrize("way", WAYS, ids=["prerecirc", "postrecirc", "orig tuple", "access list"])
@pytest.mark.parametrize(("version", "command"), COMMANDS)
@pytest.mark.parametrize("kind", ["snat", "dnat"])
def test_translated(kind: str, version: int, command: str, way, n: int) -> None:
    """The announced address is another, shorter or longer: sequence numbers are adjusted."""
    outside, family = OUTSIDE[version][n], "ip" if version == 4 else "ipv6"
    server = "10.0.0.3" if version == 4 else "fd00::3"
    text = policy(outside, "") if kind == "snat" else policy("", server)
    flows = way(text, family)
    assert (flows == text) == (way is WAYS[0])
    both(kind, version, outside, flows, command)


def tftp(flows: str, seen_client: str, *, enabled: bool) -> list[bytes]:
    """A read request, and data and acknowledgements from another port; what arrived."""
    world = World(policy=flows, options=OffloadOptions(enabled=enabled))
    learn(world)
    arrived: list[bytes] = []

    def send(name: str, dst: str, ports: tuple[int, int], data: bytes, wanted: int = 1) -> None:
        other = "ext" if name == "vm1" else "vm1"
        del world.delivered[:]
        frame = build.udp_frame(
            eth_src=MAC[name], eth_dst=MAC[other], src=IP[name], dst=dst, sport=ports[0],
            dport=ports[1], payload=data,
        )  # fmt: skip
        world.packet(frame, VPORT[name])
        assert len(world.delivered) == wanted
        arrived.extend(got for _, got in world.delivered)

    send("ext", seen_client, (33333, 5000), b"\0\3\0\1data", wanted=0)
    send("vm1", IP["ext"], (5000, 69), b"\0\1file\0octet\0")
    send("ext", seen_client, (33333, 5001), b"\0\3\0\1data", wanted=0)
    for _ in range(5):
        send("ext", seen_client, (33333, 5000), b"\0\3\0\1data")
        send("vm1", IP["ext"], (5000, 33333), b"\0\4\0\1")
    assert (world.by_hardware > 0) == enabled
    return arrived


@pytest.mark.parametrize("outside", ["", OUTSIDE[4][1]], ids=["plain", "snat"])
def test_tftp(outside: str) -> None:
    flows = HELPED.replace("tcp,in_port=vm1", "udp,in_port=vm1").replace("alg=ftp", "alg=tftp")
    if outside:
        flows = policy(outside, "")
    on, off = (tftp(flows, outside or IP["vm1"], enabled=enabled) for enabled in (True, False))
    assert on == off

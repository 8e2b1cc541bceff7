# SPDX-License-Identifier: Apache-2.0
"""Filter words that the tracker itself does not know, together with those that it does."""

from __future__ import annotations

import pytest
from p4ct.daemon.select import Selection
from p4ct.packet import build

from ..offload.model import IP, MAC, SYN, Tcp, World, learn


@pytest.fixture(scope="module")
def world() -> World:
    """40000 is offloaded, 41000 has sent a SYN only, 42000 is IPv6; all from .1 to .3 port 80.

    43000 is an echo request's identifier.
    """
    made = World()
    learn(made)
    Tcp(made).offload()
    Tcp(made, sport=41000).send("vm1", SYN)
    Tcp(made, sport=42000, v6=True).send("vm1", SYN)
    ping = build.icmp_echo_frame(
        eth_src=MAC["vm1"], eth_dst=MAC["ext"], src=IP["vm1"], dst=IP["ext"], identifier=43000
    )
    made.packet(ping, 1)
    for connection in made.connections():
        connection.mark = connection.original.sport
        connection.label = connection.original.sport << 64
    return made


@pytest.mark.parametrize(
    ("words", "ports"),
    [
        ([], {40000, 41000, 42000, 43000}),
        (["assured"], {40000}),
        (["offloaded"], {40000}),
        (["src=10.0.0.0/24"], {40000, 41000, 43000}),
        (["src=10.0.0.1/32"], {40000, 41000, 43000}),
        (["src=10.0.1.0/24"], set()),
        (["src=0.0.0.0/0", "sport=41000"], {41000}),
        (["dst=fd00::/64"], {42000}),
        # One tuple has to fit: ext is the source of the replies, which go to port 41000.
        (["src=10.0.0.3/32", "dport=41000"], {41000}),
        (["src=10.0.0.3/32", "sport=41000"], set()),
        (["src=10.0.0.1/32", "dst=10.0.0.1"], set()),
        (["src=10.0.0.0/24", "offloaded"], {40000}),
        (["unreplied"], {41000, 42000, 43000}),
        (["orig-src=10.0.0.1"], {40000, 41000, 43000}),
        (["orig-src=10.0.0.3"], set()),
        (["reply-src=10.0.0.3", "orig-sport=41000"], {41000}),
        (["reply-src=fd00::/16"], {42000}),
        (["reply-sport=80", "unreplied", "family=ipv4"], {41000}),
        (["orig-dport=80", "src=10.0.0.3"], {40000, 41000}),
        (["id=43000"], {43000}),
        (["id=40000"], set()),
        (["type=8", "code=0"], {43000}),
        (["reply-type=0"], {43000}),
        (["orig-type=0"], set()),
        (["mark=41000"], {41000}),
        (["mark=0x8/0xf"], {41000, 43000}),
        (["label=0xa0280000000000000000"], {41000}),
        (["label=0/0xffffffffffffffff"], {40000, 41000, 42000, 43000}),
        (["label=0x1/0x1"], set()),
    ],
)
def test_select(world: World, words: list[str], ports: set[int]) -> None:
    portions = Selection(words).portions(world.tracker)
    found = [connection.original.sport for portion in portions for connection in portion]
    assert sorted(found) == sorted(ports)
    one_by_one = {c.original.sport for c in world.connections() if Selection(words).fits(c)}
    assert one_by_one == ports

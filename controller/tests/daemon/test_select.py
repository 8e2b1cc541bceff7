# SPDX-License-Identifier: Apache-2.0
"""Filter words that the tracker itself does not know: networks, assured, offloaded."""

from __future__ import annotations

import pytest
from p4ct.daemon.select import select

from ..offload.model import SYN, Tcp, World, learn


@pytest.fixture(scope="module")
def world() -> World:
    """40000 is offloaded, 41000 has sent a SYN only, 42000 is IPv6; all from .1 to .3 port 80."""
    made = World()
    learn(made)
    Tcp(made).offload()
    Tcp(made, sport=41000).send("vm1", SYN)
    Tcp(made, sport=42000, v6=True).send("vm1", SYN)
    return made


@pytest.mark.parametrize(
    ("words", "ports"),
    [
        ([], {40000, 41000, 42000}),
        (["assured"], {40000}),
        (["offloaded"], {40000}),
        (["src=10.0.0.0/24"], {40000, 41000}),
        (["src=10.0.0.1/32"], {40000, 41000}),
        (["src=10.0.1.0/24"], set()),
        (["src=0.0.0.0/0", "sport=41000"], {41000}),
        (["dst=fd00::/64"], {42000}),
        # One tuple has to fit: ext is the source of the replies, which go to port 41000.
        (["src=10.0.0.3/32", "dport=41000"], {41000}),
        (["src=10.0.0.3/32", "sport=41000"], set()),
        (["src=10.0.0.1/32", "dst=10.0.0.1"], set()),
        (["src=10.0.0.0/24", "offloaded"], {40000}),
    ],
)
def test_select(world: World, words: list[str], ports: set[int]) -> None:
    found = [connection.original.sport for connection in select(world.tracker, words)]
    assert sorted(found) == sorted(ports)

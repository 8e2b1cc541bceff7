# SPDX-License-Identifier: Apache-2.0
"""`offload.mode = "assume-established"` with a real target: what of a short connection comes up.

Packets are counted, not timed: the SYN/ACK leaves when the entries are there.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from topo.tests.invariants.hosts import ACK, EXT, FIN, PSH, RST, SYN, TAG, A, B, Host
from topo.tests.invariants.peers import CLIENT, SERVER, Peers, Ping, Tcp, Udp
from topo.tests.invariants.policies import POLICY
from topo.tests.invariants.rig import Rig

ENDS: list[tuple[Host, Host, int]] = [(A, EXT, 4), (A, B, 6), (B, TAG, 4), (TAG, A, 6)]


@pytest.fixture(scope="module")
def rig(new_rig: Callable[..., Rig]) -> Rig:
    return new_rig(POLICY, mode="assume-established")


@pytest.fixture(scope="module")
def assured(new_rig: Callable[..., Rig]) -> Rig:
    return new_rig(POLICY)


def shares(peers: Peers) -> tuple[int, int]:
    """Packets of this connection in software and in hardware; together they are all."""
    peers.rig.settle()
    shown = peers.shown()
    assert shown is not None
    sides = ("original", "reply")
    total = sum(shown[side]["packets"] for side in sides)
    hardware = sum(shown["hw"][side]["packets"] for side in sides)
    assert total == sum(packets for packets, _ in peers.sent)
    return total - hardware, hardware


def short_connection(rig: Rig, number: int, client: Host, server: Host, version: int) -> Tcp:
    """A question and an answer: eleven segments."""
    tcp = Tcp(rig, client, server, 31000 + number, 80, version=version)
    tcp.open()
    tcp.data(CLIENT)
    tcp.data(SERVER)
    tcp.step(CLIENT, FIN | ACK)
    tcp.step(SERVER, ACK)
    tcp.step(SERVER, FIN | ACK)
    tcp.step(CLIENT, ACK)
    return tcp


@pytest.mark.parametrize(("number", "ends"), list(enumerate(ENDS)))
def test_a_short_connection_has_fewer_punts(
    rig: Rig, assured: Rig, number: int, ends: tuple[Host, Host, int]
) -> None:
    """Both SYNs, both FINs and the last ACK come up; in mode assured the ACK of the handshake, too,
    and what overtakes the install."""
    software, hardware = shares(short_connection(rig, number, *ends))
    assert (software, hardware) == (5, 6)
    compared, _ = shares(short_connection(assured, number, *ends))
    assert compared > software


def test_the_ack_of_the_handshake_is_known_by_its_count(rig: Rig) -> None:
    tcp = Tcp(rig, A, EXT, 31100, 80)
    tcp.step(CLIENT, SYN)
    tcp.step(SERVER, SYN | ACK)
    shown = tcp.shown()
    assert shown is not None
    assert (shown["state"], shown["offloaded"]) == ("SYN_RECV", True)
    tcp.step(CLIENT, ACK)
    rig.ask("conntrack-list", filter=[])
    shown = tcp.shown()
    assert shown is not None
    assert shown["state"] == "ESTABLISHED"
    assert "ASSURED" in shown["line"]
    tcp.reset(SERVER)
    assert shares(tcp) == (3, 1)


def test_what_follows_a_syn_without_an_answer_does_not_pass(rig: Rig) -> None:
    """Conntrack calls it invalid; an entry would forward it."""
    tcp = Tcp(rig, A, EXT, 31200, 80)
    tcp.step(CLIENT, SYN)
    mark = rig.wire.mark
    rig.send(A, tcp.segment(CLIENT, PSH | ACK, b"too early"))
    rig.barrier(A)
    assert not [got for got in rig.wire.since(mark) if b"too early" in got.frame]
    assert not tcp.offloaded()


def test_a_refused_connection_leaves_nothing(rig: Rig) -> None:
    tcp = Tcp(rig, A, EXT, 31300, 80)
    tcp.step(CLIENT, SYN)
    tcp.step(SERVER, RST | ACK)
    assert not tcp.offloaded()
    tcp = Tcp(rig, A, EXT, 31301, 80)
    tcp.step(CLIENT, SYN)
    tcp.step(SERVER, SYN | ACK)
    tcp.step(CLIENT, RST | ACK)
    assert shares(tcp) == (3, 0)
    assert not tcp.offloaded()


@pytest.mark.parametrize("kind", [Udp, Ping])
def test_a_question_and_its_answer_are_enough(rig: Rig, kind: type[Udp] | type[Ping]) -> None:
    peers = Udp(rig, A, EXT, 31400, 53) if kind is Udp else Ping(rig, A, EXT, 31401)
    peers.data(CLIENT)
    assert not peers.offloaded()
    peers.data(SERVER)
    peers.wait_offloaded()
    for side in (CLIENT, SERVER, SERVER if kind is Udp else CLIENT):
        peers.data(side)
    assert shares(peers) == (2, 3)


@pytest.mark.parametrize("kind", [Udp, Ping])
def test_one_way_traffic_until_its_answer(rig: Rig, kind: type[Udp] | type[Ping]) -> None:
    peers = Udp(rig, A, EXT, 31500, 53) if kind is Udp else Ping(rig, A, EXT, 31501)
    peers.data(CLIENT)
    peers.data(CLIENT)
    peers.wait_offloaded()
    for _ in range(5):
        peers.data(CLIENT)
    assert shares(peers) == (2, 5)
    shown = peers.shown()
    assert shown is not None
    assert not shown["seen_reply"]
    peers.data(SERVER)
    assert shares(peers) == (3, 5)
    assert not peers.offloaded()
    peers.data(CLIENT)
    peers.wait_offloaded()
    peers.data(SERVER)
    peers.data(CLIENT)
    assert shares(peers) == (4, 7)

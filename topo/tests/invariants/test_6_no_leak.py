# SPDX-License-Identifier: Apache-2.0
"""Invariant 6: when the last connection has ended, nothing of any is left, anywhere."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from topo.tests.invariants.hosts import ACK, EXT, FIN, TAG, A, B
from topo.tests.invariants.peers import CLIENT, SERVER, Peers, Ping, Tcp, Udp
from topo.tests.invariants.policies import POLICY
from topo.tests.invariants.rig import Rig, until

#: All connections end within this many seconds after their last packet.
SOON = 1.0
TIMEOUTS = dict.fromkeys(
    ("tcp_time_wait", "tcp_close", "tcp_last_ack", "udp", "udp_stream", "icmp", "icmpv6"), SOON
)
#: Closed halfway before the controller is killed: no FIN comes again, so these time out.
HALF_CLOSED = dict.fromkeys(("tcp_fin_wait", "tcp_close_wait", "tcp_syn_recv"), 2 * SOON)


@pytest.fixture(scope="module")
def rig(new_rig: Callable[..., Rig]) -> Rig:
    return new_rig(
        POLICY,
        timeouts={**TIMEOUTS, **HALF_CLOSED, "tcp_established": 3 * SOON},
        idle={"tcp": SOON, "udp": SOON, "icmp": SOON},
    )


def everyone(rig: Rig, port: int) -> list[Tcp | Udp | Ping]:
    """Connections of every kind over every pair of ports, offloaded."""
    result: list[Tcp | Udp | Ping] = []
    for number, (client, server) in enumerate([(A, B), (B, EXT), (TAG, A), (A, EXT), (EXT, A)]):
        version = 4 + 2 * (number % 2)
        result.append(Tcp(rig, client, server, port + number, 80, version=version))
        if client is not EXT:  # policy lets nothing else begin there
            result.append(Udp(rig, client, server, port + number, 53, version=10 - version))
            result.append(Ping(rig, client, server, port + number, version))
    for peers in result:
        peers.establish()
    return result


def used(rig: Rig) -> set[int]:
    """Connection indices that have entries now."""
    return {row.index for row in rig.switch.entries()}


def check_nothing_left(rig: Rig, indices: set[int]) -> None:
    """Wait until the controller has no connection; then the switch must have nothing either."""

    def idle() -> bool:
        return rig.ask("status")["connections"]["active"] == 0

    until(idle, "the last connection has expired", 15.0)
    status = rig.settle()
    assert status["entries"] == status["pending"] == status["shared_rows"] == 0, status
    assert rig.connections() == rig.ask("offload-list") == rig.ask("offload-pending") == []
    assert rig.switch.sizes() == {"ct_v4": 0, "ct_v6": 0, "l2_pair": 0, "next_hop": 0}
    assert indices, "nothing was ever offloaded: this test would prove nothing"
    cells = rig.switch.cells(indices)
    assert len(cells) == 2 * len(indices)
    assert set(cells.values()) == {(0, 0)}, cells
    assert status["offload"]["drift"] == {}, "the switch was not as the controller thought"


def test_every_way_to_end(rig: Rig) -> None:
    """By FIN, by RST, by flush and by silence, twice over: numbers are used again."""
    for turn in range(2):
        mixed = everyone(rig, 30000 + 100 * turn)
        indices = used(rig)
        assert len(indices) == len(mixed)
        tcp = [peers for peers in mixed if isinstance(peers, Tcp)]
        tcp[0].close(CLIENT)
        tcp[1].close(SERVER)
        tcp[2].reset(CLIENT)
        tcp[3].reset(SERVER)
        rig.ask("conntrack-flush", filter=mixed[-1].words)
        # The others say nothing any more.
        check_nothing_left(rig, indices)


def test_reused_while_closing(rig: Rig) -> None:
    """A tuple that begins again at once leaves nothing of its former life."""
    connection = Tcp(rig, A, EXT, 31000, 80)
    indices: set[int] = set()
    for _ in range(5):
        connection.establish()
        indices |= used(rig)
        connection.close(CLIENT)
        connection.next[CLIENT] += 100_000
        connection.next[SERVER] += 100_000
    check_nothing_left(rig, indices)


@pytest.mark.parametrize("frozen_first", [False, True])
def test_controller_restarts_in_the_middle(rig: Rig, frozen_first: bool) -> None:
    """Killed with connections in every state; the next one takes over or removes what it finds."""
    mixed = everyone(rig, 32000)
    tcp = [peers for peers in mixed if isinstance(peers, Tcp)]
    tcp[0].step(CLIENT, FIN | ACK)
    half_open = Tcp(rig, A, B, 32900, 80)
    half_open.open()
    rig.settle()
    indices = used(rig)
    before = rig.switch.sizes()
    if frozen_first:
        rig.controller.freeze()
        # Ended while nobody listens: the controller never sees these.
        for connection in tcp[1:3]:
            for side in (CLIENT, SERVER):
                rig.send(connection.hosts[side], connection.segment(side, FIN | ACK))
    rig.controller.kill()
    assert rig.switch.sizes() == before, "entries stay while there is no controller"
    rig.start_controller()
    rig.settle()
    goes_on: Peers = tcp[3]
    assert isinstance(goes_on, Tcp)
    goes_on.data(SERVER)
    goes_on.data(CLIENT)
    indices |= used(rig)
    goes_on.close()
    check_nothing_left(rig, indices)


def test_many_connections(rig: Rig) -> None:
    """Short connections one upon the other, ended in turn by FIN and RST."""
    indices: set[int] = set()
    several = [Tcp(rig, A, EXT, 33000 + n, 80) for n in range(60)]
    for connection in several:
        connection.open()
        connection.data(CLIENT)
    until(lambda: rig.ask("status")["connections"]["offloaded"] == 60, "all are offloaded")
    indices = used(rig)
    for number, connection in enumerate(several):
        if number % 2:
            connection.reset(number // 2 % 2)
        else:
            connection.close(number // 2 % 2)
    check_nothing_left(rig, indices)
    assert len(indices) == 60

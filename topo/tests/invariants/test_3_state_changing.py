# SPDX-License-Identifier: Apache-2.0
"""Invariant 3: SYN, FIN, RST, fragments and unknown packets are never forwarded by hardware.

The controller is stopped (SIGSTOP) while the packets come, so that whatever leaves a port was
forwarded by the eswitch alone.  After each packet data of offloaded connections is sent from the
same port to every port; it is delivered behind anything that the packet could have become.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from scapy.layers.inet import UDP
from scapy.packet import Raw

from topo.tests.invariants.hosts import ACK, EXT, FIN, PSH, RST, SYN, TAG, A, B, Host, l3
from topo.tests.invariants.odd import odd_packets
from topo.tests.invariants.peers import CLIENT, SERVER, Ping, Tcp, Udp
from topo.tests.invariants.policies import POLICY
from topo.tests.invariants.rig import Rig

URG, ECE, CWR = 0x20, 0x40, 0x80


class Frozen:
    """Offloaded connections from a to every other station, and a controller that stands still."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.tcp = {version: Tcp(rig, A, EXT, 41000, 80, version) for version in (4, 6)}
        self.udp = {version: Udp(rig, A, B, 42000, 53, version) for version in (4, 6)}
        self.ping = {version: Ping(rig, A, EXT, 77, version) for version in (4, 6)}
        self.tagged = Tcp(rig, A, TAG, 43000, 80)
        for peers in (*self.tcp.values(), *self.udp.values(), *self.ping.values(), self.tagged):
            peers.establish()
        rig.settle()
        rig.controller.freeze()

    def data_passes(self, *first: tuple[Tcp, int]) -> list[tuple[int, bytes]]:
        """Data to b, ext and tag, and back to a, all by hardware; what left which port."""
        steps: list[tuple[Tcp, int]] = [*first, (self.tcp[6], CLIENT), (self.tagged, CLIENT)]
        steps += [(self.tcp[4], CLIENT), (self.tcp[4], SERVER)]
        sent = [(B.port, self.udp[4].data(CLIENT))]
        for connection, side in steps:
            frame = connection.step(side, PSH | ACK, b"data")
            dst = connection.hosts[1 - side]
            sent.append((dst.port, dst.wire(frame)))
        return sent

    def stays_in(self, src: Host, frame: bytes) -> None:
        """The frame leaves no port, although data that is sent after it does."""
        mark = self.rig.wire.mark
        self.rig.send(src, frame)
        behind = {A: (), EXT: ((self.tcp[4], SERVER),), TAG: ((self.tagged, SERVER),)}[src]
        expected = self.data_passes(*behind)
        left = [got[:2] for got in self.rig.wire.since(mark)]
        assert Counter(left) == Counter(expected), f"{frame.hex()} left by hardware"


@pytest.fixture(scope="module")
def frozen(new_rig: Callable[..., Rig]) -> Iterator[Frozen]:
    setup = Frozen(new_rig(POLICY))
    yield setup
    setup.rig.controller.thaw()


STATE_CHANGING = [
    SYN,
    SYN | ACK,
    FIN,
    FIN | ACK,
    FIN | PSH | ACK,
    RST,
    RST | ACK,
    SYN | FIN | ACK,
    SYN | RST,
    FIN | RST | ACK,
    SYN | ECE | CWR,
    0,
    PSH,
    URG,
    0xFF,
]


@pytest.mark.parametrize("version", [4, 6])
def test_tcp_flags(frozen: Frozen, version: int) -> None:
    """Every flag that changes a state, and segments without ACK, in both directions."""
    connection = frozen.tcp[version]
    for flags in STATE_CHANGING:
        for side in (CLIENT, SERVER):
            frame = connection.segment(side, flags, b"flags")
            frozen.stays_in(connection.hosts[side], frame)


def test_tcp_flags_tagged(frozen: Frozen) -> None:
    """The tag of a VLAN vport hides no flag."""
    for flags in (SYN, FIN | ACK, RST | ACK):
        for side in (CLIENT, SERVER):
            frame = frozen.tagged.segment(side, flags, b"flags")
            frozen.stays_in(frozen.tagged.hosts[side], frame)


def good_packet(connection: Tcp | Udp | Ping) -> bytes:
    payload = b"odd packets have a payload that nothing else has"
    if isinstance(connection, Tcp):
        return connection.segment(CLIENT, PSH | ACK, payload)
    if isinstance(connection, Udp):
        return connection.datagram(CLIENT, payload)
    return connection.message(CLIENT, payload)


@pytest.mark.parametrize("proto", ["tcp", "udp", "ping"])
def test_odd_packets(frozen: Frozen, proto: str) -> None:
    """Fragments, options, TTL, checksums and lengths, of connections that are offloaded."""
    connections = getattr(frozen, proto)
    for frame in odd_packets(good_packet(connections[4])) + odd_packets(
        good_packet(connections[6])
    ):
        frozen.stays_in(A, frame)


def test_good_packets_pass(frozen: Frozen) -> None:
    """The control: the packets that the odd ones are made of are forwarded by hardware."""
    for connections in (frozen.tcp, frozen.udp, frozen.ping):
        for connection in connections.values():
            src, dst = connection.hosts
            frozen.rig.deliver(src, dst, good_packet(connection))


def test_unknown(frozen: Frozen) -> None:
    """No entry, no way: other ports, other protocols, other MAC addresses, other vports."""
    connection = frozen.tcp[4]
    payload = b"unknown packets have a payload that nothing else has"
    good = connection.segment(CLIENT, PSH | ACK, payload)
    other_port = connection.segment(CLIENT, PSH | ACK, payload, sport=41001)
    frozen.stays_in(A, other_port)
    frozen.stays_in(A, good[:6] + bytes.fromhex("0200000000ee") + good[12:])
    frozen.stays_in(A, bytes.fromhex("0200000000ee") + good[6:])
    frozen.stays_in(EXT, good)
    frozen.stays_in(A, TAG.wire(good))
    frozen.stays_in(A, bytes(l3(A, EXT) / UDP(sport=41000, dport=80) / Raw(payload)))
    frozen.stays_in(A, bytes(l3(A, EXT, proto=47) / Raw(payload)))
    frozen.stays_in(A, good[:12] + b"\x88\xb5" + payload)

# SPDX-License-Identifier: Apache-2.0
"""Translation: the eswitch sends byte for byte what software would have sent, both ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from topo.tests.invariants.hosts import ACK, EXT, PSH, SYN, A, Host
from topo.tests.invariants.peers import CLIENT, SERVER, Peers, Ping, Tcp, Udp
from topo.tests.invariants.rig import Rig, until

NAT = {4: "10.0.0.100", 6: "fd00::100"}
FRONT = {4: "10.0.0.200", 6: "fd00::200"}


def _policy() -> str:
    flows = ["table=0, priority=100, arp, actions=NORMAL"]
    for version, family in ((4, "ip"), (6, "ipv6")):
        inside = A.ip(version) if version == 4 else f"[{A.ip(version)}]"
        tcp = "tcp" if version == 4 else "tcp6"
        flows += [
            f"table=0, priority=50, {family}, actions=ct(zone=1,nat,table=1)",
            f"table=1, priority=90, {family}, ct_state=+trk+est, actions=NORMAL",
            f"table=1, priority=80, in_port=a, {family}, ct_state=+trk+new, "
            f"actions=ct(commit,zone=1,nat(src={NAT[version]})),NORMAL",
            f"table=1, priority=80, in_port=ext, {tcp}, ct_state=+trk+new, "
            f"actions=ct(commit,zone=1,nat(dst={inside}:80)),NORMAL",
        ]
    return "\n".join(flows) + "\n"


@pytest.fixture(scope="module")
def rig(new_rig: Callable[..., Rig]) -> Rig:
    return new_rig(_policy())


def rewritten(frame: bytes, **fields: Any) -> bytes:
    """The frame with other addresses and ports; scapy computes all checksums anew."""
    packet = Ether(frame)
    ip = packet[IP] if IP in packet else packet[IPv6]
    for name in ("src", "dst"):
        setattr(ip, name, fields.get(name, getattr(ip, name)))
    upper = next((packet[kind] for kind in (TCP, UDP) if kind in packet), None)
    for name in ("sport", "dport"):
        if upper is not None:
            setattr(upper, name, fields.get(name, getattr(upper, name)))
    if IP in packet:
        del ip.chksum
    rest = ip.payload
    for name in ("chksum", "cksum"):
        if name in rest.fields:
            delattr(rest, name)
    return bytes(packet)


class Sides:
    """What each end of a connection sees of the other."""

    def __init__(
        self, peers: Peers, client: dict[str, Any], server: dict[str, Any], version: int
    ) -> None:
        self.peers = peers
        self.rig = peers.rig
        #: What the server sees of the client, and what the client has asked for.
        self.client, self.server = client, server
        self.version = version

    def send(self, side: int, frame: bytes) -> None:
        """A frame as if there was no translation: send what its end would, expect the other's."""
        source, target = self.peers.hosts[side], self.peers.hosts[1 - side]
        if side == CLIENT:
            leaves = rewritten(frame, **{_other(k): v for k, v in self.server.items()})
            arrives = rewritten(frame, **self.client)
        else:
            leaves = rewritten(frame, **{_other(k): v for k, v in self.client.items()})
            arrives = rewritten(frame, **self.server)
        mark = self.rig.wire.mark
        self.rig.send(source, leaves)
        wanted = (target.port, target.wire(arrives))
        got = self.rig.wire.wait(lambda one: one[:2] == wanted, mark, 5.0)
        seen = [(one.port, one.frame.hex()) for one in self.rig.wire.since(mark)]
        assert got, f"not arrived as {arrives.hex()}: {seen}"


def _other(name: str) -> str:
    return {"src": "dst", "sport": "dport"}[name]


def exchange(sides: Sides, frames: Callable[[int], bytes], rounds: int) -> None:
    for _ in range(rounds):
        for side in (CLIENT, SERVER):
            sides.send(side, frames(side))


def by_entries(rig: Rig) -> int:
    return rig.ask("status")["packets"]["fast_path"]


def peers_of(rig: Rig, kind: str, client: Host, server: Host, version: int) -> Peers:
    if kind == "tcp":
        return Tcp(rig, client, server, 41000, 80, version)
    if kind == "udp":
        return Udp(rig, client, server, 41001, 53, version)
    return Ping(rig, client, server, 500, version)


def play(sides: Sides) -> None:
    """Until it is offloaded, and some packets more."""
    peers, rig = sides.peers, sides.rig
    if isinstance(peers, Tcp):
        for side, flags in ((CLIENT, SYN), (SERVER, SYN | ACK), (CLIENT, ACK)):
            sides.send(side, peers.segment(side, flags))
            peers.advance(side, flags)

        def frames(side: int) -> bytes:
            frame = peers.segment(side, PSH | ACK, b"some data")
            peers.advance(side, PSH | ACK, b"some data")
            return frame
    elif isinstance(peers, Udp):
        frames = peers.datagram
    else:
        assert isinstance(peers, Ping)
        frames = peers.message
    exchange(sides, frames, 2)
    until(lambda: any(c["offloaded"] for c in rig.connections()), "it is offloaded")
    before = by_entries(rig)
    exchange(sides, frames, 5)
    assert by_entries(rig) - before == 10
    rig.ask("conntrack-flush")
    rig.settle()


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("kind", ["tcp", "udp", "ping"])
def test_source(rig: Rig, kind: str, version: int) -> None:
    peers = peers_of(rig, kind, A, EXT, version)
    play(Sides(peers, {"src": NAT[version]}, {"src": EXT.ip(version)}, version))


@pytest.mark.parametrize("version", [4, 6])
def test_destination(rig: Rig, version: int) -> None:
    peers = peers_of(rig, "tcp", EXT, A, version)
    front = {"src": FRONT[version], "sport": 8080}
    play(Sides(peers, {"src": EXT.ip(version)}, front, version))

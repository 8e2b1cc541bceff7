# SPDX-License-Identifier: Apache-2.0
"""Invariant 1: what is delivered with offload on is what is delivered with it off, byte for byte.

The same random trace is played on two installations.  For each connection and port the frames that
came out must be the same, each as often.  P4CT_TEST_SEEDS ("7,8,9") chooses other traces.

One exception, in one direction (docs/decisions/0017): entries forward a segment whose TCP checksum
is wrong, where software calls it invalid.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import NamedTuple

import pytest
from scapy.layers.l2 import Ether

from topo.tests.invariants.hosts import EXT, TAG, A, B, Host, arp_probe
from topo.tests.invariants.peers import CLIENT, SERVER, Udp
from topo.tests.invariants.policies import POLICY
from topo.tests.invariants.rig import Rig
from topo.tests.invariants.traces import DAMAGED, Step, trace

SEEDS = [int(seed) for seed in os.environ.get("P4CT_TEST_SEEDS", "1,2,3,4,5,6").split(",")]
ARP = b"\x08\x06"


class Pair(NamedTuple):
    """Two installations that differ in `offload.enabled` only."""

    on: Rig
    off: Rig


@pytest.fixture(scope="module")
def rigs(new_rig: Callable[..., Rig]) -> Pair:
    return Pair(new_rig(POLICY), new_rig(POLICY, offload=False))


class Played(NamedTuple):
    """What came out, (port, frame) each as often as it did; packets forwarded by entries."""

    delivered: Counter[tuple[int, bytes]]
    by_entries: int


def play(rig: Rig, steps: list[Step]) -> Played:
    """Send a trace, each packet when the one before has been dealt with."""
    before = rig.ask("status")["packets"]["fast_path"]
    mark = rig.wire.mark
    for step in steps:
        rig.send(step.src, step.frame)
        rig.barrier(step.src)
        if step.quiet:
            rig.settle()
    rig.settle()
    for host in {step.src for step in steps}:
        rig.barrier(host)
    after = rig.ask("status")["packets"]["fast_path"]
    captured = [got[:2] for got in rig.wire.since(mark) if not is_arp(got.frame)]
    rig.ask("conntrack-flush")
    return Played(Counter(captured), after - before)


def is_arp(frame: bytes) -> bool:
    return ARP in (frame[12:14], frame[16:18] if frame[12:14] == b"\x81\x00" else b"")


def differences(steps: list[Step], on: Played, off: Played) -> str:
    """Lines for a reader: which frames were delivered in one run only, and from which step."""
    places: dict[bytes, list[str]] = defaultdict(list)
    for number, step in enumerate(steps):
        # A tag may be put on or taken off; what follows the EtherType stays.
        places[step.frame[14:]].append(f"step {number}, {step.what}, of {step.connection}")
    damaged = {step.frame[14:] for step in steps if step.what == DAMAGED}
    by_entries_only = on.delivered - off.delivered
    for port, frame in list(by_entries_only):
        if damaged & {frame[14:], frame[18:]}:
            del by_entries_only[port, frame]
    lines: list[str] = []
    for title, more in (
        ("only with offload on", by_entries_only),
        ("only with offload off", off.delivered - on.delivered),
    ):
        for (port, frame), times in more.items():
            known = places.get(frame[14:]) or places.get(frame[18:]) or ["nobody sent it"]
            lines.append(f"{title}, port {port}, {times} times: {' or '.join(known)}")
            lines.append(f"    {Ether(frame).summary()}")
    return "\n".join(lines)


@pytest.mark.parametrize("seed", SEEDS)
def test_same_frames_delivered(rigs: Pair, seed: int) -> None:
    steps = trace(seed)
    print(f"seed {seed}: {len(steps)} packets")  # shown when the test fails
    on, off = play(rigs.on, steps), play(rigs.off, steps)
    different = differences(steps, on, off)
    assert not different, f"seed {seed}:\n{different}"
    assert off.by_entries == 0
    assert on.by_entries > 0.3 * len(steps), "too little was forwarded by entries"
    assert sum(on.delivered.values()) > 0.5 * len(steps), "too little was delivered at all"


def priority_tagged(frame: bytes, priority: int) -> bytes:
    """With a tag of VLAN 0: still of the untagged vport."""
    return frame[:12] + b"\x81\x00" + bytes([priority << 5, 0]) + frame[12:]


@pytest.mark.parametrize("server", [B, TAG])
def test_tags_that_have_only_a_priority(rigs: Pair, server: Host) -> None:
    """They hit the entries of the untagged frames, and leave as software would send them; with a
    tag of a VLAN behind them they get nowhere."""
    results: list[Counter[tuple[int, bytes]]] = []
    first = Udp(rigs.on, A, server, 26000, 53)
    known = [(side, first.datagram(side, b"known")) for side in (CLIENT, SERVER, CLIENT)]
    frames = [first.datagram(CLIENT, bytes([n]) * 20) for n in range(6)]
    for rig in rigs:
        connection = Udp(rig, A, server, 26000, 53)
        mark = rig.wire.mark
        for side, frame in known:
            connection.deliver(side, frame)
        if rig is rigs.on:
            connection.wait_offloaded()
        before = rig.ask("status")["packets"]["fast_path"]
        for priority, frame in enumerate(frames):
            rig.wire.send(A.port, priority_tagged(frame, priority))
            rig.wire.send(A.port, priority_tagged(TAG.wire(frame), priority))
            rig.barrier(A)
        after = rig.ask("status")
        assert after["packets"]["fast_path"] - before == len(frames) * (rig is rigs.on)
        assert after["drops"]["slow_path"]["a second tag behind a priority tag"] >= len(frames)
        assert after["drops"]["slow_path"].get("unknown vport", 0) == 0
        captured = [got[:2] for got in rig.wire.since(mark) if not is_arp(got.frame)]
        results.append(Counter(captured))
        rig.ask("conntrack-flush")
    assert results[0] == results[1]
    for priority, frame in enumerate(frames):
        arrived = frame
        if server.vlan is not None:
            tag = bytes([priority << 5 | server.vlan >> 8, server.vlan & 255])
            arrived = frame[:12] + b"\x81\x00" + tag + frame[12:]
        assert results[0][server.port, arrived] == 1


def test_station_moves(rigs: Pair) -> None:
    """A MAC address is seen on another port: its connections follow, with offload as without."""
    results: list[Counter[tuple[int, bytes]]] = []
    frames = [bytes([n]) * 20 for n in range(6)]
    first = Udp(rigs.on, A, B, 25000, 53)
    messages = [(side, first.datagram(side, text)) for text in frames for side in (CLIENT, SERVER)]
    for rig in rigs:
        connection = Udp(rig, A, B, 25000, 53)
        mark = rig.wire.mark
        for side, frame in messages[:6]:
            connection.deliver(side, frame)
        if rig is rigs.on:
            connection.wait_offloaded()
        results.append(move_and_send(rig, mark, messages[6:]))
    assert results[0] == results[1]
    assert results[0][3, messages[7][1]] == 1, "nothing followed the station to its new port"


def move_and_send(
    rig: Rig, mark: int, messages: list[tuple[int, bytes]]
) -> Counter[tuple[int, bytes]]:
    """The client's MAC appears behind the uplink; the server goes on sending to it."""
    rig.wire.send(EXT.port, arp_probe(A, 1 << 16))
    rig.barrier(EXT)
    rig.settle()
    for side, frame in messages:
        if side == SERVER:
            rig.send(B, frame)
            rig.barrier(B)
    rig.settle()
    captured = [got[:2] for got in rig.wire.since(mark) if not is_arp(got.frame)]
    rig.barrier(A)  # at home again
    rig.ask("conntrack-flush")
    return Counter(captured)

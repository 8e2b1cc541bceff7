# SPDX-License-Identifier: Apache-2.0
"""Traffic that passes no ct(): entries of the `flow` table, on a real target.

The same packets are played on two installations, one of which has offload switched off: the same
frames must come out, and the flows must have the same counts.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from topo.tests.invariants.hosts import ACK, EXT, FIN, HOSTS, SYN, TAG, A, B, Host, echo, tcp, udp
from topo.tests.invariants.rig import Rig, until

#: Probes of the rig are flooded; what is left is decided by single fields of every layer.
POLICY = """\
table=0, priority=100, arp, actions=NORMAL
table=0, priority=90, udp, nw_src=10.0.0.1, tp_dst=53, actions=drop
table=0, priority=80, icmp, icmp_type=8, in_port=ext, actions=drop
table=0, priority=70, tcp, in_port=tag, nw_dst=10.0.0.2, actions=output:b
table=0, priority=50, ip, nw_dst=10.0.0.4, actions=output:tag
table=0, priority=10, actions=NORMAL
"""
#: A field that no entry matches: IPv4 that comes to this rule stays in software.
BY_TTL = POLICY + "table=0, priority=60, ip, nw_ttl=9, actions=drop\n"
DENY = "table=0, priority=100, arp, actions=NORMAL\ntable=0, priority=0, actions=drop\n"


class Pair(NamedTuple):
    on: Rig
    off: Rig


@pytest.fixture(scope="module")
def rigs(new_rig: Callable[..., Rig]) -> Pair:
    idle = {"flow": 1}
    return Pair(new_rig(POLICY, idle=idle), new_rig(POLICY, offload=False, idle=idle))


class Sent(NamedTuple):
    src: Host
    frame: bytes


def some_packet(rng: random.Random) -> Sent:
    """A packet of any protocol between any two stations; one in eight is odd in some way."""
    src, dst = rng.sample(HOSTS, 2)
    version = rng.choice((4, 4, 6))
    ip: dict[str, Any] = {}
    if rng.randrange(8) == 0:
        ip = {"ttl": rng.choice((1, 9, 255))}
    sport, dport = rng.choice((53, 4000)), rng.choice((53, 80))
    match rng.randrange(4):
        case 0:
            return Sent(src, udp(src, dst, version, sport, dport, b"datagram", ip))
        case 1:
            flags = rng.choice((ACK, ACK, ACK, SYN, FIN | ACK))
            return Sent(src, tcp(src, dst, version, sport=sport, dport=dport, flags=flags, ip=ip))
        case 2:
            return Sent(src, echo(src, dst, version, 7, 1, reply=rng.random() < 0.5, ip=ip))
        case _:
            other = b"\x88\xb5" + rng.randbytes(50)
            macs = bytes.fromhex((dst.mac + src.mac).replace(":", ""))
            return Sent(src, macs + other)


def play(rig: Rig, packets: list[Sent]) -> Counter[tuple[int, bytes]]:
    """What comes out, each packet dealt with before the next."""
    mark = rig.wire.mark
    for sent in packets:
        rig.send(sent.src, sent.frame)
        rig.barrier(sent.src)
        rig.settle()
    return Counter(got[:2] for got in rig.wire.since(mark) if not is_arp(got.frame))


def is_arp(frame: bytes) -> bool:
    return b"\x08\x06" in (frame[12:14], frame[16:18])


def flow_counts(rig: Rig) -> list[tuple[int, int, int]]:
    """Priority, packets and bytes of every flow but that of the rig's own probes."""
    found = rig.ask("flows-list")
    return [(f["priority"], f["n_packets"], f["n_bytes"]) for f in found if f["priority"] != 100]


@pytest.mark.parametrize(("seed", "policy"), [(1, POLICY), (2, POLICY), (3, BY_TTL)])
def test_same_frames_and_counts(rigs: Pair, seed: int, policy: str) -> None:
    rng = random.Random(seed)
    kinds = [some_packet(rng) for _ in range(14)]
    packets = [rng.choice(kinds) for _ in range(100)]
    results: list[Counter[tuple[int, bytes]]] = []
    counts: list[list[tuple[int, int, int]]] = []
    for rig in rigs:
        rig.replace_policy(DENY)
        rig.replace_policy(policy)
        before = rig.ask("status")
        results.append(play(rig, packets))
        counts.append(flow_counts(rig))
        if rig is rigs.on:
            after = rig.ask("status")
            forwarded = after["packets"]["fast_path"] - before["packets"]["fast_path"]
            installed = after["stateless"]["installed_total"]
            assert installed > before["stateless"]["installed_total"]
            assert forwarded > 10, "too little was forwarded by entries"
    assert results[0] == results[1]
    assert counts[0] == counts[1]


def by_entries(rig: Rig) -> int:
    return rig.ask("status")["packets"]["fast_path"]


def offload(rig: Rig, src: Host, dst: Host, sport: int) -> bytes:
    """Send until the switch forwards it; the frame."""
    frame = udp(src, dst, 4, sport, 80, b"again and again")

    def forwarded() -> bool:
        before = by_entries(rig)
        rig.deliver(src, dst, frame)
        rig.barrier(src)
        return by_entries(rig) > before

    until(forwarded, "a stateless flow forwards it")
    return frame


def test_a_rule_that_did_not_match_was_looked_at_too(rigs: Pair) -> None:
    """Entries let port 80 through, but not port 53 of the same sender, nor another sender's."""
    rig = rigs.on
    rig.replace_policy(POLICY)
    offload(rig, A, EXT, 32000)
    mark = rig.wire.mark
    rig.send(A, udp(A, EXT, 4, 32000, 53, b"denied"))
    rig.barrier(A)
    assert not [got for got in rig.wire.since(mark) if b"denied" in got.frame]
    before = by_entries(rig)
    rig.deliver(B, EXT, udp(B, EXT, 4, 32000, 80))
    assert by_entries(rig) == before


def test_what_a_new_policy_denies_leaves_no_port(rigs: Pair) -> None:
    """From the moment that the command returns, over and over."""
    rig = rigs.on
    for turn in range(5):
        rig.replace_policy(POLICY)
        frame = offload(rig, B, TAG, 30000 + turn)
        rig.replace_policy(DENY)
        mark = rig.wire.mark
        for _ in range(20):
            rig.send(B, frame)
        rig.barrier(B)
        assert not [got for got in rig.wire.since(mark) if b"again and again" in got.frame]
        assert len(rig.switch.rows("flow")) == 0
    rig.replace_policy(POLICY)


def test_nothing_stays_when_nobody_sends(rigs: Pair) -> None:
    rig = rigs.on
    rig.replace_policy(POLICY)
    for src, dst in ((A, B), (B, TAG), (TAG, A), (EXT, A)):
        offload(rig, src, dst, 31000)
    assert len(rig.switch.rows("flow")) >= 4
    until(lambda: len(rig.switch.rows("flow")) == 0, "all stateless flows are idle")
    assert rig.ask("status")["stateless"]["flows"] == 0
    until(lambda: len(rig.switch.rows("next_hop")) == 0, "their next hops are gone")


def test_a_few_packets_write_nothing(rigs: Pair) -> None:
    """Packets of which none is like another: as a scan would be."""
    rig = rigs.on
    before = rig.ask("status")["stateless"]["installed_total"]
    for number in range(200):
        rig.send(A, udp(A, TAG, 4, 1000 + number, 2000 + number))
    # They differ in nothing that the policy looks at but the port, once for each.
    rig.barrier(A)
    assert rig.ask("status")["stateless"]["installed_total"] == before

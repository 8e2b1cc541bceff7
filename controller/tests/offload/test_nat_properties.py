# SPDX-License-Identifier: Apache-2.0
"""Invariants over random histories of translated connections, against the model of the eswitch."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from p4ct.conntrack import Connection, Tuple
from p4ct.eswitch.entries import CtForward
from p4ct.offload.decide import Mode
from p4ct.offload.manager import OffloadOptions
from p4ct.packet.text import parse_ip

from .model import ACK, FIN, RST, SYN, World
from .translated import CLIENT, NAT, Ends, new_world, policy

STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("tcp"),
            st.integers(0, 2),
            st.integers(0, 1),
            st.sampled_from([SYN, SYN | ACK, ACK, ACK, ACK, FIN | ACK, RST | ACK]),
            st.integers(0, 2),
        ),
        st.tuples(st.just("open"), st.integers(0, 5)),
        st.tuples(st.just("more"), st.integers(0, 5), st.integers(0, 1)),
        st.tuples(st.just("idle")),
    ),
    max_size=30,
)


def play(world: World, steps: list[tuple]) -> None:
    """Three TCP, two UDP connections and a ping; two sources have the same port outside."""
    kinds = [
        ("tcp", 40000),
        ("tcp", 40001),
        ("tcp", 40002),
        ("udp", 4000),
        ("udp", 4001),
        ("icmp", 9),
    ]
    all_ends = [Ends(world, proto, sport) for proto, sport in kinds]
    for step in steps:
        match step:
            case ("tcp", number, who, flags, size):
                if who == 0 or all_ends[number].ends[1][0]:
                    all_ends[number].send(who, flags, bytes(size))
            case ("open", number):
                ends = all_ends[number]
                ends.send(0, SYN)
                if ends.ends[1][0]:
                    ends.open()
            case ("more", number, who):
                if who == 0 or all_ends[number].ends[1][0]:
                    all_ends[number].send(who)
            case _:
                world.report_idle()


@settings(deadline=None, max_examples=80)
@given(STEPS, st.sampled_from(list(Mode)))
def test_transparency(steps: list[tuple], mode: Mode) -> None:
    """Invariant 1 with a range that is too small for all: same packets with offload as without."""
    text = policy(":7000-7001")
    on = new_world(text, liberal=True, options=OffloadOptions(mode=mode))
    off = new_world(text, liberal=True, options=OffloadOptions(enabled=False))
    for world in (on, off):
        play(world, steps)
    assert off.by_hardware == 0
    assert Counter(on.delivered) == Counter(off.delivered)


@settings(deadline=None, max_examples=60)
@given(STEPS)
def test_entries_are_a_bijection_and_nothing_leaks(steps: list[tuple]) -> None:
    world = new_world(policy(":7000-7001"))
    play(world, steps)
    leaving = Counter(
        (key.proto, action.nat)
        for key, entry in world.switch.ct.items()
        if isinstance(action := entry.action, CtForward)
    )
    assert not leaving or max(leaving.values()) == 1
    replies: set[tuple[int, Tuple]] = set()
    connection: Connection
    for connection in world.connections():
        assert (connection.zone, connection.reply) not in replies
        replies.add((connection.zone, connection.reply))
        if connection.proto in (6, 17) and connection.original.src == parse_ip(CLIENT):
            assert connection.reply.dst == parse_ip(NAT)
            assert connection.reply.dport in (7000, 7001)
    for _ in range(3):
        world.later(4000.0)
        world.report_idle()
    world.later(500000.0)
    world.report_idle()
    world.later(500000.0)
    assert not world.connections()
    assert world.switch.empty

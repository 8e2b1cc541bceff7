# SPDX-License-Identifier: Apache-2.0
"""Invariants of the design over random histories, against the model of the eswitch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hypothesis import example, given, settings
from hypothesis import strategies as st
from p4ct.offload.decide import Mode
from p4ct.offload.manager import OffloadOptions
from p4ct.offload.record import RecordState
from p4ct.packet import build

from .model import ACK, DENY_ALL, FIN, IP, MAC, POLICY, RST, SYN, World, learn

STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("tcp"),
            st.sampled_from(["vm1", "ext"]),
            st.integers(0, 2),
            st.sampled_from([SYN, SYN | ACK, ACK, FIN | ACK, RST, RST | ACK, 0]),
            st.integers(0, 3),
        ),
        st.tuples(st.just("open"), st.integers(0, 2)),
        st.tuples(st.just("udp"), st.sampled_from(["vm1", "ext"]), st.integers(0, 2)),
        st.tuples(st.just("wait"), st.sampled_from([0.5, 6.0, 40.0, 400.0])),
        st.tuples(st.just("idle")),
        st.tuples(st.just("refresh")),
    ),
    max_size=40,
)
MODES = st.sampled_from(list(Mode))


@dataclass
class Ends:
    """Sequence numbers of one connection, kept by its two ends."""

    vm1: int
    ext: int


class Driver:
    """Carries out steps on a world; the same steps give the same packets on every world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ends = [Ends(1000 + 10**6 * n, 5000 + 10**6 * n) for n in range(3)]

    def tcp(self, source: str, number: int, flags: int, size: int = 0) -> None:
        ends = self.ends[number]
        target = "ext" if source == "vm1" else "vm1"
        ports = {"vm1": 40000 + number, "ext": 80}
        frame = build.tcp_frame(
            eth_src=MAC[source],
            eth_dst=MAC[target],
            src=IP[source],
            dst=IP[target],
            sport=ports[source],
            dport=ports[target],
            seq=getattr(ends, source),
            ack=getattr(ends, target) if flags & ACK else 0,
            flags=flags,
            payload=bytes(size),
        )
        length = size + bool(flags & SYN) + bool(flags & FIN)
        setattr(ends, source, getattr(ends, source) + length)
        self.world.packet(frame, 1 if source == "vm1" else 3)

    def step(self, step: tuple[object, ...]) -> None:
        match step:
            case ("tcp", str(source), int(number), int(flags), int(size)):
                self.tcp(source, number, flags, size)
            case ("open", int(number)):
                self.tcp("vm1", number, SYN)
                self.tcp("ext", number, SYN | ACK)
                self.tcp("vm1", number, ACK)
            case ("udp", str(source), int(number)):
                target = "ext" if source == "vm1" else "vm1"
                ports = {"vm1": 4000 + number, "ext": 53}
                frame = build.udp_frame(
                    eth_src=MAC[source],
                    eth_dst=MAC[target],
                    src=IP[source],
                    dst=IP[target],
                    sport=ports[source],
                    dport=ports[target],
                )
                self.world.packet(frame, 1 if source == "vm1" else 3)
            case ("wait", float(seconds)):
                self.world.later(seconds)
                # As a target with a one-second sweep would, long before conntrack's timers matter.
                self.world.report_idle()
            case ("idle",):
                self.world.report_idle()
            case _:
                self.world.refresh()
                self.world.rounds()


def new_world(
    enabled: bool = True,
    capacity: int = 100,
    liberal: bool = False,
    mode: Mode = Mode.ASSURED,
    policy: str = POLICY,
) -> World:
    options = OffloadOptions(enabled=enabled, capacity=capacity, mode=mode)
    world = World(policy=policy, options=options, liberal=liberal)
    learn(world)
    return world


@settings(deadline=None, max_examples=150)
@given(STEPS.map(lambda steps: [s for s in steps if s[0] != "wait"]), MODES)
@example(
    [("open", 0), ("tcp", "ext", 0, RST, 0), ("tcp", "vm1", 0, SYN, 0), ("tcp", "vm1", 0, ACK, 0)],
    Mode.ASSURED,
)
def test_transparency(steps: list[tuple[object, ...]], mode: Mode) -> None:
    """Invariant 1: the same packets are delivered with offload on and with it off.

    Without window checks on both sides: while a connection is offloaded, software does not know its
    window, and what the window alone would reject passes (docs/limitations.md).
    """
    on, off = new_world(liberal=True, mode=mode), new_world(enabled=False, liberal=True)
    for world in (on, off):
        driver = Driver(world)
        for step in steps:
            driver.step(step)
    assert off.by_hardware == 0
    assert Counter(on.delivered) == Counter(off.delivered)


POLICIES = {
    "either side may begin": POLICY.replace("in_port=vm1,ct_state=+trk+new", "ct_state=+trk+new"),
    "only the first packet of a direction passes": POLICY
    + "table=1,priority=95,in_port=vm1,ct_state=+trk+est,actions=drop\n",
    "answers do not pass": POLICY + "table=1,priority=95,ct_state=+trk+est+rpl,actions=drop\n",
    "a mark, and nothing without it": """
table=0,priority=100,arp,actions=NORMAL
table=0,priority=50,ip,actions=ct(zone=1,table=1)
table=1,priority=90,ip,ct_state=+trk+est-rpl,ct_mark=0,actions=ct(commit,zone=1,exec(set_field:1->ct_mark),table=2)
table=1,priority=80,ct_state=+trk+est,ct_mark=1,actions=NORMAL
table=1,priority=80,ct_state=+trk+est+rpl,tcp,actions=NORMAL
table=1,priority=80,ip,ct_state=+trk+new,actions=ct(commit,zone=1,table=2)
table=2,priority=0,actions=NORMAL
""",
    "two zones": """
table=0,priority=100,arp,actions=NORMAL
table=0,priority=50,ip,actions=ct(zone=1,table=1)
table=1,priority=90,ip,ct_state=+trk+est,actions=ct(zone=2,table=2)
table=1,priority=80,ip,ct_state=+trk+new,actions=ct(commit,zone=1),ct(zone=2,table=2)
table=2,priority=90,ip,ct_state=+trk+est,actions=NORMAL
table=2,priority=80,ip,ct_state=+trk+new,in_port=vm1,actions=ct(commit,zone=2),NORMAL
""",
}


@settings(deadline=None, max_examples=150)
@given(
    STEPS.map(lambda steps: [s for s in steps if s[0] != "wait"]),
    MODES,
    st.sampled_from(sorted(POLICIES)),
    st.integers(1, 5),
)
def test_transparency_of_policies_that_tell_states_apart(
    steps: list[tuple[object, ...]], mode: Mode, name: str, capacity: int
) -> None:
    """Invariant 1, also when a state passes that another does not, and with few records."""
    policy = POLICIES[name]
    on = new_world(liberal=True, mode=mode, policy=policy, capacity=capacity)
    off = new_world(enabled=False, liberal=True, policy=policy)
    for world in (on, off):
        driver = Driver(world)
        for step in steps:
            driver.step(step)
    assert Counter(on.delivered) == Counter(off.delivered)


@settings(deadline=None, max_examples=150)
@given(STEPS, st.integers(1, 3), MODES)
def test_both_or_none_and_no_leak(
    steps: list[tuple[object, ...]], capacity: int, mode: Mode
) -> None:
    """Invariants 4 and 6: after each write a record has two entries or none; at the end nothing."""
    world = new_world(capacity=capacity, mode=mode)
    driver = Driver(world)
    for step in steps:
        driver.step(step)
    for entries in world.switch.history:
        directions = Counter(index for index, _ in entries)
        assert set(directions.values()) <= {2}
    assert world.manager.pool.used == len(world.manager.records)
    for record in world.manager.records.values():
        assert record.state is RecordState.ACTIVE
        assert all(key in world.switch.ct for key in record.keys or ())
    for _ in range(3):
        world.later(4000.0)
        world.report_idle()
    world.later(500000.0)
    assert world.connections() == []
    assert world.switch.empty
    assert world.manager.records == {}
    assert world.manager.of_connection == {}
    assert len(world.manager.pending) == 0
    assert world.slow_path.held == 0


@settings(deadline=None, max_examples=100)
@given(STEPS, MODES)
def test_exact_accounting(steps: list[tuple[object, ...]], mode: Mode) -> None:
    """Invariant 5: what left by entries is what the connections were credited with."""
    world = new_world(mode=mode)
    ended: list[tuple[int, int]] = []
    destroy = world.tracker.on_event

    driver = Driver(world)
    seen: dict[int, object] = {}
    for step in steps:
        driver.step(step)
        seen.update({c.id: c for c in world.connections()})
    world.refresh()
    assert destroy is not None
    ended = [(sum(c.hw_packets), sum(c.hw_bytes)) for c in seen.values()]  # type: ignore[attr-defined]
    assert sum(packets for packets, _ in ended) == world.by_hardware
    assert world.manager.forwarded[0] == world.by_hardware
    assert sum(f.hw_packets for f in world.pipeline.flows if f.table == 2) == world.by_hardware


@settings(deadline=None, max_examples=100)
@given(STEPS, STEPS, MODES)
def test_fail_safe(
    before: list[tuple[object, ...]], after: list[tuple[object, ...]], mode: Mode
) -> None:
    """Invariant 2: once a policy change has been carried out, nothing that it denies leaves."""
    world = new_world(mode=mode)
    driver = Driver(world)
    for step in before:
        driver.step(step)
    world.change_policy(DENY_ALL)
    world.rounds()
    world.delivered.clear()
    for step in after:
        driver.step(step)
    assert world.delivered == []
    assert not world.switch.ct


@settings(deadline=None, max_examples=100)
@given(STEPS, STEPS, MODES)
def test_restart_at_any_moment(
    before: list[tuple[object, ...]], after: list[tuple[object, ...]], mode: Mode
) -> None:
    """A new controller takes over what is allowed, and still leaves nothing behind at the end."""
    world = new_world(mode=mode)
    driver = Driver(world)
    for step in before:
        driver.step(step)
    new = World(switch=world.switch, policy=POLICY)
    drift = new.reconcile()
    # Whether the others were established is not known any more: they begin anew in software.
    assert drift.kept == sum(1 for r in world.manager.records.values() if not r.unproven)
    driver.world = new
    for step in after:
        driver.step(step)
    for _ in range(3):
        new.later(4000.0)
        new.report_idle()
    new.later(500000.0)
    assert new.switch.empty

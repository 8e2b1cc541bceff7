# SPDX-License-Identifier: Apache-2.0
"""Ageing by sampling: what was idle for its timeout goes, and nothing before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from p4ct.conntrack import Timeouts
from p4ct.eswitch.entries import Counts
from p4ct.offload import reasons, sampling
from p4ct.offload.ageing import LONGEST_PERIOD, Ageing, Sampling, choose
from p4ct.offload.decide import Mode
from p4ct.offload.manager import OffloadOptions
from p4ct.offload.record import Record, RecordState
from p4ct.offload.sampling import Sampler
from p4ct.packet import build
from p4ct.pipeline.mac_table import MacTable

from .model import ACK, DENY_ALL, FIN, IP, MAC, ModelSwitch, Tcp, World, finish, learn


class Clockwork:
    """A world whose controller samples, with the steps at fixed times."""

    def __init__(
        self,
        how: Sampling | None = None,
        timeout: float = 10.0,
        capacity: int = 64,
        switch: ModelSwitch | None = None,
    ) -> None:
        self.how = how or Sampling(1.0, 2)
        options = OffloadOptions(
            capacity=capacity,
            tcp_timeout=timeout,
            udp_timeout=timeout,
            ageing=Ageing.SAMPLING,
            sampling=self.how,
        )
        self.world = World(options=options, switch=switch)
        if switch is None:
            learn(self.world)
        self.manager = self.world.manager
        self.sampler = Sampler(self.manager, self.how)
        self.next_step = self.world.now + self.how.interval
        #: Indices of each read.
        self.reads: list[list[int]] = []
        self._read = self.world.switch.read_connection_counters
        self.world.switch.read_connection_counters = self._watch

    async def _watch(self, indices: Sequence[int]) -> dict[int, tuple[Counts, Counts]]:
        self.reads.append(list(indices))
        return await self._read(indices)

    def step(self) -> list[list[int]]:
        """One step, and what it read; what it found idle is still there."""
        self.reads.clear()
        world = self.world
        for records in self.sampler.step(world.clock):
            finish(self.sampler.look(world.switch, world.clock, records))
        return list(self.reads)

    def until(self, end: float) -> None:
        """Let time pass, with every step that falls into it."""
        while self.next_step <= end:
            self.world.later(self.next_step - self.world.now)
            self.step()
            self.world.rounds()
            self.next_step += self.how.interval
        self.world.later(end - self.world.now)

    def later(self, seconds: float) -> None:
        self.until(self.world.now + seconds)

    def udp(self, source: str, number: int = 0) -> str:
        """A datagram between vm1:4000+number and ext:53."""
        target = "ext" if source == "vm1" else "vm1"
        ports = {"vm1": 4000 + number, "ext": 53}
        frame = build.udp_frame(
            eth_src=MAC[source],
            eth_dst=MAC[target],
            src=IP[source],
            dst=IP[target],
            sport=ports[source],
            dport=ports[target],
            payload=b"x",
        )
        return self.world.packet(frame, 1 if source == "vm1" else 3)

    def offload(self, number: int = 0) -> None:
        for source in ("vm1", "ext", "vm1"):
            self.udp(source, number)
        assert self.udp("ext", number) == "hardware"

    def last_hit(self, record: Record) -> float:
        """When an entry of the record was written or last hit."""
        return max(self.world.switch.hit_at[key] for key in record.keys or ())


QUARTER = 0.25
EVENTS = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 12), st.integers(0, 160)),  # quarters of a second to wait
        st.sampled_from(["vm1", "ext", "refresh", "restart"]),
        st.integers(0, 2),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from([0.25, 0.5, 1.0, 1.75]),
    st.integers(0, 4),
    st.integers(4, 160),
    EVENTS,
)
def test_never_before_the_timeout_and_never_later_than_the_bound(
    interval: float, exponent: int, quarters: int, events: list[tuple[int, str, int]]
) -> None:
    timeout = quarters * QUARTER
    box = Clockwork(Sampling(interval, exponent), timeout)
    late: list[float] = []
    began = box.world.now  # of this controller, or of its session

    def gone(what: str, record: Record, detail: str) -> None:
        if what == "onload" and detail == reasons.IDLE:
            late.append(box.world.now - box.last_hit(record) - timeout)
            overdue = box.world.now - max(box.last_hit(record), began) - timeout
            assert late[-1] >= 0
            assert overdue <= box.how.late_at_most

    box.manager.on_event = gone
    for number in range(3):
        box.offload(number)
    for wait, what, number in events:
        box.later(wait * QUARTER)
        if what == "refresh":
            box.world.refresh()
        elif what == "restart":
            switch, next_step = box.world.switch, box.next_step
            box = Clockwork(Sampling(interval, exponent), timeout, switch=switch)
            box.next_step, box.manager.on_event, began = next_step, gone, box.world.now
            box.world.reconcile()
        else:
            box.udp(what, number)
        for record in box.manager.active():
            assert box.world.now <= max(box.last_hit(record), began) + timeout + (
                box.how.late_at_most
            )
    box.later(timeout + box.how.late_at_most)
    assert not list(box.manager.active())
    assert box.world.switch.empty
    if began == 1000.0:
        # What it says of itself is no less than what it was, and within the bound.
        assert max(late, default=0.0) <= box.sampler.latest <= box.how.late_at_most


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 4), st.sets(st.integers(0, 39)), st.integers(1, 7))
def test_each_is_read_once_a_period_and_a_step_is_bounded(
    exponent: int, ended: set[int], batch: int
) -> None:
    box = Clockwork(Sampling(1.0, exponent), timeout=1000.0, capacity=40)
    for number in range(40):
        box.offload(number)
    for record in list(box.manager.records.values()):
        if record.index in ended:
            box.manager.remove(record, "test")
    box.world.rounds()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "BATCH", batch)
        for _ in range(3):
            seen: Counter[int] = Counter()
            for _ in range(box.how.slots):
                reads = box.step()
                assert all(len(read) <= batch for read in reads)
                assert sum(map(len, reads)) <= -(-40 // box.how.slots)
                seen.update(index for read in reads for index in read)
            assert seen == dict.fromkeys(set(range(40)) - ended, 1)


def test_where_timeouts_are_short_each_is_read_twice_a_period_at_most() -> None:
    box = Clockwork(Sampling(1.0, 4), timeout=2.0)
    for number in range(10):
        box.offload(number)
    seen: Counter[int] = Counter()
    for _ in range(16):
        for number in range(10):
            assert box.udp("vm1", number) == "hardware"
        box.world.later(1.0)
        seen.update(index for read in box.step() for index in read)
    assert set(seen) == set(range(10))
    assert max(seen.values()) <= 2
    assert all(record.state is RecordState.ACTIVE for record in box.manager.records.values())


def test_what_was_seen_otherwise_is_not_read_out_of_turn() -> None:
    box = Clockwork(Sampling(1.0, 4), timeout=20.0)
    box.offload()
    box.later(33.0)  # its second turn is past, and its end at 36 noted
    assert box.udp("vm1") == "hardware"
    box.world.refresh()
    looks = box.sampler.looks
    box.later(5.0)
    assert box.sampler.looks == looks
    assert len(list(box.manager.active())) == 1


def test_either_direction_keeps_it() -> None:
    box = Clockwork(timeout=10.0)
    box.offload()
    for _ in range(8):
        box.later(5.0)
        assert box.udp("ext") == "hardware"
    for _ in range(8):
        box.later(5.0)
        assert box.udp("vm1") == "hardware"
    box.later(10.0 + box.how.late_at_most)
    assert box.world.switch.empty


def test_nothing_moves_by_a_packet_that_comes_up() -> None:
    box = Clockwork(timeout=10.0)
    tcp = Tcp(box.world).offload()
    tcp.send("vm1", ACK, b"data")
    for _ in range(6):
        box.later(3.0)
        tcp.send("vm1", 0)  # trapped
    assert box.world.switch.empty


def test_the_counts_are_exact_and_each_packet_is_counted_once() -> None:
    box = Clockwork(timeout=10.0)
    box.offload()
    for _ in range(7):
        box.later(1.5)
        box.udp("vm1")
        box.udp("ext")
    (connection,) = box.world.connections()
    box.later(10.0 + box.how.late_at_most)
    assert box.world.switch.empty
    assert [connection.packets[d] + connection.hw_packets[d] for d in (0, 1)] == [9, 9]
    assert sum(connection.hw_packets) == box.world.by_hardware


def test_the_connection_lives_on_in_software_for_its_timeout() -> None:
    box = Clockwork(timeout=10.0)
    box.world.tracker.timeouts = Timeouts(udp_stream=60.0)
    box.offload()
    began = box.world.now
    box.later(10.0 + box.how.late_at_most)
    (connection,) = box.world.connections()
    assert connection.offload_reason == reasons.IDLE
    box.until(began + 59.0)
    assert box.world.connections() == [connection]
    box.until(began + 61.0 + box.how.period)
    assert box.world.connections() == []


def test_entries_never_have_an_idle_timeout() -> None:
    box = Clockwork(timeout=50.0)
    tcp = Tcp(box.world).offload()
    assert {entry.idle_timeout_ns for entry in box.world.switch.ct.values()} == {0}
    box.world.tracker.timeouts = Timeouts(tcp_fin_wait=20.0)
    tcp.send("vm1", FIN | ACK)
    assert {entry.idle_timeout_ns for entry in box.world.switch.ct.values()} == {0}
    (record,) = box.manager.records.values()
    assert record.timeout == 20.0


def test_nor_has_the_entry_that_punts_the_first_answer() -> None:
    world = World(options=OffloadOptions(mode=Mode.ASSUME, ageing=Ageing.SAMPLING))
    learn(world)
    ends = {"src": IP["vm1"], "dst": IP["ext"], "sport": 4000, "dport": 53}
    for _ in range(2):
        world.packet(build.udp_frame(eth_src=MAC["vm1"], eth_dst=MAC["ext"], **ends), 1)
    (record,) = world.manager.records.values()
    assert record.one_way
    assert [entry.idle_timeout_ns for entry in world.switch.ct.values()] == [0, 0]


def test_a_half_close_counts_from_the_fin() -> None:
    box = Clockwork(timeout=100.0)
    box.world.tracker.timeouts = Timeouts(tcp_fin_wait=20.0)
    tcp = Tcp(box.world).offload()
    box.later(50.0)
    tcp.send("vm1", FIN | ACK)
    box.later(19.0)
    assert tcp.send("ext", ACK, b"still sending") == "hardware"
    box.later(20.0 + box.how.late_at_most)
    assert box.world.switch.empty


def test_a_policy_change_ends_what_it_denies_and_not_the_turns_of_the_others() -> None:
    box = Clockwork(timeout=10.0)
    box.offload(0)
    box.later(9.0)  # its end is noted for the next step but one
    world = box.world
    world.change_policy(DENY_ALL)
    world.rounds()
    assert world.switch.empty
    box.later(20.0)
    assert box.manager.removed == {reasons.POLICY_CHANGED: 1}


def test_a_record_that_went_is_not_taken_for_the_next_one_of_its_index() -> None:
    box = Clockwork(Sampling(1.0, 1), timeout=10.0)
    world = box.world
    box.offload(0)
    (old,) = box.manager.records.values()
    chosen = [records for _ in range(2) for records in box.sampler.step(world.clock)]
    assert chosen == [[old]]
    box.later(9.0)  # its end is noted
    box.manager.remove(old, "test")
    world.rounds()
    box.offload(1)
    (new,) = box.manager.records.values()
    assert (new.index, new.generation) == (old.index, old.generation + 1)
    forwarded = box.manager.forwarded
    box.reads.clear()
    finish(box.sampler.look(world.switch, world.clock, chosen[0]))
    assert box.reads == []
    assert box.manager.forwarded == forwarded
    assert new.last == [(0, 0), (0, 0)]
    box.later(9.0)
    assert new.state is RecordState.ACTIVE


def test_one_that_leaves_while_its_cells_are_read_has_its_own_final_reading() -> None:
    box = Clockwork(Sampling(1.0, 0), timeout=10.0)
    box.offload()
    (record,) = box.manager.records.values()
    read = box.world.switch.read_connection_counters

    async def interrupted(indices: Sequence[int]) -> dict[int, tuple[Counts, Counts]]:
        answer = await read(indices)
        box.manager.remove(record, "test")
        return answer

    box.world.switch.read_connection_counters = interrupted
    box.step()
    assert record.last == [(0, 0), (0, 0)]
    box.world.switch.read_connection_counters = read
    box.world.rounds()
    assert box.manager.forwarded[0] == box.world.by_hardware


def test_an_idle_one_makes_room_for_one_that_waits() -> None:
    box = Clockwork(timeout=10.0, capacity=1)
    box.offload(0)
    for source in ("vm1", "ext", "vm1"):
        box.udp(source, 1)
    assert len(box.manager.pending) == 1
    box.later(10.0 + box.how.late_at_most)
    assert len(box.manager.pending) == 0
    assert box.udp("vm1", 1) == "hardware"


def test_sessions_that_come_and_go_do_not_keep_an_idle_record() -> None:
    box = Clockwork(timeout=10.0)
    box.offload()
    for _ in range(20):
        box.later(1.0)
        box.world.reconcile()
    assert box.world.switch.empty


def test_a_restart_into_sampling_takes_the_timeouts_out_of_the_entries() -> None:
    old = World(options=OffloadOptions(tcp_timeout=10.0))
    learn(old)
    Tcp(old).offload()
    assert {entry.idle_timeout_ns for entry in old.switch.ct.values()} == {10**10}
    box = Clockwork(switch=old.switch)
    box.world.reconcile()
    assert {entry.idle_timeout_ns for entry in old.switch.ct.values()} == {0}
    back = World(switch=old.switch)
    back.reconcile()
    assert {entry.idle_timeout_ns for entry in old.switch.ct.values()} == {10**10}


def test_what_auto_means() -> None:
    assert choose(Ageing.AUTO, True) is Ageing.IDLE_TIMEOUT
    assert choose(Ageing.AUTO, False) is Ageing.SAMPLING
    for wanted in (Ageing.IDLE_TIMEOUT, Ageing.SAMPLING):
        assert {choose(wanted, True), choose(wanted, False)} == {wanted}


def test_normal_hears_of_a_station_before_it_forgets_it() -> None:
    assert MacTable().max_age >= 2 * LONGEST_PERIOD

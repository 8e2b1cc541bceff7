# SPDX-License-Identifier: Apache-2.0
"""NAT: the choice of addresses and ports, and what the tracker makes of it."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from p4ct.conntrack import (
    Connection,
    ConntrackInvalid,
    CtResult,
    CtState,
    Direction,
    Event,
    NatExhausted,
    NatRange,
    Timeouts,
    Tracker,
    Tuple,
    TupleTaken,
)
from p4ct.conntrack.nat import allocate
from p4ct.packet import Packet, parse
from p4ct.packet.build import icmp_echo_frame, icmp_frame, ip_frame, tcp_frame, udp_frame
from p4ct.packet.text import parse_ip

NOW = 100.0
INSIDE, SERVER, OUTSIDE = "10.0.0.1", "10.0.9.9", "192.0.2.1"
SNAT, DNAT = CtState.SNAT, CtState.DNAT


def source(low: str, high: str = "", ports: tuple[int, int] | None = None, **flags: bool):
    return NatRange(True, parse_ip(low), parse_ip(high or low), ports, **flags)


def target(low: str, high: str = "", ports: tuple[int, int] | None = None, **flags: bool):
    return NatRange(False, parse_ip(low), parse_ip(high or low), ports, **flags)


def own(sport: int = 1000, proto: int = 6, src: str = INSIDE, dst: str = SERVER) -> Tuple:
    dport = 8 << 8 if proto == 1 else 80 if proto in (6, 17) else 0
    return Tuple(4, proto, parse_ip(src), parse_ip(dst), sport, dport)


class Taken:
    """Tuples that are in use, and how often somebody asked."""

    def __init__(self, tuples: Iterable[Tuple] = (), ports: Iterable[int] = ()) -> None:
        self.replies = {one.reversed() for one in tuples}
        self.ports = set(ports)
        self.asked = 0

    def __call__(self, reply: Tuple) -> bool:
        self.asked += 1
        return reply in self.replies or reply.dport in self.ports


def choose(original: Tuple, wanted: NatRange, taken: Taken | None = None, seed: int = 1):
    return allocate(original, wanted, taken or Taken(), Random(seed), 7)


def test_source_keeps_its_port_if_that_is_free() -> None:
    chosen = choose(own(1000), source(OUTSIDE))
    assert chosen == own(1000, src=OUTSIDE)


@pytest.mark.parametrize(
    ("port", "low", "high"),
    [(0, 1, 511), (1, 1, 511), (511, 1, 511), (512, 600, 1023), (1023, 600, 1023),
     (1024, 1024, 65535), (65535, 1024, 65535)],
)  # fmt: skip
def test_another_port_is_of_the_same_class(port: int, low: int, high: int) -> None:
    for seed in range(20):
        busy = Taken(ports={port})
        chosen = choose(own(port), source(OUTSIDE), busy, seed)
        assert chosen is not None
        assert low <= chosen.sport <= high
        assert chosen.sport != port


def test_zero_changes_the_port_only_if_the_tuple_is_taken() -> None:
    assert choose(own(), source("0.0.0.0")) == own()
    chosen = choose(own(), source("0.0.0.0"), Taken([own()]))
    assert chosen is not None
    assert (chosen.src, chosen.dst, chosen.dport) == (own().src, own().dst, 80)
    assert 600 <= chosen.sport <= 1023


def test_ports_of_a_range_by_hash_or_at_random() -> None:
    wanted = source(OUTSIDE, ports=(5000, 5999))
    first = choose(own(), wanted, seed=1)
    assert first is not None
    assert 5000 <= first.sport <= 5999
    assert first == choose(own(), wanted, seed=2), "the hash decides, not chance"
    assert first == choose(own(), wanted._replace(hash=True), seed=3)
    found = {choose(own(), wanted._replace(random=True), seed=seed) for seed in range(20)}
    assert len(found) > 10
    spread = {choose(own(sport), wanted) for sport in range(1000, 1100)}
    assert len({one.sport for one in spread if one}) > 60


def test_addresses_of_a_range() -> None:
    wanted = source("192.0.2.1", "192.0.2.7")
    hosts = [f"10.0.0.{n}" for n in range(1, 200)]
    chosen = {choose(own(src=host), wanted).src[-1] for host in hosts}
    assert chosen == set(range(1, 8))
    one = own(src="10.0.0.5")
    assert choose(one, wanted) == choose(one, wanted, seed=9), "the same ends, the same address"


def test_persistent_looks_at_the_source_alone() -> None:
    wanted = source("192.0.2.1", "192.0.2.100")
    servers = [own(src="10.0.0.5", dst=f"10.9.0.{n}") for n in range(1, 50)]
    assert len({choose(one, wanted).src for one in servers}) > 10
    kept = {choose(one, wanted._replace(persistent=True)).src for one in servers}
    assert len(kept) == 1
    salted = allocate(servers[0], wanted._replace(persistent=True), Taken(), Random(1), 99)
    assert salted is not None
    assert {salted.src} == kept, "it is the same after a restart"


def test_the_search_is_bounded() -> None:
    everything = Taken(ports=range(65536))
    assert choose(own(), source(OUTSIDE, ports=(1024, 65535)), everything) is None
    assert everything.asked == 128 + 64 + 32 + 16 + 8
    small = Taken(ports=range(65536))
    assert choose(own(), source(OUTSIDE, ports=(5000, 5019)), small) is None
    assert small.asked == 20
    all_but_one = Taken(ports=set(range(65536)) - {5019})
    chosen = choose(own(), source(OUTSIDE, ports=(5000, 5019)), all_but_one)
    assert chosen is not None
    assert chosen.sport == 5019


def test_destination_with_ports_and_then_the_sources_port() -> None:
    wanted = target("10.0.5.5", ports=(8080, 8080))
    chosen = choose(own(2000), wanted)
    assert chosen == own(2000, dst="10.0.5.5")._replace(dport=8080)
    again = choose(own(2000), wanted, Taken([chosen]))
    assert again is not None
    assert (again.dst, again.dport) == (chosen.dst, 8080)
    assert again.sport != 2000
    assert choose(own(2000), target("10.0.5.5")) == own(2000, dst="10.0.5.5")


@pytest.mark.parametrize("wanted", [source(OUTSIDE), source(OUTSIDE, ports=(1, 2))])
def test_an_identifier_is_kept_or_the_next_one(wanted: NatRange) -> None:
    ping = own(500, proto=1)
    assert choose(ping, wanted) == ping._replace(src=parse_ip(OUTSIDE))
    busy = Taken([ping._replace(src=parse_ip(OUTSIDE), sport=n) for n in (500, 501)])
    chosen = choose(ping, wanted, busy)
    assert chosen is not None
    assert chosen.sport == 502


def test_a_protocol_without_ports_has_its_address_only() -> None:
    gre = own(0, proto=47)
    chosen = choose(gre, source(OUTSIDE, ports=(1, 2)))
    assert chosen == gre._replace(src=parse_ip(OUTSIDE))
    assert choose(gre, source(OUTSIDE), Taken([chosen])) is None


# -- the tracker ---------------------------------------------------------------------------


def tracker(**more: object) -> Tracker:
    return Tracker(Timeouts(), random=Random(5), **more)  # type: ignore[arg-type]


def packet(one: Tuple, flags: int = 2, **more: object) -> Packet:
    ends = {"src": one.src, "dst": one.dst}
    if one.proto == 1:
        reply = one.dport == 0
        return parse(icmp_echo_frame(**ends, identifier=one.sport, reply=reply))
    ports = {"sport": one.sport, "dport": one.dport}
    if one.proto == 17:
        return parse(udp_frame(**ends, **ports))
    if one.proto == 6:
        return parse(tcp_frame(**ends, **ports, flags=flags, **more))  # type: ignore[arg-type]
    return parse(ip_frame(**ends, proto=one.proto, payload=bytes(8)))


def commit(tracked: Tracker, pkt: Packet, now: float = NOW, **more: object) -> CtResult:
    result = tracked.track(pkt, 0, now)
    tracked.commit(result, pkt, now, **more)  # type: ignore[arg-type]
    return result


def test_packets_of_a_translated_connection_say_so() -> None:
    tracked = tracker()
    result = commit(tracked, packet(own()), nat=source(OUTSIDE))
    conn = result.connection
    assert conn is not None
    assert result.state == CtState.TRK | CtState.NEW | SNAT
    assert conn.nat == SNAT
    assert conn.reply == own(src=OUTSIDE).reversed()
    reply = packet(conn.reply, 0x12)
    assert tracked.peek(reply, 0, NOW).state == CtState.TRK | CtState.EST | CtState.RPL | SNAT
    answer = tracked.track(reply, 0, NOW)
    assert (answer.state, answer.connection) == (
        CtState.TRK | CtState.EST | CtState.RPL | SNAT,
        conn,
    )
    assert tracked.track(packet(own(), 0x10), 0, NOW).state == CtState.TRK | CtState.EST | SNAT
    # the mirror of the original is nobody's
    stray = tracked.track(packet(own().reversed(), 0x10), 0, NOW)
    assert stray.connection is None


def test_destination_and_no_change_at_all() -> None:
    tracked = tracker()
    result = commit(tracked, packet(own()), nat=target("10.0.5.5", ports=(8080, 8080)))
    assert result.state == CtState.TRK | CtState.NEW | DNAT
    plain = commit(tracked, packet(own(1001)), nat=source("0.0.0.0"))
    assert plain.state == CtState.TRK | CtState.NEW
    assert plain.connection is not None
    assert plain.connection.nat == 0


def test_exhaustion_raises_and_stores_nothing() -> None:
    tracked = tracker()
    one = source(OUTSIDE, ports=(5000, 5000))
    first = commit(tracked, packet(own(1)), nat=one)
    with pytest.raises(NatExhausted):
        commit(tracked, packet(own(2)), nat=one)
    assert (len(tracked), tracked.stats["nat_exhausted"]) == (1, 1)
    # another server is another tuple
    commit(tracked, packet(own(2, dst="10.0.9.8")), nat=one)
    assert first.connection is not None
    tracked.remove(first.connection, NOW)
    commit(tracked, packet(own(2)), nat=one)


def test_an_expired_connection_gives_its_tuple_back() -> None:
    tracked = tracker()
    one = source(OUTSIDE, ports=(5000, 5000))
    first = commit(tracked, packet(own(1, proto=17)), nat=one).connection
    assert first is not None
    second = commit(tracked, packet(own(2, proto=17)), NOW + 1000, nat=one).connection
    assert second is not None
    assert not first.alive
    assert list(tracked.select()) == [second]


def test_nobody_takes_the_answers_of_a_translated_connection() -> None:
    tracked = tracker()
    conn = commit(tracked, packet(own()), nat=source(OUTSIDE)).connection
    owner = packet(own(src=OUTSIDE))
    result = tracked.track(owner, 0, NOW)
    assert result.state == CtState.TRK | CtState.NEW
    with pytest.raises(TupleTaken):
        tracked.commit(result, owner, NOW)
    assert tracked.stats["tuple_taken"] == 1
    assert list(tracked.select()) == [conn]
    moved = tracked.commit(result, owner, NOW, nat=source("0.0.0.0"))
    assert moved.reply.dport != 1000


def test_restored_with_its_translation() -> None:
    old = tracker()
    conn = commit(old, packet(own()), nat=source(OUTSIDE)).connection
    assert conn is not None
    tracked = tracker()
    again = tracked.restore(0, conn.original, conn.reply, None, 3, 1 << 100, NOW)
    assert (again.nat, again.mark, again.label) == (SNAT, 3, 1 << 100)
    found = tracked.track(packet(conn.reply, 0x10), 0, NOW)
    assert found.state & SNAT
    with pytest.raises(TupleTaken):
        tracked.restore(0, own(7), conn.reply, None, 0, 0, NOW)


def test_related_errors_of_a_translated_connection() -> None:
    tracked = tracker()
    conn = commit(tracked, packet(own()), nat=source(OUTSIDE)).connection
    assert conn is not None
    quote = packet(conn.reply.reversed()).frame[14:]
    error = icmp_frame(src="10.0.9.1", dst=OUTSIDE, icmp_type=3, icmp_code=1, body=bytes(4) + quote)
    result = tracked.track(parse(error), 0, NOW)
    assert result.connection is conn
    assert result.direction is Direction.REPLY
    assert result.state == CtState.TRK | CtState.REL | CtState.RPL | SNAT


def test_preview_tells_what_commit_would_do() -> None:
    tracked = tracker()
    pkt = packet(own())
    result = tracked.peek(pkt, 0, NOW)
    assert tracked.preview(result, pkt, NOW, nat=source(OUTSIDE)) is None
    assert result.target == own(src=OUTSIDE)
    assert result.state & SNAT
    assert len(tracked) == 0
    conn = commit(tracked, pkt).connection
    assert tracked.preview(tracked.peek(pkt, 0, NOW), pkt, NOW, nat=source(OUTSIDE)) is conn


# -- force and marks -----------------------------------------------------------------------


def test_force_turns_a_connection_round() -> None:
    tracked = tracker()
    events: list[tuple[Event, Connection]] = []
    tracked.on_event = lambda event, conn, _: events.append((event, conn))
    first = commit(tracked, packet(own())).connection
    assert first is not None
    tracked.set_mark(first, 5, 6, NOW)
    back = packet(own().reversed(), 0x12)
    result = tracked.track(back, 0, NOW)
    asked = tracked.peek(back, 0, NOW)
    assert tracked.commit(result, back, NOW) is first, "without force it stays"
    with pytest.raises(ConntrackInvalid):
        tracked.commit(result, back, NOW, force=True)  # a SYN/ACK begins nothing
    assert not first.alive
    first = commit(tracked, packet(own())).connection
    ack = packet(own().reversed(), 0x10, seq=5, ack=1)
    tracked.track(back, 0, NOW)
    result = tracked.track(ack, 0, NOW)
    assert result.connection is first
    asked = tracked.peek(ack, 0, NOW)
    assert tracked.preview(asked, ack, NOW, force=True) is None
    assert asked.state == CtState.TRK | CtState.NEW
    assert list(tracked.select()) == [first]
    second = tracked.commit(result, ack, NOW, force=True)
    assert second.original == own().reversed()
    assert (second.mark, second.label) == (0, 0)
    assert result.state == CtState.TRK | CtState.NEW
    assert result.direction is Direction.ORIGINAL
    assert list(tracked.select()) == [second]
    assert (Event.DESTROY, first) in events
    # in its own direction nothing happens
    again = packet(own().reversed(), 0x10, seq=5, ack=1)
    assert tracked.commit(tracked.track(again, 0, NOW), again, NOW, force=True) is second


def test_a_change_of_mark_or_label_is_an_event() -> None:
    tracked = tracker()
    conn = commit(tracked, packet(own())).connection
    assert conn is not None
    events: list[Event] = []
    tracked.on_event = lambda event, conn, _: events.append(event)
    tracked.set_mark(conn, 1, 0, NOW)
    tracked.set_mark(conn, 1, 0, NOW)
    tracked.set_mark(conn, 1, 1 << 127, NOW)
    assert events == [Event.MARK, Event.MARK]


# -- properties ----------------------------------------------------------------------------

ranges = st.sampled_from(
    [
        None,
        source("0.0.0.0"),
        source(OUTSIDE),
        source(OUTSIDE, "192.0.2.2"),
        source(OUTSIDE, ports=(1000, 1002)),
        source("10.0.0.1", ports=(1000, 1003), random=True),
        source(OUTSIDE, "192.0.2.3", (1000, 1001), persistent=True),
        target("10.0.0.1"),
        target("10.0.0.1", "10.0.0.2", (80, 81)),
        target(SERVER, ports=(80, 80)),
    ]
)
hosts = st.sampled_from(["10.0.0.1", "10.0.0.2", OUTSIDE, "192.0.2.2", SERVER])
steps = st.lists(
    st.tuples(
        st.sampled_from([1, 6, 17, 47]), hosts, hosts, st.integers(1000, 1003), ranges,
        st.booleans(), st.integers(0, 40),
    ),
    max_size=40,
)  # fmt: skip


@settings(max_examples=60)
@given(steps=steps)
def test_nat_is_a_bijection_among_live_connections(steps: list[tuple]) -> None:
    """No two connections have a tuple in common, and what is sent back comes to who asked."""
    tracked = tracker()
    now = NOW
    for proto, src, dst, sport, wanted, answered, later in steps:
        now += later
        pkt = packet(own(sport if proto != 47 else 0, proto, src, dst))
        try:
            result = tracked.track(pkt, 0, now)
            if not result.state & CtState.NEW:
                continue
            conn = tracked.commit(result, pkt, now, nat=wanted)
        except (NatExhausted, TupleTaken):
            continue
        if answered:
            back = tracked.track(packet(conn.reply, 0x12), 0, now)
            assert back.connection is conn
            self_made = conn.original == conn.reply
            assert back.direction is (Direction.ORIGINAL if self_made else Direction.REPLY)
        live = [c for c in tracked.select() if c.expires > now]
        tuples = [(c.original, c.reply) for c in live]
        flat = {t for pair in tuples for t in pair}
        assert len(flat) == sum(len(set(pair)) for pair in tuples)
        for one in live:
            for key, way in ((one.original, Direction.ORIGINAL), (one.reply, Direction.REPLY)):
                found = tracked.find(key, 0)
                assert found is not None
                assert found[0] is one
                assert found[1] is way or one.original == one.reply

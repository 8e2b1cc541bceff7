# SPDX-License-Identifier: Apache-2.0
"""The program that p4c made of eswitch.p4: a connection's packet on its whole way."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from softswitch.api import Entry, Key, MeterConfig
from softswitch.dataplane import Dataplane
from softswitch.errors import ConstObject

from .conftest import Runner, sent
from .test_externs import ones_complement

PROGRAM = Path(__file__).parents[3] / "p4src" / "compiled" / "eswitch.json"
MAC1, MAC2 = 0x020000000001, 0x020000000002
SYN, ACK = 0x02, 0x10


def exact(*fields: tuple[int, int]) -> Key:
    return tuple((value, (1 << width) - 1) for value, width in fields)


def tcp(flags: int, ttl: int = 64) -> bytes:
    head = bytes.fromhex(f"4500002800004000{ttl:02x}06")
    addresses = bytes([10, 0, 0, 1, 10, 0, 0, 2])
    total = ones_complement(head + b"\0\0" + addresses).to_bytes(2, "big")
    segment = (1000).to_bytes(2, "big") + (80).to_bytes(2, "big") + bytes(8)
    segment += bytes([0x50, flags]) + bytes(6)
    macs = MAC2.to_bytes(6, "big") + MAC1.to_bytes(6, "big")
    return macs + b"\x08\x00" + head + total + addresses + segment


CT_KEY = exact((1, 32), (0x0A000001, 32), (0x0A000002, 32), (6, 8), (1000, 16), (80, 16))


@pytest.fixture
def plane(run: Runner) -> Dataplane:
    plane = run(PROGRAM.read_bytes())
    plane.insert("vport", Entry(exact((1, 9), (0, 16), (0, 1), (0, 12)), "set_vport", (1,)))
    plane.insert("l2_pair", Entry(exact((1, 16), (MAC1, 48), (MAC2, 48)), "set_l2_id", (1,)))
    plane.insert("next_hop", Entry(exact((5, 24)), "nh_output", (2, 1500, 0, 0)))
    plane.insert("ct_v4", Entry(CT_KEY, "ct_forward", (7, 3, 1, 9, 5, 0), idle_timeout_ns=10**9))
    return plane


def test_a_connection_is_forwarded_and_counted(plane: Dataplane) -> None:
    frame = tcp(ACK)
    plane.inject(1, frame)
    assert sent(plane, 2) == [frame]
    assert plane.counter_read("ct_counter", 2 * 7 + 1) == (1, len(frame))
    assert plane.counter_read("path_counter", 9) == (1, len(frame))
    assert plane.wait_packet_ins(0) == []


@pytest.mark.parametrize("change", ["syn", "drain", "ttl", "mac", "port"])
def test_what_must_go_up_goes_up_unchanged_and_uncounted(plane: Dataplane, change: str) -> None:
    frame = tcp(SYN if change == "syn" else ACK, 1 if change == "ttl" else 64)
    if change == "drain":
        plane.modify("ct_v4", Entry(CT_KEY, "ct_drain", (7, 3, 1)))
    if change == "mac":
        frame = frame[:6] + b"\x02\x00\x00\x00\x00\x09" + frame[12:]
    plane.inject(3 if change == "port" else 1, frame)
    (up,) = plane.wait_packet_ins(0)
    assert up[-len(frame) :] == frame
    assert plane.counter_read("ct_counter", 15) == (0, 0)
    assert all(sent(plane, port) == [] for port in range(5))


def test_the_policer_drops_and_counts(plane: Dataplane) -> None:
    control = 4 * 1 + 1
    plane.meter_set("punt_meter", control, MeterConfig(1, 2, 1, 2))
    for _ in range(5):
        plane.inject(1, tcp(SYN))
    assert len(plane.wait_packet_ins(0)) == 2
    assert plane.counter_read("drop_counter", 1)[0] == 3


def test_routing_updates_ttl_and_checksum(plane: Dataplane) -> None:
    plane.modify("next_hop", Entry(exact((5, 24)), "nh_route", (2, 1500, 1, 100, MAC2, MAC1)))
    frame = tcp(ACK)
    plane.inject(1, frame)
    (got,) = sent(plane, 2)
    want = tcp(ACK, 63)[14:]
    macs = MAC1.to_bytes(6, "big") + MAC2.to_bytes(6, "big")
    assert got == macs + b"\x81\x00\x00\x64\x08\x00" + want


def test_a_pipeline_packet_out_goes_round_once(plane: Dataplane) -> None:
    frame = tcp(ACK)
    head = bytes([3]) + (1 << 7).to_bytes(2, "big") + bytes(6)
    plane.packet_out(head + frame)
    assert sent(plane, 2) == [frame]
    assert plane.counter_read("ct_counter", 15) == (1, len(frame))


def test_the_trap_cannot_be_changed(plane: Dataplane) -> None:
    entry = next(iter(plane.entries("trap")))
    assert entry.is_const
    with pytest.raises(ConstObject):
        plane.delete("trap", entry.key, entry.priority)
    with pytest.raises(ConstObject):
        plane.set_default("trap", "miss")


def test_every_damaged_packet_has_an_outcome(plane: Dataplane) -> None:
    """Forwarded, sent up, or dropped under a reason: nothing is lost silently."""
    rng = random.Random(3)
    forwarded = up = 0
    total = 4000
    for i in range(total):
        frame = bytearray(tcp(ACK) + rng.randbytes(rng.randrange(40)))
        for _ in range(rng.randrange(4)):
            frame[rng.randrange(len(frame))] = rng.randrange(256)
        if rng.random() < 0.2:
            frame = frame[: rng.randrange(len(frame))]
        port = 510 if rng.random() < 0.1 else 1
        plane.inject(port, bytes(frame))
        if i % 100 == 99:
            for p in range(5):
                forwarded += len(sent(plane, p))
            up += len(plane.wait_packet_ins(0))
    dropped = sum(packets for packets, _ in plane.counter_read_all("drop_counter"))
    stats = plane.stats()
    elsewhere = stats.no_such_port_dropped + stats.pass_limit_dropped + stats.packet_in_dropped
    assert forwarded + up + dropped + elsewhere == total
    assert min(forwarded, up) > 100

# SPDX-License-Identifier: Apache-2.0
"""Random packets through softswitch and BMv2: the same frames must leave on the same ports.

What BMv2 made of some of them is kept in programs/<name>.bmv2.txt, for machines without BMv2. With
simple_switch_grpc on the PATH fresh packets go through both.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4
from softswitch.dataplane import Dataplane

from . import bmv2, recorded
from .conftest import CPU_PORT, PROGRAMS, Runner, through

PACKETS, RECORDED = 400, 60
RECORD = os.environ.get("RECORD_BMV2") == "1"
Make = Callable[[random.Random], bytes]


def stacks(rng: random.Random) -> bytes:
    """An operation and up to five labels, some of them without an end."""
    op = rng.choice([0xE0, 0xF0, 0, 0, 0]) | rng.randrange(14)
    out = bytes([op, rng.randrange(8), 0, 0])
    if op >= 0xF0:
        out += rng.randbytes(1)
    labels = rng.randrange(7)
    same = rng.randbytes(3)
    for i in range(labels):
        body = rng.choice([same, rng.randbytes(3)])
        last = body[2] & 0xFE | (i == labels - 1 and rng.random() < 0.8)
        out += body[:2] + bytes([last, rng.choice([0, 1, 64, 255, 9])])
    return cut(rng, out + rng.randbytes(rng.randrange(9)))


def varbits(rng: random.Random) -> bytes:
    words = rng.choice([0, 1, 2, 2, 3, 4, 7, 12, 15])
    version = rng.choice([4, 4, 4, 6])
    out = bytes([version << 4 | words, rng.choice([0xEE, 5, 6])]) + rng.randbytes(2)
    out += rng.randbytes(max(words - 2, 0) * 4) + rng.randbytes(2)
    value = rng.randbytes(8)
    for _ in range(rng.randrange(1, 4)):
        bits = rng.choice([8, 16, 16, 16, 24, 64, 64, 72, 9, 0])
        chosen = rng.choice([value, rng.randbytes(9)])[: bits // 8]
        out += bytes([bits]) + chosen.replace(b"\0", b"\1")  # see test_varbits
    if rng.random() < 0.6:
        out += b"\0"
    return cut(rng, out + rng.randbytes(rng.randrange(5)))


def unions(rng: random.Random) -> bytes:
    return cut(rng, rng.randbytes(2) + rng.randbytes(rng.choice([2, 4, 5, 7, 9, 10, 12, 20])))


def numbers(*sizes: int) -> Make:
    """Fields of so many bytes, often at the ends of their range."""

    def make(rng: random.Random) -> bytes:
        out = b""
        for size in sizes:
            edge = rng.choice([0, 1, -1, 1 << (8 * size - 1), (1 << (8 * size - 1)) - 1, 5])
            value = rng.choice([edge, rng.getrandbits(8 * size), rng.randrange(256)])
            out += (value % (1 << 8 * size)).to_bytes(size, "big")
        return out

    return make


def hashes(rng: random.Random) -> bytes:
    """The checksums are right in half of the frames."""
    head, wide, which = rng.randbytes(8), rng.randbytes(16), rng.randbytes(1)
    payload = rng.randbytes(rng.choice([0, 1, 2, 7, 64]))
    sums = rng.randbytes(4)
    if rng.random() < 0.5:
        sums = b"".join(ones_complement(data) for data in (head, head[2:] + payload))
    return cut(rng, head + wide + which + bytes(8) + sums + bytes(1) + payload)


def ones_complement(data: bytes) -> bytes:
    data += bytes(len(data) % 2)
    total = sum(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))
    while total >> 16:
        total = (total >> 16) + (total & 0xFFFF)
    return (total ^ 0xFFFF).to_bytes(2, "big")


def life(rng: random.Random) -> bytes:
    op = rng.choice([0, 0x80]) | rng.randrange(15)
    return cut(rng, bytes([op]) + rng.randbytes(11) + rng.randbytes(rng.choice([0, 5, 12, 40])))


def matches(rng: random.Random) -> bytes:
    """Values that the const entries name, and their neighbours."""
    a = rng.choice([0, 1, 2, 3, 5, 6, 9, 10, 0x101, 0x100, 0x104, 0x7FFF, 0x8000, 0x1F01])
    b = rng.choice([2, 4, 6, 5, 7, 8, 3, 0xFFF])
    c, d = rng.choice([1, 2, 3, 4, 9, 15]), rng.choice([0, 1, 0xFF, 0xF0, 1 << 63])
    ip = rng.choice([0x0A000001, 0x0A010203, 0x0A010204, 0x0B000000, 0])
    which = rng.choice([0, 0x80]) | rng.randrange(8)
    out = bytes([which]) + a.to_bytes(2, "big") + (b << 4 | c).to_bytes(2, "big")
    out += d.to_bytes(8, "big") + ip.to_bytes(4, "big") + bytes(2)
    return cut(rng, out + rng.choice([0, 7]).to_bytes(2, "big") + rng.randbytes(rng.randrange(3)))


def cut(rng: random.Random, frame: bytes) -> bytes:
    """Now and then a frame ends too early."""
    return frame[: rng.randrange(1, len(frame))] if rng.random() < 0.15 else frame


CASES: dict[str, Make] = {
    "stacks": stacks,
    "varbits": varbits,
    "unions": unions,
    "arithmetic": numbers(1, 1, 1, 2, 2, 8, 8, 8, 16, 16, 1),
    "hashes": hashes,
    "life": life,
    "matches": matches,
    "wide": numbers(1, 1, 25, 25, 64, 20, 1),
}


@pytest.fixture
def reference() -> None:
    if not bmv2.is_there():
        pytest.skip(f"{bmv2.SWITCH} is not on the PATH: nothing to compare with")


@pytest.mark.usefixtures("reference")
@pytest.mark.parametrize("name", CASES)
def test_the_same_as_bmv2(run: Runner, name: str) -> None:
    rng = random.Random()
    seed = rng.getrandbits(32)
    rng.seed(seed)
    frames = [(rng.randrange(8), CASES[name](rng)) for _ in range(PACKETS)]
    plane = run(name)
    with bmv2.bmv2(PROGRAMS / name, CPU_PORT) as judge:
        replicate(plane, judge)
        theirs = judge.send(frames)
        assert any(theirs), "BMv2 sent nothing at all"
        for (port, frame), expected in zip(frames, theirs, strict=True):
            got = sorted(through(plane, frame, port))
            what = f"seed {seed}, port {port}, frame {frame.hex()}"
            assert got == expected or judge.confirms(port, frame, got), f"{what}: {got} {expected}"


@pytest.mark.parametrize("name", CASES)
def test_the_same_as_bmv2_once_was(run: Runner, name: str) -> None:
    path = PROGRAMS / f"{name}.bmv2.txt"
    if RECORD:
        record(path, name)
    plane = run(name)
    replicate(plane)
    records = recorded.read(path)
    assert len(records) == RECORDED
    for port, frame, expected in records:
        got = sorted(through(plane, frame, port))
        assert got == expected, f"port {port}, frame {frame.hex()}"


def record(path: Path, name: str) -> None:
    rng = random.Random(name)
    frames = [(rng.randrange(8), CASES[name](rng)) for _ in range(RECORDED)]
    with bmv2.bmv2(PROGRAMS / name, CPU_PORT) as judge:
        replicate(None, judge)
        sent = [judge.send_one(port, frame) for port, frame in frames]
    head = f"{name}.p4: port and frame in -> ports and frames out, as {bmv2.version()} has it"
    records = [(port, frame, out) for (port, frame), out in zip(frames, sent, strict=True)]
    recorded.write(path, head, records)


GROUPS = {1: [(2, 7)], 2: [(3, 1), (4, 2), (4, 3)], 3: [(1, 0), (6, 5), (6, 0)]}
SESSIONS = {5: [(6, 9)], 7: [(5, 1), (6, 2)]}


def replicate(plane: Dataplane | None, judge: bmv2.Bmv2 | None = None) -> None:
    """The same multicast groups and clone sessions for both."""
    entities: list[p4.Entity] = []
    for group, replicas in GROUPS.items():
        if plane:
            plane.mc_group_set(group, replicas)
        entity = p4.Entity()
        entry = entity.packet_replication_engine_entry.multicast_group_entry
        entry.multicast_group_id = group
        for port, instance in replicas:
            entry.replicas.add(egress_port=port, instance=instance)
        entities.append(entity)
    for session, replicas in SESSIONS.items():
        if plane:
            plane.clone_session_set(session, replicas)
        entity = p4.Entity()
        clone = entity.packet_replication_engine_entry.clone_session_entry
        clone.session_id = session
        for port, instance in replicas:
            clone.replicas.add(egress_port=port, instance=instance)
        entities.append(entity)
    if judge:
        judge.write(entities)

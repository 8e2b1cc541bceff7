# SPDX-License-Identifier: Apache-2.0
"""What the fuzzer starts from: well-formed frames, and entries that they hit.

Values come from small pools, one for each width, in the frames as in the entries of any program. So
the entries of tables that nobody described here are hit as well.
"""

from __future__ import annotations

import random
import struct

from softswitch.api import Entry, TableInfo
from softswitch.bmv2 import ir
from softswitch.entry_codec import EntryCodec
from softswitch.program import Program

MACS = (0x020000000001, 0x020000000002, 0xFFFFFFFFFFFF)
IPV4 = (0x0A000001, 0x0A000002, 1, 2)
IPV6 = (0xFD00 << 112 | 1, 0xFD00 << 112 | 2, 0x0A000001, 0x0A000002)
NUMBERS = (0, 1, 2, 3)
POOLS = {
    8: (1, 6, 17, 58, 0x10, 0x18, 2),
    12: (0, 5, 100),
    16: (0, 1, 2, 1000, 4789, 0x0800, 0x86DD, 0x0806, 0x8100),
    32: IPV4,
    48: MACS,
    128: IPV6,
}


def pick(rng: random.Random, width: int) -> int:
    """A value from the pool of a width."""
    pool = POOLS.get(width, NUMBERS)
    return rng.choice(pool) & ((1 << width) - 1)


def ones_sum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total >> 16) + (total & 0xFFFF)
    return ~total & 0xFFFF


def transport(rng: random.Random, proto: int, payload: bytes) -> bytes:
    """TCP, UDP or ICMP; nobody looks at its checksum."""
    sport, dport = rng.choice((1000, 1, 2)), rng.choice((1000, 1, 2))
    if proto == 6:
        flags = rng.choice((0x10, 0x18, 2, 0x12, 0x11, 4))
        return struct.pack("!HHIIBBHHH", sport, dport, 1, 1, 0x50, flags, 512, 0, 0) + payload
    if proto == 17:
        return struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload
    return struct.pack("!BBHHH", rng.choice((0, 8, 128, 129)), 0, 0, sport, 1) + payload


def ipv4(rng: random.Random, proto: int, body: bytes) -> bytes:
    """An IPv4 packet, now and then with options or a fragment."""
    options = bytes(4 * rng.choice((0, 0, 0, 1, 10)))
    first = 0x45 + len(options) // 4
    fragment = rng.choice((0, 0, 0, 0x4000, 0x2000, 0x0010))
    addresses = struct.pack("!II", rng.choice(IPV4), rng.choice(IPV4))
    length = 20 + len(options) + len(body)
    ttl = rng.choice((64, 64, 1, 0))
    head = struct.pack("!BBHHHBBH", first, 0, length, 1, fragment, ttl, proto, 0)
    check = ones_sum(head + addresses + options).to_bytes(2, "big")
    return head[:10] + check + addresses + options + body


def ipv6(rng: random.Random, proto: int, body: bytes) -> bytes:
    """An IPv6 packet, now and then with an extension header."""
    extension = b""
    if rng.random() < 0.2:
        extension = bytes([proto, 0, 1, 4, 0, 0, 0, 0])
        proto = rng.choice((0, 43, 44, 60))
    addresses = rng.choice(IPV6).to_bytes(16, "big") + rng.choice(IPV6).to_bytes(16, "big")
    head = struct.pack("!IHBB", 6 << 28, len(extension) + len(body), proto, rng.choice((64, 1)))
    return head + addresses + extension + body


def frame(rng: random.Random, depth: int = 0) -> bytes:
    """An Ethernet frame of any kind."""
    macs = rng.choice(MACS).to_bytes(6, "big") + rng.choice(MACS).to_bytes(6, "big")
    tags = rng.choice((b"", b"", b"\x81\x00\x00\x05", b"\x88\xa8\x00\x05\x81\x00\x00\x64"))
    kind = rng.random()
    if kind < 0.1:
        return macs + tags + b"\x08\x06" + bytes.fromhex("0001080006040001") + bytes(20)
    if kind < 0.25 and depth < 2:  # VXLAN
        inner = struct.pack("!II", 1 << 27, rng.choice(NUMBERS) << 8) + frame(rng, depth + 1)
        body, proto = struct.pack("!HHHH", 1000, 4789, 8 + len(inner), 0) + inner, 17
    else:
        proto = rng.choice((6, 17))
        body = b""
    if rng.random() < 0.5:
        if not body:
            proto = rng.choice((6, 17, 1))
            body = transport(rng, proto, bytes(rng.choice((0, 10, 100))))
        return macs + tags + b"\x08\x00" + ipv4(rng, proto, body)
    if not body:
        proto = rng.choice((6, 17, 58))
        body = transport(rng, proto, bytes(rng.choice((0, 10, 100))))
    return macs + tags + b"\x86\xdd" + ipv6(rng, proto, body)


def entry(rng: random.Random, table: TableInfo) -> Entry:
    """An entry of any table, its fields from the pools."""
    key: list[tuple[int, int]] = []
    for item in table.keys:
        full = (1 << item.width) - 1
        value = pick(rng, item.width)
        if item.kind == "exact":
            key.append((value, full))
        elif item.kind == "lpm":
            mask = full ^ (full >> rng.randint(0, item.width))
            key.append((value & mask, mask))
        elif item.kind == "range":
            other = pick(rng, item.width)
            key.append((min(value, other), max(value, other)))
        else:
            mask = rng.choice((0, 0, full, value))
            key.append((value & mask, mask))
    action = rng.choice(list(table.actions.values()))
    params = tuple(pick(rng, width) for _, width in action.params)
    timeout = rng.choice((0, 1, 1_000_000_000)) if table.support_timeout else 0
    priority = rng.randint(1, 5) if table.needs_priority else 0
    return Entry(tuple(key), action.name, params, priority, timeout)


def row(program: Program, table: ir.Table, rng: random.Random) -> bytes:
    """An entry as fuzz.c reads it."""
    info = program.tables[table.name]
    codec = EntryCodec(program.ir, table, info)
    made = entry(rng, info)
    key = codec.encode_key(made.key)
    number, data = codec.encode_action(made.action, made.params)
    rank = codec.rank(made.key, made.priority)
    head = struct.pack("=IIiiI", table.index, number, made.priority, rank, made.idle_timeout_ns)
    counts = struct.pack("=II", len(key), len(data))
    return head + counts + struct.pack(f"={len(key) + len(data)}Q", *key, *data)


def make(program: Program, seed: int, *, frames: int = 500, rows: int = 4000) -> bytes:
    """The corpus file: frames, then entries for the tables that take some."""
    rng = random.Random(seed)
    out = bytearray(struct.pack("=I", frames))
    for _ in range(frames):
        data = frame(rng)
        out += struct.pack("=I", len(data)) + data
    tables = [
        t
        for t in program.ir.tables
        if t.keys and not program.tables[t.name].is_const_table and t.profile is None and t.actions
    ]
    made = [row(program, rng.choice(tables), rng) for _ in range(rows if tables else 0)]
    out += struct.pack("=I", len(made)) + b"".join(made)
    return bytes(out)

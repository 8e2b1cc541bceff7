# SPDX-License-Identifier: Apache-2.0
"""Segmentation-offload super-packets: whole where the program cannot tell, cut elsewhere."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from softswitch.bmv2 import loader
from softswitch.codegen.superpackets import why_not
from softswitch.dataplane import Dataplane
from softswitch.program import Program

from .builder import Builder, assign, call, const, field, op, std
from .conftest import SANITIZE
from .links import raw, receive

CSUM, TCPV4, TCPV6, UDP_L4, ECN = 1, 1, 4, 5, 0x80
FIN, PSH, ACK, CWR = 1, 8, 16, 0x80
START_SEQ = 2**32 - 1000
MACS = b"\xff" * 6 + bytes.fromhex("02000000aa01")
Make = Callable[[Builder], Dataplane]


def program(*, counts: bool) -> Builder:
    """Port 0 to port 1; `counts`: with a direct counter, which super-packets would mislead."""
    builder = Builder({"h": [("a", 8)]})
    out = builder.action("out", [assign(std("egress_spec"), const(1))])
    entry = {
        "match_key": [{"match_type": "exact", "key": "0x0"}],
        "action_entry": {"action_id": out, "action_data": []},
        "priority": 1,
    }
    key = [("standard_metadata", "ingress_port", "exact")]
    builder.table("t", key, [out], entries=[entry], with_counters=counts)
    builder.statements(assign(field("h", "a"), const(0x02)))
    return builder


@pytest.fixture
def make(veths: list[tuple[str, str]], cache_dir: Path) -> Iterator[Make]:
    planes: list[Dataplane] = []

    def run(builder: Builder) -> Dataplane:
        plane = Dataplane(cache_dir=cache_dir, sanitize=SANITIZE)
        planes.append(plane)
        plane.load(Program.load(builder.json(), cache_dir=cache_dir, sanitize=SANITIZE))
        for port, (near, _) in enumerate(veths):
            plane.add_port(port, near)
        plane.add_memory_port(2)
        plane.start()
        return plane

    yield run
    for plane in planes:
        plane.stop()


def vnet(kind: int, size: int, start: int, offset: int, headers: int) -> bytes:
    """A virtio_net_hdr."""
    return struct.pack("<BBHHHH", CSUM, kind, headers, size, start, offset)


def ones_sum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total >> 16) + (total & 0xFFFF)
    return ~total & 0xFFFF


def build(
    payload: bytes,
    *,
    ipv6: bool = False,
    udp: bool = False,
    extension: bytes = b"",
    tag: bytes = b"",
    seq: int = START_SEQ,
    flags: int = CWR | FIN | PSH | ACK,
    ident: int = 65535,
) -> bytes:
    """A finished frame: lengths and checksums are right."""
    proto = 17 if udp else 6
    if udp:
        l4 = struct.pack("!HHHH", 1, 2, 8 + len(payload), 0) + payload
    else:
        l4 = struct.pack("!HHIIBBHHH", 1, 2, seq, 7, 0x50, flags, 8192, 0, 0) + payload
    src, dst = (
        (bytes(15) + b"\x01", bytes(15) + b"\x02") if ipv6 else (b"\x0a\0\0\1", b"\x0a\0\0\2")
    )
    check = ones_sum(src + dst + struct.pack("!II", proto, len(l4)) + l4)
    at = 6 if udp else 16
    l4 = l4[:at] + (check or 0xFFFF if udp else check).to_bytes(2, "big") + l4[at + 2 :]
    if ipv6:
        first = 60 if extension else proto
        l3 = struct.pack("!IHBB", 6 << 28, len(extension + l4), first, 64) + src + dst + extension
    else:
        l3 = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(l4), ident, 0, 64, proto, 0) + src + dst
        l3 = l3[:10] + ones_sum(l3).to_bytes(2, "big") + l3[12:]
    kind = b"\x86\xdd" if ipv6 else b"\x08\x00"
    return MACS + tag + kind + l3 + l4


def payload_of(length: int) -> bytes:
    return bytes(i * 7 % 251 for i in range(length))


def with_partial_checksum(frame: bytes, start: int, at: int) -> bytes:
    """Any value will do where the frame is cut; this one is not right."""
    return frame[: start + at] + b"\x12\x34" + frame[start + at + 2 :]


@pytest.mark.parametrize("ipv6", [False, True])
@pytest.mark.parametrize("udp", [False, True])
@pytest.mark.parametrize("length", [1401, 2800, 60000])
def test_cut(make: Make, veths: list[tuple[str, str]], ipv6: bool, udp: bool, length: int) -> None:
    """Each segment is what a sender without offload would have sent."""
    plane = make(program(counts=True))
    size = 1400
    start = 14 + (40 if ipv6 else 20)
    at, headers = (6, 8) if udp else (16, 20)
    kind = UDP_L4 if udp else (TCPV6 if ipv6 else TCPV4) | ECN
    payload = payload_of(length)
    frame = build(payload, ipv6=ipv6, udp=udp)
    head = vnet(kind, size, start, at, start + headers)
    with raw(veths[0][1], vnet=True) as a, raw(veths[1][1]) as b:
        a.send(head + with_partial_checksum(frame, start, at))
        for n, offset in enumerate(range(0, length, size)):
            last = offset + size >= length
            wanted = build(
                payload[offset : offset + size],
                ipv6=ipv6,
                udp=udp,
                seq=(START_SEQ + offset) % 2**32,
                flags=ACK | (FIN | PSH if last else 0) | (CWR if n == 0 else 0),
                ident=(65535 + n) % 65536,
            )
            assert receive(b) == b"\x02" + wanted[1:], f"segment {n}"
    stats = plane.stats().ports
    assert (stats[0].rx_gso, stats[0].rx_dropped) == (1, 0)
    assert stats[0].rx_packets == stats[1].tx_packets == -(-length // size)
    assert "are cut before the program" in plane.read_log(5)[0]


@pytest.mark.parametrize("tagged", [False, True])
@pytest.mark.parametrize("length", [1500, 60000])
def test_whole(make: Make, veths: list[tuple[str, str]], length: int, tagged: bool) -> None:
    plane = make(program(counts=False))
    frame = build(payload_of(length), tag=b"\x81\x00\x00\x05" if tagged else b"")
    start = 38 if tagged else 34
    head = vnet(TCPV4, 1400, start, 16, start + 20)
    sent = with_partial_checksum(frame, start, 16)
    with raw(veths[0][1], vnet=True) as a, raw(veths[1][1], vnet=True) as b:
        a.send(head + sent)
        got = b.recv(70000)
    flags, kind, _, size, csum_start, csum_offset = struct.unpack_from("<BBHHHH", got)
    # The tag is beside the frame again, and the offset counts without it.
    assert (flags, kind, size, csum_start, csum_offset) == (CSUM, TCPV4, 1400, 34, 16)
    body = sent[:12] + sent[16:] if tagged else sent
    assert got[10:] == b"\x02" + body[1:]
    assert plane.stats().ports[1].tx_bytes == len(sent)


def test_a_memory_port_gets_segments(make: Make, veths: list[tuple[str, str]]) -> None:
    builder = program(counts=False)
    builder.statements(assign(std("egress_spec"), const(2)))
    plane = make(builder)
    frame = build(payload_of(3000))
    with raw(veths[0][1], vnet=True) as a:
        a.send(vnet(TCPV4, 1400, 34, 16, 54) + with_partial_checksum(frame, 34, 16))
    sizes = [len(plane.read_memory_port(2, 5) or b"") for _ in range(3)]
    assert sizes == [1454, 1454, 254]
    assert plane.read_memory_port(2, 0) is None


def test_what_cannot_be_cut_is_refused_and_said(make: Make, veths: list[tuple[str, str]]) -> None:
    """TCP behind an extension header; an ordinary frame behind it still passes."""
    plane = make(program(counts=True))
    frame = build(payload_of(3000), ipv6=True, extension=bytes([6, 0, 1, 4, 0, 0, 0, 0]))
    ordinary = b"\xff" * 6 + bytes(6) + b"\x88\xb5" + bytes(50)
    with raw(veths[0][1], vnet=True) as a, raw(veths[1][1]) as b:
        for _ in range(2):
            a.send(vnet(TCPV6, 1400, 62, 16, 82) + frame)
        a.send(bytes(10) + ordinary)
        assert receive(b) == b"\x02" + ordinary[1:]
    stats = plane.stats().ports[0]
    assert (stats.rx_gso, stats.rx_dropped, stats.rx_packets) == (2, 2, 1)
    lines = plane.read_log(5)
    assert len(lines) == 1
    assert "cannot be cut was dropped" in lines[0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda b: None, None),
        (lambda b: b.statements(call("truncate", const(20))), "truncate"),
        (lambda b: b.statements(assign(field("h", "a"), std("packet_length"))), "packet_length"),
        (
            lambda b: b.statements(
                assign(
                    std("egress_spec"),
                    op("?", const(1), const(2), op("<", field("l", "x"), const(9))),
                )
            ),
            "may be a length",
        ),
        (lambda b: b.statements(assign(field("l", "x"), const(1))), "assigns to l.x"),
    ],
)
def test_which_programs_may_see_them_whole(
    change: Callable[[Builder], None], reason: str | None
) -> None:
    builder = Builder({"h": [("a", 8)], "l": [("x", 16)]})
    change(builder)
    found = why_not(loader.load(builder.json()))
    assert found is None if reason is None else reason in str(found)

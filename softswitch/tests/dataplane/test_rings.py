# SPDX-License-Identifier: Apache-2.0
"""Real interfaces: veth pairs, the far ends read and written with raw sockets of the kernel."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from softswitch.dataplane import Dataplane
from softswitch.errors import PortError
from softswitch.program import Program

from .builder import Builder, assign, const, field, std
from .conftest import SANITIZE
from .links import ip, make_veth, raw, receive

BROADCAST = b"\xff" * 6
SOURCE = bytes.fromhex("02000000aa01")


@pytest.fixture
def plane(veths: list[tuple[str, str]], cache_dir: Path) -> Iterator[Dataplane]:
    """Port 0 and port 1; everything from one leaves on the other, with its first byte changed."""
    builder = Builder({"h": [("a", 8)]})
    out = builder.action("out", [assign(std("egress_spec"), const(1))])
    back = builder.action("back", [assign(std("egress_spec"), const(0))])
    entries = [
        {
            "match_key": [{"match_type": "exact", "key": hex(port)}],
            "action_entry": {"action_id": action, "action_data": []},
            "priority": 1,
        }
        for port, action in ((0, out), (1, back))
    ]
    key = [("standard_metadata", "ingress_port", "exact")]
    builder.table("t", key, [out, back], entries=entries)
    builder.statements(assign(field("h", "a"), const(0x02)))
    dataplane = Dataplane(cache_dir=cache_dir, sanitize=SANITIZE)
    try:
        dataplane.load(Program.load(builder.json(), cache_dir=cache_dir, sanitize=SANITIZE))
        for port, (near, _) in enumerate(veths):
            dataplane.add_port(port, near)
        dataplane.start()
        yield dataplane
    finally:
        dataplane.stop()


def changed(frame: bytes) -> bytes:
    return b"\x02" + frame[1:]


@pytest.mark.parametrize("size", [14, 60, 1514, 9014])
def test_frames_of_every_size_pass_both_ways(
    plane: Dataplane, veths: list[tuple[str, str]], size: int
) -> None:
    frame = (BROADCAST + SOURCE + b"\x88\xb5" + bytes(i % 251 for i in range(size)))[:size]
    with raw(veths[0][1]) as a, raw(veths[1][1]) as b:
        a.send(frame)
        assert receive(b) == changed(frame)
        b.send(frame)
        assert receive(a) == changed(frame)
    assert plane.stats().ports[0].rx_packets == 1


@pytest.mark.parametrize("tags", ["81006123", "88a86123", "88a8612381000abc"])
def test_a_tag_that_the_kernel_takes_out_is_put_back(
    plane: Dataplane, veths: list[tuple[str, str]], tags: str
) -> None:
    """The kernel keeps the outer tag of every received frame beside the frame."""
    frame = BROADCAST + SOURCE + bytes.fromhex(tags + "88b5") + bytes(46)
    with raw(veths[0][1]) as a, raw(veths[1][1]) as b:
        a.send(frame)
        assert receive(b) == changed(frame)
    assert plane.stats().ports[0].rx_bytes == len(frame)


def udp_frame(checksum: int) -> bytes:
    payload = b"0123456789"
    udp = (
        (1000).to_bytes(2, "big")
        + (2000).to_bytes(2, "big")
        + (8 + len(payload)).to_bytes(2, "big")
    )
    ipv4 = bytes.fromhex("4500002600004000401166a00a0000010a000002")
    return BROADCAST + SOURCE + b"\x08\x00" + ipv4 + udp + checksum.to_bytes(2, "big") + payload


def pseudo_sum() -> int:
    total = 0x0A00 + 0x0001 + 0x0A00 + 0x0002 + 17 + 18
    return (total >> 16) + (total & 0xFFFF)


def test_a_partial_checksum_is_completed(plane: Dataplane, veths: list[tuple[str, str]]) -> None:
    vnet = bytes([1, 0]) + b"".join(v.to_bytes(2, "little") for v in (42, 0, 34, 6))
    with raw(veths[0][1], vnet=True) as a, raw(veths[1][1]) as b:
        a.send(vnet + udp_frame(pseudo_sum()))
        got = receive(b)
    body = got[34:]
    total = pseudo_sum() + sum(int.from_bytes(body[i : i + 2], "big") for i in range(0, 18, 2))
    while total >> 16:
        total = (total >> 16) + (total & 0xFFFF)
    assert total == 0xFFFF
    assert got[:40] == changed(udp_frame(0))[:40]


def test_a_frame_longer_than_the_mtu_is_lost_alone(
    plane: Dataplane, veths: list[tuple[str, str]]
) -> None:
    """The MTU of port 0 is lowered under the switch; then it knows."""
    ordinary, longer = (BROADCAST + SOURCE + b"\x88\xb5" + bytes(n) for n in (50, 3000))
    with raw(veths[0][1]) as a, raw(veths[1][1]) as b:
        b.send(longer)
        assert receive(a) == changed(longer)
        for name in veths[0]:
            ip("link", "set", name, "mtu", "1500")
        b.send(longer)
        while plane.stats().ports[0].tx_dropped < 1:
            time.sleep(0.01)
        b.send(longer)
        b.send(ordinary)
        assert receive(a) == changed(ordinary)
    stats = plane.stats().ports[0]
    assert (stats.tx_packets, stats.tx_dropped) == (2, 2)


def test_an_interface_that_vanishes_and_returns(
    plane: Dataplane, veths: list[tuple[str, str]]
) -> None:
    frame = BROADCAST + SOURCE + b"\x88\xb5" + bytes(50)
    with raw(veths[1][1]) as b:
        ip("link", "del", veths[0][0])
        b.send(frame)  # goes to the port that is gone
        plane.inject(0, frame)
        assert receive(b) == changed(frame)
        assert [line for line in plane.read_log(5) if "has vanished" in line]
        assert not plane.stats().ports[0].up
        make_veth(0)
        assert [line for line in plane.read_log(5) if "is there again" in line]
        assert plane.stats().ports[0].up
        with raw(veths[0][1]) as a:
            a.send(frame)
            assert receive(b) == changed(frame)
            b.send(frame)
            assert receive(a) == changed(frame)


def test_a_port_may_be_removed_while_its_interface_is_gone(
    plane: Dataplane, veths: list[tuple[str, str]]
) -> None:
    ip("link", "del", veths[0][0])
    assert [line for line in plane.read_log(5) if "has vanished" in line]
    plane.remove_port(0)
    with pytest.raises(PortError, match="no such interface"):
        plane.add_port(0, veths[0][0])


def test_an_interface_that_goes_down_and_comes_back(
    plane: Dataplane, veths: list[tuple[str, str]]
) -> None:
    near, far = veths[1]
    ip("link", "set", near, "down")
    frame = BROADCAST + SOURCE + b"\x88\xb5" + bytes(50)
    plane.inject(0, frame)
    assert plane.stats().ports[1].tx_packets == 0
    assert plane.stats().ports[1].tx_dropped == 1
    ip("link", "set", near, "up")
    other = BROADCAST + SOURCE + b"\x88\xb5" + bytes(range(50))
    with raw(far) as b, raw(veths[0][1]) as a:
        plane.inject(0, other)
        assert receive(b) == changed(other)
        b.send(frame)
        assert receive(a) == changed(frame)


def test_an_interface_may_be_down_when_it_is_added(
    plane: Dataplane, veths: list[tuple[str, str]]
) -> None:
    near, far = veths[0]
    plane.remove_port(0)
    ip("link", "set", near, "down")
    plane.add_port(0, near)
    ip("link", "set", near, "up")
    frame = BROADCAST + SOURCE + b"\x88\xb5" + bytes(50)
    with raw(far) as a, raw(veths[1][1]) as b:
        a.send(frame)
        assert receive(b) == changed(frame)

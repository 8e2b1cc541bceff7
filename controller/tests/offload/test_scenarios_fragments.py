# SPDX-License-Identifier: Apache-2.0
"""Conntrack scenarios as of Open vSwitch: UDP datagrams in fragments, IPv4 and IPv6.

Each is played with offload and without; docs/ovs-scenarios.md has the list.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from p4ct.packet import build
from p4ct.packet.checksum import checksum

from .scripts import MACS, PORTS, Play

#: From vm1 connections may begin; what a flow matches is the whole packet.
FLOWS = """
table=0,ip,actions=ct(zone=1,nat,table=1)
table=1,priority=9,udp,in_port=vm1,tp_dst=80,ct_state=+trk+new,actions=ct(commit,zone=1),ext
table=1,priority=8,udp,in_port=vm1,ct_state=+trk+est,ORIGINAL,actions=ext
table=1,priority=8,udp,in_port=ext,ct_state=+trk+est,ORIGINAL,actions=vm1
table=1,priority=0,actions=drop
""".replace("ORIGINAL", "ct_nw_src=10.0.0.1,ct_nw_proto=17,ct_tp_dst=80")
#: Hop-by-hop options before the fragment header, destination options behind it.
HOP_BY_HOP, DESTINATION = bytes([44, 0, 1, 4, 0, 0, 0, 0]), bytes([17, 0, 1, 4, 0, 0, 0, 0])
ROOM = 1448


def flows(v6: bool) -> str:
    """Of one family."""
    if not v6:
        return FLOWS
    text = FLOWS.replace("=0,ip,", "=0,ipv6,").replace("udp,", "udp6,")
    return text.replace("ct_nw_src=10.0.0.1", "ct_ipv6_src=fd00::1").replace("10.0.0.", "fd00::")


def datagram(
    sender: str = "vm1",
    *,
    v6: bool = False,
    number: int = 1,
    own: str = "1",
    tag: int | None = None,
    headers: bool = False,
    overlap: int = 0,
) -> list[bytes]:
    """The fragments of 4000 bytes between port 1000 of vm1 and port 80 of ext.

    own: last part of vm1's address.   headers: with extension headers.   overlap: bytes by which
    the second fragment begins too early.
    """
    prefix = "fd00::" if v6 else "10.0.0."
    ends, ports = (prefix + own, prefix + "3"), (1000, 80)
    if sender == "ext":
        ends, ports = ends[::-1], ports[::-1]
    src, dst = ends
    receiver = "ext" if sender == "vm1" else "vm1"
    whole = build.udp_frame(
        src=src, dst=dst, sport=ports[0], dport=ports[1], payload=bytes(range(250)) * 16
    )
    data = (DESTINATION if headers else b"") + whole[54 if v6 else 34 :]
    link = {"eth_src": MACS[sender], "eth_dst": MACS[receiver], "src": src, "dst": dst}
    found: list[bytes] = []
    for start in range(0, len(data), ROOM):
        begin = start - (overlap if start == ROOM else 0)
        part, more = data[begin : start + ROOM], start + ROOM < len(data)
        if v6:
            header = bytes([60 if headers else 17, 0]) + (begin | more).to_bytes(2, "big")
            payload = header + number.to_bytes(4, "big") + part
            if headers:
                payload = HOP_BY_HOP + payload
            frame = build.ip_frame(**link, proto=0 if headers else 44, payload=payload)
        else:
            frame = build.ip_frame(
                **link, proto=17, payload=part, identification=number,
                fragment=more << 13 | begin >> 3,
            )  # fmt: skip
        found.append(frame if tag is None else build.push_vlan(frame, tag))
    return found


def both(text: str, steps: Iterable[tuple[str, list[bytes], list[bytes]] | float]) -> Play:
    """Play (sender, frames, what arrives) or seconds of waiting, with offload and without."""
    steps = list(steps)
    for enabled in (False, True):
        played = Play(text, enabled=enabled)
        world = played.world
        for step in steps:
            if not isinstance(step, tuple):
                world.later(step)
                continue
            sender, frames, wanted = step
            del world.delivered[:]
            for frame in frames:
                world.packet(frame, PORTS[sender])
            port = PORTS["ext" if sender == "vm1" else "vm1"]
            assert world.delivered == [(port, frame) for frame in wanted]
    return played


@pytest.fixture(params=[False, True], ids=["v4", "v6"])
def v6(request: pytest.FixtureRequest) -> bool:
    return request.param


def test_there_and_back(v6: bool) -> None:
    """Each by the original tuple, the datagrams that follow too."""
    there, back = datagram(v6=v6), datagram("ext", v6=v6)
    assert len(there) == 3
    exchange = [("vm1", there, there), ("ext", back, back)]
    both(flows(v6), [("ext", back, []), *exchange, *exchange, *exchange])


def test_out_of_order(v6: bool) -> None:
    there = datagram(v6=v6)
    both(flows(v6), [("vm1", [there[n] for n in (2, 0, 1)], there)])
    both(flows(v6), [("vm1", there[::-1], there)])


def test_behind_a_tag(v6: bool) -> None:
    there, back = datagram(v6=v6, tag=100), datagram("ext", v6=v6, tag=100)
    both(flows(v6), [("vm1", there, there), ("ext", back[::-1], back)] * 3)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_extension_headers(order: tuple[int, ...]) -> None:
    there, back = datagram(v6=True, headers=True), datagram("ext", v6=True, headers=True)
    shuffled = [there[n] for n in order], [back[n] for n in order]
    both(flows(True), [("vm1", shuffled[0], there), ("ext", shuffled[1], back)] * 2)


def test_incomplete_and_too_late(v6: bool) -> None:
    """Nothing leaves of what never is whole, and the last fragment helps only in time."""
    first, second, third = datagram(v6=v6)
    whole = [first, second, third]
    text = flows(v6)
    both(text, [("vm1", [first, third], []), 10.0, ("vm1", [second], whole)])
    late = both(text, [("vm1", [first, third], []), 61.0, ("vm1", [second], [])])
    assert not late.world.connections()


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0)])
def test_an_overlap_of_one_octet(v6: bool, order: tuple[int, ...]) -> None:
    """The smallest that offsets can say: 8 bytes for IPv6 and IPv4 alike."""
    pieces = datagram(v6=v6, overlap=8)
    played = both(flows(v6), [("vm1", [pieces[n] for n in order], [])])
    assert played.world.pipeline.drops
    good = datagram(v6=v6, number=2)
    both(flows(v6), [("vm1", pieces, []), ("vm1", good, good)])


def test_translated(v6: bool) -> None:
    text = flows(v6).replace("ct(commit,zone=1)", "ct(commit,zone=1,nat(src=OUTSIDE))")
    text = text.replace("OUTSIDE", "fd00::64" if v6 else "10.0.0.100")
    own = "64" if v6 else "100"
    there, seen = datagram(v6=v6), datagram(v6=v6, own=own)
    back, read = datagram("ext", v6=v6, own=own), datagram("ext", v6=v6)
    both(text, [("vm1", there, seen), ("ext", back, read)] * 3)


def test_fragments_of_a_connection_that_is_offloaded(v6: bool) -> None:
    """Between its whole datagrams, which go by entries."""
    prefix = "fd00::" if v6 else "10.0.0."
    ends = {"src": prefix + "1", "dst": prefix + "3", "sport": 1000, "dport": 80}
    link = {"eth_src": MACS["vm1"], "eth_dst": MACS["ext"]}
    short = build.udp_frame(**link, **ends, payload=b"short")
    ends = {"src": prefix + "3", "dst": prefix + "1", "sport": 80, "dport": 1000}
    link = {"eth_src": MACS["ext"], "eth_dst": MACS["vm1"]}
    answer = build.udp_frame(**link, **ends, payload=b"short")
    there, back = datagram(v6=v6), datagram("ext", v6=v6)
    whole = [("vm1", [short], [short]), ("ext", [answer], [answer])] * 3
    played = both(flows(v6), [*whole, ("ext", back, back), ("vm1", there, there), *whole])
    assert played.enabled
    assert played.world.by_hardware >= 6


def test_fragments_that_flows_ask_for(v6: bool) -> None:
    """`nw_frag` says what to do with fragments that no ct() has put together."""
    text = """
        table=0,priority=3,ip,in_port=vm1,nw_frag=later,actions=drop
        table=0,priority=2,udp,in_port=vm1,nw_frag=first,actions=ext
        table=0,priority=1,ip,in_port=ext,nw_frag=yes,actions=vm1
        """
    if v6:
        text = text.replace(",ip,", ",ipv6,").replace(",udp,", ",udp6,")
    there, back = datagram(v6=v6), datagram("ext", v6=v6)
    both(text, [("vm1", there, there[:1]), ("ext", back, back)])


def test_header_checksums_of_what_leaves_are_right() -> None:
    """Of this file's own fragments: what is compared above are packets that a host would take."""
    for frame in datagram() + datagram(overlap=8):
        assert checksum(frame[14:34]) == 0

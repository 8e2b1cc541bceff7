# SPDX-License-Identifier: Apache-2.0
"""Invariant 5: packets and bytes of a connection are the sum of software and hardware, exactly.

What was sent is compared with what conntrack shows at the connection's end, and with the counts of
flows that only this connection passes, per direction, to the byte of the frames at ingress.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from topo.tests.invariants.hosts import ACK, EXT, FIN, PSH, TAG, A, B, Host
from topo.tests.invariants.load import Load
from topo.tests.invariants.peers import CLIENT, SERVER, Peers, Ping, Tcp, Udp
from topo.tests.invariants.policies import counting
from topo.tests.invariants.rig import Rig, until

PORTS = range(6001, 6021)
#: How often entries are installed and drained under load (P4CT_TEST_ROUNDS=1000: two minutes).
ROUNDS = int(os.environ.get("P4CT_TEST_ROUNDS", "20"))
#: Payloads that make the shortest frames, frames around the minimum of Ethernet, and long ones.
SIZES = (0, 1, 5, 6, 7, 64, 700, 1400)


@pytest.fixture(scope="module")
def rig(new_rig: Callable[..., Rig]) -> Rig:
    return new_rig(counting(PORTS))


def pad(frame: bytes, length: int = 60) -> bytes:
    """The frame with the padding that a network card adds."""
    return frame + bytes(max(0, length - len(frame)))


def talk(peers: Peers) -> None:
    """Frames of many lengths both ways, padded and not, the same number of neither."""
    for size in SIZES:
        for side, times in ((CLIENT, 1), (SERVER, 2)):
            for _ in range(times):
                frame = message(peers, side, bytes(size))
                peers.deliver(side, frame)
                if len(frame) < 60:
                    peers.deliver(side, pad(frame))


def message(peers: Peers, side: int, payload: bytes) -> bytes:
    if isinstance(peers, Tcp):
        frame = peers.segment(side, PSH | ACK, payload)
        peers.advance(side, PSH | ACK, payload)
        return frame
    assert isinstance(peers, Udp | Ping)
    return peers.datagram(side, payload) if isinstance(peers, Udp) else peers.message(side, payload)


def counts(shown: dict[str, Any]) -> list[list[int]]:
    return [[shown[side]["packets"], shown[side]["bytes"]] for side in ("original", "reply")]


def flow_counts(peers: Peers) -> list[list[int]]:
    """Counts of the flows of table 2 that the two directions pass."""
    kind = peers.proto + ("6" if peers.version == 6 else "")
    port = peers.ports[SERVER]
    result: list[list[int]] = []
    for side in ("dst", "src"):
        wanted = f"{kind},tp_{side}={port} "
        (flow,) = [f for f in peers.rig.ask("flows-list") if f",{wanted}" in f["text"]]
        result.append([flow["n_packets"], flow["n_bytes"]])
    return result


def check_hardware_took_part(shown: dict[str, Any], least: int) -> None:
    for side in ("original", "reply"):
        assert shown["hw"][side]["packets"] >= least, shown["hw"]


ENDS: list[tuple[Host, Host, int]] = [(A, B, 4), (A, EXT, 6), (B, TAG, 4), (TAG, A, 6)]


@pytest.mark.parametrize(("number", "first"), list(enumerate([CLIENT, SERVER] * 2)))
def test_ended_by_fin(rig: Rig, number: int, first: int) -> None:
    """Four paths through the switch, with and without tags, each side closing first."""
    client, server, version = ENDS[number]
    connection = Tcp(rig, client, server, 50000, PORTS[number], version=version)
    connection.establish()
    talk(connection)
    shown = connection.shown()
    assert shown is not None
    assert counts(shown) == connection.sent
    connection.close(first)
    shown = connection.wait_software()
    assert shown["state"] == "TIME_WAIT"
    assert counts(shown) == connection.sent
    assert flow_counts(connection) == connection.sent
    check_hardware_took_part(shown, len(SIZES))


@pytest.mark.parametrize(("number", "side"), list(enumerate([CLIENT, SERVER] * 2)))
def test_ended_by_rst(rig: Rig, number: int, side: int) -> None:
    client, server, version = ENDS[number]
    connection = Tcp(rig, client, server, 50000, PORTS[4 + number], version=version)
    connection.establish()
    talk(connection)
    connection.reset(side)
    shown = connection.wait_software()
    assert shown["state"] == "CLOSE"
    assert counts(shown) == connection.sent
    assert flow_counts(connection) == connection.sent
    check_hardware_took_part(shown, len(SIZES))


@pytest.mark.parametrize(("number", "kind"), list(enumerate([Tcp, Udp, Udp])))
def test_ended_by_flush(rig: Rig, number: int, kind: type[Tcp] | type[Udp]) -> None:
    """The connection is gone with the flush; the flows that it passed have the sum."""
    client, server, version = ENDS[number]
    connection = kind(rig, client, server, 50000, PORTS[8 + number], version=version)
    connection.establish()
    talk(connection)
    assert rig.ask("conntrack-flush", filter=connection.words) == 1
    assert connection.shown() is None
    assert flow_counts(connection) == connection.sent


def test_ended_by_time(new_rig: Callable[..., Rig]) -> None:
    """No packet for the idle timeout: back in software with everything counted."""
    rig = new_rig(counting(PORTS), idle={"tcp": 1, "udp": 1, "icmp": 1})
    everyone: list[Peers] = [
        Tcp(rig, A, B, 50000, PORTS[0]),
        Udp(rig, A, EXT, 50000, PORTS[1], version=6),
        Udp(rig, B, TAG, 50000, PORTS[2]),
        Ping(rig, A, TAG, 4242),
        Ping(rig, B, EXT, 4243, version=6),
    ]
    for peers in everyone:
        assert isinstance(peers, Tcp | Udp | Ping)
        peers.establish()
        talk(peers)
    for peers in everyone:
        shown = peers.wait_software()
        assert "no packet for the offload timeout" in shown["offload_reason"]
        assert counts(shown) == peers.sent
        check_hardware_took_part(shown, 1)
        if not isinstance(peers, Ping):
            assert flow_counts(peers) == peers.sent


def send_both(peers: Peers, frames: tuple[bytes, bytes]) -> None:
    for side, frame in enumerate(frames):
        peers.rig.send(peers.hosts[side], frame)
        peers.count(side, frame)


def sent_at_least(peers: Peers, packets: int) -> None:
    goal = peers.sent[0][0] + packets
    until(lambda: peers.sent[0][0] >= goal, f"{packets} more packets were sent")


def delivered(peers: Peers, mark: int) -> list[list[int]]:
    """What came out of the other side's port since `mark`, by sender.

    A target whose ring runs over loses packets before anybody could count them; what it did
    forward must have been counted.
    """
    captured = peers.rig.wire.since(mark)
    result: list[list[int]] = []
    for side, host in enumerate(peers.hosts):
        dst = peers.hosts[1 - side]
        frames = [
            got.frame
            for got in captured
            if got.port == dst.port and got.frame[:12] == host_pair(dst, host)
        ]
        # Counted as they came in, so without the tag that one side alone may have.
        tag = 4 * ((host.vlan is not None) - (dst.vlan is not None))
        result.append([len(frames), sum(map(len, frames)) + tag * len(frames)])
    return result


def host_pair(dst: Host, src: Host) -> bytes:
    return bytes.fromhex((dst.mac + src.mac).replace(":", ""))


def test_under_load_fin(rig: Rig) -> None:
    """Both sides go on sending while the connection closes: whatever leaves is counted once."""
    connection = Tcp(rig, A, TAG, 50001, PORTS[12])
    mark = rig.wire.mark
    connection.establish()
    frames = (
        connection.segment(CLIENT, ACK, b"again and again"),
        connection.segment(SERVER, ACK, b"and again"),
    )
    with Load(lambda: send_both(connection, frames)):
        for side in (SERVER, CLIENT):
            sent_at_least(connection, 100)
            frame = connection.segment(side, FIN | ACK)
            connection.advance(side, FIN | ACK)
            connection.count(side, frame)
            rig.send(connection.hosts[side], frame)
        sent_at_least(connection, 100)
    for host in connection.hosts:
        rig.barrier(host)
    shown = connection.wait_software()
    check_hardware_took_part(shown, 50)
    assert counts(shown) == delivered(connection, mark)
    assert flow_counts(connection) == delivered(connection, mark)


def test_under_load_flush(rig: Rig) -> None:
    """Flushed again and again while datagrams flow: each is counted once, by one side or other."""
    connection = Udp(rig, A, EXT, 50001, PORTS[13])
    mark = rig.wire.mark
    connection.establish()
    frames = (connection.datagram(CLIENT, b"x" * 90), connection.datagram(SERVER, b"y" * 20))
    with Load(lambda: send_both(connection, frames)):
        for _ in range(5):
            sent_at_least(connection, 50)
            rig.ask("conntrack-flush", filter=connection.words)
            connection.wait_offloaded()
    for host in connection.hosts:
        rig.barrier(host)
    rig.settle()
    # A datagram from outside between a flush and the next from inside belongs to nothing: dropped.
    assert flow_counts(connection) == delivered(connection, mark)
    assert delivered(connection, mark)[CLIENT][0] >= 250


@pytest.mark.parametrize(("number", "kind", "ends"), [(0, Udp, (A, B)), (1, Tcp, (TAG, A))])
def test_installed_and_drained_again_and_again(
    rig: Rig, number: int, kind: type[Tcp] | type[Udp], ends: tuple[Host, Host]
) -> None:
    """Entries come and go ROUNDS times while both sides send: packets and bytes are those sent.

    A flow of its way is replaced by another each time, so its entries are drained and new ones are
    written, and the connection stays.
    """
    port = PORTS[14 + number]
    connection = kind(rig, *ends, 50002, port)
    mark = rig.wire.mark
    connection.establish()
    if isinstance(connection, Tcp):
        frames = (connection.segment(CLIENT, ACK, b"x"), connection.segment(SERVER, ACK, b"yy"))
    else:
        frames = (connection.datagram(CLIENT, b"x" * 90), connection.datagram(SERVER, b"y" * 20))
    flow = f"table=2,priority=20,{connection.proto},tp_dst={port},actions=NORMAL"
    before = rig.ask("status")["connections"]
    with Load(lambda: send_both(connection, frames)):
        for turn in range(ROUNDS):
            rig.ask("flows-add", text=f"cookie={turn},{flow}")
            connection.wait_offloaded()
            sent_at_least(connection, 3)
    for host in connection.hosts:
        rig.barrier(host)
    after = rig.settle()["connections"]
    for what in ("offloaded_total", "removed_total"):
        assert after[what] - before[what] >= ROUNDS
    shown = connection.shown()
    assert shown is not None
    print(f"{ROUNDS} rounds, sent {connection.sent}, by entries {shown['hw']}")
    assert delivered(connection, mark) == connection.sent, "a ring ran over: send less"
    assert counts(shown) == connection.sent
    check_hardware_took_part(shown, ROUNDS)
    rig.ask("conntrack-flush", filter=connection.words)

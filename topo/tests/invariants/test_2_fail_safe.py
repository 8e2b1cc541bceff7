# SPDX-License-Identifier: Apache-2.0
"""Invariant 2: what policy denies leaves no port, at any moment of install, removal or restart."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from scapy.layers.inet import IP
from scapy.layers.l2 import Ether

from topo.tests.invariants.hosts import ACK, EXT, PSH, SYN, A, B, Host, echo, tcp, udp
from topo.tests.invariants.load import Load
from topo.tests.invariants.peers import CLIENT, SERVER, Peers, Tcp, Udp
from topo.tests.invariants.policies import POLICY, denying
from topo.tests.invariants.rig import Rig, until

DENIED = b"this must not leave a port"
#: A frame that was in the switch when a policy command returned may still be on its way through
#: the egress queue and the kernel for this long.  Frames sent after the return get no grace.
ON_ITS_WAY_NS = 20_000_000


@pytest.fixture(scope="module")
def rig(new_rig: Callable[..., Rig]) -> Rig:
    return new_rig(POLICY)


# -- while entries come and go -------------------------------------------------------------


def denied_frames(connections: list[Tcp]) -> list[tuple[Host, bytes]]:
    """What nobody may send, beside and inside the connections that are open at times."""
    result: list[tuple[Host, bytes]] = []
    for version in (4, 6):
        for flags in (SYN, ACK, SYN | ACK):
            ports = {"sport": 80, "dport": 22, "flags": flags}
            result.append((EXT, tcp(EXT, A, version, payload=DENIED, **ports)))
        result.append((EXT, udp(EXT, A, version, 53, 53, DENIED)))
        result.append((EXT, echo(EXT, B, version, 1, 1, payload=DENIED)))
        result.append((EXT, echo(EXT, B, version, 1, 1, payload=DENIED, reply=True)))
    for connection in connections:
        good = connection.segment(CLIENT, PSH | ACK, DENIED)
        # The tuple of the connection from another port, with its own and with a borrowed MAC.
        result.append((B, good))
        result.append((B, good[:6] + bytes.fromhex(B.mac.replace(":", "")) + good[12:]))
        # What conntrack calls invalid although the tuple fits.
        result.append((A, connection.segment(CLIENT, 0, DENIED)))
        result.append((EXT, connection.segment(SERVER, PSH, DENIED)))
        for changes in ({"flags": "MF"}, {"frag": 100}, {"chksum": 1}):
            packet = Ether(good)
            packet[IP].chksum = None
            for name, value in changes.items():
                packet[IP].setfieldval(name, value)
            result.append((A, bytes(packet)))
        # Neighbours of the tuple.
        other = connection.ports[CLIENT] + 5000
        result.append((EXT, connection.segment(SERVER, ACK, DENIED, dport=other)))
    return result


def test_nothing_denied_leaves_while_entries_come_and_go(rig: Rig) -> None:
    connections = [Tcp(rig, A, EXT, 34000 + n, 443) for n in range(4)]
    endless = itertools.cycle(denied_frames(connections))
    sent = itertools.count()

    def send() -> None:
        next(sent)
        rig.send(*next(endless))

    mark = rig.wire.mark
    with Load(send, rate=700):
        for _ in range(12):
            for connection in connections:
                connection.establish()
            connections[0].close(CLIENT)
            connections[1].reset(SERVER)
            rig.ask("conntrack-flush", filter=connections[2].words)
            connections[3].close(SERVER)
            for connection in connections:
                connection.next = [n + 1_000_000 for n in connection.next]
    for host in (A, B, EXT):
        rig.barrier(host)
    rig.settle()
    assert next(sent) > 200, "hardly anything was sent: this test would prove nothing"
    leaked = [got for got in rig.wire.since(mark) if DENIED in got.frame]
    assert not leaked, f"{len(leaked)} denied frames left, the first: {leaked[0]}"


# -- policy changes ------------------------------------------------------------------------


class Stream:
    """Numbered frames of one connection, both ways.

    At the end of a frame are its number and the number's complement, so that all have the same
    checksum.
    """

    def __init__(self, peers: Tcp | Udp) -> None:
        filler = b"numbered" + bytes(8) + b"\xff" * 8
        self.peers = peers
        if isinstance(peers, Tcp):
            self.frames = [peers.segment(side, PSH | ACK, filler) for side in (CLIENT, SERVER)]
        else:
            self.frames = [peers.datagram(side, filler) for side in (CLIENT, SERVER)]
        #: Nothing with a higher number has been sent.
        self.last = 0
        self.mark = peers.rig.wire.mark

    def send(self) -> None:
        self.last += 1
        number = self.last.to_bytes(8, "big") + (self.last ^ (1 << 64) - 1).to_bytes(8, "big")
        for side, frame in enumerate(self.frames):
            self.peers.rig.send(self.peers.hosts[side], frame[:-16] + number)

    def left(self) -> Iterator[tuple[int, int, int]]:
        """(side that sent it, number, time in ns) of each frame that came out."""
        hosts = self.peers.hosts
        heads = {(hosts[1 - s].port, f[:-16]): s for s, f in enumerate(self.frames)}
        for got in self.peers.rig.wire.since(self.mark):
            side = heads.get((got.port, got.frame[:-16]))
            if side is not None:
                yield side, int.from_bytes(got.frame[-16:-8], "big"), got.time_ns

    def more(self, number: int) -> None:
        """Wait until that many more have been sent."""
        goal = self.last + number
        until(lambda: self.last >= goal, f"{number} more frames were sent")

    def seen(self) -> int:
        """The number up to which target and controller have seen everything."""
        sent = self.last - 1  # the last one may not be on the wire yet
        pass_through(self.peers)
        return sent

    def passes(self) -> None:
        """Wait until a frame that is sent from now on comes out on both sides."""
        now = self.last

        def both() -> bool:
            return {side for side, number, _ in self.left() if number > now} == {0, 1}

        until(both, "the stream passes")


@contextmanager
def streaming(peers: Tcp | Udp, rate: float = 500.0) -> Iterator[Stream]:
    """Data both ways, without end."""
    stream = Stream(peers)
    with Load(stream.send, rate):
        yield stream


class Cut:
    """The moment from which on nothing of a stream may leave."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.time_ns = time.time_ns()
        self.last = stream.last

    def check(self, end: int | None = None) -> None:
        """No frame sent after the moment has left, and none that was on its way before is late.

        `end`: the number up to which the policy denied it, where that has changed again.
        """
        for side, number, time_ns in self.stream.left():
            if end is not None and number > end:
                continue
            sender = self.stream.peers.hosts[side].name
            late = (time_ns - self.time_ns) / 1e6
            assert number <= self.last, f"frame {number} from {sender}, sent after {self.last}"
            assert late < ON_ITS_WAY_NS / 1e6, f"frame {number} from {sender} left {late} ms late"


def new_connection(rig: Rig, kind: type[Tcp] | type[Udp], port: int, version: int) -> Tcp | Udp:
    connection = kind(rig, A, EXT, 35000, port, version=version)
    connection.establish()
    return connection


def entries_of(rig: Rig, port: int) -> int:
    return sum(port in (row.key["sport"], row.key["dport"]) for row in rig.switch.entries())


def pass_through(peers: Peers) -> None:
    """Everything that both stations have sent was seen by target and controller."""
    for host in peers.hosts:
        peers.rig.barrier(host)


@pytest.mark.parametrize("kind", [Tcp, Udp])
@pytest.mark.parametrize("version", [4, 6])
def test_policy_change_cuts_at_once(rig: Rig, kind: type[Tcp] | type[Udp], version: int) -> None:
    """The command returns: from then on nothing that the new policy denies leaves a port."""
    rig.replace_policy(POLICY)
    port = 7010 + version + (kind is Udp)
    connection = new_connection(rig, kind, port, version)
    unaffected = new_connection(rig, kind, port + 100, version)
    kept = [row for row in rig.switch.entries() if port + 100 in row.key.values()]
    assert len(kept) == 2
    with streaming(connection) as stream:
        stream.passes()
        rig.replace_policy(denying(port))
        cut = Cut(stream)
        left_behind = entries_of(rig, port)
        stream.more(150)
    pass_through(connection)
    cut.check()
    assert left_behind == 0, "the command returned before the entries were gone"
    assert [row for row in rig.switch.entries() if port + 100 in row.key.values()] == kept
    assert unaffected.offloaded()


def test_policy_changes_during_installation(rig: Rig) -> None:
    """Permission given and taken within milliseconds, in the middle of whatever goes on."""
    rig.replace_policy(POLICY)
    connection = new_connection(rig, Udp, 7003, 4)
    chance = random.Random(20)
    cuts: list[tuple[Cut, int]] = []
    with streaming(connection) as stream:
        stream.passes()
        for _ in range(20):
            rig.replace_policy(denying(7003))
            cut = Cut(stream)
            stream.more(5)
            cuts.append((cut, stream.seen()))
            rig.replace_policy(POLICY)
            time.sleep(chance.random() * 0.02)  # a different moment of the installation each time
        stream.passes()
    pass_through(connection)
    for cut, end in cuts:
        cut.check(end)
    connection.wait_offloaded()


def test_the_command_line_cuts_as_well(rig: Rig) -> None:
    """`p4ct flows replace FILE` and `p4ct flows add`: the processes end when it is in effect."""
    rig.replace_policy(POLICY)
    file = rig.directory / "new.flows"
    connection = new_connection(rig, Tcp, 7004, 4)
    with streaming(connection) as stream:
        stream.passes()
        file.write_text(denying(7004), encoding="utf-8")
        rig.p4ct("flows", "replace", str(file))
        first = Cut(stream)
        stream.more(20)
        end = stream.seen()
        rig.replace_policy(POLICY)
        stream.passes()
        connection.wait_offloaded()
        flow = "table=1, priority=99, tcp, tp_dst=7004, actions=drop"
        rig.p4ct("flows", "add", flow)
        second = Cut(stream)
        stream.more(50)
    pass_through(connection)
    first.check(end)
    for side, number, _ in stream.left():
        assert side == SERVER or number <= second.last, "what the added flow denies has left"


# -- restart -------------------------------------------------------------------------------


def test_restart_with_a_policy_that_denies(new_rig: Callable[..., Rig]) -> None:
    """Killed and started again: the allowed goes on without a loss, the denied ends for good."""
    rig = new_rig(POLICY)
    denied = new_connection(rig, Tcp, 7005, 4)
    allowed = new_connection(rig, Udp, 7006, 6)
    strangers = itertools.cycle(denied_frames([]))
    mark = rig.wire.mark
    cuts: list[Cut] = []
    with (
        # Slow enough for a starting controller to have the processor: a target's ring that runs
        # over would look like a loss of ours.
        streaming(denied, 100) as stream,
        streaming(allowed, 100) as other,
        Load(lambda: rig.send(*next(strangers)), rate=50),
    ):
        stream.passes()
        rig.controller.kill()
        stream.passes()  # by hardware alone
        rig.policy_file.write_text(denying(7005), encoding="utf-8")
        rig.start_controller(lambda: cuts.append(Cut(stream)))
        entries = entries_of(rig, 7005), entries_of(rig, 7006)
        stream.more(30)
    for peers in (denied, allowed):
        pass_through(peers)
    (cut,) = cuts
    cut.check()
    assert entries == (0, 2)
    assert not [got for got in rig.wire.since(mark) if DENIED in got.frame]
    arrived = sorted((side, number) for side, number, _ in other.left())
    everything = [(side, n) for side in (CLIENT, SERVER) for n in range(1, other.last + 1)]
    assert arrived == everything, "an allowed connection lost packets in the restart"

# SPDX-License-Identifier: Apache-2.0
"""`offload.window_check` with a real target: what is outside the window never leaves, and a
connection that returns to software knows its windows as if it had never been away.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from topo.tests.invariants.hosts import ACK, EXT, FIN, PSH, SYN, TAG, A, B, Host
from topo.tests.invariants.peers import CLIENT, SERVER, Tcp
from topo.tests.invariants.policies import POLICY
from topo.tests.invariants.rig import Rig

FAR = 1_500_000_000
"""Beyond every window that is offered here."""


class Pair(NamedTuple):
    """One with window registers in use, one where everything goes by software."""

    on: Rig
    off: Rig


@pytest.fixture(scope="module")
def rigs(new_rig: Callable[..., Rig]) -> Pair:
    return Pair(new_rig(POLICY, window_check=True), new_rig(POLICY, offload=False))


class Scaled(Tcp):
    """A connection with window scaling and without SACK."""

    def open_scaled(self, scales: tuple[int, int]) -> None:
        for side, flags in ((CLIENT, SYN), (SERVER, SYN | ACK)):
            self.step(side, flags, options=[("MSS", 1460), ("WScale", scales[side])])
        self.step(CLIENT, ACK)

    def forge(self, side: int, seq: int = 0, ack: int = 0) -> bytes:
        """A segment whose numbers are off by so much; its sender does not know of it."""
        numbers = {"seq": self.next[side] + seq, "ack": self.next[1 - side] + ack}
        wrapped = {name: number & 0xFFFFFFFF for name, number in numbers.items()}
        return self.segment(side, PSH | ACK, b"forged", **wrapped)

    def send(self, side: int, frame: bytes) -> list[bytes]:
        """Send it; what of it arrived anywhere, once everybody has dealt with it."""
        mark = self.rig.wire.mark
        self.rig.send(self.hosts[side], frame)
        self.rig.barrier(self.hosts[side])
        return [got.frame for got in self.rig.wire.since(mark) if b"forged" in got.frame]


def record_of(peers: Tcp) -> dict[str, Any]:
    """The record in `p4ct offload list`."""
    ports = {peers.ports[CLIENT], peers.ports[SERVER]}
    (found,) = [
        record
        for record in peers.rig.ask("offload-list")
        if {record["entries"][0]["sport"], record["entries"][0]["dport"]} == ports
    ]
    return found


FORGED: list[tuple[str, int, int]] = [
    ("data beyond what was offered", FAR, 0),
    ("an acknowledgement of what was never sent", 0, FAR),
]
ENDS: list[tuple[Host, Host, int]] = [(A, EXT, 4), (A, B, 6), (B, TAG, 4), (TAG, A, 6)]


@pytest.mark.parametrize(("number", "ends"), list(enumerate(ENDS)))
def test_outside_the_window_nothing_leaves(
    rigs: Pair, number: int, ends: tuple[Host, Host, int]
) -> None:
    rig = rigs.on
    client, server, version = ends
    connection = Scaled(rig, client, server, 41000 + number, 7000, version=version)
    connection.open_scaled((7, 2))
    connection.data(CLIENT)
    connection.wait_offloaded()
    rig.settle()
    assert record_of(connection)["checks_window"]
    for side in (CLIENT, SERVER):
        for what, seq, ack in FORGED:
            before = rig.ask("status")
            assert connection.send(side, connection.forge(side, seq, ack)) == [], what
            after = rig.ask("status")
            assert after["punts"]["WINDOW"] - before["punts"].get("WINDOW", 0) == 1
            assert after["eswitch_punts"]["WINDOW"] - before["eswitch_punts"]["WINDOW"] == 1
            assert after["conntrack"]["invalid"] - before["conntrack"].get("invalid", 0) == 1
            assert sum(after["drops"]["pipeline"].values()) == 1 + sum(
                before["drops"]["pipeline"].values()
            )
            # The connection has not noticed: the next segment goes by its entry.
            counted = record_of(connection)["entries"][side]["packets"]
            connection.data(side, b"genuine")
            assert record_of(connection)["entries"][side]["packets"] == counted + 1
    assert record_of(connection)["checks_window"]
    rig.ask("conntrack-flush", filter=connection.words)


def test_registers_that_lag_behind_software_are_raised(rigs: Pair) -> None:
    """A FIN is software's: what acknowledges it is beyond the registers once, and not again."""
    rig = rigs.on
    connection = Scaled(rig, A, EXT, 41100, 7002)
    connection.open_scaled((7, 2))
    connection.data(CLIENT)
    connection.wait_offloaded()
    rig.settle()
    connection.step(CLIENT, FIN | ACK)
    before = rig.ask("status")["punts"].get("WINDOW", 0)
    connection.step(SERVER, ACK)
    assert rig.ask("status")["punts"]["WINDOW"] == before + 1
    counted = record_of(connection)["entries"][SERVER]["packets"]
    for _ in range(5):
        connection.step(SERVER, PSH | ACK, b"half-closed")
    assert rig.ask("status")["punts"]["WINDOW"] == before + 1
    assert record_of(connection)["entries"][SERVER]["packets"] == counted + 5
    assert record_of(connection)["checks_window"]
    assert connection.send(SERVER, connection.forge(SERVER, seq=FAR)) == []
    rig.ask("conntrack-flush", filter=connection.words)


class Step(NamedTuple):
    """One segment: `kind` is data, ack, again (the last data once more), probe or forged."""

    kind: str
    side: int
    size: int
    window: int


def trace(seed: int, length: int = 40) -> list[Step]:
    """Two sides that send what the other has room for, in any order, with windows that move."""
    rng = random.Random(seed)
    kinds = ("data", "data", "data", "ack", "again", "probe", "forged")
    return [
        Step(
            rng.choice(kinds),
            rng.randrange(2),
            rng.choice((1, 100, 700, 1400)),
            rng.choice((0, 20000, 30000, 50000, 65535)),
        )
        for _ in range(length)
    ]


def play(connection: Scaled, steps: list[Step]) -> None:
    """Every genuine segment arrives; after each, its receiver knows what it has to acknowledge."""
    last: dict[int, bytes] = {}
    for step in steps:
        side = step.side
        match step.kind:
            case "data":
                payload = bytes(step.size)
                last[side] = connection.step(side, PSH | ACK, payload, window=max(step.window, 1))
                connection.step(1 - side, ACK)
            case "ack":
                connection.step(side, ACK, window=step.window)
            case "again":
                if side in last:
                    connection.deliver(side, last[side])
            case "probe":
                # A keep-alive: the last byte once more.
                old = (connection.next[side] - 1) & 0xFFFFFFFF
                connection.deliver(side, connection.segment(side, ACK, seq=old))
                connection.step(1 - side, ACK)
            case _:
                assert connection.send(side, connection.forge(side, seq=FAR)) == []


def window(connection: Tcp) -> dict[str, Any] | None:
    shown = connection.shown()
    assert shown is not None
    assert not shown["offloaded"]
    return shown["window"]


def other_path(connection: Tcp, *, there: bool) -> None:
    """A policy that sends it another way to the same place: its entries go, it stays."""
    port = connection.ports[SERVER]
    for match in (f"tcp,tp_dst={port}", f"tcp,tp_src={port}"):
        if there:
            connection.rig.ask("flows-add", text=f"table=2,priority=9,{match},actions=NORMAL")
        else:
            connection.rig.ask("flows-delete", match=f"table=2,{match}")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_connection_that_returns_knows_its_windows(rigs: Pair, seed: int) -> None:
    """Twice: returned, used in software, offloaded again with what software then knew."""
    rng = random.Random(seed)
    scales = (rng.randrange(15), rng.randrange(15))
    isn = (rng.getrandbits(32), 0xFFFFFFFF - rng.randrange(3000))  # one of them wraps around
    client, server = rng.choice([(A, B), (A, EXT), (TAG, B)])
    rounds = [trace(10 * seed + number) for number in range(2)]
    results: list[list[dict[str, Any] | None]] = []
    for rig in rigs:
        connection = Scaled(rig, client, server, 42000 + seed, 7001, isn=isn)
        connection.open_scaled(scales)
        seen: list[dict[str, Any] | None] = []
        for number, steps in enumerate(rounds):
            connection.data(CLIENT)
            if rig is rigs.on:
                connection.wait_offloaded()
                rig.settle()
                assert record_of(connection)["checks_window"]
            play(connection, steps)
            if rig is rigs.on:
                entries = record_of(connection)["entries"]
                assert record_of(connection)["checks_window"]
                assert sum(entry["packets"] for entry in entries) > len(steps) / 2
            other_path(connection, there=number == 0)
            seen.append(window(connection))
        results.append(seen)
        rig.ask("conntrack-flush", filter=connection.words)
    assert results[0] == results[1]
    for state in results[0]:
        assert state is not None
        assert [state[side]["scale"] for side in ("original", "reply")] == list(scales)

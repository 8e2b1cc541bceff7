# SPDX-License-Identifier: Apache-2.0
"""Both ends of a connection, played by the test: every segment is well-formed and sent on purpose.

Each packet is waited for at the other end before the next one goes, so a trace is deterministic.
Whatever is sent is counted by direction: that is what accounting is measured against.
"""

from __future__ import annotations

from typing import Any

from topo.tests.invariants.hosts import ACK, FIN, PSH, RST, SYN, Host, echo, tcp, udp
from topo.tests.invariants.rig import Rig, until

CLIENT, SERVER = 0, 1


class Peers:
    """A client and a server on a rig. `sent` holds [packets, frame bytes] of each side."""

    proto = ""

    def __init__(
        self, rig: Rig, client: Host, server: Host, sport: int, dport: int, version: int = 4
    ) -> None:
        self.rig = rig
        self.hosts = (client, server)
        self.ports = (sport, dport)
        self.version = version
        self.sent = [[0, 0], [0, 0]]

    def count(self, side: int, frame: bytes) -> None:
        """Note a frame that was sent (or is about to be) by this side."""
        self.sent[side][0] += 1
        self.sent[side][1] += len(self.hosts[side].wire(frame))

    def deliver(self, side: int, frame: bytes) -> bytes:
        """Send from that side, wait for it at the other, count it."""
        self.rig.deliver(self.hosts[side], self.hosts[1 - side], frame)
        self.count(side, frame)
        return frame

    @property
    def words(self) -> list[str]:
        """Filter words that select this connection."""
        client, server = self.hosts
        return [
            self.proto,
            f"src={client.ip(self.version)}",
            f"dst={server.ip(self.version)}",
            *([f"sport={self.ports[0]}"]),
            *([f"dport={self.ports[1]}"] if self.proto in ("tcp", "udp") else []),
        ]

    def shown(self) -> dict[str, Any] | None:
        """This connection in `p4ct conntrack list`, None if it is not there."""
        found = self.rig.connections(*self.words)
        assert len(found) <= 1, found
        return found[0] if found else None

    def offloaded(self) -> bool:
        shown = self.shown()
        return shown is not None and shown["offloaded"]

    def wait_offloaded(self) -> None:
        until(self.offloaded, f"{' '.join(self.words)} is offloaded")

    def wait_software(self) -> dict[str, Any]:
        """Wait until its entries are gone; what conntrack shows then."""

        def back() -> dict[str, Any] | None:
            shown = self.shown()
            return None if shown is None or shown["offloaded"] else shown

        shown = until(back, f"{' '.join(self.words)} is back in software")
        self.rig.settle()
        return self.shown() or shown


class Tcp(Peers):
    """A TCP connection; sequence numbers are kept for both sides."""

    proto = "tcp"

    def __init__(self, *arguments: Any, isn: tuple[int, int] = (1000, 70000), **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.next = list(isn)

    def segment(self, side: int, flags: int, payload: bytes = b"", **fields: Any) -> bytes:
        """A segment that fits in now; nothing is sent and no sequence number moves."""
        given: dict[str, Any] = {
            "sport": self.ports[side],
            "dport": self.ports[1 - side],
            "seq": self.next[side],
            "ack": self.next[1 - side] if flags & ACK else 0,
            "flags": flags,
            "window": 60000,
            **fields,
        }
        return tcp(self.hosts[side], self.hosts[1 - side], self.version, payload=payload, **given)

    def advance(self, side: int, flags: int, payload: bytes = b"") -> None:
        used = len(payload) + bool(flags & SYN) + bool(flags & FIN)
        self.next[side] = (self.next[side] + used) & 0xFFFFFFFF

    def step(self, side: int, flags: int, payload: bytes = b"", **fields: Any) -> bytes:
        """Send a segment and see it delivered."""
        frame = self.deliver(side, self.segment(side, flags, payload, **fields))
        self.advance(side, flags, payload)
        return frame

    def open(self) -> None:
        """The three-way handshake."""
        self.step(CLIENT, SYN)
        self.step(SERVER, SYN | ACK)
        self.step(CLIENT, ACK)

    def data(self, side: int, payload: bytes = b"data") -> bytes:
        """A segment with data, and its acknowledgement."""
        frame = self.step(side, PSH | ACK, payload)
        self.step(1 - side, ACK)
        return frame

    def establish(self) -> None:
        """Open it, say something, and wait until it is offloaded."""
        self.open()
        self.data(CLIENT)
        self.wait_offloaded()

    def close(self, first: int = CLIENT) -> None:
        """FIN, ACK, FIN, ACK."""
        self.step(first, FIN | ACK)
        self.step(1 - first, ACK)
        self.step(1 - first, FIN | ACK)
        self.step(first, ACK)

    def reset(self, side: int) -> None:
        self.step(side, RST | ACK)


class Udp(Peers):
    """Datagrams between two ports."""

    proto = "udp"

    def datagram(self, side: int, payload: bytes = b"datagram") -> bytes:
        return udp(
            self.hosts[side],
            self.hosts[1 - side],
            self.version,
            self.ports[side],
            self.ports[1 - side],
            payload,
        )

    def data(self, side: int, payload: bytes = b"datagram") -> bytes:
        return self.deliver(side, self.datagram(side, payload))

    def establish(self) -> None:
        """A question and an answer, and one more each way; wait until it is offloaded."""
        for side in (CLIENT, SERVER, CLIENT, SERVER):
            self.data(side)
        self.wait_offloaded()


class Ping(Peers):
    """ICMP or ICMPv6 echo; `sport` is the identifier."""

    def __init__(
        self, rig: Rig, client: Host, server: Host, identifier: int, version: int = 4
    ) -> None:
        super().__init__(rig, client, server, identifier, 0, version)
        self.proto = "icmp" if version == 4 else "icmpv6"
        self.sequence = 0

    def message(self, side: int, payload: bytes = b"echo") -> bytes:
        self.sequence += side == CLIENT
        src, dst = self.hosts[side], self.hosts[1 - side]
        return echo(
            src, dst, self.version, self.ports[0], self.sequence, reply=bool(side), payload=payload
        )

    def data(self, side: int, payload: bytes = b"echo") -> bytes:
        return self.deliver(side, self.message(side, payload))

    def establish(self) -> None:
        """Two round trips; wait until it is offloaded."""
        for side in (CLIENT, SERVER, CLIENT, SERVER):
            self.data(side)
        self.wait_offloaded()

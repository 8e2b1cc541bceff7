# SPDX-License-Identifier: Apache-2.0
"""Who fills the table."""

from __future__ import annotations

import asyncio

from p4ct.conntrack import Tracker
from p4ct.daemon.select import Selection
from p4ct.daemon.sources import Source, largest
from p4ct.packet import parse
from p4ct.packet.build import udp_frame


def send(tracker: Tracker, host: int, ports: range, zone: int = 0, *, answer: bool = False) -> None:
    for port in ports:
        client, server = f"10.0.0.{host}", "10.9.9.9"
        pkt = parse(udp_frame(src=client, dst=server, sport=port, dport=53, payload=b"x"))
        tracker.commit(tracker.track(pkt, zone, 1.0), pkt, 1.0)
        if answer:
            reply = parse(udp_frame(src=server, dst=client, sport=53, dport=port, payload=b"x"))
            tracker.track(reply, zone, 1.0)


def test_the_sources_with_most_connections_come_first() -> None:
    tracker = Tracker()
    send(tracker, 1, range(1, 11))
    send(tracker, 1, range(11, 16), answer=True)
    send(tracker, 2, range(1, 8), zone=5)
    for host in range(10, 200):
        send(tracker, host, range(1, 3), answer=True)

    def ask(words: list[str], most: int) -> list[Source]:
        return asyncio.run(largest(tracker, Selection(words), most))

    one, two = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
    assert ask([], 2) == [Source(15, 0, one, 10), Source(7, 5, two, 7)]
    assert ask(["unreplied"], 5) == [Source(10, 0, one, 10), Source(7, 5, two, 7)]
    assert len(ask(["zone=0"], 1000)) == 191
    assert ask(["zone=9"], 5) == []

# SPDX-License-Identifier: Apache-2.0
"""Frames of TCP connections between two hosts of the topology, without anybody sending them."""

from __future__ import annotations

from typing import NamedTuple

from p4ct.packet.build import tcp_frame

ACK, PSH_ACK, SYN, SYN_ACK, FIN_ACK = 0x10, 0x18, 0x02, 0x12, 0x11
DPORT = 443
PAYLOAD = bytes(100)
#: Initial sequence numbers of the two sides.
CLIENT, SERVER = 1000, 5000


class Side(NamedTuple):
    """One host: its vport (= dataplane port) and addresses."""

    vport: int
    mac: str
    address: str


VM1 = Side(1, "02:00:00:00:00:01", "10.0.0.1")
EXT = Side(3, "02:00:00:00:00:03", "10.0.0.3")


def segment(
    sport: int, to_server: bool, flags: int, seq: int, ack: int, payload: bytes = b""
) -> tuple[int, bytes]:
    """One segment of the connection from this port of vm1: (ingress vport, frame)."""
    source, target = (VM1, EXT) if to_server else (EXT, VM1)
    frame = tcp_frame(
        src=source.address,
        dst=target.address,
        eth_src=source.mac,
        eth_dst=target.mac,
        sport=sport if to_server else DPORT,
        dport=DPORT if to_server else sport,
        seq=seq,
        ack=ack,
        flags=flags,
        payload=payload,
    )
    return source.vport, frame


def life_frames(sport: int) -> list[tuple[int, bytes]]:
    """A whole connection without data: three packets to open it, four to close it."""
    return [
        segment(sport, True, SYN, CLIENT, 0),
        segment(sport, False, SYN_ACK, SERVER, CLIENT + 1),
        segment(sport, True, ACK, CLIENT + 1, SERVER + 1),
        segment(sport, True, FIN_ACK, CLIENT + 1, SERVER + 1),
        segment(sport, False, ACK, SERVER + 1, CLIENT + 2),
        segment(sport, False, FIN_ACK, SERVER + 1, CLIENT + 2),
        segment(sport, True, ACK, CLIENT + 2, SERVER + 2),
    ]


def data_frames(sport: int) -> list[tuple[int, bytes]]:
    """One segment with data each way; alternating, they may come any number of times."""
    return [
        segment(sport, True, PSH_ACK, CLIENT + 1, SERVER + 1, PAYLOAD),
        segment(sport, False, PSH_ACK, SERVER + 1, CLIENT + 1 + len(PAYLOAD), PAYLOAD),
    ]

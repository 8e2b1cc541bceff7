# SPDX-License-Identifier: Apache-2.0
"""The IPv4 fragments of one UDP datagram, as the caller wants them; is it echoed?

    python -m topo.programs.odd_fragments ADDRESS PORT SPORT SIZE OFFSET:LENGTH...

SIZE counts the UDP header. The fragment that ends at SIZE is the last one. Prints true or false.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys

PATIENCE = 1.0
"""Seconds to wait for the echo."""
MORE_FRAGMENTS = 0x2000


def send(address: str, port: int, sport: int, size: int, pieces: list[tuple[int, int]]) -> bool:
    """Send the pieces in this order; whether the datagram came back."""
    # UDP checksum 0: there is none.
    data = struct.pack("!HHHH", sport, port, size, 0) + bytes(n % 251 for n in range(size - 8))
    number = int.from_bytes(os.urandom(2)) or 1
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener,
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sender,
    ):
        listener.bind(("", sport))
        listener.settimeout(PATIENCE)
        for offset, length in pieces:
            more = MORE_FRAGMENTS if offset + length < size else 0
            # The kernel fills in total length, source and checksum.
            header = struct.pack(
                "!BBHHHBBH4s4s",
                *(0x45, 0, 0, number, more | offset // 8, 64, socket.IPPROTO_UDP, 0),
                bytes(4),
                socket.inet_aton(address),
            )
            sender.sendto(header + data[offset : offset + length], (address, 0))
        try:
            return listener.recv(65535) == data[8:]
        except TimeoutError:
            return False


if __name__ == "__main__":
    to, *numbers = sys.argv[1:5]
    port, sport, size = map(int, numbers)
    pairs = [tuple(map(int, piece.split(":"))) for piece in sys.argv[5:]]
    print(json.dumps(send(to, port, sport, size, [(pair[0], pair[1]) for pair in pairs])))

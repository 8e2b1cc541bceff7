# SPDX-License-Identifier: Apache-2.0
"""TFTP (RFC 1350): a server that sends N bytes for the file named N, and a client.

    python -m topo.programs.tftp serve PORT
    python -m topo.programs.tftp get ADDRESS PORT BYTES

The client prints how many bytes it got; 0 if none came.
"""

from __future__ import annotations

import socket
import sys

BLOCK = 512
PATIENCE = 1.0
"""Seconds to wait for an answer."""
READ, DATA, ACK = 1, 3, 4


def packet(opcode: int, number: int, payload: bytes = b"") -> bytes:
    """A DATA or ACK packet."""
    return opcode.to_bytes(2, "big") + number.to_bytes(2, "big") + payload


def serve(port: int) -> None:
    """Answer each request from a port of its own, until killed."""
    listener = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.bind(("::", port))
    print('"ready"', flush=True)
    while True:
        request, client = listener.recvfrom(65535)
        if request[:2] != READ.to_bytes(2, "big"):
            continue
        left = int(request[2:].split(b"\0")[0])
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as transfer:
            transfer.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            transfer.settimeout(PATIENCE)
            transfer.connect(client)
            number = 0
            while left >= 0:
                number += 1
                transfer.send(packet(DATA, number, bytes(min(left, BLOCK))))
                left -= BLOCK
                try:
                    transfer.recv(65535)
                except OSError:
                    break


def get(address: str, port: int, size: int) -> int:
    """Ask for a file and acknowledge its blocks; its bytes."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    got = 0
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.sendto(READ.to_bytes(2, "big") + f"{size}\0octet\0".encode(), (address, port))
        while True:
            try:
                data, server = client.recvfrom(65535)
            except TimeoutError:
                return got
            got += len(data) - 4
            client.sendto(packet(ACK, int.from_bytes(data[2:4], "big")), server)
            if len(data) < 4 + BLOCK:
                return got


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        print(get(sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))

# SPDX-License-Identifier: Apache-2.0
"""UDP datagrams of any size, and a server that sends them back, on both families.

    python -m topo.programs.datagrams serve PORT
    python -m topo.programs.datagrams send ADDRESS PORT SPORT SIZE...

`send` waits for each datagram to come back, and prints {"sent": N, "echoed": N}.
"""

from __future__ import annotations

import json
import select
import socket
import sys

PATIENCE = 2.0
"""Seconds to wait for an answer."""
LONGEST = 65535


def serve(port: int) -> None:
    """Echo until killed."""
    sockets: list[socket.socket] = []
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        server = socket.socket(family, socket.SOCK_DGRAM)
        if family == socket.AF_INET6:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        server.bind((address, port))
        sockets.append(server)
    print('"ready"', flush=True)
    while True:
        for server in select.select(sockets, [], [])[0]:
            data, sender = server.recvfrom(LONGEST)
            server.sendto(data, sender)


def send(address: str, port: int, sport: int, sizes: list[int]) -> dict[str, int]:
    """One datagram of each size, each when the one before is back or given up."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    echoed = 0
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.bind(("", sport))
        client.connect((address, port))
        for number, size in enumerate(sizes):
            data = bytes((number + n) % 251 for n in range(size))
            client.send(data)
            try:
                echoed += client.recv(LONGEST) == data
            except TimeoutError:
                continue
    return {"sent": len(sizes), "echoed": echoed}


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        to, *numbers = sys.argv[2:]
        port, sport, *sizes = map(int, numbers)
        print(json.dumps(send(to, port, sport, sizes)))

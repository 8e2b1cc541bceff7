# SPDX-License-Identifier: Apache-2.0
"""A datagram to a port that nobody listens on: does the sender hear of it?

    python -m topo.programs.refused ADDRESS PORT

Prints {"refused": true} if an ICMP error came back to the socket, which is so only if its quoted
packet is the one that the socket sent.
"""

from __future__ import annotations

import json
import socket
import sys


def main(address: str, port: int) -> None:
    """Send, and wait for the error."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(3.0)
        client.connect((address, port))
        client.send(b"is anybody there?")
        try:
            client.recv(100)
        except ConnectionRefusedError:
            print(json.dumps({"refused": True}))
        except TimeoutError:
            print(json.dumps({"refused": False}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

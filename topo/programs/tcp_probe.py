# SPDX-License-Identifier: Apache-2.0
"""Send single hand-made TCP segments, the way a port scanner does (IPv4, raw socket).

    python -m topo.programs.tcp_probe SOURCE DESTINATION FLAGS PORT[-PORT] ...

FLAGS is a number: 2 is SYN, 16 is ACK.  Prints {"sent": n}.  Needs CAP_NET_RAW.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import time

SOURCE_PORT = 40000
#: Between segments, seconds: a scan should meet the policy, not the punt policer.
PACE = 0.005


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of data of even length."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def segment(source: str, destination: str, port: int, flags: int) -> bytes:
    """A TCP header without options or data, its checksum included."""
    sequence, acknowledgement = 0x10000000 + port, 0x20000000 + port
    fields = (SOURCE_PORT, port, sequence, acknowledgement, 5 << 4, flags, 1024)
    header = struct.pack("!HHIIBBHHH", *fields, 0, 0)
    pseudo = socket.inet_aton(source) + socket.inet_aton(destination)
    pseudo += struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(header))
    return struct.pack("!HHIIBBHHH", *fields, checksum(pseudo + header), 0)


def main(source: str, destination: str, flags: int, ranges: list[str]) -> None:
    """Send one segment to every port."""
    sent = 0
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
        for ports in ranges:
            first, _, last = ports.partition("-")
            for port in range(int(first), int(last or first) + 1):
                raw.sendto(segment(source, destination, port, flags), (destination, 0))
                sent += 1
                time.sleep(PACE)
    print(json.dumps({"sent": sent}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:])

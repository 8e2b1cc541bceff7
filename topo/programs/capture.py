# SPDX-License-Identifier: Apache-2.0
"""Capture on an interface until the standard input ends (AF_PACKET; needs CAP_NET_RAW).

    python -m topo.programs.capture INTERFACE [src=IPV4] [dst=IPV4] [sport=N] [dport=N] [FILE.pcap]

With any of the selections only TCP over IPv4 that fits all of them counts, without one everything
does.  Prints "ready", and at the end the kernel's time stamps of the packets as a JSON list of
seconds (CLOCK_REALTIME).  A FILE.pcap gets the packets themselves.

tcpdump would do, but it insists on giving up root, which is impossible in a user namespace that has
no other user.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
from collections.abc import Mapping
from typing import BinaryIO

ETH_P_ALL = 3
SO_TIMESTAMPNS = 35  # asm-generic/socket.h; the same number names the ancillary message
SNAPLEN = 65535
ETHERNET = 1  # pcap's link type
IPV4_TCP = struct.Struct("!12xHB8xB2x4s4s")  # EtherType, version and length, protocol, addresses


def selects(frame: bytes, wanted: Mapping[str, str]) -> bool:
    """Whether a frame fits the selections; True for any frame when there are none."""
    if not wanted:
        return True
    if len(frame) < 34:
        return False
    eth_type, version_length, protocol, src, dst = IPV4_TCP.unpack_from(frame)
    start = 14 + (version_length & 15) * 4
    if eth_type != 0x0800 or protocol != socket.IPPROTO_TCP or len(frame) < start + 4:
        return False
    sport, dport = struct.unpack_from("!HH", frame, start)
    found = {
        "src": socket.inet_ntoa(src),
        "dst": socket.inet_ntoa(dst),
        "sport": str(sport),
        "dport": str(dport),
    }
    return all(found[key] == value for key, value in wanted.items())


def write_packet(file: BinaryIO, time: tuple[int, int], frame: bytes) -> None:
    """One record of a pcap file with nanosecond time stamps."""
    file.write(struct.pack("<IIII", *time, len(frame), len(frame)) + frame)


def receive(raw: socket.socket) -> tuple[tuple[int, int], bytes]:
    """The next frame with the kernel's time stamp, seconds and nanoseconds."""
    frame, ancillary, _, _ = raw.recvmsg(SNAPLEN, socket.CMSG_SPACE(16))
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
            seconds, nanoseconds = struct.unpack("@ll", data[: struct.calcsize("@ll")])
            return (seconds, nanoseconds), frame
    raise OSError("the kernel gives no time stamps")


def capture(interface: str, wanted: Mapping[str, str], file: BinaryIO | None) -> list[float]:
    """Capture until the standard input ends; the time stamps."""
    times: list[float] = []
    # Protocol 0 until it is bound: one that already captures gets the frames of every interface.
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as raw:
        raw.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        raw.bind((interface, ETH_P_ALL))
        print('"ready"', flush=True)
        while True:
            readable, _, _ = select.select([raw, sys.stdin], [], [])
            # The socket first: what has been captured already counts.
            if raw in readable:
                time, frame = receive(raw)
                if selects(frame, wanted):
                    times.append(time[0] + time[1] / 1e9)
                    if file is not None:
                        write_packet(file, time, frame)
            elif not sys.stdin.read(1):
                return times


def main(interface: str, arguments: list[str]) -> None:
    """Entry point."""
    wanted = dict(a.split("=", 1) for a in arguments if "=" in a)
    paths = [a for a in arguments if "=" not in a]
    if not paths:
        print(json.dumps(capture(interface, wanted, None)))
        return
    with open(paths[0], "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, SNAPLEN, ETHERNET))
        print(json.dumps(capture(interface, wanted, file)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])

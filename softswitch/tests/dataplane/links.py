# SPDX-License-Identifier: Apache-2.0
"""veth pairs, and raw sockets on their far ends."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

PREFIX = f"ssw{os.getpid() % 10000:04d}"


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def make_veth(index: int, mtu: int = 1500) -> tuple[str, str]:
    near, far = f"{PREFIX}n{index}", f"{PREFIX}f{index}"
    ip("link", "add", near, "mtu", str(mtu), "type", "veth", "peer", "name", far, "mtu", str(mtu))
    for name in (near, far):
        Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
        ip("link", "set", name, "up")
    return near, far


def raw(name: str, *, vnet: bool = False) -> socket.socket:
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # captures nothing until it is bound
    s.setsockopt(263, 23, 1)  # SOL_PACKET, PACKET_IGNORE_OUTGOING
    if vnet:
        s.setsockopt(263, 15, 1)  # PACKET_VNET_HDR
    s.setsockopt(263, 8, 1)  # PACKET_AUXDATA: tells the tag that the kernel takes out
    s.bind((name, 3))  # ETH_P_ALL
    s.settimeout(10)
    return s


def receive(s: socket.socket) -> bytes:
    """One frame, with the tag that the kernel took out put back."""
    frame, ancillary, _, _ = s.recvmsg(65536, 256)
    for level, kind, data in ancillary:
        if level == 263 and kind == 8:
            status = int.from_bytes(data[0:4], "little")
            if status & 0x10:  # TP_STATUS_VLAN_VALID
                tci = int.from_bytes(data[16:18], "little").to_bytes(2, "big")
                tpid = int.from_bytes(data[18:20], "little").to_bytes(2, "big")
                frame = frame[:12] + tpid + tci + frame[12:]
    return frame

# SPDX-License-Identifier: Apache-2.0
"""A VLAN sub-interface: a TAP device whose frames carry a tag on the parent's wire.

    python -m topo.tenants.vlan_tap PARENT VLAN NAME

What `ip link add link PARENT type vlan` does, for kernels that are built without 802.1Q.  Prints
"ready" once NAME is there, and relays until it is killed.  NAME may be moved to another network
namespace; the wire stays where this was started.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import sys

ETH_P_ALL = 3
ETH_P_8021Q = 0x8100
MAX_FRAME = 65536
# linux/if_tun.h
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
# linux/if_packet.h
SOL_PACKET, PACKET_AUXDATA, PACKET_IGNORE_OUTGOING = 263, 8, 23
TP_STATUS_VLAN_VALID = 1 << 4
#: tpacket_auxdata: status, len, snaplen, mac, net, vlan_tci, vlan_tpid.
AUXDATA = struct.Struct("@IIIHHHH")


def open_tap(name: str) -> int:
    """A TAP device that exchanges bare Ethernet frames; its file descriptor."""
    tap = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return tap


def open_wire(parent: str) -> socket.socket:
    """A socket for what arrives on the parent; the kernel reports tags beside the frames."""
    # Protocol 0 until it is bound: one that already captures gets the frames of every interface.
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    wire.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    wire.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    wire.bind((parent, ETH_P_ALL))
    return wire


def receive(wire: socket.socket) -> tuple[int | None, bytes]:
    """The next frame without its tag, and the tag's VLAN id (None: untagged)."""
    frame, ancillary, _, _ = wire.recvmsg(MAX_FRAME, socket.CMSG_SPACE(AUXDATA.size))
    for level, kind, data in ancillary:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, *_, tci, _ = AUXDATA.unpack(data[: AUXDATA.size])
            if status & TP_STATUS_VLAN_VALID:
                return tci & 0xFFF, frame
    return None, frame


def main(parent: str, vlan: int, name: str) -> None:
    """Relay between wire and TAP until killed."""
    tag = struct.pack("!HH", ETH_P_8021Q, vlan)
    with open_wire(parent) as wire:
        tap = open_tap(name)
        print('"ready"', flush=True)
        while True:
            readable, _, _ = select.select([wire, tap], [], [])
            if wire in readable:
                found, frame = receive(wire)
                if found == vlan:
                    try:
                        os.write(tap, frame)
                    except OSError:  # not up yet: a frame for a link that is down is lost
                        continue
            if tap in readable:
                frame = os.read(tap, MAX_FRAME)
                wire.send(frame[:12] + tag + frame[12:])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])

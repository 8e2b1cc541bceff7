# SPDX-License-Identifier: Apache-2.0
"""A raw socket on the test's end of a port, with VLAN tags where they were on the wire."""

from __future__ import annotations

import socket
import struct

ETH_P_ALL = 3
SOL_PACKET = 263
PACKET_AUXDATA = 8
PACKET_IGNORE_OUTGOING = 23
SO_RCVBUFFORCE = 33
# struct tpacket_auxdata: status, len, snaplen, mac, net, vlan_tci, vlan_tpid
AUXDATA = struct.Struct("=IIIHHHH")
TP_STATUS_VLAN_VALID = 1 << 4
TP_STATUS_VLAN_TPID_VALID = 1 << 6
MAX_FRAME = 16384
BUFFER = 8 << 20


class PortSocket:
    """Sends and receives whole frames on `link`; made in the namespace of the link."""

    def __init__(self, link: str) -> None:
        # Protocol 0 until it is bound: one that already captures gets every interface's frames.
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self._socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        except PermissionError:  # root of a user namespace only
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self._socket.bind((link, ETH_P_ALL))
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, frame: bytes) -> None:
        """OSError if the kernel refuses it: below 14 bytes, or above the MTU of the link."""
        self._socket.send(frame)

    def receive(self) -> bytes | None:
        """The next frame, or None if there is none yet."""
        try:
            frame, control, _, _ = self._socket.recvmsg(MAX_FRAME, 64)
        except BlockingIOError:
            return None
        for level, kind, data in control:
            if (level, kind) != (SOL_PACKET, PACKET_AUXDATA):
                continue
            status, _, _, _, _, tci, tpid = AUXDATA.unpack_from(data)
            if status & TP_STATUS_VLAN_VALID:
                # The kernel takes the outer tag off a frame before it shows it.
                tpid = tpid if status & TP_STATUS_VLAN_TPID_VALID else 0x8100
                frame = frame[:12] + struct.pack("!HH", tpid, tci) + frame[12:]
        return frame

    def close(self) -> None:
        self._socket.close()

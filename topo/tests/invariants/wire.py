# SPDX-License-Identifier: Apache-2.0
"""The test's ends of the target's ports: sends frames, and records every frame that leaves."""

from __future__ import annotations

import os
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

ETH_P_ALL = 0x0003
SOL_PACKET = 263
PACKET_STATISTICS, PACKET_AUXDATA, PACKET_IGNORE_OUTGOING = 6, 8, 23
SO_RCVBUFFORCE, SO_TIMESTAMPNS = 33, 35
RECEIVE_BUFFER = 64 << 20
#: struct tpacket_auxdata; the kernel takes an 802.1Q tag out of the frame and puts it here.
AUXDATA = struct.Struct("=IIIHHHH")
VLAN_VALID, TPID_VALID = 1 << 4, 1 << 6
TIMESPEC = struct.Struct("@qq")
LONGEST = 65600


class Captured(NamedTuple):
    """A frame that left a port; `time_ns` is the kernel's stamp, of the clock of time.time_ns."""

    port: int
    frame: bytes
    time_ns: int


class Wire:
    """One socket for each port; a thread collects what arrives, in order."""

    def __init__(self, interfaces: Mapping[int, str]) -> None:
        self._log: list[Captured] = []
        self._grown = threading.Condition()
        self._sockets = {port: _open(name) for port, name in interfaces.items()}
        self._wake, self._end = os.pipe()
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    def send(self, port: int, frame: bytes) -> None:
        """Put a frame on the wire towards the target. Any thread may."""
        while True:
            try:
                self._sockets[port].send(frame)
                return
            except BlockingIOError:
                time.sleep(0.0005)

    @property
    def mark(self) -> int:
        """How many frames were captured so far: a place in the record."""
        return len(self._log)

    def since(self, mark: int = 0) -> list[Captured]:
        """Everything that was captured after that place."""
        return self._log[mark:]

    def wait(self, wanted: Callable[[Captured], bool], mark: int, timeout: float) -> bool:
        """Until a frame captured after `mark` is wanted; False when `timeout` seconds pass."""
        deadline = time.monotonic() + timeout
        with self._grown:
            while True:
                while mark < len(self._log):
                    if wanted(self._log[mark]):
                        return True
                    mark += 1
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._grown.wait(left)

    def close(self) -> None:
        """Stop collecting. Raises AssertionError if the kernel had to drop frames: what was
        captured is then no proof of anything."""
        os.write(self._end, b"x")
        self._thread.join()
        lost = 0
        for sock in self._sockets.values():
            lost += struct.unpack("=II", sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]
            sock.close()
        os.close(self._wake)
        os.close(self._end)
        assert not lost, f"the capture itself lost {lost} frames"

    def _collect(self) -> None:
        with selectors.DefaultSelector() as selector:
            for port, sock in self._sockets.items():
                selector.register(sock, selectors.EVENT_READ, port)
            selector.register(self._wake, selectors.EVENT_READ, None)
            while True:
                for key, _ in selector.select():
                    if key.data is None:
                        return
                    self._drain(key.data)

    def _drain(self, port: int) -> None:
        sock = self._sockets[port]
        taken: list[Captured] = []
        while len(taken) < 256:
            try:
                frame, extra, _, _ = sock.recvmsg(LONGEST, 256)
            except BlockingIOError:
                break
            taken.append(_captured(port, frame, extra))
        with self._grown:
            self._log += taken
            self._grown.notify_all()


def _open(interface: str) -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
    except PermissionError:  # root of a user namespace only
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    sock.setblocking(False)
    sock.bind((interface, ETH_P_ALL))
    return sock


def _captured(port: int, frame: bytes, extra: list[tuple[int, int, bytes]]) -> Captured:
    stamp = 0
    for level, kind, data in extra:
        if level == SOL_PACKET and kind == PACKET_AUXDATA:
            status, _, _, _, _, tci, tpid = AUXDATA.unpack(data[: AUXDATA.size])
            if status & VLAN_VALID:
                tag = tpid if status & TPID_VALID else 0x8100
                frame = frame[:12] + tag.to_bytes(2, "big") + tci.to_bytes(2, "big") + frame[12:]
        elif level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = TIMESPEC.unpack(data[: TIMESPEC.size])
            stamp = seconds * 1_000_000_000 + nanoseconds
    return Captured(port, frame, stamp)

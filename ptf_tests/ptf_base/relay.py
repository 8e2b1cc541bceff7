# SPDX-License-Identifier: Apache-2.0
"""An abstract Unix socket that leads to a TCP port in another network namespace.

gRPC makes its sockets in threads of its own, which stay in the namespace of the process.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable


class Relay:
    """Listens on `name`; `connect` opens the other side of each connection."""

    def __init__(self, name: str, connect: Callable[[], socket.socket]) -> None:
        self.address = f"unix-abstract:{name}"
        self._connect = connect
        self._open: set[socket.socket] = set()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(f"\0{name}")
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """End every connection and stop listening."""
        for sock in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return  # closed
            try:
                there = self._connect()
            except OSError:
                here.close()  # gRPC says that the target is unavailable, and tries again
                continue
            self._open |= {here, there}
            for source, sink in ((here, there), (there, here)):
                threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
        for sock in (source, sink):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        source.close()
        self._open.discard(source)

# SPDX-License-Identifier: Apache-2.0
"""Watches the links of the interfaces, for action profile members that depend on a port."""

from __future__ import annotations

import fcntl
import logging
import socket
import struct
import threading

from softswitch.api import DataplaneApi
from softswitch.errors import PortError

PERIOD_S = 0.2
"""BMv2 takes up to half a second to notice."""
_GET_FLAGS = 0x8913  # SIOCGIFFLAGS
_UP, _RUNNING = 0x1, 0x40  # IFF_UP, IFF_RUNNING

log = logging.getLogger("softswitch")


class LinkMonitor:
    """Tells the data plane when a link goes down or comes back.

    An interface that has vanished is the data plane's own business.
    """

    def __init__(self, dataplane: DataplaneApi) -> None:
        self._dataplane = dataplane
        self._known: dict[int, bool] = {}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def check(self) -> None:
        """Look at every interface once."""
        for port, name in self._dataplane.ports().items():
            up = None if name is None else self._is_up(name)
            if up is None:
                self._known.pop(port, None)
            elif self._known.get(port, True) != up:
                log.info("port %d: the link of %s is %s", port, name, "up" if up else "down")
                try:
                    self._dataplane.set_port_up(port, up)
                except PortError:
                    continue  # removed meanwhile
            if up is not None:
                self._known[port] = up

    def _is_up(self, name: str) -> bool | None:
        """Is the link up? None: there is no such interface."""
        request = struct.pack("16sh14x", name.encode(), 0)
        try:
            answer = fcntl.ioctl(self._socket, _GET_FLAGS, request)
        except OSError:
            return None
        (flags,) = struct.unpack_from("H", answer, 16)
        return bool(flags & _UP and flags & _RUNNING)

    def run(self, stopping: threading.Event) -> None:
        """Look again and again until `stopping` is set."""
        while not stopping.wait(PERIOD_S):
            self.check()
        self._socket.close()

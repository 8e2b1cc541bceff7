# SPDX-License-Identifier: Apache-2.0
"""Follows the link state of interfaces, for group members that watch a port.

The runtime learns by itself that an interface has vanished; that its link is down (no carrier, the
peer down, set down) is asked for here, a few times a second, as long as some group cares.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import threading
from collections.abc import Callable, Mapping

PERIOD_S = 0.2
SIOCGIFFLAGS = 0x8913
IFF_UP, IFF_RUNNING = 0x1, 0x40


def has_link(ifname: str) -> bool:
    """Is the interface up, with carrier? False if it does not exist."""
    request = struct.pack("16sH14x", ifname.encode()[:15], 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            answer = fcntl.ioctl(sock, SIOCGIFFLAGS, request)
        except OSError:
            return False
    flags = int(struct.unpack("16sH14x", answer)[1])
    return flags & (IFF_UP | IFF_RUNNING) == IFF_UP | IFF_RUNNING


class LinkWatch(threading.Thread):
    """Tells `changed(port, has_link)` at the start and whenever an answer differs from the last."""

    def __init__(
        self,
        ports: Callable[[], Mapping[int, str | None]],
        changed: Callable[[int, bool], None],
        stopped: threading.Event,
    ) -> None:
        super().__init__(name="links", daemon=True)
        self._ports = ports
        self._changed = changed
        self._stopped = stopped
        self._known: dict[tuple[int, str], bool] = {}

    def run(self) -> None:
        while not self._stopped.wait(PERIOD_S):
            self.look()

    def ask_again(self) -> None:
        """Somebody else looked at a link meanwhile: every answer counts as new."""
        self._known = {}

    def look(self) -> None:
        interfaces = {(port, name) for port, name in self._ports().items() if name is not None}
        self._known = {item: state for item, state in self._known.items() if item in interfaces}
        for port, name in sorted(interfaces):
            state = has_link(name)
            if self._known.get((port, name)) != state:
                self._known[port, name] = state
                self._changed(port, state)

# SPDX-License-Identifier: Apache-2.0
"""Connections of the kernel of this machine, taken over and followed (`conntrack.kernel_sync`).

For a controller that takes over from a kernel datapath: what existed before it started is known.
The kernel's table is read once, and its events are followed. A connection whose packets come to the
controller is the controller's from then on: the kernel does not change it any more.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import time
from collections import Counter
from collections.abc import Callable

from p4ct.conntrack import Connection, ConntrackFull, Tracker, Tuple
from p4ct.conntrack.ctnetlink import Change, changes, dump_request
from p4ct.conntrack.saved import Saved

__all__ = ["KernelSync", "KernelSyncError", "open_socket"]

log = logging.getLogger("p4ct.sync")

_NETLINK_NETFILTER = 12
_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_GROUPS = (1, 2, 3)  # NFNLGRP_CONNTRACK_NEW, _UPDATE, _DESTROY
_RECEIVE_BUFFER = 8 << 20
_AT_ONCE = 64
"""Datagrams that are read before packets get their turn again."""


class KernelSyncError(Exception):
    """The kernel's table cannot be followed; the text says why and what to do."""


def open_socket() -> socket.socket:
    """A socket that hears what happens in the network namespace of the caller."""
    try:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        sock.bind((0, 0))
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        for group in _GROUPS:
            sock.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
    except OSError as error:
        raise KernelSyncError(
            f"conntrack.kernel_sync: the kernel's connection table cannot be followed "
            f"({error.strerror}); it needs CAP_NET_ADMIN and the module nf_conntrack_netlink"
        ) from None
    return sock


class KernelSync:
    """Follows one kernel table into one tracker. `stats`: how often "taken", "updated", "removed",
    "refused" (no room, or a tuple that is another's), "overrun" (events lost; the table is read
    again)."""

    def __init__(self, tracker: Tracker, clock: Callable[[], float], sock: socket.socket) -> None:
        self.tracker = tracker
        self.clock = clock
        self.stats: Counter[str] = Counter()
        self._socket = sock
        self._sequence = 0
        self._reading = False
        #: (zone, original tuple) -> the connection as it was taken over, and its packets then.
        self._taken: dict[tuple[int, Tuple], tuple[Connection, tuple[int, int]]] = {}
        #: The table was read to its end.
        self.read = asyncio.Event()

    def start(self) -> None:
        """Read the table, and follow it from inside the running event loop."""
        self._ask()
        asyncio.get_running_loop().add_reader(self._socket, self._readable)

    def stop(self) -> None:
        """Idempotent."""
        if self._socket.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()

    def _ask(self) -> None:
        self._sequence += 1
        self._reading = True
        try:
            self._socket.send(dump_request(self._sequence))
        except OSError as error:
            log.warning("the kernel's table cannot be read: %s", error.strerror)

    def _readable(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                data = self._socket.recv(1 << 17)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    log.warning("the kernel's table is not followed any more: %s", error.strerror)
                    self.stop()
                    return
                self.stats["overrun"] += 1
                if not self._reading:
                    self._ask()
                continue
            for change in changes(data, time.time()):
                self._apply(change)

    def _apply(self, change: Change) -> None:
        if change.kind == "done":
            self._reading = False
            self.read.set()
            log.info("the kernel's table was read: %d connections taken", len(self._taken))
        elif change.kind == "error":
            self._reading = False
            log.warning("the kernel's table cannot be read: %s", os.strerror(change.code))
        elif change.saved is not None:
            if change.kind == "new":
                self._new(change.saved)
            else:
                self._gone(change.saved)

    def _new(self, saved: Saved) -> None:
        now = self.clock()
        key = saved.zone, saved.original
        known = self.tracker.find(saved.original, saved.zone)
        if known is not None:
            conn = self._own(key, known[0])
            if conn is None:
                return
            self.tracker.remove(conn, now)
        try:
            loaded = self.tracker.load(saved, now)
        except ConntrackFull:
            loaded = False
        found = self.tracker.find(saved.original, saved.zone) if loaded else None
        if found is None:
            self._taken.pop(key, None)
            self.stats["refused"] += 1
            return
        self.stats["taken" if known is None else "updated"] += 1
        self._taken[key] = found[0], found[0].packets

    def _gone(self, saved: Saved) -> None:
        key = saved.zone, saved.original
        taken = self._taken.get(key)
        conn = None if taken is None else self._own(key, taken[0])
        self._taken.pop(key, None)
        if conn is not None:
            self.tracker.remove(conn, self.clock())
            self.stats["removed"] += 1

    def _own(self, key: tuple[int, Tuple], conn: Connection) -> Connection | None:
        """The connection if it was taken over and no packet of it has come here since."""
        taken = self._taken.get(key)
        if taken is None or taken[0] is not conn or not conn.alive:
            return None
        return conn if conn.packets == taken[1] and conn.offload is None else None

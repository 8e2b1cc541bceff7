# SPDX-License-Identifier: Apache-2.0
"""What happens to connections, as JSON lines for whoever listens.

An event is `{"event": NAME, "time": SECONDS, "connection": {...}}`, where the connection is as in
`p4ct conntrack list --json`, at that moment. Names:

- `new`, `update` (its state), `assured`: as in ctnetlink;
- `offload`: its entries forward (`entry`: index and generation); `onload`: it is back in software
  (`cause`); `offload_failed`: the switch refused (`cause`);
- `destroy`: it is gone. If it had entries, the event comes when they are gone too and their last
  counters were read, so its counters are final.

A listener that does not keep up loses events: `{"event": "lost", "number": N}` stands where they
would have been.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any

import msgspec

from p4ct.conntrack import Connection, Event
from p4ct.daemon import views
from p4ct.daemon.select import Selection
from p4ct.offload.manager import OffloadManager
from p4ct.offload.record import Record

__all__ = ["MAX_QUEUED", "EventStream", "Listener"]

MAX_QUEUED = 10_000
"""Events that wait for one listener; more are lost, and counted."""


class Listener:
    """One reader's events, oldest first."""

    def __init__(self, selection: Selection, limit: int) -> None:
        self.selection = selection
        self.limit = limit
        self.lost = 0
        self._lines: deque[bytes] = deque()
        self._lost_here = 0
        self._some = asyncio.Event()

    def put(self, line: bytes) -> None:
        """Add one event, or count it as lost."""
        if len(self._lines) >= self.limit:
            self.lost += 1
            self._lost_here += 1
            return
        self._mark_lost()
        self._lines.append(line)
        self._some.set()

    def _mark_lost(self) -> None:
        if self._lost_here:
            self._lines.append(_line({"event": "lost", "number": self._lost_here}))
            self._lost_here = 0

    async def take(self) -> bytes:
        """All lines that wait; waits for the first."""
        await self._some.wait()
        lines = b"".join(self._lines)
        self._lines.clear()
        self._mark_lost()
        if not self._lines:
            self._some.clear()
        return lines


class EventStream:
    """Turns events of conntrack and offload into lines. Without listeners it does nothing."""

    def __init__(self, manager: OffloadManager, *, limit: int = MAX_QUEUED) -> None:
        self.manager = manager
        self.limit = limit
        #: Events that listeners have lost since the start.
        self.lost = 0
        self._listeners: set[Listener] = set()

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    def listen(self, selection: Selection) -> Listener:
        """Events of the connections that fit, from now on. End it with `leave`."""
        listener = Listener(selection, self.limit)
        self._listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        """No more events for this listener."""
        self._listeners.discard(listener)
        self.lost += listener.lost

    def conntrack(self, event: Event, conn: Connection, now: float) -> None:
        """Conntrack says so; to be called before the offload manager hears of it."""
        if not self._listeners:
            return
        record = self.manager.of_connection.get(conn.id) if event is Event.DESTROY else None
        if record is None:
            self._publish(event.value, conn, now)
        else:
            record.on_gone.append(lambda: self._publish(event.value, conn, now))

    def offload(self, what: str, record: Record, detail: str, now: float) -> None:
        """The offload manager says so, for each connection of the record."""
        if not self._listeners:
            return
        more: dict[str, Any] = {"entry": f"{record.index}/{record.generation}"}
        if detail:
            more["cause"] = detail
        for member in record.members:
            self._publish(what, member.connection, now, more)

    def _publish(
        self, name: str, conn: Connection, now: float, more: dict[str, Any] | None = None
    ) -> None:
        line = b""
        for listener in self._listeners:
            if listener.selection.fits(conn):
                line = line or _line(
                    {
                        "event": name,
                        "time": round(time.time(), 6),
                        **(more or {}),
                        "connection": views.connection(conn, now),
                    }
                )
                listener.put(line)


def _line(event: dict[str, Any]) -> bytes:
    return msgspec.json.encode(event) + b"\n"

# SPDX-License-Identifier: Apache-2.0
"""One open StreamChannel: the bounded queue of what goes to the client."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt

from softswitch.p4runtime.arbitration import Client
from softswitch.p4runtime.errors import P4RuntimeError

QUEUE_LIMIT = 8192
"""Packet-ins and notifications that wait for a slow client; more are dropped and counted."""
QUEUE_BYTES = 32 << 20
"""Their bytes: 8192 frames of 64 KB would be half a gigabyte for each client."""
CONTROL_LIMIT = 1024
"""Arbitration updates and errors beyond that; a client that lets so many wait is cut off."""

log = logging.getLogger("softswitch.p4runtime")


class StreamSession(Client):
    """A client's stream. Any thread may call any method."""

    def __init__(self, peer: str, cut_off: Callable[[], object]) -> None:
        """`peer`: for log messages. `cut_off` ends the RPC at once."""
        super().__init__()
        self.peer = peer
        self._cut_off = cut_off
        self.dropped = 0
        self.error: P4RuntimeError | None = None
        self._changed = threading.Condition()
        self._queue: deque[bytes] = deque()
        self._bytes = 0
        self._closed = False

    def send(self, message: p4rt.StreamMessageResponse) -> None:
        """Queue an arbitration update or an error: never dropped."""
        data = message.SerializeToString()
        with self._changed:
            if len(self._queue) < QUEUE_LIMIT + CONTROL_LIMIT:
                self._queue.append(data)
                self._changed.notify()
                return
        log.warning("%s does not read its stream: cutting it off", self.peer)
        self.close()
        self._cut_off()

    def offer(self, messages: Sequence[bytes]) -> int:
        """Queue serialized packet-ins or notifications; returns how many found no room."""
        with self._changed:
            room = 0 if self._closed else max(0, QUEUE_LIMIT - len(self._queue))
            length = sum(map(len, messages))
            if self._bytes + length > QUEUE_BYTES:
                fits = accumulate(map(len, messages), initial=self._bytes)
                room = min(room, sum(1 for end in fits if end <= QUEUE_BYTES) - 1)
            taken = messages[:room] if room < len(messages) else messages
            self._bytes += length if taken is messages else sum(map(len, taken))
            self._queue.extend(taken)
            self._changed.notify()
            lost = max(0, len(messages) - room)
            first = lost and not self.dropped
            self.dropped += lost
        if first:
            log.warning("%s reads too slowly: dropping packet-ins and notifications", self.peer)
        return lost

    def close(self, error: P4RuntimeError | None = None) -> None:
        """End the stream once what is queued has been sent; `error` becomes its status."""
        with self._changed:
            if not self._closed:
                self._closed, self.error = True, error
                self._changed.notify()

    def messages(self) -> Iterator[bytes]:
        """Serialized responses in order, until the session is closed."""
        while True:
            with self._changed:
                while not self._queue and not self._closed:
                    self._changed.wait()
                if not self._queue:
                    return
                batch, self._queue = self._queue, deque()
                self._bytes = 0
            yield from batch

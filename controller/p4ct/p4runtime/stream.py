# SPDX-License-Identifier: Apache-2.0
"""One P4Runtime stream: arbitration, packets and notifications, from open to closed."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import grpc
import grpc.aio
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt

from p4ct.p4runtime.errors import Closed
from p4ct.p4runtime.transport import StreamCall, code_name

log = logging.getLogger(__name__)

PacketInCallback = Callable[[bytes, tuple[int, ...]], None]
"""(frame, header fields in the order of their P4Info ids)."""
RoleCallback = Callable[[bool], None]
"""True when we become primary, False when we become a backup."""
IdleCallback = Callable[[Sequence[p4rt.TableEntry]], None]


@dataclass(slots=True)
class StreamStats:
    """Counted since the client was made, across reconnects."""

    packet_ins: int = 0
    packet_ins_malformed: int = 0
    packet_outs: int = 0
    packet_outs_dropped: int = 0
    idle_notifications: int = 0
    stream_errors: int = 0
    ignored: int = 0
    callback_errors: int = 0


@dataclass(slots=True)
class Callbacks:
    """Called from the stream's reader task, so they must not block. Exceptions are logged."""

    packet_in: PacketInCallback | None = None
    role: RoleCallback | None = None
    idle: IdleCallback | None = None


class Stream:
    """Two tasks on one call: a reader that calls back, and a writer behind a bounded queue.

    `closed` gets the reason when the stream ends, whoever ended it; it never holds an exception.
    """

    def __init__(
        self,
        call: StreamCall,
        callbacks: Callbacks,
        stats: StreamStats,
        packet_in_ids: tuple[int, ...],
        max_queue: int,
    ) -> None:
        self._call = call
        self._callbacks = callbacks
        self._stats = stats
        self.packet_in_ids = packet_in_ids
        self._max_queue = max_queue
        self._queue: deque[p4rt.StreamMessageRequest] = deque()
        self._wake = asyncio.Event()
        loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[Closed] = loop.create_future()
        self.first_answer: asyncio.Future[None] = loop.create_future()
        self.primary = False
        self._closing = False
        self._tasks = [
            loop.create_task(self._read(), name="p4runtime-reader"),
            loop.create_task(self._write(), name="p4runtime-writer"),
        ]

    def send(self, message: p4rt.StreamMessageRequest) -> bool:
        """Queue a message. False, and it is dropped, if the queue is full or we are closed."""
        if len(self._queue) >= self._max_queue or self.closed.done():
            return False
        self._queue.append(message)
        self._wake.set()
        return True

    async def close(self) -> None:
        """End the call and both tasks. Idempotent."""
        self._closing = True
        self._call.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._end(Closed("CANCELLED", "closed by the controller", requested=True))

    async def _read(self) -> None:
        try:
            while True:
                message = await self._call.read()
                if not isinstance(message, p4rt.StreamMessageResponse):
                    break
                self._dispatch(message)
            code = await self._call.code()
            details = str(await self._call.details() or "")
            self._end(Closed(code.name, details or "the target ended the stream"))
        except grpc.aio.AioRpcError as error:
            self._end(Closed(error.code().name, error.details() or ""))
        except asyncio.CancelledError:
            self._end(Closed("CANCELLED", "the call was cancelled", requested=self._closing))
            if self._closing:
                raise
        finally:
            self._tasks[1].cancel()

    async def _write(self) -> None:
        # Why the call broke down is the reader's to tell.
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._queue:
                    await self._call.write(self._queue.popleft())

    def _end(self, reason: Closed) -> None:
        self.primary = False
        self._queue.clear()
        if not self.closed.done():
            self.closed.set_result(reason)
        if not self.first_answer.done():
            self.first_answer.set_result(None)

    def _dispatch(self, message: p4rt.StreamMessageResponse) -> None:
        kind = message.WhichOneof("update")
        try:
            if kind == "packet":
                self._packet_in(message.packet)
            elif kind == "arbitration":
                self._arbitration(message.arbitration)
            elif kind == "idle_timeout_notification":
                self._stats.idle_notifications += 1
                if self._callbacks.idle is not None:
                    self._callbacks.idle(message.idle_timeout_notification.table_entry)
            elif kind == "error":
                self._stats.stream_errors += 1
                error = message.error
                name = code_name(error.canonical_code)
                log.warning("the target refused a stream message: %s (%s)", error.message, name)
            else:
                self._stats.ignored += 1
        except Exception:
            # A fault in what we call back must not cost the stream, and with it the target.
            self._stats.callback_errors += 1
            log.exception("error while handling a %s from the target", kind)

    def _packet_in(self, packet: p4rt.PacketIn) -> None:
        callback = self._callbacks.packet_in
        if callback is None:
            self._stats.ignored += 1
            return
        from_bytes = int.from_bytes
        metadata = packet.metadata
        ids = self.packet_in_ids
        if tuple([field.metadata_id for field in metadata]) == ids:
            values = tuple([from_bytes(field.value, "big") for field in metadata])
        else:
            by_id = {field.metadata_id: field.value for field in metadata}
            if any(id_ not in by_id for id_ in ids):
                self._stats.packet_ins_malformed += 1
                return
            values = tuple([from_bytes(by_id[id_], "big") for id_ in ids])
        self._stats.packet_ins += 1
        callback(packet.payload, values)

    def _arbitration(self, answer: p4rt.MasterArbitrationUpdate) -> None:
        # Only the status counts: BMv2 names a lower election id than ours when it promotes us.
        primary = answer.status.code == 0
        first = not self.first_answer.done()
        changed = primary != self.primary
        self.primary = primary
        if first:
            self.first_answer.set_result(None)
        if (first or changed) and self._callbacks.role is not None:
            self._callbacks.role(primary)

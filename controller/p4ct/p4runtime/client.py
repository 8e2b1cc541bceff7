# SPDX-License-Identifier: Apache-2.0
"""A thin asyncio P4Runtime client for one device of one target, whatever its program.

    client = P4RuntimeClient("127.0.0.1:9559", on_packet_in=…)
    primary = await client.connect()
    await client.ensure_pipeline(p4info, config, pipeline_cookie(p4info, config))
    errors = await client.write(updates)
    reason = await client.closed        # then connect() again, if wanted

P4Runtime specification 1.5; what BMv2 does otherwise is said where it matters.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Sequence
from typing import Literal

import grpc
import grpc.aio
from p4rt_stubs.p4.config.v1 import p4info_pb2
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt

from p4ct.p4runtime.errors import (
    Closed,
    ElectionIdInUse,
    PipelineRejected,
    TargetError,
    TargetUnavailable,
    UpdateError,
    stream_refused,
)
from p4ct.p4runtime.p4info import P4InfoIndex
from p4ct.p4runtime.stream import (
    Callbacks,
    IdleCallback,
    PacketInCallback,
    RoleCallback,
    Stream,
    StreamStats,
)
from p4ct.p4runtime.transport import Transport, call_failure, code_name, update_errors
from p4ct.p4runtime.write_stats import WriteStats

Pipeline = Literal["kept", "pushed"]
OnConflict = Literal["fail", "lower", "higher"]

_ELECTION_ATTEMPTS = 16

_UNREACHABLE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)

# A target that answers a Write with one of these as a whole has not begun to carry it out.
_NOT_CARRIED_OUT = frozenset(
    {
        "FAILED_PRECONDITION",
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "PERMISSION_DENIED",
        "UNAUTHENTICATED",
        "UNIMPLEMENTED",
    }
)


def pipeline_cookie(p4info: p4info_pb2.P4Info, config: bytes) -> int:
    """A 64-bit number, never 0, that names this P4Info and this device configuration."""
    digest = hashlib.sha256(p4info.SerializeToString(deterministic=True))
    digest.update(config)
    return int.from_bytes(digest.digest()[:8], "big") or 1


class P4RuntimeClient:
    """Construct it inside the event loop that uses it; `connect` may be called again once closed.

    `election_id`: the highest of all controllers is primary. `on_conflict`: what `connect` does if
    a live controller has our election id: fail, or try the next lower (be its backup) or higher
    (take over). `max_queue`: packet-outs and other stream messages that may wait to be sent.
    `max_batch`: updates in one Write; more are sent as several.

    Callbacks run in the reader task, one after the other, and must not block.
    """

    def __init__(
        self,
        address: str,
        *,
        device_id: int = 0,
        election_id: int = 1,
        on_conflict: OnConflict = "fail",
        on_packet_in: PacketInCallback | None = None,
        on_role: RoleCallback | None = None,
        on_idle: IdleCallback | None = None,
        max_queue: int = 4096,
        max_batch: int = 1000,
    ) -> None:
        self.address = address
        self.device_id = device_id
        self.election_id = election_id
        self.callbacks = Callbacks(on_packet_in, on_role, on_idle)
        self.stats = StreamStats()
        self.writes = WriteStats()
        self.p4info: P4InfoIndex | None = None
        self._on_conflict = on_conflict
        self._max_queue = max_queue
        self._max_batch = max_batch
        self._packet_in_ids: tuple[int, ...] = ()
        self._transport: Transport | None = None
        self._stream: Stream | None = None

    # Session

    @property
    def connected(self) -> bool:
        """True from a successful `connect` until the stream ends."""
        return self._stream is not None and not self._stream.closed.done()

    @property
    def primary(self) -> bool:
        """True while the target takes writes and packet-outs from us."""
        return self._stream is not None and self._stream.primary

    @property
    def closed(self) -> "asyncio.Future[Closed]":
        """Done when the stream has ended, with the reason; never holds an exception."""
        if self._stream is None:
            raise RuntimeError("connect() first")
        # Shielded: a waiter that is cancelled must not take the future with it.
        return asyncio.shield(self._stream.closed)

    async def connect(self, timeout: float = 10.0) -> bool:
        """Reach the target, open the stream and take part in arbitration: True if primary.

        `timeout`: seconds to keep trying to reach it, and then to wait for its answer. Raises
        TargetUnavailable, ElectionIdInUse, or TargetError for any other refusal.
        """
        await self.close()
        transport = Transport(self.address)
        try:
            await self._reach(transport, timeout)
            self._stream = await self._open(transport, timeout)
        except BaseException:
            await transport.close()
            raise
        self._transport = transport
        return self._stream.primary

    async def close(self) -> None:
        """End the stream and the connection. Idempotent; leaves no task behind."""
        stream, transport, self._transport = self._stream, self._transport, None
        if stream is not None:
            await stream.close()
        if transport is not None:
            await transport.close()

    async def _reach(self, transport: Transport, timeout: float) -> None:
        try:
            await asyncio.wait_for(transport.channel.channel_ready(), timeout)
        except TimeoutError:
            try:
                await transport.capabilities(p4rt.CapabilitiesRequest(), timeout=1.0)
            except grpc.aio.AioRpcError as error:
                if error.code() not in _UNREACHABLE:
                    return
                raise TargetUnavailable(
                    self.address,
                    f"no P4Runtime target within {timeout:g} s",
                    error.code().name,
                    error.details() or "",
                    "start the target, or correct its address",
                ) from None

    async def _open(self, transport: Transport, timeout: float) -> Stream:
        for attempt in range(_ELECTION_ATTEMPTS):
            stream = Stream(
                transport.stream(), self.callbacks, self.stats, self._packet_in_ids, self._max_queue
            )
            stream.send(self._arbitration())
            try:
                await asyncio.wait_for(asyncio.shield(stream.first_answer), timeout)
            except TimeoutError:
                await stream.close()
                raise TargetError(
                    self.address,
                    "arbitration",
                    "DEADLINE_EXCEEDED",
                    f"no answer within {timeout:g} s",
                    "restart the target, it accepts connections but does not answer",
                ) from None
            except BaseException:
                await stream.close()
                raise
            if not stream.closed.done():
                return stream
            reason = stream.closed.result()
            await stream.close()
            error = stream_refused(self.address, self.device_id, self.election_id, reason)
            step = {"fail": 0, "lower": -1, "higher": 1}[self._on_conflict]
            last = attempt + 1 == _ELECTION_ATTEMPTS or self.election_id + step < 1
            if not isinstance(error, ElectionIdInUse) or step == 0 or last:
                raise error
            self.election_id += step
        raise AssertionError("the last attempt returns or raises")

    def _arbitration(self) -> p4rt.StreamMessageRequest:
        message = p4rt.StreamMessageRequest()
        message.arbitration.device_id = self.device_id
        _set_uint128(message.arbitration.election_id, self.election_id)
        return message

    # Pipeline

    def use_p4info(self, p4info: P4InfoIndex) -> None:
        """Decode packet-in headers, and name entries in errors, by this P4Info."""
        self.p4info = p4info
        header = p4info.headers.find("packet_in")
        ids = sorted(field.id for field in header.fields) if header is not None else []
        self._packet_in_ids = tuple(ids)
        if self._stream is not None:
            self._stream.packet_in_ids = self._packet_in_ids

    async def ensure_pipeline(
        self, p4info: p4info_pb2.P4Info, config: bytes, cookie: int, timeout: float = 120.0
    ) -> Pipeline:
        """Run this program: pushed only if the target runs another, for a push clears every table.

        `config`: the device configuration, p4c's JSON for BMv2 and softswitch. `cookie`: see
        `pipeline_cookie`. Raises PipelineRejected or TargetError.
        """
        self.use_p4info(P4InfoIndex(p4info))
        if await self.get_cookie() == cookie:
            return "kept"
        request = p4rt.SetForwardingPipelineConfigRequest(
            device_id=self.device_id,
            action=p4rt.SetForwardingPipelineConfigRequest.VERIFY_AND_COMMIT,
        )
        _set_uint128(request.election_id, self.election_id)
        request.config.p4info.CopyFrom(p4info)
        request.config.p4_device_config = config
        request.config.cookie.cookie = cookie
        what = f"the program {p4info.pkg_info.name or '(no name)'} was not accepted"
        transport = self._require()
        try:
            await transport.set_pipeline(request, timeout=timeout)
        except (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.CancelledError) as error:
            code, message = call_failure(error)
            kind = TargetError if code in ("UNAVAILABLE", "PERMISSION_DENIED") else PipelineRejected
            raise kind(self.address, what, code, message) from None
        return "pushed"

    async def get_cookie(self, timeout: float = 10.0) -> int | None:
        """Cookie of the program that runs; None if no program runs or it has no cookie."""
        config = await self._get(
            p4rt.GetForwardingPipelineConfigRequest.COOKIE_ONLY, "read the cookie", timeout
        )
        return config.cookie.cookie if config is not None and config.HasField("cookie") else None

    async def get_p4info(self, timeout: float = 10.0) -> p4info_pb2.P4Info | None:
        """P4Info of the program that runs, or None if no program runs."""
        config = await self._get(
            p4rt.GetForwardingPipelineConfigRequest.P4INFO_AND_COOKIE, "read P4Info", timeout
        )
        return config.p4info if config is not None and config.HasField("p4info") else None

    async def _get(
        self,
        response_type: p4rt.GetForwardingPipelineConfigRequest.ResponseType,
        what: str,
        timeout: float,
    ) -> p4rt.ForwardingPipelineConfig | None:
        request = p4rt.GetForwardingPipelineConfigRequest(
            device_id=self.device_id, response_type=response_type
        )
        try:
            response = await self._require().get_pipeline(request, timeout=timeout)
        except (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.CancelledError) as error:
            code, message = call_failure(error)
            if code == "FAILED_PRECONDITION":  # BMv2: no program yet
                return None
            raise TargetError(self.address, what, code, message) from None
        return response.config if response.HasField("config") else None

    # Entities

    async def write(
        self, updates: Sequence[p4rt.Update], timeout: float = 30.0
    ) -> list[UpdateError | None]:
        """Carry out updates in order; one answer for each, None for success.

        Does not raise for what the target does: if a call fails as a whole, each of its updates
        has that error with `whole_call`, and the calls that would have followed are not made.
        """
        results: list[UpdateError | None] = []
        for start in range(0, len(updates), self._max_batch):
            batch = updates[start : start + self._max_batch]
            began = time.monotonic()
            answers = await self._write_batch(batch, start, timeout)
            failed = len(answers) - answers.count(None)
            self.writes.add(time.monotonic() - began, len(batch), failed)
            results += answers
            first = answers[0]
            if first is not None and first.whole_call:
                rest = enumerate(updates[len(results) :], len(results))
                results += [
                    UpdateError(i, u, first.code, first.message, whole_call=True) for i, u in rest
                ]
                break
        return results

    async def _write_batch(
        self, updates: Sequence[p4rt.Update], start: int, timeout: float
    ) -> list[UpdateError | None]:
        request = p4rt.WriteRequest(device_id=self.device_id, updates=updates)
        _set_uint128(request.election_id, self.election_id)
        code, message, unknown = "UNAVAILABLE", "not connected", False
        transport = self._transport
        if transport is not None:
            try:
                await transport.write(request, timeout=timeout)
                return [None] * len(updates)
            except (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.CancelledError) as error:
                code, message = call_failure(error)
                errors = update_errors(error) if isinstance(error, grpc.aio.AioRpcError) else None
                if errors is not None and len(errors) == len(updates):
                    return [
                        _update_error(start + i, update, answer)
                        for i, (update, answer) in enumerate(zip(updates, errors, strict=True))
                    ]
            unknown = code not in _NOT_CARRIED_OUT
        return [
            UpdateError(start + i, u, code, message, whole_call=True, unknown_outcome=unknown)
            for i, u in enumerate(updates)
        ]

    async def read(
        self, entities: Sequence[p4rt.Entity], timeout: float = 60.0
    ) -> AsyncIterator[p4rt.Entity]:
        """Everything that fits the given entities. Raises TargetError."""
        request = p4rt.ReadRequest(device_id=self.device_id, entities=entities)
        transport = self._require()
        call = transport.read(request, timeout=timeout)
        try:
            async for response in call:
                for entity in response.entities:
                    yield entity
        except (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.CancelledError) as error:
            code, message = call_failure(error)
            raise TargetError(self.address, "read", code, message) from None
        finally:
            call.cancel()

    # Stream

    def packet_out(self, payload: bytes, metadata: Sequence[p4rt.PacketMetadata]) -> bool:
        """Queue a packet-out. False if it was dropped: not connected, or the queue is full."""
        message = p4rt.StreamMessageRequest(
            packet=p4rt.PacketOut(payload=payload, metadata=metadata)
        )
        if self._stream is not None and self._stream.send(message):
            self.stats.packet_outs += 1
            return True
        self.stats.packet_outs_dropped += 1
        return False

    def _require(self) -> Transport:
        if self._transport is None:
            raise TargetError(self.address, "not connected", "UNAVAILABLE", "connect first")
        return self._transport


def _update_error(index: int, update: p4rt.Update, answer: p4rt.Error) -> UpdateError | None:
    if answer.canonical_code == 0:
        return None
    return UpdateError(
        index,
        update,
        code_name(answer.canonical_code),
        answer.message,
        answer.code,
        answer.space,
    )


def _set_uint128(field: p4rt.Uint128, value: int) -> None:
    field.high = value >> 64
    field.low = value & (1 << 64) - 1

# SPDX-License-Identifier: Apache-2.0
"""The P4Runtime service: checks who asks, then hands over to pipeline, write, read and streams."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence

from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt

from softswitch.api import DataplaneApi, Digest, Entry
from softswitch.errors import SoftswitchError
from softswitch.p4runtime.arbitration import (
    Arbitration,
    Notice,
    RoleKey,
    uint128,
    unknown_device,
)
from softswitch.p4runtime.errors import Code, P4RuntimeError, unimplemented
from softswitch.p4runtime.pipeline import PipelineManager
from softswitch.p4runtime.read import Reader
from softswitch.p4runtime.session import StreamSession
from softswitch.p4runtime.write import Writer

MAX_STREAMS = 64
API_VERSION = "1.5.0"
"""Version of the P4Runtime specification that the server follows."""

log = logging.getLogger("softswitch.p4runtime")


class Service:
    """One device. Every public method may be called from any thread; none knows gRPC."""

    def __init__(self, device_id: int, dataplane: DataplaneApi, pipelines: PipelineManager) -> None:
        self.device_id = device_id
        self._dataplane = dataplane
        self._pipelines = pipelines
        self._arbitration = Arbitration(device_id)
        # Held while state changes: a client told to be primary knows that no write of its
        # predecessor is still under way.
        self._lock = threading.RLock()
        self._sessions: set[StreamSession] = set()
        self._primaries: tuple[StreamSession, ...] = ()
        self.packet_ins_dropped = 0
        self.packet_outs_rejected = 0

    # Unary calls

    def capabilities(self, request: p4rt.CapabilitiesRequest) -> p4rt.CapabilitiesResponse:
        """Capabilities; device id 0 is what clients older than the field send."""
        if request.device_id:
            self._check_device(request.device_id)
        return p4rt.CapabilitiesResponse(p4runtime_api_version=API_VERSION)

    def write(self, request: p4rt.WriteRequest, serialized: bytes = b"") -> p4rt.WriteResponse:
        """Apply a batch; EntityErrors if an update failed. `serialized`: the same, as it came."""
        with self._lock:
            self._check_writer(request)
            pipeline = self._pipelines.require()
            if request.atomicity != p4rt.WriteRequest.CONTINUE_ON_ERROR:
                raise unimplemented(
                    f"atomicity {request.atomicity} is not supported; use CONTINUE_ON_ERROR"
                )
            Writer(pipeline, self._dataplane).apply(request.updates, serialized)
        return p4rt.WriteResponse()

    def read(self, request: p4rt.ReadRequest) -> Iterator[p4rt.ReadResponse]:
        """Answer in chunks; ABORTED if the pipeline is replaced meanwhile."""
        self._check_device(request.device_id)
        pipeline = self._pipelines.require()
        for response in Reader(pipeline, self._dataplane).responses(request):
            if self._pipelines.current is not pipeline:
                raise P4RuntimeError(Code.ABORTED, "The pipeline was replaced during the read")
            yield response

    def set_pipeline(
        self, request: p4rt.SetForwardingPipelineConfigRequest
    ) -> p4rt.SetForwardingPipelineConfigResponse:
        """Verify, save or commit a pipeline."""

        def check() -> None:
            self._check_writer(request)

        with self._lock:
            check()
        self._pipelines.set(request, self._lock, check)
        return p4rt.SetForwardingPipelineConfigResponse()

    def get_pipeline(
        self, request: p4rt.GetForwardingPipelineConfigRequest
    ) -> p4rt.GetForwardingPipelineConfigResponse:
        """The pipeline in force."""
        self._check_device(request.device_id)
        return self._pipelines.get(request)

    def _check_device(self, device_id: int) -> None:
        if device_id != self.device_id:
            raise unknown_device(device_id, self.device_id)

    def _check_writer(
        self, request: p4rt.WriteRequest | p4rt.SetForwardingPipelineConfigRequest
    ) -> None:
        self._check_device(request.device_id)
        election_id = uint128(request.election_id) if request.HasField("election_id") else None
        self._arbitration.check_writer(RoleKey(request.role_id, request.role), election_id)

    # Streams

    def open(self, session: StreamSession) -> None:
        """A stream has been opened; RESOURCE_EXHAUSTED if there are too many."""
        with self._lock:
            if len(self._sessions) >= MAX_STREAMS:
                raise P4RuntimeError(
                    Code.RESOURCE_EXHAUSTED, f"{MAX_STREAMS} streams are open already"
                )
            self._sessions.add(session)

    def leave(self, session: StreamSession, error: P4RuntimeError | None = None) -> None:
        """The stream ends, with `error` as its status. Idempotent.

        The client hears of the end only after others were told and no longer counts as connected.
        """
        with self._lock:
            self._sessions.discard(session)
            self._announce(self._arbitration.leave(session))
        session.close(error)

    def close_streams(self) -> None:
        """End all streams: the server stops."""
        with self._lock:
            for session in self._sessions:
                session.close()

    def receive(self, session: StreamSession, request: p4rt.StreamMessageRequest) -> None:
        """A message from a client; P4RuntimeError must end its stream."""
        kind = request.WhichOneof("update")
        if kind == "packet":
            self._packet_out(session, request.packet)
        elif kind == "arbitration":
            with self._lock:
                self._announce(self._arbitration.update(session, request.arbitration))
        elif kind == "digest_ack":
            pipeline = self._pipelines.current
            if session in self._primaries and pipeline is not None:
                ack = request.digest_ack
                pipeline.digests.acknowledge(ack.digest_id, ack.list_id)
        # Anything else is ignored, as on BMv2.

    def _announce(self, notices: Sequence[Notice]) -> None:
        self._primaries = tuple(
            client for client in self._arbitration.primaries() if isinstance(client, StreamSession)
        )
        for client, update in notices:
            if isinstance(client, StreamSession):
                client.send(p4rt.StreamMessageResponse(arbitration=update))

    def _packet_out(self, session: StreamSession, packet: p4rt.PacketOut) -> None:
        """Inject the packet; silently ignored from anyone but a primary, as on BMv2."""
        if session not in self._primaries:
            return
        pipeline = self._pipelines.current
        try:
            if pipeline is None:
                raise P4RuntimeError(Code.FAILED_PRECONDITION, "No forwarding pipeline config set")
            frame = pipeline.packet_out.decode(packet)
            try:
                self._dataplane.packet_out(frame)
            except SoftswitchError as error:
                raise P4RuntimeError(Code.FAILED_PRECONDITION, str(error)) from error
        except P4RuntimeError as error:
            self.packet_outs_rejected += 1
            response = p4rt.StreamMessageResponse()
            response.error.canonical_code = error.code
            response.error.message = error.message
            response.error.packet_out.packet_out.metadata.extend(packet.metadata)
            session.offer([response.SerializeToString()])

    # From the data plane

    def deliver_packet_ins(self, frames: Sequence[bytes]) -> None:
        """Send frames that left on the CPU port to every primary; without one they are dropped."""
        pipeline, primaries = self._pipelines.current, self._primaries
        if pipeline is None or not primaries:
            self.packet_ins_dropped += len(frames)
            return
        encode = pipeline.packet_in.encode
        messages = [message for message in map(encode, frames) if message is not None]
        self.packet_ins_dropped += len(frames) - len(messages)
        for session in primaries:
            self.packet_ins_dropped += session.offer(messages)

    def digest_wait_s(self, now_ns: int, longest_s: float) -> float:
        """How long to wait for more digests before the next list is due."""
        pipeline = self._pipelines.current
        due = None if pipeline is None else pipeline.digests.next_due()
        return longest_s if due is None else min(longest_s, max(due - now_ns, 0) / 1e9)

    def deliver_digests(self, reports: Sequence[Digest], now_ns: int, timestamp_ns: int) -> None:
        """Send the lists that are full or due to every primary; `now_ns`: CLOCK_MONOTONIC."""
        pipeline = self._pipelines.current
        if pipeline is None:
            return
        values = [(report.name, report.values) for report in reports]
        for message in pipeline.digests.add(values, now_ns):
            message.timestamp = timestamp_ns
            response = [p4rt.StreamMessageResponse(digest=message).SerializeToString()]
            for session in self._primaries:
                session.offer(response)

    def deliver_idle(self, idle: Sequence[tuple[str, Entry]], timestamp_ns: int) -> None:
        """Notify every primary of idle entries; `timestamp_ns` is for the notification."""
        pipeline, primaries = self._pipelines.current, self._primaries
        if pipeline is None or not primaries:
            return
        for start in range(0, len(idle), _IDLE_CHUNK):
            response = p4rt.StreamMessageResponse()
            notification = response.idle_timeout_notification
            notification.timestamp = timestamp_ns
            for name, entry in idle[start : start + _IDLE_CHUNK]:
                table = pipeline.tables_by_name.get(name)
                if table is not None:
                    table.encode_idle(entry, notification.table_entry.add())
            if notification.table_entry:
                message = [response.SerializeToString()]
                for session in primaries:
                    session.offer(message)


_IDLE_CHUNK = 500
"""Entries in one idle notification."""

# SPDX-License-Identifier: Apache-2.0
"""The gRPC side of the P4Runtime server: methods, threads, address, start and stop."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import TypeVar

import grpc
from google.protobuf.message import Message
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt

from softswitch.address import bind
from softswitch.api import DataplaneApi
from softswitch.errors import SoftswitchError
from softswitch.p4runtime.errors import (
    DETAILS_KEY,
    EntityErrors,
    P4RuntimeError,
    from_dataplane,
)
from softswitch.p4runtime.service import MAX_STREAMS, Service
from softswitch.p4runtime.session import StreamSession

MAX_MESSAGE_BYTES = 256 << 20
"""As BMv2: the JSON of a large program does not fit into gRPC's default of 4 MiB."""
UNARY_THREADS = 16
_WAIT_S = 1.0
_PAUSE_S = 0.1
_STOP_S = 3.0

log = logging.getLogger("softswitch.p4runtime")
_Request = TypeVar("_Request")
_Response = TypeVar("_Response", bound=Message)


class P4RuntimeServer:
    """Serves a `Service` on one address and carries packet-ins and idle notifications to it."""

    def __init__(
        self,
        service: Service,
        dataplane: DataplaneApi,
        address: str,
        credentials: grpc.ServerCredentials | None = None,
    ) -> None:
        """Binds the address. AddressError: taken, not ours, not allowed."""
        self._service = service
        self._dataplane = dataplane
        self._stopping = threading.Event()
        self._pumps = [
            threading.Thread(target=self._pump, args=(self._packet_ins,), name="packet-in"),
            threading.Thread(target=self._pump, args=(self._idle,), name="idle"),
            threading.Thread(target=self._pump, args=(self._digests,), name="digest"),
        ]
        self._server = grpc.server(
            futures.ThreadPoolExecutor(MAX_STREAMS + UNARY_THREADS, "p4runtime"),
            options=(
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
                ("grpc.so_reuseport", 0),  # a second switch on the same port must fail
                ("grpc.keepalive_time_ms", 20_000),  # finds clients that vanished
                ("grpc.keepalive_timeout_ms", 10_000),
                ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
            ),
        )
        self._server.add_generic_rpc_handlers((self._handlers(),))
        self.port = bind(self._server, address, credentials)
        """The TCP port, chosen by the kernel if the address asks for port 0."""

    def start(self) -> None:
        """Serve; on return, connections are accepted."""
        self._server.start()
        for pump in self._pumps:
            pump.start()

    def stop(self) -> None:
        """End streams and calls, and all threads. The data plane should be stopped before, so
        that its blocked waits return at once. Idempotent."""
        self._stopping.set()
        self._service.close_streams()
        # gRPC's event may never come after streams that ended in a hurry; nothing is lost by going.
        self._server.stop(grace=1.0).wait(_STOP_S)
        for pump in self._pumps:
            if pump.is_alive():
                pump.join()

    def _handlers(self) -> grpc.GenericRpcHandler:
        service = self._service
        return grpc.method_handlers_generic_handler(
            "p4.v1.P4Runtime",
            {
                "Write": _unary(lambda both: service.write(*both), _parse_write),
                "Read": grpc.unary_stream_rpc_method_handler(
                    _streaming(service.read),
                    request_deserializer=p4rt.ReadRequest.FromString,
                    response_serializer=p4rt.ReadResponse.SerializeToString,
                ),
                "SetForwardingPipelineConfig": _unary(
                    service.set_pipeline, p4rt.SetForwardingPipelineConfigRequest.FromString
                ),
                "GetForwardingPipelineConfig": _unary(
                    service.get_pipeline, p4rt.GetForwardingPipelineConfigRequest.FromString
                ),
                "Capabilities": _unary(service.capabilities, p4rt.CapabilitiesRequest.FromString),
                "StreamChannel": grpc.stream_stream_rpc_method_handler(
                    self._stream,
                    request_deserializer=p4rt.StreamMessageRequest.FromString,
                    response_serializer=None,  # sessions queue serialized messages
                ),
            },
        )

    def _stream(
        self, requests: Iterator[p4rt.StreamMessageRequest], context: grpc.ServicerContext
    ) -> Iterator[bytes]:
        """One open StreamChannel: this thread sends, another one receives."""
        session = StreamSession(context.peer(), context.cancel)
        service = self._service
        try:
            service.open(session)
        except P4RuntimeError as error:
            context.abort(error.code.grpc_status, error.message)
        if not context.add_callback(lambda: service.leave(session)):
            service.leave(session)
            return
        reader = threading.Thread(
            target=self._receive, args=(session, requests), name="stream", daemon=True
        )
        reader.start()
        yield from session.messages()
        if session.error is not None:
            context.abort(session.error.code.grpc_status, session.error.message)

    def _receive(
        self, session: StreamSession, requests: Iterator[p4rt.StreamMessageRequest]
    ) -> None:
        error: P4RuntimeError | None = None
        try:
            for request in requests:
                self._service.receive(session, request)
        except P4RuntimeError as refusal:
            error = refusal
        except SoftswitchError as refusal:
            error = from_dataplane(refusal)
        except grpc.RpcError:
            pass  # the stream was cancelled or its connection is gone
        except Exception as problem:
            if not self._stopping.is_set():
                log.debug("stream of %s ended: %r", session.peer, problem)
        self._service.leave(session, error)

    def _pump(self, once: Callable[[], None]) -> None:
        """A defect costs what was being carried, never all that would have followed."""
        while not self._stopping.is_set():
            try:
                once()
            except Exception:
                log.exception("lost what was to be sent to the controllers")
                self._stopping.wait(_PAUSE_S)  # it may be there again at once

    def _packet_ins(self) -> None:
        frames = self._dataplane.wait_packet_ins(_WAIT_S)
        if frames:
            self._service.deliver_packet_ins(frames)

    def _digests(self) -> None:
        wait_s = self._service.digest_wait_s(time.monotonic_ns(), _WAIT_S)
        reports = self._dataplane.wait_digests(wait_s)
        self._service.deliver_digests(reports, time.monotonic_ns(), time.time_ns())

    def _idle(self) -> None:
        idle = self._dataplane.wait_idle(_WAIT_S)
        if idle:
            self._service.deliver_idle(idle, time.time_ns())


_SerializedWrite = tuple[p4rt.WriteRequest, bytes]
"""A write request and its bytes, which the data plane reads faster than Python the message."""


def _parse_write(serialized: bytes) -> _SerializedWrite:
    return p4rt.WriteRequest.FromString(serialized), serialized


def _unary(
    call: Callable[[_Request], _Response], parse: Callable[[bytes], _Request]
) -> grpc.RpcMethodHandler[_Request, _Response]:
    def handle(request: _Request, context: grpc.ServicerContext) -> _Response:
        try:
            return call(request)
        except Exception as error:
            _abort(context, error)
            raise AssertionError("abort returned") from error

    return grpc.unary_unary_rpc_method_handler(
        handle,
        request_deserializer=parse,
        response_serializer=_serialize,
    )


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()


def _streaming(
    call: Callable[[_Request], Iterator[_Response]],
) -> Callable[[_Request, grpc.ServicerContext], Iterator[_Response]]:
    def handle(request: _Request, context: grpc.ServicerContext) -> Iterator[_Response]:
        try:
            yield from call(request)
        except Exception as error:
            _abort(context, error)

    return handle


def _abort(context: grpc.ServicerContext, error: Exception) -> None:
    """End the call with the status that belongs to the error; never returns."""
    if isinstance(error, EntityErrors):
        context.set_trailing_metadata(((DETAILS_KEY, error.details()),))
        context.abort(grpc.StatusCode.UNKNOWN, "")
    if isinstance(error, SoftswitchError):
        error = from_dataplane(error)
    if isinstance(error, P4RuntimeError):
        context.abort(error.code.grpc_status, error.message)
    log.error("internal error", exc_info=error)
    context.abort(
        grpc.StatusCode.INTERNAL,
        f"softswitch failed with {type(error).__name__}; its log has the details: please report it",
    )

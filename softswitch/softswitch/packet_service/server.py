# SPDX-License-Identifier: Apache-2.0
"""Serves `p4.bm.DataplaneInterface`: one client sends and receives frames on ports of any number.

As in BMv2: a second client is refused, frames for another device and empty ones are ignored, and
when the client has half-closed its stream it still gets everything that its frames caused.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent import futures

import grpc

from softswitch.address import bind
from softswitch.api import DataplaneApi
from softswitch.errors import PortError
from softswitch.packet_service.messages import (
    OPER_STATUS_DOWN,
    OPER_STATUS_UP,
    SERVICE,
    Packet,
    PacketStreamRequest,
    PacketStreamResponse,
    PortStatus,
    SetPortOperStatusRequest,
)

OPTION = "--dp-grpc-server-addr"
MAX_MESSAGE_BYTES = 256 << 20
THREADS = 16
_WAIT_S = 1.0
_RETRY_S = 0.001
_STOP_S = 3.0

log = logging.getLogger("softswitch.packets")


class PacketServer:
    """The service on one address, in front of one data plane."""

    def __init__(self, dataplane: DataplaneApi, device_id: int, address: str) -> None:
        """Binds the address. AddressError: taken, not ours, not allowed."""
        self._dataplane = dataplane
        self._device_id = device_id
        self._client = threading.Lock()
        dataplane.service_open()
        self._server = grpc.server(
            futures.ThreadPoolExecutor(THREADS, "packets"),
            options=(
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
                ("grpc.so_reuseport", 0),
            ),
        )
        self._server.add_generic_rpc_handlers((self._handlers(),))
        self.port = bind(self._server, address, option=OPTION)
        """The TCP port."""

    def start(self) -> None:
        """Serve; on return, connections are accepted."""
        self._server.start()

    def stop(self) -> None:
        """End the stream; the data plane should be stopped before. Idempotent."""
        # gRPC's event may never come after streams that ended in a hurry; nothing is lost by going.
        self._server.stop(grace=1.0).wait(_STOP_S)

    def _handlers(self) -> grpc.GenericRpcHandler:
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "PacketStream": grpc.stream_stream_rpc_method_handler(
                    self._stream,
                    request_deserializer=PacketStreamRequest.FromString,
                    response_serializer=None,  # they are serialized already
                ),
                "SetPortOperStatus": grpc.unary_unary_rpc_method_handler(
                    self._set_status,
                    request_deserializer=SetPortOperStatusRequest.FromString,
                    response_serializer=None,
                ),
            },
        )

    def _stream(self, requests: Iterator[Packet], context: grpc.ServicerContext) -> Iterator[bytes]:
        """The client's stream: this thread sends, another one receives."""
        if not self._client.acquire(blocking=False):
            context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED, "only one client authorized at a time"
            )
        gone = threading.Event()
        reader = threading.Thread(
            target=self._receive, args=(requests, gone), name="packet-stream", daemon=True
        )
        try:
            self._dataplane.service_connect()
            context.add_callback(gone.set)
            reader.start()
            yield from self._responses()
        finally:
            gone.set()
            if reader.ident is not None:
                reader.join()
            self._dataplane.service_disconnect()
            self._client.release()

    def _responses(self) -> Iterator[bytes]:
        """Serialized frames until the mark that `_receive` sets at its end."""
        while (frames := self._dataplane.service_read(_WAIT_S)) is not None:
            for item in frames:
                if item.port is None:
                    return
                response = PacketStreamResponse()
                response.id, response.device_id = item.cause, self._device_id
                response.port, response.packet = item.port, item.frame
                yield response.SerializeToString()

    def _receive(self, requests: Iterator[Packet], gone: threading.Event) -> None:
        """Inject the client's frames. When too much waits for the client, so does this, and in the
        end the client: nothing is lost."""
        inject = self._dataplane.service_inject
        try:
            for request in requests:
                if request.device_id != self._device_id or not request.packet:
                    continue
                try:
                    while not inject(request.port, request.packet, request.id):
                        if gone.wait(_RETRY_S):
                            break
                except PortError as error:
                    log.warning("a frame of the packet service is dropped: %s", error)
        except Exception as problem:  # the stream was cancelled or its connection is gone
            log.debug("the packet stream ended: %r", problem)
        while not self._dataplane.service_end() and not gone.wait(_RETRY_S):
            pass

    def _set_status(self, request: PortStatus, context: grpc.ServicerContext) -> bytes:
        if request.device_id != self._device_id:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "Invalid device id")
        if request.oper_status not in (OPER_STATUS_DOWN, OPER_STATUS_UP):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "Invalid oper status")
        try:
            self._dataplane.set_port_up(request.port, request.oper_status == OPER_STATUS_UP)
        except PortError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        return b""

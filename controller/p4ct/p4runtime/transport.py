# SPDX-License-Identifier: Apache-2.0
"""gRPC for P4Runtime: the channel, its methods with their types, and errors decoded.

The only module that knows names on the wire and gRPC's options.
"""

import asyncio
from collections.abc import Sequence

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, status_pb2  # pyright: ignore[reportMissingTypeStubs]
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt

MAX_MESSAGE = 256 << 20
"""Bytes; a table of a million entries in one ReadResponse (BMv2) has to fit."""
MAX_METADATA = 8 << 20
"""Bytes; the errors of a write come as trailing metadata, whose usual limit is 8 KiB."""

_OPTIONS: Sequence[tuple[str, int]] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.max_metadata_size", MAX_METADATA),
    ("grpc.absolute_max_metadata_size", MAX_METADATA),
    # A target is reached directly, whatever proxy the environment names for the web.
    ("grpc.enable_http_proxy", 0),
    # Each client has a connection of its own: one that ends leaves no trace in the next.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)
_SERVICE = "/p4.v1.P4Runtime/"
_DETAILS = "grpc-status-details-bin"

StreamCall = grpc.aio.StreamStreamCall[p4rt.StreamMessageRequest, p4rt.StreamMessageResponse]


class Transport:
    """One channel to one target. Construct it inside the event loop that uses it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.channel = grpc.aio.insecure_channel(address, options=list(_OPTIONS))
        channel = self.channel
        self.write = channel.unary_unary(
            _SERVICE + "Write",
            request_serializer=p4rt.WriteRequest.SerializeToString,
            response_deserializer=p4rt.WriteResponse.FromString,
        )
        self.read = channel.unary_stream(
            _SERVICE + "Read",
            request_serializer=p4rt.ReadRequest.SerializeToString,
            response_deserializer=p4rt.ReadResponse.FromString,
        )
        self.set_pipeline = channel.unary_unary(
            _SERVICE + "SetForwardingPipelineConfig",
            request_serializer=p4rt.SetForwardingPipelineConfigRequest.SerializeToString,
            response_deserializer=p4rt.SetForwardingPipelineConfigResponse.FromString,
        )
        self.get_pipeline = channel.unary_unary(
            _SERVICE + "GetForwardingPipelineConfig",
            request_serializer=p4rt.GetForwardingPipelineConfigRequest.SerializeToString,
            response_deserializer=p4rt.GetForwardingPipelineConfigResponse.FromString,
        )
        self.capabilities = channel.unary_unary(
            _SERVICE + "Capabilities",
            request_serializer=p4rt.CapabilitiesRequest.SerializeToString,
            response_deserializer=p4rt.CapabilitiesResponse.FromString,
        )
        self.stream = channel.stream_stream(
            _SERVICE + "StreamChannel",
            request_serializer=p4rt.StreamMessageRequest.SerializeToString,
            response_deserializer=p4rt.StreamMessageResponse.FromString,
        )

    async def close(self) -> None:
        """End every call and the connection."""
        await self.channel.close(None)


def code_name(code: int) -> str:
    """The canonical name of a gRPC status code; a number outside the list prints as one."""
    try:
        return code_pb2.Code.Name(code)
    except ValueError:
        return f"CODE_{code}"


def update_errors(error: grpc.aio.AioRpcError) -> list[p4rt.Error] | None:
    """One p4.v1.Error for each update of a failed Write; None if the call failed as a whole."""
    for name, value in error.trailing_metadata() or ():
        if name == _DETAILS and isinstance(value, bytes):
            break
    else:
        return None
    try:
        status = status_pb2.Status.FromString(value)
        found: list[p4rt.Error] = []
        for detail in status.details:
            item = p4rt.Error()
            if not detail.Unpack(item):
                return None
            found.append(item)
    except DecodeError:
        return None
    return found or None


def call_failure(error: BaseException) -> tuple[str, str]:
    """Canonical code and text of a failed call; re-raises if our own task is being cancelled.

    gRPC reports a call that was cancelled because its channel closed as CancelledError, too.
    """
    if isinstance(error, grpc.aio.AioRpcError):
        return error.code().name, error.details() or ""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise error
        return "UNAVAILABLE", "the connection was closed"
    return "UNAVAILABLE", str(error)

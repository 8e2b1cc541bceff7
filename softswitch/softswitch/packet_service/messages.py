# SPDX-License-Identifier: Apache-2.0
"""Messages of `p4.bm.DataplaneInterface`, BMv2's packet service; it is in no Python package.

The descriptors are built here and live in a pool of their own, so that a client in the same process
may register its own copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, cast

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICE = "p4.bm.DataplaneInterface"
OPER_STATUS_DOWN, OPER_STATUS_UP = 1, 2

_Field = descriptor_pb2.FieldDescriptorProto


class Packet(Protocol):
    """A request or response of PacketStream. `id`: 0, or the client's name for a frame and for
    what the frame caused."""

    id: int
    device_id: int
    port: int
    packet: bytes

    def SerializeToString(self) -> bytes: ...
    @classmethod
    def FromString(cls, s: bytes, /) -> Packet: ...


class PortStatus(Protocol):
    """The request of SetPortOperStatus."""

    device_id: int
    port: int
    oper_status: int

    def SerializeToString(self) -> bytes: ...
    @classmethod
    def FromString(cls, s: bytes, /) -> PortStatus: ...


def _build(name: str, fields: Mapping[str, int]) -> object:
    """A message type; its fields are numbered in this order."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"softswitch/{name}.proto", package="p4.bm", syntax="proto3"
    )
    message = file.message_type.add(name=name)
    for number, (field, kind) in enumerate(fields.items(), 1):
        message.field.add(
            name=field,
            number=number,
            type=cast("_Field.Type", kind),
            label=_Field.LABEL_OPTIONAL,
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"p4.bm.{name}"))


_PACKET = {
    "id": _Field.TYPE_UINT64,
    "device_id": _Field.TYPE_UINT64,
    "port": _Field.TYPE_UINT32,
    "packet": _Field.TYPE_BYTES,
}
PacketStreamRequest = cast("type[Packet]", _build("PacketStreamRequest", _PACKET))
PacketStreamResponse = cast("type[Packet]", _build("PacketStreamResponse", _PACKET))
# An enumeration has the wire format of int32.
SetPortOperStatusRequest = cast(
    "type[PortStatus]",
    _build(
        "SetPortOperStatusRequest",
        {
            "device_id": _Field.TYPE_UINT64,
            "port": _Field.TYPE_UINT32,
            "oper_status": _Field.TYPE_INT32,
        },
    ),
)

# SPDX-License-Identifier: Apache-2.0
"""Packet-in and packet-out headers (spec 16.1): all metadata of the P4Info header, most significant
bit first in P4Info order, padded with zero bits to a whole number of bytes.

Packet-ins dominate what the server sends, so they are serialized straight to the wire format of
`StreamMessageResponse`; a test compares the result with protobuf's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from p4rt_stubs.p4.config.v1 import p4info_pb2 as p4info
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt

from softswitch.p4runtime.bytestring import decode, encode
from softswitch.p4runtime.errors import invalid

Metadata = Sequence[p4info.ControllerPacketMetadata.Metadata]

_RESPONSE_PACKET = b"\x12"  # StreamMessageResponse.packet = 2
_PAYLOAD = b"\x0a"  # PacketIn.payload = 1
_METADATA = b"\x12"  # PacketIn.metadata = 2
_METADATA_ID = b"\x08"  # PacketMetadata.metadata_id = 1
_METADATA_VALUE = b"\x12"  # PacketMetadata.value = 2
_TABLE_BITS = 10
"""Fields of up to this width have all their encodings built in advance."""


def _layout(metadata: Metadata) -> tuple[int, list[int]]:
    """(header length in bytes, shift of each field)."""
    total = sum(field.bitwidth for field in metadata)
    length = (total + 7) // 8
    shifts: list[int] = []
    left = length * 8
    for field in metadata:
        left -= field.bitwidth
        shifts.append(left)
    return length, shifts


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(tag: bytes, value: bytes) -> bytes:
    return tag + _varint(len(value)) + value


class PacketInCodec:
    """Frames that left on the CPU port -> serialized StreamMessageResponse."""

    def __init__(self, metadata: Metadata) -> None:
        self._length, shifts = _layout(metadata)
        self._fields = [
            _metadata_encoder(field.id, field.bitwidth, shift)
            for field, shift in zip(metadata, shifts, strict=True)
        ]

    def encode(self, frame: bytes) -> bytes | None:
        """The message, or None if the frame is shorter than the header."""
        length = self._length
        if len(frame) < length:
            return None
        header = int.from_bytes(frame[:length], "big")
        payload = frame[length:]
        packet = b"".join(
            [_PAYLOAD, _varint(len(payload)), payload, *[field(header) for field in self._fields]]
        )
        return _RESPONSE_PACKET + _varint(len(packet)) + packet


def _metadata_encoder(metadata_id: int, width: int, shift: int) -> Callable[[int], bytes]:
    """Serializes one field out of the header, taken as an integer."""
    prefix = _METADATA_ID + _varint(metadata_id) + _METADATA_VALUE
    mask = (1 << width) - 1

    def build(value: int) -> bytes:
        text = encode(value)
        return _field(_METADATA, prefix + _varint(len(text)) + text)

    if width <= _TABLE_BITS:
        table = [build(value) for value in range(mask + 1)]
        return lambda header: table[header >> shift & mask]
    return lambda header: build(header >> shift & mask)


class PacketOutCodec:
    """PacketOut messages -> frames to inject on the CPU port."""

    def __init__(self, metadata: Metadata) -> None:
        self._length, shifts = _layout(metadata)
        self._fields = {
            field.id: (shift, (1 << field.bitwidth) - 1)
            for field, shift in zip(metadata, shifts, strict=True)
        }

    def decode(self, packet: p4rt.PacketOut) -> bytes:
        """Header and payload; metadata that is left out is zero, as on BMv2.

        INVALID_ARGUMENT: unknown or repeated metadata id, value too wide.
        """
        header, seen = 0, 0
        for metadata in packet.metadata:
            found = self._fields.get(metadata.metadata_id)
            if found is None:
                raise invalid(f"packet-out has no metadata with id {metadata.metadata_id}")
            shift, limit = found
            if seen >> shift & 1:
                raise invalid(f"packet-out metadata {metadata.metadata_id} given twice")
            seen |= 1 << shift
            value = decode(metadata.value, limit, f"packet-out metadata {metadata.metadata_id}")
            header |= value << shift
        return header.to_bytes(self._length, "big") + packet.payload

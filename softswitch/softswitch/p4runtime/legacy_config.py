# SPDX-License-Identifier: Apache-2.0
"""The wrapper of older clients around the BMv2 JSON: `p4.tmp.P4DeviceConfig`.

Message fields: reassign = 1 (bool), extras = 2 (message), device_data = 3 (bytes: the JSON). The
message is in no current package, so its wire format is read here.
"""

from __future__ import annotations

_DEVICE_DATA = 3
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def unwrap_device_config(config: bytes) -> bytes:
    """The JSON in `config`, whether it comes raw or in the wrapper.

    What is neither is returned as it came, so that the JSON parser reports it.
    """
    if config.lstrip()[:1] in (b"{", b""):
        return config
    try:
        data = _device_data(config)
    except ValueError:
        return config
    return config if data is None else data


def _device_data(message: bytes) -> bytes | None:
    """Field 3 of the message; ValueError if it is not a protobuf message of that shape."""
    position = 0
    found: bytes | None = None
    while position < len(message):
        tag, position = _varint(message, position)
        field, wire_type = tag >> 3, tag & 7
        if wire_type == _VARINT:
            _, position = _varint(message, position)
        elif wire_type == _BYTES:
            length, position = _varint(message, position)
            if position + length > len(message):
                raise ValueError("truncated field")
            if field == _DEVICE_DATA:
                found = message[position : position + length]
            position += length
        elif wire_type in (_FIXED64, _FIXED32):
            position += 8 if wire_type == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire_type}")
    if position != len(message):
        raise ValueError("truncated field")
    return found


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(message) or shift > 63:
            raise ValueError("bad varint")
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7

# SPDX-License-Identifier: Apache-2.0
"""The data of a digest: P4Info's type of it, and field values as P4Data (spec 8.4.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from p4rt_stubs.p4.config.v1 import p4info_pb2 as p4info
from p4rt_stubs.p4.config.v1 import p4types_pb2 as p4types
from p4rt_stubs.p4.v1 import p4data_pb2 as p4data

from softswitch.p4runtime.bytestring import encode

Structs = Mapping[str, p4types.P4StructTypeSpec]
Spec = p4types.P4DataTypeSpec


class DigestType:
    """A struct or a tuple of bit strings and booleans, or a single one.

    `widths`: bits of each field, or None if the type is another.
    """

    def __init__(self, digest: p4info.Digest, structs: Structs) -> None:
        spec = digest.type_spec
        self._shape = spec.WhichOneof("type_spec")
        fields: list[Spec]
        if self._shape == "struct":
            fields = [member.type_spec for member in structs[spec.struct.name].members]
        elif self._shape == "tuple":
            fields = list(spec.tuple.members)
        else:
            fields = [spec]
        widths = [_width(field) for field in fields]
        self.widths = None if 0 in widths else tuple(widths)
        self._fields = fields

    def encode(self, values: Sequence[int], message: p4data.P4Data) -> None:
        """Fill in the message from the field values, in order."""
        pairs = zip(self._fields, values, strict=True)
        if self._shape == "struct":
            for field, value in pairs:
                _encode(field, value, message.struct.members.add())
        elif self._shape == "tuple":
            for field, value in pairs:
                _encode(field, value, message.tuple.members.add())
        else:
            for field, value in pairs:
                _encode(field, value, message)


def _width(spec: Spec) -> int:
    """Bits of a field; 0 for a type that a digest cannot have here."""
    which = spec.WhichOneof("type_spec")
    if which == "bool":
        return 1
    if which != "bitstring":
        return 0
    kind = spec.bitstring.WhichOneof("type_spec")
    if kind == "bit":
        return spec.bitstring.bit.bitwidth
    return spec.bitstring.int.bitwidth if kind == "int" else 0


def _encode(spec: Spec, value: int, message: p4data.P4Data) -> None:
    if spec.WhichOneof("type_spec") == "bool":
        message.bool = bool(value)
    elif spec.bitstring.WhichOneof("type_spec") == "int":
        width = spec.bitstring.int.bitwidth
        signed = value - (value >> (width - 1) << width)
        length = ((signed if signed >= 0 else ~signed).bit_length() + 8) // 8
        message.bitstring = signed.to_bytes(length, "big", signed=True)
    else:
        message.bitstring = encode(value)

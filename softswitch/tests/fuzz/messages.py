# SPDX-License-Identifier: Apache-2.0
"""P4Runtime requests, well formed and not: by the ids of a P4Info message, then damaged."""

from __future__ import annotations

import random
from collections.abc import Callable

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from p4rt_stubs.p4.config.v1 import p4info_pb2 as p4info
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt

from . import corpus

DEVICE = 1
EDGES = (0, 1, 2, -1, 2**31 - 1, -(2**31), 2**32 - 1, 2**63 - 1, -(2**63), 2**64 - 1)
LIMITS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


def _is_message(field: FieldDescriptor) -> bool:
    """A message, or a list of them, and not a map."""
    kind = field.message_type
    return kind is not None and not kind.GetOptions().map_entry


class Requests:
    """Makes serialized requests for one program; the same seed makes the same ones."""

    def __init__(self, info: p4info.P4Info, config: bytes, rng: random.Random) -> None:
        self._info = info
        self._config = config
        self._rng = rng
        self._ids = [
            item.preamble.id
            for kind in (
                info.tables,
                info.actions,
                info.counters,
                info.direct_counters,
                info.meters,
                info.direct_meters,
                info.registers,
                info.action_profiles,
                info.digests,
            )
            for item in kind
        ]
        self._actions = {action.preamble.id: action for action in info.actions}

    def next(self) -> tuple[str, bytes]:
        """(method, request)."""
        kinds: list[tuple[str, Callable[[], Message], float]] = [
            ("Write", self._write, 0.6),
            ("Read", self._read, 0.2),
            ("StreamChannel", self._stream, 0.14),
            ("GetForwardingPipelineConfig", self._get, 0.03),
            ("Capabilities", lambda: self._random(p4rt.CapabilitiesRequest()), 0.02),
            ("SetForwardingPipelineConfig", self._push, 0.01),
        ]
        method, make, _ = self._rng.choices(kinds, [share for *_, share in kinds])[0]
        message = make()
        for _ in range(self._rng.choice((0, 0, 1, 1, 2, 5))):
            self._damage(message)
        data = message.SerializeToString()
        return method, self._damage_bytes(data) if self._rng.random() < 0.2 else data

    # Well-formed ones

    def _head(self, message: Message) -> Message:
        message.device_id = DEVICE  # pyright: ignore[reportAttributeAccessIssue]
        message.election_id.low = 1  # pyright: ignore[reportAttributeAccessIssue]
        return message

    def _write(self) -> Message:
        message = p4rt.WriteRequest()
        self._head(message)
        for _ in range(self._rng.choice((1, 1, 2, 5, 40))):
            update = message.updates.add(type=self._rng.choice((1, 1, 1, 2, 3)))
            if self._rng.random() < 0.7:
                self._entry(update.entity.table_entry)
            else:
                self._random(update.entity)
        return message

    def _entry(self, entry: p4rt.TableEntry) -> None:
        rng = self._rng
        table = rng.choice(self._info.tables)
        entry.table_id = table.preamble.id
        for field in table.match_fields:
            value = self._value(field.bitwidth)
            match = entry.match.add(field_id=field.id)
            if field.match_type == p4info.MatchField.EXACT:
                match.exact.value = value
            elif field.match_type == p4info.MatchField.LPM:
                match.lpm.value, match.lpm.prefix_len = value, rng.randint(0, field.bitwidth)
            elif field.match_type == p4info.MatchField.RANGE:
                match.range.low, match.range.high = sorted((value, self._value(field.bitwidth)))
            elif field.match_type == p4info.MatchField.OPTIONAL:
                match.optional.value = value
            elif rng.random() < 0.5:
                match.ternary.value = match.ternary.mask = value
            else:
                del entry.match[-1]
        if any(f.match_type not in (2, 3) for f in table.match_fields):
            entry.priority = rng.randint(1, 9)
        ref = rng.choice(table.action_refs)
        entry.action.action.action_id = ref.id
        for param in self._actions[ref.id].params:
            entry.action.action.params.add(param_id=param.id, value=self._value(param.bitwidth))

    def _value(self, width: int) -> bytes:
        value = corpus.pick(self._rng, width)
        return value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")

    def _read(self) -> Message:
        message = p4rt.ReadRequest(device_id=DEVICE)
        for _ in range(self._rng.choice((1, 1, 3))):
            entity = message.entities.add()
            if self._rng.random() < 0.5:
                self._entry(entity.table_entry)
                if self._rng.random() < 0.5:
                    del entity.table_entry.match[:]
            else:
                self._random(entity)
        return message

    def _stream(self) -> Message:
        message = p4rt.StreamMessageRequest()
        kind = self._rng.random()
        if kind < 0.4:
            message.packet.payload = corpus.frame(self._rng)
            for field in range(1, 4):
                message.packet.metadata.add(metadata_id=field, value=self._value(9))
        elif kind < 0.7:
            message.arbitration.device_id = DEVICE
            # Above 1 would take the place of the client that sends the writes.
            message.arbitration.election_id.high = 0
            message.arbitration.election_id.low = 0
        else:
            self._random(message)
        return message

    def _get(self) -> Message:
        message = p4rt.GetForwardingPipelineConfigRequest(device_id=DEVICE)
        message.response_type = self._rng.randint(0, 3)  # pyright: ignore[reportAttributeAccessIssue]
        return message

    def _push(self) -> Message:
        """Damaged configs only: a good one would take the tables away and compile."""
        message = p4rt.SetForwardingPipelineConfigRequest()
        self._head(message)
        message.action = self._rng.randint(0, 6)  # pyright: ignore[reportAttributeAccessIssue]
        message.config.p4info.CopyFrom(self._info)
        for _ in range(self._rng.randint(0, 2)):
            self._damage(message.config.p4info)
        config = bytearray(self._config)
        at = self._rng.randrange(len(config))
        config[at : at + self._rng.randint(1, 2000)] = b"]" * self._rng.randint(1, 3)
        message.config.p4_device_config = bytes(config)
        return message

    # Anything at all

    def _random(self, message: Message, depth: int = 0) -> Message:
        """Some of the fields, their values from what the program has, and from the edges."""
        chosen = [f for f in message.DESCRIPTOR.fields if self._rng.random() < 0.4]
        for field in chosen:
            self._set(message, field, depth)
        return message

    def _set(self, message: Message, field: FieldDescriptor, depth: int) -> None:
        many = field.is_repeated
        if field.message_type is not None:
            # Any is never looked into; P4Info has the only maps.
            unknown = field.message_type.full_name == "google.protobuf.Any"
            if depth >= 5 or unknown or field.message_type.GetOptions().map_entry:
                return
            if many:
                for _ in range(self._rng.choice((1, 2))):
                    self._random(getattr(message, field.name).add(), depth + 1)
            else:
                child = getattr(message, field.name)
                child.SetInParent()
                self._random(child, depth + 1)
        elif many:
            getattr(message, field.name).append(self._scalar(field))
        else:
            setattr(message, field.name, self._scalar(field))

    def _scalar(self, field: FieldDescriptor) -> object:
        rng = self._rng
        if field.type == FieldDescriptor.TYPE_BYTES:
            return rng.choice((b"", b"\0", b"\1", rng.randbytes(4), rng.randbytes(17), bytes(3000)))
        match field.cpp_type:
            case FieldDescriptor.CPPTYPE_BOOL:
                return rng.random() < 0.5
            case FieldDescriptor.CPPTYPE_ENUM:
                return rng.choice((0, 1, 2, 3, 7, 99))
            case FieldDescriptor.CPPTYPE_STRING:
                return rng.choice(("", "x", "Forward.host", "%s%n" * 5, '\\\n"*/', "a" * 5000))
            case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
                return rng.choice((0.0, -1.0, float("nan")))
            case _:
                pass
        low, high = LIMITS[field.cpp_type]
        if field.name.endswith("_id") and rng.random() < 0.7:
            return min(high, rng.choice(self._ids))
        return max(low, min(high, rng.choice((*EDGES, rng.randint(0, 9)))))

    # Damage

    def _damage(self, message: Message) -> None:
        """One change somewhere in the tree: a field cleared, set to an edge, or repeated."""
        while True:
            present = [field for field, _ in message.ListFields()]
            children = [f for f in present if f.message_type is not None]
            if not children or self._rng.random() < 0.3:
                break
            field = self._rng.choice(children)
            child = getattr(message, field.name)
            if field.is_repeated:
                if not _is_message(field) or not child:
                    return
                child = self._rng.choice(list(child))
            message = child
        present = [field for field, _ in message.ListFields()]
        kind = self._rng.random()
        if present and kind < 0.3:
            message.ClearField(self._rng.choice(present).name)
        elif present and kind < 0.5:
            field = self._rng.choice(present)
            if field.is_repeated and _is_message(field):
                items = getattr(message, field.name)
                items.add().CopyFrom(self._rng.choice(list(items)))
        elif message.DESCRIPTOR.fields:
            self._set(message, self._rng.choice(message.DESCRIPTOR.fields), 3)

    def _damage_bytes(self, data: bytes) -> bytes:
        out = bytearray(data)
        for _ in range(self._rng.randint(1, 4)):
            at = self._rng.randrange(len(out) + 1)
            match self._rng.randrange(4):
                case 0:
                    del out[at:]
                case 1:
                    out[at:at] = self._rng.randbytes(self._rng.randint(1, 8))
                case 2:
                    out[at : at + 1] = self._rng.randbytes(1)
                case _:
                    del out[at : at + self._rng.randint(1, 8)]
        return bytes(out)

# SPDX-License-Identifier: Apache-2.0
"""Match fields of one table: P4Runtime FieldMatch messages <-> data-plane keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from p4rt_stubs.p4.config.v1 import p4info_pb2 as p4info
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt

from softswitch.api import Key, KeyInfo
from softswitch.p4runtime.bytestring import bad_bytestring, decode, encode
from softswitch.p4runtime.errors import P4RuntimeError, invalid
from softswitch.p4runtime.p4info import match_kind

Pair = tuple[int, int]
Decoder = Callable[[p4rt.FieldMatch], Pair]
Encoder = Callable[[p4rt.TableEntry, Pair], None]


class KeyCodec:
    """Decodes and encodes the match of one table; built once per pushed pipeline."""

    def __init__(
        self, table: str, fields: Sequence[p4info.MatchField], keys: Sequence[KeyInfo]
    ) -> None:
        self._table = table
        position = {key.name: index for index, key in enumerate(keys)}
        self._decoders: dict[int, tuple[int, Decoder]] = {}
        self._encoders: list[tuple[int, Encoder]] = []
        self._absent: list[Pair | None] = [None] * len(keys)
        self._names = [key.name for key in keys]
        self.needs_priority = False
        for field in fields:
            kind, limit = match_kind(field), (1 << field.bitwidth) - 1
            what = f"table {table!r} field {field.name!r}"
            index = position[field.name]
            decoder, absent = _decoder(kind, limit, what)
            self._decoders[field.id] = (index, decoder)
            self._absent[index] = absent
            self._encoders.append((index, _encoder(kind, field.id, absent)))
            self.needs_priority |= kind in ("ternary", "range", "optional")

    def decode(self, match: Iterable[p4rt.FieldMatch]) -> Key:
        """The key; fields that are left out are don't care.

        INVALID_ARGUMENT: unknown, repeated, missing or malformed field, or a don't care that is
        spelled out (spec 9.1.1).
        """
        key: list[Pair | None] = [None] * len(self._absent)
        decoders = self._decoders
        for field in match:
            found = decoders.get(field.field_id)
            if found is None:
                raise invalid(f"table {self._table!r}: no match field with id {field.field_id}")
            index, decoder = found
            if key[index] is not None:
                raise invalid(f"table {self._table!r}: field {self._names[index]!r} given twice")
            key[index] = decoder(field)
        if None in key:
            return self._fill(key)
        return tuple(key)  # pyright: ignore[reportReturnType] # no None is left

    def _fill(self, key: Sequence[Pair | None]) -> Key:
        filled: list[Pair] = []
        for index, pair in enumerate(key):
            pair = self._absent[index] if pair is None else pair
            if pair is None:
                raise invalid(
                    f"table {self._table!r}: exact field {self._names[index]!r} is missing"
                )
            filled.append(pair)
        return tuple(filled)

    def encode(self, key: Key, entry: p4rt.TableEntry) -> None:
        """Append the match of `key`, in P4Info order and without don't cares, to `entry`."""
        for index, encoder in self._encoders:
            encoder(entry, key[index])

    def check_priority(self, priority: int) -> None:
        """INVALID_ARGUMENT unless above 0 exactly when a field is ternary, range or optional."""
        if (priority > 0) != self.needs_priority or priority < 0:
            wanted = "above 0" if self.needs_priority else "0"
            raise invalid(f"table {self._table!r}: priority {priority}, must be {wanted}")


def _decoder(kind: str, limit: int, what: str) -> tuple[Decoder, Pair | None]:
    """The decoder of one field, and what its absence means (None: it may not be absent)."""

    def exact(field: p4rt.FieldMatch) -> Pair:
        if not field.HasField("exact"):
            raise _wrong_kind(field, "exact", what)
        value = field.exact.value
        number = int.from_bytes(value, "big")
        if number > limit or not value:
            raise bad_bytestring(value, limit, what)
        return number, limit

    def ternary(field: p4rt.FieldMatch) -> Pair:
        if not field.HasField("ternary"):
            raise _wrong_kind(field, "ternary", what)
        value = decode(field.ternary.value, limit, what)
        mask = decode(field.ternary.mask, limit, what)
        if mask == 0:
            raise invalid(f"{what}: mask 0 is don't care; leave the field out")
        if value & ~mask:
            raise invalid(f"{what}: value has bits outside its mask")
        return value, mask

    def lpm(field: p4rt.FieldMatch) -> Pair:
        if not field.HasField("lpm"):
            raise _wrong_kind(field, "lpm", what)
        width, length = limit.bit_length(), field.lpm.prefix_len
        value = decode(field.lpm.value, limit, what)
        if length == 0:
            raise invalid(f"{what}: prefix length 0 is don't care; leave the field out")
        if not 0 < length <= width:
            raise invalid(f"{what}: prefix length {length}, must be 1 to {width}")
        mask = limit ^ (limit >> length)
        if value & ~mask:
            raise invalid(f"{what}: value has bits beyond its prefix of {length}")
        return value, mask

    def between(field: p4rt.FieldMatch) -> Pair:
        if not field.HasField("range"):
            raise _wrong_kind(field, "range", what)
        low = decode(field.range.low, limit, what)
        high = decode(field.range.high, limit, what)
        if low > high:
            raise invalid(f"{what}: range low {low} is above high {high}")
        if (low, high) == (0, limit):
            raise invalid(f"{what}: the full range is don't care; leave the field out")
        return low, high

    def optional(field: p4rt.FieldMatch) -> Pair:
        if not field.HasField("optional"):
            raise _wrong_kind(field, "optional", what)
        return decode(field.optional.value, limit, what), limit

    decoders: dict[str, tuple[Decoder, Pair | None]] = {
        "exact": (exact, None),
        "ternary": (ternary, (0, 0)),
        "lpm": (lpm, (0, 0)),
        "range": (between, (0, limit)),
        "optional": (optional, (0, 0)),
    }
    return decoders[kind]


def _wrong_kind(field: p4rt.FieldMatch, kind: str, what: str) -> P4RuntimeError:
    return invalid(f"{what}: match kind {field.WhichOneof('field_match_type')}, must be {kind}")


def _encoder(kind: str, field_id: int, absent: Pair | None) -> Encoder:
    """Appends one field to an entry, unless it is a don't care."""

    def exact(entry: p4rt.TableEntry, pair: Pair) -> None:
        entry.match.add(field_id=field_id).exact.value = encode(pair[0])

    def ternary(entry: p4rt.TableEntry, pair: Pair) -> None:
        if pair != absent:
            field = entry.match.add(field_id=field_id).ternary
            field.value, field.mask = encode(pair[0]), encode(pair[1])

    def lpm(entry: p4rt.TableEntry, pair: Pair) -> None:
        if pair != absent:
            field = entry.match.add(field_id=field_id).lpm
            field.value, field.prefix_len = encode(pair[0]), pair[1].bit_count()

    def between(entry: p4rt.TableEntry, pair: Pair) -> None:
        if pair != absent:
            field = entry.match.add(field_id=field_id).range
            field.low, field.high = encode(pair[0]), encode(pair[1])

    def optional(entry: p4rt.TableEntry, pair: Pair) -> None:
        if pair != absent:
            entry.match.add(field_id=field_id).optional.value = encode(pair[0])

    encoders: dict[str, Encoder] = {
        "exact": exact,
        "ternary": ternary,
        "lpm": lpm,
        "range": between,
        "optional": optional,
    }
    return encoders[kind]

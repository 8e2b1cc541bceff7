# SPDX-License-Identifier: Apache-2.0
"""Indexed objects: counters, meters and registers (spec 9.3, 9.4, 9.9)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol, TypeVar

from p4rt_stubs.p4.config.v1 import p4info_pb2 as p4info
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt

from softswitch.api import DataplaneApi
from softswitch.p4runtime.bytestring import decode, encode
from softswitch.p4runtime.errors import Code, P4RuntimeError, invalid, unimplemented
from softswitch.p4runtime.pipeline import Pipeline
from softswitch.p4runtime.table_codec import decode_meter, encode_meter


class _Array(Protocol):
    @property
    def preamble(self) -> p4info.Preamble: ...
    @property
    def size(self) -> int: ...


class _IndexedEntry(Protocol):
    @property
    def index(self) -> p4rt.Index: ...
    def HasField(self, field_name: str, /) -> bool: ...


_Found = TypeVar("_Found", bound=_Array)


def find(objects: Mapping[int, _Found], object_id: int, what: str, pipeline: Pipeline) -> _Found:
    """The array with this id; INVALID_ARGUMENT, saying what the id stands for."""
    found = objects.get(object_id)
    if found is None:
        meaning = pipeline.index.describe(object_id)
        raise invalid(f"Invalid P4 id {object_id:#x} ({meaning}): not an indirect {what}")
    return found


def indices(entry: _IndexedEntry, array: _Array) -> Iterable[int]:
    """The cells an entry stands for: one, or all without an index.

    INVALID_ARGUMENT: negative index. OUT_OF_RANGE: past the end.
    """
    if not entry.HasField("index"):
        return range(array.size)
    index, name = entry.index.index, array.preamble.name
    if index < 0:
        raise invalid(f"{name!r}: index {index} is negative")
    if index >= array.size:
        raise P4RuntimeError(Code.OUT_OF_RANGE, f"{name!r}: index {index}, size is {array.size}")
    return (index,)


def merged_counter(
    unit: int, data: p4rt.CounterData, current: tuple[int, int], what: str
) -> tuple[int, int]:
    """(packets, bytes) after a write, which sets only the units that P4Info declares."""
    if data.packet_count < 0 or data.byte_count < 0:
        raise invalid(f"{what}: negative count")
    packets = current[0] if unit == p4info.CounterSpec.BYTES else data.packet_count
    size = current[1] if unit == p4info.CounterSpec.PACKETS else data.byte_count
    return packets, size


def write_counter(pipeline: Pipeline, dataplane: DataplaneApi, entry: p4rt.CounterEntry) -> None:
    """MODIFY of one cell, or of all."""
    counter = find(pipeline.index.counters, entry.counter_id, "counter", pipeline)
    name = counter.preamble.name
    for index in indices(entry, counter):
        current = dataplane.counter_read(name, index)
        packets, size = merged_counter(counter.spec.unit, entry.data, current, f"counter {name!r}")
        dataplane.counter_write(name, index, packets, size)


def read_counter(
    pipeline: Pipeline, dataplane: DataplaneApi, entry: p4rt.CounterEntry
) -> Iterator[p4rt.Entity]:
    """The cells asked for; counter id 0: of every counter. Both counts, as BMv2."""
    for counter in _selected(pipeline.index.counters, entry.counter_id, "counter", pipeline):
        name = counter.preamble.name
        if entry.HasField("index"):
            cells = ((i, dataplane.counter_read(name, i)) for i in indices(entry, counter))
        else:
            cells = enumerate(dataplane.counter_read_all(name))
        for index, (packets, size) in cells:
            entity = p4rt.Entity()
            answer = entity.counter_entry
            answer.counter_id = counter.preamble.id
            answer.index.index = index
            answer.data.packet_count, answer.data.byte_count = packets, size
            yield entity


def write_meter(pipeline: Pipeline, dataplane: DataplaneApi, entry: p4rt.MeterEntry) -> None:
    """MODIFY of one cell, or of all; config unset resets to always green."""
    meter = find(pipeline.index.meters, entry.meter_id, "meter", pipeline)
    name = meter.preamble.name
    if entry.HasField("counter_data"):
        raise unimplemented(f"meter {name!r}: counter_data is not supported")
    config = None
    if entry.HasField("config"):
        config = decode_meter(entry.config, f"meter {name!r}")
    for index in indices(entry, meter):
        dataplane.meter_set(name, index, config)


def read_meter(
    pipeline: Pipeline, dataplane: DataplaneApi, entry: p4rt.MeterEntry
) -> Iterator[p4rt.Entity]:
    """The cells asked for; config stays unset where the meter has its default."""
    for meter in _selected(pipeline.index.meters, entry.meter_id, "meter", pipeline):
        for index in indices(entry, meter):
            entity = p4rt.Entity()
            answer = entity.meter_entry
            answer.meter_id = meter.preamble.id
            answer.index.index = index
            config = dataplane.meter_get(meter.preamble.name, index)
            if config is not None:
                encode_meter(config, answer.config)
            yield entity


def write_register(pipeline: Pipeline, dataplane: DataplaneApi, entry: p4rt.RegisterEntry) -> None:
    """MODIFY of one cell, or of all."""
    register = find(pipeline.index.registers, entry.register_id, "register", pipeline)
    name = register.preamble.name
    width = pipeline.program.registers[name].width
    kind = _register_kind(register)
    if not entry.HasField("data") or entry.data.WhichOneof("data") != kind:
        raise invalid(f"register {name!r}: data must be a {kind}")
    if kind == "bool":
        value = int(entry.data.bool)
    else:
        value = decode(entry.data.bitstring, (1 << width) - 1, f"register {name!r}")
    for index in indices(entry, register):
        dataplane.register_write(name, index, value)


def read_register(
    pipeline: Pipeline, dataplane: DataplaneApi, entry: p4rt.RegisterEntry
) -> Iterator[p4rt.Entity]:
    """The cells asked for; register id 0: of every register."""
    for register in _selected(pipeline.index.registers, entry.register_id, "register", pipeline):
        kind, name = _register_kind(register), register.preamble.name
        for index in indices(entry, register):
            entity = p4rt.Entity()
            answer = entity.register_entry
            answer.register_id = register.preamble.id
            answer.index.index = index
            value = dataplane.register_read(name, index)
            if kind == "bool":
                answer.data.bool = bool(value)
            else:
                answer.data.bitstring = encode(value)
            yield entity


def _register_kind(register: p4info.Register) -> str:
    spec = register.type_spec.WhichOneof("type_spec")
    if spec not in ("bitstring", "bool"):
        raise unimplemented(
            f"register {register.preamble.name!r}: cells of type {spec} are not supported"
        )
    return spec


def _selected(
    objects: Mapping[int, _Found], object_id: int, what: str, pipeline: Pipeline
) -> Iterable[_Found]:
    if object_id == 0:
        return objects.values()
    return (find(objects, object_id, what, pipeline),)

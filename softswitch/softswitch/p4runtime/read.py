# SPDX-License-Identifier: Apache-2.0
"""Read: entities with wildcards and filters (spec 11), as a lazy stream of answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt

from softswitch.api import DataplaneApi, Entry
from softswitch.errors import SoftswitchError
from softswitch.p4runtime import cells
from softswitch.p4runtime.errors import (
    EntityErrors,
    P4RuntimeError,
    from_dataplane,
    invalid,
    unimplemented,
)
from softswitch.p4runtime.pipeline import DefaultMetadata, Pipeline
from softswitch.p4runtime.profile_access import read_group, read_member
from softswitch.p4runtime.table_codec import TableCodec, encode_meter

CHUNK = 500
"""Entities in one ReadResponse: far below the 4 MiB that a client accepts by default, and enough
for the clients that look at the first response only."""

Filter = Callable[[Entry], bool]


class Reader:
    """Answers read requests under one pipeline."""

    def __init__(self, pipeline: Pipeline, dataplane: DataplaneApi) -> None:
        self._pipeline = pipeline
        self._dataplane = dataplane

    def responses(self, request: p4rt.ReadRequest) -> Iterator[p4rt.ReadResponse]:
        """The answers in chunks.

        A failing entity does not keep the others from being answered: with several, EntityErrors
        follows the good ones; a single one raises its own P4RuntimeError, as BMv2.
        """
        outcomes: list[P4RuntimeError | None] = []
        response = p4rt.ReadResponse()
        for entity in request.entities:
            outcome = None
            try:
                for answer in self._entity(entity):
                    response.entities.append(answer)
                    if len(response.entities) >= CHUNK:
                        yield response
                        response = p4rt.ReadResponse()
            except P4RuntimeError as error:
                outcome = error
            except SoftswitchError as error:
                outcome = from_dataplane(error)
            outcomes.append(outcome)
        if response.entities:
            yield response
        if any(outcomes):
            if len(outcomes) == 1 and outcomes[0] is not None:
                raise outcomes[0]
            raise EntityErrors(outcomes)

    def _entity(self, entity: p4rt.Entity) -> Iterable[p4rt.Entity]:
        which = entity.WhichOneof("entity")
        pipeline, dataplane = self._pipeline, self._dataplane
        if which == "table_entry":
            return self._table_entries(entity.table_entry)
        if which == "direct_counter_entry":
            return self._direct_counters(entity.direct_counter_entry)
        if which == "direct_meter_entry":
            return self._direct_meters(entity.direct_meter_entry)
        if which == "counter_entry":
            return cells.read_counter(pipeline, dataplane, entity.counter_entry)
        if which == "meter_entry":
            return cells.read_meter(pipeline, dataplane, entity.meter_entry)
        if which == "register_entry":
            return cells.read_register(pipeline, dataplane, entity.register_entry)
        if which == "digest_entry":
            return pipeline.digests.read(entity.digest_entry)
        if which == "action_profile_member":
            return read_member(pipeline.profiles, dataplane, entity.action_profile_member)
        if which == "action_profile_group":
            return read_group(pipeline.profiles, dataplane, entity.action_profile_group)
        if which == "packet_replication_engine_entry":
            return pipeline.replication.read(entity.packet_replication_engine_entry)
        if which is None:
            raise invalid("the request has an entity of no type")
        raise unimplemented(f"reading {which} is not supported")

    def _table_entries(self, request: p4rt.TableEntry) -> Iterator[p4rt.Entity]:
        for table in self._tables(request):
            if request.table_id:
                table.check_direct_resources(request)
            if request.is_default_action:
                yield self._default_entry(table, request)
                continue
            with_counter = request.HasField("counter_data") and table.has_counter
            with_meter = request.HasField("meter_config") and table.has_meter
            with_time = request.HasField("time_since_last_hit") and table.info.support_timeout
            for entry in self._matching(table, request):
                entity = p4rt.Entity()
                message = entity.table_entry
                table.encode(entry, message)
                if with_counter:
                    message.counter_data.packet_count = entry.packets
                    message.counter_data.byte_count = entry.bytes
                if with_meter:
                    config = self._dataplane.direct_meter_get(table.name, entry.key, entry.priority)
                    if config is not None:
                        encode_meter(config, message.meter_config)
                if with_time:
                    message.time_since_last_hit.elapsed_ns = entry.time_since_last_hit_ns
                yield entity

    def _default_entry(self, table: TableCodec, request: p4rt.TableEntry) -> p4rt.Entity:
        if request.match or request.priority:
            raise invalid(
                f"default entry of table {table.name!r}: match must be empty and priority 0"
            )
        entity = p4rt.Entity()
        table.encode_default(self._dataplane.get_default(table.name), entity.table_entry)
        stored = self._pipeline.default_metadata.get(table.table_id, DefaultMetadata())
        entity.table_entry.metadata = stored.metadata
        entity.table_entry.controller_metadata = stored.controller_metadata
        return entity

    def _tables(self, request: p4rt.TableEntry) -> Iterable[TableCodec]:
        """The table asked for, or every table."""
        if request.table_id:
            return (self._pipeline.table(request.table_id),)
        if request.match or request.HasField("action"):
            raise invalid("match and action need a table_id")
        return self._pipeline.tables.values()

    def _matching(self, table: TableCodec, request: p4rt.TableEntry) -> Iterator[Entry]:
        """Entries with this match (any if empty), priority and other filters that are set."""
        accept = _filter(table, request)
        if not request.match:
            yield from filter(accept, self._dataplane.entries(table.name))
            return
        key = table.key.decode(request.match)
        if request.priority or not table.key.needs_priority:
            entry = self._dataplane.get(table.name, key, request.priority)
            if entry is not None and accept(entry):
                yield entry
            return
        for entry in self._dataplane.entries(table.name):
            if entry.key == key and accept(entry):
                yield entry

    def _direct(
        self, request: p4rt.TableEntry, has_resource: Callable[[TableCodec], bool], what: str
    ) -> Iterator[tuple[TableCodec, Entry]]:
        for table in self._tables(request):
            if not has_resource(table):
                if request.table_id:
                    raise invalid(f"table {table.name!r} has no direct {what}")
                continue
            if request.is_default_action:
                raise unimplemented(f"table {table.name!r}: the default entry has no {what}")
            for entry in self._matching(table, request):
                yield table, entry

    def _direct_counters(self, request: p4rt.DirectCounterEntry) -> Iterator[p4rt.Entity]:
        def has(table: TableCodec) -> bool:
            return table.has_counter

        for table, entry in self._direct(request.table_entry, has, "counter"):
            entity = p4rt.Entity()
            message = entity.direct_counter_entry
            table.encode_key(entry, message.table_entry)
            message.data.packet_count, message.data.byte_count = entry.packets, entry.bytes
            yield entity

    def _direct_meters(self, request: p4rt.DirectMeterEntry) -> Iterator[p4rt.Entity]:
        def has(table: TableCodec) -> bool:
            return table.has_meter

        for table, entry in self._direct(request.table_entry, has, "meter"):
            entity = p4rt.Entity()
            message = entity.direct_meter_entry
            table.encode_key(entry, message.table_entry)
            config = self._dataplane.direct_meter_get(table.name, entry.key, entry.priority)
            if config is not None:
                encode_meter(config, message.config)
            yield entity


def _same_action(table: TableCodec, entry: Entry, wanted: p4rt.TableAction) -> bool:
    message = p4rt.TableAction()
    table.encode_action(entry, message)
    return message == wanted


def _filter(table: TableCodec, request: p4rt.TableEntry) -> Filter:
    """Does an entry have the priority, action and metadata of the request, where they are set?"""
    tests: list[Filter] = []
    if request.priority:
        tests.append(lambda entry: entry.priority == request.priority)
    if request.metadata:
        tests.append(lambda entry: entry.metadata == request.metadata)
    if request.controller_metadata:
        tests.append(lambda entry: entry.controller_metadata == request.controller_metadata)
    if request.HasField("action") and table.profile is not None:
        table.decode_action(request.action)
        tests.append(lambda entry: _same_action(table, entry, request.action))
    elif request.HasField("action"):
        name, params = table.decode_action_filter(request.action)
        tests.append(
            lambda entry: entry.action == name and (params is None or entry.params == params)
        )
    return lambda entry: all(test(entry) for test in tests)

# SPDX-License-Identifier: Apache-2.0
"""Write: batches of updates, each checked and applied in order (spec 12)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt

from softswitch.api import DataplaneApi, Entry, Key
from softswitch.errors import EntryNotFound, SoftswitchError
from softswitch.p4runtime import cells
from softswitch.p4runtime.action_codec import Choice
from softswitch.p4runtime.errors import (
    Code,
    EntityErrors,
    P4RuntimeError,
    from_dataplane,
    invalid,
    unimplemented,
)
from softswitch.p4runtime.pipeline import DefaultMetadata, Pipeline
from softswitch.p4runtime.profile_access import check_one_shot, write_group, write_member
from softswitch.p4runtime.table_codec import TableCodec, decode_meter

_INSERT, _MODIFY, _DELETE = p4rt.Update.INSERT, p4rt.Update.MODIFY, p4rt.Update.DELETE
DirectWrite = Callable[[Key, int], None]
"""Writes the direct counter or meter of the entry with this key and priority."""


class Writer:
    """Applies updates to the data plane under one pipeline."""

    def __init__(self, pipeline: Pipeline, dataplane: DataplaneApi) -> None:
        self._pipeline = pipeline
        self._dataplane = dataplane

    def apply(self, updates: Sequence[p4rt.Update], request: bytes = b"") -> None:
        """Attempt every update, in order; when this returns, the data plane has all of them.

        `request`: the serialized message that the updates are from, if there is one; the data plane
        then carries out the plain ones by itself, and leaves us those that need a closer look.
        EntityErrors, with the outcome of each, if any failed (CONTINUE_ON_ERROR).
        """
        outcomes: list[P4RuntimeError | None] = []
        failed = False
        plan = self._pipeline.bulk_plan(self._dataplane) if request else None
        at = 0
        while len(outcomes) < len(updates):
            if plan is not None:
                done, at = self._dataplane.bulk_write(plan, request, at, len(outcomes) > 0)
                outcomes += [None] * done
                if len(outcomes) == len(updates):
                    break
            try:
                self._apply(updates[len(outcomes)])
            except P4RuntimeError as error:
                outcomes.append(error)
                failed = True
            except SoftswitchError as error:
                outcomes.append(from_dataplane(error))
                failed = True
            else:
                outcomes.append(None)
        if failed:
            raise EntityErrors(outcomes)

    def _apply(self, update: p4rt.Update) -> None:
        kind = update.type
        if kind not in (_INSERT, _MODIFY, _DELETE):
            raise invalid(f"update type {kind} is not valid")
        which = update.entity.WhichOneof("entity")
        if which == "table_entry":
            self._table_entry(kind, update.entity.table_entry)
            return
        if which == "digest_entry":
            self._pipeline.digests.write(kind, update.entity.digest_entry)
            return
        if which == "action_profile_member":
            write_member(
                self._pipeline.profiles, self._dataplane, kind, update.entity.action_profile_member
            )
            return
        if which == "action_profile_group":
            write_group(
                self._pipeline.profiles, self._dataplane, kind, update.entity.action_profile_group
            )
            return
        if which == "packet_replication_engine_entry":
            entry = update.entity.packet_replication_engine_entry
            self._pipeline.replication.write(kind, entry, self._dataplane)
            return
        if which in _MODIFY_ONLY:
            if kind != _MODIFY:
                raise invalid(f"{which}: only MODIFY is allowed")
            _MODIFY_ONLY[which](self, update.entity)
            return
        if which is None:
            raise invalid("the update has no entity")
        raise unimplemented(f"writing {which} is not supported")

    def _table_entry(self, kind: p4rt.Update.Type, entry: p4rt.TableEntry) -> None:
        table = self._pipeline.table(entry.table_id)
        if entry.is_default_action:
            self._default_entry(kind, table, entry)
        elif kind == _DELETE:
            key, priority = table.decode_key(entry)
            self._require_mutable(table)
            old = self._one_shots(table, key, priority)
            self._dataplane.delete(table.name, key, priority)
            self._count_one_shots(table, -old)
        elif kind == _INSERT:
            self._insert(table, entry)
        else:
            self._modify(table, entry)

    def _insert(self, table: TableCodec, message: p4rt.TableEntry) -> None:
        if not table.info.keys:
            raise invalid(f"table {table.name!r} has no key; only its default entry can be set")
        self._require_mutable(table)
        entry = table.decode(message)
        direct = self._direct_resources(table, message)
        self._check_one_shot(table, entry)
        self._dataplane.insert(table.name, entry)
        self._count_one_shots(table, int(entry.one_shot is not None))
        for write in direct:
            write(entry.key, entry.priority)

    def _modify(self, table: TableCodec, message: p4rt.TableEntry) -> None:
        choice = None
        if not message.HasField("action"):
            # Without an action the entry keeps its own: only what hangs on it changes.
            key, priority = table.decode_key(message)
            existing = self._dataplane.get(table.name, key, priority)
            if existing is None:
                raise EntryNotFound(f"table {table.name!r}: no such entry")
            choice = Choice(
                existing.action,
                existing.params,
                existing.member,
                existing.group,
                existing.one_shot,
            )
        else:
            self._require_mutable(table)
        entry = table.decode(message, choice)
        direct = self._direct_resources(table, message)
        if not table.is_const:
            self._check_one_shot(table, entry)
            old = self._one_shots(table, entry.key, entry.priority)
            self._dataplane.modify(table.name, entry)
            self._count_one_shots(table, int(entry.one_shot is not None) - old)
        if table.has_meter and not message.HasField("meter_config"):
            self._dataplane.direct_meter_set(table.name, entry.key, entry.priority, None)
        for write in direct:
            write(entry.key, entry.priority)

    def _check_one_shot(self, table: TableCodec, entry: Entry) -> None:
        if table.profile is not None and entry.one_shot is not None:
            check_one_shot(table.profile, self._dataplane)

    def _one_shots(self, table: TableCodec, key: Key, priority: int) -> int:
        """1 if this entry exists and has an action set."""
        if table.profile is None:
            return 0
        old = self._dataplane.get(table.name, key, priority)
        return int(old is not None and old.one_shot is not None)

    @staticmethod
    def _count_one_shots(table: TableCodec, change: int) -> None:
        if table.profile is not None:
            table.profile.one_shots += change

    def _direct_resources(self, table: TableCodec, message: p4rt.TableEntry) -> list[DirectWrite]:
        """Checks counter and meter data now; the result writes them once the entry exists."""
        table.check_direct_resources(message)
        writes: list[DirectWrite] = []
        if message.HasField("counter_data"):
            data = message.counter_data
            if data.packet_count < 0 or data.byte_count < 0:
                raise invalid(f"table {table.name!r}: negative count")
            writes.append(
                lambda key, priority: self._dataplane.direct_counter_write(
                    table.name, key, priority, data.packet_count, data.byte_count
                )
            )
        if message.HasField("meter_config"):
            config = decode_meter(message.meter_config, f"table {table.name!r}")
            writes.append(
                lambda key, priority: self._dataplane.direct_meter_set(
                    table.name, key, priority, config
                )
            )
        return writes

    def _default_entry(
        self, kind: p4rt.Update.Type, table: TableCodec, message: p4rt.TableEntry
    ) -> None:
        where = f"default entry of table {table.name!r}"
        if kind != _MODIFY:
            raise invalid(f"{where}: only MODIFY is allowed")
        if message.match or message.priority:
            raise invalid(f"{where}: match must be empty and priority 0")
        if message.idle_timeout_ns or message.HasField("time_since_last_hit"):
            raise invalid(f"{where}: it does not age")
        if message.is_const:
            raise invalid(f"{where}: is_const cannot be written")
        if table.profile is not None:
            raise invalid(f"{where}: the table has an action profile, so it has none")
        if table.info.const_default_action:
            raise P4RuntimeError(Code.PERMISSION_DENIED, f"{where} is const")
        table.check_direct_resources(message)
        if message.HasField("counter_data") or message.HasField("meter_config"):
            raise unimplemented(f"{where}: it has no counter or meter on this target")
        stored = self._pipeline.default_metadata
        if message.HasField("action"):
            choice = table.decode_action(message.action, default=True)
            self._dataplane.set_default(table.name, choice.action, choice.params)
            stored[table.table_id] = DefaultMetadata(message.metadata, message.controller_metadata)
        else:
            self._dataplane.set_default(table.name, None)
            stored.pop(table.table_id, None)

    def direct_counter(self, entity: p4rt.Entity) -> None:
        """MODIFY of a direct_counter_entry."""
        message = entity.direct_counter_entry
        table = self._pipeline.table(message.table_entry.table_id)
        if not table.has_counter:
            raise invalid(f"table {table.name!r} has no direct counter")
        if message.table_entry.is_default_action:
            raise unimplemented(f"table {table.name!r}: the default entry has no counter")
        for key, priority in self._entries(table, message.table_entry):
            entry = self._dataplane.get(table.name, key, priority)
            if entry is None:
                raise EntryNotFound(f"table {table.name!r}: no such entry")
            packets, size = cells.merged_counter(
                table.counter_unit, message.data, (entry.packets, entry.bytes), table.name
            )
            self._dataplane.direct_counter_write(table.name, key, priority, packets, size)

    def direct_meter(self, entity: p4rt.Entity) -> None:
        """MODIFY of a direct_meter_entry."""
        message = entity.direct_meter_entry
        table = self._pipeline.table(message.table_entry.table_id)
        if not table.has_meter:
            raise invalid(f"table {table.name!r} has no direct meter")
        if message.table_entry.is_default_action:
            raise unimplemented(f"table {table.name!r}: the default entry has no meter")
        config = None
        if message.HasField("config"):
            config = decode_meter(message.config, f"table {table.name!r}")
        for key, priority in self._entries(table, message.table_entry):
            self._dataplane.direct_meter_set(table.name, key, priority, config)

    def _entries(self, table: TableCodec, message: p4rt.TableEntry) -> list[tuple[Key, int]]:
        """The entry with this match, or every entry if the match is empty."""
        if message.match:
            return [table.decode_key(message)]
        return [(entry.key, entry.priority) for entry in self._dataplane.entries(table.name)]

    def _require_mutable(self, table: TableCodec) -> None:
        if table.is_const:
            raise P4RuntimeError(
                Code.PERMISSION_DENIED,
                f"table {table.name!r} is const: the program has its entries",
            )

    def counter(self, entity: p4rt.Entity) -> None:
        """MODIFY of a counter_entry."""
        cells.write_counter(self._pipeline, self._dataplane, entity.counter_entry)

    def meter(self, entity: p4rt.Entity) -> None:
        """MODIFY of a meter_entry."""
        cells.write_meter(self._pipeline, self._dataplane, entity.meter_entry)

    def register(self, entity: p4rt.Entity) -> None:
        """MODIFY of a register_entry."""
        cells.write_register(self._pipeline, self._dataplane, entity.register_entry)


_MODIFY_ONLY: dict[str, Callable[[Writer, p4rt.Entity], None]] = {
    "counter_entry": Writer.counter,
    "direct_counter_entry": Writer.direct_counter,
    "meter_entry": Writer.meter,
    "direct_meter_entry": Writer.direct_meter,
    "register_entry": Writer.register,
}

# SPDX-License-Identifier: Apache-2.0
"""Table entries of one table: P4Runtime messages <-> `softswitch.api.Entry`."""

from __future__ import annotations

from p4rt_stubs.p4.config.v1 import p4info_pb2 as p4info
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt

from softswitch.api import DefaultAction, Entry, MeterConfig, TableInfo
from softswitch.p4runtime.action_codec import ActionCodec, Choice
from softswitch.p4runtime.errors import Code, P4RuntimeError, invalid, unimplemented
from softswitch.p4runtime.match import KeyCodec
from softswitch.p4runtime.p4info import P4InfoIndex, match_kind
from softswitch.p4runtime.profile_codec import ProfileCodec
from softswitch.wire_plan import WireTable

_BURST_LIMIT = (1 << 32) - 1


class TableCodec:
    """Everything needed to check, decode and encode entries of one table."""

    def __init__(
        self,
        table: p4info.Table,
        index: P4InfoIndex,
        info: TableInfo,
        profile: ProfileCodec | None = None,
    ) -> None:
        self.table_id = table.preamble.id
        self.name = table.preamble.name
        self.info = info
        self.is_const = table.is_const_table or info.is_const_table
        self.key = KeyCodec(self.name, table.match_fields, info.keys)
        counters = [index.direct_counters.get(i) for i in table.direct_resource_ids]
        self.counter_unit = next((counter.spec.unit for counter in counters if counter), 0)
        self.has_counter = any(counters)
        self.has_meter = any(i in index.direct_meters for i in table.direct_resource_ids)
        self.profile = profile
        self._index = index
        self._actions: dict[int, ActionCodec] = {}
        for ref in table.action_refs:
            action = index.actions[ref.id]
            self._actions[ref.id] = ActionCodec.build(action, ref.scope)
        self._by_name = {action.name: action for action in self._actions.values()}

    def decode_action(self, action: p4rt.TableAction, *, default: bool = False) -> Choice:
        """What the entry does; PERMISSION_DENIED if the scope forbids the action here."""
        if self.profile is not None:
            return self.profile.decode_choice(action, self.name)
        if not action.HasField("action"):
            kind = action.WhichOneof("type")
            if kind is None:
                raise invalid(f"table {self.name!r}: the action is empty")
            raise invalid(f"table {self.name!r}: {kind} needs an action profile; it has none")
        message = action.action
        found = self._actions.get(message.action_id)
        if found is None:
            raise self._bad_action(message.action_id)
        if not (found.as_default if default else found.in_entries):
            where = "as the default action" if default else "in entries"
            raise P4RuntimeError(
                Code.PERMISSION_DENIED,
                f"table {self.name!r}: action {found.name!r} is not allowed {where}",
            )
        return Choice(found.name, found.decode_params(message))

    def decode_action_filter(self, action: p4rt.TableAction) -> tuple[str, tuple[int, ...] | None]:
        """(name, parameters) to look for; None: any parameters, when none are given."""
        found = self._actions.get(action.action.action_id)
        if found is None:
            raise self._bad_action(action.action.action_id)
        return found.name, found.decode_params(action.action) if action.action.params else None

    def _bad_action(self, action_id: int) -> P4RuntimeError:
        if action_id in self._index.actions:
            name = self._index.describe(action_id)
            return invalid(f"table {self.name!r} does not have {name}")
        return invalid(f"Invalid P4 id {action_id:#x}: not an action")

    def check_direct_resources(self, entry: p4rt.TableEntry) -> None:
        """INVALID_ARGUMENT if counter or meter data is given and the table has no such resource."""
        if entry.HasField("counter_data") and not self.has_counter:
            raise invalid(f"table {self.name!r} has no direct counter")
        if entry.HasField("meter_config") and not self.has_meter:
            raise invalid(f"table {self.name!r} has no direct meter")
        if entry.HasField("meter_counter_data"):
            raise unimplemented(f"table {self.name!r}: meter_counter_data is not supported")

    def decode(self, message: p4rt.TableEntry, choice: Choice | None = None) -> Entry:
        """An entry to insert or modify; `choice` stands in for one that the message leaves out."""
        if message.HasField("time_since_last_hit"):
            raise invalid(f"table {self.name!r}: time_since_last_hit cannot be written")
        if message.is_const:
            raise invalid(f"table {self.name!r}: is_const cannot be written")
        key, priority = self.decode_key(message)
        timeout = message.idle_timeout_ns
        if timeout < 0 or (timeout and not self.info.support_timeout):
            reason = "negative" if timeout < 0 else "not supported by this table"
            raise invalid(f"table {self.name!r}: idle_timeout_ns {timeout} is {reason}")
        if choice is None:
            if not message.HasField("action"):
                raise invalid(f"table {self.name!r}: an entry needs an action")
            choice = self.decode_action(message.action)
        return Entry(
            key,
            choice.action,
            choice.params,
            priority,
            timeout,
            message.metadata,
            message.controller_metadata,
            member=choice.member,
            group=choice.group,
            one_shot=choice.one_shot,
        )

    def decode_key(self, message: p4rt.TableEntry) -> tuple[tuple[tuple[int, int], ...], int]:
        """(key, priority): what identifies an entry."""
        key = self.key.decode(message.match)
        self.key.check_priority(message.priority)
        return key, message.priority

    def wire_table(self) -> WireTable:
        """What the data plane needs to read entries of this table from serialized messages."""
        return WireTable(
            name=self.name,
            table_id=self.table_id,
            # A modification without a configuration also resets the direct meter.
            modify=not self.has_meter,
            fields={
                f.name: (f.id, match_kind(f))
                for f in self._index.tables[self.table_id].match_fields
            },
            actions={
                action.action_id: (action.name, action.param_ids)
                for action in self._actions.values()
                if action.in_entries
            },
        )

    def encode(self, entry: Entry, message: p4rt.TableEntry) -> None:
        """Fill in what an entry was written with; counters and times are the caller's business."""
        self.encode_key(entry, message)
        self.encode_action(entry, message.action)
        self._encode_metadata(entry, message)
        if entry.is_const:
            message.is_const = True

    def encode_key(self, entry: Entry, message: p4rt.TableEntry) -> None:
        """Fill in table id, match and priority."""
        message.table_id = self.table_id
        self.key.encode(entry.key, message)
        if entry.priority:
            message.priority = entry.priority

    def encode_idle(self, entry: Entry, message: p4rt.TableEntry) -> None:
        """Fill in exactly what an idle notification carries (spec 17.4; clients compare it)."""
        self.encode_key(entry, message)
        self._encode_metadata(entry, message)

    def encode_default(self, default: DefaultAction | None, message: p4rt.TableEntry) -> None:
        """Fill in the default entry."""
        message.table_id = self.table_id
        message.is_default_action = True
        if default is not None and default.action in self._by_name:
            self._by_name[default.action].encode(default.params, message.action.action)

    def encode_action(self, entry: Entry, message: p4rt.TableAction) -> None:
        """Fill in what an entry does."""
        if self.profile is None:
            self._by_name[entry.action].encode(entry.params, message.action)
        else:
            choice = Choice(member=entry.member, group=entry.group, one_shot=entry.one_shot)
            self.profile.encode_choice(choice, message)

    @staticmethod
    def _encode_metadata(entry: Entry, message: p4rt.TableEntry) -> None:
        if entry.controller_metadata:
            message.controller_metadata = entry.controller_metadata
        if entry.metadata:
            message.metadata = entry.metadata
        if entry.idle_timeout_ns:
            message.idle_timeout_ns = entry.idle_timeout_ns


def decode_meter(config: p4rt.MeterConfig, what: str) -> MeterConfig | None:
    """A meter configuration; None, always green, for -1 in all fields (spec 9.4).

    INVALID_ARGUMENT: negative or PIR below CIR. UNIMPLEMENTED: eburst, burst above 2**32 - 1.
    """
    values = (config.cir, config.cburst, config.pir, config.pburst)
    if all(value == -1 for value in values):
        return None
    if min(values) < 0:
        raise invalid(f"{what}: negative rate or burst")
    if config.pir < config.cir:
        raise invalid(f"{what}: pir {config.pir} is below cir {config.cir}")
    if max(config.cburst, config.pburst) > _BURST_LIMIT:
        raise unimplemented(f"{what}: a burst above {_BURST_LIMIT} is not supported")
    if config.eburst:
        raise unimplemented(f"{what}: eburst is not supported")
    return MeterConfig(*values)


def encode_meter(config: MeterConfig, message: p4rt.MeterConfig) -> None:
    """Fill in a meter configuration."""
    message.cir, message.cburst = config.cir, config.cburst
    message.pir, message.pburst = config.pir, config.pburst

# SPDX-License-Identifier: Apache-2.0
"""Index of a P4Info message by id, checked for consistency and against the program."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

from p4rt_stubs.p4.config.v1 import p4info_pb2 as p4info

from softswitch.api import ProgramInfo, TableInfo
from softswitch.p4runtime.digest_types import DigestType
from softswitch.p4runtime.errors import invalid

MatchType = p4info.MatchField.MatchType
_KINDS: dict[int, str] = {
    p4info.MatchField.EXACT: "exact",
    p4info.MatchField.LPM: "lpm",
    p4info.MatchField.TERNARY: "ternary",
    p4info.MatchField.RANGE: "range",
    p4info.MatchField.OPTIONAL: "optional",
}


class _HasPreamble(Protocol):
    @property
    def preamble(self) -> p4info.Preamble: ...


def match_kind(field: p4info.MatchField) -> str:
    """The kind in lower case, or "other" for those of another architecture."""
    return _KINDS.get(field.match_type, "other")


_Item = TypeVar("_Item", bound=_HasPreamble)


class P4InfoIndex:
    """The objects of a P4Info message by id.

    Building it raises INVALID_ARGUMENT with the object's name when ids are missing or used twice,
    when a reference leads nowhere, or when the program declares something else.
    """

    def __init__(self, info: p4info.P4Info, program: ProgramInfo) -> None:
        self._seen: dict[int, str] = {}
        self.tables = {table.preamble.id: table for table in self._unique("table", info.tables)}
        self.actions = {
            action.preamble.id: action for action in self._unique("action", info.actions)
        }
        self.counters = {
            counter.preamble.id: counter for counter in self._unique("counter", info.counters)
        }
        self.direct_counters = {
            counter.preamble.id: counter
            for counter in self._unique("direct counter", info.direct_counters)
        }
        self.meters = {meter.preamble.id: meter for meter in self._unique("meter", info.meters)}
        self.direct_meters = {
            meter.preamble.id: meter for meter in self._unique("direct meter", info.direct_meters)
        }
        self.registers = {
            register.preamble.id: register for register in self._unique("register", info.registers)
        }
        self.packet_in: list[p4info.ControllerPacketMetadata.Metadata] = []
        self.packet_out: list[p4info.ControllerPacketMetadata.Metadata] = []
        for header in info.controller_packet_metadata:
            if header.preamble.name == "packet_in":
                self.packet_in = list(header.metadata)
            elif header.preamble.name == "packet_out":
                self.packet_out = list(header.metadata)
        self.profiles = {
            profile.preamble.id: profile
            for profile in self._unique("action profile", info.action_profiles)
        }
        self.digests = {
            digest.preamble.id: digest for digest in self._unique("digest", info.digests)
        }
        self.digest_types = {
            digest_id: DigestType(digest, info.type_info.structs)
            for digest_id, digest in self.digests.items()
        }
        self._check(program)

    def describe(self, object_id: int) -> str:
        """What an id stands for, for error messages: `action 'x'`, or `unknown id 0x...`."""
        return self._seen.get(object_id, f"unknown id {object_id:#x}")

    def _unique(self, what: str, items: Iterable[_Item]) -> list[_Item]:
        result = list(items)
        for item in result:
            name, object_id = item.preamble.name, item.preamble.id
            if object_id == 0 or not name:
                raise invalid(f"P4Info {what} {name!r}: a name and an id other than 0 are required")
            if object_id in self._seen:
                raise invalid(
                    f"P4Info {what} {name!r}: id {object_id:#x} is that of {self._seen[object_id]}"
                )
            self._seen[object_id] = f"{what} {name!r}"
        return result

    def _check(self, program: ProgramInfo) -> None:
        for table in self.tables.values():
            known = program.tables.get(table.preamble.name)
            if known is None:
                raise _mismatch("table", table.preamble.name, "the device config has no such table")
            self._check_table(table, known)
        for what, objects, names in (
            ("counter", self.counters, program.counters),
            ("meter", self.meters, program.meters),
            ("register", self.registers, program.registers),
        ):
            for item in objects.values():
                name, size = item.preamble.name, item.size
                if name not in names:
                    raise _mismatch(what, name, f"the device config has no such {what}")
                if names[name].size != size:
                    raise _mismatch(
                        what, name, f"size {size} here, {names[name].size} in the device config"
                    )

        for profile in self.profiles.values():
            self._check_profile(profile, program)
        for digest in self.digests.values():
            self._check_digest(digest, program)

    def _check_profile(self, profile: p4info.ActionProfile, program: ProgramInfo) -> None:
        name = profile.preamble.name
        known = program.profiles.get(name)
        if known is None:
            raise _mismatch("action profile", name, "the device config has no such profile")
        if known.with_selector != profile.with_selector:
            raise _mismatch("action profile", name, "only one of them has a selector")
        if known.size != profile.size:
            raise _mismatch(
                "action profile", name, f"size {profile.size} here, {known.size} in device config"
            )
        if profile.HasField("sum_of_members"):
            raise invalid(f"P4Info action profile {name!r}: sum_of_members is not supported")

    def _check_digest(self, digest: p4info.Digest, program: ProgramInfo) -> None:
        name = digest.preamble.name
        known = program.digests.get(name)
        if known is None:
            raise _mismatch("digest", name, "the device config has no such digest")
        here = self.digest_types[digest.preamble.id].widths
        if here is None:
            raise invalid(f"P4Info digest {name!r}: data of this type is not supported")
        if here != tuple(width for _, width in known.fields):
            raise _mismatch("digest", name, "the fields have other widths")

    def _check_table(self, table: p4info.Table, known: TableInfo) -> None:
        name = table.preamble.name
        profile = self.profiles.get(table.implementation_id)
        if (profile.preamble.name if profile else None) != known.profile:
            raise _mismatch("table", name, f"its action profile is {known.profile} there")
        keys = {key.name: key for key in known.keys}
        here = [field.name for field in table.match_fields]
        if sorted(here) != sorted(keys):
            raise _mismatch(
                "table", name, f"match fields {here} here, {list(keys)} in the device config"
            )
        if len({field.id for field in table.match_fields}) != len(here):
            raise _mismatch("table", name, "two match fields have the same id")
        for field in table.match_fields:
            key, kind = keys[field.name], match_kind(field)
            if field.bitwidth != key.width:
                raise _mismatch(
                    "table",
                    name,
                    f"match field {field.name!r} has {field.bitwidth} bits here,"
                    f" {key.width} in the device config",
                )
            if kind != key.kind and (kind, key.kind) != ("optional", "ternary"):
                raise _mismatch(
                    "table",
                    name,
                    f"match field {field.name!r} is {kind} here, {key.kind} in the device config",
                )
        for ref in table.action_refs:
            action = self.actions.get(ref.id)
            if action is None:
                raise _mismatch("table", name, f"action id {ref.id:#x} is not in P4Info")
            self._check_action(table, action, known)

    def _check_action(self, table: p4info.Table, action: p4info.Action, known: TableInfo) -> None:
        name = action.preamble.name
        compiled = known.actions.get(name)
        where = f"action {name!r}"
        if compiled is None:
            raise _mismatch("table", table.preamble.name, f"{where} is not in the device config")
        here = tuple((param.name, param.bitwidth) for param in action.params)
        if here != tuple(compiled.params):
            raise _mismatch(
                "table",
                table.preamble.name,
                f"{where} has parameters {_params(here)} here,"
                f" {_params(compiled.params)} in the device config",
            )
        if len({param.id for param in action.params}) != len(here):
            raise _mismatch("table", table.preamble.name, f"{where}: two parameters share an id")


def _params(params: Iterable[tuple[str, int]]) -> str:
    return "(" + ", ".join(f"bit<{width}> {name}" for name, width in params) + ")"


def _mismatch(what: str, name: str, detail: str) -> Exception:
    return invalid(
        f"P4Info and device config disagree: {what} {name!r}: {detail}."
        " Push both from one compiler run"
    )

# SPDX-License-Identifier: Apache-2.0
"""Action profiles and digests as the control plane sees them. Part of `softswitch.api`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ActionInfo:
    """An action and its run-time parameters as (name, width in bits)."""

    name: str
    params: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class ProfileInfo:
    """An action profile. `with_selector`: it may have groups, and one-shot entries refer to it.

    `size`: members at most (P4Info's `size`; weights count in one-shot entries and groups only).
    `tables`: the tables that it serves.
    """

    name: str
    size: int
    with_selector: bool
    tables: tuple[str, ...]
    actions: Mapping[str, ActionInfo]


@dataclass(frozen=True, slots=True)
class Member:
    """A member of an action profile: an action with its parameters. Any `id` of 32 bits."""

    id: int
    action: str
    params: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupMember:
    """`weight` of 1 or more shares; left out while `watch_port` is down (None: never)."""

    member: int
    weight: int = 1
    watch_port: int | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """A group of a selector, its members in the order given. `max_size`: sum of weights at most.

    `max_size` 0: no limit. A packet that selects an empty group runs no action."""

    id: int
    members: tuple[GroupMember, ...] = ()
    max_size: int = 0


@dataclass(frozen=True, slots=True)
class WeightedAction:
    """One action of a one-shot action set."""

    action: str
    params: tuple[int, ...] = ()
    weight: int = 1
    watch_port: int | None = None


@dataclass(frozen=True, slots=True)
class DigestInfo:
    """A digest (learn list): its fields as (name, width in bits)."""

    name: str
    fields: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Digest:
    """What one packet reported: the values of the fields in order; `time_ns`: CLOCK_MONOTONIC."""

    name: str
    values: tuple[int, ...]
    time_ns: int


class ProfileApi(Protocol):
    """Members and groups. Tables refer to them by `Entry.member` and `Entry.group`.

    UnknownObject: there is no such profile. BadEntry: the action or the parameters do not fit, a
    weight is below 1, a member appears twice. Every call takes effect between two packets.
    """

    def member_insert(self, profile: str, member: Member) -> None:
        """EntryExists, TableFull."""
        ...

    def member_modify(self, profile: str, member: Member) -> None:
        """Tables and groups that use it follow at once. EntryNotFound."""
        ...

    def member_delete(self, profile: str, member: int) -> None:
        """EntryNotFound; ObjectInUse if a group or an entry uses it."""
        ...

    def member_get(self, profile: str, member: int) -> Member | None: ...

    def members(self, profile: str) -> list[Member]: ...

    def group_insert(self, profile: str, group: Group) -> None:
        """EntryExists; EntryNotFound for a member; TableFull: weights exceed `max_size`."""
        ...

    def group_modify(self, profile: str, group: Group) -> None:
        """Replaces the members. EntryNotFound for the group or a member; TableFull."""
        ...

    def group_delete(self, profile: str, group: int) -> None:
        """EntryNotFound; ObjectInUse if an entry uses it."""
        ...

    def group_get(self, profile: str, group: int) -> Group | None: ...

    def groups(self, profile: str) -> list[Group]: ...

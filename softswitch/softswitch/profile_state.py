# SPDX-License-Identifier: Apache-2.0
"""Which member or group of an action profile has which slot in the C runtime, and who uses it.

Pure bookkeeping: nothing here touches the data plane. `profile_objects` writes what it decides.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

from softswitch.api_objects import Group, GroupMember, Member, ProfileInfo, WeightedAction
from softswitch.errors import BadEntry, EntryNotFound, TableFull

GROUP_REF = 1 << 32
MAX_BUCKETS = 1 << 16
U32 = 2**32 - 1


@dataclass(slots=True)
class Slots:
    """Hands out the lowest free number, as BMv2's handles."""

    top: int = 0
    free: list[int] | None = None

    def take(self) -> int:
        if self.free:
            return heapq.heappop(self.free)
        self.top += 1
        return self.top - 1

    def give(self, slot: int) -> None:
        if self.free is None:
            self.free = []
        heapq.heappush(self.free, slot)


@dataclass(slots=True)
class HeldMember:
    slot: int
    value: Member
    uses: int = 0


@dataclass(slots=True)
class HeldGroup:
    """`hidden`: the members of a one-shot set, which nobody can name."""

    slot: int
    value: Group
    uses: int = 0
    one_shot: tuple[WeightedAction, ...] | None = None
    hidden: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Bucket:
    """One share of a group: the member's slot, and the port that it depends on."""

    slot: int
    watch_port: int | None


class ProfileState:
    """One profile. Hold `lock` over a decision and the calls that carry it out."""

    def __init__(self, info: ProfileInfo, index: int) -> None:
        self.info = info
        self.index = index
        self.lock = threading.RLock()
        self.members: dict[int, HeldMember] = {}
        self.groups: dict[int, HeldGroup] = {}
        self.member_slots = Slots()
        self.group_slots = Slots()
        self.member_at: dict[int, HeldMember] = {}
        self.group_at: dict[int, HeldGroup] = {}

    @property
    def where(self) -> str:
        return f"action profile {self.info.name}"

    def check_action(self, action: str, params: Sequence[int]) -> None:
        info = self.info.actions.get(action)
        if info is None:
            raise BadEntry(f"{self.where}: there is no action {action!r}")
        if len(params) != len(info.params):
            raise BadEntry(f"{self.where}: action {action} takes {len(info.params)} parameters")
        for value, (name, width) in zip(params, info.params, strict=True):
            if not 0 <= value < 1 << width:
                raise BadEntry(f"{self.where}: parameter {name} does not fit {width} bits")

    def need_room(self, wanted: int) -> None:
        if len(self.member_at) + wanted > self.info.size:
            raise TableFull(f"{self.where}: it is full: it holds {self.info.size} members")

    def member(self, number: int) -> HeldMember:
        if number not in self.members:
            raise EntryNotFound(f"{self.where}: there is no member {number}")
        return self.members[number]

    def group(self, number: int) -> HeldGroup:
        if number not in self.groups:
            raise EntryNotFound(f"{self.where}: there is no group {number}")
        return self.groups[number]

    def check_group(self, group: Group) -> None:
        """BadEntry, EntryNotFound, TableFull; after this, `buckets` cannot fail."""
        if not self.info.with_selector:
            raise BadEntry(f"{self.where}: it has no selector, so it has no groups")
        if not 0 <= group.id <= U32 or not 0 <= group.max_size <= U32:
            raise BadEntry(f"{self.where}: group number or size out of range")
        if len({m.member for m in group.members}) != len(group.members):
            raise BadEntry(f"{self.where}: a member is in group {group.id} twice")
        self.check_weights([m.weight for m in group.members], group.max_size)
        for m in group.members:
            self.member(m.member)

    def check_weights(self, weights: Sequence[int], max_size: int) -> None:
        if any(weight < 1 for weight in weights):
            raise BadEntry(f"{self.where}: a weight is 1 or more")
        limit = max_size or MAX_BUCKETS
        if sum(weights) > limit:
            raise TableFull(f"{self.where}: the weights of a group add up to more than {limit}")

    def buckets(self, members: Sequence[GroupMember]) -> list[Bucket]:
        """A member of weight w gets w shares; in the order of the members' slots, as in BMv2."""
        ordered = sorted(members, key=lambda m: self.members[m.member].slot)
        return [
            Bucket(self.members[m.member].slot, m.watch_port)
            for m in ordered
            for _ in range(m.weight)
        ]

    def add_member(self, member: Member) -> HeldMember:
        held = HeldMember(self.member_slots.take(), member)
        self.members[member.id] = self.member_at[held.slot] = held
        return held

    def drop_member(self, held: HeldMember) -> None:
        del self.members[held.value.id], self.member_at[held.slot]
        self.member_slots.give(held.slot)

    def add_group(self, group: Group) -> HeldGroup:
        held = HeldGroup(self.group_slots.take(), replace(group, members=()))
        self.groups[group.id] = self.group_at[held.slot] = held
        self.set_members(held, group)
        return held

    def set_members(self, held: HeldGroup, group: Group) -> None:
        for m in held.value.members:
            self.members[m.member].uses -= 1
        for m in group.members:
            self.members[m.member].uses += 1
        held.value = group

    def drop_group(self, held: HeldGroup) -> None:
        self.set_members(held, replace(held.value, members=()))
        del self.groups[held.value.id], self.group_at[held.slot]
        self.group_slots.give(held.slot)

    def add_one_shot(self, actions: tuple[WeightedAction, ...]) -> HeldGroup:
        """A group that only one entry knows, of members that only the group knows."""
        for action in actions:
            self.check_action(action.action, action.params)
        self.check_weights([a.weight for a in actions], 0)
        self.need_room(len(actions))
        if not self.info.with_selector:
            raise BadEntry(f"{self.where}: it has no selector, so it takes no action sets")
        slots = tuple(self.member_slots.take() for _ in actions)
        for slot, action in zip(slots, actions, strict=True):
            self.member_at[slot] = HeldMember(slot, Member(0, action.action, action.params))
        held = HeldGroup(self.group_slots.take(), Group(0), 0, actions, slots)
        self.group_at[held.slot] = held
        return held

    def one_shot_buckets(self, held: HeldGroup) -> list[Bucket]:
        return [
            Bucket(slot, action.watch_port)
            for slot, action in zip(held.hidden, held.one_shot or (), strict=True)
            for _ in range(action.weight)
        ]

    def drop_one_shot(self, held: HeldGroup) -> None:
        for slot in held.hidden:
            del self.member_at[slot]
            self.member_slots.give(slot)
        del self.group_at[held.slot]
        self.group_slots.give(held.slot)

    def held(self, ref: int) -> HeldMember | HeldGroup:
        """What the data word of an entry refers to."""
        return self.group_at[ref & U32] if ref & GROUP_REF else self.member_at[ref & U32]

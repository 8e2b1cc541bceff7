# SPDX-License-Identifier: Apache-2.0
"""Members, groups and one-shot action sets: see `api.ProfileApi`."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

from softswitch import native
from softswitch.api import Entry, Group, Member
from softswitch.codegen.control import encode_params
from softswitch.errors import BadEntry, EntryExists, ObjectInUse, UnknownObject
from softswitch.objects_base import Loaded, LoadedObjects
from softswitch.profile_state import GROUP_REF, U32, Bucket, HeldGroup, ProfileState


class ProfileObjects(LoadedObjects):
    """Action profiles of the program that runs."""

    def _profile(self, name: str) -> tuple[Loaded, ProfileState]:
        loaded = self._now()
        if name not in loaded.profiles:
            raise UnknownObject(f"there is no action profile {name!r}")
        return loaded, loaded.profiles[name]

    # Members

    def member_insert(self, profile: str, member: Member) -> None:
        loaded, state = self._profile(profile)
        with state.lock:
            if member.id in state.members:
                raise EntryExists(f"{state.where}: there is already a member {member.id}")
            if not 0 <= member.id <= U32:
                raise BadEntry(f"{state.where}: a member's number has 32 bits")
            state.check_action(member.action, member.params)
            state.need_room(1)
            held = state.add_member(member)
            try:
                self._write_member(loaded, state, held.slot, member.action, member.params)
            except BaseException:
                state.drop_member(held)
                raise

    def member_modify(self, profile: str, member: Member) -> None:
        loaded, state = self._profile(profile)
        with state.lock:
            held = state.member(member.id)
            state.check_action(member.action, member.params)
            self._write_member(loaded, state, held.slot, member.action, member.params)
            held.value = member

    def member_delete(self, profile: str, member: int) -> None:
        _, state = self._profile(profile)
        with state.lock:
            held = state.member(member)
            if held.uses:
                raise ObjectInUse(f"{state.where}: member {member} is used by a group or an entry")
            state.drop_member(held)

    def member_get(self, profile: str, member: int) -> Member | None:
        _, state = self._profile(profile)
        with state.lock:
            held = state.members.get(member)
            return None if held is None else held.value

    def members(self, profile: str) -> list[Member]:
        _, state = self._profile(profile)
        with state.lock:
            return [held.value for held in state.members.values()]

    # Groups

    def group_insert(self, profile: str, group: Group) -> None:
        loaded, state = self._profile(profile)
        with state.lock:
            if group.id in state.groups:
                raise EntryExists(f"{state.where}: there is already a group {group.id}")
            state.check_group(group)
            held = state.add_group(group)
            try:
                self._write_group(loaded, state, held.slot, state.buckets(group.members))
            except BaseException:
                state.drop_group(held)
                raise

    def group_modify(self, profile: str, group: Group) -> None:
        loaded, state = self._profile(profile)
        with state.lock:
            held = state.group(group.id)
            state.check_group(group)
            self._write_group(loaded, state, held.slot, state.buckets(group.members))
            state.set_members(held, group)

    def group_delete(self, profile: str, group: int) -> None:
        loaded, state = self._profile(profile)
        with state.lock:
            held = state.group(group)
            if held.uses:
                raise ObjectInUse(f"{state.where}: group {group} is used by an entry")
            self._write_group(loaded, state, held.slot, [])
            state.drop_group(held)

    def group_get(self, profile: str, group: int) -> Group | None:
        _, state = self._profile(profile)
        with state.lock:
            held = state.groups.get(group)
            return None if held is None else held.value

    def groups(self, profile: str) -> list[Group]:
        _, state = self._profile(profile)
        with state.lock:
            return [held.value for held in state.groups.values()]

    # What entries of indirect tables refer to; the state's lock is held

    def _take(self, loaded: Loaded, state: ProfileState, entry: Entry) -> int:
        """The data word of an entry. A one-shot set is written; undo with `_release`."""
        given = [entry.member is not None, entry.group is not None, entry.one_shot is not None]
        if sum(given) != 1 or entry.action or entry.params:
            raise BadEntry(f"{state.where}: an entry names one member, one group or one action set")
        if entry.member is not None:
            member = state.member(entry.member)
            member.uses += 1
            return member.slot
        if entry.group is not None:
            group = state.group(entry.group)
            group.uses += 1
            return group.slot | GROUP_REF
        held = state.add_one_shot(entry.one_shot or ())
        try:
            for slot in held.hidden:
                value = state.member_at[slot].value
                self._write_member(loaded, state, slot, value.action, value.params)
            self._write_group(loaded, state, held.slot, state.one_shot_buckets(held))
        except BaseException:
            state.drop_one_shot(held)
            raise
        return held.slot | GROUP_REF

    def _release(self, loaded: Loaded, state: ProfileState, ref: int) -> None:
        """The entry is gone, or refers to something else now."""
        held = state.held(ref)
        if isinstance(held, HeldGroup) and held.one_shot is not None:
            self._write_group(loaded, state, held.slot, [])
            state.drop_one_shot(held)
        else:
            held.uses -= 1

    def _write_member(
        self,
        loaded: Loaded,
        state: ProfileState,
        slot: int,
        action: str,
        params: Sequence[int],
    ) -> None:
        found = next(
            a
            for a in loaded.program.ir.actions
            if a.name == action and a.index in loaded.program.ir.profiles[state.index].actions
        )
        data = native.words(encode_params(found, tuple(params)))
        rc = self._lib.ss_member_set(
            self._handle, loaded.generation, state.index, slot, found.index, data, len(data)
        )
        self._check(rc, state.where)

    def _write_group(
        self, loaded: Loaded, state: ProfileState, slot: int, buckets: list[Bucket]
    ) -> None:
        flat = (ctypes.c_uint32 * max(2 * len(buckets), 1))()
        for i, bucket in enumerate(buckets):
            flat[2 * i] = bucket.slot
            flat[2 * i + 1] = native.NONE if bucket.watch_port is None else bucket.watch_port & U32
        if any(bucket.watch_port is not None for bucket in buckets):
            self.links_matter()
        rc = self._lib.ss_group_set(
            self._handle, loaded.generation, state.index, slot, flat, len(buckets)
        )
        self._check(rc, state.where)

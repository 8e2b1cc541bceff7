# SPDX-License-Identifier: Apache-2.0
"""Writes and reads of action profile members and groups (spec 9.2.2, 9.2.3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt

from softswitch.api import DataplaneApi
from softswitch.errors import EntryNotFound
from softswitch.p4runtime.errors import invalid
from softswitch.p4runtime.profile_codec import ProfileCodec

Update = p4rt.Update
Profiles = Mapping[int, ProfileCodec]


def find(profiles: Profiles, profile_id: int) -> ProfileCodec:
    """The profile with this id, or INVALID_ARGUMENT."""
    profile = profiles.get(profile_id)
    if profile is None:
        raise invalid(f"Invalid P4 id {profile_id:#x}: not an action profile")
    return profile


def write_member(
    profiles: Profiles,
    dataplane: DataplaneApi,
    kind: Update.Type,
    message: p4rt.ActionProfileMember,
) -> None:
    """One update of a member."""
    profile = find(profiles, message.action_profile_id)
    if kind == Update.DELETE:
        dataplane.member_delete(profile.name, message.member_id)
        return
    member = profile.decode_member(message)
    if kind == Update.INSERT:
        _check_unmixed(profile)
        dataplane.member_insert(profile.name, member)
    else:
        dataplane.member_modify(profile.name, member)


def write_group(
    profiles: Profiles,
    dataplane: DataplaneApi,
    kind: Update.Type,
    message: p4rt.ActionProfileGroup,
) -> None:
    """One update of a group."""
    profile = find(profiles, message.action_profile_id)
    profile.check_group_id(message.group_id)
    if kind == Update.DELETE:
        dataplane.group_delete(profile.name, message.group_id)
        return
    if kind == Update.INSERT:
        _check_unmixed(profile)
        dataplane.group_insert(profile.name, profile.decode_group(message, None))
        return
    old = dataplane.group_get(profile.name, message.group_id)
    if old is None:
        raise EntryNotFound(f"profile {profile.name!r}: there is no group {message.group_id}")
    dataplane.group_modify(profile.name, profile.decode_group(message, old))


def _check_unmixed(profile: ProfileCodec) -> None:
    if profile.one_shots:
        raise invalid(
            f"profile {profile.name!r} is programmed with action sets; members and groups cannot"
            " be mixed with them"
        )


def check_one_shot(profile: ProfileCodec, dataplane: DataplaneApi) -> None:
    """May an entry carry an action set? INVALID_ARGUMENT if the profile has members or groups."""
    if dataplane.members(profile.name) or dataplane.groups(profile.name):
        raise invalid(
            f"profile {profile.name!r} is programmed with members and groups; action sets cannot"
            " be mixed with them"
        )


def read_member(
    profiles: Profiles, dataplane: DataplaneApi, request: p4rt.ActionProfileMember
) -> Iterator[p4rt.Entity]:
    """The member asked for; profile id 0: of every profile, member id 0: every member."""
    for profile in _selected(profiles, request.action_profile_id):
        if request.member_id:
            found = dataplane.member_get(profile.name, request.member_id)
            members = [] if found is None else [found]
        else:
            members = dataplane.members(profile.name)
        for member in members:
            entity = p4rt.Entity()
            profile.encode_member(member, entity.action_profile_member)
            yield entity


def read_group(
    profiles: Profiles, dataplane: DataplaneApi, request: p4rt.ActionProfileGroup
) -> Iterator[p4rt.Entity]:
    """The group asked for; profile id 0: of every profile, group id 0: every group."""
    for profile in _selected(profiles, request.action_profile_id):
        if request.group_id:
            found = dataplane.group_get(profile.name, request.group_id)
            groups = [] if found is None else [found]
        else:
            groups = dataplane.groups(profile.name)
        for group in groups:
            entity = p4rt.Entity()
            profile.encode_group(group, entity.action_profile_group)
            yield entity


def _selected(profiles: Profiles, profile_id: int) -> Iterable[ProfileCodec]:
    return profiles.values() if profile_id == 0 else (find(profiles, profile_id),)

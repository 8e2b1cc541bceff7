# SPDX-License-Identifier: Apache-2.0
"""Action profiles (spec 9.2): P4Runtime messages <-> members, groups and action sets."""

from __future__ import annotations

from collections.abc import Sequence

from p4rt_stubs.p4.config.v1 import p4info_pb2 as p4info
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt

from softswitch.api import Group, GroupMember, Member, ProfileInfo, WeightedAction
from softswitch.p4runtime.action_codec import ActionCodec, Choice
from softswitch.p4runtime.bytestring import decode, encode
from softswitch.p4runtime.errors import Code, P4RuntimeError, invalid, unimplemented
from softswitch.p4runtime.p4info import P4InfoIndex

_ID_LIMIT = (1 << 32) - 1
_PORT_LIMIT = (1 << 32) - 2
Watching = p4rt.ActionProfileGroup.Member | p4rt.ActionProfileAction


class ProfileCodec:
    """One action profile. `one_shots`: entries with an action set, counted by the writer."""

    def __init__(self, profile: p4info.ActionProfile, index: P4InfoIndex, info: ProfileInfo):
        self.profile_id = profile.preamble.id
        self.name = profile.preamble.name
        self.info = info
        self.max_group_size = profile.max_group_size
        self.one_shots = 0
        self._actions = {
            action_id: ActionCodec.build(action, p4info.ActionRef.TABLE_AND_DEFAULT)
            for action_id, action in index.actions.items()
            if action.preamble.name in info.actions
        }
        self._by_name = {action.name: action for action in self._actions.values()}
        self._index = index

    def clear(self) -> None:
        """The program has been loaded afresh."""
        self.one_shots = 0

    # Table entries

    def decode_choice(self, message: p4rt.TableAction, table: str) -> Choice:
        """What an entry of an indirect table names. INVALID_ARGUMENT: a kind it cannot have."""
        which = message.WhichOneof("type")
        if which == "action_profile_member_id":
            return Choice(member=message.action_profile_member_id)
        if which not in ("action_profile_group_id", "action_profile_action_set"):
            what = "the action is empty" if which is None else "an action of its own"
            raise invalid(
                f"table {table!r}: {what}; its entries name what is in profile {self.name!r}"
            )
        if not self.info.with_selector:
            raise invalid(f"table {table!r}: {which} needs a selector; it has none")
        if which == "action_profile_group_id":
            return Choice(group=message.action_profile_group_id)
        return Choice(one_shot=self._decode_set(message.action_profile_action_set))

    def _decode_set(self, message: p4rt.ActionProfileActionSet) -> tuple[WeightedAction, ...]:
        if not message.action_profile_actions:
            raise unimplemented(f"profile {self.name!r}: an empty action set is not supported")
        actions: list[WeightedAction] = []
        for item in message.action_profile_actions:
            name, params = self.decode_action(item.action)
            weight = self._weight(item.weight)
            actions.append(WeightedAction(name, params, weight, self._watch(item)))
        self._check_size([action.weight for action in actions], 0)
        return tuple(actions)

    def encode_choice(self, choice: Choice, message: p4rt.TableAction) -> None:
        """The inverse of `decode_choice`."""
        if choice.member is not None:
            message.action_profile_member_id = choice.member
        elif choice.group is not None:
            message.action_profile_group_id = choice.group
        else:
            for action in choice.one_shot or ():
                item = message.action_profile_action_set.action_profile_actions.add()
                self._by_name[action.action].encode(action.params, item.action)
                item.weight = action.weight
                _encode_watch(action.watch_port, item)

    # Members and groups

    def decode_action(self, message: p4rt.Action) -> tuple[str, tuple[int, ...]]:
        """(name, parameters); INVALID_ARGUMENT for an action that no table of it has."""
        found = self._actions.get(message.action_id)
        if found is None:
            meaning = self._index.describe(message.action_id)
            raise invalid(
                f"Invalid P4 id {message.action_id:#x} ({meaning}): not an action of profile"
                f" {self.name!r}"
            )
        return found.name, found.decode_params(message)

    def decode_member(self, message: p4rt.ActionProfileMember) -> Member:
        """A member to insert or modify."""
        self._check_id(message.member_id, "member")
        if not message.HasField("action"):
            raise invalid(f"profile {self.name!r}: member {message.member_id} needs an action")
        name, params = self.decode_action(message.action)
        return Member(message.member_id, name, params)

    def encode_member(self, member: Member, message: p4rt.ActionProfileMember) -> None:
        """The inverse of `decode_member`."""
        message.action_profile_id, message.member_id = self.profile_id, member.id
        self._by_name[member.action].encode(member.params, message.action)

    def decode_group(self, message: p4rt.ActionProfileGroup, old: Group | None) -> Group:
        """A group to insert (`old` is None) or modify.

        INVALID_ARGUMENT: a weight below 1, a member twice, max_size above the profile's or
        another than before. RESOURCE_EXHAUSTED: the weights exceed max_size.
        """
        self.check_group_id(message.group_id)
        where, size = f"profile {self.name!r}: group {message.group_id}", message.max_size
        if size < 0 or (self.max_group_size and size > self.max_group_size):
            raise invalid(f"{where}: max_size {size}, must be 0 to {self.max_group_size}")
        if old is not None:
            if size not in (0, old.max_size):
                raise invalid(f"{where}: max_size is {old.max_size} and cannot be changed")
            size = old.max_size
        members = tuple(
            GroupMember(item.member_id, self._weight(item.weight), self._watch(item))
            for item in message.members
        )
        if len({member.member for member in members}) != len(members):
            raise invalid(f"{where}: a member is named twice")
        self._check_size([member.weight for member in members], size)
        return Group(message.group_id, members, size)

    def encode_group(self, group: Group, message: p4rt.ActionProfileGroup) -> None:
        """The inverse of `decode_group`."""
        message.action_profile_id, message.group_id = self.profile_id, group.id
        message.max_size = group.max_size
        for member in group.members:
            item = message.members.add(member_id=member.member, weight=member.weight)
            _encode_watch(member.watch_port, item)

    def check_group_id(self, group_id: int) -> None:
        """INVALID_ARGUMENT: no selector, so no groups; or id 0."""
        if not self.info.with_selector:
            raise invalid(f"profile {self.name!r} has no selector, so it has no groups")
        self._check_id(group_id, "group")

    def _check_id(self, number: int, what: str) -> None:
        if number == 0:
            raise invalid(f"profile {self.name!r}: 0 is not a valid {what} id")

    def _weight(self, weight: int) -> int:
        if weight < 1:
            raise invalid(f"profile {self.name!r}: weight {weight}, must be 1 or more")
        return weight

    def _check_size(self, weights: Sequence[int], max_size: int) -> None:
        limit = max_size or self.max_group_size
        if limit and sum(weights) > limit:
            raise P4RuntimeError(
                Code.RESOURCE_EXHAUSTED,
                f"profile {self.name!r}: weights add up to {sum(weights)}, at most {limit}",
            )

    def _watch(self, message: Watching) -> int | None:
        """The port that is watched, in either form: bytes, or the deprecated number."""
        which = message.WhichOneof("watch_kind")
        if which is None:
            return None
        where = f"profile {self.name!r}: watch port"
        if which == "watch_port":
            return decode(message.watch_port, _PORT_LIMIT, where)
        if message.watch < 0:
            raise invalid(f"{where} {message.watch} is negative")
        return message.watch


def _encode_watch(port: int | None, message: Watching) -> None:
    if port is not None:
        message.watch_port = encode(port)

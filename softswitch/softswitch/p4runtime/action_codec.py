# SPDX-License-Identifier: Apache-2.0
"""Actions with their parameters: P4Runtime messages <-> names and values of the data plane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from p4rt_stubs.p4.config.v1 import p4info_pb2 as p4info
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt

from softswitch.api import WeightedAction
from softswitch.p4runtime.bytestring import decode, encode
from softswitch.p4runtime.errors import invalid


class Choice(NamedTuple):
    """What an entry does: an action, or for indirect tables a member, a group or an action set."""

    action: str = ""
    params: tuple[int, ...] = ()
    member: int | None = None
    group: int | None = None
    one_shot: tuple[WeightedAction, ...] | None = None


@dataclass(frozen=True, slots=True)
class ActionCodec:
    """One action of a table or profile. `params`: parameter id -> (position, largest value)."""

    action_id: int
    name: str
    in_entries: bool
    as_default: bool
    params: dict[int, tuple[int, int]]
    param_ids: tuple[int, ...]

    @classmethod
    def build(cls, action: p4info.Action, scope: p4info.ActionRef.Scope) -> ActionCodec:
        """From P4Info; `scope` says where a table allows the action."""
        return cls(
            action_id=action.preamble.id,
            name=action.preamble.name,
            in_entries=scope != p4info.ActionRef.DEFAULT_ONLY,
            as_default=scope != p4info.ActionRef.TABLE_ONLY,
            params={
                param.id: (position, (1 << param.bitwidth) - 1)
                for position, param in enumerate(action.params)
            },
            param_ids=tuple(param.id for param in action.params),
        )

    def decode_params(self, action: p4rt.Action) -> tuple[int, ...]:
        """Values in declaration order. INVALID_ARGUMENT: missing, repeated, unknown, too wide."""
        values: list[int | None] = [None] * len(self.params)
        for param in action.params:
            found = self.params.get(param.param_id)
            if found is None:
                raise invalid(f"action {self.name!r}: no parameter with id {param.param_id}")
            index, limit = found
            if values[index] is not None:
                raise invalid(f"action {self.name!r}: parameter {param.param_id} given twice")
            what = f"action {self.name!r} parameter {param.param_id}"
            values[index] = decode(param.value, limit, what)
        if None in values:
            missing = self.param_ids[values.index(None)]
            raise invalid(f"action {self.name!r}: parameter {missing} is missing")
        return tuple(values)  # pyright: ignore[reportReturnType] # no None is left

    def encode(self, params: tuple[int, ...], action: p4rt.Action) -> None:
        """Fill in the message, parameters in P4Info order."""
        action.action_id = self.action_id
        for param_id, value in zip(self.param_ids, params, strict=True):
            action.params.add(param_id=param_id, value=encode(value))

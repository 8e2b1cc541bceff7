# SPDX-License-Identifier: Apache-2.0
"""Action profiles and selectors of the JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from softswitch.bmv2 import ir
from softswitch.bmv2.externs import make_calculation
from softswitch.bmv2.reader import Json, as_dict, as_str, get_dicts, get_int, get_str, location
from softswitch.bmv2.values import Scope
from softswitch.errors import BadProgram, UnsupportedConstruct

MAX_MEMBERS = 1 << 20
KINDS = {"indirect": False, "indirect_ws": True}


@dataclass(slots=True)
class ProfileReader:
    """Reads the profiles of a pipeline before its tables; `finish` once all tables are known."""

    scope: Scope
    calculations: list[ir.Calculation]
    profiles: list[ir.Profile] = field(default_factory=list[ir.Profile])

    def declare(self, pipeline: Json, where: str) -> None:
        for obj in get_dicts(pipeline, "action_profiles", where):
            name = get_str(obj, "name", "action profile")
            here, at = f"action profile {name}", location(obj)
            size = get_int(obj, "max_size", here, 0)
            if size > MAX_MEMBERS:
                raise UnsupportedConstruct(f"{here} with {size} members", at)
            if any(p.name == name for p in self.profiles):
                raise BadProgram(f"two action profiles have the name {name!r}")
            selector: int | None = None
            if obj.get("selector") is not None:
                selector = self._selector(as_dict(obj["selector"], here), here, at)
            self.profiles.append(
                ir.Profile(name, len(self.profiles), max(size, 1), selector, (), (), at)
            )

    def _selector(self, obj: Json, where: str, at: str) -> int:
        index = len(self.calculations)
        self.calculations.append(make_calculation(obj, self.scope, index, where, at))
        return index

    def of_table(self, table: Json, where: str) -> int | None:
        """The profile of an indirect table; None for a table of type simple."""
        kind = as_str(table.get("type", "simple"), where)
        if kind == "simple":
            return None
        if kind not in KINDS:
            raise UnsupportedConstruct(f"{where} of type {kind}", location(table))
        name = get_str(table, "action_profile", where)
        for profile in self.profiles:
            if profile.name == name:
                if KINDS[kind] and profile.selector is None:
                    raise BadProgram(f"{where}: action profile {name} has no selector")
                return profile.index
        raise BadProgram(f"{where}: there is no action profile {name!r}")

    def finish(
        self, tables: Sequence[ir.Table], actions: Sequence[ir.Action]
    ) -> tuple[ir.Profile, ...]:
        out: list[ir.Profile] = []
        for profile in self.profiles:
            users = [t for t in tables if t.profile == profile.index]
            by_name: dict[str, int] = {}
            for table in users:
                for index in table.actions:
                    first = actions[by_name.setdefault(actions[index].name, index)]
                    if [w for _, w in first.params] != [w for _, w in actions[index].params]:
                        raise BadProgram(
                            f"action profile {profile.name}: action {first.name} has other"
                            f" parameters in table {table.name}"
                        )
            names = tuple(t.name for t in users)
            out.append(replace(profile, actions=tuple(by_name.values()), tables=names))
        return tuple(out)

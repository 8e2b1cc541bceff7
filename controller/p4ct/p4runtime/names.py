# SPDX-License-Identifier: Apache-2.0
"""Finding P4Info objects by full name, alias or unique suffix."""

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Generic, Protocol, TypeVar


class P4InfoLookupError(LookupError):
    """No such name in P4Info, or a suffix that fits several. The text has the nearest names."""


class Named(Protocol):
    """What has an id and a full name, parts separated by dots."""

    @property
    def id(self) -> int: ...
    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=Named)


class Names(Generic[T]):
    """Objects of one kind, in P4Info order.

    Suffixes start after a dot: `ct_v4` finds `ingress.ct_v4`, as long as only one name ends so.
    `aliases`: id -> alias.
    """

    def __init__(self, kind: str, items: Iterable[T], aliases: Mapping[int, str]) -> None:
        self.kind = kind
        self._by_id: dict[int, T] = {}
        self._by_suffix: dict[str, list[T]] = {}
        for item in items:
            self._by_id[item.id] = item
            parts = item.name.split(".")
            for i in range(1, len(parts)):
                self._by_suffix.setdefault(".".join(parts[i:]), []).append(item)
        # Full names win over aliases, and both win over suffixes.
        self._by_name = {
            aliases[item.id]: item for item in self._by_id.values() if aliases.get(item.id)
        }
        self._by_name.update((item.name, item) for item in self._by_id.values())

    def __iter__(self) -> Iterator[T]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def by_id(self, id_: int) -> T | None:
        """The object with that id, or None."""
        return self._by_id.get(id_)

    def find(self, name: str) -> T | None:
        """The object of that name, or None if there is none or the suffix is not unique."""
        if name in self._by_name:
            return self._by_name[name]
        found = self._by_suffix.get(name, [])
        return found[0] if len(found) == 1 else None

    def get(self, name: str) -> T:
        """The object of that name. P4InfoLookupError if there is none or more than one."""
        found = self.find(name)
        if found is not None:
            return found
        several = self._by_suffix.get(name, [])
        if several:
            names = " or ".join(item.name for item in several)
            raise P4InfoLookupError(f"{self.kind} {name!r} is ambiguous: write {names}")
        raise P4InfoLookupError(f"no {self.kind} {name!r} in P4Info{self.hint(name)}")

    def hint(self, name: str) -> str:
        """`; did you mean …?` with the nearest names, or nothing if none is near."""
        known = [*self._by_name, *self._by_suffix]
        near = list(dict.fromkeys(get_close_matches(name, known, n=3, cutoff=0.6)))
        return f"; did you mean {' or '.join(near)}?" if near else ""

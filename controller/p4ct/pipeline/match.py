# SPDX-License-Identifier: Apache-2.0
"""What a flow matches: values and masks of fields."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from p4ct.pipeline.fields import FIELDS, Field, Key

__all__ = ["MATCH_ALL", "FieldMatch", "Match"]


class FieldMatch(NamedTuple):
    """`key[field] & mask == value`; mask is not 0 and value has no bit outside it."""

    field: Field
    value: int
    mask: int

    @property
    def exact(self) -> bool:
        """True if every bit of the field must agree."""
        return self.mask == FIELDS[self.field].mask


class Match:
    """A conjunction of field matches, at most one per field; immutable and hashable."""

    __slots__ = ("_hash", "terms")

    terms: tuple[FieldMatch, ...]
    """Sorted by field."""

    def __init__(self, terms: Iterable[FieldMatch] = ()) -> None:
        """Raises ValueError if a field occurs twice."""
        self.terms = tuple(sorted(term for term in terms if term.mask))
        if len({term.field for term in self.terms}) != len(self.terms):
            raise ValueError("a field occurs twice in one match")
        self._hash = hash(self.terms)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Match) and self.terms == other.terms

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        inner = ", ".join(
            f"{FIELDS[term.field].name}={term.value:#x}/{term.mask:#x}" for term in self.terms
        )
        return f"Match({inner})"

    def get(self, field: Field) -> FieldMatch | None:
        """The term of one field, or None if the match does not look at it."""
        for term in self.terms:
            if term.field == field:
                return term
        return None

    def exact(self, field: Field) -> int | None:
        """The value that the field must have, or None if the match leaves it (partly) open."""
        term = self.get(field)
        return term.value if term is not None and term.exact else None

    def matches(self, key: Key) -> bool:
        """True if a packet with this lookup key matches; for tests and small tools."""
        return all(key[term.field] & term.mask == term.value for term in self.terms)

    def contains(self, other: Match) -> bool:
        """True if every packet that matches `other` matches this one (OpenFlow "loose" match)."""
        for term in self.terms:
            theirs = other.get(term.field)
            if theirs is None or theirs.mask & term.mask != term.mask:
                return False
            if theirs.value & term.mask != term.value:
                return False
        return True


MATCH_ALL = Match()

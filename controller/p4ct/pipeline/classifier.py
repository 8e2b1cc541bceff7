# SPDX-License-Identifier: Apache-2.0
"""Finds the flow of a table that a packet hits.

Tuple space search, as in OVS (lib/classifier.c): flows that look at the same bits form a subtable,
which is one hash lookup. Subtables are searched from the highest priority down, until no flow of
higher or equal priority is left. Within a subtable the fields are looked up in stages; a packet
whose values of one stage occur in no flow of the subtable does not get to the next stage, and the
fields of the later stages have not been looked at.

Of flows with the same priority that match the same packet, which OpenFlow leaves undefined, the
one that was created first (the lower id) is hit.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from operator import itemgetter

from p4ct.pipeline.fields import FIELDS, Field, Key
from p4ct.pipeline.flow import Flow

__all__ = ["Classifier"]

Getter = Callable[[Key], Hashable]
Pattern = tuple[tuple[Field, int], ...]


def _getter(pattern: Pattern) -> Getter:
    """A function that takes from a key what the pattern looks at, as one hashable value."""
    if not pattern:
        return lambda _key: ()
    get = itemgetter(*(field for field, _ in pattern))
    if all(mask == FIELDS[field].mask for field, mask in pattern):
        return get
    if len(pattern) == 1:
        field, mask = pattern[0]
        index = int(field)
        return lambda key: key[index] & mask
    masks = tuple(mask for _, mask in pattern)
    return lambda key: tuple(map(int.__and__, get(key), masks))


def _bits(pattern: Pattern) -> int:
    return sum(1 << field for field, _ in pattern)


class _Subtable:
    """The flows of one table that look at the same bits."""

    __slots__ = ("bits", "full", "hits", "max_priority", "stages")

    def __init__(self, pattern: Pattern, flows: Iterable[Flow]) -> None:
        self.full = _getter(pattern)
        self.bits = _bits(pattern)
        by_stage: dict[int, list[tuple[Field, int]]] = {}
        for field, mask in pattern:
            by_stage.setdefault(FIELDS[field].stage, []).append((field, mask))
        # The last stage needs no check of its own: the full lookup is it.
        early = [tuple(by_stage[stage]) for stage in sorted(by_stage)[:-1]]
        seen: list[set[Hashable]] = [set() for _ in early]
        getters = [_getter(stage) for stage in early]
        self.hits: dict[Hashable, Flow] = {}
        self.max_priority = -1
        key: Key = [0] * len(Field)
        for flow in flows:
            for term in flow.match.terms:
                key[term.field] = term.value
            for getter, values in zip(getters, seen, strict=True):
                values.add(getter(key))
            full = self.full(key)
            best = self.hits.get(full)
            if best is None or _beats(flow, best):
                self.hits[full] = flow
            self.max_priority = max(self.max_priority, flow.priority)
        self.stages = tuple(
            (getter, values, _bits(stage))
            for getter, values, stage in zip(getters, seen, early, strict=True)
        )


def _beats(flow: Flow, other: Flow) -> bool:
    if flow.priority != other.priority:
        return flow.priority > other.priority
    return flow.id < other.id


class Classifier:
    """The lookup structure of one table; made anew when its flows change."""

    __slots__ = ("_subtables",)

    def __init__(self, flows: Iterable[Flow]) -> None:
        groups: dict[Pattern, list[Flow]] = {}
        for flow in flows:
            # In the order of the stages, so that a stage's part of the pattern is contiguous.
            terms = sorted(flow.match.terms, key=lambda term: (FIELDS[term.field].stage, term))
            pattern = tuple((term.field, term.mask) for term in terms)
            groups.setdefault(pattern, []).append(flow)
        subtables = [_Subtable(pattern, members) for pattern, members in groups.items()]
        self._subtables = sorted(subtables, key=lambda subtable: -subtable.max_priority)

    def lookup(self, key: Key) -> tuple[Flow | None, int]:
        """The flow hit, if any, and the fields looked at (bits of a FieldSet)."""
        best: Flow | None = None
        looked = 0
        for subtable in self._subtables:
            if best is not None and best.priority > subtable.max_priority:
                break
            for getter, values, bits in subtable.stages:
                looked |= bits
                if getter(key) not in values:
                    break
            else:
                looked |= subtable.bits
                flow = subtable.hits.get(subtable.full(key))
                if flow is not None and (best is None or _beats(flow, best)):
                    best = flow
        return best, looked

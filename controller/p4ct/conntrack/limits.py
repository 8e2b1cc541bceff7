# SPDX-License-Identifier: Apache-2.0
"""How many connections a zone and a source may have, and who is counted against it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace


def _no_zones() -> dict[int, Limits]:
    return {}


@dataclass(frozen=True, slots=True)
class Limits:
    """At most so many; None: no limit. Each must be at least 1 (ValueError).

    connections: of a zone. At the limit its oldest unreplied connection makes room, or else its
        oldest that is not assured; if all are assured, the new one is refused.
    unreplied: connections of a zone that nobody has answered; the oldest of them makes room.
    per_source: connections of a zone that one address has opened. At the limit its next one is
        refused: it can take the room of nobody but itself.
    `zones` holds whole replacements for a zone.
    """

    connections: int | None = None
    unreplied: int | None = None
    per_source: int | None = None
    zones: Mapping[int, Limits] = field(default_factory=_no_zones)

    def __post_init__(self) -> None:
        for name in LIMITS:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"limit {name} must be at least 1, not {value}")

    def for_zone(self, zone: int) -> Limits:
        """The limits that hold in `zone`."""
        return self.zones.get(zone, self)

    def with_zone(self, zone: int, **changes: int | None) -> Limits:
        """A copy in which `zone` has the named limits changed; TypeError for an unknown name."""
        changed = replace(self.for_zone(zone), zones={}, **changes)
        return replace(self, zones={**self.zones, zone: changed})


LIMITS = tuple(item.name for item in fields(Limits) if item.name != "zones")
"""The names of the limits."""

#: Shards of the counts, for the same reason as those of a table.
_SHARDS = 64


class SourceCounts:
    """Counts by address, in small dicts: no operation takes long, however many there are.

    since: the first connection id that is counted here; older ones were made before anybody asked.
    """

    __slots__ = ("_shards", "since")

    def __init__(self, since: int = 0) -> None:
        self.since = since
        self._shards: list[dict[bytes, int]] = [{} for _ in range(_SHARDS)]

    def __getitem__(self, source: bytes) -> int:
        return self._shards[hash(source) % _SHARDS].get(source, 0)

    def add(self, source: bytes) -> None:
        """One more."""
        shard = self._shards[hash(source) % _SHARDS]
        shard[source] = shard.get(source, 0) + 1

    def remove(self, source: bytes) -> None:
        """One less; a source that has none is not in the counts."""
        shard = self._shards[hash(source) % _SHARDS]
        if shard[source] == 1:
            del shard[source]
        else:
            shard[source] -= 1

    def portions(self) -> Iterator[list[tuple[bytes, int]]]:
        """(address, count), in short lists."""
        for shard in self._shards:
            yield list(shard.items())

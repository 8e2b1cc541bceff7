# SPDX-License-Identifier: Apache-2.0
"""Connections that fit filter words: what the tracker can select, and what is asked besides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from p4ct.conntrack import Connection, Direction, Tracker, Tuple
from p4ct.conntrack.connection import is_icmp
from p4ct.daemon.tuples import Network, parse_filter

__all__ = ["Selection"]

#: What `Tracker.select` finds by itself.
_BY_TRACKER = ("zone", "version", "proto", "mark", "state")


class Selection:
    """Filter words, understood. Raises TupleError."""

    def __init__(self, words: list[str]) -> None:
        chosen = parse_filter(words)
        self._by_tracker = {name: chosen.pop(name) for name in _BY_TRACKER if name in chosen}
        self._flags = {
            name for name in ("assured", "offloaded", "unreplied") if chosen.pop(name, False)
        }
        self._mark: tuple[int, int] | None = chosen.pop("mark_bits", None)
        self._label: tuple[int, int] | None = chosen.pop("label_bits", None)
        self._original = _taken(chosen, "orig-")
        self._reply = _taken(chosen, "reply-")
        #: These fit one and the same tuple, whichever it is.
        self._either: dict[str, Any] = chosen

    def portions(self, tracker: Tracker) -> Iterator[list[Connection]]:
        """The connections of the tracker that fit all the words, in short lists, some empty.

        For who gives others their turn in between; connections may come and go meanwhile.
        """
        wanted = self._by_tracker
        for portion in tracker.portions(
            wanted.get("zone"), wanted.get("version"), wanted.get("proto")
        ):
            yield [connection for connection in portion if self.fits(connection)]

    @property
    def whole_zone(self) -> bool:
        """Is it everything, or everything in `zone`?"""
        return not self._by_tracker.keys() - {"zone"} and not (
            self._flags
            or self._mark
            or self._label
            or self._original
            or self._reply
            or self._either
        )

    @property
    def zone(self) -> int | None:
        """The zone, if one was named."""
        return self._by_tracker.get("zone")

    def fits(self, conn: Connection) -> bool:
        """Whether one connection does."""
        wanted = self._by_tracker
        return (
            wanted.get("zone", conn.zone) == conn.zone
            and wanted.get("version", conn.version) == conn.version
            and wanted.get("proto", conn.proto) == conn.proto
            and wanted.get("mark", conn.mark) == conn.mark
            and wanted.get("state", conn.state_name) == conn.state_name
            and self._fits_besides(conn)
        )

    def _fits_besides(self, conn: Connection) -> bool:
        flags = self._flags
        if flags and (
            ("assured" in flags and not conn.assured)
            or ("offloaded" in flags and conn.offload is None)
            or ("unreplied" in flags and conn.seen_reply)
        ):
            return False
        if self._mark is not None and (conn.mark ^ self._mark[0]) & self._mark[1]:
            return False
        if self._label is not None and (conn.label ^ self._label[0]) & self._label[1]:
            return False
        if self._original and not _fits(self._original, conn.original):
            return False
        if self._reply and not _fits(self._reply, conn.reply):
            return False
        return not self._either or any(
            _fits(self._either, conn.original if way is Direction.ORIGINAL else conn.reply)
            for way in Direction
        )


def _taken(chosen: dict[str, Any], prefix: str) -> dict[str, Any]:
    """The parts of one tuple, out of all that was chosen."""
    names = [name for name in chosen if name.startswith(prefix)]
    return {name.removeprefix(prefix): chosen.pop(name) for name in names}


def _fits(parts: dict[str, Any], own: Tuple) -> bool:
    for name, wanted in parts.items():
        if isinstance(wanted, Network):
            if not wanted.holds(own.src if name == "src_net" else own.dst):
                return False
        elif name in ("type", "code", "id"):
            if not is_icmp(own.version, own.proto) or _icmp_part(own, name) != wanted:
                return False
        elif getattr(own, name) != wanted:
            return False
    return True


def _icmp_part(own: Tuple, name: str) -> int:
    if name == "id":
        return own.sport
    return own.dport >> 8 if name == "type" else own.dport & 0xFF

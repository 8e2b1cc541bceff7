# SPDX-License-Identifier: Apache-2.0
"""Connections that fit filter words: what the tracker can select, and what is asked besides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from p4ct.conntrack import Connection, Direction, Tracker
from p4ct.daemon.tuples import Network, parse_filter

__all__ = ["select"]


def select(tracker: Tracker, words: list[str]) -> list[Connection]:
    """Connections that fit all the words. Raises TupleError."""
    chosen = parse_filter(words)
    networks: dict[str, Network] = {
        name: chosen.pop(f"{name}_net") for name in ("src", "dst") if f"{name}_net" in chosen
    }
    assured, offloaded = chosen.pop("assured", False), chosen.pop("offloaded", False)
    found = _within(tracker, chosen, networks) if networks else tracker.select(**chosen)
    return [
        connection
        for connection in found
        if (not assured or connection.assured) and (not offloaded or connection.offload is not None)
    ]


def _within(
    tracker: Tracker, chosen: dict[str, Any], networks: dict[str, Network]
) -> Iterator[Connection]:
    """Those of which one tuple fits both what the tracker selects by and the networks."""
    seen: set[int] = set()
    for direction in Direction:
        for connection in tracker.select(**chosen, direction=direction):
            own = (connection.original, connection.reply)[direction]
            if connection.id not in seen and all(
                network.holds(getattr(own, name)) for name, network in networks.items()
            ):
                seen.add(connection.id)
                yield connection

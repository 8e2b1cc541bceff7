# SPDX-License-Identifier: Apache-2.0
"""Room for a new connection: who makes it, and at which limit. Never the assured or offloaded."""

from __future__ import annotations

from collections.abc import Iterator

from p4ct.conntrack.connection import Connection
from p4ct.conntrack.limits import Limits
from p4ct.conntrack.result import ConntrackFull
from p4ct.conntrack.table import ConnectionTable
from p4ct.packet.text import format_ip


def in_the_way(
    known: ConnectionTable,
    conn: Connection,
    limits: Limits,
    max_connections: int,
    max_unreplied: int | None,
) -> Iterator[Connection]:
    """The connections that have to go before `conn` is inserted; each before the next is asked for.

    limits: of its zone. Raises ConntrackFull if a limit is reached and nobody may go.
    """
    zone = conn.table.in_zone
    share = limits.per_source
    if share is not None and zone.sources is not None and zone.sources[conn.source] >= share:
        raise ConntrackFull(
            f"zone {zone.number} allows {share} connections from {format_ip(conn.source)}",
            "the source has as many connections as it may",
            "full_source",
        )
    if limits.connections is not None and zone.count >= limits.connections:
        oldest = zone.unreplied.oldest() or zone.unassured.oldest()
        if oldest is None:
            raise ConntrackFull(
                f"all {zone.count} connections of zone {zone.number} are assured or offloaded; "
                f"raise its limit ({limits.connections}) or flush some",
                "the zone has as many connections as it may",
                "full_zone",
            )
        yield oldest
    if not conn.seen_reply:
        if limits.unreplied is not None and zone.unreplied.length >= limits.unreplied:
            oldest = zone.unreplied.oldest()
            if oldest is not None:
                yield oldest
        if max_unreplied is not None and known.unreplied.length >= max_unreplied:
            oldest = known.unreplied.oldest()
            if oldest is not None:
                yield oldest
    if known.count >= max_connections:
        oldest = known.unreplied.oldest() or known.unassured.oldest()
        if oldest is None:
            raise ConntrackFull(
                f"all {known.count} connections are assured or offloaded; "
                f"raise max_connections ({max_connections}) or flush some"
            )
        yield oldest

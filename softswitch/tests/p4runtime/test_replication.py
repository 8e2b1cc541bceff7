# SPDX-License-Identifier: Apache-2.0
"""Multicast groups and clone sessions: answers, what a read gives back, and packets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt

from .client import match
from .live import Live, load_config, serve

Replica = p4rt.Replica
DST = bytes.fromhex("020000000001")
SRC = bytes.fromhex("0200000000aa")
FRAME = DST + SRC + b"\x08\x00" + bytes(range(100))


@pytest.fixture
def live(cache_dir: Path) -> Iterator[Live]:
    with serve(load_config("l2"), cache_dir, max_groups=4) as running:
        yield running


def group(number: int, *replicas: Replica, **more: object) -> dict[str, object]:
    entry = p4rt.PacketReplicationEngineEntry()
    entry.multicast_group_entry.CopyFrom(
        p4rt.MulticastGroupEntry(multicast_group_id=number, replicas=replicas, **more)
    )
    return {"packet_replication_engine_entry": entry}


def session(number: int, *replicas: Replica, **more: object) -> dict[str, object]:
    entry = p4rt.PacketReplicationEngineEntry()
    entry.clone_session_entry.CopyFrom(
        p4rt.CloneSessionEntry(session_id=number, replicas=replicas, **more)
    )
    return {"packet_replication_engine_entry": entry}


def stored(live: Live, wanted: dict[str, object]) -> list[dict[str, object]]:
    return [
        {"packet_replication_engine_entry": e.packet_replication_engine_entry}
        for e in live.read(**wanted)
    ]


def entry(live: Live, *action: object) -> p4rt.TableEntry:
    return p4rt.TableEntry(
        table_id=live.ids["l2"], match=[match(1, exact=DST)], action=live.action(*action)
    )


def copies(live: Live, port: int) -> list[tuple[bytes, int]]:
    """(source address, length) of what left on a port; the program writes the instance there."""
    return [(frame[6:12].lstrip(b"\0"), len(frame)) for frame in live.sent(port)]


def test_multicast_group_replicates(live: Live) -> None:
    replicas = [
        Replica(egress_port=1, instance=7),
        Replica(port=b"\x02", instance=8),
        Replica(port=b"\0\x02", instance=9),
    ]
    live.write("INSERT", **group(5, *replicas))
    live.write("INSERT", table_entry=entry(live, "flood", 5))
    live.dataplane.inject(0, FRAME)
    assert copies(live, 1) == [(b"\x07", len(FRAME))]
    assert copies(live, 2) == [(b"\x08", len(FRAME)), (b"\x09", len(FRAME))]
    live.write("MODIFY", **group(5, Replica(egress_port=3, instance=1)))
    live.dataplane.inject(0, FRAME)
    assert (copies(live, 1), copies(live, 3)) == ([], [(b"\x01", len(FRAME))])
    live.write("DELETE", **group(5))
    live.dataplane.inject(0, FRAME)
    assert copies(live, 3) == []


def test_group_comes_back_as_it_was_written(live: Live) -> None:
    one = group(1, Replica(egress_port=0), Replica(port=b"\0\0", instance=1), metadata=b"mine")
    other = group(2)
    live.write("INSERT", **one)
    live.write("INSERT", **other)
    assert stored(live, group(1)) == [one]
    assert stored(live, group(0)) == [one, other]


def test_clone_session_mirrors(live: Live) -> None:
    live.write("INSERT", **session(9, Replica(egress_port=2, instance=4)))
    live.write("INSERT", table_entry=entry(live, "mirror", 1, 9))
    live.dataplane.inject(0, FRAME)
    assert live.sent(1) == [FRAME]
    assert copies(live, 2) == [(b"\x04", len(FRAME))]
    live.write("DELETE", **session(9))
    live.dataplane.inject(0, FRAME)
    assert (live.sent(1), live.sent(2)) == ([FRAME], [])


def test_clone_session_truncates(live: Live) -> None:
    short = session(9, Replica(egress_port=2), packet_length_bytes=64)
    live.write("INSERT", **short)
    live.write("INSERT", table_entry=entry(live, "mirror", 1, 9))
    live.dataplane.inject(0, FRAME)
    assert live.sent(1) == [FRAME]
    assert live.sent(2) == [FRAME[:64]]
    assert stored(live, session(9)) == [short]


@pytest.mark.parametrize("make", [group, session])
def test_insert_existing_modify_and_delete_missing(live: Live, make) -> None:
    live.write("INSERT", **make(1))
    assert live.refused("INSERT", **make(1)) == "ALREADY_EXISTS"
    assert live.refused("MODIFY", **make(2)) == "NOT_FOUND"
    assert live.refused("DELETE", **make(2)) == "NOT_FOUND"


@pytest.mark.parametrize(
    ("entity", "code"),
    [
        (group(0), "INVALID_ARGUMENT"),
        (group(32768), "OUT_OF_RANGE"),
        (session(0), "INVALID_ARGUMENT"),
        (session(32768), "INVALID_ARGUMENT"),
        (group(1, Replica(egress_port=1), Replica(port=b"\x01")), "INVALID_ARGUMENT"),
        (group(1, Replica(instance=1)), "INVALID_ARGUMENT"),
        (group(1, Replica(port=b"")), "INVALID_ARGUMENT"),
        (group(1, Replica(port=b"\x01\0\0\0\0")), "INVALID_ARGUMENT"),
        (group(1, Replica(egress_port=1, instance=65536)), "INVALID_ARGUMENT"),
        (
            group(1, Replica(port=b"\1", backup_replicas=[p4rt.BackupReplica(port=b"\2")])),
            "UNIMPLEMENTED",
        ),
        (session(1, class_of_service=1), "UNIMPLEMENTED"),
        (session(1, packet_length_bytes=-1), "INVALID_ARGUMENT"),
        (
            {"packet_replication_engine_entry": p4rt.PacketReplicationEngineEntry()},
            "INVALID_ARGUMENT",
        ),
    ],
)
def test_refusals_leave_nothing_behind(live: Live, entity: dict[str, object], code: str) -> None:
    assert live.refused("INSERT", **entity) == code
    assert stored(live, group(0)) == stored(live, session(0)) == []


def test_number_of_groups_and_sessions_is_limited(live: Live) -> None:
    for entity in (group(5000), group(1), session(1), session(2)):
        live.write("INSERT", **entity)
    assert live.refused("INSERT", **group(2)) == "RESOURCE_EXHAUSTED"
    assert live.refused("INSERT", **session(3)) == "RESOURCE_EXHAUSTED"
    live.write("DELETE", **session(2))
    live.write("INSERT", **group(2))


def test_read_of_a_missing_one_is_not_found(live: Live) -> None:
    assert live.read_refused(**group(3)) == "NOT_FOUND"
    assert live.read_refused(**session(3)) == "NOT_FOUND"
    empty = {"packet_replication_engine_entry": p4rt.PacketReplicationEngineEntry()}
    assert live.read_refused(**empty) == "INVALID_ARGUMENT"


def test_push_clears_them(live: Live) -> None:
    live.write("INSERT", **group(1))
    live.write("INSERT", **session(1))
    live.push()
    assert stored(live, group(0)) == stored(live, session(0)) == []

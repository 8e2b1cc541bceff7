# SPDX-License-Identifier: Apache-2.0
"""Multicast groups and clone sessions (spec 9.5): checks, and what a read gives back.

The data plane knows replicas as (port, instance) only; the messages are kept here as they were
written, because a read returns each port in the kind it came in, and the group's metadata.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt

from softswitch.api import DataplaneApi
from softswitch.p4runtime.bytestring import decode
from softswitch.p4runtime.errors import Code, P4RuntimeError, invalid, unimplemented

SESSION_LIMIT = 1 << 15
"""Clone sessions are multicast groups from this id on in BMv2: neither may have an id above."""
INSTANCE_LIMIT = 1 << 16
"""`egress_rid` has 16 bits."""
PORT_LIMIT = (1 << 32) - 1
DEFAULT_MAX_GROUPS = 4096
"""As BMv2's --max-mc-groups: multicast groups and clone sessions together."""

Update = p4rt.Update
_Message = TypeVar("_Message", p4rt.MulticastGroupEntry, p4rt.CloneSessionEntry)


class Replication:
    """The packet replication engine under one pipeline; the service's lock is held on writes."""

    def __init__(self, max_groups: int = DEFAULT_MAX_GROUPS) -> None:
        self._max_groups = max_groups
        self._groups: dict[int, p4rt.MulticastGroupEntry] = {}
        self._sessions: dict[int, p4rt.CloneSessionEntry] = {}

    def clear(self) -> None:
        """Forget everything: the program has been loaded afresh."""
        self._groups.clear()
        self._sessions.clear()

    def write(
        self,
        kind: Update.Type,
        entry: p4rt.PacketReplicationEngineEntry,
        dataplane: DataplaneApi,
    ) -> None:
        """One update. INVALID_ARGUMENT, ALREADY_EXISTS, NOT_FOUND, OUT_OF_RANGE (group id),
        RESOURCE_EXHAUSTED (too many), UNIMPLEMENTED (backup replicas, class of service)."""
        which = entry.WhichOneof("type")
        if which == "multicast_group_entry":
            self._write_group(kind, entry.multicast_group_entry, dataplane)
        elif which == "clone_session_entry":
            self._write_session(kind, entry.clone_session_entry, dataplane)
        else:
            raise invalid("packet_replication_engine_entry: neither a group nor a session")

    def _write_group(
        self, kind: Update.Type, message: p4rt.MulticastGroupEntry, dataplane: DataplaneApi
    ) -> None:
        group = message.multicast_group_id
        what = f"multicast group {group}"
        if group == 0:
            raise invalid(f"{what}: 0 is not a valid id")
        if group >= SESSION_LIMIT:
            raise P4RuntimeError(Code.OUT_OF_RANGE, f"{what}: ids are below {SESSION_LIMIT}")
        self._check_exists(kind, group in self._groups, what)
        if kind == Update.DELETE:
            dataplane.mc_group_set(group, None)
            del self._groups[group]
            return
        dataplane.mc_group_set(group, _replicas(message.replicas, what))
        self._groups[group] = _copy(message)

    def _write_session(
        self, kind: Update.Type, message: p4rt.CloneSessionEntry, dataplane: DataplaneApi
    ) -> None:
        session = message.session_id
        what = f"clone session {session}"
        if not 0 < session < SESSION_LIMIT:
            raise invalid(f"{what}: ids are 1 to {SESSION_LIMIT - 1}")
        self._check_exists(kind, session in self._sessions, what)
        if kind == Update.DELETE:
            dataplane.clone_session_set(session, None)
            del self._sessions[session]
            return
        if message.class_of_service:
            raise unimplemented(f"{what}: class_of_service is not supported; leave it 0")
        if message.packet_length_bytes < 0:
            raise invalid(f"{what}: packet_length_bytes is negative")
        replicas = _replicas(message.replicas, what)
        dataplane.clone_session_set(session, replicas, message.packet_length_bytes)
        self._sessions[session] = _copy(message)

    def _check_exists(self, kind: Update.Type, exists: bool, what: str) -> None:
        if kind != Update.INSERT:
            if not exists:
                raise P4RuntimeError(Code.NOT_FOUND, f"{what} does not exist")
            return
        if exists:
            raise P4RuntimeError(Code.ALREADY_EXISTS, f"{what} exists already")
        if len(self._groups) + len(self._sessions) >= self._max_groups:
            raise P4RuntimeError(
                Code.RESOURCE_EXHAUSTED,
                f"{what}: there are {self._max_groups} groups and sessions (--max-mc-groups)",
            )

    def read(self, request: p4rt.PacketReplicationEngineEntry) -> Iterator[p4rt.Entity]:
        """The group or session with this id, or all for id 0. NOT_FOUND, as BMv2."""
        which = request.WhichOneof("type")
        if which == "multicast_group_entry":
            group = request.multicast_group_entry.multicast_group_id
            for found in _select(self._groups, group, f"multicast group {group}"):
                entity = p4rt.Entity()
                entity.packet_replication_engine_entry.multicast_group_entry.CopyFrom(found)
                yield entity
        elif which == "clone_session_entry":
            session = request.clone_session_entry.session_id
            for found in _select(self._sessions, session, f"clone session {session}"):
                entity = p4rt.Entity()
                entity.packet_replication_engine_entry.clone_session_entry.CopyFrom(found)
                yield entity
        else:
            raise invalid("packet_replication_engine_entry: neither a group nor a session")


def _select(stored: dict[int, _Message], wanted: int, what: str) -> list[_Message]:
    if wanted == 0:
        return list(stored.values())
    found = stored.get(wanted)
    if found is None:
        raise P4RuntimeError(Code.NOT_FOUND, f"{what} does not exist")
    return [found]


def _copy(message: _Message) -> _Message:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _replicas(messages: Iterable[p4rt.Replica], what: str) -> list[tuple[int, int]]:
    """(port, instance) of each; INVALID_ARGUMENT: no port, too wide, the same pair twice."""
    pairs: list[tuple[int, int]] = []
    for message in messages:
        which = message.WhichOneof("port_kind")
        if which == "port":
            port = decode(message.port, PORT_LIMIT, f"{what}: replica port")
        elif which == "egress_port":
            port = message.egress_port
        else:
            raise invalid(f"{what}: a replica needs a port")
        if message.instance >= INSTANCE_LIMIT:
            raise invalid(f"{what}: replica instance {message.instance} exceeds 16 bits")
        if message.backup_replicas:
            raise unimplemented(f"{what}: backup_replicas are not supported")
        pairs.append((port, message.instance))
    if len(set(pairs)) != len(pairs):
        raise invalid(f"{what}: two replicas have the same port and instance")
    return pairs

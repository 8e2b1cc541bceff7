# SPDX-License-Identifier: Apache-2.0
"""Who may write: client arbitration per role (spec 5), with BMv2's hand-over.

Pure bookkeeping without locks; the service calls it under its own lock. As in BMv2, when the
primary leaves, the live client with the next highest election id becomes primary at once; the
specification would leave the role without a primary until a new arbitration.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt

from softswitch.p4runtime.errors import Code, P4RuntimeError

MAX_CLIENTS_PER_ROLE = 16
"""As BMv2."""


class RoleKey(NamedTuple):
    """A role: its name (P4Runtime 1.4 and later) or numeric id (earlier); default (0, "")."""

    id: int = 0
    name: str = ""

    def __str__(self) -> str:
        return repr(self.name or self.id) if any(self) else "default"


class Client:
    """One stream that has sent an arbitration message; compared by identity."""

    def __init__(self) -> None:
        self.role: RoleKey | None = None
        self.election_id: int | None = None


@dataclass
class _Role:
    clients: list[Client] = field(default_factory=list[Client])
    primary: Client | None = None
    announced: int | None = None

    def elect(self) -> bool:
        """Make the highest election id primary; True if primary or its id is another now."""
        before = (self.primary, self.announced)
        candidates = [client for client in self.clients if client.election_id is not None]
        self.primary = max(candidates, key=lambda client: client.election_id or 0, default=None)
        self.announced = self.primary.election_id if self.primary else None
        return before != (self.primary, self.announced)


class Notice(NamedTuple):
    """A message that the service must send to a client."""

    client: Client
    update: p4rt.MasterArbitrationUpdate


def uint128(value: p4rt.Uint128) -> int:
    """The integer of a P4Runtime election id."""
    return value.high << 64 | value.low


class Arbitration:
    """All roles of one device."""

    def __init__(self, device_id: int) -> None:
        self.device_id = device_id
        self._roles: dict[RoleKey, _Role] = {}

    def update(self, client: Client, request: p4rt.MasterArbitrationUpdate) -> list[Notice]:
        """A client's arbitration message; the returned notices go out in order.

        Raises P4RuntimeError, with which the client's stream must end: NOT_FOUND (device),
        FAILED_PRECONDITION (device or role changed), INVALID_ARGUMENT (role config, election id
        in use), RESOURCE_EXHAUSTED (too many clients of this role).
        """
        key = RoleKey(request.role.id, request.role.name)
        if request.device_id != self.device_id:
            if client.role is not None:
                raise P4RuntimeError(
                    Code.FAILED_PRECONDITION,
                    f"Stream cannot change its device id from {self.device_id}",
                )
            raise unknown_device(request.device_id, self.device_id)
        if client.role is not None and client.role != key:
            raise P4RuntimeError(
                Code.FAILED_PRECONDITION, f"Stream cannot change its role from {client.role}"
            )
        if request.role.HasField("config"):
            raise P4RuntimeError(
                Code.INVALID_ARGUMENT, f"Role {key}: role.config is not understood; leave it unset"
            )
        election_id = uint128(request.election_id) if request.HasField("election_id") else None
        role = self._roles.get(key) or _Role()
        others = [other for other in role.clients if other is not client]
        if election_id is not None and any(o.election_id == election_id for o in others):
            raise P4RuntimeError(Code.INVALID_ARGUMENT, "Election id already exists")
        if client.role is None:
            if len(others) >= MAX_CLIENTS_PER_ROLE:
                raise P4RuntimeError(
                    Code.RESOURCE_EXHAUSTED,
                    f"Role {key} already has {MAX_CLIENTS_PER_ROLE} clients",
                )
            role.clients.append(client)
            self._roles[key] = role
        client.role = key
        client.election_id = election_id
        told = role.clients if role.elect() else [client]
        return [self._notice(role, one) for one in told]

    def leave(self, client: Client) -> list[Notice]:
        """The client's stream has ended."""
        key = client.role
        role = self._roles.get(key) if key is not None else None
        if key is None or role is None or client not in role.clients:
            return []
        role.clients.remove(client)
        client.role = None
        if not role.clients:
            del self._roles[key]
        return [self._notice(role, one) for one in role.clients] if role.elect() else []

    def check_writer(self, key: RoleKey, election_id: int | None) -> None:
        """May this role and election id write? NOT_FOUND (role), PERMISSION_DENIED.

        Without any client everybody may who sends no election id: BMv2 allows it and tools that
        never open a stream rely on it.
        """
        if not self._roles:
            if election_id:
                raise _not_primary()
            return
        role = self._roles.get(key)
        if role is None:
            if any(key):
                raise P4RuntimeError(Code.NOT_FOUND, f"No client has role {key}")
            raise _not_primary()
        if role.primary is None or role.primary.election_id != election_id:
            raise _not_primary()

    def primaries(self) -> list[Client]:
        """The primary of every role that has one."""
        return [role.primary for role in self._roles.values() if role.primary is not None]

    def _notice(self, role: _Role, client: Client) -> Notice:
        update = p4rt.MasterArbitrationUpdate(device_id=self.device_id)
        if client.role is not None and any(client.role):
            update.role.id, update.role.name = client.role
        if role.announced is not None:
            update.election_id.high = role.announced >> 64
            update.election_id.low = role.announced & (1 << 64) - 1
        if role.primary is client:
            update.status.code, update.status.message = Code.OK, "Is primary"
        elif role.primary is not None:
            update.status.code, update.status.message = Code.ALREADY_EXISTS, "Is backup"
        else:
            update.status.code, update.status.message = Code.NOT_FOUND, "No primary"
        return Notice(client, update)


def _not_primary() -> P4RuntimeError:
    return P4RuntimeError(Code.PERMISSION_DENIED, "Not primary")


def unknown_device(requested: int, device_id: int) -> P4RuntimeError:
    """NOT_FOUND for a request to another device id."""
    return P4RuntimeError(
        Code.NOT_FOUND, f"Device {requested} is not served here; this switch is device {device_id}"
    )

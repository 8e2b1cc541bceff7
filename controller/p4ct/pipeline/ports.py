# SPDX-License-Identifier: Apache-2.0
"""Virtual ports: the places where packets enter and leave the pipeline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

__all__ = ["RESERVED_PORT_NAMES", "PortError", "PortTable", "Vport"]

RESERVED_PORT_NAMES = frozenset(
    {"in_port", "table", "normal", "flood", "all", "controller", "local", "any", "none", "drop"}
)
"""Names that the flow language gives a meaning of their own (case does not matter)."""

MAX_VPORT_ID = 1023


class PortError(ValueError):
    """A port definition that cannot be used; the message says which and why."""


class Vport(msgspec.Struct, frozen=True):
    """A logical port.

    `id` (1 to 1023) is the OpenFlow port number and the eswitch's vport id. `port` is the
    dataplane port. `vlan`, if set, is the tag that the vport's frames carry on the wire: the
    vport is then like a VLAN sub-interface, and the pipeline sees its frames untagged.
    """

    id: int
    name: str
    port: int
    vlan: int | None = None
    kind: Literal["vf", "uplink"] = "vf"


class PortTable:
    """The vports of a switch, by id and by name; it does not change."""

    __slots__ = ("by_id", "by_name", "numbers")

    by_id: Mapping[int, Vport]
    by_name: Mapping[str, Vport]
    numbers: Mapping[str, int]
    """Name to id, as `parse_flows` wants it."""

    def __init__(self, vports: Iterable[Vport]) -> None:
        """Raises PortError if ids, names or wire encapsulations clash or are out of range."""
        by_id: dict[int, Vport] = {}
        by_name: dict[str, Vport] = {}
        by_wire: dict[tuple[int, int | None], Vport] = {}
        for vport in vports:
            _check(vport)
            if (other := by_id.get(vport.id)) is not None:
                raise PortError(f"vports {other.name!r} and {vport.name!r} both have id {vport.id}")
            if vport.name in by_name:
                raise PortError(f"two vports are named {vport.name!r}; names must be unique")
            if (other := by_wire.get((vport.port, vport.vlan))) is not None:
                tag = "untagged frames" if vport.vlan is None else f"VLAN {vport.vlan}"
                raise PortError(
                    f"vports {other.name!r} and {vport.name!r} both claim {tag} of port "
                    f"{vport.port}; give one of them another vlan"
                )
            by_id[vport.id] = vport
            by_name[vport.name] = vport
            by_wire[vport.port, vport.vlan] = vport
        self.by_id = by_id
        self.by_name = by_name
        self.numbers = {vport.name: vport.id for vport in by_id.values()}

    def name(self, vport_id: int) -> str:
        """The name of a vport, or its number if there is none with that id."""
        vport = self.by_id.get(vport_id)
        return str(vport_id) if vport is None else vport.name


def _check(vport: Vport) -> None:
    if not 1 <= vport.id <= MAX_VPORT_ID:
        raise PortError(f"vport {vport.name!r}: id {vport.id} is not in 1 to {MAX_VPORT_ID}")
    if vport.vlan is not None and not 1 <= vport.vlan <= 4094:
        raise PortError(f"vport {vport.name!r}: vlan {vport.vlan} is not in 1 to 4094")
    name = vport.name
    if not name or not all(char.isalnum() or char in "_-.@" for char in name):
        raise PortError(
            f"vport name {name!r} cannot be used in flows; use letters, digits, '_', '-', '.', '@'"
        )
    if name.isdigit() or name.lower() in RESERVED_PORT_NAMES:
        raise PortError(f"vport name {name!r} has another meaning in flows; choose another name")

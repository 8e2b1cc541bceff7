# SPDX-License-Identifier: Apache-2.0
"""Virtual ports: the places where packets enter and leave the pipeline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from p4ct.packet.text import format_ip, parse_ip, parse_mac
from p4ct.packet.vxlan import Tunnel

__all__ = [
    "PRIORITY_TAG",
    "RESERVED_PORT_NAMES",
    "PortError",
    "PortTable",
    "TunnelEnd",
    "Vport",
    "Vxlan",
]

RESERVED_PORT_NAMES = frozenset(
    {"in_port", "table", "normal", "flood", "all", "controller", "local", "any", "none", "drop"}
)
"""Names that the flow language gives a meaning of their own (case does not matter)."""

PRIORITY_TAG = 0
"""VLAN id of a tag that has only a priority: such a frame is of the untagged vport."""
#: The eswitch has 1023; the last is the controller's own (p4ct.daemon.switch).
MAX_VPORT_ID = 1022
MIN_MTU = 68
"""Every IPv4 module forwards 68 bytes without a fragment (RFC 791); IPv6 needs 1280 (RFC 8200)."""


class PortError(ValueError):
    """A port definition that cannot be used; the message says which and why."""


TunnelEnd = tuple[bytes, int]
"""Where a VXLAN tunnel ends: outer destination address (4 or 16 bytes) and VNI."""


class Vxlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A point-to-point VXLAN tunnel: addresses as text, IP addresses of one family.

    `outer_eth_dst`: the MAC address of the next hop towards `remote`.
    """

    vni: int
    local: str
    remote: str
    outer_eth_src: str
    outer_eth_dst: str
    dscp: int = 0
    ttl: int = 64


class Vport(msgspec.Struct, frozen=True):
    """A logical port.

    `id` (1 to 1022) is the OpenFlow port number and the eswitch's vport id. `port` is the
    dataplane port. `vlan`, if set, is the tag that the vport's frames carry on the wire: the
    vport is then like a VLAN sub-interface, and the pipeline sees its frames untagged. `vxlan`, if
    set: its frames, with the tag if there is one, are inside VXLAN on the wire. `mtu`: longest IP
    packet that leaves here, in a tunnel the inner one; 0: no limit.
    """

    id: int
    name: str
    port: int
    vlan: int | None = None
    kind: Literal["vf", "uplink"] = "vf"
    mtu: int = 0
    vxlan: Vxlan | None = None


class PortTable:
    """The vports of a switch, by id and by name; only `change` changes it."""

    __slots__ = ("_by_wire", "_ends", "by_id", "by_name", "numbers", "tunnels")

    by_id: Mapping[int, Vport]
    by_name: Mapping[str, Vport]
    numbers: Mapping[str, int]
    """Name to id, as `parse_flows` wants it."""
    tunnels: Mapping[int, Tunnel]
    """Vport id to what its frames are put into on the wire."""

    def __init__(self, vports: Iterable[Vport]) -> None:
        """Raises PortError if ids, names or wire encapsulations clash or are out of range."""
        by_id: dict[int, Vport] = {}
        by_name: dict[str, Vport] = {}
        by_wire: dict[tuple[int, TunnelEnd | None, int | None], Vport] = {}
        tunnels: dict[int, Tunnel] = {}
        for vport in vports:
            _check(vport)
            tunnel = _tunnel(vport)
            end = None if tunnel is None else (tunnel.src, tunnel.vni)
            if (other := by_id.get(vport.id)) is not None:
                raise PortError(f"vports {other.name!r} and {vport.name!r} both have id {vport.id}")
            if vport.name in by_name:
                raise PortError(f"two vports are named {vport.name!r}; names must be unique")
            if (other := by_wire.get((vport.port, end, vport.vlan))) is not None:
                tag = "untagged frames" if vport.vlan is None else f"VLAN {vport.vlan}"
                if end is not None:
                    tag += f" in VNI {end[1]} to {format_ip(end[0])}"
                raise PortError(
                    f"vports {other.name!r} and {vport.name!r} both claim {tag} of port "
                    f"{vport.port}; give one of them another vlan"
                )
            by_id[vport.id] = vport
            by_name[vport.name] = vport
            by_wire[vport.port, end, vport.vlan] = vport
            if tunnel is not None:
                tunnels[vport.id] = tunnel
        self.by_id = by_id
        self.tunnels = tunnels
        self._by_wire = by_wire
        #: The number of a tunnel is the lowest id of the vports inside it.
        self._ends: dict[TunnelEnd, int] = {}
        for number in sorted(tunnels, reverse=True):
            self._ends[tunnels[number].src, tunnels[number].vni] = number
        self.by_name = by_name
        self.numbers = {vport.name: vport.id for vport in by_id.values()}

    def change(self, vports: Iterable[Vport]) -> list[Vport]:
        """Give vports that are there another wire; answers what they were.

        Ids, names, tags and the ends of tunnels stay. Raises PortError, changing nothing, if the
        new wire is somebody else's.
        """
        changed = {vport.id: vport for vport in vports}
        former = [self.by_id[number] for number in changed]
        new = PortTable(changed.get(vport.id, vport) for vport in self.by_id.values())
        for slot in PortTable.__slots__:
            setattr(self, slot, getattr(new, slot))
        return former

    def name(self, vport_id: int) -> str:
        """The name of a vport, or its number if there is none with that id."""
        vport = self.by_id.get(vport_id)
        return str(vport_id) if vport is None else vport.name

    def on_wire(self, port: int, end: TunnelEnd | None, vlan: int | None) -> Vport | None:
        """The vport of frames of a dataplane port, inside or outside a tunnel, with this tag."""
        return self._by_wire.get((port, end, vlan or None))

    @property
    def tunnel_ends(self) -> Mapping[TunnelEnd, int]:
        """Every tunnel that ends here, with its number (1 to 1023)."""
        return self._ends

    def tunnel_number(self, vport_id: int) -> int:
        """The number of the tunnel that a vport is inside of, 0 for none."""
        tunnel = self.tunnels.get(vport_id)
        return 0 if tunnel is None else self._ends[tunnel.src, tunnel.vni]


def _tunnel(vport: Vport) -> Tunnel | None:
    """Raises PortError, naming vport and value, if the tunnel cannot be."""
    vxlan = vport.vxlan
    if vxlan is None:
        return None
    where = f"vport {vport.name!r}: vxlan"
    for name, value, least, most in (
        ("vni", vxlan.vni, 0, 0xFFFFFF),
        ("dscp", vxlan.dscp, 0, 63),
        ("ttl", vxlan.ttl, 1, 255),
    ):
        if not least <= value <= most:
            raise PortError(f"{where}.{name} {value} is not in {least} to {most}")
    try:
        local, remote = parse_ip(vxlan.local), parse_ip(vxlan.remote)
        macs = parse_mac(vxlan.outer_eth_src), parse_mac(vxlan.outer_eth_dst)
    except ValueError as error:
        raise PortError(f"{where}: {error}") from None
    if len(local) != len(remote):
        raise PortError(f"{where}: local {vxlan.local} and remote {vxlan.remote} differ in family")
    if local == remote:
        raise PortError(f"{where}: local and remote are both {vxlan.local}")
    return Tunnel(vxlan.vni, local, remote, *macs, vxlan.dscp, vxlan.ttl)


def _check(vport: Vport) -> None:
    if not 1 <= vport.id <= MAX_VPORT_ID:
        raise PortError(f"vport {vport.name!r}: id {vport.id} is not in 1 to {MAX_VPORT_ID}")
    if vport.vlan is not None and not 1 <= vport.vlan <= 4094:
        raise PortError(f"vport {vport.name!r}: vlan {vport.vlan} is not in 1 to 4094")
    if vport.mtu and not MIN_MTU <= vport.mtu <= 65535:
        raise PortError(
            f"vport {vport.name!r}: mtu {vport.mtu} is not 0 (no limit) or {MIN_MTU} to 65535"
        )
    name = vport.name
    if not name or not all(char.isalnum() or char in "_-.@" for char in name):
        raise PortError(
            f"vport name {name!r} cannot be used in flows; use letters, digits, '_', '-', '.', '@'"
        )
    if name.isdigit() or name.lower() in RESERVED_PORT_NAMES:
        raise PortError(f"vport name {name!r} has another meaning in flows; choose another name")

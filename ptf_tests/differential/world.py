# SPDX-License-Identifier: Apache-2.0
"""Random entries for every table that the program has, and what packets need to hit them.

Tables, actions and parameters come from P4Info: an action that is new gets entries without a change
here, with random values for parameters that no pool knows.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from p4rt_stubs.p4.config.v1 import p4info_pb2
from ptf_base.entities import Match
from ptf_base.p4info import Field, P4Names, Value
from ptf_base.target import PORTS

from differential import pools as p
from differential.case import Entry
from differential.pools import Pools


@dataclass(frozen=True)
class Ingress:
    """One row of the vport table: where a frame comes in to get that vport."""

    port: int
    tunnel_vport: int
    vlan: int | None
    vport: int


@dataclass(frozen=True)
class Aim:
    """What a packet must look like to reach an entry; None: whatever."""

    ingress: Ingress
    eth_src: int | None = None
    eth_dst: int | None = None
    ether_type: int | None = None
    src: int | None = None
    dst: int | None = None
    proto: int | None = None
    sport: int | None = None
    dport: int | None = None
    conn_index: int = 0


@dataclass(frozen=True)
class Tunnel:
    """Outer destination and VNI that end at a tunnel vport."""

    family: int
    outer_dst: int
    vni: int
    tunnel_vport: int


class World:
    """`entries` in the order in which they are to be written, `aims` for the packets."""

    def __init__(self, rng: random.Random, names: P4Names, *, scale: float = 1.0) -> None:
        self.rng = rng
        self.names = names
        self.pools = Pools(rng)
        self.entries: list[Entry] = []
        self.ingresses: list[Ingress] = []
        self.connections: list[Aim] = []
        self.flows: list[Aim] = []
        self.tunnels: list[Tunnel] = []
        self._scale = scale
        self._identities: set[object] = set()
        self._tables = set(names.tables())
        for family in (4, 6):
            self._repeat(6, self._add_tunnel, family)
        self._repeat(40, self._add_vport)
        self._repeat(90, self._add_next_hop)
        self._pairs: list[tuple[Ingress, int, int, int]] = []
        self._repeat(40, self._add_l2_pair)
        for family in (4, 6):
            self._repeat(120, self._add_connection, family)
        self._repeat(120, self._add_flow)
        known = {"vport", "l2_pair", "ct_v4", "ct_v6", "flow", "next_hop"}
        known |= {"tunnel_term_v4", "tunnel_term_v6"}
        for table in names.tables():
            if table not in known and not names.table(table).is_const_table:
                self._repeat(40, self._add_random, table)

    def _repeat(self, times: int, add: Callable[..., None], *arguments: object) -> None:
        for _ in range(max(1, round(times * self._scale))):
            add(*arguments)

    # Tables

    def _add_tunnel(self, family: int) -> None:
        table = f"tunnel_term_v{family}"
        if table not in self._tables:
            return
        tunnel = Tunnel(
            family,
            self.pools.ip(family),
            self.rng.choice(self.pools.vnis),
            self.rng.choice(self.pools.tunnel_vports),
        )
        match: dict[str, Value] = {"outer_dst": tunnel.outer_dst, "vni": tunnel.vni}
        if self._add(table, match, {"tunnel_vport": tunnel.tunnel_vport}):
            self.tunnels.append(tunnel)

    def _add_vport(self) -> None:
        rng = self.rng
        port = rng.randrange(PORTS)
        tunnel_vport = rng.choice(self.tunnels).tunnel_vport if self._one_in(3, self.tunnels) else 0
        vlan = None if rng.random() < 0.5 else rng.choice(self.pools.vlans)
        # Vport 0 means unknown, and yet an entry may give it.
        vport = 0 if rng.random() < 0.03 else rng.choice(self.pools.vports)
        match: dict[str, Value] = {
            "port": port,
            "tunnel_vport": tunnel_vport,
            "vlan_present": int(vlan is not None),
            "vlan_id": vlan or 0,
        }
        if self._add("vport", match, {"vport": vport}):
            self.ingresses.append(Ingress(port, tunnel_vport, vlan, vport))

    def _add_l2_pair(self) -> None:
        ingress = self.rng.choice(self.ingresses)
        src, dst = self.pools.mac(), self.pools.mac()
        l2_id = 0 if self.rng.random() < 0.03 else self.rng.getrandbits(32)
        match: dict[str, Value] = {"vport": ingress.vport, "eth_src": src, "eth_dst": dst}
        if self._add("l2_pair", match, {"l2_id": l2_id}):
            self._pairs.append((ingress, src, dst, l2_id))

    def _add_connection(self, family: int) -> None:
        rng, pools = self.rng, self.pools
        ingress, eth_src, eth_dst, l2_id = rng.choice(self._pairs)
        icmp, kinds = (p.ICMP, (8, 0)) if family == 4 else (p.ICMPV6, (128, 129))
        proto = rng.choices((p.TCP, p.UDP, icmp, rng.getrandbits(8)), (12, 6, 3, 1))[0]
        sport = rng.choice(pools.l4_ports)
        dport = rng.choice(kinds) << 8 if proto == icmp else rng.choice(pools.l4_ports)
        src, dst = pools.two_ips(family)
        match: dict[str, Value] = {"l2_id": l2_id, "src": src, "dst": dst, "proto": proto}
        match |= {"sport": sport, "dport": dport}
        conn_index = rng.choice(pools.conn_indices)
        if self._add(f"ct_v{family}", match, {"conn_index": conn_index}):
            ether_type = 0x0800 if family == 4 else 0x86DD
            aim = Aim(
                ingress, eth_src, eth_dst, ether_type, src, dst, proto, sport, dport, conn_index
            )
            self.connections.append(aim)

    def _add_flow(self) -> None:
        rng, pools = self.rng, self.pools
        ingress = rng.choice(self.ingresses)
        family = rng.choice((4, 6))
        ether_type = {4: 0x0800, 6: 0x86DD}[family]
        if rng.random() < 0.15:
            ether_type = rng.choice(p.ETHERTYPES)
        src, dst = pools.two_ips(family)
        wanted = {
            "eth_src": pools.mac(),
            "eth_dst": pools.mac(),
            "ether_type": ether_type,
            "src": src,
            "dst": dst,
            "proto": pools.one_of(p.TCP, p.UDP, p.ICMP, p.ICMPV6, rng.getrandbits(8)),
            "sport": rng.choice(pools.l4_ports),
            "dport": rng.choice(pools.l4_ports),
        }
        match: dict[str, Value | tuple[Value, Value]] = {"vport": ingress.vport}
        matched: dict[str, int] = {}
        for name, field in self.names.keys("flow").items():
            if field.match_type == "TERNARY" and rng.random() < 0.35:
                value = wanted.get(name, rng.getrandbits(field.width))
                mask = self._mask(field.width)
                if mask:
                    match[name] = (value & mask, mask)
                    if name in wanted:
                        matched[name] = value
        # Few priorities, so that entries overlap at the same one, too.
        priority = pools.one_of(1, 2, 3, 10, rng.randrange(1, 1 << 20), (1 << 31) - 2)
        if self._add("flow", match, {}, priority):
            self.flows.append(Aim(ingress, **matched))

    def _add_next_hop(self) -> None:
        next_hop = self.rng.choice(self.pools.next_hops)
        self._add("next_hop", {"next_hop": next_hop}, {})

    def _add_random(self, table: str) -> None:
        match: dict[str, Value | tuple[Value, Value]] = {}
        ternary = False
        for name, field in self.names.keys(table).items():
            value = self._value(field)
            if field.match_type != "TERNARY":
                match[name] = value
                continue
            ternary = True
            mask = self._mask(field.width)
            if mask:
                match[name] = (value & mask, mask)
        self._add(table, match, {}, self.rng.randrange(1, 100) if ternary else 0)

    # Rows

    def _add(
        self,
        table: str,
        match: Match,
        params: Mapping[str, Value],
        priority: int = 0,
    ) -> bool:
        """Add an entry with a random action of the table; False if there is one with that key."""
        identity = (table, tuple(match.items()), priority)
        if identity in self._identities:
            return False
        self._identities.add(identity)
        self.entries.append(self._entry(table, match, params, priority))
        return True

    def again(self, entry: Entry) -> Entry:
        """The same row with another action, or other parameters."""
        return self._entry(entry.table, entry.match, {}, entry.priority)

    def _entry(self, table: str, match: Match, params: Mapping[str, Value], priority: int) -> Entry:
        actions = [
            self.names.action_name(ref.id)
            for ref in self.names.table(table).action_refs
            if ref.scope != p4info_pb2.ActionRef.DEFAULT_ONLY
        ]
        # What asks for more has more that can go wrong.
        weights = [2 + len(self.names.params(name)) for name in actions]
        action = self.rng.choices(actions, weights)[0]
        filled: dict[str, Value] = {
            name: params[name] if name in params else self._value(field)
            for name, field in self.names.params(action).items()
        }
        return Entry(table, match, action, filled, priority)

    def _value(self, field: Field) -> int:
        """A value for a parameter or key of that name."""
        rng, pools = self.rng, self.pools
        name = field.name
        if name in ("port", "egress_port"):
            return pools.egress_port()
        if name == "next_hop":
            # Forty numbers in all, and fewer rows: some lead nowhere.
            return rng.choice(pools.next_hops)
        if name == "mtu":
            return pools.mtu()
        if name == "vlan_id":
            return rng.choice(pools.vlans)
        if name == "path":
            return rng.choice(pools.paths)
        if name == "vni":
            return rng.choice(pools.vnis)
        if name in ("sport", "dport"):
            return rng.choice(pools.l4_ports)
        if name in ("src", "dst", "outer_src", "outer_dst"):
            return pools.ip(4 if field.width == 32 else 6)
        if field.width == 48:
            return pools.mac()
        return rng.getrandbits(field.width)

    def _mask(self, width: int) -> int:
        """All bits, a prefix, a suffix, or any."""
        rng = self.rng
        everything = (1 << width) - 1
        kind = rng.random()
        if kind < 0.5:
            return everything
        length = rng.randrange(width + 1)
        if kind < 0.75:
            return everything ^ ((1 << (width - length)) - 1)
        return (1 << length) - 1 if kind < 0.85 else rng.getrandbits(width)

    def _one_in(self, n: int, of: list[Tunnel]) -> bool:
        return bool(of) and self.rng.randrange(n) == 0

# SPDX-License-Identifier: Apache-2.0
"""The verbs of the eswitch, and the base of all cases.

A case says what it installs, what it sends and what must come out. Whatever it writes is recorded
and undone backwards at its end; then the switch must be empty again.
"""

from __future__ import annotations

import unittest
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4

from ptf_base import switch as switches
from ptf_base.connections import ORIGINAL, REPLY, Connection, Side
from ptf_base.counters import CounterVerbs, meter_index
from ptf_base.entities import (
    Match,
    identity,
    match_of,
    meter_entry,
    params_of,
    table_entry,
    update,
    zero_counter_entry,
)
from ptf_base.errors import WriteFailed
from ptf_base.frames import EXT, VM1, VM2, Station, Tunnel
from ptf_base.ledger import Row
from ptf_base.p4info import Value
from ptf_base.traffic import Vport
from ptf_base.window_verbs import WindowVerbs


class EswitchTest(WindowVerbs, CounterVerbs, unittest.TestCase):
    """Base of the cases: a subclass has `runTest`, which is all that ptf and pytest ask for."""

    target = ""
    """Which switch to use; empty: the only one that there is."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "runTest" in cls.__dict__:
            cls.runTest = _then_nothing_else(cls.__dict__["runTest"])  # type: ignore[attr-defined]

    def __str__(self) -> str:
        return self.id().replace(".runTest", "")

    def setUp(self) -> None:
        self.switch = switches.get(self.target)
        self.names = self.switch.wire.names
        self.switch.ledger.start_case()
        self.start_traffic()
        self._undo: dict[Any, p4.Update] = {}
        self._l2_pairs: dict[tuple[int, str, str], int] = {}
        self._next_index = 0
        # Undone last to first: entries, then whatever is still under way.
        self.addCleanup(self._verify_empty)
        self.addCleanup(self._undo_writes)
        self.addCleanup(self.settle)

    # Writing

    def write(self, updates: Sequence[p4.Update]) -> None:
        """Write a batch and record how to undo it."""
        self.switch.wire.write(updates)
        for item in updates:
            self._record(item)

    def refused(self, *updates: p4.Update) -> list[str]:
        """Write a batch that must fail; returns the code of each update, "OK" included."""
        try:
            self.switch.wire.write(updates)
        except WriteFailed as error:
            for item, status in zip(updates, error.updates, strict=False):
                if status.code == "OK":
                    self._record(item)
            return error.codes
        for item in updates:
            self._record(item)
        described = ", ".join(self.switch.wire.describe(u) for u in updates)
        raise AssertionError(f"accepted, and must not be: {described}")

    def insert(
        self,
        table: str,
        match: Match,
        action: str,
        params: Mapping[str, Value],
        **options: Any,
    ) -> None:
        """Insert one entry; `options` are those of `table_entry`."""
        self.write([self.entry_update("INSERT", table, match, action, params, **options)])

    def entry_update(
        self,
        kind: str,
        table: str,
        match: Match,
        action: str | None = None,
        params: Mapping[str, Value] | None = None,
        **options: Any,
    ) -> p4.Update:
        return update(kind, table_entry(self.names, table, match, action, params, **options))

    def delete(self, table: str, match: Match, priority: int = 0) -> None:
        self.write([self.entry_update("DELETE", table, match, priority=priority)])

    # Vports, MAC pairs and next hops

    def add_vport(
        self,
        vport: int,
        port: int,
        vlan: int | None = None,
        *,
        tunnel_vport: int = 0,
        tunnel: Tunnel | None = None,
    ) -> Vport:
        """Frames on `port` with that tag, or with none, belong to `vport`.

        With `tunnel_vport`: those that came in by such a tunnel, with that tag inside; `tunnel`
        is what their packet-ins say.
        """
        match = {
            "port": port,
            "tunnel_vport": tunnel_vport,
            "vlan_present": int(vlan is not None),
            "vlan_id": vlan or 0,
        }
        self.insert("vport", match, "set_vport", {"vport": vport})
        if tunnel is None:
            return Vport(vport, port, vlan)
        return Vport(vport, port, vlan, tunnel.vni, tunnel.src)

    def add_tunnel(self, tunnel: Tunnel, tunnel_vport: int) -> None:
        """VXLAN to the tunnel's destination with its VNI ends here."""
        table = f"tunnel_term_v{tunnel.family}"
        match = {"outer_dst": tunnel.dst, "vni": tunnel.vni}
        self.insert(table, match, "terminate", {"tunnel_vport": tunnel_vport})

    def add_station(self, station: Station, vlan: int | None = None) -> Vport:
        """A station's vport, and a next hop to its port that has the port's number."""
        self.add_next_hop(station.port, station.port)
        return self.add_vport(station.vport, station.port, vlan)

    def add_l2_pair(self, vport: Vport, src: str, dst: str) -> int:
        """Frames from `src` to `dst` on that vport may hit entries; returns their l2_id."""
        key = (vport.id, src, dst)
        if key not in self._l2_pairs:
            self._l2_pairs[key] = 0x1000 + len(self._l2_pairs)
            match = {"vport": vport.id, "eth_src": src, "eth_dst": dst}
            self.insert("l2_pair", match, "set_l2_id", {"l2_id": self._l2_pairs[key]})
        return self._l2_pairs[key]

    def add_next_hop(
        self,
        next_hop: int,
        port: int,
        *,
        mtu: int = 0,
        vlan_op: str = "KEEP",
        vlan_id: int = 0,
        route: tuple[str, str] | None = None,
        kind: str = "INSERT",
    ) -> None:
        """Where `next_hop` leads; `route` is (source, destination) MAC of a routed hop.

        `kind` MODIFY redirects everything that uses it.
        """
        params: dict[str, Value] = {
            "port": port,
            "mtu": mtu,
            "vlan_op": vlan_op,
            "vlan_id": vlan_id,
        }
        action = "nh_output"
        if route is not None:
            action = "nh_route"
            params["eth_src"], params["eth_dst"] = route
        match = {"next_hop": next_hop}
        self.write([self.entry_update(kind, "next_hop", match, action, params)])

    def add_vxlan_next_hop(
        self,
        next_hop: int,
        port: int,
        tunnel: Tunnel,
        *,
        mtu: int = 0,
        vlan_op: str = "KEEP",
        vlan_id: int = 0,
        route: tuple[str, str] | None = None,
        kind: str = "INSERT",
    ) -> None:
        """As `add_next_hop`, in the outer headers of `tunnel`."""
        src, dst = route or (0, 0)
        params: dict[str, Value] = {
            "port": port,
            "mtu": mtu,
            "vlan_op": vlan_op,
            "vlan_id": vlan_id,
            "route": int(route is not None),
            "eth_src": src,
            "eth_dst": dst,
            "outer_eth_src": tunnel.eth_src,
            "outer_eth_dst": tunnel.eth_dst,
            "outer_src": tunnel.src,
            "outer_dst": tunnel.dst,
            "vni": tunnel.vni,
            "ttl": tunnel.ttl,
            "dscp": tunnel.dscp,
        }
        match = {"next_hop": next_hop}
        action = f"nh_vxlan_v{tunnel.family}"
        self.write([self.entry_update(kind, "next_hop", match, action, params)])

    def add_drop_next_hop(self, next_hop: int) -> None:
        self.insert("next_hop", {"next_hop": next_hop}, "nh_drop", {})

    # Connections and flows

    def add_connection(
        self,
        proto: str = "tcp",
        family: int = 4,
        *,
        client: tuple[Station, Vport],
        server: tuple[Station, Vport],
        sport: int = 40000,
        dport: int = 80,
        next_hops: tuple[int, int] | None = None,
        paths: tuple[int, int] = (0, 0),
        **options: Any,
    ) -> Connection:
        """Both entries of a connection, with a MAC pair for each direction, in one batch.

        `next_hops` and `paths` are for (original, reply); the next hops of the stations'
        ports by default. Its counters are zeroed first. `options` are those of Connection.
        """
        self._next_index += 1
        to_server, to_client = next_hops or (server[0].port, client[0].port)
        connection = Connection(
            proto,
            family,
            sport,
            dport,
            options.pop("index", self._next_index),
            options.pop("generation", 7),
            (
                self._side(client, server, to_server, paths[ORIGINAL]),
                self._side(server, client, to_client, paths[REPLY]),
            ),
            **options,
        )
        cells = [
            update("MODIFY", zero_counter_entry(self.names, "ct_counter", 2 * connection.index + d))
            for d in (ORIGINAL, REPLY)
        ]
        self.write(cells)
        self.write([self.connection_update("INSERT", connection, d) for d in (ORIGINAL, REPLY)])
        return connection

    def _side(
        self, src: tuple[Station, Vport], dst: tuple[Station, Vport], next_hop: int, path: int
    ) -> Side:
        l2_id = self.add_l2_pair(src[1], src[0].mac, dst[0].mac)
        return Side(src[0], dst[0], src[1], l2_id, next_hop, path)

    def connection_update(
        self, kind: str, connection: Connection, direction: int, action: str = "ct_forward"
    ) -> p4.Update:
        """An update of one direction's entry."""
        forward = action == "ct_forward"
        return self.entry_update(
            kind,
            connection.table,
            connection.match(direction),
            action,
            connection.forward_params(direction) if forward else connection.drain_params(direction),
            idle_timeout_ns=connection.idle_timeout_ns,
            metadata=connection.metadata,
            controller_metadata=connection.controller_metadata,
        )

    def drain(self, connection: Connection) -> None:
        """Both entries from forward to drain, in one batch."""
        self.write(
            [self.connection_update("MODIFY", connection, d, "ct_drain") for d in (ORIGINAL, REPLY)]
        )

    def remove(self, connection: Connection) -> None:
        """Both entries away, in one batch."""
        self.write([self.connection_update("DELETE", connection, d) for d in (ORIGINAL, REPLY)])

    def add_flow(
        self, vport: Vport, next_hop: int, match: Match, *, priority: int, path: int = 0
    ) -> dict[str, Any]:
        """A stateless entry; returns its whole match, for `watch_entry` and `delete`."""
        whole = {"vport": vport.id, **match}
        params = {"path": path, "next_hop": next_hop}
        self.insert("flow", whole, "flow_forward", params, priority=priority)
        return whole

    # The policer

    def set_policer(self, vport: int, class_: str, *, rate: int, burst: int) -> None:
        """Let `rate` packets a second through, `burst` of them at once."""
        config = {"cir": rate, "cburst": burst, "pir": rate, "pburst": burst}
        index = meter_index(self.names, vport, class_)
        self.write([update("MODIFY", meter_entry(self.names, "punt_meter", index, config))])

    def clear_policer(self, vport: int, class_: str) -> None:
        """Let everything through again."""
        index = meter_index(self.names, vport, class_)
        self.write([update("MODIFY", meter_entry(self.names, "punt_meter", index))])

    # Leaving

    def _record(self, item: p4.Update) -> None:
        kind = item.entity.WhichOneof("entity")
        if kind == "table_entry":
            entry = item.entity.table_entry
            key = identity(entry)
            if item.type == p4.Update.DELETE:
                self._undo.pop(key, None)
                self.switch.ledger.removed(key)
                return
            names = self.names
            message = entry.action.action
            action = names.action_name(message.action_id)
            self.switch.ledger.wrote(
                key,
                Row(
                    names.table_name(entry.table_id),
                    action,
                    params_of(names, message),
                    match_of(names, entry),
                ),
            )
            self._undo.setdefault(key, update("DELETE", item.entity))
        elif kind == "meter_entry":
            meter = item.entity.meter_entry
            undo = p4.Update(type=p4.Update.MODIFY)
            undo.entity.meter_entry.meter_id = meter.meter_id
            undo.entity.meter_entry.index.CopyFrom(meter.index)
            self._undo[meter.meter_id, meter.index.index] = undo

    def _undo_writes(self) -> None:
        updates = list(reversed(self._undo.values()))
        self._undo.clear()
        if updates:
            self.switch.wire.write(updates)

    def _verify_empty(self) -> None:
        wanted = [
            table_entry(self.names, table, {}) for table in self.names.tables() if table != "trap"
        ]
        left = self.switch.wire.read(*wanted)
        if left:
            lines = [self.switch.wire.describe(update("DELETE", e)) for e in left]
            self.switch.wire.write([update("DELETE", e) for e in left])
            raise AssertionError("\n".join(["the case left entries behind:", *lines]))


class StationsTest(EswitchTest):
    """With three untagged stations, vm1, vm2 and ext, and the next hops to them."""

    def setUp(self) -> None:
        super().setUp()
        self.vm1 = self.add_station(VM1)
        self.vm2 = self.add_station(VM2)
        self.ext = self.add_station(EXT)

    def connect(self, proto: str = "tcp", family: int = 4, **options: Any) -> Connection:
        """A connection from vm1 to ext."""
        return self.add_connection(
            proto, family, client=(VM1, self.vm1), server=(EXT, self.ext), **options
        )


def _then_nothing_else(run: Callable[[EswitchTest], None]) -> Callable[[EswitchTest], None]:
    """A case that has passed has also left nothing unexpected."""
    if hasattr(run, "__wrapped__"):
        return run

    @wraps(run)
    def wrapped(self: EswitchTest) -> None:
        run(self)
        self.verify_nothing_else()
        self.switch.ledger.case_passed()

    return wrapped

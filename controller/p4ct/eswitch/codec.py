# SPDX-License-Identifier: Apache-2.0
"""Entries of `eswitch.entries` to and from P4Runtime messages.

Ids are looked up once, at construction; building and decoding then only move values.
Bytestrings are canonical: shortest form, zero as one zero byte.
"""

from collections.abc import Iterable

from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt

from p4ct.eswitch.entries import (
    CtDrain,
    CtEntry,
    CtForward,
    CtKey,
    Delete,
    Entry,
    FlowEntry,
    FlowKey,
    Insert,
    L2PairEntry,
    Masked,
    Nat,
    NextHopEntry,
    Op,
    TunnelTermEntry,
    VportEntry,
)
from p4ct.eswitch.enums import VlanOp
from p4ct.p4runtime.bytestring import canonical, canonical_bytes
from p4ct.p4runtime.p4info import P4InfoIndex
from p4ct.packet.vxlan import Tunnel

_FLOW_FIELDS = FlowKey._fields[2:]
_from_bytes = int.from_bytes


class Codec:
    """For one program that passed `contract.check`."""

    def __init__(self, p4info: P4InfoIndex) -> None:
        def table(name: str, *keys: str) -> tuple[int, tuple[int, ...]]:
            found = p4info.tables.get(name)
            ids = {key.name: key.id for key in found.keys}
            return found.id, tuple(ids[key] for key in keys)

        def action(name: str, *params: str) -> tuple[int, tuple[int, ...]]:
            found = p4info.actions.get(name)
            ids = {param.name: param.id for param in found.params}
            return found.id, tuple(ids[param] for param in params)

        ct_keys = ("l2_id", "src", "dst", "proto", "sport", "dport")
        self.tunnel_v4 = table("tunnel_term_v4", "outer_dst", "vni")
        self.tunnel_v6 = table("tunnel_term_v6", "outer_dst", "vni")
        self.vport = table("vport", "port", "tunnel_vport", "vlan_present", "vlan_id")
        self.l2_pair = table("l2_pair", "vport", "eth_src", "eth_dst")
        self.ct_v4 = table("ct_v4", *ct_keys)
        self.ct_v6 = table("ct_v6", *ct_keys)
        self.flow = table("flow", "vport", *_FLOW_FIELDS)
        self.next_hop = table("next_hop", "next_hop")
        self.trap = table("trap")

        drain = ("conn_index", "generation", "direction")
        output = ("port", "mtu", "vlan_op", "vlan_id")
        self._set_vport = action("set_vport", "vport")
        self._set_l2_id = action("set_l2_id", "l2_id")
        self._ct_drain = action("ct_drain", *drain)
        forward = (*drain, "path", "next_hop", "check_window")
        nat = (*forward, "src", "dst", "sport", "dport")
        self._terminate = action("terminate", "tunnel_vport")
        self._ct_forward = action("ct_forward", *forward)
        self._ct_nat = {4: action("ct_nat_v4", *nat), 6: action("ct_nat_v6", *nat)}
        self._flow_forward = action("flow_forward", "path", "next_hop")
        self._nh_output = action("nh_output", *output)
        self._nh_route = action("nh_route", *output, "eth_src", "eth_dst")
        macs = ("eth_src", "eth_dst", "outer_eth_src", "outer_eth_dst")
        vxlan = (*output, "route", *macs, "outer_src", "outer_dst", "vni", "ttl", "dscp")
        self._nh_vxlan = {4: action("nh_vxlan_v4", *vxlan), 6: action("nh_vxlan_v6", *vxlan)}
        self._nh_drop = action("nh_drop")
        self._punt = action("punt", "reason")

    # To P4Runtime

    def update(self, op: Op) -> p4rt.Update:

        update = p4rt.Update()
        table_entry = update.entity.table_entry
        entry = op.entry
        if isinstance(op, Delete):
            update.type = p4rt.Update.DELETE
            self.fill_key(table_entry, entry)
            return update
        update.type = p4rt.Update.INSERT if isinstance(op, Insert) else p4rt.Update.MODIFY
        self.fill_key(table_entry, entry)
        self._fill_action(table_entry, op.entry)
        return update

    def fill_key(self, out: p4rt.TableEntry, entry: Entry | CtKey | FlowKey) -> None:
        """Set table, match and priority."""
        if isinstance(entry, CtEntry | FlowEntry):
            entry = entry.key
        if isinstance(entry, CtKey):
            version, l2_id, src, dst, proto, sport, dport = entry
            table, size = (self.ct_v4, 4) if version == 4 else (self.ct_v6, 16)
            values = (
                canonical(l2_id),
                _address(src, size),
                _address(dst, size),
                canonical(proto),
                canonical(sport),
                canonical(dport),
            )
        elif isinstance(entry, FlowKey):
            self._fill_flow_key(out, entry)
            return
        elif isinstance(entry, L2PairEntry):
            table = self.l2_pair
            values = (
                canonical(entry.vport),
                _address(entry.eth_src, 6),
                _address(entry.eth_dst, 6),
            )
        elif isinstance(entry, TunnelTermEntry):
            table, size = (self.tunnel_v4, 4) if entry.version == 4 else (self.tunnel_v6, 16)
            values = (_address(entry.outer_dst, size), canonical(entry.vni))
        elif isinstance(entry, VportEntry):
            table = self.vport
            tagged = entry.vlan is not None
            values = (
                canonical(entry.port),
                canonical(entry.tunnel_vport),
                b"\1" if tagged else b"\0",
                canonical(entry.vlan or 0),
            )
        else:
            table = self.next_hop
            values = (canonical(entry.next_hop),)
        out.table_id, ids = table
        add = out.match.add
        for id_, value in zip(ids, values, strict=True):
            add(field_id=id_).exact.value = value

    def _fill_flow_key(self, out: p4rt.TableEntry, key: FlowKey) -> None:
        out.table_id, ids = self.flow
        out.priority = key.priority
        out.match.add(field_id=ids[0]).exact.value = canonical(key.vport)
        masked: Iterable[Masked | None] = key[2:]
        for id_, pair in zip(ids[1:], masked, strict=True):
            if pair is not None:
                ternary = out.match.add(field_id=id_).ternary
                ternary.value = canonical(pair[0])
                ternary.mask = canonical(pair[1])

    def _fill_action(self, out: p4rt.TableEntry, entry: Entry) -> None:
        if isinstance(entry, CtEntry):
            out.idle_timeout_ns = entry.idle_timeout_ns
            out.metadata = entry.metadata
            verdict = entry.action
            values = (verdict.conn_index, verdict.generation, verdict.direction)
            if isinstance(verdict, CtForward):
                self._fill_forward(out, entry.key.version, verdict)
            else:
                _set_action(out, self._ct_drain, values)
        elif isinstance(entry, FlowEntry):
            out.idle_timeout_ns = entry.idle_timeout_ns
            out.metadata = entry.metadata
            _set_action(out, self._flow_forward, (entry.path, entry.next_hop))
        elif isinstance(entry, L2PairEntry):
            _set_action(out, self._set_l2_id, (entry.l2_id,))
        elif isinstance(entry, VportEntry):
            _set_action(out, self._set_vport, (entry.vport,))
        elif isinstance(entry, TunnelTermEntry):
            _set_action(out, self._terminate, (entry.tunnel_vport,))
        else:
            self._fill_next_hop(out, entry)

    def _fill_forward(self, out: p4rt.TableEntry, version: int, verdict: CtForward) -> None:
        values = (
            verdict.conn_index,
            verdict.generation,
            verdict.direction,
            verdict.path,
            verdict.next_hop,
            verdict.check_window,
        )
        nat = verdict.nat
        if nat is None:
            _set_action(out, self._ct_forward, values)
            return
        size = 4 if version == 4 else 16
        addresses = (_number(nat.src, size), _number(nat.dst, size))
        _set_action(out, self._ct_nat[version], (*values, *addresses, nat.sport, nat.dport))

    def _fill_next_hop(self, out: p4rt.TableEntry, entry: NextHopEntry) -> None:
        values = (entry.port, entry.mtu, entry.vlan_op, entry.vlan_id)
        if entry.kind == "drop":
            _set_action(out, self._nh_drop, ())
        elif entry.kind == "output":
            _set_action(out, self._nh_output, values)
        elif entry.kind == "route":
            macs = (_number(entry.eth_src, 6), _number(entry.eth_dst, 6))
            _set_action(out, self._nh_route, (*values, *macs))
        else:
            tunnel = entry.tunnel
            if tunnel is None:
                raise ValueError(f"next hop {entry.next_hop} is in VXLAN, but names no tunnel")
            size = len(tunnel.src)
            route = bool(entry.eth_src or entry.eth_dst)
            values += (
                route,
                _number(entry.eth_src, 6) if route else 0,
                _number(entry.eth_dst, 6) if route else 0,
                _number(tunnel.eth_src, 6),
                _number(tunnel.eth_dst, 6),
                _number(tunnel.src, size),
                _number(tunnel.dst, size),
                tunnel.vni,
                tunnel.ttl,
                tunnel.dscp,
            )
            _set_action(out, self._nh_vxlan[4 if size == 4 else 6], values)

    # From P4Runtime; KeyError or ValueError if P4Info does not explain the message

    def ct_key(self, entry: p4rt.TableEntry) -> CtKey:
        """The key of an entry of `ct_v4` or `ct_v6`."""
        version, (table_id, ids) = (4, self.ct_v4)
        size = 4
        if entry.table_id != table_id:
            version, (_, ids), size = 6, self.ct_v6, 16
        found = {match.field_id: match.exact.value for match in entry.match}
        l2_id, src, dst, proto, sport, dport = [found[id_] for id_ in ids]
        return CtKey(
            version,
            _from_bytes(l2_id, "big"),
            src.rjust(size, b"\0"),
            dst.rjust(size, b"\0"),
            _from_bytes(proto, "big"),
            _from_bytes(sport, "big"),
            _from_bytes(dport, "big"),
        )

    def ct_entry(self, entry: p4rt.TableEntry) -> CtEntry:
        action_id = entry.action.action.action_id
        key = self.ct_key(entry)
        nat = self._ct_nat[key.version]
        if action_id == self._ct_forward[0]:
            *values, check = _params(entry, self._ct_forward)
            action = CtForward(*values, check_window=check == 1)
        elif action_id == nat[0]:
            *values, check, src, dst, sport, dport = _params(entry, nat)
            size = len(key.src)
            to = Nat(src.to_bytes(size, "big"), dst.to_bytes(size, "big"), sport, dport)
            action = CtForward(*values, check_window=check == 1, nat=to)
        else:
            action = CtDrain(*_params(entry, self._ct_drain))
        return CtEntry(key, action, entry.idle_timeout_ns, entry.metadata)

    def flow_key(self, entry: p4rt.TableEntry) -> FlowKey:
        ids = self.flow[1]
        found = {match.field_id: match for match in entry.match}
        masked = [
            (
                _from_bytes(found[id_].ternary.value, "big"),
                _from_bytes(found[id_].ternary.mask, "big"),
            )
            if id_ in found
            else None
            for id_ in ids[1:]
        ]
        vport = _from_bytes(found[ids[0]].exact.value, "big")
        return FlowKey(vport, entry.priority, *masked)

    def flow_entry(self, entry: p4rt.TableEntry) -> FlowEntry:
        path, next_hop = _params(entry, self._flow_forward)
        key = self.flow_key(entry)
        return FlowEntry(key, path, next_hop, entry.idle_timeout_ns, entry.metadata)

    def vport_entry(self, entry: p4rt.TableEntry) -> VportEntry:
        port, tunnel, tagged, vlan = _exact(entry, self.vport)
        (vport,) = _params(entry, self._set_vport)
        return VportEntry(port, vlan if tagged else None, vport, tunnel)

    def tunnel_entry(self, entry: p4rt.TableEntry) -> TunnelTermEntry:
        """A row of `tunnel_term_v4` or `tunnel_term_v6`."""
        is_v4 = entry.table_id == self.tunnel_v4[0]
        version, size, table = (4, 4, self.tunnel_v4) if is_v4 else (6, 16, self.tunnel_v6)
        dst, vni = _exact(entry, table)
        (tunnel_vport,) = _params(entry, self._terminate)
        return TunnelTermEntry(version, dst.to_bytes(size, "big"), vni, tunnel_vport)

    def l2_pair_entry(self, entry: p4rt.TableEntry) -> L2PairEntry:
        vport, src, dst = _exact(entry, self.l2_pair)
        (l2_id,) = _params(entry, self._set_l2_id)
        return L2PairEntry(vport, src.to_bytes(6, "big"), dst.to_bytes(6, "big"), l2_id)

    def next_hop_entry(self, entry: p4rt.TableEntry) -> NextHopEntry:
        (number,) = _exact(entry, self.next_hop)
        action_id = entry.action.action.action_id
        if action_id == self._nh_drop[0]:
            return NextHopEntry(number, "drop")
        if action_id == self._nh_output[0]:
            port, mtu, vlan_op, vlan_id = _params(entry, self._nh_output)
            return NextHopEntry(number, "output", port, mtu, VlanOp(vlan_op), vlan_id)
        for size, vxlan in ((4, self._nh_vxlan[4]), (16, self._nh_vxlan[6])):
            if action_id == vxlan[0]:
                return _vxlan_next_hop(number, size, _params(entry, vxlan))
        port, mtu, vlan_op, vlan_id, src, dst = _params(entry, self._nh_route)
        macs = (src.to_bytes(6, "big"), dst.to_bytes(6, "big"))
        return NextHopEntry(number, "route", port, mtu, VlanOp(vlan_op), vlan_id, *macs)

    def punt_reason(self, entry: p4rt.TableEntry) -> int:
        """The reason that an entry of the trap table gives."""
        return _params(entry, self._punt)[0]


def _vxlan_next_hop(number: int, size: int, params: list[int]) -> NextHopEntry:
    port, mtu, vlan_op, vlan_id, route, eth_src, eth_dst, *outer = params
    outer_eth_src, outer_eth_dst, src, dst, vni, ttl, dscp = outer
    return NextHopEntry(
        number,
        "vxlan",
        port,
        mtu,
        VlanOp(vlan_op),
        vlan_id,
        eth_src.to_bytes(6, "big") if route else b"",
        eth_dst.to_bytes(6, "big") if route else b"",
        Tunnel(
            vni,
            src.to_bytes(size, "big"),
            dst.to_bytes(size, "big"),
            outer_eth_src.to_bytes(6, "big"),
            outer_eth_dst.to_bytes(6, "big"),
            dscp,
            ttl,
        ),
    )


def _number(address: bytes, size: int) -> int:
    return _from_bytes(_address(address, size), "big")


def _address(value: bytes, size: int) -> bytes:
    if len(value) != size:
        raise ValueError(f"an address of {len(value)} bytes, not {size}: {value.hex()}")
    return canonical_bytes(value)


def _set_action(
    out: p4rt.TableEntry, action: tuple[int, tuple[int, ...]], values: tuple[int, ...]
) -> None:
    message = out.action.action
    message.action_id, ids = action
    add = message.params.add
    for id_, value in zip(ids, values, strict=True):
        add(param_id=id_, value=canonical(value))


def _params(entry: p4rt.TableEntry, action: tuple[int, tuple[int, ...]]) -> list[int]:
    message = entry.action.action
    if message.action_id != action[0]:
        raise ValueError(f"unknown action 0x{message.action_id:x}")
    found = {param.param_id: param.value for param in message.params}
    return [_from_bytes(found[id_], "big") for id_ in action[1]]


def _exact(entry: p4rt.TableEntry, table: tuple[int, tuple[int, ...]]) -> list[int]:
    found = {match.field_id: match.exact.value for match in entry.match}
    return [_from_bytes(found[id_], "big") for id_ in table[1]]

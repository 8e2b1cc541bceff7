# SPDX-License-Identifier: Apache-2.0
"""Writes to fields: into the lookup key, and into the packet where the field is part of it."""

from __future__ import annotations

from collections.abc import Callable

from p4ct.packet.parse import PROTO_TCP, PROTO_UDP, Packet
from p4ct.packet.rewrite import set_arp, set_link, set_tag, set_tos, set_ttl, translate
from p4ct.pipeline.fields import (
    CT_FIELDS,
    FIELDS,
    REGISTERS,
    VLAN_PRESENT,
    Field,
    Key,
    build_key,
)

__all__ = ["TUPLE_FIELDS", "Unwritable", "push_tag", "set_tuple", "write", "write_tag"]


class Unwritable(Exception):
    """The packet is malformed where it should be written; the argument is a reason to drop it."""


TUPLE_FIELDS = frozenset(
    {Field.NW_SRC, Field.NW_DST, Field.IPV6_SRC, Field.IPV6_DST, Field.TP_SRC, Field.TP_DST}
)
"""What conntrack knows a packet by: who writes one of these makes it another packet."""

_ADDRESS_FIELDS = {4: (Field.NW_SRC, Field.NW_DST), 6: (Field.IPV6_SRC, Field.IPV6_DST)}
_TAG_SHIFTS = {Field.VLAN_VID: 0, Field.VLAN_PCP: 13}
_ETH_VLAN = 0x8100
_NO_PACKET = frozenset({*REGISTERS, Field.CT_MARK, Field.CT_LABEL})


def write(pkt: Packet, key: Key, field: Field, value: int, mask: int) -> Packet:
    """Change the bits in `mask` of a field; the answer is the packet as it is then.

    Ports of a later fragment are not there and stay so, as in OVS. Raises Unwritable.
    """
    value = key[field] & ~mask | value & mask
    if field in _NO_PACKET:
        key[field] = value
        return pkt
    if field in _TAG_SHIFTS:
        return write_tag(pkt, key, value << _TAG_SHIFTS[field], mask << _TAG_SHIFTS[field])
    fresh = _WRITERS[field](pkt, field, value)
    if fresh is not pkt:
        key[field] = value
    return fresh


def write_tag(pkt: Packet, key: Key, value: int, mask: int) -> Packet:
    """Change bits of `vlan_tci`; the answer is the packet as it is then. Raises Unwritable.

    As in OVS, 0x1000 decides whether there is a tag, and a tag that is written has DEI 0.
    """
    old = key[Field.VLAN_VID] | key[Field.VLAN_PCP] << 13
    tci = old & ~mask | value & mask
    if not tci & VLAN_PRESENT:
        tci = 0
    if tci == old:
        return pkt
    if not pkt.eth_src or (pkt.eth_type == _ETH_VLAN and pkt.vlan_id is None):
        raise Unwritable(f"a field of a malformed packet is written: {pkt.error}")
    fresh = set_tag(pkt, tci & ~VLAN_PRESENT if tci else None)
    if fresh.vlan_id is not None and not tci:
        _renew(key, fresh)  # what was behind a second tag is fields now
    else:
        key[Field.VLAN_VID] = tci & 0x1FFF
        key[Field.VLAN_PCP] = tci >> 13
    return fresh


def push_tag(pkt: Packet, key: Key) -> Packet:
    """A tag of VLAN 0 and priority 0 on a packet that has none; raises Unwritable."""
    if key[Field.VLAN_VID]:
        raise Unwritable("push_vlan: the packet has a tag, and a second one is not understood")
    return write_tag(pkt, key, VLAN_PRESENT, 0xFFFF)


def _renew(key: Key, pkt: Packet) -> None:
    """All of the key that is of the packet; what flows and conntrack have noted stays."""
    fresh = build_key(pkt, key[Field.IN_PORT])
    for field in (*CT_FIELDS, *REGISTERS):
        fresh[field] = key[field]
    key[:] = fresh


def set_tuple(pkt: Packet, key: Key) -> None:
    """Bring addresses and ports of the key up to date with a packet that was translated."""
    source, target = _ADDRESS_FIELDS[pkt.version]
    key[source] = int.from_bytes(pkt.src, "big")
    key[target] = int.from_bytes(pkt.dst, "big")
    if pkt.proto in (PROTO_TCP, PROTO_UDP):
        key[Field.TP_SRC] = pkt.sport
        key[Field.TP_DST] = pkt.dport


def _sound(pkt: Packet) -> None:
    if not pkt.version:
        raise Unwritable(f"a field of a malformed packet is written: {pkt.error}")


def _bytes(field: Field, value: int) -> bytes:
    return value.to_bytes(FIELDS[field].bits // 8, "big")


def _link(pkt: Packet, field: Field, value: int) -> Packet:
    address = _bytes(field, value)
    if field is Field.DL_SRC:
        return set_link(pkt, address, pkt.eth_dst)
    return set_link(pkt, pkt.eth_src, address)


def _address(pkt: Packet, field: Field, value: int) -> Packet:
    _sound(pkt)
    address = _bytes(field, value)
    if field in (Field.NW_SRC, Field.IPV6_SRC):
        return translate(pkt, (address, pkt.dst, pkt.sport, pkt.dport))
    return translate(pkt, (pkt.src, address, pkt.sport, pkt.dport))


def _port(pkt: Packet, field: Field, value: int) -> Packet:
    _sound(pkt)
    if pkt.frag == 2:
        return pkt
    if pkt.l4_len < (20 if pkt.proto == PROTO_TCP else 8):
        raise Unwritable(f"a field of a malformed packet is written: {pkt.error}")
    if field is Field.TP_SRC:
        return translate(pkt, (pkt.src, pkt.dst, value, pkt.dport))
    return translate(pkt, (pkt.src, pkt.dst, pkt.sport, value))


def _tos(pkt: Packet, field: Field, value: int) -> Packet:
    _sound(pkt)
    return set_tos(pkt, value | pkt.tos & 3 if field is Field.NW_TOS else pkt.tos & 0xFC | value)


def _ttl(pkt: Packet, field: Field, value: int) -> Packet:
    _sound(pkt)
    return set_ttl(pkt, value)


def _arp(pkt: Packet, field: Field, value: int) -> Packet:
    if not pkt.arp_spa:
        raise Unwritable("a field of an ARP packet of another kind is written")
    op = value if field is Field.ARP_OP else pkt.arp_op
    sha, spa, tha, tpa = (
        _bytes(own, value) if field is own else old
        for own, old in (
            (Field.ARP_SHA, pkt.arp_sha),
            (Field.ARP_SPA, pkt.arp_spa),
            (Field.ARP_THA, pkt.arp_tha),
            (Field.ARP_TPA, pkt.arp_tpa),
        )
    )
    return set_arp(pkt, op, sha, spa, tha, tpa)


_WRITERS: dict[Field, Callable[[Packet, Field, int], Packet]] = {
    Field.DL_SRC: _link,
    Field.DL_DST: _link,
    **dict.fromkeys((*_ADDRESS_FIELDS[4], *_ADDRESS_FIELDS[6]), _address),
    Field.TP_SRC: _port,
    Field.TP_DST: _port,
    Field.NW_TOS: _tos,
    Field.NW_ECN: _tos,
    Field.NW_TTL: _ttl,
    **dict.fromkeys(
        (Field.ARP_OP, Field.ARP_SHA, Field.ARP_SPA, Field.ARP_THA, Field.ARP_TPA), _arp
    ),
}

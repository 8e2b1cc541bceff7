# SPDX-License-Identifier: Apache-2.0
"""The registry of match fields, the lookup key made from a packet, and sets of fields.

A field has the name that `ovs-fields(7)` gives it, a width in bits and an index. The index is its
bit in a `FieldSet` and its place in the lookup key, a list of integers that `build_key` makes once
per packet. A field that the packet does not have is 0 in the key: prerequisites (checked when a
flow is parsed) make sure that no flow looks at it before it has matched the protocol.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from p4ct.packet.parse import Packet

__all__ = [
    "CT_FIELDS",
    "FIELDS",
    "REGISTERS",
    "VLAN_PRESENT",
    "Field",
    "FieldInfo",
    "FieldSet",
    "Key",
    "Stage",
    "build_key",
    "field_set",
]

Key = list[int]

ETH_ARP, ETH_IP, ETH_IPV6, ETH_RARP = 0x0806, 0x0800, 0x86DD, 0x8035
ICMP, TCP, UDP, ICMPV6, SCTP = 1, 6, 17, 58, 132
VLAN_PRESENT = 0x1000


class Field(IntEnum):
    """Index of a field in the lookup key."""

    CT_STATE = 0
    CT_ZONE = 1
    CT_MARK = 2
    DL_TYPE = 3
    NW_PROTO = 4
    IN_PORT = 5
    VLAN_VID = 6
    VLAN_PCP = 7
    DL_SRC = 8
    DL_DST = 9
    NW_SRC = 10
    NW_DST = 11
    IPV6_SRC = 12
    IPV6_DST = 13
    ARP_SPA = 14
    ARP_TPA = 15
    ARP_OP = 16
    ARP_SHA = 17
    ARP_THA = 18
    NW_TOS = 19
    NW_ECN = 20
    NW_TTL = 21
    NW_FRAG = 22
    TP_SRC = 23
    TP_DST = 24
    ICMP_TYPE = 25
    ICMP_CODE = 26
    ND_TARGET = 27
    TCP_FLAGS = 28
    CT_LABEL = 29
    CT_NW_PROTO = 30
    CT_NW_SRC = 31
    CT_NW_DST = 32
    CT_IPV6_SRC = 33
    CT_IPV6_DST = 34
    CT_TP_SRC = 35
    CT_TP_DST = 36
    REG0 = 37
    REG1 = 38
    REG2 = 39
    REG3 = 40
    REG4 = 41
    REG5 = 42
    REG6 = 43
    REG7 = 44
    REG8 = 45
    REG9 = 46
    REG10 = 47
    REG11 = 48
    REG12 = 49
    REG13 = 50
    REG14 = 51
    REG15 = 52


class Stage(IntEnum):
    """When a lookup consults a field: a mismatch in one stage keeps the later fields unseen.

    The idea of the staged lookup of OVS (lib/classifier.h). The fields that an eswitch entry
    cannot match come last, so that a flow that needs them disturbs only its own protocol.
    """

    METADATA = 0
    LINK = 1
    ADDRESS = 2
    REST = 3


class FieldInfo(NamedTuple):
    """`name`: canonical name; `bits`: width; `stage`: when a lookup consults it."""

    name: str
    bits: int
    stage: Stage

    @property
    def mask(self) -> int:
        """The mask of an exact match."""
        return (1 << self.bits) - 1


FIELDS: dict[Field, FieldInfo] = {
    Field.CT_STATE: FieldInfo("ct_state", 8, Stage.METADATA),
    Field.CT_ZONE: FieldInfo("ct_zone", 16, Stage.METADATA),
    Field.CT_MARK: FieldInfo("ct_mark", 32, Stage.METADATA),
    Field.DL_TYPE: FieldInfo("dl_type", 16, Stage.METADATA),
    Field.IN_PORT: FieldInfo("in_port", 16, Stage.METADATA),
    Field.NW_PROTO: FieldInfo("nw_proto", 8, Stage.LINK),
    # The VLAN id as OpenFlow 1.2 has it: bit 12 says that there is a tag.
    Field.VLAN_VID: FieldInfo("dl_vlan", 13, Stage.LINK),
    Field.VLAN_PCP: FieldInfo("dl_vlan_pcp", 3, Stage.LINK),
    Field.DL_SRC: FieldInfo("dl_src", 48, Stage.LINK),
    Field.DL_DST: FieldInfo("dl_dst", 48, Stage.LINK),
    Field.NW_SRC: FieldInfo("nw_src", 32, Stage.ADDRESS),
    Field.NW_DST: FieldInfo("nw_dst", 32, Stage.ADDRESS),
    Field.IPV6_SRC: FieldInfo("ipv6_src", 128, Stage.ADDRESS),
    Field.IPV6_DST: FieldInfo("ipv6_dst", 128, Stage.ADDRESS),
    Field.TP_SRC: FieldInfo("tp_src", 16, Stage.ADDRESS),
    Field.TP_DST: FieldInfo("tp_dst", 16, Stage.ADDRESS),
    Field.ICMP_TYPE: FieldInfo("icmp_type", 8, Stage.ADDRESS),
    Field.ICMP_CODE: FieldInfo("icmp_code", 8, Stage.ADDRESS),
    Field.ARP_SPA: FieldInfo("arp_spa", 32, Stage.REST),
    Field.ARP_TPA: FieldInfo("arp_tpa", 32, Stage.REST),
    Field.ARP_OP: FieldInfo("arp_op", 16, Stage.REST),
    Field.ARP_SHA: FieldInfo("arp_sha", 48, Stage.REST),
    Field.ARP_THA: FieldInfo("arp_tha", 48, Stage.REST),
    # The whole TOS byte with the two ECN bits cleared.
    Field.NW_TOS: FieldInfo("nw_tos", 8, Stage.REST),
    Field.NW_ECN: FieldInfo("nw_ecn", 2, Stage.REST),
    Field.NW_TTL: FieldInfo("nw_ttl", 8, Stage.REST),
    # Bit 0: any fragment; bit 1: a fragment that is not the first.
    Field.NW_FRAG: FieldInfo("nw_frag", 2, Stage.REST),
    Field.ND_TARGET: FieldInfo("nd_target", 128, Stage.REST),
    Field.TCP_FLAGS: FieldInfo("tcp_flags", 12, Stage.REST),
    Field.CT_LABEL: FieldInfo("ct_label", 128, Stage.METADATA),
    # The tuple of the connection's first packet, as that came to conntrack.
    Field.CT_NW_PROTO: FieldInfo("ct_nw_proto", 8, Stage.METADATA),
    Field.CT_NW_SRC: FieldInfo("ct_nw_src", 32, Stage.METADATA),
    Field.CT_NW_DST: FieldInfo("ct_nw_dst", 32, Stage.METADATA),
    Field.CT_IPV6_SRC: FieldInfo("ct_ipv6_src", 128, Stage.METADATA),
    Field.CT_IPV6_DST: FieldInfo("ct_ipv6_dst", 128, Stage.METADATA),
    Field.CT_TP_SRC: FieldInfo("ct_tp_src", 16, Stage.METADATA),
    Field.CT_TP_DST: FieldInfo("ct_tp_dst", 16, Stage.METADATA),
    # 32 bits for the flows to write to and to match on; 0 when a packet comes in.
    **{
        field: FieldInfo(field.name.lower(), 32, Stage.METADATA)
        for field in Field
        if field.name.startswith("REG")
    },
}

CT_FIELDS = (
    Field.CT_STATE,
    Field.CT_ZONE,
    Field.CT_MARK,
    Field.CT_LABEL,
    Field.CT_NW_PROTO,
    Field.CT_NW_SRC,
    Field.CT_NW_DST,
    Field.CT_IPV6_SRC,
    Field.CT_IPV6_DST,
    Field.CT_TP_SRC,
    Field.CT_TP_DST,
)
"""What ct() sets; all 0 in a packet that is not tracked."""

REGISTERS = tuple(field for field in Field if field.name.startswith("REG"))


class FieldSet(int):
    """A set of fields: bit `1 << Field` is set for each member."""

    __slots__ = ()

    def __or__(self, other: int) -> Self:
        return type(self)(int(self) | int(other))

    def __and__(self, other: int) -> Self:
        return type(self)(int(self) & int(other))

    def without(self, other: int) -> Self:
        """The members of this set that `other` lacks."""
        return type(self)(int(self) & ~int(other))

    def __contains__(self, field: Field) -> bool:
        return bool(int(self) >> field & 1)

    def fields(self) -> tuple[Field, ...]:
        """The members, in the order of the registry."""
        return tuple(field for field in Field if int(self) >> field & 1)

    def names(self) -> tuple[str, ...]:
        """The members' names, in the order of the registry."""
        return tuple(FIELDS[field].name for field in self.fields())

    def __repr__(self) -> str:
        return f"FieldSet({', '.join(self.names())})"


def field_set(fields: Iterable[Field]) -> FieldSet:
    """The set of the given fields."""
    bits = 0
    for field in fields:
        bits |= 1 << field
    return FieldSet(bits)


_EMPTY: Key = [0] * len(Field)
_from_bytes = int.from_bytes


def build_key(pkt: Packet, in_port: int) -> Key:
    """The lookup key of a packet that has not been tracked: all its ct fields are 0."""
    key = _EMPTY.copy()
    key[5] = in_port
    eth_type = pkt.eth_type
    key[3] = eth_type
    key[8] = _from_bytes(pkt.eth_src, "big")
    key[9] = _from_bytes(pkt.eth_dst, "big")
    if pkt.vlan_id is not None:
        key[6] = VLAN_PRESENT | pkt.vlan_id
        key[7] = pkt.vlan_pcp
    version = pkt.version
    if version:
        if version == 4:
            key[10] = _from_bytes(pkt.src, "big")
            key[11] = _from_bytes(pkt.dst, "big")
        else:
            key[12] = _from_bytes(pkt.src, "big")
            key[13] = _from_bytes(pkt.dst, "big")
        proto = pkt.proto
        if proto >= 0:
            key[4] = proto
        key[19] = pkt.tos & 0xFC
        key[20] = pkt.tos & 3
        key[21] = pkt.ttl
        if pkt.frag:
            key[22] = 1 if pkt.frag == 1 else 3
        if proto in (TCP, UDP):
            key[23] = pkt.sport
            key[24] = pkt.dport
            if proto == TCP and pkt.l4_len >= 20 and pkt.frag != 2:
                # With the low bits of the byte before: NS and three reserved ones.
                key[28] = (pkt.frame[pkt.l4_offset + 12] & 0x0F) << 8 | pkt.flags
        elif proto in (ICMP, ICMPV6):
            key[25] = pkt.icmp_type
            key[26] = pkt.icmp_code
            if pkt.nd_target:
                key[27] = _from_bytes(pkt.nd_target, "big")
    elif eth_type == ETH_ARP:
        key[14] = _from_bytes(pkt.arp_spa, "big")
        key[15] = _from_bytes(pkt.arp_tpa, "big")
        key[16] = pkt.arp_op
        key[17] = _from_bytes(pkt.arp_sha, "big")
        key[18] = _from_bytes(pkt.arp_tha, "big")
    return key

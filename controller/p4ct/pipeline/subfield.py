# SPDX-License-Identifier: Apache-2.0
"""Parts of fields, as `load`, `move` and `zone=` name them: `reg0[0..15]`, `NXM_OF_ETH_SRC[]`."""

from __future__ import annotations

import re

import msgspec

from p4ct.pipeline.errors import ValueProblem, nearest
from p4ct.pipeline.fields import FIELDS, REGISTERS, Field

__all__ = [
    "FIELD_NAMES",
    "PREREQUISITES",
    "TAG_NAMES",
    "WRITABLE",
    "Subfield",
    "field_name",
    "find_field",
    "format_subfield",
    "parse_part",
    "parse_subfield",
]


class Subfield(msgspec.Struct, frozen=True):
    """`bits` bits of a field, from bit `start` (0 is the lowest) on."""

    field: Field
    start: int
    bits: int

    @property
    def mask(self) -> int:
        """The bits of the field that are meant."""
        return ((1 << self.bits) - 1) << self.start


_NAMES: dict[Field, str] = {
    Field.DL_SRC: "eth_src dl_src NXM_OF_ETH_SRC OXM_OF_ETH_SRC",
    Field.DL_DST: "eth_dst dl_dst NXM_OF_ETH_DST OXM_OF_ETH_DST",
    Field.VLAN_VID: "vlan_vid OXM_OF_VLAN_VID",
    Field.VLAN_PCP: "vlan_pcp OXM_OF_VLAN_PCP",
    Field.NW_SRC: "nw_src ip_src NXM_OF_IP_SRC OXM_OF_IPV4_SRC",
    Field.NW_DST: "nw_dst ip_dst NXM_OF_IP_DST OXM_OF_IPV4_DST",
    Field.IPV6_SRC: "ipv6_src NXM_NX_IPV6_SRC OXM_OF_IPV6_SRC",
    Field.IPV6_DST: "ipv6_dst NXM_NX_IPV6_DST OXM_OF_IPV6_DST",
    Field.NW_ECN: "nw_ecn ip_ecn NXM_NX_IP_ECN OXM_OF_IP_ECN",
    Field.NW_TTL: "nw_ttl NXM_NX_IP_TTL",
    Field.NW_PROTO: "nw_proto ip_proto NXM_OF_IP_PROTO OXM_OF_IP_PROTO",
    Field.TP_SRC: "tp_src tcp_src udp_src NXM_OF_TCP_SRC NXM_OF_UDP_SRC "
    "OXM_OF_TCP_SRC OXM_OF_UDP_SRC",
    Field.TP_DST: "tp_dst tcp_dst udp_dst NXM_OF_TCP_DST NXM_OF_UDP_DST "
    "OXM_OF_TCP_DST OXM_OF_UDP_DST",
    Field.ARP_OP: "arp_op NXM_OF_ARP_OP OXM_OF_ARP_OP",
    Field.ARP_SPA: "arp_spa NXM_OF_ARP_SPA OXM_OF_ARP_SPA",
    Field.ARP_TPA: "arp_tpa NXM_OF_ARP_TPA OXM_OF_ARP_TPA",
    Field.ARP_SHA: "arp_sha NXM_NX_ARP_SHA OXM_OF_ARP_SHA",
    Field.ARP_THA: "arp_tha NXM_NX_ARP_THA OXM_OF_ARP_THA",
    Field.IN_PORT: "in_port NXM_OF_IN_PORT",
    Field.CT_ZONE: "ct_zone NXM_NX_CT_ZONE",
    Field.CT_MARK: "ct_mark NXM_NX_CT_MARK",
    Field.CT_LABEL: "ct_label NXM_NX_CT_LABEL",
    Field.CT_NW_PROTO: "ct_nw_proto NXM_NX_CT_NW_PROTO",
    Field.CT_NW_SRC: "ct_nw_src NXM_NX_CT_NW_SRC",
    Field.CT_NW_DST: "ct_nw_dst NXM_NX_CT_NW_DST",
    Field.CT_IPV6_SRC: "ct_ipv6_src NXM_NX_CT_IPV6_SRC",
    Field.CT_IPV6_DST: "ct_ipv6_dst NXM_NX_CT_IPV6_DST",
    Field.CT_TP_SRC: "ct_tp_src NXM_NX_CT_TP_SRC",
    Field.CT_TP_DST: "ct_tp_dst NXM_NX_CT_TP_DST",
    **{reg: f"reg{n} NXM_NX_REG{n}" for n, reg in enumerate(REGISTERS)},
}

FIELD_NAMES: dict[str, Field] = {
    name: field for field, names in _NAMES.items() for name in names.split()
}
"""The names of fields that actions read or write; the first of a field is the one printed."""

TAG_NAMES = ("vlan_tci", "NXM_OF_VLAN_TCI")
"""Names of the 16 bits of `vlan_vid` and, above it, `vlan_pcp` together."""

PREREQUISITES: dict[Field, str] = {
    Field.VLAN_PCP: "vlan",
    Field.NW_SRC: "ip",
    Field.NW_DST: "ip",
    Field.IPV6_SRC: "ipv6",
    Field.IPV6_DST: "ipv6",
    Field.NW_TOS: "ip or ipv6",
    Field.NW_ECN: "ip or ipv6",
    Field.NW_TTL: "ip or ipv6",
    Field.NW_PROTO: "ip or ipv6",
    Field.TP_SRC: "tcp or udp",
    Field.TP_DST: "tcp or udp",
    **dict.fromkeys(
        (Field.ARP_OP, Field.ARP_SPA, Field.ARP_TPA, Field.ARP_SHA, Field.ARP_THA), "arp"
    ),
}
"""What a flow must match before its actions may use a field."""

WRITABLE = frozenset(
    {
        *REGISTERS,
        *(PREREQUISITES.keys() - {Field.NW_PROTO}),
        Field.DL_SRC,
        Field.DL_DST,
        Field.VLAN_VID,
    }
)
"""What `set_field`, `load` and `move` may write, apart from ct_mark and ct_label within exec()."""

_SUBFIELD = re.compile(r"([A-Za-z0-9_]+)(?:\[(?:(\d+)(?:\.\.(\d+))?)?\])?")


def find_field(name: str) -> Field:
    """The field of this name; raises ValueProblem with the nearest one."""
    field = FIELD_NAMES.get(name)
    if field is None:
        known = [names.split()[0] for names in _NAMES.values()]
        if name.startswith(("NXM_", "OXM_")):
            known = list(FIELD_NAMES)
        raise ValueProblem(f"unknown field {name!r}", nearest(name, known), length=len(name))
    return field


def parse_part(text: str) -> tuple[str, int, int]:
    """`field`, `field[]`, `field[bit]` or `field[first..last]`: the field's name, the first bit and
    how many there are; raises ValueProblem."""
    found = _SUBFIELD.fullmatch(text)
    if found is None:
        raise ValueProblem(
            f"{text!r} is not a field or a part of one",
            "write FIELD[] or FIELD[FIRST..LAST]",
            length=len(text),
        )
    name, first, last = found.groups()
    width = 16 if name in TAG_NAMES else FIELDS[find_field(name)].bits
    if first is None:
        return name, 0, width
    low = int(first)
    high = low if last is None else int(last)
    if not low <= high < width:
        raise ValueProblem(
            f"{name} has the bits 0 to {width - 1}",
            "write FIELD[FIRST..LAST]",
            offset=len(name),
            length=len(text) - len(name),
        )
    return name, low, high - low + 1


def parse_subfield(text: str) -> Subfield:
    """What `parse_part` reads, as a part of one field; raises ValueProblem."""
    name, start, bits = parse_part(text)
    if name not in TAG_NAMES:
        return Subfield(find_field(name), start, bits)
    width = FIELDS[Field.VLAN_VID].bits
    if start >= width:
        return Subfield(Field.VLAN_PCP, start - width, bits)
    if start + bits > width:
        raise ValueProblem(
            f"{text} is of two fields here, VLAN id and priority",
            f"name them apart: {name}[0..12] and {name}[13..15]",
            length=len(text),
        )
    return Subfield(Field.VLAN_VID, start, bits)


def format_subfield(subfield: Subfield) -> str:
    """The text that `parse_subfield` reads."""
    name = field_name(subfield.field)
    if subfield.bits == FIELDS[subfield.field].bits:
        return f"{name}[]"
    if subfield.bits == 1:
        return f"{name}[{subfield.start}]"
    return f"{name}[{subfield.start}..{subfield.start + subfield.bits - 1}]"


def field_name(field: Field) -> str:
    """The name of a field as actions are printed with it."""
    if field is Field.NW_TOS:
        return "nw_tos"
    return _NAMES[field].split()[0]

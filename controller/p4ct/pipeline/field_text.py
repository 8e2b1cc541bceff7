# SPDX-License-Identifier: Apache-2.0
"""Values of fields as text: what a flow's match and its actions are printed with."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from p4ct.pipeline.fields import REGISTERS, Field

__all__ = ["HEX", "IPV4", "IPV6", "MACS", "format_mac", "format_value"]

MACS = frozenset({Field.DL_SRC, Field.DL_DST, Field.ARP_SHA, Field.ARP_THA})
IPV4 = frozenset(
    {
        Field.NW_SRC,
        Field.NW_DST,
        Field.ARP_SPA,
        Field.ARP_TPA,
        Field.CT_NW_SRC,
        Field.CT_NW_DST,
    }
)
IPV6 = frozenset(
    {Field.IPV6_SRC, Field.IPV6_DST, Field.ND_TARGET, Field.CT_IPV6_SRC, Field.CT_IPV6_DST}
)
HEX = frozenset({Field.CT_MARK, Field.CT_LABEL, *REGISTERS})
"""Printed in hexadecimal."""


def format_mac(value: int) -> str:
    """48 bits as aa:bb:cc:dd:ee:ff."""
    return value.to_bytes(6, "big").hex(":")


def format_value(field: Field, value: int) -> str:
    """A value, or a mask, of this field."""
    if field in MACS:
        return format_mac(value)
    if field in IPV4:
        return str(IPv4Address(value))
    if field in IPV6:
        return str(IPv6Address(value))
    return f"{value:#x}" if field in HEX else str(value)

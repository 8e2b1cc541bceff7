# SPDX-License-Identifier: Apache-2.0
"""`resubmit(,TABLE,ct)`: a lookup that sees the tuple of the connection in the packet's place.

As `tuple_swap` of OVS (ofproto-dpif-xlate.c): addresses, protocol and ports of the packet change
places with those of the connection's first packet, for one lookup. Of ICMP, type and code are in
the place of the ports.
"""

from __future__ import annotations

from p4ct.pipeline.fields import ICMP, ICMPV6, TCP, UDP, Field, Key, field_set

__all__ = ["swapped", "swapped_looks"]

_ADDRESSES = (
    (Field.NW_SRC, Field.CT_NW_SRC),
    (Field.NW_DST, Field.CT_NW_DST),
    (Field.IPV6_SRC, Field.CT_IPV6_SRC),
    (Field.IPV6_DST, Field.CT_IPV6_DST),
    (Field.NW_PROTO, Field.CT_NW_PROTO),
)
_PORTS = (Field.TP_SRC, Field.TP_DST)
_KINDS = (Field.ICMP_TYPE, Field.ICMP_CODE)
_CT_PORTS = (Field.CT_TP_SRC, Field.CT_TP_DST)
#: What each field of a swapped key is made of. The protocol says which fields ports are.
_MADE_OF = {
    **{one: field_set([other]) for pair in _ADDRESSES for one, other in (pair, pair[::-1])},
    **dict.fromkeys((*_PORTS, *_KINDS), field_set([*_CT_PORTS, Field.CT_NW_PROTO])),
    **dict.fromkeys(_CT_PORTS, field_set([*_PORTS, *_KINDS, Field.NW_PROTO])),
}
_SWAPPED = field_set(_MADE_OF)


def _places(proto: int) -> tuple[Field, Field] | None:
    if proto in (TCP, UDP):
        return _PORTS
    return _KINDS if proto in (ICMP, ICMPV6) else None


def swapped(key: Key) -> Key:
    """The key with packet and connection in each other's place."""
    fresh = key.copy()
    for one, other in _ADDRESSES:
        fresh[one], fresh[other] = key[other], key[one]
    for field in (*_PORTS, *_KINDS, *_CT_PORTS):
        fresh[field] = 0
    own, its = _places(key[Field.NW_PROTO]), _places(key[Field.CT_NW_PROTO])
    for number, field in enumerate(_CT_PORTS):
        if own is not None:
            fresh[field] = key[own[number]]
        if its is not None:
            fresh[its[number]] = key[field]
    return fresh


def swapped_looks(looked: int) -> int:
    """What of the packet a lookup in a swapped key has looked at, as bits of a FieldSet."""
    if not looked & _SWAPPED:
        return looked
    real = looked & ~_SWAPPED
    for field, sources in _MADE_OF.items():
        if looked >> field & 1:
            real |= sources
    return int(real)

# SPDX-License-Identifier: Apache-2.0
"""Why a result of the pipeline cannot become an eswitch entry.

A connection entry of the eswitch holds for one vport, one pair of MAC addresses and one 5-tuple,
and its connection's state is what it was when the entry was made. A result may become an entry
only if nothing else was looked at and there is exactly one place to send the packet to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from p4ct.pipeline.fields import (
    CT_FIELDS,
    ICMP,
    ICMPV6,
    REGISTERS,
    Field,
    FieldSet,
    field_set,
)
from p4ct.pipeline.rewrite import rewrite_of

if TYPE_CHECKING:
    from p4ct.packet.parse import Packet
    from p4ct.pipeline.ports import PortTable
    from p4ct.pipeline.result import Result

__all__ = ["STATELESS", "covered_by_connection_entry", "find_blockers"]

STATELESS = "stateless: no ct() on the path"
"""This one alone does not exclude the `flow` table of the eswitch."""

_INVALID, _RELATED = 0x10, 0x04

_COVERED = field_set(
    [
        Field.IN_PORT,
        Field.DL_SRC,
        Field.DL_DST,
        Field.DL_TYPE,
        Field.VLAN_VID,
        Field.VLAN_PCP,
        Field.NW_SRC,
        Field.NW_DST,
        Field.IPV6_SRC,
        Field.IPV6_DST,
        Field.NW_PROTO,
        Field.TP_SRC,
        Field.TP_DST,
        # The connection fixes these; a change of mark or label ends the entry.
        *CT_FIELDS,
        # A register holds what flows have put there: constants, and fields then looked at.
        *REGISTERS,
    ]
)
# The key of an echo message holds type and code; other ICMP messages are in no entry.
_COVERED_ECHO = _COVERED | field_set([Field.ICMP_TYPE, Field.ICMP_CODE])


def covered_by_connection_entry(pkt: Packet) -> FieldSet:
    """The fields whose value an entry made for this packet's connection pins down."""
    if pkt.proto not in (ICMP, ICMPV6):
        return _COVERED_ECHO  # a packet without ICMP has no ICMP fields: they are pinned to 0
    return _COVERED_ECHO if _is_echo(pkt) else _COVERED


def _is_echo(pkt: Packet) -> bool:
    kinds = (0, 8) if pkt.version == 4 else (128, 129)
    return pkt.icmp_type in kinds and pkt.icmp_code == 0


def find_blockers(result: Result, ports: PortTable) -> list[str]:
    """The blockers of a result, most telling first."""
    pkt = result.pkt
    blockers: list[str] = []
    if not result.outputs:
        blockers.append(f"no output: {result.drop_reason}")
    if result.flood:
        blockers.append(f"flood: {result.flood}")
    if len(result.outputs) > 1:
        names = ", ".join(ports.name(port) for port in result.outputs)
        blockers.append(f"more than one output: {names}")
    elif result.outputs:
        rewrite = rewrite_of(pkt, result.packets[0])
        if isinstance(rewrite, str):
            blockers.append(rewrite)
        elif rewrite.vlan is not None and ports.by_id[result.outputs[0]].vlan is not None:
            name = ports.name(result.outputs[0])
            blockers.append(f"two VLAN tags: that of its flows and that of vport {name}")
    if pkt.vlan_id is not None:
        blockers.append("a VLAN tag inside the vport's frames: entries match frames without")
    if not result.ct:
        blockers.append(STATELESS)
    for visit in result.ct:
        state = int(visit.result.state)
        if state & _INVALID:
            blockers.append(f"invalid in zone {visit.zone}: {visit.result.reason}")
        elif state & _RELATED and pkt.proto in (ICMP, ICMPV6):
            blockers.append(f"ICMP error related to a connection of zone {visit.zone}")
    if pkt.frag or result.cuts is not None:
        blockers.append("fragment: an entry matches whole packets only")
    uncovered = result.looked_at.without(covered_by_connection_entry(pkt))
    blockers += [f"looks at {name}" for name in uncovered.names()]
    return blockers

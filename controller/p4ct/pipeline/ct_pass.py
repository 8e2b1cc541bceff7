# SPDX-License-Identifier: Apache-2.0
"""The action `ct`: one passage of a packet through conntrack, with all that its arguments do.

The order is that of the kernel's datapath (net/openvswitch/conntrack.c): find the connection; let
`force` replace it; store it and choose its translation; translate the packet; write mark and label.
"""

from __future__ import annotations

from struct import Struct

from p4ct.conntrack import ConntrackFull, ConntrackInvalid, Direction, NatExhausted, TupleTaken
from p4ct.conntrack.connection import DNAT, SNAT
from p4ct.conntrack.icmp import is_error
from p4ct.packet.parse import PROTO_ICMP, PROTO_ICMPV6, Packet
from p4ct.packet.quoted import translate_error
from p4ct.packet.rewrite import translate
from p4ct.pipeline.access import ConntrackAccess
from p4ct.pipeline.actions import Ct, SetField
from p4ct.pipeline.fields import CT_FIELDS, Field, Key
from p4ct.pipeline.result import CtVisit, Result
from p4ct.pipeline.subfield import Subfield
from p4ct.pipeline.write import set_tuple, write

__all__ = ["CtDrop", "CtPass", "clear_ct_fields", "read_subfield", "set_ct_fields"]

_NEW_OR_EST, _RELATED, _INVALID = 0x03, 0x04, 0x10
_CT_INDEXES = tuple(int(field) for field in CT_FIELDS)
_CT_STATE, _CT_ZONE = int(Field.CT_STATE), int(Field.CT_ZONE)
_CT_MARK, _CT_LABEL = int(Field.CT_MARK), int(Field.CT_LABEL)
_V4_KEY = Struct("!LLHH").unpack
_V6_KEY = Struct("!16s16sHH").unpack


class CtDrop(Exception):
    """Conntrack does not let the packet pass; the argument is the reason."""


class CtPass:
    """Takes one packet through conntrack, as often as its flows say.

    count: frames that the packet came in.
    """

    __slots__ = ("_access", "_effects", "_now", "_result", "count")

    def __init__(
        self, access: ConntrackAccess, result: Result, now: float, *, effects: bool
    ) -> None:
        self._access = access
        self._result = result
        self._now = now
        self._effects = effects
        self.count = 1

    def run(
        self, action: Ct, zone: int, pkt: Packet, key: Key, visit: CtVisit | None
    ) -> tuple[CtVisit, Packet]:
        """What conntrack said, and the packet as it is then; raises CtDrop.

        `visit`: the last passage if its answer still holds; it is used again in the same zone.
        """
        if visit is None or visit.zone != zone:
            visit = CtVisit(zone, self._access.track(pkt, zone, self._now))
            self._result.ct.append(visit)
            pkt = self._helped(visit, pkt)
            self._count_fragments(visit)
        if action.commit and not int(visit.result.state) & _INVALID:
            if not visit.committed or (action.force and visit.result.direction is Direction.REPLY):
                self._commit(visit, action, pkt)
            if action.writes:
                self._write_marks(visit, action, key)
        if action.nat and not visit.translated:
            pkt = self._translate(visit, pkt, key)
        return visit, pkt

    def _helped(self, visit: CtVisit, pkt: Packet) -> Packet:
        """The packet as a helper has left it; raises CtDrop."""
        result = visit.result
        if result.refused:
            raise CtDrop(result.refused)
        return pkt if result.packet is None else result.packet

    def _commit(self, visit: CtVisit, action: Ct, pkt: Packet) -> None:
        old = visit.connection
        try:
            connection = self._access.commit(
                visit.result,
                pkt,
                self._now,
                nat=action.nat_range,
                force=action.force,
                alg=action.alg,
                timeout=action.timeout,
            )
        except ConntrackFull as full:
            raise CtDrop(f"ct(commit): {full.what}") from None
        except NatExhausted:
            raise CtDrop("ct(commit,nat): no free address and port") from None
        except TupleTaken:
            raise CtDrop("ct(commit): the answers would be those of another connection") from None
        except ConntrackInvalid:
            # Tracked as +new, but nothing that could begin a connection.
            raise CtDrop("ct(commit): the packet begins no connection") from None
        if connection is not old:
            visit.connection = connection
            visit.mark = visit.label = 0
            if connection is not None:
                visit.mark, visit.label = connection.mark, connection.label
            self._count_fragments(visit)
        visit.committed = True

    def _count_fragments(self, visit: CtVisit) -> None:
        """Conntrack has counted one packet; what came, and will leave, are fragments."""
        error = int(visit.result.state) & (_RELATED | _NEW_OR_EST) == _RELATED
        if self.count > 1 and visit.connection and not error:
            visit.connection.add_software(visit.result.direction, self.count - 1, 0)

    def _translate(self, visit: CtVisit, pkt: Packet, key: Key) -> Packet:
        """The packet as its connection wants it, once in each passage."""
        result, connection = visit.result, visit.connection
        target = result.target
        if target is None:
            if connection is None or not connection.nat:
                return pkt
            reply = result.direction is Direction.REPLY
            target = (connection.original if reply else connection.reply).reversed()
        visit.translated = True
        state = int(result.state)
        if state & _RELATED and pkt.proto in (PROTO_ICMP, PROTO_ICMPV6) and is_error(pkt):
            assert connection is not None
            source, sink = (SNAT, DNAT) if result.direction is Direction.ORIGINAL else (DNAT, SNAT)
            quoted = target.reversed()
            fresh = translate_error(
                pkt,
                target.src if connection.nat & source else pkt.src,
                target.dst if connection.nat & sink else pkt.dst,
                (quoted.src, quoted.dst, quoted.sport, quoted.dport),
            )
            if fresh is None:
                raise CtDrop("ct(nat): the ICMP error quotes too little to be translated")
        else:
            fresh = translate(pkt, (target.src, target.dst, target.sport, target.dport))
        set_tuple(fresh, key)
        return fresh

    def _write_marks(self, visit: CtVisit, action: Ct, key: Key) -> None:
        """exec(): the connection's mark and label, with the key as the place to write."""
        saved = key[_CT_MARK], key[_CT_LABEL]
        key[_CT_MARK], key[_CT_LABEL] = visit.mark, visit.label
        for entry in action.writes:
            if isinstance(entry, SetField):
                write(self._result.pkt, key, entry.field, entry.value, entry.mask)
            else:
                value = read_subfield(entry.source, key, self._result) << entry.target.start
                write(self._result.pkt, key, entry.target.field, value, entry.target.mask)
        mark, label = key[_CT_MARK], key[_CT_LABEL]
        key[_CT_MARK], key[_CT_LABEL] = saved
        if (mark, label) == (visit.mark, visit.label):
            return
        visit.mark, visit.label = mark, label
        visit.changed = True
        if self._effects and visit.connection is not None:
            self._access.set_mark(visit.connection, mark, label, self._now)


def read_subfield(source: Subfield, key: Key, result: Result) -> int:
    """The value of a part of a field; it counts as looked at."""
    result.looked_bits |= 1 << source.field
    return key[source.field] >> source.start & ((1 << source.bits) - 1)


def set_ct_fields(key: Key, visit: CtVisit, pkt: Packet) -> None:
    """What a lookup behind `ct(table=…)` sees of the connection."""
    result, connection = visit.result, visit.connection
    key[_CT_STATE] = int(result.state)
    key[_CT_ZONE] = visit.zone
    key[_CT_MARK] = visit.mark
    key[_CT_LABEL] = visit.label
    own = result.key if connection is None else connection.key
    if not own:
        return
    key[Field.CT_NW_PROTO] = pkt.proto if connection is None else connection.proto
    if len(own) == 12:
        key[31], key[32], key[35], key[36] = _V4_KEY(own)
    else:
        source, target, key[35], key[36] = _V6_KEY(own)
        key[33], key[34] = int.from_bytes(source, "big"), int.from_bytes(target, "big")
    if key[Field.CT_NW_PROTO] in (PROTO_ICMP, PROTO_ICMPV6):
        # As in OVS: type and code, in two fields.
        key[35], key[36] = key[36] >> 8, key[36] & 0xFF


def clear_ct_fields(key: Key) -> None:
    """The packet is as if it had not been tracked."""
    if not key[_CT_STATE]:
        return  # then all of them are 0
    for index in _CT_INDEXES:
        key[index] = 0

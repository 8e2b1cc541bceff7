# SPDX-License-Identifier: Apache-2.0
"""Actions that write fields: `set_field`, `load`, `move`, `mod_…` (ovs-actions(7))."""

from __future__ import annotations

from collections.abc import Mapping

from p4ct.pipeline import vocabulary as words
from p4ct.pipeline.actions import DecTtl, Move, SetField, SetTag
from p4ct.pipeline.errors import ValueProblem, nearest
from p4ct.pipeline.fields import FIELDS, VLAN_PRESENT, Field
from p4ct.pipeline.lexer import Token
from p4ct.pipeline.subfield import (
    TAG_NAMES,
    WRITABLE,
    Subfield,
    field_name,
    find_field,
    parse_part,
    parse_subfield,
)
from p4ct.pipeline.values import parse_masked, parse_uint

__all__ = ["MOD_ACTIONS", "parse_write"]

MOD_ACTIONS: Mapping[str, str] = {
    "mod_dl_src": "dl_src",
    "mod_dl_dst": "dl_dst",
    "mod_nw_src": "nw_src",
    "mod_nw_dst": "nw_dst",
    "mod_nw_tos": "nw_tos",
    "mod_nw_ecn": "nw_ecn",
    "mod_nw_ttl": "nw_ttl",
    "mod_tp_src": "tp_src",
    "mod_tp_dst": "tp_dst",
}
"""The short forms of set_field, and the field that each writes."""

_TAG_ACTIONS: Mapping[str, tuple[str, int, int, int]] = {
    "mod_vlan_vid": ("VLAN id", 0xFFF, VLAN_PRESENT, 0x1FFF),
    "set_vlan_vid": ("VLAN id", 0xFFF, 0, 0xFFF),
    "mod_vlan_pcp": ("priority", 7, VLAN_PRESENT, 0xF000),
    "set_vlan_pcp": ("priority", 7, 0, 0xE000),
}
"""What each writes, its highest value, what it sets besides and all bits that it sets: `mod_` puts
a tag on a packet that has none, `set_` leaves it as it is."""

_WITHIN_EXEC = frozenset({Field.CT_MARK, Field.CT_LABEL})


def parse_write(token: Token, *, within_exec: bool = False) -> SetField | SetTag | Move | DecTtl:
    """One such action; raises ValueProblem (offset from the start of the token's value)."""
    name, text = token.name.lower(), token.value or ""
    if name == "dec_ttl":
        if token.value:
            raise ValueProblem("dec_ttl takes no arguments here", "write dec_ttl", length=len(text))
        return DecTtl()
    if not text:
        raise ValueProblem(f"{token.name} needs a value", _EXAMPLES.get(name, f"{token.name}:…"))
    if name in MOD_ACTIONS:
        action = _set(MOD_ACTIONS[name], text)
        if action.mask != (0xFC if name == "mod_nw_tos" else FIELDS[action.field].mask):
            raise ValueProblem(f"{token.name} takes no mask", "use set_field", length=len(text))
        return action
    if name in _TAG_ACTIONS:
        what, high, more, mask = _TAG_ACTIONS[name]
        number = parse_uint(text, 0, high, what=what)
        return _tag(number << (13 if high == 7 else 0) | more, mask)
    value, arrow, target = text.partition("->")
    if not arrow:
        raise ValueProblem(
            f"{token.name} needs '->' and a field", _EXAMPLES[name], length=len(text)
        )
    offset = len(value) + len(arrow)
    if not within_exec and target.partition("[")[0] in _TAG_TARGETS and name != "move":
        return _write_tag(name, value, target, offset)
    try:
        place = _find_place(target, within_exec, whole=name == "set_field")
    except ValueProblem as problem:
        problem.offset += offset
        raise
    if name == "set_field":
        return _set(target, value)
    if name == "load":
        number = parse_uint(value, 0, (1 << place.bits) - 1, what=f"a value of {place.bits} bits")
        return SetField(place.field, number << place.start, place.mask)
    source = parse_subfield(value)
    if source.bits != place.bits:
        raise ValueProblem(
            f"{value} has {source.bits} bits, {target} has {place.bits}",
            "name parts of the same width: FIELD[FIRST..LAST]",
            length=len(text),
        )
    return Move(source, place)


_EXAMPLES = {
    "set_field": "write set_field:VALUE->FIELD or set_field:VALUE/MASK->FIELD",
    "load": "write load:VALUE->FIELD[FIRST..LAST]",
    "move": "write move:FIELD[FIRST..LAST]->FIELD[FIRST..LAST]",
}


_TAG_TARGETS = (*TAG_NAMES, "dl_vlan_pcp")


def _write_tag(name: str, text: str, target: str, offset: int) -> SetField | SetTag:
    """`set_field` or `load` to VLAN id and priority together, or to `dl_vlan_pcp`, which makes a
    tag if there is none, as in OVS."""
    if target == "dl_vlan_pcp" and name == "set_field":
        return _tag(parse_uint(text, 0, 7, what=target) << 13 | VLAN_PRESENT, 0xF000)
    try:
        _, start, bits = parse_part(target)
    except ValueProblem as problem:
        problem.offset += offset
        raise
    if name == "set_field":
        return _tag(*parse_masked(text, 16, what=target))
    number = parse_uint(text, 0, (1 << bits) - 1, what=f"a value of {bits} bits")
    return _tag(number << start, ((1 << bits) - 1) << start)


def _tag(value: int, mask: int) -> SetField | SetTag:
    """A write to these bits of `vlan_tci`; to one of its fields, if `set_field` can say it so."""
    if mask <= 0x1FFF:
        return SetField(Field.VLAN_VID, value, mask)
    return SetTag(value, mask) if mask != 0xE000 else SetField(Field.VLAN_PCP, value >> 13, 7)


def _find_place(text: str, within_exec: bool, *, whole: bool) -> Subfield:
    """Where to write; raises ValueProblem if actions may not write there."""
    if whole:
        field = words.MATCH_FIELDS[text].field if text in words.MATCH_FIELDS else find_field(text)
        place = Subfield(field, 0, FIELDS[field].bits)
    else:
        place = parse_subfield(text)
    field = place.field
    if within_exec and field not in _WITHIN_EXEC:
        raise ValueProblem(
            f"exec() writes ct_mark and ct_label, not {text}", "do it outside", length=len(text)
        )
    if not within_exec and field in _WITHIN_EXEC:
        raise ValueProblem(
            f"{text} belongs to the connection",
            f"write ct(commit,exec(set_field:…->{field_name(field)}))",
            length=len(text),
        )
    if not within_exec and field not in WRITABLE:
        names = {field_name(field) for field in WRITABLE}
        raise ValueProblem(f"{text} cannot be written", nearest(text, names), length=len(text))
    return place


def _set(name: str, text: str) -> SetField:
    """`text` as a value of the field of this name."""
    if name not in words.MATCH_FIELDS:
        name = field_name(find_field(name))
    entry = words.MATCH_FIELDS[name]
    value, mask = entry.parse(text)
    return SetField(entry.field, value, mask)

# SPDX-License-Identifier: Apache-2.0
"""Actions that write fields: `set_field`, `load`, `move`, `mod_…` (ovs-actions(7))."""

from __future__ import annotations

from collections.abc import Mapping

from p4ct.pipeline import vocabulary as words
from p4ct.pipeline.actions import DecTtl, Move, SetField
from p4ct.pipeline.errors import ValueProblem, nearest
from p4ct.pipeline.fields import FIELDS, Field
from p4ct.pipeline.lexer import Token
from p4ct.pipeline.subfield import WRITABLE, Subfield, field_name, find_field, parse_subfield
from p4ct.pipeline.values import parse_uint

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

_WITHIN_EXEC = frozenset({Field.CT_MARK, Field.CT_LABEL})


def parse_write(token: Token, *, within_exec: bool = False) -> SetField | Move | DecTtl:
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
    value, arrow, target = text.partition("->")
    if not arrow:
        raise ValueProblem(
            f"{token.name} needs '->' and a field", _EXAMPLES[name], length=len(text)
        )
    offset = len(value) + len(arrow)
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

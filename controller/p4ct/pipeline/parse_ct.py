# SPDX-License-Identifier: Apache-2.0
"""Reads the arguments of `ct(…)`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from p4ct.conntrack.helping import HELPERS
from p4ct.pipeline import vocabulary as words
from p4ct.pipeline.actions import Ct, Move, SetField
from p4ct.pipeline.errors import ValueProblem, nearest
from p4ct.pipeline.flow import MAX_TABLE
from p4ct.pipeline.lexer import Token, tokens, within
from p4ct.pipeline.parse_nat import parse_nat
from p4ct.pipeline.parse_set import parse_write
from p4ct.pipeline.subfield import Subfield, parse_subfield
from p4ct.pipeline.values import parse_uint

__all__ = ["parse_ct"]

_FLAGS = frozenset({"commit", "force"})
_EXAMPLES = {
    "exec": "exec(set_field:VALUE->ct_mark)",
    "alg": "alg=ftp or alg=tftp",
    "timeout": "timeout=NAME",
}


def parse_ct(token: Token, timeouts: Collection[str]) -> Ct:
    """The action; `timeouts` are the policies that there are. Raises ValueProblem (offset from the
    start of the token's value)."""
    if token.delimiter not in ("", "("):
        raise ValueProblem("ct takes its arguments in parentheses", "write ct(…)")
    given: dict[str, Any] = {}
    places: dict[str, Token] = {}
    for part in tokens(token.value or ""):
        if part.name in places:
            raise ValueProblem(
                f"ct argument {part.name!r} is given twice",
                offset=part.start,
                length=len(part.text),
            )
        places[part.name] = part
        try:
            given |= _argument(part, timeouts)
        except ValueProblem as problem:
            raise within(part, problem) from None
    action = Ct(**given)
    if not action.commit:
        for name, needs in (
            ("force", action.force),
            ("exec", bool(action.writes)),
            ("nat", action.nat_range is not None),
            ("alg", bool(action.alg)),
            ("timeout", bool(action.timeout)),
        ):
            if needs:
                part = places[name]
                what = f"{name}(src or dst)" if name == "nat" else name
                raise ValueProblem(
                    f"ct argument {what} takes effect with commit only",
                    "add commit, or write nat alone to apply what was committed"
                    if name == "nat"
                    else "add commit",
                    offset=part.start,
                    length=len(part.text),
                )
    return action


def _argument(part: Token, timeouts: Collection[str]) -> dict[str, Any]:
    """The members of Ct that one argument sets; a problem's offset is from the value's start."""
    name, value = part.name, part.value
    if name in _FLAGS:
        if value is not None:
            raise _at_name(part, f"ct argument {name!r} takes no value", f"write {name}")
        return {name: True}
    if name == "nat":
        if part.delimiter not in ("", "("):
            raise ValueProblem("nat takes its arguments in parentheses", "write nat(…)")
        return {"nat": True, "nat_range": parse_nat(value or "")}
    if name in ("zone", "table", "exec", "alg", "timeout"):
        if not value:
            example = _EXAMPLES.get(name, f"{name}=NUMBER")
            raise ValueProblem(f"ct argument {name!r} needs a value", f"write {example}")
        if name == "table":
            return {"table": parse_uint(value, 0, MAX_TABLE, what="table")}
        if name == "alg":
            return {"alg": _alg(value)}
        if name == "timeout":
            return {"timeout": _timeout(value, timeouts)}
        return {"zone": _zone(value)} if name == "zone" else {"writes": _exec(value)}
    raise _at_name(part, f"unknown ct argument {name!r}", nearest(name, words.CT_ARGUMENTS))


def _at_name(part: Token, message: str, hint: str) -> ValueProblem:
    """A problem with the whole argument, although offsets count from its value."""
    offset = part.start - part.value_start if part.value else 0
    return ValueProblem(message, hint, offset=offset, length=len(part.text))


def _alg(text: str) -> str:
    if text not in HELPERS:
        raise ValueProblem(f"unknown helper {text!r}", nearest(text, HELPERS), length=len(text))
    return text


def _timeout(text: str, timeouts: Collection[str]) -> str:
    if text not in timeouts:
        hint = "write [conntrack.timeout_policy.NAME] with its timeouts into the configuration"
        raise ValueProblem(
            f"there is no timeout policy {text!r}",
            nearest(text, timeouts) if timeouts else hint,
            length=len(text),
        )
    return text


def _zone(text: str) -> int | Subfield:
    if not text[0].isalpha():
        return parse_uint(text, 0, 0xFFFF, what="zone")
    source = parse_subfield(text)
    if source.bits > 16:
        raise ValueProblem(
            f"a zone has 16 bits, {text} has {source.bits}",
            "name a part: FIELD[0..15]",
            length=len(text),
        )
    return source


def _exec(text: str) -> tuple[SetField | Move, ...]:
    writes: list[SetField | Move] = []
    for part in tokens(text):
        if part.name.lower() not in ("set_field", "load", "move"):
            raise ValueProblem(
                f"exec() takes set_field, load and move, not {part.name!r}",
                nearest(part.name, ("set_field", "load", "move")),
                offset=part.start,
                length=len(part.text),
            )
        try:
            write = parse_write(part, within_exec=True)
        except ValueProblem as problem:
            raise within(part, problem) from None
        assert isinstance(write, SetField | Move)
        writes.append(write)
    return tuple(writes)

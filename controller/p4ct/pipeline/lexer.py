# SPDX-License-Identifier: Apache-2.0
"""Splits flow text into tokens of the form `name`, `name=value`, `name:value` or `name(value)`.

The grammar is that of `ofputil_parse_key_value` in OVS: tokens are separated by commas or white
space; a value after `=` or `:` ends at the next separator outside parentheses.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from p4ct.pipeline.errors import ValueProblem

__all__ = ["Token", "tokens", "within"]

_SEPARATORS = ", \t\r\n"
_NAME_ENDS = ":=(" + _SEPARATORS


class Token(NamedTuple):
    """`start` and `value_start` are indexes into the text; `value` is None if there is none."""

    name: str
    value: str | None
    delimiter: str
    start: int
    value_start: int
    text: str

    @property
    def column(self) -> int:
        """The column of the token, counted from 1."""
        return self.start + 1


def tokens(text: str, start: int = 0, end: int | None = None) -> Iterator[Token]:
    """The tokens of `text[start:end]`. Raises ValueProblem (offset from the start of the text)."""
    end = len(text) if end is None else end
    pos = start
    while True:
        while pos < end and text[pos] in _SEPARATORS:
            pos += 1
        if pos >= end:
            return
        name_start = pos
        while pos < end and text[pos] not in _NAME_ENDS:
            pos += 1
        name = text[name_start:pos]
        delimiter = text[pos] if pos < end and text[pos] in ":=(" else ""
        if not delimiter:
            yield Token(name, None, "", name_start, pos, name)
            continue
        pos += 1
        value_start = pos
        value_end = _value_end(text, pos, end, delimiter)
        pos = value_end + 1 if delimiter == "(" else value_end
        if delimiter == "(" and pos < end and text[pos] not in _SEPARATORS:
            raise ValueProblem(
                "expected a comma after ')'", "separate actions with commas", offset=pos, length=1
            )
        value = text[value_start:value_end]
        yield Token(name, value, delimiter, name_start, value_start, text[name_start:pos])


def _value_end(text: str, pos: int, end: int, delimiter: str) -> int:
    """The index just after the value: a separator, the closing parenthesis, or the end."""
    depth = 1 if delimiter == "(" else 0
    opened = pos - 1
    while pos < end:
        char = text[pos]
        if char == "(":
            if depth == 0:
                opened = pos
            depth += 1
        elif char == ")":
            depth -= 1
            if depth < 0:
                raise ValueProblem("')' without '('", offset=pos, length=1)
            if depth == 0 and delimiter == "(":
                return pos
        elif depth == 0 and char in _SEPARATORS:
            return pos
        pos += 1
    if depth:
        raise ValueProblem("'(' is never closed", "add ')'", offset=opened, length=1)
    return pos


def within(part: Token, problem: ValueProblem) -> ValueProblem:
    """A problem found in the value of a token, with its place in the text that the token is of."""
    if part.value:
        problem.length = problem.length or max(1, len(part.value) - problem.offset)
        problem.offset += part.value_start
    else:
        problem.length = problem.length or len(part.text)
        problem.offset += part.start
    return problem

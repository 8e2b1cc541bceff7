# SPDX-License-Identifier: Apache-2.0
"""Errors of the flow language, with their place, and the search for the name that was meant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

__all__ = ["FlowSyntaxError", "LineErrors", "ValueProblem", "nearest"]


class ValueProblem(Exception):
    """Something wrong inside a token. `offset`: where, in characters from the value's start."""

    def __init__(self, message: str, hint: str = "", *, offset: int = 0, length: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.offset = offset
        self.length = length


class FlowSyntaxError(ValueError):
    """A flow that cannot be used.

    `source` names the text, `line` and `column` count from 1, `token` is the text at fault,
    `message` says what is wrong with it and `hint` what to do (or is empty). The error that
    `parse_flows` raises is the first of the text and lists them all, in order, in `errors`;
    its `str()` shows every one with its line and a caret.
    """

    def __init__(
        self,
        source: str,
        line: int,
        column: int,
        token: str,
        message: str,
        hint: str = "",
        *,
        text: str = "",
    ) -> None:
        super().__init__(message)
        self.source = source
        self.line = line
        self.column = column
        self.token = token
        self.message = message
        self.hint = hint
        self.text = text
        """The whole offending line."""
        self.errors: Sequence[FlowSyntaxError] = (self,)

    def render(self) -> str:
        """This error alone: place and message, the line with a caret, the hint."""
        lines = [f"{self.source}:{self.line}:{self.column}: {self.message}"]
        if self.text:
            # Tabs stay tabs, so that the caret is under its token however they are shown.
            pad = "".join("\t" if c == "\t" else " " for c in self.text[: self.column - 1])
            width = max(1, min(len(self.token), len(self.text) - self.column + 1))
            lines += [f"    {self.text}", f"    {pad}^{'~' * (width - 1)}"]
        if self.hint:
            lines.append(f"    hint: {self.hint}")
        return "\n".join(lines)

    def __str__(self) -> str:
        if len(self.errors) == 1:
            return self.render()
        parts = [error.render() for error in self.errors]
        return "\n".join([*parts, f"{len(parts)} errors in {self.source}"])


class LineErrors:
    """Collects the errors of one line of flows."""

    __slots__ = ("errors", "line", "source", "text")

    def __init__(self, source: str, line: int, text: str) -> None:
        self.source = source
        self.line = line
        self.text = text
        self.errors: list[FlowSyntaxError] = []

    def add(self, column: int, token: str, message: str, hint: str = "") -> None:
        """Records an error at a column counted from 1."""
        self.errors.append(
            FlowSyntaxError(self.source, self.line, column, token, message, hint, text=self.text)
        )


def nearest(word: str, names: Iterable[str]) -> str:
    """A hint with the nearest valid name, or a list of all of them if none is near."""
    known = sorted(set(names))
    lower = {name.lower(): name for name in known}
    close = get_close_matches(word.lower(), lower, n=1, cutoff=0.6)
    if close:
        return f"did you mean {lower[close[0]]!r}?"
    return f"valid names: {', '.join(known)}" if known else ""

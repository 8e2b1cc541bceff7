# SPDX-License-Identifier: Apache-2.0
"""Splitting flow text into tokens, with their places."""

from __future__ import annotations

import pytest
from p4ct.pipeline.errors import ValueProblem
from p4ct.pipeline.lexer import tokens


def split(text: str) -> list[tuple[str, str | None]]:
    return [(token.name, token.value) for token in tokens(text)]


def test_names_values_and_separators() -> None:
    assert split("tcp, tp_dst=80\tin_port:vm1 ,,x") == [
        ("tcp", None),
        ("tp_dst", "80"),
        ("in_port", "vm1"),
        ("x", None),
    ]


def test_parentheses_nest_and_hide_separators() -> None:
    assert split("ct(commit,nat(src=1.2.3.4:1-2),zone=1),2") == [
        ("ct", "commit,nat(src=1.2.3.4:1-2),zone=1"),
        ("2", None),
    ]
    assert split("set_field:a(b,c)->d,e") == [("set_field", "a(b,c)->d"), ("e", None)]


def test_value_may_contain_colons_and_be_empty() -> None:
    assert split("dl_src=00:11:22:33:44:55,x=,y()") == [
        ("dl_src", "00:11:22:33:44:55"),
        ("x", ""),
        ("y", ""),
    ]


def test_places() -> None:
    text = "xx  tcp,tp_dst=80,ct(a)"
    found = list(tokens(text, 2))
    assert [token.column for token in found] == [5, 9, 19]
    for token in found:
        assert text[token.start : token.start + len(token.text)] == token.text
        if token.value is not None:
            assert text[token.value_start :].startswith(token.value)


@pytest.mark.parametrize(
    ("text", "offset"),
    [("a(b", 1), ("a=(b", 2), ("a(b(c)", 1), ("a=b)", 3), ("a(b)c", 4)],
)
def test_unbalanced(text: str, offset: int) -> None:
    with pytest.raises(ValueProblem) as caught:
        list(tokens(text))
    assert caught.value.offset == offset

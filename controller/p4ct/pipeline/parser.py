# SPDX-License-Identifier: Apache-2.0
"""Flow text to flows: the syntax of `ovs-ofctl add-flow`, one flow a line.

Differences from ovs-ofctl, all of them stricter: a missing prerequisite, a contradiction within a
flow, a second flow with the same table, priority and match, a number with bits outside its mask,
a ct_state that cannot occur, an empty action list, an unknown vport: each is an error.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from p4ct.pipeline import vocabulary as words
from p4ct.pipeline.actions import Action
from p4ct.pipeline.errors import FlowSyntaxError, LineErrors, ValueProblem
from p4ct.pipeline.flow import DEFAULT_PRIORITY, MAX_TABLE, Flow
from p4ct.pipeline.lexer import Token, tokens
from p4ct.pipeline.match import Match
from p4ct.pipeline.parse_actions import ActionParser, second_tag
from p4ct.pipeline.parse_match import MatchParser, unknown_match
from p4ct.pipeline.values import parse_uint

__all__ = ["FlowSelector", "parse_flows", "parse_selector"]

_COOKIE_MAX = (1 << 64) - 1


class FlowSelector(NamedTuple):
    """Which flows a command means: those that are at least as specific as `match`.

    `table` and `cookie` narrow it where they are not None; with `priority`, match and priority
    must be the same (the "strict" form of OpenFlow).
    """

    match: Match
    table: int | None = None
    priority: int | None = None
    cookie: tuple[int, int] | None = None
    """Value and mask."""

    def selects(self, flow: Flow) -> bool:
        """True if the flow is meant."""
        if self.table is not None and flow.table != self.table:
            return False
        if self.cookie is not None and (flow.cookie ^ self.cookie[0]) & self.cookie[1]:
            return False
        if self.priority is not None:
            return flow.priority == self.priority and flow.match == self.match
        return self.match.contains(flow.match)


class _Head:
    """What stands before `actions=`, apart from the match."""

    def __init__(self) -> None:
        self.numbers: dict[str, tuple[int, Token]] = {}
        self.cookie_mask: int | None = None
        self.actions: Token | None = None

    def get(self, name: str, default: int) -> int:
        found = self.numbers.get(name)
        return default if found is None else found[0]


def parse_flows(
    text: str,
    *,
    source: str = "flows",
    ports: Mapping[str, int],
    timeouts: Collection[str] = (),
) -> list[Flow]:
    """The flows of a text, in its order.

    `ports` maps vport names to ids; `timeouts` are the names of timeout policies. Raises
    FlowSyntaxError, which lists every error of the text.
    """
    flows: list[Flow] = []
    errors: list[FlowSyntaxError] = []
    slots: dict[tuple[int, int, Match], int] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = LineErrors(source, number, raw.rstrip())
        end = raw.find("#")
        body_end = len(raw) if end < 0 else end
        if raw[:body_end].strip():
            flow = _parse_line(raw, body_end, ports, timeouts, line)
            if flow is not None and (first := slots.setdefault(flow.slot, number)) != number:
                line.add(
                    1,
                    "",
                    f"same table, priority and match as line {first}",
                    "only one of the two flows can exist: remove one or change its priority",
                )
            if flow is not None:
                flows.append(flow)
        errors += line.errors
    _raise(errors)
    return flows


def parse_selector(
    text: str, *, source: str = "flows", ports: Mapping[str, int], strict: bool = False
) -> FlowSelector:
    """The match of a delete or list command: like a flow without actions; `cookie` may have a mask.

    With `strict`, `priority` counts (its default is that of a flow). Raises FlowSyntaxError.
    """
    line = LineErrors(source, 1, text)
    parser = MatchParser(ports, line)
    head = _parse_head(text, len(text), parser, line)
    if head.actions is not None:
        line.add(head.actions.column, "actions", "a selection of flows has no actions", "remove it")
    if not strict and "priority" in head.numbers:
        token = head.numbers["priority"][1]
        line.add(token.column, token.text, "priority counts in strict mode only", "remove it")
    match = parser.finish()
    _raise(line.errors)
    cookie = None
    if "cookie" in head.numbers:
        mask = _COOKIE_MAX if head.cookie_mask is None else head.cookie_mask
        cookie = head.get("cookie", 0), mask
    return FlowSelector(
        match,
        head.get("table", 0) if "table" in head.numbers else None,
        head.get("priority", DEFAULT_PRIORITY) if strict else None,
        cookie,
    )


def _raise(errors: list[FlowSyntaxError]) -> None:
    if errors:
        errors.sort(key=lambda error: (error.line, error.column))
        errors[0].errors = tuple(errors)
        raise errors[0]


def _parse_line(
    text: str, end: int, ports: Mapping[str, int], timeouts: Collection[str], line: LineErrors
) -> Flow | None:
    parser = MatchParser(ports, line)
    head = _parse_head(text, end, parser, line)
    match = parser.finish()
    if head.cookie_mask is not None:
        token = head.numbers["cookie"][1]
        line.add(token.column, token.text, "a new flow's cookie takes no mask", "remove the mask")
    actions: tuple[Action, ...] = ()
    if head.actions is not None:
        reader = ActionParser(ports, line, timeouts)
        try:
            actions = reader.parse(text, head.actions.value_start, end)
        except ValueProblem as problem:
            _add_lexical(line, text, problem)
        _check_actions(reader, parser, head, line)
    elif not line.errors:
        line.add(len(text[:end].rstrip()) + 1, "", "the flow has no actions", "add actions=…")
    if line.errors:
        return None
    return Flow(
        match,
        actions,
        table=head.get("table", 0),
        priority=head.get("priority", DEFAULT_PRIORITY),
        cookie=head.get("cookie", 0),
        source=line.source,
        line=line.line,
    )


def _add_lexical(line: LineErrors, text: str, problem: ValueProblem) -> None:
    at_fault = text[problem.offset : problem.offset + max(1, problem.length)]
    line.add(problem.offset + 1, at_fault, problem.message, problem.hint)


def _parse_head(text: str, end: int, parser: MatchParser, line: LineErrors) -> _Head:
    """Reads up to `actions=`; tokens that are not of the match go into the head."""
    head = _Head()
    try:
        for index, token in enumerate(tokens(text, 0, end)):
            name = token.name
            if name in ("actions", "action") and token.delimiter in ("=", ":"):
                head.actions = token
                return head
            if index == 0 and token.value is None and _command(token, line):
                continue
            if name in ("table", "priority", "cookie"):
                _number(head, token, line)
            elif name in words.STATISTICS and token.value:
                continue
            elif parser.known(name):
                parser.take(token)
            else:
                _unknown(token, line)
    except ValueProblem as problem:
        # A parenthesis inside the actions is found by the action parser, at the same place.
        _add_lexical(line, text, problem)
    return head


def _command(token: Token, line: LineErrors) -> bool:
    """True if the first word of a line is an ovs-ofctl command rather than a token of the flow."""
    if token.name == "add":
        return True
    if token.name in ("delete", "delete_strict", "modify", "modify_strict"):
        line.add(
            token.column,
            token.name,
            f"{token.name!r} lines are not supported: the text is the whole policy",
            "write only the flows that shall exist",
        )
        return True
    return False


def _number(head: _Head, token: Token, line: LineErrors) -> None:
    name, text = token.name, token.value or ""
    offset = 0
    try:
        if not text:
            raise ValueProblem(f"{name} needs a value", f"write {name}=NUMBER", length=1)
        if name == "cookie":
            text, slash, mask = text.partition("/")
            if slash:
                offset = len(text) + 1
                head.cookie_mask = (
                    _COOKIE_MAX if mask == "-1" else parse_uint(mask, 0, _COOKIE_MAX, what="mask")
                )
                offset = 0
        high = {"table": MAX_TABLE, "priority": 0xFFFF, "cookie": _COOKIE_MAX}[name]
        value = parse_uint(text, 0, high, what=name)
    except ValueProblem as problem:
        at_fault = (token.value or "")[offset:] or token.text
        start = token.value_start + offset if token.value else token.start
        line.add(start + 1, at_fault, problem.message, problem.hint)
        return
    old = head.numbers.setdefault(name, (value, token))
    if old[0] != value:
        line.add(
            token.column,
            token.text,
            f"{token.text!r} contradicts {old[1].text!r} at column {old[1].column}",
            "leave one of them out",
        )


def _unknown(token: Token, line: LineErrors) -> None:
    name = token.name
    if name in words.UNSUPPORTED_OPTIONS:
        line.add(
            token.column,
            token.text,
            f"flow option {name!r} is not supported yet",
            "leave it out; it is a valid OVS option, but not one of this version",
        )
    elif name.lower() in words.ACTION_NAMES or name.lower() in words.UNSUPPORTED_ACTIONS:
        line.add(
            token.column,
            token.text,
            f"action {name!r} stands outside the action list",
            "put it after actions=",
        )
    else:
        shown = name or token.text
        line.add(token.column, shown, f"unknown match field {shown!r}", unknown_match(name))


def _check_actions(reader: ActionParser, match: MatchParser, head: _Head, line: LineErrors) -> None:
    """What OVS checks of the actions against the match (check_CT, check_GOTO_TABLE)."""
    for token, action in reader.ct_tokens:
        if not match.requires_ip():
            line.add(
                token.column,
                token.text,
                "ct needs a match on ip or ipv6",
                "add ip or ipv6 to the match (two flows if you mean both)",
            )
        elif action.commit and match.requires_invalid():
            line.add(
                token.column,
                token.text,
                "ct(commit) cannot follow a match on ct_state=+inv",
                "an invalid packet has no connection that could be committed",
            )
        elif action.nat_range is not None:
            family = "ip" if len(action.nat_range.low) == 4 else "ipv6"
            if not match.satisfied(family):
                line.add(
                    token.column,
                    token.text,
                    f"nat to {'IPv4' if family == 'ip' else 'IPv6'} needs a match on {family}",
                    "packets are translated within their IP version",
                )
    for needs, token in reader.needs:
        match.require(needs, token)
    for token in reader.tuple_tokens:
        if not match.requires_connection():
            line.add(
                token.column,
                token.text,
                "resubmit(…,ct) needs a match that only packets of a connection fulfil",
                "add ip or ipv6, and ct_state=+trk-inv, or with +new, +est, +rel, +rpl or the like",
            )
    for token in reader.pushes:
        if match.satisfied("vlan"):
            problem = second_tag()
            line.add(token.column, token.text, problem.message, problem.hint)
    table = head.get("table", 0)
    for token, action in reader.goto_tokens:
        if action.table <= table:
            line.add(
                token.column,
                token.text,
                f"goto_table:{action.table} does not lead to a later table than {table}",
                f"use resubmit(,{action.table})",
            )

# SPDX-License-Identifier: Apache-2.0
"""Reads the action half of a flow."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from p4ct.pipeline import vocabulary as words
from p4ct.pipeline.actions import (
    Action,
    Ct,
    CtClear,
    GotoTable,
    InPort,
    Move,
    Normal,
    Output,
    OutputField,
    PopVlan,
    PushVlan,
    Resubmit,
    SetField,
    SetTag,
)
from p4ct.pipeline.errors import LineErrors, ValueProblem, nearest
from p4ct.pipeline.fields import VLAN_PRESENT, Field
from p4ct.pipeline.flow import MAX_TABLE
from p4ct.pipeline.lexer import Token, tokens
from p4ct.pipeline.parse_ct import parse_ct
from p4ct.pipeline.parse_match import parse_port
from p4ct.pipeline.parse_set import parse_write
from p4ct.pipeline.subfield import FIELD_NAMES, PREREQUISITES, Subfield, parse_subfield
from p4ct.pipeline.values import parse_uint

__all__ = ["ActionParser", "second_tag"]

ETH_8021Q, ETH_8021AD = 0x8100, 0x88A8


def second_tag() -> ValueProblem:
    """What is wrong with `push_vlan` where there is a tag."""
    return ValueProblem(
        "push_vlan puts a second tag on, and only one is understood",
        "pop_vlan first, or write the tag that is there: mod_vlan_vid:N",
    )


class ActionParser:
    """Reads the action list of one flow; errors go to the error list."""

    def __init__(
        self, ports: Mapping[str, int], errors: LineErrors, timeouts: Collection[str]
    ) -> None:
        self._ports = ports
        self._timeouts = timeouts
        self._errors = errors
        self.ct_tokens: list[tuple[Token, Ct]] = []
        """The ct actions, for checks against the match."""
        self.goto_tokens: list[tuple[Token, GotoTable]] = []
        self.needs: list[tuple[str, Token]] = []
        """What the match has to be for these actions."""
        self.tuple_tokens: list[Token] = []
        """What needs a connection: the match has to say that there is one."""
        self.pushes: list[Token] = []
        """What puts a tag on a packet as it was matched: it must not have one."""
        self._tagged: bool | None = None
        """What the actions so far have made of the tag; None: it is as it was matched."""

    def parse(self, text: str, start: int, end: int) -> tuple[Action, ...]:
        """The actions in `text[start:end]`."""
        actions: list[Action] = []
        drops: list[Token] = []
        after_goto: Token | None = None
        any_token = False
        for token in tokens(text, start, end):
            any_token = True
            if after_goto is not None:
                self._errors.add(
                    after_goto.column,
                    after_goto.text,
                    "goto_table must be the last action",
                    "move it to the end of the list",
                )
                after_goto = None
            if token.name.lower() == "drop" and token.value is None:
                drops.append(token)
                continue
            action = self._one(token)
            if action is None:
                continue
            actions.append(action)
            if isinstance(action, GotoTable):
                after_goto = token
        if not any_token:
            self._errors.add(start + 1, "", "the action list is empty", "write actions=drop")
        if drops and (actions or len(drops) > 1):
            self._errors.add(
                drops[0].column,
                "drop",
                "drop must be the only action",
                "leave it out, or leave out the others",
            )
        return tuple(actions)

    def _one(self, token: Token) -> Action | None:
        try:
            return self._action(token)
        except ValueProblem as problem:
            value = token.value or ""
            start = token.value_start + problem.offset if token.value is not None else token.start
            length = problem.length or max(1, len(value) - problem.offset)
            at_fault = value[problem.offset : problem.offset + length] or token.text
            self._errors.add(start + 1, at_fault, problem.message, problem.hint)
            return None

    def _action(self, token: Token) -> Action | None:
        name = token.name.lower()
        match name:
            case "output":
                return self._output(token)
            case "resubmit":
                return self._resubmit(token)
            case "ct":
                return self._ct(token)
            case "goto_table":
                action = GotoTable(self._table(token.value or ""))
                self.goto_tokens.append((token, action))
                return action
            case "push_vlan":
                return self._push_vlan(token)
            case _ if name in words.WRITE_NAMES:
                return self._write(token)
            case _:
                pass
        if name in words.ACTION_NAMES or token.name in self._ports or name.isdecimal():
            if token.value is not None:
                self._errors.add(
                    token.column, token.text, f"{token.name} takes no value", f"write {token.name}"
                )
                return None
            return self._plain(token.name)
        self._unknown(token)
        return None

    def _plain(self, name: str) -> Action:
        match name.lower():
            case "normal":
                return Normal()
            case "in_port":
                return InPort()
            case "ct_clear":
                return CtClear()
            case "pop_vlan" | "strip_vlan":
                self._tagged = False
                return PopVlan()
            case _:
                return Output(parse_port(name, self._ports))

    def _unknown(self, token: Token) -> None:
        name = token.name.lower()
        if name in words.UNSUPPORTED_ACTIONS:
            self._errors.add(
                token.column,
                token.name,
                f"action {token.name!r} is not supported yet",
                "it is a valid OVS action, but not one of this version",
            )
            return
        if not name:
            self._errors.add(
                token.column, token.text, "an action name is missing", "write name(…) or name:value"
            )
            return
        # Actions are known in either case; NORMAL is how OVS and everybody writes it.
        known = {*words.ACTION_NAMES - {"normal"}, "NORMAL", *self._ports}
        self._errors.add(
            token.column, token.name, f"unknown action {token.name!r}", nearest(token.name, known)
        )

    def _output(self, token: Token) -> Action:
        text = token.value
        if not text:
            raise ValueProblem("output needs a port", "write output:NAME or output:NUMBER")
        low = text.lower()
        if low in ("in_port", "normal"):
            return self._plain(low)
        if text not in self._ports:
            if "[" in text or text in FIELD_NAMES:
                source = parse_subfield(text)
                self._need(token, [source.field])
                return OutputField(source)
            if "=" in text:
                raise ValueProblem("output with max_len is not supported yet", "name a vport")
            if low in words.UNSUPPORTED_ACTIONS:
                raise ValueProblem(f"output to {text} is not supported yet", "name the vports")
        return Output(parse_port(text, self._ports))

    def _resubmit(self, token: Token) -> Action:
        text = token.value or ""
        parts = text.split(",")
        if token.delimiter != "(" and len(parts) > 1:
            raise ValueProblem("resubmit to a table needs parentheses", "write resubmit(,TABLE)")
        original_tuple = len(parts) > 2 and parts[2].strip() == "ct"
        if len(parts) > 2 + original_tuple:
            number = 2 + original_tuple
            raise ValueProblem(
                f"unknown argument {parts[number]!r} of resubmit",
                "write resubmit(PORT,TABLE) or resubmit(PORT,TABLE,ct)",
                offset=sum(len(part) + 1 for part in parts[:number]),
                length=len(parts[number]),
            )
        port_text = parts[0].strip()
        table_text = parts[1].strip() if len(parts) > 1 else ""
        if not port_text and not table_text:
            raise ValueProblem(
                "resubmit needs a port, a table or both", "write resubmit(,TABLE) or resubmit:PORT"
            )
        port = None
        if port_text and port_text.lower() != "in_port":
            port = parse_port(port_text, self._ports)
        table = None
        if table_text:
            try:
                table = self._table(table_text)
            except ValueProblem as problem:
                problem.offset += text.index(table_text, len(parts[0]) + 1)
                raise
        if port is None and table is None:
            raise ValueProblem("resubmit to the same port and table would not end", "name a table")
        if original_tuple:
            self.tuple_tokens.append(token)
        return Resubmit(port, table, original_tuple)

    def _table(self, text: str) -> int:
        if not text:
            raise ValueProblem("a table number is missing", f"give one from 0 to {MAX_TABLE}")
        return parse_uint(text, 0, MAX_TABLE, what="table")

    def _ct(self, token: Token) -> Action:
        action = parse_ct(token, self._timeouts)
        self.ct_tokens.append((token, action))
        fields = [action.zone.field] if isinstance(action.zone, Subfield) else []
        fields += [write.source.field for write in action.writes if isinstance(write, Move)]
        self._need(token, fields)
        return action

    def _push_vlan(self, token: Token) -> Action:
        text = token.value
        if not text:
            raise ValueProblem("push_vlan needs an EtherType", "write push_vlan:0x8100")
        kind = parse_uint(text, 0, 0xFFFF, what="the EtherType of a tag")
        if kind == ETH_8021AD:
            raise ValueProblem(
                "tags of 802.1ad are not supported yet", "write push_vlan:0x8100", length=len(text)
            )
        if kind != ETH_8021Q:
            raise ValueProblem(
                f"{text} is not the EtherType of a tag", "write push_vlan:0x8100", length=len(text)
            )
        if self._tagged:
            raise second_tag()
        if self._tagged is None:
            self.pushes.append(token)
        self._tagged = True
        return PushVlan()

    def _note_tag(self, action: Action) -> None:
        """What a write makes of the tag, and whether it has to be there."""
        if isinstance(action, SetTag) or (
            isinstance(action, SetField) and action.field is Field.VLAN_VID
        ):
            if action.mask & VLAN_PRESENT:
                self._tagged = bool(action.value & VLAN_PRESENT)
        elif isinstance(action, Move) and action.target.field is Field.VLAN_VID:
            self._tagged = None

    def _write(self, token: Token) -> Action:
        action = parse_write(token)
        self._note_tag(action)
        if isinstance(action, SetTag):
            return action
        if isinstance(action, SetField):
            self._need(token, [action.field])
        elif isinstance(action, Move):
            self._need(token, [action.source.field, action.target.field])
        else:
            self.needs.append(("ip or ipv6", token))
        return action

    def _need(self, token: Token, fields: list[Field]) -> None:
        if Field.VLAN_PCP in fields and self._tagged is not None:
            if not self._tagged:
                raise ValueProblem(
                    "an earlier action takes the tag off", "put it before that action, or leave it"
                )
            fields = [field for field in fields if field is not Field.VLAN_PCP]
        self.needs += [(PREREQUISITES[field], token) for field in fields if field in PREREQUISITES]

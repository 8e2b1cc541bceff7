# SPDX-License-Identifier: Apache-2.0
"""The story of one packet for people, in the style of `ovs-appctl ofproto/trace`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from p4ct.packet.text import format_ip
from p4ct.pipeline.actions import Action, Ct, format_action
from p4ct.pipeline.fields import TCP, UDP, Key
from p4ct.pipeline.flow import Flow
from p4ct.pipeline.format import format_flags, format_key, format_match
from p4ct.pipeline.ports import PortTable
from p4ct.pipeline.result import CtVisit, Result
from p4ct.pipeline.values import CT_STATE_NAMES

if TYPE_CHECKING:
    from p4ct.packet.parse import Packet

__all__ = ["Trace"]


class Trace:
    """Writes lines into a list as the packet goes along."""

    __slots__ = ("_lines", "_name")

    def __init__(self, lines: list[str], ports: PortTable) -> None:
        self._lines = lines
        self._name = ports.name

    def start(self, key: Key) -> None:
        """The packet as it came."""
        self._lines += [f"Flow: {format_key(key, self._name)}", ""]

    def lookup(self, table: int, flow: Flow | None) -> None:
        """A lookup and the flow it hit."""
        if flow is None:
            self._lines += [f"{table:2}. No match.", "    drop"]
            return
        terms = format_match(flow.match, self._name)
        parts = [part for part in (terms, f"priority {flow.priority}") if part]
        if flow.cookie:
            parts.append(f"cookie {flow.cookie:#x}")
        if flow.line:
            parts.append(f"{flow.source} line {flow.line}")
        self._lines.append(f"{table:2}. {', '.join(parts)}")
        if not flow.actions:
            self._lines.append("    drop")

    def action(self, action: Action) -> None:
        """An action that begins."""
        self._lines.append(f"    {format_action(action, self._name)}")

    def note(self, text: str) -> None:
        """A remark about the action above it."""
        self._lines.append(f"     -> {text}")

    def tracked(self, visit: CtVisit, action: Ct, pkt: Packet) -> None:
        """What conntrack said; `pkt`: the packet as it left."""
        state = int(visit.result.state)
        text = f"zone {visit.zone}: ct_state={format_flags(state, state, CT_STATE_NAMES)}"
        if visit.result.reason:
            text += f" ({visit.result.reason})"
        if visit.connection is not None:
            text += f", {visit.connection.original}"
        self.note(text)
        if action.commit:
            self.note("committed" if visit.committed else "not committed: the packet is invalid")
        if action.nat and visit.translated:
            ports = f", ports {pkt.sport} > {pkt.dport}" if pkt.proto in (TCP, UDP) else ""
            self.note(f"translated: {format_ip(pkt.src)} > {format_ip(pkt.dst)}{ports}")
        if action.writes:
            self.note(f"ct_mark={visit.mark:#x}, ct_label={visit.label:#x}")
        if action.table is None:
            self.note("ct fields are cleared: ct() without table resumes nowhere")
        else:
            self.note(f"a copy resumes at table {action.table}")

    def normal(self, result: Result, reason: str) -> None:
        """What the learning switch did."""
        for vlan, mac, old, new in result.learned:
            was = "" if old is None else f", was behind {self._name(old)}"
            self.note(f"learned {mac.hex(':')} VLAN {vlan} behind {self._name(new)}{was}")
        if reason:
            self.note(reason)
        elif result.flood:
            self.note(f"{result.flood}: flooding")
        else:
            self.note("forwarding to the learned vport")

    def end(self, result: Result) -> None:
        """The outcome."""
        self._lines.append("")
        if result.outputs:
            names = ",".join(self._name(port) for port in result.outputs)
            self._lines.append(f"Outputs: {names}")
        else:
            self._lines.append(f"Dropped: {result.drop_reason}")
        self._lines.append(f"Looked at: {','.join(result.looked_at.names()) or 'nothing'}")
        if result.blockers:
            self._lines.append(f"Not for the eswitch: {'; '.join(result.blockers)}")
        else:
            self._lines.append("Fit for an eswitch entry, once the connection is established.")

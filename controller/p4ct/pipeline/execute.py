# SPDX-License-Identifier: Apache-2.0
"""The pipeline: a set of flows in tables, a learning switch, and what happened to packets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from p4ct.conntrack import FragmentLimits, Reassembler
from p4ct.pipeline.access import ConntrackAccess, PeekConntrack
from p4ct.pipeline.actions import Output, Resubmit
from p4ct.pipeline.classifier import Classifier
from p4ct.pipeline.fields import Field
from p4ct.pipeline.flow import Flow
from p4ct.pipeline.mac_table import MacTable
from p4ct.pipeline.match import Match
from p4ct.pipeline.normal import LearningSwitch
from p4ct.pipeline.parser import FlowSelector
from p4ct.pipeline.ports import PortError, PortTable
from p4ct.pipeline.result import Result
from p4ct.pipeline.run import Run
from p4ct.pipeline.trace import Trace

if TYPE_CHECKING:
    from p4ct.packet.parse import Packet

__all__ = ["FlowChange", "Pipeline"]


class FlowChange(NamedTuple):
    """What a change of the policy did. `removed` flows are no longer in the pipeline."""

    added: tuple[Flow, ...] = ()
    removed: tuple[Flow, ...] = ()


def _ports_of(flow: Flow) -> Iterator[int]:
    """The vports that a flow names."""
    ingress = flow.match.exact(Field.IN_PORT)
    if ingress is not None:
        yield ingress
    for action in flow.actions:
        if isinstance(action, Output | Resubmit) and action.port is not None:
            yield action.port


class Pipeline:
    """Flow tables over a set of vports. Pure: `now` (seconds, any epoch) is passed in."""

    def __init__(
        self,
        ports: PortTable,
        tracker: ConntrackAccess,
        *,
        macs: MacTable | None = None,
        fragments: FragmentLimits | None = None,
    ) -> None:
        self.ports = ports
        self.tracker = tracker
        self.macs = MacTable() if macs is None else macs
        self.version = 0
        """Goes up by one with every change of the flows."""
        self.drops: Counter[str] = Counter()
        """Dropped packets by reason; the sum over all reasons is the number of drops."""
        self.fragments = Reassembler(fragments or FragmentLimits(), self.drops)
        self._switch = LearningSwitch(ports, self.macs)
        self._flows: dict[tuple[int, int, Match], Flow] = {}
        self._tables: dict[int, Classifier] = {}

    @property
    def flows(self) -> list[Flow]:
        """All flows by table, priority (highest first) and age (oldest first)."""
        return sorted(self._flows.values(), key=lambda flow: (flow.table, -flow.priority, flow.id))

    def has(self, flow: Flow) -> bool:
        """True if this flow is part of the policy."""
        return self._flows.get(flow.slot) is flow

    def replace(self, flows: Iterable[Flow], now: float = 0.0) -> FlowChange:
        """Makes `flows` the whole policy, like `ovs-ofctl replace-flows`.

        A flow that was there already with the same actions and cookie stays, with its identity
        and counters. Of several flows with the same table, priority and match the last one counts.
        Raises PortError, changing nothing, if a flow names a vport that does not exist.
        """
        wanted = {flow.slot: flow for flow in flows}
        self._check_ports(wanted.values())
        kept = {
            slot: old
            for slot, old in self._flows.items()
            if slot in wanted and wanted[slot].rule == old.rule
        }
        removed = tuple(flow for slot, flow in self._flows.items() if slot not in kept)
        added = tuple(flow for slot, flow in wanted.items() if slot not in kept)
        self._flows = {**kept, **{flow.slot: flow for flow in added}}
        return self._changed(FlowChange(added, removed), now)

    def add(self, flows: Iterable[Flow], now: float = 0.0) -> FlowChange:
        """Adds flows; one with the same table, priority and match makes way (OFPFC_ADD).

        Raises PortError, changing nothing, if a flow names a vport that does not exist.
        """
        flows = tuple(flows)
        self._check_ports(flows)
        added: dict[tuple[int, int, Match], Flow] = {}
        removed: list[Flow] = []
        for flow in flows:
            old = self._flows.pop(flow.slot, None)
            if old is not None and added.get(flow.slot) is not old:
                removed.append(old)
            self._flows[flow.slot] = added[flow.slot] = flow
        return self._changed(FlowChange(tuple(added.values()), tuple(removed)), now)

    def delete(self, selector: FlowSelector | Match, now: float = 0.0) -> FlowChange:
        """Removes the flows that are meant; a bare match means all that are as specific as it."""
        chosen = FlowSelector(selector) if isinstance(selector, Match) else selector
        removed = tuple(flow for flow in self._flows.values() if chosen.selects(flow))
        for flow in removed:
            del self._flows[flow.slot]
        return self._changed(FlowChange(removed=removed), now)

    def _check_ports(self, flows: Iterable[Flow]) -> None:
        for flow in flows:
            for port in _ports_of(flow):
                if port not in self.ports.by_id:
                    where = f" ({flow.source} line {flow.line})" if flow.line else ""
                    raise PortError(f"a flow{where} names vport {port}, which does not exist")

    def _changed(self, change: FlowChange, now: float) -> FlowChange:
        if not change.added and not change.removed:
            return change
        for flow in change.added:
            flow.created = now
        by_table: dict[int, list[Flow]] = {}
        for flow in self._flows.values():
            by_table.setdefault(flow.table, []).append(flow)
        touched = {flow.table for flow in (*change.added, *change.removed)}
        for table in touched:
            if table in by_table:
                self._tables[table] = Classifier(by_table[table])
            else:
                del self._tables[table]
        self.version += 1
        # What waits has come as far as it is by flows of before.
        self.fragments.clear("policy changed")
        return change

    def process(
        self,
        pkt: Packet,
        in_port: int,
        now: float,
        *,
        ct: ConntrackAccess | None = None,
        trace: list[str] | None = None,
    ) -> Result:
        """Resolves one packet that came in on a vport.

        With `ct` a PeekConntrack, nothing changes anywhere. With `trace`, lines that tell the story
        are appended to it.
        """
        access = self.tracker if ct is None else ct
        effects = not isinstance(access, PeekConntrack)
        result = Result(pkt, self.ports, self.version)
        story = None if trace is None else Trace(trace, self.ports)
        if in_port not in self.ports.by_id:
            result.drop_reason = "unknown ingress vport"
        elif not pkt.eth_src:
            result.drop_reason = f"malformed: {pkt.error}"
        else:
            run = Run(
                self._tables,
                self._switch,
                access,
                self.fragments,
                result,
                in_port,
                now,
                effects=effects,
                trace=story,
            )
            run.process()
        if effects and not result.outputs and not result.held:
            self.drops[result.drop_reason] += 1
        if story is not None:
            story.end(result)
        return result

# SPDX-License-Identifier: Apache-2.0
"""Writing stateless flows: the part of a round that is theirs.

write    new next hops and flows; deletes of leaving flows
write    deletes of next hops that nobody uses any more
read     the cells of paths that nobody uses any more: final, because the deletes were answered
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from p4ct.eswitch.entries import Delete, EntryError, EswitchPort, FlowEntry, Insert, Op
from p4ct.offload import reasons
from p4ct.offload.answers import refuse_to_forget, refuse_to_guess
from p4ct.offload.cells import free_paths, zero_unknown
from p4ct.offload.manager import OffloadManager
from p4ct.offload.next_hops import next_hop_row
from p4ct.offload.record import RecordState
from p4ct.offload.rounds import run_round
from p4ct.offload.stateless import StatelessFlow

__all__ = ["run_rounds"]

Clock = Callable[[], float]


async def run_rounds(manager: OffloadManager, port: EswitchPort, clock: Clock) -> None:
    """Carry out what waits: connections, then stateless flows. Raises as `run_round`."""
    await run_round(manager, port, clock)
    if manager.stateless.has_work:
        await _run_flows(manager, port)


async def _run_flows(manager: OffloadManager, port: EswitchPort) -> None:
    flows, batch = manager.stateless, manager.options.batch
    leaving = [flows.to_remove.popleft() for _ in range(min(len(flows.to_remove), batch))]
    plan: list[tuple[Op, StatelessFlow]] = []
    for _ in range(min(len(flows.to_install), batch)):
        flow = flows.to_install.popleft()
        if flow.state is RecordState.QUEUED:
            plan += [(op, flow) for op in _prepare(manager, flow)]
    await zero_unknown(manager, port)
    written = [flow for flow in leaving if flow.path is not None]
    ops = [op for op, _ in plan] + [Delete(flow.key) for flow in written]
    results = await port.write(ops) if ops else []
    refuse_to_guess(ops, results)
    refuse_to_forget(results)
    refused = _settle(manager, plan, results)
    rows = [manager.next_hops.release(flow.next_hop) for flow in written + refused]
    unused: list[Op] = [row for row in rows if row is not None]
    refuse_to_forget(await port.write(unused) if unused else [])
    paths = [flow.path for flow in written + refused if flow.path is not None]
    await free_paths(manager, port, [path for path in paths if manager.paths.release(path)])
    for flow in leaving + refused:
        flows.leave(flow)
        for callback in flow.on_gone:
            callback()
        flow.on_gone.clear()


def _prepare(manager: OffloadManager, flow: StatelessFlow) -> list[Op]:
    """The operations that install a flow; none if it does not come to that."""
    flows = manager.stateless
    if flow.version != manager.pipeline.version:
        flows.remove(flow, reasons.POLICY_CHANGED)
        return []
    path = manager.paths.acquire(flow.flows)
    if path is None:
        flows.remove(flow, f"{reasons.INSTALL_FAILED}: all path ids are in use")
        return []
    path.stateless = True
    flow.path = path
    ops: list[Op] = []
    flow.number, new = manager.next_hops.acquire(flow.next_hop)
    if new:
        row = next_hop_row(manager.pipeline.ports, flow.next_hop, flow.number)
        ops.append(manager.next_hops.set_row(flow.next_hop, row))
    flow.state = RecordState.INSTALLING
    return [*ops, Insert(flow.entry(flows.timeout))]


def _settle(
    manager: OffloadManager,
    plan: Sequence[tuple[Op, StatelessFlow]],
    results: Sequence[EntryError | None],
) -> list[StatelessFlow]:
    """The inserts were answered; the answer: flows that the switch did not take."""
    flows = manager.stateless
    refused: list[StatelessFlow] = []
    for (op, flow), error in zip(plan, results, strict=False):
        if not isinstance(op.entry, FlowEntry):
            if error is not None:
                manager.next_hops.refused(flow.next_hop)
                flows.failed[error.code] += 1
            continue
        if error is not None:
            flows.failed[error.code] += 1
            flow.cause = f"{reasons.INSTALL_FAILED}: {error.code} {error.message}".rstrip()
            refused.append(flow)
        elif flow.state is RecordState.LEAVING:
            flows.to_remove.append(flow)  # taken back while the write was in flight
        else:
            flow.state = RecordState.ACTIVE
            flows.installed_total += 1
            if manager.next_hops.is_refused(flow.next_hop):
                flows.remove(flow, f"{reasons.INSTALL_FAILED}: its next hop was refused")
    return refused

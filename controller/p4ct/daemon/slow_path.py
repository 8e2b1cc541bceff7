# SPDX-License-Identifier: Apache-2.0
"""The slow path: one punted packet in, its outputs out.

Synchronous and without a clock.  What it waits for is somebody else's: a packet that ends an
offloaded connection is held until the entries are gone, so that whatever follows it comes up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from p4ct.eswitch.entries import PuntInfo
from p4ct.eswitch.enums import PuntReason
from p4ct.offload.manager import OffloadManager
from p4ct.offload.record import Record
from p4ct.offload.stations import Stations
from p4ct.packet.build import pop_vlan, push_vlan
from p4ct.packet.parse import parse
from p4ct.pipeline.execute import Pipeline
from p4ct.pipeline.result import Result

__all__ = ["SlowPath"]

Send = Callable[[int, bytes], bool]
"""Sends a frame to a dataplane port; False if it could not be queued."""

MAX_HELD = 4096
"""Packets that may wait for a removal; more are dropped and counted."""


class SlowPath:
    """Takes punts to the pipeline, the offload manager and out again; counts what it does."""

    def __init__(self, pipeline: Pipeline, manager: OffloadManager, send: Send) -> None:
        self.pipeline = pipeline
        self.manager = manager
        self.send = send
        self.ports = pipeline.ports
        #: Punts by the eswitch's reason.
        self.punts: Counter[str] = Counter()
        self.punted = (0, 0)
        self.sent = 0
        #: Packets dropped here, apart from the pipeline's own drops, by reason.
        self.drops: Counter[str] = Counter()
        self.held = 0
        self.stations = Stations()

    def punt(self, payload: bytes, info: PuntInfo, now: float) -> None:
        """Handle one packet-in."""
        self.punts[_reason_name(info.reason)] += 1
        self.punted = (self.punted[0] + 1, self.punted[1] + info.frame_length)
        vport = self.ports.by_id.get(info.vport)
        if vport is None:
            self.drops["unknown vport"] += 1
            return
        frame = payload if vport.vlan is None else pop_vlan(payload)
        pkt = parse(frame, info.frame_length)
        result = self.pipeline.process(pkt, vport.id, now)
        ending = self.manager.packet(pkt, vport.id, result, now)
        if not result.outputs:
            return
        self.stations.note(pkt, vport.id)
        if ending:
            self._hold(frame, result, ending)
        else:
            self._send(frame, result.outputs)

    def _send(self, frame: bytes, outputs: Sequence[int]) -> None:
        for number in outputs:
            vport = self.ports.by_id[number]
            wire = frame if vport.vlan is None else push_vlan(frame, vport.vlan)
            if self.send(vport.port, wire):
                self.sent += 1
            else:
                self.drops["packet-out queue full"] += 1

    def _hold(self, frame: bytes, result: Result, ending: Sequence[Record]) -> None:
        """Send when every one of these records is gone."""
        if self.held >= MAX_HELD:
            self.drops["too many packets held for a removal"] += 1
            return
        self.held += 1
        waiting = len(ending)

        def gone() -> None:
            nonlocal waiting
            waiting -= 1
            if waiting:
                return
            self.held -= 1
            if result.version != self.pipeline.version:
                # Decided by a policy that no longer holds; its sender will repeat it.
                self.drops["policy changed while the packet was held"] += 1
            else:
                self._send(frame, result.outputs)

        for record in ending:
            record.on_gone.append(gone)


_NAMES = {reason.value: reason.name for reason in PuntReason}


def _reason_name(reason: int) -> str:
    return _NAMES.get(reason, f"REASON_{reason}")

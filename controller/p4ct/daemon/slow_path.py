# SPDX-License-Identifier: Apache-2.0
"""The slow path: one punted packet in, its outputs out.

Synchronous and without a clock.  What it waits for is somebody else's: a packet that ends an
offloaded connection is held until the entries are gone, so that whatever follows it comes up.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from p4ct.daemon.wire import Send, Wire
from p4ct.eswitch.entries import PuntInfo
from p4ct.eswitch.enums import PuntReason, WindowVerdict
from p4ct.offload.manager import OffloadManager
from p4ct.offload.stations import Stations
from p4ct.packet.parse import Packet, parse
from p4ct.pipeline.execute import Pipeline
from p4ct.pipeline.ports import Vport
from p4ct.pipeline.result import Result

__all__ = ["SlowPath"]

log = logging.getLogger("p4ct")

MAX_HELD = 4096
"""Packets that may wait for a removal; more are dropped and counted."""
_TOO_MANY = "too many packets held for a removal"
_BROKE = "internal error"


class SlowPath:
    """Takes punts to the pipeline, the offload manager and out again; counts what it does.

    `router`: IP version -> address that answers packets longer than an MTU.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        manager: OffloadManager,
        send: Send,
        router: Mapping[int, bytes] | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.manager = manager
        self.wire = Wire(pipeline.ports, send, router or {})
        #: Punts by vport and the eswitch's reason, as numbers.
        self.punt_counts: Counter[tuple[int, int]] = Counter()
        self.punted = (0, 0)
        #: Packets dropped here, apart from the pipeline's own drops, by reason.
        self.drops = self.wire.drops
        self.held = 0
        self.stations = Stations()

    @property
    def punts(self) -> Counter[str]:
        """Punts by the name of the eswitch's reason."""
        punts: Counter[str] = Counter()
        for (_, reason), number in self.punt_counts.items():
            punts[_reason_name(reason)] += number
        return punts

    @property
    def punts_by_vport(self) -> dict[str, dict[str, int]]:
        """Punts by the names of vport and reason; "unknown" is what belongs to no vport."""
        ports = self.pipeline.ports
        punts: dict[str, dict[str, int]] = {}
        for (vport, reason), number in self.punt_counts.items():
            own = punts.setdefault(ports.name(vport) if vport in ports.by_id else "unknown", {})
            name = _reason_name(reason)
            own[name] = own.get(name, 0) + number
        return punts

    @property
    def sent(self) -> int:
        """Frames that went out."""
        return self.wire.sent

    def punt(self, payload: bytes, info: PuntInfo, now: float) -> None:
        """Handle one packet-in. What a held packet raises later is its own affair: `broke`."""
        self.punt_counts[info.vport, info.reason] += 1
        self.punted = (self.punted[0] + 1, self.punted[1] + info.frame_length)
        received = self.wire.receive(payload, info)
        if received is None:
            return
        vport, frame, priority = received
        pkt = parse(frame, info.frame_length)
        asked = self.manager.ask_counters(info, pkt)
        if asked is None:
            self._resolve(pkt, vport, priority, info, now)
        elif self.held >= MAX_HELD:
            self.drops[_TOO_MANY] += 1
        else:
            self.held += 1

            def gone() -> None:
                self.held -= 1
                try:
                    self._resolve(pkt, vport, priority, info, now)
                except Exception:
                    self.broke(info)

            asked.on_gone.append(gone)

    def broke(self, packet: object) -> None:
        """The exception that is being handled has cost this packet.

        A defect of ours must cost one packet only, not the round that released it, and be seen
        without filling the log.
        """
        self.drops[_BROKE] += 1
        if self.drops[_BROKE].bit_count() == 1:
            log.exception("packet dropped (%d so far): %r", self.drops[_BROKE], packet)

    def _resolve(
        self, pkt: Packet, vport: Vport, priority: int, info: PuntInfo, now: float
    ) -> None:
        """What policy makes of a packet, and what that asks of the records."""
        watched = self.manager.punted(info)
        result = self.pipeline.process(pkt, vport.id, now)
        pkt = result.pkt  # whole, if it came in fragments
        if (
            watched is not None
            and result.ct
            and info.window_verdict in _AHEAD
            and all(visit.connection is not None for visit in result.ct)
        ):
            self.manager.window_lags(watched, info)
        ending = self.manager.packet(pkt, vport.id, result, now)
        if not result.outputs:
            return
        self.stations.note(pkt, vport.id)
        begun = self.manager.begun
        if ending:
            self._hold(vport.id, result, [record.on_gone for record in ending], priority)
        elif begun is not None and self.held < MAX_HELD:
            # The ACK that this packet brings about is to hit the entries.
            self._hold(vport.id, result, [begun.on_settled], priority)
        else:
            self.wire.deliver(result, vport.id, priority)

    def _hold(
        self,
        in_port: int,
        result: Result,
        waits: Sequence[list[Callable[[], None]]],
        priority: int,
    ) -> None:
        """Send when all of these have been called."""
        if self.held >= MAX_HELD:
            self.drops[_TOO_MANY] += 1
            return
        self.held += 1
        waiting = len(waits)

        def gone() -> None:
            nonlocal waiting
            waiting -= 1
            if waiting:
                return
            self.held -= 1
            if result.version != self.pipeline.version:
                # Decided by a policy that no longer holds; its sender will repeat it.
                self.drops["policy changed while the packet was held"] += 1
                return
            try:
                self.wire.deliver(result, in_port, priority)
            except Exception:
                self.broke(f"held, from vport {in_port}")

        for wait in waits:
            wait.append(gone)


#: The eswitch found the segment beyond what it knows; software may know more.
_AHEAD = frozenset({WindowVerdict.SEQ_ABOVE, WindowVerdict.ACK_ABOVE})
_NAMES = {reason.value: reason.name for reason in PuntReason}


def _reason_name(reason: int) -> str:
    """Name of a punt reason, also of one that this controller does not know."""
    return _NAMES.get(reason, f"REASON_{reason}")

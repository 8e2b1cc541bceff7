# SPDX-License-Identifier: Apache-2.0
"""The controller: pipeline, conntrack, offload manager and switch, wired together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable

from p4ct.conntrack import Connection, Event, Tracker
from p4ct.daemon.config import Config
from p4ct.daemon.slow_path import SlowPath
from p4ct.daemon.switch import ProgramFiles, Switch
from p4ct.eswitch.entries import CtKey, EswitchError, PuntInfo
from p4ct.offload.manager import OffloadManager
from p4ct.offload.reconcile import reconcile
from p4ct.offload.record import Record
from p4ct.offload.rounds import refresh, run_round
from p4ct.p4runtime.errors import TargetError
from p4ct.packet.text import format_ip
from p4ct.pipeline.execute import FlowChange, Pipeline
from p4ct.pipeline.flow import Flow
from p4ct.pipeline.parser import FlowSelector

__all__ = ["Controller"]

log = logging.getLogger("p4ct")

EXPIRY_PERIOD = 1.0
"""Seconds after which timers are looked at in any case."""
REFRESH_PERIOD = 5.0
"""Seconds between readings of the counters when nobody asks."""
RETRY_FIRST, RETRY_LAST = 0.2, 5.0
"""Seconds between attempts to reach a target that went away."""


class Controller:
    """Everything behind one target. Create it inside a running event loop."""

    def __init__(self, config: Config, program: ProgramFiles, flows: Iterable[Flow]) -> None:
        self.config = config
        self.clock = time.monotonic
        self.started = time.time()
        section = config.conntrack
        self.tracker = Tracker(
            config.timeouts,
            max_connections=section.max_connections,
            tcp_loose=section.tcp_loose,
            tcp_be_liberal=section.tcp_be_liberal,
        )
        self.tracker.on_event = self._conntrack_event
        self.pipeline = Pipeline(config.ports, self.tracker)
        self.pipeline.replace(flows, self.clock())
        self.manager = OffloadManager(self.pipeline, self.tracker, config.offload)
        self.manager.on_event = self._offload_event
        self.switch = Switch(config, program, on_punt=self._punt, on_idle=self._idle)
        self.slow_path = SlowPath(self.pipeline, self.manager, self.switch.send)
        self.connections_seen = 0
        self._wake = asyncio.Event()
        self.manager.wake = self._wake.set
        #: Only one round, reading or reconciliation talks to the switch at a time.
        self._turn = asyncio.Lock()

    # -- life ------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`. Raises TargetError if the target cannot be reached at the start.

        Entries stay in the switch: established connections go on without a controller, and the
        next one takes them over.
        """
        await self._open_session()
        tasks = [
            asyncio.create_task(task, name=name)
            for task, name in (
                (self._keep_session(), "session"),
                (self._rounds(), "rounds"),
                (self._timers(), "timers"),
                (self._readings(), "readings"),
            )
        ]
        stopping = asyncio.create_task(stop.wait(), name="stop")
        try:
            done, _ = await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopping}:
                task.result()  # a task that ended by itself failed: say how
        finally:
            for task in (*tasks, stopping):
                task.cancel()
            await asyncio.wait([*tasks, stopping])
            with contextlib.suppress(EswitchError, TargetError):
                await asyncio.wait_for(self._last_round(), 2.0)
            await self.switch.close()

    async def _last_round(self) -> None:
        """Finish what was begun, so that nothing half-done stays in the switch."""
        while self.switch.ready and self.manager.has_work:
            await run_round(self.manager, self.switch.eswitch, self.clock)

    async def _open_session(self) -> None:
        async with self._turn:
            outcome = await self.switch.open()
            drift = await reconcile(self.manager, self.switch.eswitch, self.clock)
            self.switch.ready = True
        log.info("switch %s ready: program %s, %s", self.switch.name, outcome, drift)

    async def _keep_session(self) -> None:
        """Reconnect whenever the stream ends."""
        while True:
            reason = await self.switch.client.closed
            self.switch.ready = False
            log.warning("switch %s lost: %s; reconnecting", self.switch.name, reason)
            delay = RETRY_FIRST
            while True:
                await asyncio.sleep(delay)
                try:
                    await self._open_session()
                    break
                except (TargetError, EswitchError) as error:
                    delay = min(delay * 2, RETRY_LAST)
                    log.warning("%s; next attempt in %.1f s", error, delay)

    async def _rounds(self) -> None:
        """Write what the offload manager wants, as soon as it wants it."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self.switch.ready and self.manager.has_work:
                try:
                    async with self._turn:
                        if self.switch.ready:
                            await run_round(self.manager, self.switch.eswitch, self.clock)
                except EswitchError as error:
                    log.warning("switch %s: %s", self.switch.name, error)
                    if self.switch.client.connected:
                        await self._repair()
                    else:
                        break

    async def _repair(self) -> None:
        """A round broke off although the switch is there: agree with what it holds."""
        await asyncio.sleep(RETRY_FIRST)
        try:
            async with self._turn:
                drift = await reconcile(self.manager, self.switch.eswitch, self.clock)
            log.warning("switch %s reconciled: %s", self.switch.name, drift)
        except EswitchError as error:
            log.warning("switch %s: %s", self.switch.name, error)

    async def _timers(self) -> None:
        """Let connections expire."""
        while True:
            now = self.clock()
            deadline = self.tracker.next_deadline()
            if deadline is None or deadline > now:
                wait = EXPIRY_PERIOD if deadline is None else min(deadline - now, EXPIRY_PERIOD)
                await asyncio.sleep(max(wait, 0.01))
                continue
            self.tracker.expire(now, 500)
            self.manager.take_ended()
            await asyncio.sleep(0)

    async def _readings(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_PERIOD)
            with contextlib.suppress(EswitchError):
                await self.refresh()

    # -- events ----------------------------------------------------------------------------

    def _punt(self, payload: bytes, info: PuntInfo) -> None:
        self.slow_path.punt(payload, info, self.clock())

    def _idle(self, key: CtKey) -> None:
        self.manager.idle(key, self.clock())

    def _conntrack_event(self, event: Event, connection: Connection, now: float) -> None:
        if event is Event.NEW:
            self.connections_seen += 1
        elif event is Event.DESTROY:
            self.manager.connection_gone(connection)
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s %r", event.value, connection)

    def _offload_event(self, what: str, record: Record, detail: str) -> None:
        if not log.isEnabledFor(logging.INFO):
            return
        half = record.halves[0]
        log.info(
            "%s %s: connection %d proto %d %s:%d > %s:%d index %d/%d%s",
            self.switch.name,
            what,
            record.members[0].connection.id,
            half.proto,
            format_ip(half.src),
            half.sport,
            format_ip(half.dst),
            half.dport,
            record.index,
            record.generation,
            f" ({detail})" if detail else "",
        )

    # -- what operators ask for ------------------------------------------------------------

    async def refresh(self) -> None:
        """Bring the hardware share of all counters up to date."""
        async with self._turn:
            if self.switch.ready:
                await refresh(self.manager, self.switch.eswitch, self.clock)

    async def change_flows(
        self,
        *,
        replace: Iterable[Flow] | None = None,
        delete: FlowSelector | None = None,
        add: Iterable[Flow] | None = None,
    ) -> FlowChange:
        """Change the policy. On return nothing that it denies leaves a port any more.

        Raises EswitchError when the switch cannot confirm that: the policy then holds in software,
        and the entries go as soon as the switch is back.
        """
        await self.refresh()  # what flows that go now have counted so far
        now = self.clock()
        change = FlowChange()
        if replace is not None:
            change = self.pipeline.replace(replace, now)
        if delete is not None:
            change = self.pipeline.delete(delete, now)
        if add is not None:
            change = self.pipeline.add(add, now)
        leaving = self.manager.policy_changed(now)
        await self.gone(leaving)
        if not self.switch.ready or not await self.switch.barrier():
            raise EswitchError(
                "UNAVAILABLE",
                "the policy was changed, but the switch did not confirm that earlier packets have "
                "left it; see 'p4ct status'",
            )
        return change

    async def flush(self, connections: Iterable[Connection]) -> int:
        """Forget connections: first their entries go, then they do. Returns how many."""
        chosen = list(connections)
        records = self.manager.records_of(chosen)
        for record in records:
            self.manager.remove(record, "flushed")
        await self.gone(records)
        now = self.clock()
        alive = [connection for connection in chosen if connection.alive]
        for number, connection in enumerate(alive, 1):
            self.tracker.remove(connection, now)
            if number % 500 == 0:
                await asyncio.sleep(0)
        await self.gone(self.manager.take_ended())
        return len(alive)

    async def gone(self, records: Iterable[Record]) -> None:
        """Wait until these records have left the switch."""
        waiting: list[asyncio.Event] = []
        for record in records:
            event = asyncio.Event()
            record.on_gone.append(event.set)
            waiting.append(event)
        for event in waiting:
            await event.wait()

# SPDX-License-Identifier: Apache-2.0
"""The controller: pipeline, conntrack, offload manager and switch, wired together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

from p4ct.conntrack import Connection, Event, FragmentLimits, Tracker
from p4ct.daemon.capabilities import offload_options
from p4ct.daemon.collector import Collector
from p4ct.daemon.config import Config
from p4ct.daemon.events import EventStream
from p4ct.daemon.kernel_sync import KernelSync, open_socket
from p4ct.daemon.slow_path import SlowPath
from p4ct.daemon.switch import ProgramFiles, Switch
from p4ct.eswitch.entries import CtKey, EswitchError, FlowKey, PuntInfo
from p4ct.offload.ageing import Ageing
from p4ct.offload.flow_rounds import run_rounds
from p4ct.offload.manager import OffloadManager
from p4ct.offload.readings import refresh
from p4ct.offload.reconcile import reconcile
from p4ct.offload.record import Record
from p4ct.offload.sampling import Sampler
from p4ct.p4runtime.errors import TargetError
from p4ct.pace import Pace
from p4ct.pipeline.execute import Pipeline
from p4ct.pipeline.flow import Flow

__all__ = ["Controller"]

log = logging.getLogger("p4ct")

EXPIRY_PERIOD = 1.0
"""Seconds after which timers are looked at in any case."""
REFRESH_PERIOD = 5.0
"""Seconds between readings of the counters when nobody asks."""
REFRESH_TIMEOUT = 5.0
"""Seconds that a question waits for fresh counters; then it is answered with what is known."""
RETRY_FIRST, RETRY_LAST = 0.2, 5.0
"""Seconds between attempts to reach a target that went away, or to agree with one again."""
STOP_TIMEOUT = 2.0
"""Seconds to finish what was begun when the controller is stopped."""
STANDING_BY = "standing by until it is gone"
EARLY_PER_STEP = 25
"""Punts that waited, handled before others have their turn."""
MAX_EARLY = 4096
"""Punts that may wait for the first reconciliation; more are dropped and counted."""


class Controller:
    """Everything behind one target. Create it inside a running event loop.

    `in_step`: the offload manager knows what the switch holds.  It is so from a reconciliation
    until the session ends or a round breaks off; only meanwhile are rounds run, counters read, and
    promises made about what the switch does not forward.
    """

    def __init__(self, config: Config, program: ProgramFiles, flows: Iterable[Flow]) -> None:
        self.config = config
        self.clock = time.monotonic
        self.started = time.time()
        section = config.conntrack
        self.tracker = Tracker(
            config.timeouts,
            max_connections=section.max_connections,
            max_unreplied=section.max_unreplied or max(1, section.max_connections // 2),
            limits=config.limits,
            tcp_loose=section.tcp_loose,
            tcp_be_liberal=section.tcp_be_liberal,
            max_expectations=section.max_expectations,
            checksum=section.checksum,
        )
        self.tracker.on_event = self._conntrack_event
        limits = FragmentLimits(
            section.fragments.min_size_v4,
            section.fragments.min_size_v6,
            section.fragments.max_queued,
            section.fragments.timeout,
        )
        self.pipeline = Pipeline(config.ports, self.tracker, fragments=limits)
        self.pipeline.replace(flows, self.clock())
        options = offload_options(config, program)
        self.manager = OffloadManager(
            self.pipeline,
            self.tracker,
            options,
            path_size=program.contract.capabilities.path_size,
        )
        self.manager.on_event = self._offload_event
        #: Looks at counters for a target that reports no idle entries; None for one that does.
        self.sampler = (
            Sampler(self.manager, options.sampling) if options.ageing is Ageing.SAMPLING else None
        )
        self.events = EventStream(self.manager)
        self.switch = Switch(config, program, on_punt=self._punt, on_idle=self._idle)
        self.manager.merge_windows = self.switch.eswitch.merge_windows
        self.slow_path = SlowPath(self.pipeline, self.manager, self.switch.send, config.router)
        #: Raises KernelSyncError if the kernel's table cannot be followed.
        self.kernel_sync = (
            KernelSync(self.tracker, self.clock, open_socket()) if section.kernel_sync else None
        )
        self.connections_seen = 0
        self._collector = Collector(lambda: len(self.tracker))
        self._wake = asyncio.Event()
        self.manager.wake = self._wake.set
        self.in_step = False
        #: Only one round, reading or reconciliation talks to the switch at a time.
        self.turn = asyncio.Lock()
        #: Punts from before the first reconciliation: they may belong to connections that it
        #: restores. None afterwards.
        self._early: deque[tuple[bytes, PuntInfo]] | None = deque()

    # -- life ------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`. Raises TargetError or EswitchError if the start does not succeed.

        Entries stay in the switch: established connections go on without a controller, and the
        next one takes them over.
        """
        self._collector.start()
        if self.kernel_sync is not None:
            self.kernel_sync.start()
        stopping = asyncio.create_task(stop.wait(), name="stop")
        tasks: list[asyncio.Task[Any]] = [
            stopping,
            asyncio.create_task(self._open_session(), name="open"),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if stopping.done():
                return
            tasks.pop().result()
            tasks += [
                asyncio.create_task(task, name=name)
                for task, name in (
                    (self._keep_session(), "session"),
                    (self._rounds(), "rounds"),
                    (self._timers(), "timers"),
                    (self._readings(), "readings"),
                )
            ]
            if self.sampler is not None:
                tasks.append(asyncio.create_task(self._sample(self.sampler), name="sampling"))
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopping}:
                task.result()  # a task that ended by itself failed: say how
            await self._finish_rounds()
        finally:
            self._collector.stop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self.kernel_sync is not None:
                self.kernel_sync.stop()
            await self.switch.close()

    async def _finish_rounds(self) -> None:
        """Finish what was begun, so that nothing half-done stays in the switch."""
        with contextlib.suppress(EswitchError, TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT), self.turn:
                while self.usable and self.manager.has_work:
                    await run_rounds(self.manager, self.switch.eswitch, self.clock)

    @property
    def warning(self) -> str:
        """Why what we know of the switch may be old; empty if it is there."""
        if self.switch.ready:
            return ""
        if self.switch.standby:
            return "another controller is primary: hardware counters are old"
        return f"the switch {self.switch.name} is not connected: hardware counters are old"

    @property
    def usable(self) -> bool:
        """The switch is there and we agree with it."""
        return self.switch.ready and self.in_step

    async def _open_session(self) -> None:
        # What still waits for an answer of the former session ends here, and gives up its turn.
        await self.switch.client.close()
        async with self.turn:
            outcome = await self.switch.open()
            drift = await reconcile(
                self.manager, self.switch.eswitch, self.clock, Pace(), self._take_early
            )
            self.in_step = self.switch.ready = True
        self._wake.set()  # what came up meanwhile
        log.info("switch ready: program %s, %s", outcome, drift)

    async def _keep_session(self) -> None:
        """Reconnect whenever the session ends."""
        while True:
            reason = await self.switch.lost()
            self.in_step = self.switch.ready = False
            standby = self.switch.standby
            log.warning("switch lost: %s; %s", reason, STANDING_BY if standby else "reconnecting")
            delay = RETRY_FIRST
            while True:
                await asyncio.sleep(delay)
                try:
                    await self._open_session()
                    break
                except (TargetError, EswitchError) as error:
                    delay = min(delay * 2, RETRY_LAST)
                    told, standby = standby, self.switch.standby
                    if not standby:
                        log.warning("%s; next attempt in %.1f s", error, delay)
                    elif not told:
                        log.warning("another controller is primary; %s", STANDING_BY)

    async def _rounds(self) -> None:
        """Write what the offload manager wants, as soon as it wants it."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not self.in_step:
                await self._repair()
            while self.usable and self.manager.has_work:
                async with self.turn:
                    try:
                        if self.usable:
                            await run_rounds(self.manager, self.switch.eswitch, self.clock)
                    except EswitchError as error:
                        self.in_step = False
                        log.warning("a round of writes broke off: %s", error)
                if not self.in_step:
                    await self._repair()

    async def _repair(self) -> None:
        """A round broke off although the switch is there: agree with what it holds."""
        delay = RETRY_FIRST
        while self.switch.ready and not self.in_step:
            await asyncio.sleep(delay)
            try:
                async with self.turn:
                    if not self.switch.ready:
                        return  # the next session begins with a reconciliation
                    await self.switch.repair_vports()
                    eswitch = self.switch.eswitch
                    drift = await reconcile(self.manager, eswitch, self.clock, Pace())
                    self.in_step = True
                log.warning("reconciled: %s", drift)
            except EswitchError as error:
                delay = min(delay * 2, RETRY_LAST)
                log.warning("not reconciled: %s; next attempt in %.1f s", error, delay)

    def out_of_step(self) -> None:
        """We no longer know what the switch holds; it is read anew as soon as that can be done."""
        self.in_step = False
        self._wake.set()

    async def _timers(self) -> None:
        """Let connections expire."""
        while True:
            now = self.clock()
            self.pipeline.fragments.expire(now)
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
            await self.refresh(connections=self.sampler is None)

    async def _sample(self, sampler: Sampler) -> None:
        """One step of the sampling every interval; steps wait while the switch is away."""
        due = self.clock()
        while True:
            due = max(due + sampler.sampling.interval, self.clock())
            await asyncio.sleep(due - self.clock())
            if not self.usable:
                continue
            try:
                for records in sampler.step(self.clock):
                    async with self.turn:
                        if self.usable:
                            await sampler.look(self.switch.eswitch, self.clock, records)
            except EswitchError as error:
                log.info("counters not sampled: %s", error)

    async def refresh(self, *, connections: bool = True) -> bool:
        """Bring the hardware share of all counters up to date; False if that was not possible.

        It never waits longer than REFRESH_TIMEOUT, nor for a switch that is away. Without
        `connections`, theirs stay as they were last read.
        """
        if not self.usable:
            return False
        try:
            async with asyncio.timeout(REFRESH_TIMEOUT), self.turn:
                if not self.usable:
                    return False
                eswitch = self.switch.eswitch
                await refresh(self.manager, eswitch, self.clock, Pace(), connections=connections)
        except (EswitchError, TimeoutError) as error:
            log.info("counters not read: %s", error or "no answer in time")
            return False
        return True

    async def agreed(self) -> None:
        """Wait until no reconciliation is under way or owed."""
        while True:
            async with self.turn:
                if self.usable:
                    return
            await asyncio.sleep(RETRY_FIRST)

    # -- events ----------------------------------------------------------------------------

    def _punt(self, payload: bytes, info: PuntInfo) -> None:
        if self._early is None:
            self._handle(payload, info)
        elif len(self._early) < MAX_EARLY:
            self._early.append((payload, info))
        else:
            self.slow_path.drops["too many punts before the switch was ready"] += 1

    def _handle(self, payload: bytes, info: PuntInfo) -> None:
        try:
            self.slow_path.punt(payload, info, self.clock())
        except Exception:
            self.slow_path.broke(info)

    async def _take_early(self) -> None:
        """Every connection that has entries is known; what comes meanwhile queues behind.

        It ends however fast they come: as many as waited at first are handled step by step, and
        what came meanwhile, at most MAX_EARLY, at one go.
        """
        if self._early is None:
            return
        pace, left = Pace(), len(self._early)
        while left:
            step = min(EARLY_PER_STEP, left)
            for _ in range(step):
                self._handle(*self._early.popleft())
            left -= step
            await pace()
        rest, self._early = self._early, None
        for payload, info in rest:
            self._handle(payload, info)

    def _idle(self, key: CtKey | FlowKey) -> None:
        self.manager.idle(key, self.clock())

    def _conntrack_event(self, event: Event, connection: Connection, now: float) -> None:
        self.events.conntrack(event, connection, now)
        if event is Event.NEW:
            self.connections_seen += 1
            self._collector.connection_made()
        elif event is Event.DESTROY:
            self.manager.connection_gone(connection)
        elif event is Event.MARK:
            self.manager.mark_changed(connection)
        if log.isEnabledFor(logging.DEBUG):
            about = {"connection": _name(connection)}
            log.debug("%s %s", event.value, connection.state_name, extra=about)

    def _offload_event(self, what: str, record: Record, detail: str) -> None:
        self.events.offload(what, record, detail, self.clock())
        if log.isEnabledFor(logging.INFO):
            about = {
                "connection": ", ".join(_name(member.connection) for member in record.members),
                "entry": f"{record.index}/{record.generation}",
            }
            log.info("%s%s", what, f": {detail}" if detail else "", extra=about)


def _name(connection: Connection) -> str:
    """A connection in a line of the log."""
    return f"#{connection.id} zone={connection.zone} proto={connection.proto} {connection.original}"

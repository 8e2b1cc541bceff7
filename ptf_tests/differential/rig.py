# SPDX-License-Identifier: Apache-2.0
"""One target under a case: entries in, batches in, and all that comes out, in order."""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ptf_base.entities import update
from ptf_base.errors import RpcFailed, WriteFailed
from ptf_base.p4info import P4Names
from ptf_base.relay import Relay
from ptf_base.switch import PROGRAM
from ptf_base.target import CPU_PORT, Target
from ptf_base.wire import PacketIn, Wire, WireError

from differential import sentinels
from differential.case import Batch, Change, Entry, Stimulus, Way
from differential.counters import Cell, Counts, read_counts
from differential.sockets import PortSocket

PATIENCE = 20.0
"""Seconds until a sentinel counts as lost; nothing waits for this in a run without failure."""
LOOK_AGAIN = 0.5
WRITE_BATCH = 500


class Stuck(Exception):
    """The target does not answer any more; says what was missing, and its last words."""


@dataclass
class Outputs:
    """What came out of a batch, in order: frames by port, and packet-ins; of a write, the code of
    each update."""

    frames: dict[int, list[bytes]] = field(default_factory=dict)
    packet_ins: list[PacketIn] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Program:
    """The compiled eswitch: its P4Info and its BMv2 JSON."""

    names: P4Names
    json: bytes

    @classmethod
    def load(cls, path: Path) -> Program:
        """`path` is the JSON, with its P4Info beside it, or the directory with both."""
        config = path / f"{PROGRAM}.json" if path.is_dir() else path
        return cls(P4Names.load(config.with_suffix(".p4info.txtpb")), config.read_bytes())


class Rig:
    """A target with sockets on its ports and a session. `tamper` changes the entries that this
    target gets, so that a test can see a difference found."""

    _serial = 0

    def __init__(
        self,
        name: str,
        program: Program,
        *,
        tamper: Callable[[Sequence[Entry]], Sequence[Entry]] | None = None,
    ) -> None:
        self.name = name
        self._program = program
        self._tamper = tamper
        self._sentinel = 0
        self._codes: list[str] = []
        self._wire: Wire | None = None
        self._relay: Relay | None = None
        self._sockets: dict[int, PortSocket] = {}
        self.target = Target(name)
        try:
            Rig._serial += 1
            self._relay = Relay(f"diff-{name}-{os.getpid()}-{Rig._serial}", self.target.connect)
            for port, link in self.target.interfaces.items():
                self._sockets[port] = self.target.namespace.run(PortSocket, link)
            self._wire = Wire(
                self._relay.address,
                program.names,
                device_id=self.target.device_id,
                timeout=60.0,
            )
            self._wire.open()
        except BaseException:
            self.close()
            raise

    @property
    def ports(self) -> Sequence[int]:
        return sorted(self._sockets)

    @property
    def wire(self) -> Wire:
        if self._wire is None:
            raise Stuck(f"{self.name}: closed")
        return self._wire

    def start(self, entries: Sequence[Entry]) -> None:
        """Push the program, which empties the switch, and write the entries. Stuck or RpcFailed."""
        names = self._program.names
        mine = [*sentinels.entries(names, self.ports)]
        mine += self._tamper(entries) if self._tamper else entries
        updates = [update("INSERT", e.entity(names)) for e in mine]
        with self._stuck_if_silent():
            self.wire.push_pipeline(self._program.json)
            for i in range(0, len(updates), WRITE_BATCH):
                self.wire.write(updates[i : i + WRITE_BATCH])

    def begin(self, batch: Batch) -> None:
        """Send a batch and its sentinels, or do its write."""
        Rig._serial += 1
        self._codes = []
        self._sentinel = Rig._serial
        if batch.way is Way.WRITE:
            self._codes = self._write([c for c in batch.stimuli if isinstance(c, Change)])
            return
        stimuli = [s for s in batch.stimuli if isinstance(s, Stimulus)]
        marks = [sentinels.frame(self._sentinel, port) for port in (None, *self.ports)]
        if batch.way is Way.WIRE:
            send = self._sockets[batch.port].send
            for stimulus in stimuli:
                send(stimulus.frame)
            for mark in marks:
                send(mark)
            return
        for stimulus in stimuli:
            self.wire.packet_out(stimulus.frame, stimulus.fields)
        if batch.way is Way.PIPELINE:
            for mark in marks:
                self.wire.packet_out(mark, {"op": "PIPELINE", "port": self.ports[0]})
            return
        for port, mark in zip((CPU_PORT, *self.ports), marks, strict=True):
            self.wire.packet_out(mark, {"op": "SEND", "port": port})

    def finish(self) -> Outputs:
        """Everything that came of the batch that was begun. Stuck if a sentinel is lost."""
        return Outputs(codes=self._codes) if self._codes else self._collect(self._sentinel)

    def _write(self, changes: Sequence[Change]) -> list[str]:
        updates = [update(c.kind, c.entry.entity(self._program.names)) for c in changes]
        with self._stuck_if_silent():
            try:
                self.wire.write(updates)
            except WriteFailed as error:
                return error.codes
        return ["OK"] * len(updates)

    @contextlib.contextmanager
    def _stuck_if_silent(self) -> Iterator[None]:
        try:
            yield
        except RpcFailed as error:
            if error.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
                raise Stuck(f"{self.name}: {error}\n{self.target.problem()}") from error
            raise

    def _collect(self, serial: int) -> Outputs:
        out = Outputs({port: [] for port in self.ports})
        deadline = time.monotonic() + PATIENCE
        waiting = {port: sentinels.frame(serial, port) for port in self.ports}
        up = sentinels.frame(serial, None)
        while (got := self._next_packet_in(deadline)).frame != up:
            out.packet_ins.append(got)
        while waiting:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self._sockets[p] for p in waiting], [], [], max(0, left))
            if not ready:
                ports = ", ".join(map(str, waiting))
                raise Stuck(f"{self.name}: no sentinel on port {ports}\n{self.target.problem()}")
            for port in [p for p in waiting if self._sockets[p] in ready]:
                while (frame := self._sockets[port].receive()) is not None:
                    if frame == waiting[port]:
                        del waiting[port]
                        break
                    out.frames[port].append(frame)
        return out

    def _next_packet_in(self, deadline: float) -> PacketIn:
        while time.monotonic() < deadline:
            try:
                # A stream that has ended is noticed once nothing is left to take.
                got = self.wire.next_packet_in(LOOK_AGAIN)
            except WireError as error:
                raise Stuck(f"{self.name}: {error}\n{self.target.problem()}") from error
            if got is not None:
                return got
        raise Stuck(f"{self.name}: no sentinel came up\n{self.target.problem()}")

    def counts(self, only: Collection[Cell] | None = None) -> Counts:
        """Every counter of the program that is not zero, or `only` some of them."""
        with self._stuck_if_silent():
            return read_counts(self.wire, only)

    def close(self) -> None:
        """End session, sockets and target. Idempotent."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None
        if self._relay is not None:
            self._relay.close()
            self._relay = None
        for sock in self._sockets.values():
            with contextlib.suppress(OSError):
                sock.close()
        self.target.close()

# SPDX-License-Identifier: Apache-2.0
"""The session with the target: connect, program, repair, and do it again when it breaks."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

from p4rt_stubs.p4.v1 import p4runtime_pb2

from p4ct.daemon.config import Config
from p4ct.eswitch.contract import ContractError, check
from p4ct.eswitch.driver import Eswitch
from p4ct.eswitch.entries import (
    CtKey,
    Delete,
    EswitchError,
    FlowKey,
    Insert,
    Op,
    PuntInfo,
    TunnelTermEntry,
    VportEntry,
)
from p4ct.eswitch.enums import PuntClass
from p4ct.offload.ageing import Ageing
from p4ct.p4runtime.client import P4RuntimeClient, pipeline_cookie
from p4ct.p4runtime.errors import TargetError
from p4ct.p4runtime.p4info import P4InfoError, P4InfoIndex, load_p4info
from p4ct.pipeline.ports import PRIORITY_TAG, PortTable, Vport

__all__ = ["ProgramFiles", "Switch", "vport_rows"]

log = logging.getLogger("p4ct.switch")

#: A port that no target has: what is sent there comes back as an unknown vport, after everything
#: that was sent before it.
BARRIER_PORT = 508
#: The vport that it belongs to, so that no flood of frames from unknown vports can use up the
#: policer's cell that the barrier's answer needs. No configured vport has this id.
BARRIER_VPORT = 1023
BARRIER_TYPE = b"\x88\xb5"  # IEEE 802 local experimental EtherType


class ProgramFiles:
    """p4c's output, read and checked before anything is started."""

    def __init__(self, p4info_path: Path, json_path: Path) -> None:
        """Raises P4InfoError, which names the file at fault."""
        self.p4info = load_p4info(p4info_path)
        self.index = P4InfoIndex(self.p4info)
        try:
            self.contract = check(self.index)
        except ContractError as error:
            raise P4InfoError(f"{p4info_path}: {error}") from None
        try:
            self.json = json_path.read_bytes()
            json.loads(self.json)
        except OSError as error:
            raise P4InfoError(f"{json_path}: {error.strerror}") from None
        except ValueError as error:
            raise P4InfoError(
                f"{json_path}: not the JSON that p4c writes: {error}; compile it again (make p4)"
            ) from None
        self.cookie = pipeline_cookie(self.p4info, self.json)

    @property
    def capacity(self) -> int:
        """Connections for which the program has entries in both families, and counters."""
        has = self.contract.capabilities
        return min(has.max_connections, has.ct_v4_size // 2, has.ct_v6_size // 2)

    def problems(self, config: Config) -> list[str]:
        """What the configuration asks of the program that it does not have."""
        found: list[str] = []
        has = self.contract.capabilities
        if config.offload.capacity > self.capacity:
            wanted = config.offload.capacity
            message = f"{wanted}, but the program has room for {self.capacity} connections"
            found.append(config.problem("offload.capacity", message))
        if config.offload.ageing is Ageing.IDLE_TIMEOUT and not has.connection_idle_timeout:
            message = "ct_v4 or ct_v6 of the program has no idle timeout; use auto or sampling"
            found.append(config.problem("offload.ageing", message))
        rows = sum(len(vport_rows(config.ports, v)) for v in config.ports.by_id.values()) + 1
        if rows > has.vport_size:
            message = f"{rows} rows for vports, but the program has room for {has.vport_size}"
            found.append(config.problem("vport", message))
        tunnels = len(config.ports.tunnel_ends)
        if tunnels > has.tunnel_term_size:
            message = f"{tunnels} tunnels, but the program has room for {has.tunnel_term_size}"
            found.append(config.problem("vport", message))
        return found


def vport_rows(ports: PortTable, vport: Vport) -> list[VportEntry]:
    """The rows that say which frames are this vport's.

    A tag of VLAN 0 has only a priority (IEEE 802.1Q, 6.9): what has it is untagged.
    """
    tags = (vport.vlan,) if vport.vlan is not None else (None, PRIORITY_TAG)
    tunnel = ports.tunnel_number(vport.id)
    return [VportEntry(vport.port, tag, vport.id, tunnel) for tag in tags]


class Switch:
    """One target. `on_punt` and `on_idle` are called from the stream's reader task."""

    def __init__(
        self,
        config: Config,
        program: ProgramFiles,
        *,
        on_punt: Callable[[bytes, PuntInfo], None],
        on_idle: Callable[[CtKey | FlowKey], None],
    ) -> None:
        self.config = config
        self.program = program
        self.name = config.target.address
        self._on_punt = on_punt
        self._on_idle = on_idle
        self._barriers: dict[bytes, asyncio.Event] = {}
        self.client = P4RuntimeClient(
            config.target.address,
            device_id=config.target.device_id,
            election_id=config.target.election_id,
            on_conflict="higher",
            on_packet_in=self._packet_in,
            on_role=self._role,
            on_idle=self._idle,
        )
        self.eswitch = Eswitch(self.client, program.index)
        #: Entries may be written: connected, primary, and set up.
        self.ready = False
        #: Another controller is primary.
        self.standby = False
        self._demoted = asyncio.Event()
        self.sessions = 0

    async def open(self) -> str:
        """Connect, make sure that the program runs, and repair vports, tunnels and policer.

        The answer is "kept" or "pushed". Raises TargetError or EswitchError.
        """
        target = self.config.target
        self._demoted.clear()
        wanted = self.client.election_id
        try:
            self.standby = not await self.client.connect(target.connect_timeout)
        except TargetError:
            self.standby = False
            raise
        if self.client.election_id != wanted:
            log.warning(
                "election id %d is in use by another controller; took %d",
                wanted,
                self.client.election_id,
            )
        if self.standby:
            raise TargetError(
                self.name,
                "arbitration",
                "PERMISSION_DENIED",
                "another controller is primary",
                "stop it, or give this one a higher target.election_id",
            )
        outcome = await self.client.ensure_pipeline(
            self.program.p4info, self.program.json, self.program.cookie
        )
        await self.repair_vports()
        await self._set_policer()
        self.sessions += 1
        return outcome

    async def repair_vports(self) -> None:
        """Make vports and tunnels in the switch those that are configured. Raises EswitchError."""
        ports = self.config.ports
        wanted = {row for vport in ports.by_id.values() for row in vport_rows(ports, vport)}
        wanted.add(VportEntry(BARRIER_PORT, None, BARRIER_VPORT))
        found = set(await self.eswitch.read_vports())
        tunnels = {
            TunnelTermEntry(4 if len(dst) == 4 else 6, dst, vni, number)
            for (dst, vni), number in ports.tunnel_ends.items()
        }
        found_tunnels = set(await self.eswitch.read_tunnels())
        # A tunnel ends here only while its vports exist.
        ops: list[Op] = [Delete(entry) for entry in found_tunnels - tunnels]
        ops += [Delete(entry) for entry in found - wanted]
        ops += [Insert(entry) for entry in sorted(wanted - found, key=lambda e: e.vport)]
        new = sorted(tunnels - found_tunnels, key=lambda e: e.tunnel_vport)
        ops += [Insert(entry) for entry in new]
        for error in await self.eswitch.write(ops) if ops else []:
            if error is not None:
                raise EswitchError(error.code, f"vports and tunnels: {error.message}")

    async def _set_policer(self) -> None:
        if not self.eswitch.capabilities.punt_meter:
            log.warning("the program has no punt meter: what is punted is not limited")
            return
        for vport in (0, *self.config.ports.by_id):
            for punt_class in PuntClass:
                policer = self.config.policer[punt_class]
                await self.eswitch.set_punt_meter(vport, punt_class, policer.rate, policer.burst)

    async def lost(self) -> str:
        """Wait until this session cannot be used any more; the answer is why."""
        closed = asyncio.ensure_future(self.client.closed)
        demoted = asyncio.create_task(self._demoted.wait(), name="demoted")
        try:
            await asyncio.wait([closed, demoted], return_when=asyncio.FIRST_COMPLETED)
        finally:
            demoted.cancel()
        return str(closed.result()) if closed.done() else "another controller has become primary"

    async def close(self) -> None:
        self.ready = False
        await self.client.close()

    def send(self, port: int, frame: bytes) -> bool:
        """Send a frame unchanged to a dataplane port."""
        return self.eswitch.send(port, frame)

    async def barrier(self, timeout: float = 1.0, attempts: int = 5) -> bool:
        """Wait until everything sent so far has passed the switch.

        P4Runtime does not acknowledge packet-outs, so a marked packet is sent after them that is
        certain to come back. False if it never did.
        """
        for _ in range(attempts):
            token = secrets.token_bytes(46)
            came_back = self._barriers[token] = asyncio.Event()
            try:
                frame = bytes(12) + BARRIER_TYPE + token
                if self.eswitch.send_pipeline(BARRIER_PORT, frame):
                    await asyncio.wait_for(came_back.wait(), timeout)
                    return True
                await asyncio.sleep(timeout)
            except TimeoutError:
                continue
            finally:
                del self._barriers[token]
        return False

    def _role(self, primary: bool) -> None:
        if not primary:
            self.standby = True
            self._demoted.set()

    def _packet_in(self, payload: bytes, metadata: tuple[int, ...]) -> None:
        info = self.eswitch.decode_punt(metadata)
        if info.ingress_port == BARRIER_PORT:
            event = self._barriers.get(payload[14:])
            if event is not None:
                event.set()
            return
        if self.eswitch.take_answer(payload, info):
            return
        self._on_punt(payload, info)

    def _idle(self, entries: Sequence[p4runtime_pb2.TableEntry]) -> None:
        for key in self.eswitch.idle_keys(entries):
            self._on_idle(key)

# SPDX-License-Identifier: Apache-2.0
"""Vports move between dataplane ports: an uplink has failed over, or the route of a tunnel changed.

A vport is what policy, connections and entries speak of; the port behind it is not.  So a move
writes the vport's rows and its next hop, and every connection behind it goes on with its entries.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import msgspec

from p4ct.daemon.check import LAST_PORT
from p4ct.daemon.controller import Controller
from p4ct.daemon.operations import CONFIRM_TIMEOUT
from p4ct.daemon.switch import vport_rows
from p4ct.eswitch.entries import Delete, EswitchError, Insert, Op
from p4ct.offload.next_hops import rewrites
from p4ct.packet.text import parse_mac
from p4ct.pipeline.ports import PortError, PortTable, Vport

__all__ = ["MoveError", "Moved", "Route", "move"]

log = logging.getLogger("p4ct.uplinks")


class MoveError(ValueError):
    """A move that cannot be; the text says why."""


class Route(msgspec.Struct, frozen=True):
    """Where vports are to be. None: as it is. `outer_eth_*` (MAC addresses as text) are those of
    the next hop towards a tunnel's remote address."""

    port: int | None = None
    outer_eth_src: str | None = None
    outer_eth_dst: str | None = None


class Moved(msgspec.Struct, frozen=True):
    """What a move has changed: names of vports, next hops rewritten, entries that use them."""

    vports: list[str]
    next_hops: int
    entries: int


async def move(controller: Controller, names: Sequence[str], route: Route) -> Moved:
    """Give vports another wire, all of them or none.

    On return software sends there, and no entry sends anywhere else any more. Raises MoveError,
    or EswitchError when the switch refused or was not there: then everything is as it was.
    """
    ports = controller.config.ports
    wanted = [_vport(ports, name, route) for name in dict.fromkeys(names)]
    manager, eswitch = controller.manager, controller.switch.eswitch
    switch = f"the switch {controller.switch.name}"
    try:
        async with asyncio.timeout(CONFIRM_TIMEOUT), controller.turn:
            if not controller.usable:
                raise EswitchError("UNAVAILABLE", f"nothing was moved: {switch} is not connected")
            try:
                former = ports.change(wanted)
            except PortError as error:
                raise MoveError(str(error)) from None
            changed = {vport.id for vport in wanted}
            old = {row for vport in former for row in vport_rows(ports, vport)}
            new = {row for number in changed for row in vport_rows(ports, ports.by_id[number])}
            hops = rewrites(manager.next_hops, ports, changed)
            # The new way in is there before anything is sent to where its answers come from.
            ops: list[Op] = [Insert(row) for row in new - old]
            ops += hops
            ops += [Delete(row) for row in old - new]
            try:
                for error in await eswitch.write(ops):
                    if error is not None:
                        raise EswitchError(error.code, f"nothing was moved: {error.message}")
            except BaseException:
                # Some of it may be in the switch all the same: agree anew, on the old ports.
                ports.change(former)
                controller.out_of_step()
                raise
    except TimeoutError:
        raise EswitchError(
            "UNAVAILABLE",
            f"nothing was moved: {switch} did not confirm it within {CONFIRM_TIMEOUT:g} s",
        ) from None
    done = Moved(
        [vport.name for vport in wanted],
        len(hops),
        sum(manager.next_hops.users(key) for key in manager.next_hops if key.vport in changed),
    )
    for before, after in zip(former, wanted, strict=True):
        log.info(
            "vport %s moved from port %d to %d; next hops rewritten: %d, entries that follow: %d",
            before.name,
            before.port,
            after.port,
            done.next_hops,
            done.entries,
        )
    return done


def _vport(ports: PortTable, name: str, route: Route) -> Vport:
    vport = ports.by_name.get(name)
    if vport is None:
        raise MoveError(f"there is no vport {name!r}; there are: {', '.join(ports.by_name)}")
    changes: dict[str, Any] = {}
    if route.port is not None:
        if not 0 <= route.port <= LAST_PORT:
            raise MoveError(f"port {route.port} is not in 0 to {LAST_PORT}")
        changes["port"] = route.port
    outer = {
        key: text
        for key in ("outer_eth_src", "outer_eth_dst")
        if (text := getattr(route, key)) is not None
    }
    if outer and vport.vxlan is None:
        raise MoveError(f"vport {name!r} is in no tunnel; only those have {' and '.join(outer)}")
    for key, text in outer.items():
        try:
            parse_mac(text)
        except ValueError as error:
            raise MoveError(f"{key}: {error}") from None
    if vport.vxlan is not None and outer:
        changes["vxlan"] = msgspec.structs.replace(vport.vxlan, **outer)
    if not changes:
        raise MoveError("say where to: a port, or the outer MAC addresses of a tunnel")
    moved = msgspec.structs.replace(vport, **changes)
    if moved == vport:
        raise MoveError(f"vport {name!r} is there already")
    return moved

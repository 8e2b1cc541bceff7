# SPDX-License-Identifier: Apache-2.0
"""Counter cells of the switch: zero before their first use here, read and zeroed after the last."""

from __future__ import annotations

from collections.abc import Sequence

from p4ct.eswitch.entries import EswitchPort
from p4ct.offload.manager import OffloadManager
from p4ct.offload.paths import Path

__all__ = ["free_paths", "zero_unknown"]


async def zero_unknown(
    manager: OffloadManager, port: EswitchPort, indices: Sequence[int] = ()
) -> None:
    """Cells that this controller uses for the first time may hold what another one left."""
    unknown = manager.pool.unknown(indices)
    if unknown:
        await port.zero_connection_counters(unknown)
        manager.pool.zeroed(unknown)
    paths = manager.paths.take_unknown()
    if paths:
        await port.zero_path_counters(paths)


async def free_paths(manager: OffloadManager, port: EswitchPort, freed: Sequence[Path]) -> None:
    """Read and zero the cells of paths without users: nothing counts under them any more."""
    if not freed:
        return
    ids = [path.id for path in freed]
    manager.credit_paths(await port.read_path_counters(ids))
    await port.zero_path_counters(ids)
    for path in freed:
        path.last = (0, 0)
        manager.paths.forget(path)

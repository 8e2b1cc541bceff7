# SPDX-License-Identifier: Apache-2.0
"""The window registers of the eswitch, written and read by packet-outs.

P4Runtime registers are not used: BMv2 does not serve them.  A packet-out is not acknowledged, but
the switch handles one after the other, so a WINDOW_READ that is answered tells both what the
registers hold and that every earlier WINDOW_WRITE was carried out.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable, Mapping
from struct import Struct

from p4ct.eswitch.entries import PuntInfo, WindowPair
from p4ct.eswitch.enums import PacketOutOp

__all__ = ["Windows"]

PacketOut = Callable[[PacketOutOp, int, bytes], bool]
"""Sends (operation, connection index, payload); False if it could not be queued."""

_PAYLOAD = Struct("!LLLLBLLLLB").pack
_PROBE_HEADER = bytes(12) + b"\x88\xb5"  # IEEE 802 local experimental EtherType
_TOKEN_BYTES = 8


class Windows:
    """Reads that wait for their answers. `timeout`: seconds for all of one call."""

    def __init__(self, send: PacketOut, timeout: float = 1.0) -> None:
        self._send = send
        self._timeout = timeout
        self._waiting: dict[tuple[int, bytes], asyncio.Future[WindowPair]] = {}

    async def write(self, windows: Mapping[int, WindowPair]) -> set[int]:
        """Set registers; the answer: the indices that were read back as written."""
        for index, (original, reply) in windows.items():
            payload = _PAYLOAD(*original, *reply)
            self._send(PacketOutOp.WINDOW_WRITE, index, payload)
        found = await self.read(windows)
        return {index for index, pair in found.items() if pair == windows[index]}

    def merge(self, index: int, pair: WindowPair) -> bool:
        """Raise registers to these where they are higher; False if that could not be queued.

        It takes effect before anything that is sent after it, and nobody tells that it did.
        """
        return self._send(PacketOutOp.WINDOW_MERGE, index, _PAYLOAD(*pair.original, *pair.reply))

    async def read(self, indices: Iterable[int]) -> dict[int, WindowPair]:
        """Registers by index; an index that was not answered in time is left out."""
        loop = asyncio.get_running_loop()
        token = secrets.token_bytes(_TOKEN_BYTES)
        # Padded to the shortest Ethernet frame, so that no target has to.
        probe = (_PROBE_HEADER + token).ljust(60, b"\0")
        waiting: dict[int, asyncio.Future[WindowPair]] = {}
        for index in indices:
            if self._send(PacketOutOp.WINDOW_READ, index, probe):
                waiting[index] = self._waiting[index, token] = loop.create_future()
        try:
            if waiting:
                await asyncio.wait(waiting.values(), timeout=self._timeout)
            return {index: future.result() for index, future in waiting.items() if future.done()}
        finally:
            for index, future in waiting.items():
                del self._waiting[index, token]
                future.cancel()

    def answered(self, payload: bytes, info: PuntInfo) -> None:
        """A packet-in with PuntReason.WINDOW_READ; one that nobody waits for is ignored."""
        token = payload[len(_PROBE_HEADER) : len(_PROBE_HEADER) + _TOKEN_BYTES]
        future = self._waiting.get((info.conn_index, token))
        if future is not None and not future.done():
            future.set_result(info.window)

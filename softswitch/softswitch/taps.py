# SPDX-License-Identifier: Apache-2.0
"""What is done with every frame in and out when it is asked for: pcap files, bytes in the log."""

from __future__ import annotations

import logging
import struct
import time
from collections.abc import Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import Literal

from softswitch.api import TapCallback

Direction = Literal["in", "out"]

_MAGIC, _VERSION, _SNAPLEN, _ETHERNET = 0xA1B2C3D4, (2, 4), 1 << 18, 1
_HEADER = struct.pack("=IHHiIII", _MAGIC, *_VERSION, 0, 0, _SNAPLEN, _ETHERNET)

log = logging.getLogger("softswitch.packets")


class PcapFiles:
    """Two files for each interface, as BMv2 names them: IF_in.pcap and IF_out.pcap.

    Each frame is written at once, so that a file is complete whenever it is looked at.
    """

    def __init__(self, folder: Path, interfaces: Mapping[int, str]) -> None:
        """OSError: a file cannot be made."""
        self._epoch_ns = time.time_ns() - time.monotonic_ns()
        self._files: dict[tuple[Direction, int], FileIO] = {}
        for port, name in interfaces.items():
            self._files["in", port] = FileIO(folder / f"{name}_in.pcap", "w")
            self._files["out", port] = FileIO(folder / f"{name}_out.pcap", "w")
        for file in self._files.values():
            file.write(_HEADER)

    def __call__(self, direction: Direction, port: int, frame: bytes, time_ns: int) -> None:
        """A frame; `time_ns` is CLOCK_MONOTONIC."""
        file = self._files.get((direction, port))
        if file is not None:
            seconds, rest = divmod(self._epoch_ns + time_ns, 10**9)
            head = struct.pack("=IIII", seconds, rest // 1000, len(frame), len(frame))
            file.write(head + frame)

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()


class PacketLog:
    """Logs the first bytes of each frame (--dump-packet-data), in BMv2's words."""

    def __init__(self, limit: int, cpu_port: int | None) -> None:
        self._limit = limit
        self._cpu_port = cpu_port

    def __call__(self, direction: Direction, port: int, frame: bytes, time_ns: int) -> None:
        """A frame."""
        what = "Received packet" if direction == "in" else "Sending packet"
        if port == self._cpu_port:
            what = "Received packet-out" if direction == "in" else "Sending packet-in"
        shown = frame[: self._limit].hex()
        log.info("%s of length %d on port %d: %s", what, len(frame), port, shown)


def combine(taps: Sequence[TapCallback]) -> TapCallback | None:
    """One callback for all; None for none, so that frames are not copied for nothing."""

    def tap(direction: Direction, port: int, frame: bytes, time_ns: int) -> None:
        for one in taps:
            one(direction, port, frame, time_ns)

    return tap if taps else None

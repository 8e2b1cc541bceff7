# SPDX-License-Identifier: Apache-2.0
"""Window verbs: TCP window registers by packet-out, as a controller seeds and reads them."""

from __future__ import annotations

from ptf_base.traffic import EntryHit, TrafficVerbs, Vport
from ptf_base.window import Pair


class WindowVerbs(TrafficVerbs):
    """Traffic verbs, and the packet-outs that name a connection index."""

    def write_window(self, index: int, window: Pair) -> None:
        """Write both directions' registers of a connection index."""
        self.packet_out(window.payload(), "WINDOW_WRITE", conn_index=index)

    def merge_window(self, index: int, window: Pair) -> None:
        """Raise both directions' registers to these where they are higher."""
        self.packet_out(window.payload(), "WINDOW_MERGE", conn_index=index)

    def verify_window(self, index: int, window: Pair) -> None:
        """Read them back, through everything that was sent before."""
        probe = b"%014d" % self.switch.next_serial()
        self.packet_out(probe, "WINDOW_READ", conn_index=index)
        self.verify_punt(
            probe,
            Vport(0, 0),
            "WINDOW_READ",
            step=0,
            hit=EntryHit("MISS", 0, index, 0),
            window=window,
        )

# SPDX-License-Identifier: Apache-2.0
"""Frames behind each batch that say: everything before me has come out.

A sentinel takes the same way as the batch. One comes up, and one leaves on each port; a target
keeps the order of packets between one way in and one way out, so once all have come out, nothing
of the batch is left inside. They have a VLAN and a vport of their own, which no random entry uses.
"""

from __future__ import annotations

from collections.abc import Sequence

from ptf_base.p4info import P4Names, Value

from differential.case import Entry

VLAN = 4094
VPORT = 1023
FIRST_NEXT_HOP = 0xFFFF00
MARK = b"sentinel of the differential"
_MAC = bytes.fromhex("025e00000000")


def entries(names: P4Names, ports: Sequence[int]) -> list[Entry]:
    """What the sentinels need in the tables."""
    keys = names.keys("vport")
    found: list[Entry] = []
    for port in ports:
        match: dict[str, Value] = dict.fromkeys(keys, 0)
        match |= {"port": port, "vlan_present": 1, "vlan_id": VLAN}
        found.append(Entry("vport", match, "set_vport", {"vport": VPORT}))
        next_hop = FIRST_NEXT_HOP + port
        params: dict[str, Value] = dict.fromkeys(names.params("nh_output"), 0)
        found.append(
            Entry("next_hop", {"next_hop": next_hop}, "nh_output", {**params, "port": port})
        )
        out = Entry(
            "flow",
            {"vport": VPORT, "eth_dst": int.from_bytes(_mac(port), "big")},
            "flow_forward",
            {"path": 0, "next_hop": next_hop},
            priority=1,
        )
        found.append(out)
    return found


def frame(serial: int, port: int | None) -> bytes:
    """The sentinel that leaves on `port`, or that comes up."""
    tag = b"\x81\x00" + VLAN.to_bytes(2, "big") + b"\x88\xb5"
    return _mac(port) + _mac(0xFE) + tag + MARK + serial.to_bytes(8, "big")


def _mac(port: int | None) -> bytes:
    return _MAC[:5] + bytes([0xFF if port is None else port])

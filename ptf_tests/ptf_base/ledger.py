# SPDX-License-Identifier: Apache-2.0
"""Coverage: which rows of which tables, reasons, operations and verdicts packets have shown.

A point counts when a packet has shown it, in a case that has passed: what came up says which tables
it hit and missed; what left on a port went by a row that leads there; a drop moved its counter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from typing import Any, NamedTuple

from ptf_base.p4info import P4Names

MISS = "miss"
CONNECTION_TABLES = ("ct_v4", "ct_v6")
NOT_BY_TRAP = {"MISS", "NO_NEXT_HOP", "MTU_EXCEEDED", "WINDOW"}
ENUMS = {
    "punt reason": "PuntReason",
    "drop reason": "DropReason",
    "packet-out": "PacketOutOp",
    "window verdict": "WindowVerdict",
    "VLAN operation": "VlanOp",
}
Point = tuple[str, str]
"""(table, action or miss), or (key of ENUMS, member)."""


class Row(NamedTuple):
    """A table entry that is installed, by names; of the match only the exact keys."""

    table: str
    action: str
    params: Mapping[str, Any]
    match: Mapping[str, int]


class Ledger:
    """The points of a run; the cases write to it through their verbs."""

    def __init__(self) -> None:
        self.points: Counter[Point] = Counter()
        self._rows: dict[Hashable, Row] = {}
        self._case: Counter[Point] = Counter()

    def start_case(self) -> None:
        """A case begins, with an empty switch."""
        self._rows.clear()
        self._case.clear()

    def case_passed(self) -> None:
        """What the case has shown counts."""
        self.points.update(self._case)

    def wrote(self, key: Hashable, row: Row) -> None:
        self._rows[key] = row

    def removed(self, key: Hashable) -> None:
        self._rows.pop(key, None)

    def sent_out(self, op: Any) -> None:
        """A packet-out; its effect is the case's to verify."""
        self._see("packet-out", str(op))

    def dropped(self, reason: str) -> None:
        """A drop counter moved."""
        self._see("drop reason", reason)
        if reason == "NEXT_HOP":
            self._see("next_hop", "nh_drop")

    def left(self, port: int) -> None:
        """A frame left on `port` as expected: by the next hops that lead there, which is by the
        connections and flows that lead to them."""
        for row in self._rows_of("next_hop"):
            if row.params.get("port") != port:
                continue
            self._see("next_hop", row.action)
            self._see("VLAN operation", row.params["vlan_op"])
            number = row.match["next_hop"]
            for user in self._rows_of(*CONNECTION_TABLES, "flow"):
                if user.params.get("next_hop") == number:
                    self._see(user.table, user.action)
                    self._see("trap", MISS)
                    self._see("vport", "set_vport")
                    if user.table != "flow":
                        self._see("l2_pair", "set_l2_id")

    def came_up(self, fields: Mapping[str, Any], frame: bytes) -> None:
        """A packet-in was as expected."""
        reason, hit = fields["reason"], fields["ct_hit"]
        self._see("punt reason", reason)
        self._see("window verdict", fields["window_verdict"])
        if reason == "WINDOW_READ":
            return
        if fields["tunnel_id"]:
            family = 6 if fields["outer_src"] >> 32 else 4
            self._see(f"tunnel_term_v{family}", "terminate")
        if reason == "UNKNOWN_VPORT":
            self._see("vport", MISS)
            return
        self._see("vport", "set_vport")
        self._see("trap", MISS if reason in NOT_BY_TRAP else "punt")
        if reason == "MISS":
            self._see("flow", MISS)
            self._see_misses(fields, frame)
        if reason == "NO_NEXT_HOP":
            self._see("next_hop", MISS)
        if hit != "MISS":
            self._see("l2_pair", "set_l2_id")
            for row in self._rows_of(*CONNECTION_TABLES):
                wanted = (fields["conn_index"], fields["direction"])
                if (row.params["conn_index"], row.params["direction"]) == wanted:
                    self._see(row.table, row.action)

    def _see_misses(self, fields: Mapping[str, Any], frame: bytes) -> None:
        """The tables that a frame without any entry was looked up in."""
        tag = 4 if frame[12:14] == b"\x81\x00" else 0
        family = {b"\x08\x00": 4, b"\x86\xdd": 6}.get(frame[12 + tag : 14 + tag], 0)
        proto = frame[14 + tag + {4: 9, 6: 6}.get(family, 0)] if family else 0
        pair = {
            "vport": fields["vport"],
            "eth_src": int.from_bytes(frame[6:12], "big"),
            "eth_dst": int.from_bytes(frame[:6], "big"),
        }
        if not any(row.match == pair for row in self._rows_of("l2_pair")):
            self._see("l2_pair", MISS)
        elif proto in (6, 17):
            self._see(f"ct_v{family}", MISS)
        l4 = 14 + tag + {4: 20, 6: 40}.get(family, 0)
        vxlan = proto == 17 and frame[l4 + 2 : l4 + 4] == b"\x12\xb5" and len(frame) >= l4 + 30
        if vxlan and frame[l4 + 8] & 8 and not fields["tunnel_id"]:
            self._see(f"tunnel_term_v{family}", MISS)

    def _rows_of(self, *tables: str) -> Iterator[Row]:
        return (row for row in self._rows.values() if row.table in tables)

    def _see(self, what: str, member: str) -> None:
        self._case[what, member] += 1

    def wanted(self, names: P4Names) -> list[Point]:
        """Every point that a whole run must show."""
        points: list[Point] = []
        for table in names.tables():
            points += [(table, action) for action in names.actions_of(table)]
        for what, enum in ENUMS.items():
            members = [m for m in names.enum(enum) if (what, m) != ("punt reason", "NONE")]
            points += [(what, member) for member in members]
        return points

    def missing(self, names: P4Names) -> list[Point]:
        return [point for point in self.wanted(names) if not self.points[point]]

    def report(self, names: P4Names) -> str:
        """The coverage table: a line for each table and enum, with packets for each point."""
        lines: dict[str, list[str]] = {}
        for what, member in self.wanted(names):
            count = self.points[what, member]
            lines.setdefault(what, []).append(f"{member} {count or 'NOT COVERED'}")
        width = max(map(len, lines))
        return "\n".join(f"{what:{width}}  {', '.join(cells)}" for what, cells in lines.items())

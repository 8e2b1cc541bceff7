# SPDX-License-Identifier: Apache-2.0
"""All counters of a target, whatever they are called: each cell that is not zero."""

from __future__ import annotations

from typing import NamedTuple

from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4
from ptf_base.counters import Count
from ptf_base.wire import Wire


class Cell(NamedTuple):
    """A counter's name and index, or a table's name and an entry of it."""

    counter: str
    what: str


Counts = dict[Cell, Count]


def read_counts(wire: Wire) -> Counts:
    """Read every indirect counter and every entry of the tables that count."""
    info = wire.names.info
    found: Counts = {}
    for counter in info.counters:
        wanted = p4.Entity()
        wanted.counter_entry.counter_id = counter.preamble.id
        for entity in wire.read(wanted):
            data = entity.counter_entry.data
            if data.packet_count or data.byte_count:
                cell = Cell(counter.preamble.alias, str(entity.counter_entry.index.index))
                found[cell] = Count(data.packet_count, data.byte_count)
    tables = {table.preamble.id: table for table in info.tables}
    for counter in info.direct_counters:
        table = tables[counter.direct_table_id]
        wanted = p4.Entity()
        wanted.table_entry.table_id = table.preamble.id
        wanted.table_entry.counter_data.SetInParent()
        for entity in wire.read(wanted):
            entry = entity.table_entry
            data = entry.counter_data
            if not data.packet_count and not data.byte_count:
                continue
            what = wire.describe_match(entry)
            if not table.is_const_table:
                # Targets number the priorities of const entries in their own ways.
                what += f" priority {entry.priority}"
            masks = [m.ternary.mask.hex() for m in entry.match if m.HasField("ternary")]
            cell = Cell(table.preamble.alias, f"{what} masks {' '.join(masks)}")
            found[cell] = Count(data.packet_count, data.byte_count)
    return found

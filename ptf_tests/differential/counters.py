# SPDX-License-Identifier: Apache-2.0
"""All counters of a target, whatever they are called: each cell that is not zero."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4
from ptf_base.counters import Count
from ptf_base.entities import counter_entry
from ptf_base.wire import Wire


class Cell(NamedTuple):
    """A counter's name and index, or a table's name and an entry of it."""

    counter: str
    what: str


Counts = dict[Cell, Count]


def read_counts(wire: Wire, only: Collection[Cell] | None = None) -> Counts:
    """Read every indirect counter and every entry of the tables that count; or `only` some."""
    info = wire.names.info
    found: Counts = {}
    for counter in info.counters:
        name = counter.preamble.alias
        if only is None:
            wanted = [p4.Entity()]
            wanted[0].counter_entry.counter_id = counter.preamble.id
        else:
            cells = [int(cell.what) for cell in only if cell.counter == name]
            wanted = [counter_entry(wire.names, name, index) for index in cells]
        for entity in wire.read(*wanted) if wanted else ():
            cell = Cell(name, str(entity.counter_entry.index.index))
            _add(found, cell, entity.counter_entry.data)
    tables = {table.preamble.id: table for table in info.tables}
    for counter in info.direct_counters:
        table = tables[counter.direct_table_id]
        name = table.preamble.alias
        if only is not None and not any(cell.counter == name for cell in only):
            continue
        every = p4.Entity()
        every.table_entry.table_id = table.preamble.id
        every.table_entry.counter_data.SetInParent()
        for entity in wire.read(every):
            entry = entity.table_entry
            # Targets number the priorities of const entries in their own ways.
            priority = "" if table.is_const_table else f" priority {entry.priority}"
            masks = [m.ternary.mask.hex() for m in entry.match if m.HasField("ternary")]
            what = f"{wire.describe_match(entry)}{priority} masks {' '.join(masks)}"
            _add(found, Cell(name, what), entry.counter_data)
    return found


def _add(found: Counts, cell: Cell, data: p4.CounterData) -> None:
    if data.packet_count or data.byte_count:
        found[cell] = Count(data.packet_count, data.byte_count)

# SPDX-License-Identifier: Apache-2.0
"""What the switch really holds, read over P4Runtime past the controller.

Reads need no arbitration. Writes carry the controller's election id, which is how a fault is put
into the switch without taking its primary away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import grpc
from google.protobuf import text_format
from p4rt_stubs.p4.config.v1 import p4info_pb2
from p4rt_stubs.p4.v1 import p4runtime_pb2, p4runtime_pb2_grpc

MAX_MESSAGE = 64 << 20
CT_TABLES = ("ct_v4", "ct_v6")
#: Tables that hold nothing when there is no connection.
CONNECTION_TABLES = (*CT_TABLES, "l2_pair", "next_hop")


class CtRow(NamedTuple):
    """An entry of ct_v4 or ct_v6: its key by field name, and its action's parameters."""

    table: str
    key: Mapping[str, int]
    action: str
    index: int
    generation: int
    direction: int


class Switch:
    """One target's P4Runtime server."""

    def __init__(self, address: str, device_id: int, p4info: Path) -> None:
        self.device_id = device_id
        self.info = text_format.Parse(p4info.read_text(encoding="utf-8"), p4info_pb2.P4Info())
        self._tables = {t.preamble.alias: t for t in self.info.tables}
        self._actions = {a.preamble.id: a for a in self.info.actions}
        options = [("grpc.max_receive_message_length", MAX_MESSAGE), ("grpc.enable_http_proxy", 0)]
        self._channel = grpc.insecure_channel(address, options=options)
        self._stub: Any = p4runtime_pb2_grpc.P4RuntimeStub(self._channel)

    def close(self) -> None:
        self._channel.close()

    def entries(self) -> list[CtRow]:
        """Both connection tables, in one read."""
        return [self._ct_row(entry) for entry in self._read_tables(CT_TABLES)]

    def rows(self, table: str) -> list[dict[str, int]]:
        """A table's rows: keys and action parameters by name."""
        result: list[dict[str, int]] = []
        for entry in self._read_tables([table]):
            _, params = self._action(entry)
            result.append({**self._key(entry), **params})
        return result

    def sizes(self) -> dict[str, int]:
        """Number of rows of each table that connections use."""
        counts = dict.fromkeys(CONNECTION_TABLES, 0)
        names = {self._tables[name].preamble.id: name for name in counts}
        for entry in self._read_tables(counts):
            counts[names[entry.table_id]] += 1
        return counts

    def cells(self, indices: Iterable[int]) -> dict[int, tuple[int, int]]:
        """ct_counter of these connection indices, by cell: (packets, bytes)."""
        (counter,) = [c for c in self.info.counters if c.preamble.alias == "ct_counter"]
        request = p4runtime_pb2.ReadRequest(device_id=self.device_id)
        for index in indices:
            for cell in (2 * index, 2 * index + 1):
                entry = request.entities.add().counter_entry
                entry.counter_id = counter.preamble.id
                entry.index.index = cell
        found: dict[int, tuple[int, int]] = {}
        if request.entities:
            for entity in self._entities(request):
                data = entity.counter_entry.data
                cell = entity.counter_entry.index.index
                found[cell] = (data.packet_count, data.byte_count)
        return found

    def insert_drain(self, table: str, key: Mapping[str, int], election_id: int) -> None:
        """Put an entry of nobody into a connection table; it sends its packets up."""
        drain = next(a for a in self.info.actions if a.preamble.alias == "ct_drain")
        entry = self._entry(table, key)
        entry.action.action.action_id = drain.preamble.id
        for param in drain.params:
            entry.action.action.params.add(param_id=param.id, value=b"\0")
        self._write(p4runtime_pb2.Update.INSERT, entry, election_id)

    def delete(self, table: str, key: Mapping[str, int], election_id: int) -> None:
        """Take an entry away behind the controller's back."""
        self._write(p4runtime_pb2.Update.DELETE, self._entry(table, key), election_id)

    # -- inside ----------------------------------------------------------------------------

    def _entry(self, table: str, key: Mapping[str, int]) -> Any:
        info = self._tables[table]
        entry = p4runtime_pb2.TableEntry(table_id=info.preamble.id)
        for field in info.match_fields:
            value = key[field.name]
            exact = value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")
            entry.match.add(field_id=field.id).exact.value = exact
        return entry

    def _write(self, kind: Any, entry: Any, election_id: int) -> None:
        request = p4runtime_pb2.WriteRequest(device_id=self.device_id)
        request.election_id.low = election_id
        update = request.updates.add(type=kind)
        update.entity.table_entry.CopyFrom(entry)
        self._stub.Write(request, timeout=10)

    def _read_tables(self, tables: Iterable[str]) -> list[Any]:
        request = p4runtime_pb2.ReadRequest(device_id=self.device_id)
        for name in tables:
            request.entities.add().table_entry.table_id = self._tables[name].preamble.id
        return [entity.table_entry for entity in self._entities(request)]

    def _entities(self, request: Any) -> list[Any]:
        answers = self._stub.Read(request, timeout=20)
        return [entity for answer in answers for entity in answer.entities]

    def _key(self, entry: Any) -> dict[str, int]:
        info = next(t for t in self.info.tables if t.preamble.id == entry.table_id)
        names = {field.id: field.name for field in info.match_fields}
        return {names[m.field_id]: int.from_bytes(m.exact.value, "big") for m in entry.match}

    def _action(self, entry: Any) -> tuple[str, dict[str, int]]:
        info = self._actions[entry.action.action.action_id]
        names = {param.id: param.name for param in info.params}
        params = {
            names[p.param_id]: int.from_bytes(p.value, "big") for p in entry.action.action.params
        }
        return info.preamble.alias, params

    def _ct_row(self, entry: Any) -> CtRow:
        table = next(name for name in CT_TABLES if self._tables[name].preamble.id == entry.table_id)
        action, params = self._action(entry)
        return CtRow(
            table,
            self._key(entry),
            action,
            params["conn_index"],
            params["generation"],
            params["direction"],
        )

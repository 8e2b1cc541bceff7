# SPDX-License-Identifier: Apache-2.0
"""What the switch itself holds, read over P4Runtime past the controller.

The verdict that nothing is left in the switch must not come from the program that is on trial.
Reads need no arbitration, so this does not disturb the controller.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import grpc
from google.protobuf import text_format
from p4rt_stubs.p4.config.v1 import p4info_pb2
from p4rt_stubs.p4.v1 import p4runtime_pb2, p4runtime_pb2_grpc

from topo import plan

#: Tables whose entries stand for connections; the others hold ports and next hops.
CONNECTION_TABLES = ("ct_v4", "ct_v6", "l2_pair")
P4INFO = plan.ROOT / "p4src" / "compiled" / "eswitch.p4info.txtpb"


class ReadFailed(Exception):
    """The switch does not answer a read; the text has its own error."""


def table_ids(p4info: Path = P4INFO, tables: Sequence[str] = CONNECTION_TABLES) -> dict[str, int]:
    """Ids of tables by alias."""
    info = text_format.Parse(p4info.read_text(encoding="utf-8"), p4info_pb2.P4Info())
    ids = {table.preamble.alias: table.preamble.id for table in info.tables}
    return {name: ids[name] for name in tables}


def count(
    address: str = plan.GRPC_ADDRESS,
    device_id: int = plan.DEVICE_ID,
    tables: Sequence[str] = CONNECTION_TABLES,
) -> dict[str, int]:
    """Entries in each of `tables` of the switch at `address`."""
    counts = dict.fromkeys(tables, 0)
    for table, _ in rows(address, device_id, tables):
        counts[table] += 1
    return counts


def rows(
    address: str = plan.GRPC_ADDRESS,
    device_id: int = plan.DEVICE_ID,
    tables: Sequence[str] = CONNECTION_TABLES,
) -> dict[tuple[str, bytes], bytes]:
    """What the switch at `address` has in `tables`: (table, key) to all the rest of an entry."""
    ids = table_ids(tables=tables)
    request = p4runtime_pb2.ReadRequest(device_id=device_id)
    for table_id in ids.values():
        request.entities.add().table_entry.table_id = table_id
    names = {table_id: name for name, table_id in ids.items()}
    found: dict[tuple[str, bytes], bytes] = {}
    try:
        with grpc.insecure_channel(address) as channel:
            stub = p4runtime_pb2_grpc.P4RuntimeStub(channel)
            for response in stub.Read(request, timeout=10.0):
                for entity in response.entities:
                    entry = entity.table_entry
                    key = p4runtime_pb2.TableEntry(match=entry.match, priority=entry.priority)
                    name = names[entry.table_id]
                    found[name, key.SerializeToString()] = entry.SerializeToString()
    except grpc.RpcError as error:
        raise ReadFailed(f"cannot read the switch at {address}: {error}") from error
    return found

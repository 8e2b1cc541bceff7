# SPDX-License-Identifier: Apache-2.0
"""Updates that the data plane reads from the bytes have the outcome of the long way, whatever they
are: well formed, damaged, or refused."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from google.protobuf import text_format
from google.protobuf.message import DecodeError
from p4rt_stubs.p4.config.v1 import p4info_pb2 as p4info
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt
from softswitch.api import Entry
from softswitch.dataplane import Dataplane
from softswitch.p4runtime.errors import EntityErrors
from softswitch.p4runtime.pipeline import Pipeline
from softswitch.p4runtime.write import Writer
from softswitch.program import Program

from .messages import Requests
from .packets import PROGRAMS


class Side:
    """A data plane with one program, and the writer of its tables."""

    def __init__(self, path: Path, info: p4info.P4Info) -> None:
        program = Program.load(path.read_bytes())
        self.dataplane = Dataplane(cpu_port=510)
        self.dataplane.set_clock_ns(1_000_000_000)
        self.dataplane.load(program)
        config = p4rt.ForwardingPipelineConfig(p4info=info)
        self.pipeline = Pipeline(config, program)
        self.writer = Writer(self.pipeline, self.dataplane)
        self.done = 0
        bulk = self.dataplane.bulk_write

        def counting(plan: object, request: bytes, at: int, skip: bool) -> tuple[int, int]:
            done, at = bulk(plan, request, at, skip)
            self.done += done
            return done, at

        self.dataplane.bulk_write = counting

    def write(self, data: bytes, *, bulk: bool) -> list[tuple[int, str] | None]:
        """(code, message) of each update, None where it succeeded."""
        request = p4rt.WriteRequest.FromString(data)
        try:
            self.writer.apply(request.updates, data if bulk else b"")
        except EntityErrors as errors:
            return [e and (int(e.code), e.message) for e in errors.outcomes]
        return [None] * len(request.updates)

    def entries(self) -> dict[str, list[Entry]]:
        assert self.dataplane.program is not None
        tables = [t for t in self.dataplane.program.tables.values() if t.keys]
        return {table.name: list(self.dataplane.entries(table.name)) for table in tables}


def load(name: str) -> p4info.P4Info:
    info = p4info.P4Info()
    text_format.Parse(PROGRAMS[name].with_suffix(".p4info.txtpb").read_text("utf-8"), info)
    return info


@pytest.mark.parametrize("name", ["eswitch", "l2", "selector"])
def test_random_requests(name: str) -> None:
    info = load(name)
    short, long = Side(PROGRAMS[name], info), Side(PROGRAMS[name], info)
    requests = Requests(info, b"{}", random.Random(name))
    updates = 0
    for number in range(1500):
        method, data = requests.next()
        if method != "Write":
            continue
        try:
            updates += len(p4rt.WriteRequest.FromString(data).updates)
        except DecodeError:
            continue
        assert short.write(data, bulk=True) == long.write(data, bulk=False), number
    assert short.entries() == long.entries()
    assert long.done == 0
    if name != "selector":  # its table has an action profile
        assert short.done > updates / 50
    for side in (short, long):
        side.dataplane.stop()


def update(info: p4info.P4Info, **changes: bytes) -> p4rt.Update:
    """One that sets all fields that the short way knows, of the eswitch's ct_v6."""
    table = next(t for t in info.tables if t.preamble.alias == "ct_v6")
    action = next(a for a in info.actions if a.preamble.alias == "ct_nat_v6")
    made = p4rt.Update(type=p4rt.Update.INSERT)
    entry = made.entity.table_entry
    entry.table_id = table.preamble.id
    for field in table.match_fields:
        value = bytes([0, 0, *range(1, 1 + field.bitwidth // 8)])
        entry.match.add(field_id=field.id).exact.value = changes.get(field.name, value)
    entry.action.action.action_id = action.preamble.id
    for param in reversed(action.params):
        value = changes.get(param.name, ((1 << param.bitwidth) - 1).to_bytes(16, "big"))
        entry.action.action.params.add(param_id=param.id, value=value)
    entry.metadata = bytes(300)
    entry.idle_timeout_ns = 2**63 - 1
    return made


def test_every_field_and_modify_and_delete() -> None:
    info = load("eswitch")
    short, long = Side(PROGRAMS["eswitch"], info), Side(PROGRAMS["eswitch"], info)
    modified = update(info, dport=b"\x05")
    modified.type = p4rt.Update.MODIFY
    modified.entity.table_entry.metadata = b"x"
    removed = update(info)
    removed.type = p4rt.Update.DELETE
    removed.entity.table_entry.ClearField("action")
    updates = [update(info), update(info, dport=b"\x05"), modified, removed]
    for part in (updates[:2], updates[2:3], updates[3:]):
        data = p4rt.WriteRequest(updates=part).SerializeToString()
        assert short.write(data, bulk=True) == long.write(data, bulk=False) == [None] * len(part)
        assert short.entries() == long.entries()
    assert short.done == 4
    assert len(short.entries()["ct_v6"]) == 1
    for side in (short, long):
        side.dataplane.stop()


def test_a_failure_in_the_middle_stops_nothing() -> None:
    info = load("eswitch")
    side = Side(PROGRAMS["eswitch"], info)
    bad = update(info, proto=b"\x01\x01")
    rows = [update(info, dport=bytes([n])) for n in range(3)]
    data = p4rt.WriteRequest(updates=[rows[0], bad, rows[0], rows[1], bad, rows[2]])
    outcomes = side.write(data.SerializeToString(), bulk=True)
    assert [outcome and outcome[0] for outcome in outcomes] == [None, 3, 6, None, 3, None]
    assert side.done == 3
    side.dataplane.stop()


def test_a_program_that_was_replaced_takes_nothing() -> None:
    info = load("eswitch")
    side = Side(PROGRAMS["eswitch"], info)
    plan = side.pipeline.bulk_plan(side.dataplane)
    side.dataplane.load(Program.load(PROGRAMS["eswitch"].read_bytes()))
    data = p4rt.WriteRequest(updates=[update(info)]).SerializeToString()
    assert plan is not None
    assert side.dataplane.bulk_write(plan, data, 0, False) == (0, 0)
    side.dataplane.stop()

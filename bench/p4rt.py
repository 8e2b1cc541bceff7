# SPDX-License-Identifier: Apache-2.0
"""A P4Runtime client as plain as can be: requests are built in advance, so that what is measured is
the target."""

from __future__ import annotations

import ipaddress
import queue
from collections.abc import Iterable, Sequence
from pathlib import Path

import grpc
from google.protobuf import text_format
from p4ct.eswitch.codec import Codec
from p4ct.eswitch.entries import (
    CtEntry,
    CtForward,
    CtKey,
    Insert,
    L2PairEntry,
    NextHopEntry,
    VportEntry,
)
from p4ct.p4runtime.p4info import P4InfoIndex
from p4rt_stubs.p4.config.v1 import p4info_pb2
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt
from p4rt_stubs.p4.v1 import p4runtime_pb2_grpc

from bench.links import DPORT, FIRST_TARGET, SINK_MAC, SOURCE_IP, SOURCE_MAC, SPORT
from bench.measure import ROOT, BenchFailed

TIMEOUT_S = 120
BATCH = 500
IN_PORT, OUT_PORT = 1, 2
Rows = list[p4rt.Update]


def mac(text: str) -> bytes:
    """A MAC address as 6 bytes."""
    return bytes.fromhex(text.replace(":", ""))


class Program:
    """One compiled program, and the rows that forward the generator's flows."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.json_path = ROOT / PATHS[name] / f"{name}.json"
        self.p4info = p4info_pb2.P4Info()
        path = ROOT / PATHS[name] / f"{name}.p4info.txtpb"
        text_format.Parse(path.read_text(encoding="utf-8"), self.p4info)

    def setting(self) -> Rows:
        """Rows that are needed once."""
        if self.name == "one_table":
            return []
        codec = Codec(P4InfoIndex(self.p4info))
        rows = (
            VportEntry(IN_PORT, None, IN_PORT),
            L2PairEntry(IN_PORT, mac(SOURCE_MAC), mac(SINK_MAC), 1),
            NextHopEntry(1, port=OUT_PORT),
        )
        return [codec.update(Insert(row)) for row in rows]

    def flows(self, first: int, end: int) -> Rows:
        """One entry for each of the flows [first, end)."""
        if self.name == "one_table":
            return [self._host(number) for number in range(first, end)]
        codec = Codec(P4InfoIndex(self.p4info))
        source = SOURCE_IP.to_bytes(4, "big")
        rows: Rows = []
        for i in range(first, end):
            key = CtKey(4, 1, source, (FIRST_TARGET + i).to_bytes(4, "big"), 17, SPORT, DPORT)
            action = CtForward(i % 65536, 1, 0, 1, 1)
            rows.append(codec.update(Insert(CtEntry(key, action))))
        return rows

    def _host(self, number: int) -> p4rt.Update:
        return self._route((FIRST_TARGET + number).to_bytes(4, "big"), OUT_PORT)

    def host(self, address: str, port: int) -> p4rt.Update:
        """The row of one_table.p4 that sends an IPv4 address to a port."""
        return self._route(ipaddress.ip_address(address).packed, port)

    def _route(self, address: bytes, port: int) -> p4rt.Update:
        table = self.p4info.tables[0]
        update = p4rt.Update(type=p4rt.Update.INSERT)
        entry = update.entity.table_entry
        entry.table_id = table.preamble.id
        match = entry.match.add(field_id=1)
        match.exact.value = address
        forward = next(a for a in self.p4info.actions if a.preamble.alias == "forward")
        entry.action.action.action_id = forward.preamble.id
        entry.action.action.params.add(param_id=1, value=bytes([port]))
        return update


PATHS: dict[str, Path] = {
    "eswitch": Path("p4src/compiled"),
    "one_table": Path("bench/p4/compiled"),
}


class Client:
    """The primary controller of one target."""

    def __init__(self, address: str) -> None:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
        self._channel = grpc.insecure_channel(address, options=options)
        self._stub = p4runtime_pb2_grpc.P4RuntimeStub(self._channel)
        self._requests: queue.SimpleQueue[p4rt.StreamMessageRequest | None] = queue.SimpleQueue()
        self._write = self._channel.unary_unary("/p4.v1.P4Runtime/Write")

    def __enter__(self) -> Client:
        # Kept: a stream that nobody holds is cancelled.
        self._stream = self._stub.StreamChannel(iter(self._requests.get, None))
        request = p4rt.StreamMessageRequest()
        request.arbitration.device_id = 0
        request.arbitration.election_id.low = 1
        self._requests.put(request)
        try:
            answer = next(iter(self._stream))
        except (grpc.RpcError, StopIteration) as error:
            raise BenchFailed(f"arbitration: {error}") from None
        if answer.arbitration.status.code != 0:
            raise BenchFailed(f"not primary: {answer}")
        return self

    def __exit__(self, *_: object) -> None:
        self._requests.put(None)
        self._channel.close()

    def push(self, program: Program) -> None:
        """Verify and commit a program."""
        request = p4rt.SetForwardingPipelineConfigRequest(device_id=0)
        request.election_id.low = 1
        request.action = p4rt.SetForwardingPipelineConfigRequest.VERIFY_AND_COMMIT
        request.config.p4info.CopyFrom(program.p4info)
        request.config.p4_device_config = program.json_path.read_bytes()
        try:
            self._stub.SetForwardingPipelineConfig(request, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            raise BenchFailed(f"push of {program.name}: {error}") from None

    def write(self, requests: Iterable[bytes]) -> None:
        """Serialized write requests, one after the other."""
        try:
            for request in requests:
                self._write(request, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            raise BenchFailed(f"write: {error}") from None


def requests(rows: Sequence[p4rt.Update], batch: int = BATCH) -> list[bytes]:
    """The rows as serialized write requests."""
    out: list[bytes] = []
    for first in range(0, len(rows), batch):
        request = p4rt.WriteRequest(device_id=0, updates=rows[first : first + batch])
        request.election_id.low = 1
        out.append(request.SerializeToString())
    return out

# SPDX-License-Identifier: Apache-2.0
"""A P4Runtime server inside the test's event loop: enough of a target for wire behaviour.

It keeps table entries, counters and meters as they were written, answers a mixed batch with one
p4.v1.Error for each update, and can be told to refuse, to hang or to die.
"""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import code_pb2, status_pb2
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt
from p4rt_stubs.p4.v1 import p4runtime_pb2_grpc

T = TypeVar("T")
UpdateCheck = Callable[[p4rt.Update], tuple[int, str] | None]


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a test's coroutine; fails if a task is left or if an exception was never retrieved."""
    problems: list[dict[str, Any]] = []

    async def main() -> T:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: _ours(context) and problems.append(context))
        result = await coroutine
        own = [t.get_name() for t in asyncio.all_tasks() if t.get_name().startswith("p4runtime")]
        assert not own, f"tasks left: {own}"
        return result

    try:
        return asyncio.run(main())
    finally:
        gc.collect()
        assert not problems, problems


def _ours(context: dict[str, Any]) -> bool:
    """gRPC has one queue of events for all loops of a process; whoever reads it also gets the late
    ones of an earlier test, whose loop is closed. This test's own loop is open while it reads.
    """
    late = isinstance(context.get("exception"), RuntimeError) and "PollerCompletionQueue" in str(
        context["message"]
    )
    return not (late and str(context["exception"]) == "Event loop is closed")


class FakeTarget(p4runtime_pb2_grpc.P4RuntimeServicer):
    def __init__(self) -> None:
        self.config: p4rt.ForwardingPipelineConfig | None = None
        self.pushes = 0
        self.requests: list[p4rt.WriteRequest] = []
        self.reads: list[p4rt.ReadRequest] = []
        self.packet_outs: asyncio.Queue[p4rt.PacketOut] = asyncio.Queue()
        self.streams: dict[asyncio.Queue[p4rt.StreamMessageResponse | None], int] = {}
        self.rows: dict[bytes, p4rt.TableEntry] = {}
        self.cells: dict[tuple[int, int], p4rt.CounterData] = {}
        self.meters: dict[tuple[int, int], p4rt.MeterEntry] = {}
        # What a test may set.
        self.check: UpdateCheck = lambda update: None
        self.before_write: Callable[[], Awaitable[None]] | None = None
        self.reject_pipeline: str | None = None
        self.answers_arbitration = True
        self.server: grpc.aio.Server | None = None

    async def start(self, port: int = 0) -> str:
        self.server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        p4runtime_pb2_grpc.add_P4RuntimeServicer_to_server(self, self.server)
        port = self.server.add_insecure_port(f"127.0.0.1:{port}")
        await self.server.start()
        return f"127.0.0.1:{port}"

    async def stop(self) -> None:
        if self.server is not None:
            server, self.server = self.server, None
            await server.stop(None)

    def to_primary(self, message: p4rt.StreamMessageResponse) -> None:
        max(self.streams, key=lambda queue: self.streams[queue]).put_nowait(message)

    def end_streams(self) -> None:
        for queue in self.streams:
            queue.put_nowait(None)

    # Services

    async def Capabilities(self, request: Any, context: Any) -> p4rt.CapabilitiesResponse:
        return p4rt.CapabilitiesResponse(p4runtime_api_version="1.5.0")

    async def StreamChannel(
        self, requests: AsyncIterator[p4rt.StreamMessageRequest], context: Any
    ) -> AsyncIterator[p4rt.StreamMessageResponse]:
        queue: asyncio.Queue[p4rt.StreamMessageResponse | None] = asyncio.Queue()
        reader = asyncio.create_task(self._receive(requests, queue))
        try:
            while (message := await queue.get()) is not None:
                if message.HasField("error"):
                    code = grpc.StatusCode.INVALID_ARGUMENT
                    await context.abort(code, message.error.message)
                yield message
        finally:
            reader.cancel()
            self.streams.pop(queue, None)
            self._announce()

    async def _receive(
        self,
        requests: AsyncIterator[p4rt.StreamMessageRequest],
        queue: asyncio.Queue[p4rt.StreamMessageResponse | None],
    ) -> None:
        async for request in requests:
            if request.HasField("packet"):
                self.packet_outs.put_nowait(request.packet)
            elif request.HasField("arbitration") and self.answers_arbitration:
                election_id = request.arbitration.election_id
                number = election_id.high << 64 | election_id.low
                if number in self.streams.values():
                    refusal = p4rt.StreamMessageResponse()
                    refusal.error.message = "Election id already exists"
                    queue.put_nowait(refusal)
                else:
                    self.streams[queue] = number
                    self._announce()

    def _announce(self) -> None:
        highest = max(self.streams.values(), default=0)
        for queue, number in self.streams.items():
            answer = p4rt.StreamMessageResponse()
            answer.arbitration.election_id.high = highest >> 64
            answer.arbitration.election_id.low = highest & (1 << 64) - 1
            answer.arbitration.status.code = (
                code_pb2.OK if number == highest else code_pb2.ALREADY_EXISTS
            )
            queue.put_nowait(answer)

    async def GetForwardingPipelineConfig(
        self, request: Any, context: Any
    ) -> p4rt.GetForwardingPipelineConfigResponse:
        if self.config is None:
            await context.abort(
                grpc.StatusCode.FAILED_PRECONDITION, "No forwarding pipeline config set"
            )
        response = p4rt.GetForwardingPipelineConfigResponse()
        response.config.CopyFrom(self.config)
        return response

    async def SetForwardingPipelineConfig(
        self, request: p4rt.SetForwardingPipelineConfigRequest, context: Any
    ) -> p4rt.SetForwardingPipelineConfigResponse:
        if self.reject_pipeline is not None:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, self.reject_pipeline)
        self.config = request.config
        self.pushes += 1
        return p4rt.SetForwardingPipelineConfigResponse()

    async def Write(self, request: p4rt.WriteRequest, context: Any) -> p4rt.WriteResponse:
        self.requests.append(request)
        if self.before_write is not None:
            await self.before_write()
        if request.election_id.low != max(self.streams.values(), default=0):
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "Not primary")
        answers = [self.check(update) or self._carry_out(update) for update in request.updates]
        if any(code for code, _ in answers):
            status = status_pb2.Status(code=code_pb2.UNKNOWN)
            for code, message in answers:
                detail = AnyMessage()
                detail.Pack(
                    p4rt.Error(canonical_code=code, message=message, space="ALL-sswitch-p4org")
                )
                status.details.append(detail)
            details = (("grpc-status-details-bin", status.SerializeToString()),)
            await context.abort(grpc.StatusCode.UNKNOWN, "", trailing_metadata=details)
        return p4rt.WriteResponse()

    def _carry_out(self, update: p4rt.Update) -> tuple[int, str]:
        entity = update.entity
        if entity.HasField("counter_entry"):
            counter = entity.counter_entry
            self.cells[counter.counter_id, counter.index.index] = counter.data
        elif entity.HasField("meter_entry"):
            meter = entity.meter_entry
            self.meters[meter.meter_id, meter.index.index] = meter
        else:
            key = _key(entity.table_entry)
            there = key in self.rows
            if update.type == p4rt.Update.INSERT and there:
                return code_pb2.ALREADY_EXISTS, "Match entry exists"
            if update.type != p4rt.Update.INSERT and not there:
                return code_pb2.NOT_FOUND, "Cannot find match entry"
            if update.type == p4rt.Update.DELETE:
                del self.rows[key]
            else:
                self.rows[key] = entity.table_entry
        return 0, ""

    async def Read(
        self, request: p4rt.ReadRequest, context: Any
    ) -> AsyncIterator[p4rt.ReadResponse]:
        self.reads.append(request)
        response = p4rt.ReadResponse()
        for entity in request.entities:
            if entity.HasField("counter_entry"):
                wanted = entity.counter_entry
                index = wanted.index.index if wanted.HasField("index") else None
                for (counter_id, cell), data in self.cells.items():
                    if counter_id == wanted.counter_id and index in (None, cell):
                        found = response.entities.add().counter_entry
                        found.counter_id, found.index.index = counter_id, cell
                        found.index.SetInParent()
                        found.data.CopyFrom(data)
            else:
                self._read_rows(entity.table_entry, response)
        yield response

    def _read_rows(self, wanted: p4rt.TableEntry, response: p4rt.ReadResponse) -> None:
        for key, row in self.rows.items():
            if row.table_id == wanted.table_id and (not wanted.match or key == _key(wanted)):
                found = response.entities.add().table_entry
                found.CopyFrom(row)
                if not wanted.HasField("counter_data"):
                    found.ClearField("counter_data")


def _key(entry: p4rt.TableEntry) -> bytes:
    key = p4rt.TableEntry(table_id=entry.table_id, priority=entry.priority)
    key.match.extend(sorted(entry.match, key=lambda match: match.field_id))
    return key.SerializeToString(deterministic=True)


@asynccontextmanager
async def fake_target() -> AsyncIterator[tuple[FakeTarget, str]]:
    target = FakeTarget()
    address = await target.start()
    try:
        yield target, address
    finally:
        await target.stop()

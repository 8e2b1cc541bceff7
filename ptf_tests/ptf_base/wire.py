# SPDX-License-Identifier: Apache-2.0
"""The wire: one P4Runtime session as primary controller. It starts nothing but its own stream."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4
from p4rt_stubs.p4.v1 import p4runtime_pb2_grpc

from ptf_base.errors import RpcFailed, WriteFailed
from ptf_base.p4info import P4Names, Value, decode, find_field

# A JSON of a big program and a read of a full table are longer than gRPC's 4 MiB.
MAX_MESSAGE = 64 << 20
# Above 1, so that a case can bring a backup controller.
ELECTION_ID = 100


class WireError(Exception):
    """The session cannot go on: no answer, not primary, or the stream has ended."""


@dataclass(frozen=True)
class PacketIn:
    """A packet-in: the frame, and its header by P4Info names; enums by the member's name."""

    frame: bytes
    fields: Mapping[str, int | str] = field(hash=False)


class Wire:
    """Arbitration, pipeline, writes, reads and packets of one controller.

    `address` is gRPC's, `device_id` the target's, `timeout` in seconds for each RPC.
    """

    def __init__(
        self,
        address: str,
        names: P4Names,
        *,
        device_id: int = 0,
        election_id: int = ELECTION_ID,
        timeout: float = 20.0,
    ) -> None:
        self.address = address
        self.names = names
        self.device_id = device_id
        self.election_id = election_id
        self.timeout = timeout
        self._channel: grpc.Channel | None = None
        self._stub: Any = None
        self._requests: queue.SimpleQueue[p4.StreamMessageRequest | None] = queue.SimpleQueue()
        self._arbitrations: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._packets: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._ended = ""

    def open(self) -> p4.MasterArbitrationUpdate:
        """Open the stream; returns the answer to the arbitration, whatever its status is."""
        options = [
            ("grpc.max_receive_message_length", MAX_MESSAGE),
            ("grpc.max_send_message_length", MAX_MESSAGE),
            ("grpc.enable_http_proxy", 0),
        ]
        self._channel = grpc.insecure_channel(self.address, options=options)
        self._stub = p4runtime_pb2_grpc.P4RuntimeStub(self._channel)
        responses = self._stub.StreamChannel(iter(self._requests.get, None))
        threading.Thread(target=self._read_stream, args=(responses,), daemon=True).start()
        request = p4.StreamMessageRequest()
        request.arbitration.device_id = self.device_id
        request.arbitration.election_id.low = self.election_id
        self._requests.put(request)
        return self._take(self._arbitrations, self.timeout, "answer to the arbitration")

    def close(self) -> None:
        """Leave: the stream ends and the channel closes. Idempotent."""
        self._requests.put(None)
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def push_pipeline(self, device_config: bytes) -> None:
        """VERIFY_AND_COMMIT the program; every table, counter and meter starts anew."""
        request = p4.SetForwardingPipelineConfigRequest(
            device_id=self.device_id,
            election_id=p4.Uint128(low=self.election_id),
            action=p4.SetForwardingPipelineConfigRequest.VERIFY_AND_COMMIT,
        )
        request.config.p4info.CopyFrom(self.names.info)
        request.config.p4_device_config = device_config
        try:
            # The target may compile the program here.
            self._stub.SetForwardingPipelineConfig(request, timeout=3 * self.timeout)
        except grpc.RpcError as error:
            raise RpcFailed("SetForwardingPipelineConfig", error) from None

    def write(self, updates: Sequence[p4.Update]) -> None:
        """One batch. WriteFailed carries the status of each update."""
        request = p4.WriteRequest(
            device_id=self.device_id, election_id=p4.Uint128(low=self.election_id)
        )
        request.updates.extend(updates)
        try:
            self._stub.Write(request, timeout=self.timeout)
        except grpc.RpcError as error:
            raise WriteFailed([self.describe(u) for u in updates], error) from None

    def read(self, *entities: p4.Entity) -> list[p4.Entity]:
        """One read of all `entities`, which may have wildcards."""
        request = p4.ReadRequest(device_id=self.device_id)
        request.entities.extend(entities)
        try:
            responses = self._stub.Read(request, timeout=self.timeout)
            return [entity for response in responses for entity in response.entities]
        except grpc.RpcError as error:
            raise RpcFailed("Read", error) from None

    def packet_out(self, frame: bytes, fields: Mapping[str, Value]) -> None:
        """Send a packet-out; header fields that are not named are 0."""
        header = self.names.header("packet_out")
        for name in fields:
            find_field("packet_out field", header, name)
        request = p4.StreamMessageRequest()
        request.packet.payload = frame
        for info in header.values():
            value = self.names.encode(info, fields.get(info.name, 0))
            request.packet.metadata.add(metadata_id=info.id, value=value)
        self._requests.put(request)

    def next_packet_in(self, timeout: float) -> PacketIn | None:
        """The next packet-in, in order of arrival; None after `timeout` seconds."""
        try:
            message = (
                self._packets.get(timeout=timeout) if timeout > 0 else self._packets.get(False)
            )
        except queue.Empty:
            if self._ended:
                raise WireError(f"{self.address}: the stream ended: {self._ended}") from None
            return None
        by_id = {f.id: f for f in self.names.header("packet_in").values()}
        fields: dict[str, int | str] = {}
        for item in message.metadata:
            info = by_id[item.metadata_id]
            number = decode(item.value)
            fields[info.name] = self.names.enum_member(info.enum, number) if info.enum else number
        return PacketIn(message.payload, fields)

    def next_idle_entries(self, timeout: float, *, or_none: bool = False) -> list[p4.TableEntry]:
        """The entries of the next idle timeout notification.

        After `timeout` seconds without one: WireError, or no entry if `or_none`.
        """
        if or_none:
            try:
                message = self._idle.get(timeout=timeout)
            except queue.Empty:
                return []
            self._idle.put(message)
        return list(self._take(self._idle, timeout, "idle timeout notification").table_entry)

    def forget_idle_entries(self) -> None:
        """Drop the notifications that have come so far."""
        while not self._idle.empty():
            self._idle.get()

    def describe(self, update: p4.Update) -> str:
        """An update in one line, by names."""
        kind = p4.Update.Type.Name(update.type)
        entity = update.entity
        if entity.WhichOneof("entity") != "table_entry":
            return f"{kind} {entity.WhichOneof('entity')}"
        entry = entity.table_entry
        return f"{kind} {self.names.table_name(entry.table_id)} {self.describe_match(entry)}"

    def describe_match(self, entry: p4.TableEntry) -> str:
        """The match of an entry by names, as far as the program knows them."""
        known = {t.preamble.id: t for t in self.names.info.tables}.get(entry.table_id)
        fields = {f.id: f.name for f in known.match_fields} if known else {}
        parts: list[str] = []
        for match in entry.match:
            value = match.exact.value.hex()
            if match.HasField("ternary"):
                value = f"{match.ternary.value.hex()}/{match.ternary.mask.hex()}"
            parts.append(f"{fields.get(match.field_id, match.field_id)}={value}")
        return "{" + " ".join(parts) + "}"

    def _read_stream(self, responses: Iterator[p4.StreamMessageResponse]) -> None:
        try:
            for response in responses:
                kind = response.WhichOneof("update")
                if kind == "packet":
                    self._packets.put(response.packet)
                elif kind == "arbitration":
                    self._arbitrations.put(response.arbitration)
                elif kind == "idle_timeout_notification":
                    self._idle.put(response.idle_timeout_notification)
            self._ended = "closed by the target"
        except grpc.RpcError as error:
            self._ended = f"{error.code().name} {error.details()}"  # type: ignore[attr-defined]
        # Wakes whoever waits; None is no message.
        self._arbitrations.put(None)
        self._idle.put(None)

    def _take(self, source: queue.SimpleQueue[Any], timeout: float, what: str) -> Any:
        try:
            message = source.get(timeout=timeout)
        except queue.Empty:
            raise WireError(f"{self.address}: no {what} within {timeout:g} s") from None
        if message is None:
            raise WireError(f"{self.address}: no {what}, the stream ended: {self._ended}")
        return message

# SPDX-License-Identifier: Apache-2.0
"""A P4Runtime client for tests: every answer is waited for, nothing sleeps."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable

import grpc
from google.rpc import status_pb2
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt
from p4rt_stubs.p4.v1 import p4runtime_pb2_grpc

DEVICE = 3
TIMEOUT_S = 20.0
Uint = p4rt.Uint128


class Stream:
    """One StreamChannel; `recv` gives the next response, `status` how the stream ended."""

    def __init__(self, stub: p4runtime_pb2_grpc.P4RuntimeStub) -> None:
        self._requests: queue.SimpleQueue[p4rt.StreamMessageRequest | None] = queue.SimpleQueue()
        self._call = stub.StreamChannel(iter(self._requests.get, None))
        self._responses: queue.SimpleQueue[p4rt.StreamMessageResponse | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for response in self._call:
                self._responses.put(response)
        except grpc.RpcError:
            pass
        self._responses.put(None)

    def send(self, **fields: object) -> None:
        self._requests.put(p4rt.StreamMessageRequest(**fields))

    def recv(self) -> p4rt.StreamMessageResponse:
        response = self._responses.get(timeout=TIMEOUT_S)
        assert response is not None, self._call.details()
        return response

    def arbitrate(
        self, election_id: int | None, device_id: int = DEVICE, role: str = "", **more: object
    ) -> None:
        update = p4rt.MasterArbitrationUpdate(device_id=device_id, **more)
        if role:
            update.role.name = role
        if election_id is not None:
            update.election_id.CopyFrom(Uint(high=election_id >> 64, low=election_id & 2**64 - 1))
        self.send(arbitration=update)

    def arbitration(self) -> tuple[int, int]:
        """(status code, election id) of the next response, which must be an arbitration update."""
        response = self.recv()
        assert response.WhichOneof("update") == "arbitration", response
        update = response.arbitration
        assert update.device_id == DEVICE
        return update.status.code, update.election_id.high << 64 | update.election_id.low

    def become_primary(self, election_id: int = 1, role: str = "") -> Stream:
        self.arbitrate(election_id, role=role)
        assert self.arbitration() == (0, election_id)
        return self

    def half_close(self) -> None:
        self._requests.put(None)

    def close(self) -> None:
        self._requests.put(None)
        self._call.cancel()

    def status(self) -> tuple[grpc.StatusCode, str]:
        while self._responses.get(timeout=TIMEOUT_S) is not None:
            pass
        return self._call.code(), self._call.details()


class TestClient:
    """The stub, and short forms of the requests that tests send."""

    __test__ = False

    def __init__(self, port: int) -> None:
        self.channel = grpc.insecure_channel(
            f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)]
        )
        self.stub = p4runtime_pb2_grpc.P4RuntimeStub(self.channel)
        self.streams: list[Stream] = []

    def stream(self) -> Stream:
        stream = Stream(self.stub)
        self.streams.append(stream)
        return stream

    def close(self) -> None:
        for stream in self.streams:
            stream.close()
        self.channel.close()

    def push(self, config: p4rt.ForwardingPipelineConfig | None, **fields: object) -> None:
        request = p4rt.SetForwardingPipelineConfigRequest(
            **{
                "device_id": DEVICE,
                "action": p4rt.SetForwardingPipelineConfigRequest.VERIFY_AND_COMMIT,
                "config": config,
                **fields,
            }
        )
        self.stub.SetForwardingPipelineConfig(request, timeout=TIMEOUT_S)

    def write(self, *updates: p4rt.Update, **fields: object) -> None:
        request = p4rt.WriteRequest(**{"device_id": DEVICE, "updates": updates, **fields})
        self.stub.Write(request, timeout=TIMEOUT_S)

    def insert(self, **entry: object) -> None:
        self.write(update("INSERT", table_entry=p4rt.TableEntry(**entry)))

    def modify(self, **entry: object) -> None:
        self.write(update("MODIFY", table_entry=p4rt.TableEntry(**entry)))

    def delete(self, **entry: object) -> None:
        self.write(update("DELETE", table_entry=p4rt.TableEntry(**entry)))

    def responses(self, *entities: p4rt.Entity, device_id: int = DEVICE) -> list[p4rt.ReadResponse]:
        request = p4rt.ReadRequest(device_id=device_id, entities=entities)
        return list(self.stub.Read(request, timeout=TIMEOUT_S))

    def read(self, **entity: object) -> list[p4rt.Entity]:
        """Entities that match a single request entity."""
        answers = self.responses(p4rt.Entity(**entity))
        return [entity for response in answers for entity in response.entities]

    def table(self, **entry: object) -> list[p4rt.TableEntry]:
        return [e.table_entry for e in self.read(table_entry=p4rt.TableEntry(**entry))]


def update(kind: str, **entity: object) -> p4rt.Update:
    return p4rt.Update(type=p4rt.Update.Type.Value(kind), entity=p4rt.Entity(**entity))


def action(action_id: int, *params: tuple[int, bytes]) -> p4rt.TableAction:
    message = p4rt.TableAction()
    message.action.action_id = action_id
    for param_id, value in params:
        message.action.params.add(param_id=param_id, value=value)
    return message


def match(field_id: int, **kind: object) -> p4rt.FieldMatch:
    """match(1, exact=b"x"), match(2, ternary=(value, mask)), lpm=(value, len), range=(low, high)"""
    field = p4rt.FieldMatch(field_id=field_id)
    (name, value), *_ = kind.items()
    if name in ("exact", "optional"):
        getattr(field, name).value = value
        return field
    first, second = {
        "ternary": ("value", "mask"),
        "lpm": ("value", "prefix_len"),
        "range": ("low", "high"),
    }[name]
    setattr(getattr(field, name), first, value[0])
    setattr(getattr(field, name), second, value[1])
    return field


def batch_errors(error: grpc.RpcError) -> list[p4rt.Error]:
    """The p4.v1.Error of each update of a failed batch."""
    assert error.code() == grpc.StatusCode.UNKNOWN, error
    details = dict(error.trailing_metadata())["grpc-status-details-bin"]
    status = status_pb2.Status.FromString(details)
    assert status.code == 2
    errors = []
    for packed in status.details:
        item = p4rt.Error()
        assert packed.Unpack(item)
        errors.append(item)
    return errors


def codes(error: grpc.RpcError) -> list[int]:
    return [item.canonical_code for item in batch_errors(error)]


def first(items: Iterable[p4rt.TableEntry]) -> p4rt.TableEntry:
    (item,) = items
    return item

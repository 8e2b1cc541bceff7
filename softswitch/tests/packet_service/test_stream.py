# SPDX-License-Identifier: Apache-2.0
"""Frames through the packet service: every port number, every size, in order, none lost."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import grpc
import pytest
from softswitch.api import Entry, WeightedAction
from softswitch.dataplane import Dataplane
from softswitch.packet_service.messages import (
    PacketStreamRequest,
    PacketStreamResponse,
    SetPortOperStatusRequest,
)
from softswitch.packet_service.server import PacketServer
from softswitch.program import Program

PROGRAM = Path(__file__).parents[1] / "programs" / "compiled" / "l2.json"
DEVICE, CPU, TIMEOUT_S = 7, 510, 20
DST = 0x020000000001
HEAD = DST.to_bytes(6, "big") + bytes(6) + b"\x08\x00"
STREAM, STATUS = (f"/p4.bm.DataplaneInterface/{m}" for m in ("PacketStream", "SetPortOperStatus"))


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    folder.chmod(0o700)
    return folder


@pytest.fixture
def plane(cache_dir: Path) -> Iterator[Dataplane]:
    plane = Dataplane(cpu_port=CPU, cache_dir=cache_dir)
    plane.load(Program.load(PROGRAM.read_bytes(), cache_dir=cache_dir))
    plane.insert("L2Ingress.l2", entry("forward", 2))
    yield plane
    plane.stop()


@pytest.fixture
def channel(plane: Dataplane) -> Iterator[grpc.Channel]:
    server = PacketServer(plane, DEVICE, "127.0.0.1:0")
    server.start()
    options = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(f"127.0.0.1:{server.port}", options=options) as channel:
        yield channel
    server.stop()


def entry(action: str, *params: int) -> Entry:
    return Entry(((DST, 2**48 - 1),), f"L2Ingress.{action}", params)


def request(frame: bytes, port: int = 1, cause: int = 0, device: int = DEVICE) -> bytes:
    message = PacketStreamRequest()
    message.id, message.device_id, message.port, message.packet = cause, device, port, frame
    return message.SerializeToString()


def open_stream(channel: grpc.Channel, requests: Iterable[bytes]) -> grpc.Call:
    call = channel.stream_stream(STREAM, None, PacketStreamResponse.FromString)
    return call(iter(requests), timeout=TIMEOUT_S)


def exchange(channel: grpc.Channel, *requests: bytes) -> list[tuple[int, int, bytes]]:
    """(port, id, frame) of everything that comes back until the server ends the stream."""
    responses = list(open_stream(channel, requests))
    assert all(response.device_id == DEVICE for response in responses)
    return [(response.port, response.id, response.packet) for response in responses]


def test_wire_format(channel: grpc.Channel) -> None:
    frame = HEAD + b"x"
    asked = b"\x08\x05\x10\x07\x18\x01\x22\x0f" + frame
    assert asked == request(frame, cause=5)
    call = channel.stream_stream(STREAM, None, None)(iter([asked]), timeout=TIMEOUT_S)
    assert list(call) == [b"\x08\x05\x10\x07\x18\x02\x22\x0f" + frame]


def test_everything_outstanding_comes_after_half_close(channel: grpc.Channel) -> None:
    frames = [HEAD + bytes([i % 256]) * (i % 300) for i in range(3000)]
    answers = exchange(channel, *(request(f, cause=i) for i, f in enumerate(frames)))
    assert answers == [(2, i, f) for i, f in enumerate(frames)]


def test_more_than_the_queue_holds_is_not_lost(channel: grpc.Channel) -> None:
    frame = HEAD + bytes(60_000)
    answers = exchange(channel, *[request(frame)] * 600)  # 36 MB; the queue has 8
    assert answers == [(2, 0, frame)] * 600


@pytest.mark.parametrize("size", [14, 15, 60, 9000, 65535])
def test_frames_of_any_size(channel: grpc.Channel, size: int) -> None:
    frame = (HEAD + bytes(size))[:size]
    assert exchange(channel, request(frame)) == [(2, 0, frame)]


def test_frames_shorter_than_ethernet(plane: Dataplane, channel: grpc.Channel) -> None:
    plane.set_default("L2Ingress.l2", "L2Ingress.forward", (3,))
    assert exchange(channel, request(b"a"), request(b"abc")) == [(3, 0, b"a"), (3, 0, b"abc")]


def test_a_frame_that_is_too_long_is_dropped_alone(channel: grpc.Channel) -> None:
    assert exchange(channel, request(bytes(65536)), request(HEAD)) == [(2, 0, HEAD)]


def test_id_is_echoed_on_all_that_a_frame_caused(plane: Dataplane, channel: grpc.Channel) -> None:
    plane.modify("L2Ingress.l2", entry("flood", 9))
    plane.mc_group_set(9, [(4, 0), (300, 0)])
    large = 2**64 - 1
    answers = exchange(channel, request(HEAD, cause=large), request(HEAD))
    assert answers == [(4, large, HEAD), (300, large, HEAD), (4, 0, HEAD), (300, 0, HEAD)]


def test_other_devices_and_empty_frames_are_ignored(channel: grpc.Channel) -> None:
    answers = exchange(channel, request(HEAD, device=8), request(b""), request(HEAD))
    assert answers == [(2, 0, HEAD)]


class Held:
    """A stream that stays open until `close`."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.call = open_stream(channel, iter(self.requests.get, None))
        self.answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()
        self.requests.put(request(HEAD))
        assert self.answers.get(timeout=TIMEOUT_S) == HEAD

    def _read(self) -> None:
        try:
            for response in self.call:
                self.answers.put(response.packet)
        except grpc.RpcError:
            pass

    def close(self) -> None:
        self.requests.put(None)
        self.thread.join(TIMEOUT_S)


def test_second_client_is_refused(channel: grpc.Channel) -> None:
    first = Held(channel)
    with pytest.raises(grpc.RpcError) as error:
        exchange(channel, request(HEAD))
    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error.value.details() == "only one client authorized at a time"
    first.close()
    assert exchange(channel, request(HEAD)) == [(2, 0, HEAD)]


def test_what_others_cause_comes_too_and_is_dropped_without_a_client(
    plane: Dataplane, channel: grpc.Channel
) -> None:
    client = Held(channel)
    plane.packet_out(b"\x01\x00" + HEAD)  # the program's header: to port 2
    assert client.answers.get(timeout=TIMEOUT_S) == HEAD
    client.close()
    plane.packet_out(b"\x01\x00" + HEAD)
    assert plane.stats().no_such_port_dropped == 1
    assert exchange(channel) == []


def test_a_client_that_vanishes_makes_room_for_another(channel: grpc.Channel) -> None:
    gone = Held(channel)
    for _ in range(1000):
        gone.requests.put(request(HEAD + bytes(60_000)))
    gone.call.cancel()
    answers = None
    while answers is None:
        with contextlib.suppress(grpc.RpcError):  # RESOURCE_EXHAUSTED until the server noticed
            answers = exchange(channel, request(HEAD))
    assert answers == [(2, 0, HEAD)]


def test_cpu_port_goes_to_the_controller(plane: Dataplane, channel: grpc.Channel) -> None:
    plane.modify("L2Ingress.l2", entry("punt", 5))
    assert exchange(channel, request(HEAD)) == []
    assert plane.wait_packet_ins(TIMEOUT_S) == [b"\x00\x85" + HEAD]


@pytest.mark.parametrize(
    ("device", "status", "said"),
    [(8, 1, "Invalid device id"), (DEVICE, 0, "Invalid oper status"), (DEVICE, 3, "Invalid oper")],
)
def test_port_status_refusals(channel: grpc.Channel, device: int, status: int, said: str) -> None:
    with pytest.raises(grpc.RpcError) as error:
        set_status(channel, 4, status, device)
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert said in error.value.details()


def set_status(channel: grpc.Channel, port: int, status: int, device: int = DEVICE) -> bytes:
    message = SetPortOperStatusRequest()
    message.device_id, message.port, message.oper_status = device, port, status
    call = channel.unary_unary(STATUS, None, None)
    return call(message.SerializeToString(), timeout=TIMEOUT_S)


def test_stop_ends_an_open_stream(plane: Dataplane, cache_dir: Path) -> None:
    server = PacketServer(plane, DEVICE, "127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        client = Held(channel)
        plane.stop()
        server.stop()
        client.thread.join(TIMEOUT_S)
        assert not client.thread.is_alive()


def test_port_that_a_client_takes_down_is_left_out_of_a_selector(cache_dir: Path) -> None:
    selector = Path(__file__).parents[1] / "v1model" / "programs" / "selector.json"
    plane = Dataplane(cache_dir=cache_dir)
    server = PacketServer(plane, DEVICE, "127.0.0.1:0")
    server.start()
    plane.load(Program.load(selector.read_bytes(), cache_dir=cache_dir))
    actions = tuple(WeightedAction("In.send", (p, 0), watch_port=p) for p in (300, 400))
    plane.insert("In.choose", Entry(((1, 255),), one_shot=actions))
    frames = [request(bytes([1, flow, 0, 0])) for flow in range(64)]
    try:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            seen = []
            for status in (None, 1, 2):
                if status is not None:
                    assert set_status(channel, 400, status) == b""
                seen.append({port for port, _, _ in exchange(channel, *frames)})
            with pytest.raises(grpc.RpcError):
                set_status(channel, 5000, 1)
    finally:
        plane.stop()
        server.stop()
    assert seen == [{300, 400}, {300}, {300, 400}]

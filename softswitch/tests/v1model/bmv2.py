# SPDX-License-Identifier: Apache-2.0
"""BMv2's simple_switch_grpc without interfaces: frames go through its packet service."""

from __future__ import annotations

import contextlib
import queue
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc
from google.protobuf import text_format
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4
from p4rt_stubs.p4.v1 import p4runtime_pb2_grpc
from softswitch.packet_service.messages import PacketStreamRequest, PacketStreamResponse

SWITCH = "simple_switch_grpc"
PATIENCE_S = 30.0
BATCH, QUIET_S, LONG_QUIET_S = 100, 0.1, 0.4
Sent = list[tuple[int, bytes]]
"""(port, frame) of what one packet caused."""


def is_there() -> bool:
    return shutil.which(SWITCH) is not None


def version() -> str:
    done = subprocess.run([SWITCH, "--version"], capture_output=True, text=True, check=False)
    return f"{SWITCH} {done.stdout.strip()}"


def _free_ports(n: int) -> list[int]:
    sockets = [socket.socket() for _ in range(n)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [int(s.getsockname()[1]) for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Bmv2:
    """A running switch with one program. One stream of packets serves it for its whole life: BMv2
    ends a stream without what is still under way, and is slow to take the next one."""

    def __init__(self, control: grpc.Channel, data: grpc.Channel) -> None:
        self._stub = p4runtime_pb2_grpc.P4RuntimeStub(control)
        self._requests: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._sent: dict[int, Sent] = {}
        self._came = threading.Event()
        self._next_id = 1
        self._broken: grpc.RpcError | None = None
        self._end = time.monotonic() + PATIENCE_S
        self._stream = data.stream_stream(
            "/p4.bm.DataplaneInterface/PacketStream",
            request_serializer=PacketStreamRequest.SerializeToString,
            response_deserializer=PacketStreamResponse.FromString,
        )

    def _open(self) -> None:
        """A stream with a queue of its own: gRPC goes on reading the queue of one that ended."""
        self._broken = None
        self._came.clear()
        self._requests = queue.SimpleQueue()
        threading.Thread(target=self._read, args=(self._requests,), daemon=True).start()

    def _read(self, requests: queue.SimpleQueue[object]) -> None:
        try:
            for got in self._stream(iter(requests.get, None), wait_for_ready=True):
                self._sent[got.id].append((got.port, got.packet))
                self._came.set()
        except grpc.RpcError as error:  # also when the switch is killed in the end
            self._broken = error
            self._came.set()

    def push(self, config: bytes, p4info: str) -> None:
        request = p4.SetForwardingPipelineConfigRequest(
            action=p4.SetForwardingPipelineConfigRequest.VERIFY_AND_COMMIT
        )
        request.config.p4_device_config = config
        text_format.Parse(p4info, request.config.p4info)
        self._stub.SetForwardingPipelineConfig(request, timeout=PATIENCE_S)
        self._open()

    def write(self, entities: Sequence[p4.Entity]) -> None:
        request = p4.WriteRequest()
        for entity in entities:
            request.updates.add(type=p4.Update.INSERT, entity=entity)
        self._stub.Write(request, timeout=PATIENCE_S)

    def send(self, frames: Sequence[tuple[int, bytes]]) -> list[Sent]:
        """What each frame caused, sorted: copies on the same port have no order of their own."""
        out: list[Sent] = []
        for at in range(0, len(frames), BATCH):
            out += self._send(frames[at : at + BATCH], QUIET_S)
        return out

    def send_one(self, port: int, frame: bytes, quiet_s: float = LONG_QUIET_S) -> Sent:
        """With more patience: a busy machine may have delayed what a batch caused."""
        return self._send([(port, frame)], quiet_s)[0]

    def confirms(self, port: int, frame: bytes, expected: Sent) -> bool:
        """Does the frame, sent again by itself, cause this? Asked with growing patience."""
        return any(self.send_one(port, frame, quiet) == expected for quiet in (0.4, 2.0, 6.0))

    def _send(self, frames: Sequence[tuple[int, bytes]], quiet_s: float) -> list[Sent]:
        first = self._next_id
        self._next_id += len(frames)
        for i, (port, frame) in enumerate(frames, first):
            self._sent[i] = []
            packet = PacketStreamRequest(id=i, device_id=0, port=port, packet=frame)  # type: ignore[call-arg]
            self._requests.put(packet)
        if first == 1:  # the stream has to come up
            self._came.wait(PATIENCE_S)
        while self._came.wait(quiet_s):
            self._came.clear()
        if self._broken is not None:
            if first > 1 or "not ready" not in str(self._broken) or time.monotonic() > self._end:
                raise RuntimeError(f"{SWITCH} ended the stream of packets: {self._broken}")
            time.sleep(0.1)  # BMv2 listens before it takes packets
            self._next_id = 1
            self._open()
            return self._send(frames, quiet_s)
        found = [self._sent[i] for i in range(first, self._next_id)]
        return [sorted(sent) for sent in found]


@contextlib.contextmanager
def bmv2(program: Path, cpu_port: int) -> Iterator[Bmv2]:
    """BMv2 with programs/<name>.json and its P4Info."""
    control, data = _free_ports(2)
    with tempfile.TemporaryFile() as log:
        command = [SWITCH, "--no-p4", "-L", "off", "--", "--grpc-server-addr"]
        command += [f"127.0.0.1:{control}", "--dp-grpc-server-addr", f"127.0.0.1:{data}"]
        command += ["--cpu-port", str(cpu_port)]
        switch = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            for port in (control, data):
                _wait(switch, port)
            with (
                grpc.insecure_channel(f"127.0.0.1:{control}") as control_channel,
                grpc.insecure_channel(f"127.0.0.1:{data}") as data_channel,
            ):
                running = Bmv2(control_channel, data_channel)
                p4info = program.with_suffix(".p4info.txtpb").read_text("utf-8")
                running.push(program.with_suffix(".json").read_bytes(), p4info)
                yield running
        finally:
            switch.kill()
            switch.wait()


def _wait(switch: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if switch.poll() is not None:
            raise RuntimeError(f"{SWITCH} ended with status {switch.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{SWITCH} does not listen after {PATIENCE_S} s")

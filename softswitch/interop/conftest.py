# SPDX-License-Identifier: Apache-2.0
"""A switch with the packet service, and another project's controller in its own environment."""

from __future__ import annotations

import json
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from softswitch.packet_service.messages import PacketStreamRequest, PacketStreamResponse

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "softswitch" / "tests" / "programs" / "compiled"
DEVICE = 1
TIMEOUT_S = 60


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


class Wire:
    """All ports of the switch, through the packet service."""

    def __init__(self, address: str) -> None:
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._frames: queue.SimpleQueue[tuple[int, bytes]] = queue.SimpleQueue()
        self._channel = grpc.insecure_channel(address)
        stream = self._channel.stream_stream(
            "/p4.bm.DataplaneInterface/PacketStream", None, PacketStreamResponse.FromString
        )
        self._call = stream(iter(self._requests.get, None), wait_for_ready=True)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for response in self._call:
            self._frames.put((response.port, response.packet))

    def send(self, port: int, frame: bytes) -> None:
        request = PacketStreamRequest()
        request.device_id, request.port, request.packet = DEVICE, port, frame
        self._requests.put(request.SerializeToString())

    def receive(self) -> tuple[int, bytes]:
        """(port, frame) of the next frame that leaves the switch."""
        return self._frames.get(timeout=TIMEOUT_S)

    def close(self) -> None:
        self._requests.put(None)
        self._thread.join(TIMEOUT_S)
        self._channel.close()


class Peer:
    """A driver: what it says, one [what, value] a line."""

    def __init__(self, interpreter: Path, script: str, address: str) -> None:
        files = [str(PROGRAMS / name) for name in ("l2.p4info.txtpb", "l2.json")]
        command = [str(interpreter), str(Path(__file__).parent / script), address, *files]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def hears(self, wanted: str) -> Any:
        """The value of the next line, which must be about `wanted`."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            pytest.fail(f"the peer ended before {wanted!r}:\n{self.process.communicate()[1]}")
        what, value = json.loads(line)
        assert what == wanted, (what, value)
        return value

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self) -> None:
        """It must end well."""
        _, error = self.process.communicate(timeout=TIMEOUT_S)
        assert self.process.returncode == 0, error


class Switch:
    """A softswitch whose packets go over the packet service at `packets`."""

    def __init__(self, packets: str) -> None:
        options = ["--no-p4", "--device-id", str(DEVICE), "--", "--grpc-server-addr"]
        options += ["127.0.0.1:0", "--cpu-port", "510", "--dp-grpc-server-addr", packets]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "softswitch.cli", *options],
            stdout=subprocess.PIPE,
            text=True,
        )

    def ready(self) -> str:
        """Its P4Runtime address, once it serves."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("Server listening on "):
                return line.split()[-1]
        pytest.fail("softswitch did not start; the reason is above")

    def end(self) -> None:
        self._process.terminate()
        self._process.communicate(timeout=TIMEOUT_S)


@pytest.fixture
def meet() -> Iterator[Callable[[str, str], tuple[Peer, Wire]]]:
    """`meet(environment, script)`: a switch, and the script against it."""
    with ExitStack() as ends:

        def run(environment: str, script: str) -> tuple[Peer, Wire]:
            interpreter = ROOT / environment / "bin" / "python"
            if not interpreter.exists():
                pytest.fail(
                    f"{environment} is not there: `make interop` makes it, over the network"
                )
            packets = free_address()
            switch = Switch(packets)
            ends.callback(switch.end)
            peer = Peer(interpreter, script, switch.ready())
            ends.callback(peer.process.communicate)
            ends.callback(peer.process.kill)
            wire = Wire(packets)
            ends.callback(wire.close)
            return peer, wire

        yield run

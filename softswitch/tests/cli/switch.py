# SPDX-License-Identifier: Apache-2.0
"""The softswitch command as a process, and a client that sends one packet-out."""

from __future__ import annotations

import os
import queue
import re
import selectors
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import grpc
from google.protobuf import text_format
from p4rt_stubs.p4.config.v1 import p4info_pb2 as p4info
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt
from p4rt_stubs.p4.v1 import p4runtime_pb2_grpc

Start = Callable[..., "Switch"]
LOCAL = ("--", "--grpc-server-addr", "127.0.0.1:0")
TIMEOUT_S = 60
PROGRAMS = Path(__file__).parents[1] / "programs" / "compiled"


class Switch:
    """A running softswitch; `lines` collects its standard output."""

    def __init__(
        self,
        *arguments: str,
        prefix: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
    ) -> None:
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-P", "-m", "softswitch.cli", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        self.lines: list[str] = []

    def ready(self) -> int:
        """Wait for the ready line; returns the port."""
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as waiting:
            waiting.register(self.process.stdout, selectors.EVENT_READ)
            assert waiting.select(TIMEOUT_S), "no output"
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if found := re.fullmatch(r"Server listening on .*:(\d+)", self.lines[-1]):
                return int(found[1])
        raise AssertionError(self.process.communicate())

    def end(self, number: int | None = None) -> tuple[int, str, str]:
        """(exit status, rest of stdout, stderr), after a signal if one is given."""
        if number is not None:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=TIMEOUT_S)
        assert "Traceback" not in err + out, err + out
        return self.process.returncode, out, err


def packet_out(port: int) -> None:
    """Push the program l2, and send one packet-out to port 1."""
    config = p4rt.ForwardingPipelineConfig(
        p4info=text_format.Parse((PROGRAMS / "l2.p4info.txtpb").read_text(), p4info.P4Info()),
        p4_device_config=(PROGRAMS / "l2.json").read_bytes(),
    )
    request = p4rt.SetForwardingPipelineConfigRequest(
        action=p4rt.SetForwardingPipelineConfigRequest.VERIFY_AND_COMMIT, config=config
    )
    requests: queue.SimpleQueue[p4rt.StreamMessageRequest | None] = queue.SimpleQueue()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = p4runtime_pb2_grpc.P4RuntimeStub(channel)
        stub.SetForwardingPipelineConfig(request, timeout=TIMEOUT_S)
        responses = stub.StreamChannel(iter(requests.get, None))
        requests.put(p4rt.StreamMessageRequest(arbitration={"election_id": {"low": 1}}))
        assert next(responses).arbitration.status.code == 0
        metadata = [p4rt.PacketMetadata(metadata_id=1, value=b"\x01")]
        metadata.append(p4rt.PacketMetadata(metadata_id=2, value=b"\0"))
        packet = p4rt.PacketOut(payload=bytes(60), metadata=metadata)
        requests.put(p4rt.StreamMessageRequest(packet=packet))
        requests.put(None)
        assert list(responses) == []  # all that was sent has been processed

# SPDX-License-Identifier: Apache-2.0
"""Sends malformed requests to a P4Runtime server over gRPC, its data plane built with sanitizers.

Runs as a process of its own with libasan preloaded (see __main__.py). The request that is under way
stands in a file, for the case that a sanitizer ends the process.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import sys
import tempfile
import threading
import traceback
from pathlib import Path

import grpc
from google.protobuf import text_format
from p4rt_stubs.p4.config.v1 import p4info_pb2 as p4info
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt
from softswitch.dataplane import Dataplane
from softswitch.p4runtime.pipeline import PipelineManager
from softswitch.p4runtime.server import P4RuntimeServer
from softswitch.p4runtime.service import Service
from softswitch.program import Program

from .messages import DEVICE, Requests
from .packets import PROGRAMS, Found

TIMEOUT_S = 60
WHOLE = 0.05
GROWTH = 300 << 20
"""Bytes of resident memory that the second half of the requests may add: tables fill up."""


class Target:
    """A server with one program, and a primary client of it."""

    def __init__(self, name: str, cache: Path) -> None:
        self.config = PROGRAMS[name].read_bytes()
        self.info = p4info.P4Info()
        text = PROGRAMS[name].with_suffix(".p4info.txtpb").read_text("utf-8")
        text_format.Parse(text, self.info)

        def load(data: bytes) -> Program:
            return Program.load(data, cache_dir=cache, sanitize=True)

        self.dataplane = Dataplane(cpu_port=510, cache_dir=cache, sanitize=True)
        for port in range(4):
            self.dataplane.add_memory_port(port)
        service = Service(DEVICE, self.dataplane, PipelineManager(self.dataplane, load))
        self.server = P4RuntimeServer(service, self.dataplane, "127.0.0.1:0")
        self.dataplane.start()
        self.server.start()
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.server.port}")
        self._over = threading.Event()
        self._hold_primary()
        self._push()

    def _hold_primary(self) -> None:
        def messages():
            message = p4rt.StreamMessageRequest()
            message.arbitration.device_id = DEVICE
            message.arbitration.election_id.low = 1
            yield message.SerializeToString()
            self._over.wait()

        call = self.channel.stream_stream("/p4.v1.P4Runtime/StreamChannel")(messages())
        next(iter(call))

        def read() -> None:
            try:
                for _ in call:
                    pass
            except grpc.RpcError:
                pass

        threading.Thread(target=read, daemon=True).start()

    def _push(self) -> None:
        request = p4rt.SetForwardingPipelineConfigRequest(device_id=DEVICE)
        request.action = p4rt.SetForwardingPipelineConfigRequest.VERIFY_AND_COMMIT
        request.election_id.low = 1
        request.config.p4info.CopyFrom(self.info)
        request.config.p4_device_config = self.config
        method = "/p4.v1.P4Runtime/SetForwardingPipelineConfig"
        self.channel.unary_unary(method)(request.SerializeToString(), timeout=TIMEOUT_S)

    def send(self, method: str, request: bytes, whole: bool) -> None:
        """Send it; the answer, of whatever kind, must be one that the server means.

        whole: the client waits for all that is read, else it goes after the first part.
        """
        path = f"/p4.v1.P4Runtime/{method}"
        try:
            if method == "Read":
                answers = self.channel.unary_stream(path)(request, timeout=TIMEOUT_S)
                for _ in answers:
                    if not whole:
                        answers.cancel()
                        break
            elif method == "StreamChannel":
                for _ in self.channel.stream_stream(path)(iter([request]), timeout=TIMEOUT_S):
                    pass
            else:
                self.channel.unary_unary(path)(request, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            code, details = error.code(), error.details() or ""
            if "Exception deserializing" in details:
                return
            trailing = dict(error.trailing_metadata() or ())
            batch = code == grpc.StatusCode.UNKNOWN and "grpc-status-details-bin" in trailing
            if code in (
                grpc.StatusCode.INTERNAL,
                grpc.StatusCode.DEADLINE_EXCEEDED,
                grpc.StatusCode.UNAVAILABLE,
            ) or (code == grpc.StatusCode.UNKNOWN and not batch):
                raise Found(f"{code.name}: {details}") from None

    def stop(self) -> None:
        self._over.set()
        self.channel.close()
        self.dataplane.stop()
        self.server.stop()


def resident() -> int:
    """The most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run(name: str, seed: int, count: int, current: Path) -> None:
    """Fuzz one program's server. Raises Found."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        target = Target(name, cache)
        requests = Requests(target.info, target.config, rng)
        middle = 0
        try:
            for number in range(count):
                method, request = requests.next()
                current.write_text(
                    f"{name}, seed {seed}, request {number}: {method} {request.hex()}"
                )
                # All that there is takes a second, of the larger programs.
                target.send(method, request, rng.random() < WHOLE)
                if number == count // 2:
                    middle = resident()
                if number % 1000 == 999:
                    print(f"{name}: {number + 1} requests", flush=True)
            if resident() > middle + GROWTH:
                raise Found(f"memory grew from {middle} to {resident()} bytes")
            program = target.dataplane.program
            assert program is not None
            tables = [t for t in program.tables.values() if t.keys]
            entries = sum(target.dataplane.entry_count(table.name) for table in tables)
            print(f"{name}: {count} requests, {entries} entries at the end", flush=True)
        finally:
            target.stop()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--current", type=Path, required=True)
    parser.add_argument("programs", nargs="+")
    arguments = parser.parse_args()
    for name in arguments.programs:
        try:
            share = arguments.requests // len(arguments.programs)
            run(name, arguments.seed, share, arguments.current)
        except Found as found:
            print(found, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    code = 2
    try:
        code = main()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # gRPC's threads may still wait for a stream

# SPDX-License-Identifier: Apache-2.0
"""A server in front of the real data plane, with a program that p4c compiled and memory ports."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import grpc
import pytest
from google.protobuf import text_format
from p4rt_stubs.p4.config.v1 import p4info_pb2 as p4info
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt
from softswitch.dataplane import Dataplane
from softswitch.p4runtime.pipeline import PipelineManager
from softswitch.p4runtime.server import P4RuntimeServer
from softswitch.p4runtime.service import Service
from softswitch.program import Program

from .client import DEVICE, Stream, TestClient, Uint, batch_errors, update

PROGRAMS = Path(__file__).parents[1] / "programs" / "compiled"
V1MODEL = Path(__file__).parents[1] / "v1model" / "programs"
CPU = 510
PORTS = 4
WAIT_S = 20


def load_config(name: str, folder: Path = PROGRAMS) -> p4rt.ForwardingPipelineConfig:
    info = (folder / f"{name}.p4info.txtpb").read_text("utf-8")
    return p4rt.ForwardingPipelineConfig(
        p4info=text_format.Parse(info, p4info.P4Info()),
        p4_device_config=(folder / f"{name}.json").read_bytes(),
    )


@dataclass
class Live:
    """One running server, its primary client, and the ids of the program by name."""

    dataplane: Dataplane
    pipelines: PipelineManager
    client: TestClient
    stream: Stream
    config: p4rt.ForwardingPipelineConfig
    ids: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for descriptor, items in self.config.p4info.ListFields():
            if descriptor.name != "pkg_info" and descriptor.name != "type_info":
                self.ids.update({item.preamble.alias: item.preamble.id for item in items})

    def push(self) -> None:
        self.client.push(self.config, election_id=Uint(low=1))

    def write(self, kind: str, **entity: object) -> None:
        self.client.write(update(kind, **entity), election_id=Uint(low=1))

    def refused(self, kind: str, **entity: object) -> str:
        """The code of a single update that must fail."""
        with pytest.raises(grpc.RpcError) as error:
            self.write(kind, **entity)
        (item,) = batch_errors(error.value)
        return _name(item.canonical_code)

    def read(self, **entity: object) -> list[p4rt.Entity]:
        return self.client.read(**entity)

    def read_refused(self, **entity: object) -> str:
        with pytest.raises(grpc.RpcError) as error:
            self.read(**entity)
        return error.value.code().name

    def action(self, name: str, *params: int) -> p4rt.TableAction:
        message = p4rt.TableAction()
        message.action.action_id = self.ids[name]
        for number, value in enumerate(params, 1):
            length = (value.bit_length() + 7) // 8 or 1
            message.action.params.add(param_id=number, value=value.to_bytes(length, "big"))
        return message

    def sent(self, port: int) -> list[bytes]:
        """All frames that left on a memory port; injected ones are processed at once."""
        frames: list[bytes] = []
        while (frame := self.dataplane.read_memory_port(port, 0)) is not None:
            frames.append(frame)
        return frames


def _name(code: int) -> str:
    return next(c.name for c in grpc.StatusCode if c.value[0] == code)


@contextmanager
def serve(config: p4rt.ForwardingPipelineConfig, cache_dir: Path, **options: int) -> Iterator[Live]:
    """Start everything and push the program; `options` are those of PipelineManager."""
    dataplane = Dataplane(cpu_port=CPU, cache_dir=cache_dir)
    for port in range(PORTS):
        dataplane.add_memory_port(port)
    load = partial(Program.load, cache_dir=cache_dir)
    pipelines = PipelineManager(dataplane, load, **options)
    server = P4RuntimeServer(Service(DEVICE, dataplane, pipelines), dataplane, "127.0.0.1:0")
    server.start()
    client = TestClient(server.port)
    live = Live(dataplane, pipelines, client, client.stream().become_primary(), config)
    live.push()
    try:
        yield live
    finally:
        client.close()
        dataplane.stop()
        server.stop()

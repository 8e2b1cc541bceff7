# SPDX-License-Identifier: Apache-2.0
"""A server over a fake data plane, on a real gRPC channel over loopback."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt
from softswitch.errors import BadProgram, CompilerFailed, NoCompiler, UnsupportedConstruct
from softswitch.p4runtime.pipeline import PipelineManager
from softswitch.p4runtime.server import P4RuntimeServer
from softswitch.p4runtime.service import Service

from .client import DEVICE, TestClient
from .fake_dataplane import FakeDataplane
from .program import FakeProgram, p4info_message

GOOD_JSON = b'{"program": "good"}'
LOAD_ERRORS = {
    b'{"no": "compiler"}': NoCompiler("no C compiler found: install gcc"),
    b'{"bad": "code"}': CompilerFailed("error: " * 10_000),
    b'{"bad": "shape"}': BadProgram("section 'pipelines' is missing"),
}


@dataclass
class World:
    """Everything of one running server."""

    dataplane: FakeDataplane
    pipelines: PipelineManager
    service: Service
    server: P4RuntimeServer
    client: TestClient

    def config(self, device_config: bytes = GOOD_JSON) -> p4rt.ForwardingPipelineConfig:
        return p4rt.ForwardingPipelineConfig(
            p4info=p4info_message(), p4_device_config=device_config
        )


def load_program(json: bytes) -> FakeProgram:
    if json in LOAD_ERRORS:
        raise LOAD_ERRORS[json]
    if json != GOOD_JSON:
        raise UnsupportedConstruct("extern frobnicate", "main.p4:42")
    return FakeProgram()


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One compiler cache for the run."""
    folder = tmp_path_factory.mktemp("cache")
    folder.chmod(0o700)
    return folder


@pytest.fixture
def bare() -> Iterator[World]:
    """A server without a pipeline."""
    dataplane = FakeDataplane()
    pipelines = PipelineManager(dataplane, load_program)
    service = Service(DEVICE, dataplane, pipelines)
    server = P4RuntimeServer(service, dataplane, "127.0.0.1:0")
    server.start()
    client = TestClient(server.port)
    yield World(dataplane, pipelines, service, server, client)
    client.close()
    dataplane.stop()
    server.stop()


@pytest.fixture
def world(bare: World) -> World:
    """A server with the test pipeline, and no open stream."""
    bare.client.push(bare.config())
    return bare

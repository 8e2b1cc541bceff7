# SPDX-License-Identifier: Apache-2.0
"""The softswitch command as a process: ready line, errors with advice, and exit by signal."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt
from p4rt_stubs.p4.v1 import p4runtime_pb2_grpc

from .switch import LOCAL, TIMEOUT_S, Start


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serves_then_exits_by_the_signal(start: Start, number: int) -> None:
    switch = start("--no-p4", "--device-id", "5", *LOCAL)
    port = switch.ready()
    assert switch.lines[0] == "Calling target program-options parser"
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = p4runtime_pb2_grpc.P4RuntimeStub(channel)
        assert stub.Capabilities(p4rt.CapabilitiesRequest(device_id=5)).p4runtime_api_version
        request = p4rt.GetForwardingPipelineConfigRequest(device_id=5)
        with pytest.raises(grpc.RpcError) as error:
            stub.GetForwardingPipelineConfig(request)
        assert error.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert switch.end(number) == (-number, "", "")


def test_stops_with_an_open_stream(start: Start) -> None:
    switch = start("--no-p4", *LOCAL)
    with grpc.insecure_channel(f"127.0.0.1:{switch.ready()}") as channel:
        update = p4rt.MasterArbitrationUpdate(election_id=p4rt.Uint128(low=1))
        asked = iter([p4rt.StreamMessageRequest(arbitration=update)])

        def ask() -> Iterator[p4rt.StreamMessageRequest]:
            yield from asked
            switch.process.wait(TIMEOUT_S)

        call = p4runtime_pb2_grpc.P4RuntimeStub(channel).StreamChannel(ask())
        next(call)
        assert switch.end(signal.SIGTERM)[0] == -signal.SIGTERM


def test_is_ready_soon(start: Start) -> None:
    begin = time.monotonic()
    start("--no-p4", *LOCAL).ready()
    assert time.monotonic() - begin < 10  # under 1 s on an idle machine


def test_port_taken(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        status, _, err = start("--no-p4", "--", "--grpc-server-addr", address).end()
    assert status == 1
    assert address in err
    assert "already taken" in err
    assert "--grpc-server-addr" in err


def test_second_switch_on_the_same_port(start: Start) -> None:
    port = start("--no-p4", *LOCAL).ready()
    status, _, err = start("--no-p4", "--", "--grpc-server-addr", f"127.0.0.1:{port}").end()
    assert status == 1
    assert "already taken" in err


@pytest.mark.parametrize(
    ("address", "said"),
    [("nonsense", "not HOST:PORT"), ("203.0.113.1:9559", "Cannot assign requested address")],
)
def test_bad_address(start: Start, address: str, said: str) -> None:
    status, _, err = start("--no-p4", "--", "--grpc-server-addr", address).end()
    assert status == 1
    assert said in err


def test_missing_interface_is_one_error_line(start: Start) -> None:
    switch = start("--no-p4", "-i", "4@ss-none0", *LOCAL)
    switch.ready()
    assert "Adding interface ss-none0 as port 4" in switch.lines
    status, _, err = switch.end(signal.SIGTERM)
    assert status == -signal.SIGTERM
    (line,) = err.splitlines()
    assert "Add port operation failed" in line
    assert "ss-none0" in line


def test_no_permission_for_packet_sockets(start: Start) -> None:
    prefix = ("setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw")
    status, _, err = start("--no-p4", "-i", "1@lo", *LOCAL, prefix=prefix).end()
    assert status == 1
    assert "CAP_NET_RAW" in err
    assert "unshare" in err


def test_unreadable_program(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "none.json"
    status, _, err = start(str(path), *LOCAL).end()
    assert status == 1
    assert f"JSON input file {path} cannot be opened" in err


def test_bad_program(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text("{")
    status, _, err = start(str(path), *LOCAL).end()
    assert status == 1
    assert str(path) in err


@pytest.mark.parametrize("arguments", [("--bogus", "x.json"), ("--no-p4", "--", "--bogus"), ()])
def test_bad_options(start: Start, arguments: tuple[str, ...]) -> None:
    status, _, err = start(*arguments).end()
    assert status == 1
    assert "--help" in err


def test_no_c_compiler(start: Start, tmp_path: Path) -> None:
    environment = {"PATH": str(tmp_path), "CC": "", "XDG_CACHE_HOME": str(tmp_path)}
    status, _, err = start("--no-p4", *LOCAL, environment=environment).end()
    assert status == 1
    assert "no C compiler" in err
    assert "apt-get install" in err


def test_unwritable_log(start: Start, tmp_path: Path) -> None:
    status, _, err = start("--no-p4", "--log-file", str(tmp_path / "no" / "log"), *LOCAL).end()
    assert status == 1
    assert "log.txt" in err


def test_missing_tls_file(start: Start, tmp_path: Path) -> None:
    missing = str(tmp_path / "cert.pem")
    options = ("--grpc-server-ssl", "--grpc-server-cert", missing, "--grpc-server-key", missing)
    status, _, err = start("--no-p4", *LOCAL, *options).end()
    assert status == 1
    assert missing in err


def test_warnings_do_not_stop_it(start: Start) -> None:
    switch = start("--no-p4", "prog.json", *LOCAL)
    switch.ready()
    assert "prog.json" in switch.end(signal.SIGTERM)[2]

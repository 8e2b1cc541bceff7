# SPDX-License-Identifier: Apache-2.0
"""TLS as in BMv2: who gets in with which certificate. The certificates are made for each run."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from p4rt_stubs.p4.v1 import p4runtime_pb2 as p4rt
from p4rt_stubs.p4.v1 import p4runtime_pb2_grpc

from .switch import LOCAL, TIMEOUT_S, Start


def openssl(*arguments: str) -> None:
    if shutil.which("openssl") is None:
        pytest.fail(
            "the openssl command makes the certificates; install it: apt-get install openssl"
        )
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key (PEM files)."""

    certificate: Path
    key: Path

    def options(self) -> tuple[str, ...]:
        return ("--grpc-server-cert", str(self.certificate), "--grpc-server-key", str(self.key))


@dataclass(frozen=True)
class Authority(Pair):
    """A CA that makes certificates for localhost."""

    @classmethod
    def make(cls, folder: Path) -> Authority:
        pair = cls(folder / "ca.pem", folder / "ca.key")
        openssl(
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test ca",
            "-keyout", str(pair.key), "-out", str(pair.certificate),
        )  # fmt: skip
        return pair

    def issue(self, name: str) -> Pair:
        folder = self.key.parent
        pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
        request, extensions = folder / f"{name}.csr", folder / f"{name}.ext"
        extensions.write_text("subjectAltName=DNS:localhost\n")
        openssl(
            "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}",
            "-keyout", str(pair.key), "-out", str(request),
        )  # fmt: skip
        openssl(
            "x509", "-req", "-in", str(request), "-days", "2", "-CAcreateserial",
            "-CA", str(self.certificate), "-CAkey", str(self.key),
            "-extfile", str(extensions), "-out", str(pair.certificate),
        )  # fmt: skip
        return pair


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def server(authority: Authority) -> Pair:
    return authority.issue("server")


def version(
    port: int, authority: Authority | None, client: Pair | None = None, host: str = "localhost"
) -> str:
    """The P4Runtime version that a client with these certificates is told."""
    if authority is None:
        channel = grpc.insecure_channel(f"{host}:{port}")
    else:
        credentials = grpc.ssl_channel_credentials(
            authority.certificate.read_bytes(),
            client.key.read_bytes() if client else None,
            client.certificate.read_bytes() if client else None,
        )
        channel = grpc.secure_channel(f"{host}:{port}", credentials)
    with channel:
        stub = p4runtime_pb2_grpc.P4RuntimeStub(channel)
        answer = stub.Capabilities(p4rt.CapabilitiesRequest(), timeout=TIMEOUT_S)
    return answer.p4runtime_api_version


def refused(*arguments: object) -> None:
    with pytest.raises(grpc.RpcError) as error:
        version(*arguments)
    assert error.value.code() == grpc.StatusCode.UNAVAILABLE


def test_server_certificate(
    start: Start, authority: Authority, server: Pair, tmp_path: Path
) -> None:
    port = start("--no-p4", *LOCAL, "--grpc-server-ssl", *server.options()).ready()
    assert version(port, authority)
    refused(port, None)  # in the clear
    refused(port, Authority.make(tmp_path))  # another authority does not vouch for it


def test_client_certificate(
    start: Start, authority: Authority, server: Pair, tmp_path: Path
) -> None:
    options = ("--grpc-server-ssl", *server.options(), "--grpc-server-with-client-auth")
    trusted = ("--grpc-server-cacert", str(authority.certificate))
    port = start("--no-p4", *LOCAL, *options, *trusted).ready()
    assert version(port, authority, authority.issue("client"))
    refused(port, authority)
    refused(port, authority, Authority.make(tmp_path).issue("stranger"))


def test_certificate_of_clients_is_not_asked_for_by_itself(
    start: Start, authority: Authority, server: Pair
) -> None:
    trusted = ("--grpc-server-cacert", str(authority.certificate))
    port = start("--no-p4", *LOCAL, "--grpc-server-ssl", *server.options(), *trusted).ready()
    assert version(port, authority)


def test_files_are_not_used_without_the_switch(start: Start, server: Pair) -> None:
    port = start("--no-p4", *LOCAL, *server.options()).ready()
    assert version(port, None)


@pytest.mark.parametrize("spoiled", ["certificate", "key", "authority"])
def test_files_that_are_no_certificates(
    start: Start, authority: Authority, server: Pair, tmp_path: Path, spoiled: str
) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_text("nothing of the kind\n")
    pair = Pair(
        bad if spoiled == "certificate" else server.certificate,
        bad if spoiled == "key" else server.key,
    )
    ca = bad if spoiled == "authority" else authority.certificate
    options = ("--grpc-server-ssl", *pair.options(), "--grpc-server-cacert", str(ca))
    status, _, err = start("--no-p4", *LOCAL, *options, "--grpc-server-with-client-auth").end()
    assert status == 1
    assert str(bad) in err


def test_key_of_another_certificate(start: Start, authority: Authority, server: Pair) -> None:
    other = authority.issue("other")
    pair = Pair(server.certificate, other.key)
    status, _, err = start("--no-p4", *LOCAL, "--grpc-server-ssl", *pair.options()).end()
    assert status == 1
    assert str(other.key) in err

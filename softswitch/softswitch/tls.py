# SPDX-License-Identifier: Apache-2.0
"""The server's TLS credentials, checked first: gRPC would only say that it cannot listen."""

from __future__ import annotations

import ssl
from pathlib import Path

import grpc


class TlsError(Exception):
    """A file cannot be used; the message names it."""


def server_credentials(
    certificate: str, key: str, authority: str | None, client_auth: bool
) -> grpc.ServerCredentials:
    """Credentials from PEM files. `authority`: who vouches for clients, if `client_auth`.

    TlsError: a file that cannot be read, is no PEM, or a key of another certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        pair = [(Path(key).read_bytes(), Path(certificate).read_bytes())]
        root = Path(authority).read_bytes() if authority else None
    except OSError as error:
        raise TlsError(f"TLS file {error.filename}: {error.strerror}") from error
    try:
        context.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, ValueError) as error:
        raise TlsError(
            f"TLS: {certificate} and {key} are not a certificate chain and its unencrypted key"
            f" in PEM form ({error})"
        ) from error
    if authority is not None:
        try:
            context.load_verify_locations(authority)
        except ssl.SSLError as error:
            raise TlsError(
                f"TLS: {authority} is no CA certificate in PEM form ({error})"
            ) from error
    return grpc.ssl_server_credentials(
        pair, root_certificates=root, require_client_auth=client_auth
    )

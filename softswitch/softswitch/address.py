# SPDX-License-Identifier: Apache-2.0
"""Binds a gRPC server to an address, and says why when that fails."""

from __future__ import annotations

import errno
import socket

import grpc


class AddressError(Exception):
    """The server cannot listen on its address; the message says why and what to do."""


def bind(
    server: grpc.Server,
    address: str,
    credentials: grpc.ServerCredentials | None = None,
    option: str = "--grpc-server-addr",
) -> int:
    """Make the server listen; returns the TCP port, chosen by the kernel if the address asks for 0.

    `option`: the command-line option that gave the address, for the AddressError.
    """
    try:
        if credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise AddressError(_why_not(address, option)) from error
    if port == 0:
        raise AddressError(_why_not(address, option))
    return port


def _why_not(address: str, option: str) -> str:
    """gRPC does not say why binding failed, so try it once more on a plain socket."""
    advice = f"choose another address with '-- {option} HOST:PORT'"
    host, _, port = address.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]") or None, int(port), type=socket.SOCK_STREAM)
        for family, kind, protocol, _, where in found:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(where)
                probe.listen()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return (
                f"cannot listen on {address}: the port is already taken, perhaps by another"
                f" switch; stop it, or {advice}"
            )
        return f"cannot listen on {address}: {error.strerror}; {advice}"
    except (ValueError, OverflowError):
        return f"cannot listen on {address!r}: not HOST:PORT; {advice}"
    return f"cannot listen on {address}; {advice}"

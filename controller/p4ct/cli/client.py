# SPDX-License-Identifier: Apache-2.0
"""The CLI's side of the admin API (see p4ct.daemon.admin)."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any, cast

import click

__all__ = ["ask"]


def ask(path: Path, command: str, arguments: dict[str, Any] | None = None) -> Any:
    """The controller's answer to one command. Raises click.ClickException with a message."""
    request = json.dumps({"command": command, "arguments": arguments or {}}).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(path))
        except FileNotFoundError:
            raise click.ClickException(
                f"no controller: there is no socket {path}; start one with 'p4ct run', or name its "
                "socket with --socket or the environment variable P4CT_SOCKET"
            ) from None
        except ConnectionRefusedError:
            raise click.ClickException(
                f"no controller answers on {path}; the one that made it is gone"
            ) from None
        except OSError as error:
            raise click.ClickException(f"{path}: {error.strerror}") from None
        connection.sendall(request + b"\n")
        chunks: list[bytes] = []
        while True:
            chunk = connection.recv(1 << 20)
            chunks.append(chunk)
            if not chunk or chunk.endswith(b"\n"):
                break
    answer = b"".join(chunks)
    if not answer:
        raise click.ClickException(f"the controller on {path} ended the connection; see its log")
    decoded = cast("dict[str, Any]", json.loads(answer))
    if not decoded["ok"]:
        raise click.ClickException(str(decoded["error"]))
    return decoded["result"]

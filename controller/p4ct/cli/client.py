# SPDX-License-Identifier: Apache-2.0
"""The CLI's side of the admin API (see p4ct.daemon.admin)."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import click

__all__ = ["BAD_INPUT", "FAILED", "Answer", "BadInput", "ask", "listen"]

FAILED = 1
"""Exit code for what went wrong at run time."""
BAD_INPUT = 2
"""Exit code for a mistake on the command line or in a file; click uses the same."""

ANSWER_TIMEOUT = 120.0
"""Seconds; the controller gives up waiting for a switch long before, but many entries take time."""


class BadInput(click.ClickException):
    """A mistake of the user's."""

    exit_code = BAD_INPUT


class Answer(NamedTuple):
    """What a command gives; `warning` says why it may not be the whole truth, and may be empty."""

    result: Any
    warning: str


def ask(
    path: Path, command: str, arguments: dict[str, Any] | None = None, *, takes: float = 0.0
) -> Answer:
    """The controller's answer to one command, which `takes` so many seconds by itself.

    Raises click.ClickException with a message.
    """
    request = json.dumps({"command": command, "arguments": arguments or {}}).encode() + b"\n"
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_TIMEOUT + takes)
        _connect(connection, path)
        try:
            line = _exchange(connection, request)
        except TimeoutError:
            raise click.ClickException(
                f"the controller on {path} did not answer within {ANSWER_TIMEOUT + takes:g} s; "
                "is its process stopped or very busy?"
            ) from None
        except ConnectionError:
            line = b""
    return _answer(path, line)


def listen(path: Path, command: str, arguments: dict[str, Any]) -> Iterator[bytes]:
    """The lines that follow the controller's answer, as they come.

    Raises click.ClickException with a message, also when the controller ends.
    """
    request = json.dumps({"command": command, "arguments": arguments}).encode() + b"\n"
    with socket.socket(socket.AF_UNIX) as connection:
        _connect(connection, path)
        with connection.makefile("rb") as lines:
            try:
                connection.sendall(request)
                _answer(path, lines.readline())
                yield from lines
            except ConnectionError:
                pass
    raise click.ClickException(f"the controller on {path} has ended")


def _answer(path: Path, line: bytes) -> Answer:
    """An answer's result. Raises click.ClickException for a refusal or what is no answer."""
    if not line.endswith(b"\n"):
        raise click.ClickException(
            f"the controller on {path} ended before it answered; see its log"
        )
    try:
        answer = cast("dict[str, Any]", json.loads(line))
        if answer["ok"]:
            return Answer(answer["result"], str(answer.get("warning", "")))
        code, error = str(answer["code"]), str(answer["error"])
    except (ValueError, KeyError, TypeError):
        raise click.ClickException(f"what answers on {path} is not a p4ct controller") from None
    raise BadInput(error) if code == "INVALID_ARGUMENT" else click.ClickException(error)


def _connect(connection: socket.socket, path: Path) -> None:
    try:
        connection.connect(str(path))
    except FileNotFoundError:
        raise click.ClickException(
            f"no controller: there is no socket {path}; start one with 'p4ct run', or name its "
            "socket with --socket or the environment variable P4CT_SOCKET"
        ) from None
    except ConnectionRefusedError:
        raise click.ClickException(
            f"no controller answers on {path}; the one that made it is gone, start it again with "
            "'p4ct run'"
        ) from None
    except PermissionError:
        raise click.ClickException(
            f"{path}: permission denied; a controller answers only the user that runs it"
        ) from None
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{path}: {error}") from None


def _exchange(connection: socket.socket, request: bytes) -> bytes:
    connection.sendall(request)
    chunks: list[bytes] = []
    while chunk := connection.recv(1 << 20):
        chunks.append(chunk)
        if chunk.endswith(b"\n"):
            break
    return b"".join(chunks)

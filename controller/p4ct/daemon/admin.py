# SPDX-License-Identifier: Apache-2.0
"""The admin API: JSON lines on a Unix socket.

A request is one line, `{"command": NAME, "arguments": {...}}`; the answer is one line,
`{"ok": true, "result": ...}` or `{"ok": false, "error": TEXT}`.  A connection may carry any number
of requests, one after the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from pathlib import Path
from typing import Any

import msgspec

from p4ct.daemon.commands import COMMANDS, CommandError
from p4ct.daemon.controller import Controller
from p4ct.eswitch.entries import EswitchError

__all__ = ["AdminServer", "SocketInUse"]

log = logging.getLogger("p4ct.admin")

MAX_REQUEST = 16 * 1024 * 1024
"""Bytes of one request: a large policy file fits."""


class SocketInUse(Exception):
    """Another controller answers on the admin socket."""


class _Request(msgspec.Struct):
    command: str
    arguments: dict[str, Any] = {}


class AdminServer:
    """Serves one controller on one socket, for its owner only (mode 0600)."""

    def __init__(self, controller: Controller, path: Path) -> None:
        self.controller = controller
        self.path = path
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Raises SocketInUse, or OSError when the socket cannot be made."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            if _answers(self.path):
                raise SocketInUse(
                    f"{self.path}: another p4ct answers there; stop it or set admin.socket"
                )
            self.path.unlink()  # left behind by a controller that was killed
        self._server = await asyncio.start_unix_server(
            self._accept, str(self.path), limit=MAX_REQUEST
        )
        os.chmod(self.path, 0o600)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for task in list(self._clients):
                task.cancel()
            await asyncio.gather(*self._clients, return_exceptions=True)
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            while line := await reader.readline():
                writer.write(await self._answer(line) + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):
            pass  # the client went away, or sent more than MAX_REQUEST
        finally:
            self._clients.discard(task)
            writer.close()

    async def _answer(self, line: bytes) -> bytes:
        try:
            request = msgspec.json.decode(line, type=_Request)
            command = COMMANDS.get(request.command)
            if command is None:
                raise CommandError(
                    f"unknown command '{request.command}'; known: {', '.join(sorted(COMMANDS))}"
                )
            result = await command(self.controller, request.arguments)
            return msgspec.json.encode({"ok": True, "result": result})
        except (CommandError, EswitchError, msgspec.MsgspecError) as error:
            return msgspec.json.encode({"ok": False, "error": str(error)})
        except Exception as error:
            # A defect of ours: the operator gets a sentence, the log gets the rest.
            log.exception("admin command failed: %r", line[:200])
            return msgspec.json.encode(
                {"ok": False, "error": f"internal error: {error!r}; see the controller's log"}
            )


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True

# SPDX-License-Identifier: Apache-2.0
"""The admin API: JSON lines on a Unix socket.

A request is one line, `{"command": NAME, "arguments": {...}}`; the answer is one line,
`{"ok": true, "result": ...}` or `{"ok": false, "code": CODE, "error": TEXT}`, where CODE is a
canonical gRPC name: INVALID_ARGUMENT for a mistake in the request, INTERNAL for a defect of the
controller, anything else for what the switch did.  `"warning": TEXT` stands beside a result whose
counters are old because the switch is away.  A connection may carry any number of requests, one
after the other; after `conntrack-events` the answer is followed by a line for each event, until the
client ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import socket
import stat
from collections.abc import Generator
from pathlib import Path
from typing import Any

import msgspec

from p4ct.daemon.commands import COMMANDS, CommandError, carry_out
from p4ct.daemon.controller import Controller
from p4ct.daemon.events import Listener
from p4ct.eswitch.entries import EswitchError

__all__ = ["AdminServer", "SocketInUse"]

log = logging.getLogger("p4ct.admin")

MAX_REQUEST = 16 * 1024 * 1024
"""Bytes of one request: a large policy file fits."""
MAX_CLIENTS = 32
"""Connections at the same time."""


class SocketInUse(Exception):
    """The admin socket's place is taken; the text says by what."""


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    command: str
    arguments: dict[str, Any] = {}


class AdminServer:
    """Serves one controller on one socket, for its owner only (mode 0600)."""

    def __init__(
        self, controller: Controller, path: Path, *, max_request: int = MAX_REQUEST
    ) -> None:
        self.controller = controller
        self.path = path
        self.max_request = max_request
        self._server: asyncio.Server | None = None
        self._identity: tuple[int, int] | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Raises SocketInUse, or OSError when the socket cannot be made."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(self.path.parent):
            _clear(self.path)
            listener = socket.socket(socket.AF_UNIX)
            try:
                mask = os.umask(0o177)
                try:
                    listener.bind(str(self.path))
                finally:
                    os.umask(mask)
                listener.listen(MAX_CLIENTS)
            except OSError:
                listener.close()
                raise
            self._identity = _identity(self.path)
        self._server = await asyncio.start_unix_server(
            self._accept, sock=listener, limit=self.max_request
        )

    async def stop(self) -> None:
        """End every connection and remove the socket, unless it is another controller's by now."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for task in list(self._clients):
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        with contextlib.suppress(OSError), _locked(self.path.parent):
            if _identity(self.path) == self._identity:
                self.path.unlink()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            if len(self._clients) > MAX_CLIENTS:
                writer.write(_refusal("RESOURCE_EXHAUSTED", f"{MAX_CLIENTS} clients are connected"))
                await writer.drain()
                return
            while line := await self._line(reader):
                answer = await self._answer(line)
                if isinstance(answer, Listener):
                    await self._events(answer, reader, writer)
                    return
                writer.write(answer)
                await writer.drain()
        except _TooLong:
            limit = f"the request is longer than {self.max_request} bytes"
            writer.write(_refusal("INVALID_ARGUMENT", limit))
            with contextlib.suppress(ConnectionError):
                await writer.drain()
        except ConnectionError:
            pass  # the client did not wait for its answer
        except asyncio.CancelledError:
            pass  # the controller stops
        finally:
            self._clients.discard(task)
            writer.close()

    async def _line(self, reader: asyncio.StreamReader) -> bytes:
        try:
            return await reader.readline()
        except ValueError:  # asyncio's word for a line beyond the limit
            raise _TooLong from None

    async def _events(
        self, listener: Listener, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Send what the listener hears, until the client ends or says anything else."""
        client = asyncio.create_task(reader.read(1))
        try:
            writer.write(msgspec.json.encode({"ok": True, "result": "events follow"}) + b"\n")
            while not client.done():
                lines = asyncio.create_task(listener.take())
                await asyncio.wait((client, lines), return_when=asyncio.FIRST_COMPLETED)
                if not lines.done():
                    lines.cancel()
                    break
                writer.write(lines.result())
                # Waits for a slow reader, whose events are then counted as lost.
                await writer.drain()
        finally:
            client.cancel()
            self.controller.events.leave(listener)

    async def _answer(self, line: bytes) -> bytes | Listener:
        """The line that answers a request; a listener if events are to follow."""
        try:
            request = msgspec.json.decode(line, type=_Request)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return _refusal("INVALID_ARGUMENT", f"not a request: {error}")
        try:
            result = await carry_out(self.controller, request.command, request.arguments)
            if isinstance(result, Listener):
                return result
            answer = {"ok": True, "result": result}
            if COMMANDS[request.command].counters and self.controller.warning:
                answer["warning"] = self.controller.warning
            return msgspec.json.encode(answer) + b"\n"
        except CommandError as error:
            return _refusal("INVALID_ARGUMENT", str(error))
        except EswitchError as error:
            return _refusal(error.code, str(error))
        except Exception as error:
            # A defect of ours: the operator gets a sentence, the log gets the rest.
            log.exception("admin command %s failed: %r", request.command, line[:200])
            return _refusal("INTERNAL", f"internal error: {error!r}; see the controller's log")


class _TooLong(Exception):
    """A request beyond the limit."""


def _refusal(code: str, error: str) -> bytes:
    return msgspec.json.encode({"ok": False, "code": code, "error": error}) + b"\n"


@contextlib.contextmanager
def _locked(folder: Path) -> Generator[None]:
    """Of two controllers that start at once, the second sees what the first has made."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino


def _clear(path: Path) -> None:
    """Remove the socket that a killed controller left, and nothing else. Raises SocketInUse."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise SocketInUse(f"{path} is there and is not a socket; set admin.socket to another path")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except FileNotFoundError:
            return
        except OSError as error:
            # It may be alive and busy, or somebody else's: not ours to remove.
            if error.errno not in (None, errno.EAGAIN):
                raise
    raise SocketInUse(
        f"{path}: another p4ct answers there; stop it, or set admin.socket to another path"
    )

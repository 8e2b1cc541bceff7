# SPDX-License-Identifier: Apache-2.0
"""The metrics over HTTP, from the controller's own event loop.

A scrape asks for the totals that `p4ct status` shows, and only then costs anything.  Hardware's
share of the packets is that of the last periodic reading; what the switch counts by itself (punts,
drops) is read anew.  There is neither encryption nor authentication.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from http import HTTPStatus
from importlib.metadata import version

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from p4ct.daemon import views
from p4ct.daemon.controller import Controller
from p4ct.daemon.metrics import families

__all__ = ["MetricsServer"]

log = logging.getLogger("p4ct.metrics")

PATH = "/metrics"
CLIENT_TIMEOUT = 10.0
"""Seconds that a client may take to send its request, and then to take the answer."""
MAX_HEAD = 16384
"""Bytes of a request."""
MAX_CLIENTS = 16
"""Connections at the same time."""

_PLAIN = "text/plain; charset=utf-8"


class _Moment(Collector):
    """Metrics that were made just before they are encoded."""

    def __init__(self) -> None:
        self.metrics: list[Metric] = []

    def collect(self) -> list[Metric]:
        return self.metrics


class MetricsServer:
    """Serves one controller's metrics at `host`, `port`; one request a connection."""

    def __init__(self, controller: Controller, host: str, port: int) -> None:
        self.controller = controller
        self.host = host
        self.port = port
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()
        self._version = version("p4ct")
        self._moment = _Moment()
        self._registry = CollectorRegistry()
        self._registry.register(self._moment)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    async def start(self) -> None:
        """Raises OSError when the place is taken or is not ours. Port 0 becomes a free one."""
        self._server = await asyncio.start_server(
            self._accept, self.host, self.port, limit=MAX_HEAD
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """End every connection; nobody listens any more."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for task in list(self._clients):
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    async def text(self, accept: str) -> tuple[bytes, str]:
        """The metrics of now, and their content type: the best that a client accepts."""
        controller = self.controller
        status = await views.status(controller, controller.usable)
        stats = views.conntrack_stats(controller)
        encode, content_type = choose_encoder(accept)
        self._moment.metrics = list(families(status, stats, self._version))
        return encode(self._registry), content_type

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            if len(self._clients) > MAX_CLIENTS:
                answer = _answer(HTTPStatus.SERVICE_UNAVAILABLE, b"too many clients\n")
            else:
                answer = await self._answer_to(reader)
            # With this limit `drain` waits until everything has gone.
            writer.transport.set_write_buffer_limits(high=0)
            writer.write(answer)
            async with asyncio.timeout(CLIENT_TIMEOUT):
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client did not wait
        except TimeoutError:
            writer.transport.abort()  # it said nothing, or takes nothing
        except asyncio.CancelledError:
            pass  # the controller stops
        finally:
            self._clients.discard(task)
            with contextlib.suppress(ConnectionError):
                writer.close()

    async def _answer_to(self, reader: asyncio.StreamReader) -> bytes:
        try:
            async with asyncio.timeout(CLIENT_TIMEOUT):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return _answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, b"the request is too long\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        words = first.split()
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return _answer(HTTPStatus.BAD_REQUEST, b"not HTTP/1\n")
        method, target, _ = words
        if target.partition("?")[0] != PATH:
            return _answer(HTTPStatus.NOT_FOUND, f"the metrics are at {PATH}\n".encode())
        if method not in ("GET", "HEAD"):
            return _answer(HTTPStatus.METHOD_NOT_ALLOWED, b"GET or HEAD\n", more="Allow: GET, HEAD")
        accept = ",".join(
            value
            for name, _, value in (line.partition(":") for line in lines)
            if name.strip().lower() == "accept"
        )
        try:
            body, content_type = await self.text(accept)
        except Exception:
            log.exception("the metrics could not be made")
            return _answer(HTTPStatus.INTERNAL_SERVER_ERROR, b"see the controller's log\n")
        return _answer(HTTPStatus.OK, body, content_type, only_head=method == "HEAD")


def _answer(
    status: HTTPStatus,
    body: bytes,
    content_type: str = _PLAIN,
    *,
    more: str = "",
    only_head: bool = False,
) -> bytes:
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *([more] if more else []),
    ]
    head = "\r\n".join(lines).encode() + b"\r\n\r\n"
    return head if only_head else head + body

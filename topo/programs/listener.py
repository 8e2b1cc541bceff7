# SPDX-License-Identifier: Apache-2.0
"""A TCP server with one behaviour per port, on both families.

    python -m topo.programs.listener PORT=echo PORT=sink PORT=answer:BYTES ...

echo    sends everything back
sink    reads everything
answer  reads to the end of the peer's data, then sends BYTES bytes: a half-closed connection
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
CHUNK = 64 * 1024


def handler(behaviour: str) -> Handler:
    """The connection handler for a behaviour named on the command line."""
    kind, _, argument = behaviour.partition(":")
    size = int(argument or 0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(CHUNK):
                if kind == "echo":
                    writer.write(data)
                    await writer.drain()
            for sent in range(0, size, CHUNK):
                writer.write(bytes(min(CHUNK, size - sent)))
                await writer.drain()
        writer.close()

    return serve


async def main(arguments: list[str]) -> None:
    """Listen on every port named and serve until killed."""
    servers: list[asyncio.Server] = []
    for argument in arguments:
        port, _, behaviour = argument.partition("=")
        servers.append(await asyncio.start_server(handler(behaviour), ["0.0.0.0", "::"], int(port)))
    print('"ready"', flush=True)
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))

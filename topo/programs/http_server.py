# SPDX-License-Identifier: Apache-2.0
"""A web server on both families: every request is answered with 200 and the connection closed.

python -m topo.programs.http_server PORT
"""

from __future__ import annotations

import asyncio
import sys

BODY = b"served by vm1\n"
ANSWER = (
    b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n"
    + f"Content-Length: {len(BODY)}\r\n\r\n".encode()
    + BODY
)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection: read to the end of the request's header, answer, close."""
    try:
        request = await reader.readuntil(b"\r\n\r\n")
        known = request.startswith(b"GET ")
        writer.write(ANSWER if known else b"HTTP/1.0 501 Not Implemented\r\n\r\n")
        await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main(port: int) -> None:
    """Serve until killed."""
    server = await asyncio.start_server(serve, ["0.0.0.0", "::"], port, backlog=256)
    print('"ready"', flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))

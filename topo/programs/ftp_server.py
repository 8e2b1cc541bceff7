# SPDX-License-Identifier: Apache-2.0
"""As much of an FTP server as a client needs (RFC 959, RFC 2428), on both families.

    python -m topo.programs.ftp_server PORT...

Any user may log in. RETR N sends N bytes, STOR takes anything and says how many bytes it was.
Data connections are active (PORT, EPRT: from any port) or passive (PASV, EPSV), as the client asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable

Channel = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Opener = Callable[[], Awaitable[Channel]]

PATIENCE = 5.0
"""Seconds to wait for a data connection."""


class Session:
    """One control connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.address: str = writer.get_extra_info("sockname")[0]
        self.open_data: Opener | None = None
        self.listener: asyncio.Server | None = None

    async def serve(self) -> None:
        """Until QUIT or the end of the connection."""
        self.say("220 ready")
        try:
            while line := await self.reader.readline():
                word, _, rest = line.decode().strip().partition(" ")
                if word.upper() == "QUIT":
                    self.say("221 bye")
                    break
                await self.command(word.upper(), rest)
        except ConnectionError:
            pass
        finally:
            self.stop_listening()
            self.writer.close()

    def say(self, line: str) -> None:
        self.writer.write(f"{line}\r\n".encode())

    async def command(self, word: str, rest: str) -> None:
        if word in ("USER", "TYPE", "NOOP"):
            self.say("230 welcome" if word == "USER" else "200 ok")
        elif word == "PORT":
            *address, high, low = rest.split(",")
            self.connect_to(".".join(address), int(high) * 256 + int(low))
        elif word == "EPRT":
            _, _, address, port, _ = rest.split(rest[0])
            self.connect_to(address, int(port))
        elif word in ("PASV", "EPSV"):
            port = await self.listen()
            numbers = ",".join((*self.address.split("."), str(port >> 8), str(port & 255)))
            extended = f"229 Extended passive mode (|||{port}|)"
            self.say(extended if word == "EPSV" else f"227 Passive mode ({numbers})")
        elif word in ("RETR", "STOR"):
            await self.transfer(word, rest)
        else:
            self.say("502 not known here")

    def connect_to(self, address: str, port: int) -> None:
        async def connect() -> Channel:
            return await asyncio.open_connection(address, port)

        self.open_data = connect
        self.say("200 ok")

    async def listen(self) -> int:
        self.stop_listening()
        arrived: asyncio.Queue[Channel] = asyncio.Queue()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await arrived.put((reader, writer))

        self.listener = await asyncio.start_server(accept, self.address, 0)
        self.open_data = arrived.get
        return self.listener.sockets[0].getsockname()[1]

    def stop_listening(self) -> None:
        if self.listener is not None:
            self.listener.close()
            self.listener = None

    async def transfer(self, word: str, name: str) -> None:
        if self.open_data is None:
            self.say("425 PORT or PASV first")
            return
        self.say("150 opening")
        try:
            async with asyncio.timeout(PATIENCE):
                reader, writer = await self.open_data()
        except (OSError, TimeoutError):
            self.say("425 no data connection")
            return
        finally:
            self.open_data = None
        number = 0
        with contextlib.suppress(ConnectionError):
            if word == "RETR":
                number = int(name)
                writer.write(bytes(n % 251 for n in range(number)))
                await writer.drain()
            else:
                while data := await reader.read(65536):
                    number += len(data)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        self.say(f"226 {number} bytes")


async def main(ports: list[int]) -> None:
    """Serve until killed."""
    for port in ports:
        await asyncio.start_server(
            lambda reader, writer: Session(reader, writer).serve(), ["0.0.0.0", "::"], port
        )
    print('"ready"', flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main([int(word) for word in sys.argv[1:]]))

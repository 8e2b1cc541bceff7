# SPDX-License-Identifier: Apache-2.0
"""Python's FTP client: gets and puts some bytes with data connections of one kind.

    python -m topo.programs.ftp_client ADDRESS PORT KIND BYTES    (KIND: PORT, EPRT, PASV, EPSV)

Prints {"got": BYTES, "put": BYTES}, or {"error": TEXT}.
"""

from __future__ import annotations

import ftplib
import json
import socket
import sys
from io import BytesIO

PATIENCE = 4.0
"""Seconds to wait for anything."""


class Client(ftplib.FTP):
    """ftplib chooses between the old and the extended commands by the family; here it is told."""

    kind = "PASV"

    def makepasv(self) -> tuple[str, int]:
        """Where the server listens."""
        assert self.sock is not None
        peer = self.sock.getpeername()
        if self.kind == "EPSV":
            return ftplib.parse229(self.sendcmd("EPSV"), peer)
        return ftplib.parse227(self.sendcmd("PASV"))

    def makeport(self) -> socket.socket:
        """Listen, and tell the server where."""
        assert self.sock is not None
        listener = socket.create_server(("", 0), family=self.af, backlog=1)
        listener.settimeout(PATIENCE)
        port = listener.getsockname()[1]
        host = self.sock.getsockname()[0]
        if self.kind == "EPRT":
            family = 1 if self.af == socket.AF_INET else 2
            self.voidcmd(f"EPRT |{family}|{host}|{port}|")
        else:
            self.sendport(host, port)
        return listener


def exchange(address: str, port: int, kind: str, size: int) -> dict[str, int]:
    """Log in, get that many bytes, put as many, and leave."""
    with Client(timeout=PATIENCE) as client:
        client.kind = kind
        client.connect(address, port)
        client.login("anyone")
        client.set_pasv(kind in ("PASV", "EPSV"))
        got = BytesIO()
        client.retrbinary(f"RETR {size}", got.write)
        said = client.storbinary("STOR file", BytesIO(bytes(size)))
        client.quit()
    expected = bytes(n % 251 for n in range(size))
    return {"got": len(got.getvalue()) * (got.getvalue() == expected), "put": int(said.split()[1])}


if __name__ == "__main__":
    to, port, kind, size = sys.argv[1:]
    try:
        print(json.dumps(exchange(to, int(port), kind, int(size))))
    except (OSError, EOFError, ftplib.Error) as error:
        print(json.dumps({"error": repr(error)}))

# SPDX-License-Identifier: Apache-2.0
"""One TCP connection under the scenario's control: a command a line in, a JSON answer a line out.

connect ADDRESS PORT TIMEOUT [SPORT]
                               {"connected": bool, "error": text, "sport": n}
echo ROUNDS                    send and get back; {"rounds": n}
stream                         send 1000 bytes every 5 ms from now on; {}
sent                           {"sent": bytes the kernel has taken so far}
shutdown                       end our direction, read to the end of the other; {"received": n}
reset                          end the connection with RST; {}
close                          end it with FIN; {}
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import threading
import time
from typing import Any

MESSAGE = bytes(1000)
STREAM_INTERVAL = 0.005


class Talker:
    """The connection and the thread that streams on it."""

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self.taken = 0
        self.streaming = False

    def connect(self, address: str, port: str, timeout: str, sport: str = "0") -> dict[str, Any]:
        own = ("", int(sport)) if int(sport) else None
        try:
            self.socket = socket.create_connection((address, int(port)), float(timeout), own)
        except OSError as error:
            return {"connected": False, "error": str(error), "sport": 0}
        self.socket.settimeout(30.0)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return {"connected": True, "error": "", "sport": self.socket.getsockname()[1]}

    @property
    def connected(self) -> socket.socket:
        if self.socket is None:
            raise ValueError("not connected")
        return self.socket

    def echo(self, rounds: str) -> dict[str, Any]:
        done = 0
        for _ in range(int(rounds)):
            self.connected.sendall(MESSAGE)
            left = len(MESSAGE)
            while left and (data := self.connected.recv(left)):
                left -= len(data)
            if left:
                break
            done += 1
        return {"rounds": done}

    def stream(self) -> dict[str, Any]:
        self.streaming = True
        # The stream must survive being cut for a while: no time-out.
        self.connected.settimeout(None)
        threading.Thread(target=self.keep_sending, daemon=True).start()
        return {}

    def keep_sending(self) -> None:
        while self.streaming:
            try:
                self.taken += self.connected.send(MESSAGE)
            except OSError:
                return
            time.sleep(STREAM_INTERVAL)

    def sent(self) -> dict[str, Any]:
        return {"sent": self.taken}

    def shutdown(self) -> dict[str, Any]:
        self.connected.shutdown(socket.SHUT_WR)
        received = 0
        while data := self.connected.recv(1 << 16):
            received += len(data)
        return {"received": received}

    def reset(self) -> dict[str, Any]:
        self.streaming = False
        # Linger on with a time of 0: close() discards what is queued and sends RST.
        self.connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connected.close()
        return {}

    def close(self) -> dict[str, Any]:
        self.streaming = False
        self.connected.close()
        return {}


def main() -> None:
    """Obey until the input ends."""
    talker = Talker()
    verbs = {
        verb: getattr(talker, verb)
        for verb in ("connect", "echo", "stream", "sent", "shutdown", "reset", "close")
    }
    for line in sys.stdin:
        verb, *arguments = line.split()
        try:
            answer = verbs[verb](*arguments)
        except (OSError, ValueError) as error:
            answer = {"error": f"{verb}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

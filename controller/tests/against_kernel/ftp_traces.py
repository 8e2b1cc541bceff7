# SPDX-License-Identifier: Apache-2.0
"""Random traces of FTP and TFTP: what is announced, whether somebody comes, and what goes wrong.

Left asks and right serves. Where addresses are translated, the lines are too, and both ends go on
in numbers of their own.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from p4ct.conntrack import Connection

from .ftp_packets import LEFT, RIGHT, Data, FtpLine, Tftp, ftp_ends
from .other_traces import Writer
from .packets import Pause, Step
from .tcp_traces import A, F, P, R, S

_M = 0xFFFFFFFF
Planned = Callable[[Connection | None], FtpLine | Data]

#: What announces, by who says it: with IPv4, and with both versions. {2} stands for EPRT's family.
_CLIENT4 = ("PORT {six}\r\n", "port {six}\r\n", "PORT  x {six}\r\n")
_CLIENT = ("EPRT |{2}|{address}|{port}|\r\n", "eprt !{2}!{address}!{port}!\r\n")
_SERVER4 = ("227 Entering Passive Mode ({six}).\r\n", "227 ={six}\r\n", "227 {six}.\r\n")
_SERVER = ("229 Extended (|||{port}|)\r\n", "229 (!!!{port}!\r\n")
#: Lines that announce nothing, are not to be believed, or cannot be read.
_NOT_CLIENT = (
    "NOOP\r\n",
    "STOR a file",
    "NOOP\r\nPORT {six}\r\n",
    "XPORT {six}\r\n",
    "P",
    "EPR",
    "PORT {six}",
    "PORT {six}\n",
    "PORT {six},1\r\n",
    "PORT 10,1,2\r\n",
    "PORT\r\n",
    "PORT {six}\r\nNOOP\r\n",
    "EPRT |1|{other}|{port}|\r\n",
    "EPRT |2|{other}|{port}|\r\n",
    "EPRT |3|{address}|{port}|\r\n",
    "EPRT |{2}|{address}|0|\r\n",
    "EPRT |{2}|{address}|{port}",
    "EPRT |{2}|{address}!{port}!\r\n",
    "229 (|||{port}|)\r\n",
)
_NOT_SERVER = (
    "200 ok\r\n",
    "227",
    "2",
    "227 nothing\r\n",
    "227 (1,2,3,4,5,6)\r\n",
    "227 (,{six})\r\n",
    "227 ({six}",
    "227 ({six},1)\r\n",
    "229 (|||0|)\r\n",
    "229 (||{port}|)\r\n",
    "229 (|||{port}\r\n",
    "229 nothing\r\n",
    "229-(|||{port}|)\r\n",
    "PORT {six}\r\n",
)


class FtpWriter(Writer):
    """A control connection, and data connections that were announced or were not.

    Right never begins a control connection: nothing would translate it, and left's next one would
    get a port that is drawn by chance.
    """

    def __init__(self, rng: random.Random, version: int) -> None:
        super().__init__(rng, version, 36)
        self._next = [rng.getrandbits(32), rng.choice((0, 0x7FFFFF00, 0xFFFFFF00))]
        self._ports = rng.sample(range(1024, 65536), 200)
        self._widths = ftp_ends(0, version)
        self._wild = rng.choice((0.0, 0.1, 0.2, 0.4))
        self._sent: list[Step] = []
        self._plan = self._script()

    def __call__(self, conn: Connection | None) -> Step | Pause | None:
        return None if conn is None and self._sent else super().__call__(conn)

    def step(self, conn: Connection | None) -> Step:
        step = self._some_step(conn)
        while _resets_adjusted(step, conn):
            step = self._some_step(conn)
        return step

    def _some_step(self, conn: Connection | None) -> Step:
        draw = self.rng
        step: Step
        if conn is not None and draw.random() < self._wild:
            kind = draw.choice(("again", "again", "lost", "not", "not", "end"))
            if kind == "again":
                return draw.choice(self._sent[-5:])
            if kind == "lost":
                next(self._plan)(conn)
                step = next(self._plan)(conn)
            elif kind == "not":
                way = draw.getrandbits(1)
                said = draw.choice((_NOT_CLIENT, _NOT_SERVER)[way])
                step = self._say(way, self._family(said))(conn)
            else:
                way, flags = draw.choice(((LEFT, S), (LEFT, F | A), (RIGHT, F | A), (LEFT, R | A)))
                step = self._line(conn, way, flags, "", 0)
        else:
            step = next(self._plan)(conn)
        self._sent.append(step)
        return step

    def _script(self) -> Iterator[Planned]:
        draw = self.rng
        yield self._flags(LEFT, S)
        yield self._flags(RIGHT, S | A)
        yield self._flags(LEFT, A)
        yield self._say(RIGHT, "220 ready\r\n")
        yield self._say(LEFT, "USER x\r\n")
        yield self._say(RIGHT, "331 and?\r\n")
        while True:
            way = draw.getrandbits(1)
            plain = ((_CLIENT, _SERVER), (_CLIENT4 + _CLIENT, _SERVER4 + _SERVER))
            said = self._family(draw.choice(plain[self.version == 4][way]))
            port = self._ports.pop()
            if draw.random() < 0.15:  # in two segments
                cut = draw.randrange(1, 6)
                yield self._say(way, said[:cut], port)
                yield self._say(way, said[cut:], port)
            else:
                yield self._say(way, said, port)
            if draw.random() < 0.7:
                yield self._flags(1 - way, A)
            if draw.random() < 0.8:
                yield from self._data(way, port)
            if draw.random() < 0.5:
                yield self._say(way, draw.choice(("NOOP\r\n", "226 done\r\n")))

    def _data(self, announcer: int, port: int) -> Iterator[Planned]:
        """Somebody comes: mostly as announced, else to another port, or the other way round."""
        draw = self.rng
        caller = 1 - announcer
        expected = draw.random() < 0.8
        if not expected:
            port = self._ports.pop()
        own = draw.choice((20, 20, self._ports.pop())) if caller == RIGHT else self._ports.pop()
        ports = (own, port) if caller == LEFT else (port, own)
        script = [(caller, S), (caller, S), (1 - caller, S | A), (caller, A), (caller, F | A)]
        script += [(1 - caller, F | A), (caller, A), (1 - caller, R | A)]
        for way, flags in script[: draw.choice((1, 3, 3, 4, 8))]:
            yield lambda _, way=way, flags=flags: self._segment(way, flags, ports, caller)

    @staticmethod
    def _segment(way: int, flags: int, ports: tuple[int, int], caller: int) -> Data:
        seq = (1000 if way == caller else 5000) + (not flags & S)
        ack = (5001 if way == caller else 1001) if flags & A else 0
        return Data(way, flags, seq, ack, ports=ports)

    def _family(self, said: str) -> str:
        return said.replace("{2}", "1" if self.version == 4 else "2")

    def _flags(self, way: int, flags: int) -> Planned:
        return lambda conn: self._line(conn, way, flags, "", 0)

    def _say(self, way: int, text: str, port: int = 0) -> Planned:
        said = port or self._ports.pop()
        return lambda conn: self._line(conn, way, P | A, text, said)

    def _line(self, conn: Connection | None, way: int, flags: int, text: str, port: int) -> FtpLine:
        ack = self._next[1 - way]
        extra = None if conn is None else conn.extra
        if extra is not None and extra.adjust is not None:
            ack = extra.adjust[1 - way].outgoing(ack)  # what has arrived there
        ack = ack if flags & A else 0
        line = FtpLine(way, flags, self._next[way], ack, 29200, text=text, port=port)
        more = len(line.payload(self._widths)) + (flags & F) + (flags >> 1 & 1)
        self._next[way] = (self._next[way] + more) & _M
        return line


def _resets_adjusted(step: Step, conn: Connection | None) -> bool:
    """The kernel compares an RST's acknowledgement as it is with numbers that are shifted."""
    adjusted = conn is not None and conn.extra is not None and conn.extra.adjust is not None
    return adjusted and isinstance(step, FtpLine) and bool(step.flags & R)


class TftpWriter(Writer):
    """Requests, answers from another port, and what looks like them."""

    def __init__(self, rng: random.Random, version: int) -> None:
        super().__init__(rng, version, 16)
        self._answers = 0

    def step(self, conn: Connection | None) -> Step:
        draw = self.rng
        kind = draw.choice(("ask", "ask", "answer", "answer", "answer", "else"))
        if conn is None or kind == "ask":
            return Tftp(LEFT, draw.choice((0, 20)), code=draw.choice((1, 2)))
        if kind == "else":
            return Tftp(draw.getrandbits(1), draw.choice((0, 20)), code=draw.choice((0, 1, 2, 3)))
        if draw.random() < 0.5 or not self._answers:
            self._answers = draw.randrange(1024, 65536)
        way = draw.choice((RIGHT, RIGHT, LEFT))
        return Tftp(way, 20, code=draw.choice((3, 4)), port=self._answers)

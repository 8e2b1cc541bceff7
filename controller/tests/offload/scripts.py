# SPDX-License-Identifier: Apache-2.0
"""Scenarios as text: packets, and what must come of them, with offload and without.

A script has one step a line:

    vm1: tcp/S 10.0.0.1,1000 > 10.0.0.3,80 -> ext                  arrives at ext, unchanged
    vm1: ping/7 10.0.0.1 > 10.0.0.3 -> ext ping/7 10.0.0.9 > 10.0.0.3     arrives so
    3x ext: udp 10.0.0.3,80 > 10.0.0.1,1000 => vm1                 three times, by entries if on
    ext: udp 10.0.0.3,80 > 10.0.0.1,1 -> nothing
    ext: unreach 10.0.0.3 > 10.0.0.1 : udp 10.0.0.1,1 > 10.0.0.3,2 -> vm1    about that packet
    count zone=1 mark=5 = 2                                        filter words as of the CLI
    flush tcp dport=80
    wait 31
    show udp,orig=(src=10.0.0.1,…                                  a line of the dpctl format

Packets: `tcp/FLAGS` (S, SA, A, FA, R …), `udp`, `udp/TOS`, `ping/ID`, `pong/ID`,
`sctp/CHUNK`, `proto/NUMBER`, and the errors `unreach` and `exceeded` (ICMP and ICMPv6). TCP
sequence numbers begin at 1000 on each side.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from struct import pack

from p4ct.conntrack import Limits, Timeouts
from p4ct.conntrack.format_dpctl import dpctl_line
from p4ct.daemon.select import Selection
from p4ct.offload.manager import OffloadOptions
from p4ct.packet import build
from p4ct.packet.parse import Packet, parse
from p4ct.packet.text import format_ip
from p4ct.pipeline.ports import PortTable, Vport

from .model import World

PORTS = {"vm1": 1, "vm2": 2, "ext": 3}
MACS = {name: bytes([2, 0, 0, 0, 0, number]) for name, number in PORTS.items()}
FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16}
#: Chunk type, verification tag and body.
_TAGS = pack("!LHHL", 65536, 1, 1, 1)
CHUNKS = {
    "INIT": (1, 0, pack("!L", 0x11) + _TAGS),
    "INIT_ACK": (2, 0x11, pack("!L", 0x22) + _TAGS),
    "COOKIE_ECHO": (10, 0x22, b""),
    "COOKIE_ACK": (11, 0x11, b""),
    "DATA": (0, 0x22, b""),
    "ABORT": (6, 0x22, b""),
}
ERRORS = {(4, 3, 3): "unreach", (4, 11, 0): "exceeded", (6, 1, 4): "unreach", (6, 3, 0): "exceeded"}
STEP = re.compile(r"(?:(\d+)x )?(\w+): (.*?) (->|=>) (nothing|\w+)(?: (.*))?")


def frame_of(text: str, sender: str = "vm1") -> bytes:
    """The frame that a packet in the notation above is, from a vport."""
    outer, _, quoted = text.partition(" : ")
    kind, src, _, dst = outer.split()
    kind, _, what = kind.partition("/")
    (source, _, sport), (target, _, dport) = src.partition(","), dst.partition(",")
    receiver = "vm1" if sender == "ext" else "ext"
    link = {"eth_src": MACS[sender], "eth_dst": MACS[receiver], "src": source, "dst": target}
    if kind == "tcp":
        flags = sum(FLAGS[letter] for letter in what)
        ports = {"sport": int(sport), "dport": int(dport)}
        seq, ack = 1000 + (not flags & 2), 1001 if flags & 16 else 0
        return build.tcp_frame(**link, **ports, seq=seq, ack=ack, flags=flags)
    if kind == "udp":
        return build.udp_frame(
            **link, sport=int(sport), dport=int(dport), payload=b"datagram", tos=int(what or 0)
        )
    if kind in ("ping", "pong"):
        return build.icmp_echo_frame(**link, identifier=int(what), reply=kind == "pong")
    if kind == "sctp":
        number, tag, body = CHUNKS[what]
        chunk = pack("!BBH", number, 0, 4 + len(body)) + body
        return build.sctp_frame(**link, sport=int(sport), dport=int(dport), vtag=tag, chunks=chunk)
    if kind == "proto":
        return build.ip_frame(**link, proto=int(what), payload=b"payload of it")
    version = 6 if ":" in source else 4
    ((number, code),) = [k[1:] for k, name in ERRORS.items() if name == kind and k[0] == version]
    body = bytes(4) + frame_of(quoted)[14:]
    return build.icmp_frame(**link, icmp_type=number, icmp_code=code, body=body)


def text_of(pkt: Packet) -> str:
    """A packet in the notation above."""
    src, dst = format_ip(pkt.src), format_ip(pkt.dst)
    with_ports = f"{src},{pkt.sport} > {dst},{pkt.dport}"
    if pkt.proto == 6:
        return f"tcp/{''.join(k for k in 'SFRPA' if pkt.flags & FLAGS[k])} {with_ports}"
    if pkt.proto == 17:
        return f"udp{f'/{pkt.tos}' if pkt.tos else ''} {with_ports}"
    if pkt.proto == 132:
        number = pkt.frame[pkt.l4_offset + 12]
        name = next(name for name, chunk in CHUNKS.items() if chunk[0] == number)
        return f"sctp/{name} {with_ports}"
    if pkt.proto in (1, 58):
        kind = pkt.dport >> 8
        if kind in (0, 8, 128, 129):
            return f"{'ping' if kind in (8, 128) else 'pong'}/{pkt.sport} {src} > {dst}"
        quoted = parse(pkt.frame[:14] + pkt.frame[pkt.l4_offset + 8 :])
        assert not quoted.error
        name = ERRORS[pkt.version, kind, pkt.dport & 0xFF]
        return f"{name} {src} > {dst} : {text_of(quoted)}"
    return f"proto/{pkt.proto} {src} > {dst}"


class Play:
    """One world in which a script is played; what came of each packet is kept."""

    def __init__(
        self,
        flows: str,
        *,
        enabled: bool,
        timeouts: Timeouts | None = None,
        limits: Limits | None = None,
    ) -> None:
        vports = [Vport(number, name, number) for name, number in PORTS.items()]
        self.world = World(
            policy=flows,
            ports=PortTable(vports),
            options=OffloadOptions(enabled=enabled),
            timeouts=timeouts,
        )
        if limits is not None:
            self.world.tracker.limits = limits
        self.enabled = enabled
        self.names = {number: name for name, number in PORTS.items()}

    def step(self, line: str) -> list[str]:
        """Carry out a step; the frames that arrived, and the connections that there are then."""
        world, (verb, _, rest) = self.world, line.partition(" ")
        if verb == "wait":
            world.report_idle()
            world.later(float(rest))
            world.report_idle()
        elif verb == "flush":
            self._flush(rest.split())
        elif verb == "count":
            words, _, number = rest.rpartition("= ")
            found = sum(map(Selection(words.split()).fits, world.connections()))
            assert found == int(number), (line, self.table())
        elif verb == "show":
            assert rest in self.table(), (rest, self.table())
        else:
            return self._packets(line)
        return self.table()

    def table(self) -> list[str]:
        return sorted(dpctl_line(conn, self.world.now) for conn in self.world.connections())

    def _packets(self, line: str) -> list[str]:
        match = STEP.fullmatch(line)
        assert match, f"no step: {line}"
        times, sender, packet, arrow, receiver, changed = match.groups()
        wanted = [] if receiver == "nothing" else [(receiver, changed or packet)]
        seen: list[str] = []
        for _ in range(int(times or 1)):
            frame = frame_of(packet, sender)
            del self.world.delivered[:]
            how = self.world.packet(frame, PORTS[sender])
            arrived = [(self.names[port], got) for port, got in self.world.delivered]
            assert [(name, text_of(parse(got))) for name, got in arrived] == wanted, line
            if arrow == "=>":
                assert how == ("hardware" if self.enabled else "software"), line
            seen += [f"{name} {got.hex()}" for name, got in arrived]
        return seen + self.table()

    def _flush(self, words: list[str]) -> None:
        """As `p4ct.daemon.operations.flush`: first the entries go, then the connections."""
        world, selection = self.world, Selection(words)
        chosen = list(filter(selection.fits, world.connections()))
        for record in world.manager.records_of(chosen):
            world.manager.remove(record, "flushed")
        world.rounds()
        for connection in chosen:
            world.tracker.remove(connection, world.now)
        world.manager.take_ended()
        world.rounds()


def steps(script: str) -> Iterator[str]:
    for line in script.splitlines():
        if line.strip() and not line.strip().startswith("#"):
            yield " ".join(line.split())


def play(
    flows: str,
    script: str,
    *,
    timeouts: Timeouts | None = None,
    limits: Limits | None = None,
) -> Play:
    """Play the script with offload enabled and disabled; the same must come of each step.

    Answers the world with offload.
    """
    on, off = (
        Play(flows, enabled=enabled, timeouts=timeouts, limits=limits) for enabled in (True, False)
    )
    for line in steps(script):
        assert on.step(line) == off.step(line), line
    assert off.world.by_hardware == 0
    return on

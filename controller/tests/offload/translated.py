# SPDX-License-Identifier: Apache-2.0
"""Two ends with a translation between them, and a policy that translates."""

from __future__ import annotations

from p4ct.packet import Packet, build, parse
from p4ct.packet.text import format_ip, parse_ip

from .model import ACK, FIN, MAC, SYN, World, learn

CLIENT, SERVER, NAT, FRONT = "10.0.0.1", "10.0.0.3", "10.0.0.100", "10.0.0.200"
V6 = {CLIENT: "fd00::1", SERVER: "fd00::3", NAT: "fd00::100", FRONT: "fd00::200"}


def policy(ports: str = "") -> str:
    """From inside all is translated to NAT, with these ports; from outside TCP to the client."""
    lines = ["table=0,priority=100,arp,actions=NORMAL"]
    for family, names in (("ip", {}), ("ipv6", V6)):
        tcp = "tcp" if family == "ip" else "tcp6"
        own, client = names.get(NAT, NAT), names.get(CLIENT, CLIENT)
        inside = f"src=[{own}]{ports}" if names and ports else f"src={own}{ports}"
        outside = f"dst=[{client}]:80" if names else f"dst={client}:80"
        lines += [
            f"table=0,priority=50,{family},actions=ct(zone=1,nat,table=1)",
            f"table=1,priority=90,{family},ct_state=+trk+est,actions=goto_table:2",
            f"table=1,priority=90,{family},ct_state=+trk+rel,actions=goto_table:2",
            f"table=1,priority=80,in_port=vm1,ct_state=+trk+new,{family},"
            f"actions=ct(commit,zone=1,nat({inside}),table=2)",
            f"table=1,priority=80,in_port=ext,ct_state=+trk+new,{tcp},"
            f"actions=ct(commit,zone=1,nat({outside}),table=2)",
        ]
    return "\n".join([*lines, "table=2,priority=0,actions=NORMAL"]) + "\n"


class Ends:
    """A client and a server; each answers to where the other's packets seem to come from."""

    def __init__(
        self,
        world: World,
        proto: str = "tcp",
        sport: int = 40000,
        *,
        inside: bool = True,
        v6: bool = False,
        dport: int = 80,
        ttl: int = 64,
    ) -> None:
        self.world = world
        self.proto = proto
        self.ttl = ttl
        self.side = ("vm1", "ext") if inside else ("ext", "vm1")
        names = (CLIENT, SERVER) if inside else (SERVER, FRONT)
        client, server = (parse_ip(V6[name] if v6 else name) for name in names)
        if proto == "icmp":
            dport = 0
        #: What each end writes into its packets: addresses and ports.
        self.ends = [(client, server, sport, dport), (b"", b"", 0, 0)]
        self.seq = [1000, 5000]
        self.seen: list[Packet] = []

    def send(self, who: int, flags: int = ACK, payload: bytes = b"", *, check: bool = True) -> str:
        """One packet of the client (0) or the server (1); what arrived is noted in `seen`."""
        src, dst, sport, dport = self.ends[who]
        link = {
            "eth_src": MAC[self.side[who]],
            "eth_dst": MAC[self.side[1 - who]],
            "ttl": self.ttl,
        }
        if self.proto == "tcp":
            frame = build.tcp_frame(
                **link, src=src, dst=dst, sport=sport, dport=dport, seq=self.seq[who],
                ack=self.seq[1 - who] if flags & ACK else 0, flags=flags, payload=payload,
            )  # fmt: skip
            self.seq[who] += len(payload) + bool(flags & SYN) + bool(flags & FIN)
        elif self.proto == "udp":
            frame = build.udp_frame(
                **link, src=src, dst=dst, sport=sport, dport=dport, payload=payload
            )
        else:
            frame = build.icmp_echo_frame(
                **link, src=src, dst=dst, identifier=sport, reply=bool(who), payload=payload
            )
        before = len(self.world.delivered)
        how = self.world.packet(frame, 1 if self.side[who] == "vm1" else 3)
        for port, arrived in self.world.delivered[before:]:
            assert port == (1 if self.side[1 - who] == "vm1" else 3)
            pkt = parse(arrived)
            self.seen.append(pkt)
            other = (pkt.dst, pkt.src, pkt.dport, pkt.sport)
            if self.proto == "icmp":
                other = (pkt.dst, pkt.src, pkt.sport, 0)
            if who == 0:
                self.ends[1] = other
            elif check:
                assert (other[0], other[1]) == self.ends[0][:2], "the answer is not from the server"
        return how

    def open(self) -> Ends:
        if self.proto == "tcp":
            self.send(0, SYN)
            self.send(1, SYN | ACK)
            self.send(0, ACK)
        for who in (0, 1, 0, 1):
            self.send(who, payload=b"hello")
        return self

    @property
    def arrived(self) -> tuple[str, str, int, int]:
        """Ends of the last packet that arrived anywhere."""
        pkt = self.seen[-1]
        return format_ip(pkt.src), format_ip(pkt.dst), pkt.sport, pkt.dport


def new_world(text: str = "", **more: object) -> World:
    world = World(policy=text or policy(), **more)  # type: ignore[arg-type]
    learn(world)
    return world

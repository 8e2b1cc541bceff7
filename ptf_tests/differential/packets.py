# SPDX-License-Identifier: Apache-2.0
"""Random packets, most of them aimed at an entry, many of them with something wrong."""

from __future__ import annotations

import random
from dataclasses import replace

from differential import build
from differential import pools as p
from differential.mutate import mutate
from differential.world import Aim, Ingress, World

MAX_WIRE = 1514
_FLAGS = (0x18, 0x02, 0x12, 0x11, 0x04, 0x14, 0x00, 0x08)


class Packets:
    """Frames for a port of a world."""

    def __init__(self, rng: random.Random, world: World) -> None:
        self.rng = rng
        self.world = world
        self.pools = world.pools

    def frame(self, port: int) -> bytes:
        """A frame to be received on `port`, of 14 to 1514 bytes."""
        aim, tunnelled = self._aim(port)
        frame = self._aimed(aim)
        if tunnelled or (self.world.tunnels and self.rng.random() < 0.05):
            frame = self._in_vxlan(frame, aim.ingress)
        frame = mutate(self.rng, frame)
        if len(frame) < 14:
            frame = frame.ljust(14, b"\0")
        return frame[:MAX_WIRE]

    # Where to

    def _aim(self, port: int) -> tuple[Aim, bool]:
        rng, world = self.rng, self.world
        kind = rng.random()
        if kind < 0.6:
            aims = [a for a in world.connections if a.ingress.port == port]
        elif kind < 0.85:
            aims = [a for a in world.flows if a.ingress.port == port]
        else:
            aims = [Aim(i) for i in world.ingresses if i.port == port]
        if not aims or rng.random() < 0.03:
            vlan = rng.choice((None, *self.pools.vlans))
            aims = [Aim(Ingress(port, 0, vlan, 0))]
        aim = rng.choice(aims)
        if rng.random() < 0.1:  # almost what was aimed at
            name = rng.choice(("eth_src", "eth_dst", "src", "dst", "proto", "sport", "dport"))
            aim = replace(aim, **{name: None})
        return aim, aim.ingress.tunnel_vport != 0

    def _aimed(self, aim: Aim) -> bytes:
        rng, pools = self.rng, self.pools
        ether_type = aim.ether_type
        if ether_type is None:
            ether_type = rng.choice((0x0800, 0x0800, 0x86DD, 0x86DD, rng.choice(p.ETHERTYPES)))
        tags = []
        if aim.ingress.vlan is not None:
            tags.append((0x8100, rng.choice((0, 0, rng.getrandbits(4))) << 12 | aim.ingress.vlan))
        if rng.random() < 0.02:
            tpid = rng.choice((0x8100, 0x88A8))
            tags.insert(rng.randrange(len(tags) + 1), (tpid, rng.getrandbits(16)))
        head = build.ethernet(
            pools.mac() if aim.eth_dst is None else aim.eth_dst,
            pools.mac() if aim.eth_src is None else aim.eth_src,
            tags,
            ether_type,
        )
        if ether_type == 0x0800:
            return head + self._ip(4, aim)
        if ether_type == 0x86DD:
            return head + self._ip(6, aim)
        return head + rng.randbytes(rng.choice((0, 1, 28, 46, 100)))

    # IP

    def _ip(self, family: int, aim: Aim) -> bytes:
        rng, pools = self.rng, self.pools
        width = 32 if family == 4 else 128
        src, dst = pools.two_ips(family)
        src = (src if aim.src is None else aim.src) % (1 << width)
        dst = (dst if aim.dst is None else aim.dst) % (1 << width)
        if rng.random() < 0.02:
            dst = src
        icmp = p.ICMP if family == 4 else p.ICMPV6
        proto = aim.proto
        if proto is None:
            proto = rng.choice((p.TCP, p.UDP, icmp, rng.getrandbits(8), rng.choice(p.EXTENSIONS)))
        message = self._l4(family, proto, aim)
        if rng.random() < 0.9:
            message = build.with_l4_checksum(family, src, dst, proto, message)
        if proto == p.UDP and len(message) >= 8 and rng.random() < 0.2:
            message = message[:6] + b"\0\0" + message[8:]
        return (
            self._ipv4(src, dst, proto, message)
            if family == 4
            else self._ipv6(src, dst, proto, message)
        )

    def _ipv4(self, src: int, dst: int, proto: int, message: bytes) -> bytes:
        rng = self.rng
        odd: dict[str, int | bytes] = {"tos": rng.choice((0, 0, rng.getrandbits(8)))}
        odd["ident"] = rng.getrandbits(16)
        odd["ttl"] = rng.choice((64, 64, 255, 2, rng.getrandbits(8)))
        odd["frag"] = rng.choice((0x4000, 0x4000, 0))
        if rng.random() < 0.25:
            what = rng.randrange(8)
            if what == 0:
                odd["ttl"] = rng.randrange(3)
            elif what == 1:
                odd["frag"] = rng.choice((0x2000, 0x2001, 1, 0x8000, rng.getrandbits(16)))
            elif what == 2:
                odd["options"] = rng.randbytes(rng.randrange(1, 41))
            elif what == 3:
                odd["version"] = rng.getrandbits(4)
            elif what == 4:
                odd["ihl"] = rng.getrandbits(4)
            elif what == 5:
                odd["total_len"] = rng.choice(
                    (0, 19, 20, 21, 27, 28, 39, 40, 0xFFFF, 20 + len(message) + rng.randint(-9, 9))
                )
            else:
                odd["sum_error"] = rng.choice((1, 0xFFFF, 0x100, rng.getrandbits(16)))
        return build.ipv4(src, dst, proto, message, **odd)  # type: ignore[arg-type]

    def _ipv6(self, src: int, dst: int, proto: int, message: bytes) -> bytes:
        rng = self.rng
        odd: dict[str, int] = {"traffic_class": rng.choice((0, 0, rng.getrandbits(8)))}
        odd["flow_label"] = rng.getrandbits(20)
        odd["hop_limit"] = rng.choice((64, 64, 255, 2, rng.getrandbits(8)))
        if rng.random() < 0.2:
            what = rng.randrange(4)
            if what == 0:
                odd["hop_limit"] = rng.randrange(3)
            elif what == 1:
                odd["version"] = rng.getrandbits(4)
            elif what == 2:
                odd["payload_len"] = rng.choice(
                    (0, 7, 8, 19, 20, 0xFFFF, 0xFFD8, len(message) + rng.randint(-9, 9))
                )
            else:
                # The transport header behind one extension header of 8 bytes.
                message = bytes([proto, 0]) + rng.randbytes(6) + message
                proto = rng.choice(p.EXTENSIONS)
        return build.ipv6(src, dst, proto, message, **odd)

    # Above IP

    def _l4(self, family: int, proto: int, aim: Aim) -> bytes:
        rng, pools = self.rng, self.pools
        sport = rng.choice(pools.l4_ports) if aim.sport is None else aim.sport
        dport = rng.choice(pools.l4_ports) if aim.dport is None else aim.dport
        payload = rng.randbytes(
            rng.choices((0, rng.randrange(64), rng.randrange(1460)), (5, 5, 1))[0]
        )
        if proto == p.TCP:
            return self._tcp(sport, dport, payload, aim.conn_index)
        if proto == p.UDP:
            length = 8 + len(payload)
            if rng.random() < 0.06:
                length = rng.choice((0, 7, 8, 9, length - 1, length + 1, 0xFFFF))
            return build.udp(sport, dport, payload, length=length)
        if proto in (p.ICMP, p.ICMPV6):
            kind, code = dport >> 8, dport & 0xFF
            if aim.dport is None or rng.random() < 0.05:
                kind = rng.choice((8, 0, 128, 129, 3, 11, 1, 2, 135, 136))
                code = rng.choice((0, 0, 0, 4))
            return build.icmp(kind, code, sport, payload)
        return payload

    def _tcp(self, sport: int, dport: int, payload: bytes, conn_index: int) -> bytes:
        rng, pools = self.rng, self.pools
        options = rng.randbytes(rng.randrange(1, 41)) if rng.random() < 0.2 else b""
        doff = rng.getrandbits(4) if rng.random() < 0.05 else None
        flags = 0x10 if rng.random() < 0.7 else rng.choice((*_FLAGS, rng.getrandbits(8)))
        return build.tcp(
            sport,
            dport,
            payload,
            seq=pools.sequence(conn_index),
            ack=pools.sequence(conn_index),
            flags=flags,
            window=rng.choice((0, 512, 65535, rng.getrandbits(16))),
            options=options,
            doff=doff,
        )

    def _in_vxlan(self, inner: bytes, ingress: Ingress) -> bytes:
        """The frame in a tunnel that leads to that tunnel vport, or in any."""
        rng, pools = self.rng, self.pools
        fitting = [t for t in self.world.tunnels if t.tunnel_vport == ingress.tunnel_vport]
        tunnel = rng.choice(fitting or self.world.tunnels)
        vni = tunnel.vni if rng.random() < 0.97 else rng.choice(pools.vnis)
        flags = 8 if rng.random() < 0.95 else rng.getrandbits(8)
        reserved = rng.choice((0, 0, rng.getrandbits(24)))
        vxlan = bytes([flags]) + reserved.to_bytes(3, "big") + vni.to_bytes(3, "big")
        vxlan += bytes([rng.choice((0, 0, rng.getrandbits(8)))])
        dport = p.VXLAN_PORT if rng.random() < 0.98 else rng.getrandbits(16)
        message = build.udp(rng.getrandbits(16), dport, vxlan + inner)
        src, dst = pools.ip(tunnel.family), tunnel.outer_dst
        tags = [(0x8100, rng.getrandbits(16))] if rng.random() < 0.3 else []
        ether_type = 0x0800 if tunnel.family == 4 else 0x86DD
        head = build.ethernet(pools.mac(), pools.mac(), tags, ether_type)
        if tunnel.family == 4:
            return head + self._ipv4(src, dst, p.UDP, message)
        return head + self._ipv6(src, dst, p.UDP, message)

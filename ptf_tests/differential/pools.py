# SPDX-License-Identifier: Apache-2.0
"""The few values that entries and packets share, so that they meet, and odd ones beside them."""

from __future__ import annotations

import random
from typing import TypeVar

from ptf_base.target import CPU_PORT, PORTS

from differential import sentinels

Item = TypeVar("Item")

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
VXLAN_PORT = 4789
EXTENSIONS = (0, 43, 44, 50, 51, 59, 60, 135, 139, 140)
"""IPv6 next headers that are no transport protocol."""
ETHERTYPES = (0x0800, 0x86DD, 0x0806, 0x8100, 0x88A8, 0x88CC, 0x8847, 0x88B5, 0x0000, 0x05DC)
BROADCAST = (1 << 48) - 1
NO_PORT, RECIRCULATE_PORT, DROP_PORT = 7, 509, 511


class Pools:
    """Drawn from `rng` once for each case."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.macs = [rng.getrandbits(48) & ~(1 << 40) for _ in range(8)]
        self.ipv4 = [rng.getrandbits(32) for _ in range(6)] + [0x0A000001, 0x0A000002]
        self.ipv6 = [rng.getrandbits(128) for _ in range(5)] + [
            (0xFD << 120) | 1,
            (0xFE80 << 112) | rng.getrandbits(64),
            rng.getrandbits(32),  # an IPv4 address, for a key that holds either family
        ]
        self.vlans = [*rng.sample(range(1, sentinels.VLAN), 4), 0, 4095]
        self.vports = [*rng.sample(range(1, sentinels.VPORT), 12), 65535, 1024]
        self.tunnel_vports = rng.sample(range(1, 1 << 16), 4)
        self.vnis = [rng.getrandbits(24) for _ in range(4)] + [0]
        self.l4_ports = [*rng.sample(range(1, 1 << 16), 6), 0, 80, 65535, VXLAN_PORT]
        self.next_hops = rng.sample(range(sentinels.FIRST_NEXT_HOP), 40)
        self.conn_indices = [rng.getrandbits(16) for _ in range(60)]
        self.conn_indices += [0, 0xFFFF, 0x10000, 0xFFFFFF]
        self.paths = [*rng.sample(range(1 << 16), 20), 0, 65535]
        # Sequence numbers of a connection lie near its base, which may be close to wrapping.
        self.bases = [rng.getrandbits(32) for _ in range(4)] + [0xFFFFFF00, 0x7FFFFF00]

    def ip(self, family: int) -> int:
        pool = self.ipv4 if family == 4 else self.ipv6
        if self.rng.random() < 0.03:
            return self.rng.choice((0, (1 << (32 if family == 4 else 128)) - 1))
        return self.rng.choice(pool)

    def two_ips(self, family: int) -> tuple[int, int]:
        """Source and destination, which are hardly ever the same."""
        src, dst = self.ip(family), self.ip(family)
        while src == dst and self.rng.random() < 0.95:
            dst = self.ip(family)
        return src, dst

    def mac(self) -> int:
        if self.rng.random() < 0.04:
            return self.rng.choice((0, BROADCAST, 0x333300000001, 0x01005E000001))
        return self.rng.choice(self.macs)

    def egress_port(self) -> int:
        if self.rng.random() < 0.1:
            return self.rng.choice((CPU_PORT, NO_PORT, RECIRCULATE_PORT, DROP_PORT, 508))
        return self.rng.randrange(PORTS)

    def mtu(self) -> int:
        rng = self.rng
        return rng.choice((0, 0, 0, 1500, 1280, 65535, rng.randrange(20, 200), rng.getrandbits(16)))

    def sequence(self, conn_index: int) -> int:
        """Near the base that all registers of that connection are near."""
        base = self.bases[conn_index % len(self.bases)]
        spread = self.rng.choice((0, 1, 500, 1460, 3000, 70000, 140000))
        return (base + self.rng.randint(-spread, spread)) & 0xFFFFFFFF

    def one_of(self, *items: Item) -> Item:
        return self.rng.choice(items)
